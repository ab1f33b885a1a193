//! What tags stand for in a VNet, for the subnets with one route table.

use std::{net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::AZURE_LOAD_BALANCER;
use crate::{
    effective::precedence::{self, DEFAULT_V4, DEFAULT_V6, Origin, UserRoutes},
    model::{ServiceTag, Subnet, Topology, VirtualNetwork},
};

/// The prefixes of each tag in one place; sorted, none inside another.
#[derive(Clone, Debug)]
pub(super) struct Place {
    virtual_network: Arc<[IpNet]>,
    azure_load_balancer: Arc<[IpNet]>,
    internet: Arc<[IpNet]>,
}

impl Place {
    /// Of `subnet`, which is in `vnet`.
    ///
    /// | tag | stands for |
    /// |---|---|
    /// | `VirtualNetwork` | the VNet's address space; those of `Connected` peerings with `allowVirtualNetworkAccess`, as far as they are synchronised; what gateway routes lead to, whether or not this subnet takes them; the prefixes of the subnet's user routes, whatever their next hop; the host's address 168.63.129.16 |
    /// | `AzureLoadBalancer` | 168.63.129.16 |
    /// | `Internet` | every address of both families that is in neither |
    ///
    /// A user route to 0.0.0.0/0 therefore makes all of IPv4 `VirtualNetwork`, as in Azure.
    pub(super) fn new(topology: &Topology, vnet: &VirtualNetwork, subnet: &Subnet) -> Self {
        let host = IpNet::from(IpAddr::V4(AZURE_LOAD_BALANCER));
        let candidates = precedence::candidates(topology, vnet);
        let system = candidates.iter().filter(|one| match one.origin {
            Origin::VirtualNetwork | Origin::Gateway { .. } => true,
            Origin::Peering { peering, .. } => peering.allow_virtual_network_access,
            Origin::Internet | Origin::Reserved => false,
        });
        let user = UserRoutes::of(topology, subnet.route_table.as_ref());
        let routed = user.routes().iter().map(|route| route.address_prefix);
        let system = system.map(|one| one.prefix);
        let virtual_network = outermost(system.chain(routed).chain([host]).collect());
        let internet = rest(&virtual_network);
        Self {
            virtual_network: virtual_network.into(),
            azure_load_balancer: [host].into(),
            internet: internet.into(),
        }
    }

    /// Names the place of a subnet: the same for all subnets of a VNet whose route tables add
    /// nothing.
    pub(super) fn number(vnet: &VirtualNetwork, subnet: &Subnet, user: UserRoutes<'_>) -> u64 {
        let table = subnet.route_table.as_ref();
        let table = table.filter(|_| !user.routes().is_empty());
        let hash = table.map_or(0, |table| table.stable_hash().rotate_left(1));
        vnet.id.stable_hash() ^ hash
    }

    pub(super) fn tag(&self, tag: ServiceTag) -> &Arc<[IpNet]> {
        match tag {
            ServiceTag::VirtualNetwork => &self.virtual_network,
            ServiceTag::AzureLoadBalancer => &self.azure_load_balancer,
            ServiceTag::Internet => &self.internet,
        }
    }
}

/// Sorted, and without those inside another.
pub(super) fn outermost(mut prefixes: Vec<IpNet>) -> Vec<IpNet> {
    // A prefix sorts before all that are inside it.
    prefixes.sort_unstable();
    let mut kept: Vec<IpNet> = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        if !kept.last().is_some_and(|last| last.contains(&prefix)) {
            kept.push(prefix);
        }
    }
    kept
}

/// What of both families is in none of `prefixes`, which are sorted and apart.
fn rest(prefixes: &[IpNet]) -> Vec<IpNet> {
    let v6_at = prefixes.partition_point(|prefix| matches!(prefix, IpNet::V4(_)));
    let (v4, v6) = prefixes.split_at(v6_at);
    let mut rest = Vec::new();
    without(DEFAULT_V4, v4, &mut rest);
    without(DEFAULT_V6, v6, &mut rest);
    rest
}

/// What of `whole` is in none of `holes`, which are inside it: halved until a half is free of them.
fn without(whole: IpNet, holes: &[IpNet], into: &mut Vec<IpNet>) {
    let Some(first) = holes.first() else {
        into.push(whole);
        return;
    };
    if *first == whole {
        return;
    }
    let Some([low, high]) = halves(whole) else {
        return;
    };
    let at = holes.partition_point(|hole| low.contains(hole));
    let (below, above) = holes.split_at(at);
    without(low, below, into);
    without(high, above, into);
}

fn halves(prefix: IpNet) -> Option<[IpNet; 2]> {
    let length = prefix.prefix_len().checked_add(1)?;
    match prefix {
        IpNet::V4(prefix) => {
            let low = Ipv4Net::new(prefix.network(), length).ok()?;
            let bit = 1u32.checked_shl(u32::from(32 - length))?;
            let high = Ipv4Net::new((low.network().to_bits() | bit).into(), length).ok()?;
            Some([low.into(), high.into()])
        }
        IpNet::V6(prefix) => {
            let low = Ipv6Net::new(prefix.network(), length).ok()?;
            let bit = 1u128.checked_shl(u32::from(128 - length))?;
            let high = Ipv6Net::new((low.network().to_bits() | bit).into(), length).ok()?;
            Some([low.into(), high.into()])
        }
    }
}
