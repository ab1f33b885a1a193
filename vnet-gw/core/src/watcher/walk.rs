//! The way of one packet, in the data path's order: destination, source, route, next hop, endpoint,
//! port, security groups, TTL.

use std::net::IpAddr;

use ipnet::IpNet;
use vnet_gw_common::verdict::Reason;

use super::{
    packet::Packet,
    path::{Because, DropReason, Dropped, Element, Next, Outcome, Path, RouteBy, Step, Taken},
    predictor::{Home, Predictor},
};
use crate::{
    effective::{
        Appliance, EffectiveError, is_private, is_routable,
        precedence::{Origin as RouteOrigin, connected_peerings},
        resolve_appliance,
    },
    model::{
        Connection, ConnectionRemote, Direction, NetworkInterface, ResourceId, RouteNextHop,
        UsedGateway, VirtualNetworkGateway, VirtualNetworkPeering, transit,
    },
};

/// Where a packet comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'x> {
    /// The workload behind a networkInterface sends it.
    NetworkInterface(&'x ResourceId),
    /// It comes out of a tunnel of the connection.
    Connection(&'x ResourceId),
}

/// A path there and back.
#[derive(Clone, Debug)]
pub struct RoundTrip<'a> {
    pub there: Path<'a>,
    /// Of the answer; nothing where nobody here answers, or what does is not known.
    pub back: Option<Path<'a>>,
}

impl RoundTrip<'_> {
    /// Whether the packet comes to a NIC, and its answer to the NIC that has the packet's source.
    pub fn answered(&self) -> bool {
        let delivered = |path: &Path<'_>| matches!(path.outcome, Outcome::Delivered(_));
        delivered(&self.there) && self.back.as_ref().is_some_and(delivered)
    }
}

/// Whose the source address is, as the data path's source step has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Own,
    SameVnet,
    Elsewhere,
}

/// What a route's action asks for.
struct Hop<'a> {
    vnet: usize,
    address: IpAddr,
    /// The peering back, of the VNet that the packet goes to, where it crosses one.
    crosses: Option<&'a VirtualNetworkPeering>,
    appliance: bool,
}

/// Where the packet is handed over to.
enum Onward<'a> {
    End(Outcome<'a>),
    To(Next<'a>),
}

/// Both ports of one passage through the data path, in its direction: with the packet's addresses
/// and ports they name a flow, to which the answer belongs that passes the other way.
type Flow<'a> = (&'a ResourceId, &'a ResourceId);

fn flow<'a>(step: &Step<'a>) -> Option<Flow<'a>> {
    let to = match step.next? {
        Next::Destination(nic) | Next::Appliance(nic, _) => &nic.id,
        Next::Gateway(gateway) => &gateway.id,
        Next::Internet => return None,
    };
    Some((step.at.id(), to))
}

type Stop<'a> = (DropReason, Because<'a>);

impl<'a> Predictor<'a> {
    /// Predicts what becomes of a packet of a new flow.
    ///
    /// What an appliance's guest does is assumed: it forwards what is not for itself, as Linux does,
    /// by the NIC of its virtual machine in whose subnet the destination is, else by the NIC that
    /// the packet came in by, and takes one off the TTL. What is for another NIC of the same virtual
    /// machine it takes itself.
    ///
    /// # Errors
    ///
    /// Where `from` is not there.
    pub fn predict(&self, from: Source<'_>, packet: &Packet) -> Result<Path<'a>, EffectiveError> {
        self.predict_in(from, packet, &[])
    }

    fn predict_in(
        &self,
        from: Source<'_>,
        packet: &Packet,
        flows: &[Flow<'a>],
    ) -> Result<Path<'a>, EffectiveError> {
        match from {
            Source::NetworkInterface(id) => {
                let nic = Element::NetworkInterface(self.interface(id)?);
                Ok(self.walk(nic, packet, &[]))
            }
            Source::Connection(id) => {
                let connection = self.topology.connections.get(id).map(|one| &**one);
                let gateways = &self.topology.virtual_network_gateways;
                let found = connection.and_then(|connection| {
                    Some((connection, &**gateways.get(&connection.gateway)?))
                });
                let (connection, gateway) =
                    found.ok_or_else(|| EffectiveError::UnknownConnection(id.clone()))?;
                let at = Element::Gateway(gateway);
                Ok(match self.leaves_tunnel(gateway, connection, packet) {
                    Ok(()) => self.walk(at, packet, flows),
                    Err((reason, because)) => Path {
                        steps: Vec::new(),
                        outcome: Outcome::Dropped(Dropped {
                            reason,
                            at,
                            because,
                        }),
                    },
                })
            }
        }
    }

    /// Predicts a packet of a new flow, and the answer to it.
    ///
    /// # Errors
    ///
    /// Where `from` is not there.
    pub fn round_trip(
        &self,
        from: Source<'_>,
        packet: &Packet,
    ) -> Result<RoundTrip<'a>, EffectiveError> {
        let there = self.predict(from, packet)?;
        let reply = packet.reply();
        let flows: Vec<Flow<'a>> = there.steps.iter().filter_map(flow).collect();
        let back = match &there.outcome {
            Outcome::Delivered(nic) => {
                Some(self.walk(Element::NetworkInterface(nic), &reply, &flows))
            }
            Outcome::Tunnel { connection, .. } => {
                Some(self.predict_in(Source::Connection(&connection.id), &reply, &flows)?)
            }
            Outcome::Internet | Outcome::Dropped(_) => None,
        };
        Ok(RoundTrip { there, back })
    }

    fn walk(&self, from: Element<'a>, packet: &Packet, flows: &[Flow<'a>]) -> Path<'a> {
        let mut steps = Vec::new();
        let (mut at, mut ttl) = (from, packet.ttl);
        let (reason, because) = loop {
            // Every subnet that a valid topology refers to is there.
            let home = self.home_of(at);
            let home = home.and_then(|home| Some((home, self.vnet(home.vnet)?)));
            let Some((home, vnet)) = home else {
                break (Reason::UnknownPort.into(), Because::NotHere(at));
            };
            let mut step = Step {
                at,
                vnet,
                subnet: &home.subnet.id,
                ttl,
                route: None,
                next: None,
                checkpoints: Vec::new(),
            };
            let onward = self.pass(&mut step, home, packet, flows);
            steps.push(step);
            let next = match onward {
                Ok(Onward::End(outcome)) => return Path { steps, outcome },
                Ok(Onward::To(next)) => next,
                Err(stop) => break stop,
            };
            ttl = ttl.saturating_sub(1);
            match next {
                Next::Destination(nic) => {
                    let outcome = Outcome::Delivered(nic);
                    return Path { steps, outcome };
                }
                Next::Appliance(nic, _) => match self.guest(nic, packet, ttl) {
                    Guest::Takes(nic) => {
                        let outcome = Outcome::Delivered(nic);
                        return Path { steps, outcome };
                    }
                    Guest::Sends(out) => {
                        at = Element::NetworkInterface(out);
                        ttl -= 1;
                    }
                    Guest::Drops => {
                        at = Element::NetworkInterface(nic);
                        break (DropReason::Guest, Because::Ttl);
                    }
                },
                Next::Gateway(gateway) => match self.tunnel(gateway, packet) {
                    Ok(Tunnel::Into(connection)) => {
                        let outcome = Outcome::Tunnel {
                            gateway,
                            connection,
                        };
                        return Path { steps, outcome };
                    }
                    Ok(Tunnel::Back) => at = Element::Gateway(gateway),
                    Ok(Tunnel::Through(remote, back)) => {
                        at = Element::Gateway(remote);
                        if let Err(stop) = self.leaves_tunnel(remote, back, packet) {
                            break stop;
                        }
                    }
                    Err(stop) => {
                        at = Element::Gateway(gateway);
                        break stop;
                    }
                },
                Next::Internet => {
                    let outcome = Outcome::Internet;
                    return Path { steps, outcome };
                }
            }
        };
        let dropped = Dropped {
            reason,
            at,
            because,
        };
        Path {
            steps,
            outcome: Outcome::Dropped(dropped),
        }
    }

    /// Once through the data path.
    fn pass(
        &self,
        step: &mut Step<'a>,
        home: &Home<'a>,
        packet: &Packet,
        flows: &[Flow<'a>],
    ) -> Result<Onward<'a>, Stop<'a>> {
        if !self.is_here(step.at) {
            return Err((Reason::PortDown.into(), Because::NotHere(step.at)));
        }
        if !is_routable(packet.destination) {
            return Err((
                Reason::NotRoutable.into(),
                Because::NotRoutable(packet.destination),
            ));
        }
        let origin = self.origin(step.at, home.vnet, packet.source)?;
        let taken = self
            .lookup(home, packet.destination)
            .ok_or((Reason::NoRoute.into(), Because::NoRoute))?;
        step.route = Some(taken);
        let next = match self.action(step.at, home, &taken, packet)? {
            Action::Hop(hop) => self.endpoint(&taken, &hop, origin, packet)?,
            Action::Gateway(UsedGateway { gateway, transit }) => {
                forwarded(transit, origin)?;
                Next::Gateway(gateway)
            }
            Action::Internet => {
                let stop = |reason: Reason| Err((reason.into(), Because::Route(taken)));
                // Azure translates the addresses of the NIC that sends, and no others.
                if origin != Origin::Own {
                    return stop(Reason::InternetSource);
                }
                if is_private(packet.destination) {
                    return stop(Reason::InternetDestination);
                }
                Next::Internet
            }
        };
        step.next = Some(next);
        let element = match next {
            Next::Destination(nic) | Next::Appliance(nic, _) => Element::NetworkInterface(nic),
            Next::Gateway(gateway) => Element::Gateway(gateway),
            Next::Internet => {
                let stop = |reason: Reason| Err((reason.into(), Because::Route(taken)));
                if !self.internet_port.is_some_and(|port| port.up) {
                    return stop(Reason::PortDown);
                }
                self.secure(step, packet, &[])?;
                if !(self.internet_port).is_some_and(|port| port.carries(packet.destination)) {
                    return stop(Reason::NextHopInternet);
                }
                if step.ttl <= 1 {
                    return Err((Reason::TtlExpired.into(), Because::Ttl));
                }
                return Ok(Onward::End(Outcome::Internet));
            }
        };
        if !self.is_here(element) {
            return Err((Reason::PortDown.into(), Because::NotHere(element)));
        }
        self.secure(step, packet, flows)?;
        if step.ttl <= 1 {
            return Err((Reason::TtlExpired.into(), Because::Ttl));
        }
        Ok(Onward::To(next))
    }

    /// Asks the groups of the sender, then those of the receiver.
    fn secure(
        &self,
        step: &mut Step<'a>,
        packet: &Packet,
        flows: &[Flow<'a>],
    ) -> Result<(), Stop<'a>> {
        let receiver = match step.next {
            Some(Next::Destination(nic) | Next::Appliance(nic, _)) => Some(nic),
            _ => None,
        };
        let sender = match step.at {
            Element::NetworkInterface(nic) => Some(nic),
            Element::Gateway(_) => None,
        };
        let known = flow(step).is_some_and(|(from, to)| flows.contains(&(to, from)));
        for (nic, direction) in [
            (sender, Direction::Outbound),
            (receiver, Direction::Inbound),
        ] {
            let Some(nic) = nic else { continue };
            let mut checkpoint = self.checkpoint(nic, direction, packet);
            if known && !checkpoint.decisions.is_empty() {
                checkpoint.established = true;
                checkpoint.decisions.clear();
            }
            step.checkpoints.push(checkpoint.clone());
            if checkpoint.denied().is_some() {
                let reason = match direction {
                    Direction::Inbound => Reason::NsgInbound,
                    Direction::Outbound => Reason::NsgOutbound,
                };
                return Err((reason.into(), Because::Rule(checkpoint)));
            }
        }
        Ok(())
    }

    /// Rule B7, and whether the packet originated in the VNet.
    fn origin(&self, at: Element<'a>, vnet: usize, source: IpAddr) -> Result<Origin, Stop<'a>> {
        let owner = self.owner(vnet, source);
        match at {
            Element::NetworkInterface(nic) if owner.is_some_and(|owner| owner.id == nic.id) => {
                return Ok(Origin::Own);
            }
            Element::NetworkInterface(nic) if !nic.enable_ip_forwarding || !is_routable(source) => {
                let because = Because::NoForwarding(nic);
                return Err((Reason::SpoofedAddress.into(), because));
            }
            Element::Gateway(_) if !is_routable(source) => {
                return Err((Reason::SpoofedAddress.into(), Because::NotRoutable(source)));
            }
            _ => {}
        }
        Ok(match owner {
            Some(_) => Origin::SameVnet,
            None => Origin::Elsewhere,
        })
    }

    fn action(
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

    fn endpoint(
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

    /// What the guest of an appliance does with a packet that is not for the NIC it came in by.
    fn guest(&self, nic: &'a NetworkInterface, packet: &Packet, ttl: u8) -> Guest<'a> {
        let machine = self.machine_of(nic);
        let own = || machine.into_iter().flat_map(|machine| &machine.interfaces);
        if let Some(owner) = own().find(|nic| has(nic, packet.destination)) {
            return Guest::Takes(owner);
        }
        if ttl <= 1 {
            return Guest::Drops;
        }
        let connected = |nic: &NetworkInterface| {
            let configurations = nic.ip_configurations.iter();
            let homes = configurations.filter_map(|one| self.home(&one.subnet));
            let prefixes = homes.flat_map(|home| &home.subnet.address_prefixes);
            let host = IpNet::from(packet.destination);
            prefixes
                .filter(|prefix| prefix.contains(&host))
                .map(IpNet::prefix_len)
                .max()
        };
        let out = own().filter_map(|nic| Some((connected(nic)?, *nic)));
        let out = out.max_by_key(|(length, out)| (*length, out.id == nic.id));
        Guest::Sends(out.map_or(nic, |(_, out)| out))
    }

    /// The gateway chooses the connection by the longest remote prefix, whichever route led to it.
    /// What is for none, and on the gateway's own side, it turns back.
    fn tunnel(
        &self,
        gateway: &'a VirtualNetworkGateway,
        packet: &Packet,
    ) -> Result<Tunnel<'a>, Stop<'a>> {
        let Some(connection) = self.connection(gateway, packet.destination) else {
            let behind = self.behind(gateway);
            return if behind.iter().any(|p| p.contains(&packet.destination)) {
                Ok(Tunnel::Back)
            } else {
                Err((DropReason::NoTunnel, Because::NoConnection(gateway)))
            };
        };
        if !self.selected(gateway, connection, packet.source, packet.destination) {
            return Err((DropReason::NoTunnel, Because::Selectors(connection)));
        }
        let ConnectionRemote::VirtualNetworkGateway(remote) = &connection.remote else {
            return Ok(Tunnel::Into(connection));
        };
        let remote = self.topology.virtual_network_gateways.get(remote);
        let back = self.topology.connection_back(connection);
        Ok(match remote.zip(back) {
            Some((remote, back)) if self.is_here(Element::Gateway(remote)) => {
                Tunnel::Through(remote, back)
            }
            _ => Tunnel::Into(connection),
        })
    }

    /// The prefixes on the gateway's own side.
    fn behind(&self, gateway: &VirtualNetworkGateway) -> Vec<IpNet> {
        let vnet = self.topology.virtual_networks.get(&gateway.virtual_network);
        let behind = vnet
            .into_iter()
            .flat_map(|vnet| self.topology.behind_gateway(vnet));
        behind.flat_map(|(_, prefixes)| prefixes).copied().collect()
    }

    /// The connection of the gateway that the address is behind.
    fn connection(
        &self,
        gateway: &VirtualNetworkGateway,
        address: IpAddr,
    ) -> Option<&'a Connection> {
        let connections = self.topology.connections_of(&gateway.id);
        let prefixes = connections.flat_map(|connection| {
            let prefixes = connection.remote_prefixes.iter();
            prefixes.map(move |prefix| (prefix, connection))
        });
        prefixes
            .filter(|(prefix, _)| prefix.contains(&address))
            .min_by_key(|(prefix, _)| std::cmp::Reverse(prefix.prefix_len()))
            .map(|(_, connection)| connection)
    }

    fn selected(
        &self,
        gateway: &VirtualNetworkGateway,
        connection: &Connection,
        local: IpAddr,
        remote: IpAddr,
    ) -> bool {
        let [locals, remotes] = connection.selectors(&self.behind(gateway));
        let within = |prefixes: &[IpNet], address| prefixes.iter().any(|p| p.contains(&address));
        within(&locals, local) && within(&remotes, remote)
    }

    /// An inner packet leaves a tunnel only if its source routes back into the same connection, and
    /// fits the traffic selectors.
    fn leaves_tunnel(
        &self,
        gateway: &'a VirtualNetworkGateway,
        connection: &'a Connection,
        packet: &Packet,
    ) -> Result<(), Stop<'a>> {
        if !self.selected(gateway, connection, packet.destination, packet.source) {
            return Err((DropReason::OutsideSelectors, Because::Selectors(connection)));
        }
        match self.connection(gateway, packet.source) {
            Some(found) if found.id == connection.id => Ok(()),
            _ => Err((DropReason::OutsideSelectors, Because::NotBehind(connection))),
        }
    }
}

enum Action<'a> {
    Hop(Hop<'a>),
    Gateway(UsedGateway<'a>),
    Internet,
}

enum Guest<'a> {
    Takes(&'a NetworkInterface),
    Sends(&'a NetworkInterface),
    Drops,
}

enum Tunnel<'a> {
    Into(&'a Connection),
    /// Into none: to the gateway's own side, by the routes of GatewaySubnet.
    Back,
    /// It ends at another gateway of this host, as this connection of that.
    Through(&'a VirtualNetworkGateway, &'a Connection),
}

/// `allowForwardedTraffic` of the peering `back` that is crossed, the other VNet's.
fn forwarded<'a>(back: Option<&'a VirtualNetworkPeering>, origin: Origin) -> Result<(), Stop<'a>> {
    match back {
        Some(back) if origin == Origin::Elsewhere && !back.allow_forwarded_traffic => {
            Err((Reason::ForwardedRefused.into(), Because::Peering(back)))
        }
        _ => Ok(()),
    }
}

fn has(nic: &NetworkInterface, address: IpAddr) -> bool {
    let mut configurations = nic.ip_configurations.iter();
    configurations.any(|one| one.private_ip_address == address)
}
