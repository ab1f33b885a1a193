//! The way of one packet, in the data path's order: destination, source, route, next hop, endpoint,
//! port, security groups, TTL.

mod action;
mod guest;
mod tunnel;

use std::net::IpAddr;

use vnet_gw_common::verdict::Reason;

use self::{action::Action, guest::Guest, tunnel::Tunnel};
use super::{
    packet::Packet,
    path::{Because, DropReason, Dropped, Element, Next, Outcome, Path, Step},
    predictor::{Home, Predictor},
};
use crate::{
    effective::{EffectiveError, is_private, is_routable},
    model::{Direction, NetworkInterface, ResourceId, UsedGateway, VirtualNetworkPeering},
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
