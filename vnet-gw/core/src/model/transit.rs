//! Gateway transit (A24, section C "Peering"): a VNet, the spoke, uses the gateway of a VNet that it
//! is peered with, the hub. The hub's side of the peering has `allowGatewayTransit`, the spoke's
//! `useRemoteGateways`, and both are `Connected`.

use ipnet::IpNet;

use super::{
    ById, PeeringState, ResourceId, Shared, Topology, VirtualNetwork, VirtualNetworkGateway,
    VirtualNetworkPeering,
};

type Networks = ById<Shared<VirtualNetwork>>;

/// Whether the gateway behind `hub` is used over `spoke`, the two sides of one peering.
pub(crate) fn carries(hub: &VirtualNetworkPeering, spoke: &VirtualNetworkPeering) -> bool {
    let connected = |side: &VirtualNetworkPeering| side.peering_state == PeeringState::Connected;
    hub.allow_gateway_transit && spoke.use_remote_gateways && connected(hub) && connected(spoke)
}

/// The peering of one network to another.
pub(crate) fn peering<'a>(
    network: &'a VirtualNetwork,
    remote: &ResourceId,
) -> Option<&'a VirtualNetworkPeering> {
    let mut peerings = network.peerings.values();
    peerings.find(|peering| peering.remote_virtual_network == *remote)
}

/// The VNet whose gateway `spoke` uses, and that VNet's side of the peering.
pub(crate) fn hub_of<'a>(
    networks: &'a Networks,
    spoke: &VirtualNetwork,
) -> Option<(&'a VirtualNetwork, &'a VirtualNetworkPeering)> {
    let mut own = spoke.peerings.values();
    own.find_map(|own| {
        // Before the hub is searched, which may have hundreds of peerings.
        if !own.use_remote_gateways {
            return None;
        }
        let hub = networks.get(&own.remote_virtual_network)?;
        let side = peering(hub, &spoke.id)?;
        carries(side, own).then_some((&**hub, side))
    })
}

/// The peerings of `hub` whose other side uses its gateway, in the order of their ids.
pub(crate) fn to_spokes<'a>(
    networks: &'a Networks,
    hub: &'a VirtualNetwork,
) -> impl Iterator<Item = &'a VirtualNetworkPeering> {
    hub.peerings.values().filter(|side| {
        let spoke = networks.get(&side.remote_virtual_network);
        side.allow_gateway_transit
            && spoke
                .and_then(|spoke| peering(spoke, &hub.id))
                .is_some_and(|back| carries(side, back))
    })
}

/// What is behind the gateway of `hub`, by VNet: its own address space, and what it routes to each
/// spoke that uses the gateway.
pub(crate) fn behind<'a>(
    networks: &'a Networks,
    hub: &'a VirtualNetwork,
) -> impl Iterator<Item = (&'a ResourceId, &'a [IpNet])> {
    let spokes = to_spokes(networks, hub)
        .map(|side| (&side.remote_virtual_network, &side.remote_address_space[..]));
    std::iter::once((&hub.id, &hub.address_space[..])).chain(spokes)
}

/// A gateway that a VNet may send to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsedGateway<'a> {
    pub gateway: &'a VirtualNetworkGateway,
    /// By gateway transit: the hub's side of the peering. `None`: it is the VNet's own.
    pub transit: Option<&'a VirtualNetworkPeering>,
}

impl Topology {
    /// The gateway that routes of `vnet` with the next hop `VirtualNetworkGateway` lead to: its own,
    /// or by gateway transit that of a peered VNet.
    pub fn gateway_used_by(&self, vnet: &VirtualNetwork) -> Option<UsedGateway<'_>> {
        if let Some(gateway) = self.gateway_of_vnet(&vnet.id) {
            let transit = None;
            return Some(UsedGateway { gateway, transit });
        }
        let (hub, side) = hub_of(&self.virtual_networks, vnet)?;
        Some(UsedGateway {
            gateway: self.gateway_of_vnet(&hub.id)?,
            transit: Some(side),
        })
    }

    /// What is behind the gateway of `vnet`, by VNet: the VNet's own address space, and that of
    /// every VNet that uses the gateway by gateway transit.
    pub fn behind_gateway<'a>(
        &'a self,
        vnet: &'a VirtualNetwork,
    ) -> impl Iterator<Item = (&'a ResourceId, &'a [IpNet])> {
        behind(&self.virtual_networks, vnet)
    }
}
