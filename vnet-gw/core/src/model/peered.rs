//! What of a network a peering is about: all of it, or some subnets alone (subnet peering:
//! `peerCompleteVnets` is false).

use std::borrow::Cow;

use ipnet::IpNet;

use super::{ResourceId, Subnet, Topology, VirtualNetwork, VirtualNetworkPeering, transit};

/// `peerCompleteVnets: false`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetPeering {
    /// `localSubnetNames`: subnets of the peering's own network.
    pub local: Vec<ResourceId>,
    /// `remoteSubnetNames`
    pub remote: Vec<ResourceId>,
    /// `enableOnlyIPv6Peering`
    pub only_ipv6: bool,
}

impl VirtualNetworkPeering {
    /// Whether the peering is about that subnet of its own network.
    pub fn includes(&self, subnet: &ResourceId) -> bool {
        let subnets = self.subnets.as_ref();
        subnets.is_none_or(|subnets| subnets.local.contains(subnet))
    }
}

/// What `peering` may lead to now: the address space of `remote`; of a peering of subnets the
/// prefixes of those that it names, and that the peering back, where that is there, names, too.
pub(crate) fn offered<'a>(
    peering: &VirtualNetworkPeering,
    back: Option<&VirtualNetworkPeering>,
    remote: &'a VirtualNetwork,
) -> Cow<'a, [IpNet]> {
    let Some(subnets) = &peering.subnets else {
        return Cow::Borrowed(&remote.address_space);
    };
    let named = subnets.remote.iter();
    let agreed = named.filter(|id| back.is_none_or(|back| back.includes(id)));
    Cow::Owned(prefixes(agreed, subnets.only_ipv6, remote))
}

/// What of its own network `peering` offers to the other side.
pub(crate) fn offered_to<'a>(
    peering: &VirtualNetworkPeering,
    back: Option<&VirtualNetworkPeering>,
    own: &'a VirtualNetwork,
) -> Cow<'a, [IpNet]> {
    match (back, &peering.subnets) {
        (Some(back), _) => offered(back, Some(peering), own),
        (None, Some(subnets)) => Cow::Owned(prefixes(subnets.local.iter(), subnets.only_ipv6, own)),
        (None, None) => Cow::Borrowed(&own.address_space),
    }
}

fn prefixes<'i>(
    subnets: impl Iterator<Item = &'i ResourceId>,
    only_ipv6: bool,
    network: &VirtualNetwork,
) -> Vec<IpNet> {
    let subnets = subnets.filter_map(|id| network.subnets.get(id));
    let prefixes = subnets.flat_map(|subnet| &subnet.address_prefixes);
    let of_family = |prefix: &&IpNet| !only_ipv6 || matches!(prefix, IpNet::V6(_));
    prefixes.filter(of_family).copied().collect()
}

impl Topology {
    /// Whether packets of `subnet`, one of the peering's own network, go over it. Those of a subnet
    /// that takes no part in a peering of subnets do not, though the routes are there. A gateway's
    /// do where the other side uses the gateway.
    pub fn takes_part(&self, subnet: &Subnet, peering: &VirtualNetworkPeering) -> bool {
        if peering.includes(&subnet.id) {
            return true;
        }
        let remote = self.virtual_networks.get(&peering.remote_virtual_network);
        let back = remote.and_then(|remote| transit::peering(remote, &peering.id.parent()));
        subnet.is_gateway_subnet() && back.is_some_and(|back| transit::carries(peering, back))
    }
}
