//! Why a destination takes the route it takes.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::{
    EffectiveError, SubnetRoutes,
    appliance::{self, Appliance},
    explanation::{Delivery, Explanation, Other, OtherState, Taker, Winner},
    precedence::{
        Candidate, Loss, Origin, Standing, connected_peerings, peering_is_global, shorten,
    },
    row::{EffectiveRoute, NextHopResult, NextHopType, RouteState},
};
use crate::model::{
    PeeringState, ResourceId, Route, RouteNextHop, Topology, UsedGateway, VirtualNetwork,
    VirtualNetworkGateway, VirtualNetworkPeering, transit,
};

/// Explains the way of a packet from `subnet` to `destination`. The winner is the active row of
/// [`super::effective_routes`] with the longest prefix that contains the destination.
pub fn explain(
    topology: &Topology,
    subnet: &ResourceId,
    destination: IpAddr,
) -> Result<Explanation, EffectiveError> {
    let routes = SubnetRoutes::new(topology, subnet)?;
    Ok(Question {
        topology,
        routes: &routes,
        destination,
    }
    .answer(subnet))
}

/// The next hop of a packet from the NIC `nic` to `destination`, as Network Watcher answers it.
/// The NIC's tables are those of its primary ipConfiguration's subnet.
pub fn next_hop(
    topology: &Topology,
    nic: &ResourceId,
    destination: IpAddr,
) -> Result<NextHopResult, EffectiveError> {
    let subnet = super::subnet_of_nic(topology, nic)?;
    let explanation = explain(topology, subnet, destination)?;
    Ok(match explanation.winner {
        Some(winner) => NextHopResult {
            next_hop_type: winner.route.next_hop_type,
            next_hop_ip_address: winner.route.next_hop_ip_address.first().copied(),
            route_table_id: winner
                .route_table
                .unwrap_or_else(|| NextHopResult::SYSTEM_ROUTE.to_owned()),
        },
        None => NextHopResult {
            next_hop_type: NextHopType::None,
            next_hop_ip_address: None,
            route_table_id: NextHopResult::SYSTEM_ROUTE.to_owned(),
        },
    })
}

struct Question<'q, 'a> {
    topology: &'a Topology,
    routes: &'q SubnetRoutes<'a>,
    destination: IpAddr,
}

/// A route of either kind.
#[derive(Clone, Copy)]
enum Any<'q, 'a> {
    System(&'q Candidate<'a>),
    User(&'a Route),
}

impl Any<'_, '_> {
    fn prefix(self) -> IpNet {
        match self {
            Self::System(candidate) => candidate.prefix,
            Self::User(route) => route.address_prefix,
        }
    }
}

impl fmt::Display for Any<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(route) => {
                write!(f, "user route {} ({})", route.name, route.address_prefix)
            }
            Self::System(Candidate { prefix, origin }) => match origin {
                Origin::VirtualNetwork => write!(f, "route to the VNet's own {prefix}"),
                Origin::Peering { peering, .. } => {
                    write!(f, "route of peering {} ({prefix})", peering.id.name())
                }
                Origin::Gateway {
                    connection: Some(connection),
                    ..
                } => write!(f, "route of connection {} ({prefix})", connection.id.name()),
                Origin::Gateway { .. } => write!(f, "gateway route {prefix}"),
                Origin::Internet => write!(f, "default route {prefix} to the Internet"),
                Origin::Reserved => write!(f, "reserved route {prefix}"),
            },
        }
    }
}

impl<'q, 'a> Question<'q, 'a> {
    fn answer(&self, subnet: &ResourceId) -> Explanation {
        let routes = self.routes;
        let mut active: Vec<Any<'q, 'a>> = self.user_matches().map(Any::User).collect();
        let mut others = Vec::new();
        for (candidate, standing) in routes.candidates.iter().zip(&routes.standings) {
            if !candidate.prefix.contains(&self.destination) {
                continue;
            }
            let any = Any::System(candidate);
            let (state, loss) = match *standing {
                Standing::Active => {
                    active.push(any);
                    continue;
                }
                Standing::Invalid(loss) => (OtherState::Invalid, loss),
                Standing::Withdrawn(loss) => (OtherState::Withdrawn, loss),
            };
            others.push((
                candidate.prefix,
                Other {
                    route: self.row(any, RouteState::Invalid),
                    state,
                    reason: self.why_lost(candidate, loss),
                },
            ));
        }
        others.extend(self.not_connected());

        // Active prefixes are distinct, so there is one longest.
        active.sort_by_key(|any| any.prefix().prefix_len());
        let winner = active.pop();
        if let Some(winner) = winner {
            for &any in &active {
                let reason = format!(
                    "a shorter prefix: /{} against /{} of {}",
                    any.prefix().prefix_len(),
                    winner.prefix().prefix_len(),
                    The(winner),
                );
                let row = self.row(any, RouteState::Active);
                others.push((
                    any.prefix(),
                    Other {
                        route: row,
                        state: OtherState::Active,
                        reason,
                    },
                ));
            }
        }
        others.sort_by_key(|(prefix, other)| (std::cmp::Reverse(prefix.prefix_len()), other.state));
        Explanation {
            subnet: subnet.as_str().to_owned(),
            destination: self.destination,
            winner: winner.map(|winner| Winner {
                route: self.row(winner, RouteState::Active),
                route_table: match winner {
                    Any::User(_) => routes.user.table.map(|table| table.id.as_str().to_owned()),
                    Any::System(_) => None,
                },
                peering: match winner {
                    Any::System(Candidate {
                        origin: Origin::Peering { peering, .. },
                        ..
                    }) => Some(peering.id.as_str().to_owned()),
                    _ => None,
                },
                connection: match winner {
                    Any::System(Candidate {
                        origin:
                            Origin::Gateway {
                                connection: Some(connection),
                                ..
                            },
                        ..
                    }) => Some(connection.id.as_str().to_owned()),
                    _ => None,
                },
                reason: self.why_won(winner, active.len()),
            }),
            others: others.into_iter().map(|(_, other)| other).collect(),
            delivery: winner.map_or(Delivery::NoRoute, |winner| self.delivery(winner, subnet)),
        }
    }

    /// The user routes that contain the destination. One look-up a length: tables may have a
    /// million routes.
    fn user_matches(&self) -> impl Iterator<Item = &'a Route> {
        let (user, host) = (self.routes.user, IpNet::from(self.destination));
        (0..=host.prefix_len()).filter_map(move |len| user.get(shorten(host, len)?))
    }

    fn row(&self, any: Any<'_, '_>, state: RouteState) -> EffectiveRoute {
        match any {
            Any::System(candidate) => self.routes.system_row(candidate, state),
            Any::User(route) => self.routes.user_row(route),
        }
    }

    fn why_won(&self, winner: Any<'_, '_>, shorter: usize) -> String {
        let mut reason = match shorter {
            0 => format!("the only active route that contains {}", self.destination),
            _ => format!(
                "the longest of {} active prefixes that contain {}",
                shorter + 1,
                self.destination
            ),
        };
        let overrides = |candidate: &Candidate<'_>, loss| match (loss, winner) {
            (Loss::User, Any::User(route)) => route.address_prefix == candidate.prefix,
            (Loss::SamePrefix(at) | Loss::Preferred(at), Any::System(winner)) => {
                self.routes.candidates.get(at) == Some(winner)
            }
            _ => false,
        };
        let beaten = self
            .routes
            .candidates
            .iter()
            .zip(&self.routes.standings)
            .find(|(candidate, standing)| match standing {
                Standing::Invalid(loss) => {
                    candidate.prefix.contains(&self.destination) && overrides(candidate, *loss)
                }
                _ => false,
            });
        if let Some((candidate, _)) = beaten {
            reason.push_str(&format!("; it overrides {}", The(Any::System(candidate))));
        }
        reason
    }

    fn why_lost(&self, candidate: &Candidate<'_>, loss: Loss) -> String {
        let by = |at: usize| match self.routes.candidates.get(at) {
            Some(winner) => The(Any::System(winner)).to_string(),
            None => "another route".to_owned(),
        };
        match loss {
            Loss::User => match self.routes.user.get(candidate.prefix) {
                Some(route) => {
                    format!(
                        "{} has the same prefix, and user routes go first",
                        The(Any::User(route))
                    )
                }
                None => "a user route has the same prefix".to_owned(),
            },
            Loss::SamePrefix(at) => format!("{} has the same prefix and goes first", by(at)),
            Loss::Preferred(at) => format!(
                "{} goes before every gateway route inside it, however long its prefix",
                by(at)
            ),
            Loss::Covered(at) => {
                format!("{} covers this reserved prefix and takes it away", by(at))
            }
            Loss::UserDefault => {
                "a user route for 0.0.0.0/0 takes the reserved routes away".to_owned()
            }
            Loss::PropagationDisabled => format!(
                "route table {} has disableBgpRoutePropagation",
                self.routes.user.table.map_or("", |table| table.id.name())
            ),
        }
    }

    /// Routes that peerings would yield if they were `Connected`.
    fn not_connected(&self) -> impl Iterator<Item = (IpNet, Other)> {
        let vnet = self.routes.vnet;
        vnet.peerings.values().flat_map(move |peering| {
            let remote = self
                .topology
                .virtual_networks
                .get(&peering.remote_virtual_network);
            let reason = match peering.peering_state {
                PeeringState::Connected if remote.is_some() => None,
                PeeringState::Initiated => Some(format!(
                    "peering {} is Initiated: {} has no peering back to {}",
                    peering.id.name(),
                    peering.remote_virtual_network.name(),
                    vnet.id.name(),
                )),
                PeeringState::Connected | PeeringState::Disconnected => Some(format!(
                    "peering {} is Disconnected: its other side in {} is gone",
                    peering.id.name(),
                    peering.remote_virtual_network.name(),
                )),
            };
            let global = remote.is_some_and(|remote| peering_is_global(vnet, remote));
            let spaces = peering.remote_address_space.iter().map(IpNet::trunc);
            reason.into_iter().flat_map(move |reason| {
                spaces
                    .clone()
                    .filter(|space| space.contains(&self.destination))
                    .map(move |prefix| {
                        let origin = Origin::Peering { peering, global };
                        let candidate = Candidate { prefix, origin };
                        let route = self.routes.system_row(&candidate, RouteState::Invalid);
                        let state = OtherState::NotConnected;
                        (
                            prefix,
                            Other {
                                route,
                                state,
                                reason: reason.clone(),
                            },
                        )
                    })
            })
        })
    }

    fn delivery(&self, winner: Any<'_, '_>, subnet: &ResourceId) -> Delivery {
        let vnet = self.routes.vnet;
        match winner {
            Any::System(candidate) => match candidate.origin {
                Origin::VirtualNetwork => self.endpoint(&vnet.id),
                Origin::Peering { peering, .. } => self.across(peering, subnet),
                Origin::Gateway { .. } => self.gateway(subnet),
                Origin::Internet => Delivery::Internet,
                Origin::Reserved => Delivery::Dropped,
            },
            Any::User(route) => match route.next_hop {
                RouteNextHop::VirtualNetworkGateway => self.gateway(subnet),
                RouteNextHop::VnetLocal => {
                    match vnet_local_peering(self.topology, vnet, route.address_prefix) {
                        Some(peering) => self.across(peering, subnet),
                        None => self.endpoint(&vnet.id),
                    }
                }
                RouteNextHop::Internet => Delivery::Internet,
                RouteNextHop::VirtualAppliance(address) => {
                    self.appliance(address, route.address_prefix, subnet)
                }
                RouteNextHop::None => Delivery::Dropped,
            },
        }
    }

    /// The gateway chooses the connection by the longest remote prefix, whichever route led to it.
    /// What is for none, and for a VNet on its own side, it turns back by its own routes: so spokes
    /// reach one another (section C, "Peering").
    fn gateway(&self, subnet: &ResourceId) -> Delivery {
        let topology = self.topology;
        let used = topology.gateway_used_by(self.routes.vnet);
        let used = used.filter(|used| {
            let side = used.transit.and_then(|_| {
                let hub = &used.gateway.virtual_network;
                transit::peering(self.routes.vnet, hub)
            });
            side.is_none_or(|side| self.takes_part(side, subnet))
        });
        let Some(UsedGateway { gateway, .. }) = used else {
            return Delivery::NoGateway;
        };
        if gateway.subnet == *subnet {
            return Delivery::TunnelToTunnel;
        }
        let prefixes = self
            .topology
            .connections_of(&gateway.id)
            .flat_map(|connection| {
                connection
                    .remote_prefixes
                    .iter()
                    .map(move |p| (p, connection))
            });
        let longest = prefixes
            .filter(|(prefix, _)| prefix.contains(&self.destination))
            .min_by_key(|(prefix, _)| std::cmp::Reverse(prefix.prefix_len()));
        let id = gateway.id.as_str().to_owned();
        match longest {
            Some((_, connection)) => Delivery::VirtualNetworkGateway {
                gateway: id,
                connection: connection.id.as_str().to_owned(),
                host: gateway.host.clone(),
            },
            None if self.is_behind(gateway) => Delivery::TurnedBack {
                gateway: id,
                host: gateway.host.clone(),
                delivery: Box::new(self.after(gateway)),
            },
            None => Delivery::NoConnection { gateway: id },
        }
    }

    /// Whether the destination is on the gateway's own side.
    fn is_behind(&self, gateway: &VirtualNetworkGateway) -> bool {
        let networks = &self.topology.virtual_networks;
        let hub = networks.get(&gateway.virtual_network);
        let behind = hub
            .into_iter()
            .flat_map(|hub| self.topology.behind_gateway(hub));
        let mut prefixes = behind.flat_map(|(_, prefixes)| prefixes);
        prefixes.any(|prefix| prefix.contains(&self.destination))
    }

    /// What becomes of a packet that leaves the gateway's port.
    fn after(&self, gateway: &VirtualNetworkGateway) -> Delivery {
        let answer = explain(self.topology, &gateway.subnet, self.destination);
        answer.map_or(Delivery::NoRoute, |answer| answer.delivery)
    }

    fn takes_part(&self, peering: &VirtualNetworkPeering, subnet: &ResourceId) -> bool {
        let subnet = self.routes.vnet.subnets.get(subnet);
        subnet.is_some_and(|subnet| self.topology.takes_part(subnet, peering))
    }

    fn across(&self, peering: &VirtualNetworkPeering, subnet: &ResourceId) -> Delivery {
        if self.takes_part(peering, subnet) {
            return self.endpoint(&peering.remote_virtual_network);
        }
        Delivery::SubnetNotPeered {
            peering: peering.id.as_str().to_owned(),
        }
    }

    fn endpoint(&self, vnet: &ResourceId) -> Delivery {
        let virtual_network = vnet.as_str().to_owned();
        match appliance::nic_with(self.topology, vnet, self.destination) {
            Some(nic) => Delivery::Endpoint(Taker::new(nic, vnet)),
            None => Delivery::NobodyHasIt { virtual_network },
        }
    }

    fn appliance(&self, address: IpAddr, prefix: IpNet, subnet: &ResourceId) -> Delivery {
        let vnet = self.routes.vnet;
        let reason = match appliance::resolve_in(self.topology, vnet, address, prefix) {
            Appliance::Found {
                peering: Some(peering),
                ..
            } if !self.takes_part(peering, subnet) => format!(
                "the subnet {} is no part of the peering {}",
                subnet.name(),
                peering.id.name()
            ),
            Appliance::Found { nic, vnet, .. } => {
                return Delivery::Appliance {
                    address,
                    taker: Taker::new(nic, vnet),
                };
            }
            Appliance::NoForwarding { nic } => {
                format!(
                    "network interface {} has it, without enableIPForwarding",
                    nic.id.name()
                )
            }
            Appliance::Nobody => format!(
                "no network interface of {} or of a VNet with a Connected peering has it",
                vnet.id.name()
            ),
            Appliance::WrongFamily => format!("{prefix} is of the other address family"),
        };
        Delivery::ApplianceUnreachable { address, reason }
    }
}

/// Across which peering a user route of type `VnetLocal` delivers: that with the peer in whose
/// address space its prefix lies; else it is in the VNet itself: such a route is how a longer prefix of a peer is taken back from
/// an appliance. (No rule says so; the other reading would send the packets nowhere.)
fn vnet_local_peering<'a>(
    topology: &'a Topology,
    vnet: &'a VirtualNetwork,
    prefix: IpNet,
) -> Option<&'a VirtualNetworkPeering> {
    connected_peerings(topology, vnet)
        .find(|(peering, _)| {
            peering
                .remote_address_space
                .iter()
                .any(|space| space.contains(&prefix))
        })
        .map(|(peering, _)| peering)
}

struct The<'q, 'a>(Any<'q, 'a>);

impl fmt::Display for The<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.0)
    }
}
