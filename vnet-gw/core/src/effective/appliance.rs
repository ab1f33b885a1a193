//! Where the next hop of a `VirtualAppliance` route is (rule B9).

use std::net::IpAddr;

use ipnet::IpNet;

use super::precedence::connected_peerings;
use crate::model::{NetworkInterface, ResourceId, Topology, VirtualNetwork, VirtualNetworkPeering};

/// What the look-up of an appliance's address found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Appliance<'a> {
    Found {
        nic: &'a NetworkInterface,
        vnet: &'a ResourceId,
        /// The peering that leads to it; `None`: it is in the VNet itself.
        peering: Option<&'a VirtualNetworkPeering>,
    },
    /// The NIC that has the address lacks `enableIPForwarding` (rule B7).
    NoForwarding { nic: &'a NetworkInterface },
    /// No NIC of the VNet or of a peered one has the address.
    Nobody,
    /// The route's prefix and the address are not of one family.
    WrongFamily,
}

/// Looks `address` up in `vnet` and in the VNets at the other end of `peerings`, which are the
/// connected ones; `find` yields the NIC that has an address in a VNet.
pub fn resolve<'a>(
    address: IpAddr,
    prefix: IpNet,
    vnet: &'a ResourceId,
    peerings: impl IntoIterator<Item = &'a VirtualNetworkPeering>,
    find: impl Fn(&ResourceId, IpAddr) -> Option<&'a NetworkInterface>,
) -> Appliance<'a> {
    if address.is_ipv4() != matches!(prefix, IpNet::V4(_)) {
        return Appliance::WrongFamily;
    }
    let found = find(vnet, address)
        .map(|nic| (nic, vnet, None))
        .or_else(|| {
            peerings
                .into_iter()
                .filter(|p| {
                    p.remote_address_space
                        .iter()
                        .any(|space| space.contains(&address))
                })
                .find_map(|peering| {
                    let remote = &peering.remote_virtual_network;
                    Some((find(remote, address)?, remote, Some(peering)))
                })
        });
    match found {
        None => Appliance::Nobody,
        Some((nic, ..)) if !nic.enable_ip_forwarding => Appliance::NoForwarding { nic },
        Some((nic, vnet, peering)) => Appliance::Found { nic, vnet, peering },
    }
}

/// The same by a walk over the topology: for single questions.
pub(super) fn resolve_in<'a>(
    topology: &'a Topology,
    vnet: &'a VirtualNetwork,
    address: IpAddr,
    prefix: IpNet,
) -> Appliance<'a> {
    let peerings = connected_peerings(topology, vnet).map(|(peering, _)| peering);
    resolve(address, prefix, &vnet.id, peerings, |vnet, address| {
        nic_with(topology, vnet, address)
    })
}

/// The NIC that has `address` in the VNet `vnet`.
pub(super) fn nic_with<'a>(
    topology: &'a Topology,
    vnet: &ResourceId,
    address: IpAddr,
) -> Option<&'a NetworkInterface> {
    let vnet = topology.virtual_networks.get(vnet)?;
    let mut interfaces = topology.network_interfaces.values().map(|nic| &**nic);
    interfaces.find(|nic| {
        nic.ip_configurations.iter().any(|config| {
            config.private_ip_address == address && vnet.subnets.contains_key(&config.subnet)
        })
    })
}
