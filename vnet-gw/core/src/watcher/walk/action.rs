//! What a route does with a packet, and whom it is handed to.

use std::net::IpAddr;

use vnet_gw_common::verdict::Reason;

use super::{Origin, Stop, forwarded, has};
use crate::{
    effective::{
        Appliance,
        precedence::{Origin as RouteOrigin, connected_peerings},
        resolve_appliance,
    },
    model::{ResourceId, RouteNextHop, UsedGateway, VirtualNetworkPeering, transit},
    watcher::{
        packet::Packet,
        path::{Because, Element, Next, RouteBy, Taken},
        predictor::{Home, Predictor},
    },
};

pub(super) enum Action<'a> {
    Hop(Hop<'a>),
    Gateway(UsedGateway<'a>),
    Internet,
}

/// What a route's action asks for.
pub(super) struct Hop<'a> {
    vnet: usize,
    address: IpAddr,
    /// The peering back, of the VNet that the packet goes to, where it crosses one.
    crosses: Option<&'a VirtualNetworkPeering>,
    appliance: bool,
}

impl<'a> Predictor<'a> {
    pub(super) fn action(
        &self,
        at: Element<'a>,
        home: &Home<'a>,
        taken: &Taken<'a>,
        packet: &Packet,
    ) -> Result<Action<'a>, Stop<'a>> {
        let own = Hop {
            vnet: home.vnet,
            address: packet.destination,
            crosses: None,
            appliance: false,
        };
        let to_peer = |peering: &'a VirtualNetworkPeering| {
            // A peering that is `Connected` has its other side.
            let (vnet, back) = self.across(home.vnet, peering)?;
            if !self.topology.takes_part(home.subnet, peering) {
                return None;
            }
            // What came out of a tunnel is forwarded by nobody for whom the gateway is (A24).
            let gateway = matches!(at, Element::Gateway(_));
            let crosses = Some(back).filter(|back| !(gateway && transit::carries(peering, back)));
            Some(Action::Hop(Hop {
                vnet,
                crosses,
                ..own
            }))
        };
        let nowhere = |reason: Reason| (reason.into(), Because::Route(*taken));
        match taken.source {
            RouteBy::System(origin) => match origin {
                RouteOrigin::VirtualNetwork => Ok(Action::Hop(own)),
                RouteOrigin::Peering { peering, .. } => {
                    to_peer(peering).ok_or_else(|| nowhere(Reason::NextHopNone))
                }
                RouteOrigin::Gateway { .. } => self.to_gateway(at, home, taken),
                RouteOrigin::Internet => self.to_internet(taken),
                RouteOrigin::Reserved => Err(nowhere(Reason::NextHopNone)),
            },
            RouteBy::User(_, route) => match route.next_hop {
                RouteNextHop::VirtualNetworkGateway => self.to_gateway(at, home, taken),
                RouteNextHop::VnetLocal => {
                    match self.peering_containing(home.vnet, route.address_prefix) {
                        Some(peering) => {
                            to_peer(peering).ok_or_else(|| nowhere(Reason::NextHopNone))
                        }
                        None => Ok(Action::Hop(own)),
                    }
                }
                RouteNextHop::Internet => self.to_internet(taken),
                RouteNextHop::VirtualAppliance(address) => self.to_appliance(home, taken, address),
                RouteNextHop::None => Err(nowhere(Reason::NextHopNone)),
            },
        }
    }

    /// The VNet at the other end of a peering, and its peering back.
    fn across(
        &self,
        vnet: usize,
        peering: &VirtualNetworkPeering,
    ) -> Option<(usize, &'a VirtualNetworkPeering)> {
        let remote = self.number(&peering.remote_virtual_network)?;
        let own = self.vnet(vnet)?;
        let mut peerings = self.vnet(remote)?.peerings.values();
        let back = peerings.find(|back| back.remote_virtual_network == own.id)?;
        Some((remote, back))
    }

    /// Rule B9.
    fn to_appliance(
        &self,
        home: &Home<'a>,
        taken: &Taken<'a>,
        address: IpAddr,
    ) -> Result<Action<'a>, Stop<'a>> {
        let Some(vnet) = self.vnet(home.vnet) else {
            return Err((Reason::NoRoute.into(), Because::NoRoute));
        };
        let peerings = connected_peerings(self.topology, vnet).map(|(peering, _)| peering);
        let find = |vnet: &ResourceId, address| self.owner(self.number(vnet)?, address);
        let found = resolve_appliance(address, taken.prefix, &vnet.id, peerings, find);
        let unreachable = || {
            let because = Because::Appliance(*taken, address, found);
            (Reason::ApplianceUnreachable.into(), because)
        };
        let Appliance::Found { vnet, peering, .. } = found else {
            return Err(unreachable());
        };
        let number = self.number(vnet).ok_or_else(unreachable)?;
        if peering.is_some_and(|peering| !self.topology.takes_part(home.subnet, peering)) {
            return Err(unreachable());
        }
        let crosses = peering.and_then(|peering| self.across(home.vnet, peering));
        Ok(Action::Hop(Hop {
            vnet: number,
            address,
            crosses: crosses.map(|(_, back)| back),
            appliance: true,
        }))
    }

    fn to_gateway(
        &self,
        at: Element<'a>,
        home: &Home<'a>,
        taken: &Taken<'a>,
    ) -> Result<Action<'a>, Stop<'a>> {
        // What came out of a tunnel goes into none.
        let to = self.gateway(home.vnet).filter(|_| match at {
            Element::Gateway(_) => false,
            Element::NetworkInterface(_) => true,
        });
        let to = to.filter(|used| {
            let own = self.vnet(home.vnet).filter(|_| used.transit.is_some());
            let side = own.and_then(|own| transit::peering(own, &used.gateway.virtual_network));
            side.is_none_or(|side| self.topology.takes_part(home.subnet, side))
        });
        to.map(Action::Gateway)
            .ok_or((Reason::NextHopGateway.into(), Because::Route(*taken)))
    }

    fn to_internet(&self, taken: &Taken<'a>) -> Result<Action<'a>, Stop<'a>> {
        match self.internet_port {
            Some(_) => Ok(Action::Internet),
            None => Err((Reason::NextHopInternet.into(), Because::Route(*taken))),
        }
    }

    pub(super) fn endpoint(
        &self,
        taken: &Taken<'a>,
        hop: &Hop<'a>,
        origin: Origin,
        packet: &Packet,
    ) -> Result<Next<'a>, Stop<'a>> {
        forwarded(hop.crosses, origin)?;
        match self.owner(hop.vnet, hop.address) {
            Some(nic) if hop.appliance && !has(nic, packet.destination) => {
                Ok(Next::Appliance(nic, hop.address))
            }
            Some(nic) => Ok(Next::Destination(nic)),
            None => {
                let vnet = self.vnet(hop.vnet).map(|vnet| &vnet.id);
                let because = vnet.map_or(Because::NoRoute, |vnet| Because::Nobody(*taken, vnet));
                Err((Reason::EndpointUnreachable.into(), because))
            }
        }
    }
}
