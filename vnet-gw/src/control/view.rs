//! Answers that follow from what is in force: pure functions, used by the daemon and, for
//! `--config FILE`, by the command line itself.

use std::net::IpAddr;

use ipnet::IpNet;
use vnet_gw_common::{Counter, verdict::Kind};
use vnet_gw_core::{
    compile::{ActionImage, TableImage},
    effective::{
        self, Delivery, EffectiveRouteTable, Explanation, NextHopType, is_private,
        precedence::peering_is_global,
    },
    model::{ResourceId, Topology, VirtualNetwork, VirtualNetworkPeering},
    security::{self, EffectiveSecurityGroups},
};

use super::{
    AddressSpace, CounterFilter, CounterTable, ErrorCode, ErrorReply, NextHopReply, Outcome,
    PeeringList, PeeringRow, PortList, ReasonCounter, Reference, RouteCounter, Snapshot, Target,
    find_nic, find_subnet, group_of,
};
use crate::datapath::Counters;

fn name_error(error: impl ToString) -> ErrorReply {
    ErrorReply::new(ErrorCode::Name, error)
}

/// The rows of Azure's `effectiveRouteTable`.
pub fn effective_routes(
    topology: &Topology,
    of: &Target,
) -> Result<EffectiveRouteTable, ErrorReply> {
    let value = match of {
        Target::NetworkInterface(name) => {
            let nic = find_nic(topology, name).map_err(name_error)?;
            effective::effective_routes_of_nic(topology, nic)
        }
        Target::Subnet(name) => {
            let subnet = find_subnet(topology, name).map_err(name_error)?;
            effective::effective_routes(topology, subnet)
        }
    };
    Ok(EffectiveRouteTable {
        value: value.map_err(name_error)?,
    })
}

/// Azure's `effectiveNetworkSecurityGroups`.
pub fn effective_security_groups(
    topology: &Topology,
    name: &str,
) -> Result<EffectiveSecurityGroups, ErrorReply> {
    let nic = find_nic(topology, name).map_err(name_error)?;
    security::effective_security_groups(topology, nic).map_err(name_error)
}

/// Network Watcher's `nextHop`, with the reasons. `ports`: how those of this host fare, where a
/// daemon tells.
pub fn next_hop(
    snapshot: &Snapshot,
    name: &str,
    destination: IpAddr,
    ports: Option<&PortList>,
) -> Result<NextHopReply, ErrorReply> {
    let topology = &snapshot.topology;
    let nic = find_nic(topology, name).map_err(name_error)?;
    let subnet = effective::subnet_of_nic(topology, nic).map_err(name_error)?;
    let mut explanation = effective::explain(topology, subnet, destination).map_err(name_error)?;
    if !effective::is_routable(destination) {
        explanation.delivery = Delivery::NotRoutable;
    }
    Ok(NextHopReply {
        result: effective::next_hop(topology, nic, destination).map_err(name_error)?,
        network_interface: nic.to_string(),
        outcome: outcome(snapshot, &explanation, ports),
        explanation,
    })
}

/// The delivery in words, with what the data path knows beyond the resources.
fn outcome(snapshot: &Snapshot, explanation: &Explanation, ports: Option<&PortList>) -> String {
    let delivery = &explanation.delivery;
    let (Delivery::Endpoint(taker) | Delivery::Appliance { taker, .. }) = delivery else {
        return match delivery {
            Delivery::Internet => to_internet(snapshot, explanation.destination, ports),
            Delivery::VirtualNetworkGateway { gateway, .. }
            | Delivery::TurnedBack { gateway, .. } => {
                into_gateway(snapshot, &ResourceId::new(gateway), delivery, ports)
            }
            _ => delivery.to_string(),
        };
    };
    let here = snapshot
        .image
        .ports
        .contains_key(&ResourceId::new(&taker.network_interface));
    match (&taker.device, here) {
        (Some(_), false) => format!("{delivery}; not on this host: dropped (port_down)"),
        (Some(device), true) => match state_of(ports, &ResourceId::new(&taker.network_interface)) {
            None | Some("up") => delivery.to_string(),
            Some("no-device") => format!(
                "dropped (port_down): {delivery}; there is no network device {device} on this \
                     host (yet)"
            ),
            Some(state) => format!("{delivery}; the port is {state}: see `vnet-gw ports`"),
        },
        _ => delivery.to_string(),
    }
}

fn to_internet(snapshot: &Snapshot, destination: IpAddr, ports: Option<&PortList>) -> String {
    match snapshot.internet_port(ports) {
        None => "dropped (next_hop_internet): this host has no internet port: it is off, or the \
                 host has no default route"
            .to_owned(),
        Some(port) if !port.up => {
            "dropped (port_down): the internet port is not up: see `vnet-gw ports`".to_owned()
        }
        Some(_) if is_private(destination) => {
            format!("dropped (internet_destination): {destination} is no address of the internet")
        }
        Some(port) if !port.carries(destination) => format!(
            "dropped (next_hop_internet): this host leads nothing to the IPv{} internet",
            if destination.is_ipv4() { 4 } else { 6 }
        ),
        Some(_) => Delivery::Internet.to_string(),
    }
}

fn state_of<'a>(ports: Option<&'a PortList>, id: &ResourceId) -> Option<&'a str> {
    let mut rows = ports.into_iter().flat_map(|ports| &ports.value);
    let row = rows.find(|row| ResourceId::new(&row.network_interface) == *id)?;
    Some(&row.state)
}

/// What becomes of a packet that the gateway is to take.
fn into_gateway(
    snapshot: &Snapshot,
    gateway: &ResourceId,
    delivery: &Delivery,
    ports: Option<&PortList>,
) -> String {
    let mut here = snapshot.image.gateways.iter();
    let Some(image) = here.find(|image| image.id == *gateway) else {
        return format!("{delivery}; not on this host: dropped (port_down)");
    };
    match state_of(ports, gateway) {
        None | Some("up") => format!("{delivery} (device {})", image.device),
        Some("no-device") => format!(
            "dropped (port_down): {delivery}; its worker has not made the device {} on this host \
             (yet)",
            image.device
        ),
        Some(state) => format!("{delivery}; the port is {state}: see `vnet-gw ports`"),
    }
}

pub fn peerings(topology: &Topology) -> PeeringList {
    let rows = topology.virtual_networks.values().flat_map(|vnet| {
        vnet.peerings
            .values()
            .map(move |peering| peering_row(topology, vnet, peering))
    });
    PeeringList {
        value: rows.collect(),
    }
}

fn peering_row(
    topology: &Topology,
    vnet: &VirtualNetwork,
    peering: &VirtualNetworkPeering,
) -> PeeringRow {
    let remote = topology
        .virtual_networks
        .get(&peering.remote_virtual_network);
    PeeringRow {
        id: peering.id.to_string(),
        name: peering.id.name().to_owned(),
        resource_group: group_of(peering.id.as_str()).to_owned(),
        virtual_network: Reference {
            id: vnet.id.to_string(),
        },
        remote_virtual_network: Reference {
            id: peering.remote_virtual_network.to_string(),
        },
        peering_state: peering.peering_state.as_str().to_owned(),
        peering_sync_level: peering.peering_sync_level.as_str().to_owned(),
        allow_virtual_network_access: peering.allow_virtual_network_access,
        allow_forwarded_traffic: peering.allow_forwarded_traffic,
        allow_gateway_transit: peering.allow_gateway_transit,
        use_remote_gateways: peering.use_remote_gateways,
        remote_address_space: AddressSpace {
            address_prefixes: peering.remote_address_space.clone(),
        },
        next_hop_type: match remote {
            Some(remote) if peering_is_global(vnet, remote) => NextHopType::VNetGlobalPeering,
            _ => NextHopType::VNetPeering,
        },
    }
}

/// What was counted, with the next hop that each route has now.
pub fn counters(
    snapshot: &Snapshot,
    counted: &Counters,
    filter: &CounterFilter,
    uptime_seconds: f64,
) -> Result<CounterTable, ErrorReply> {
    let only = match &filter.subnet {
        Some(name) => Some(find_subnet(&snapshot.topology, name).map_err(name_error)?),
        None => None,
    };
    let mut routes = Vec::new();
    for (id, subnet) in &counted.subnets {
        if only.is_some_and(|only| only != id) {
            continue;
        }
        let Some(image) = snapshot.image.subnets.get(id) else {
            continue;
        };
        let scope = Scope {
            snapshot,
            subnet: id,
            vnet: &image.vnet,
            zero: filter.zero,
        };
        scope.rows(&subnet.v4, &image.v4, &mut routes);
        scope.rows(&subnet.v6, &image.v6, &mut routes);
    }
    let reasons = counted
        .reasons
        .iter()
        .filter(|(_, counter)| filter.zero || counter.packets > 0);
    let reasons = reasons.map(|(reason, counter)| ReasonCounter {
        reason: reason.name().to_owned(),
        outcome: match reason.kind() {
            Kind::Drop => Outcome::Dropped,
            Kind::Answer => Outcome::Answered,
            Kind::NotSent => Outcome::NotSent,
            Kind::Slow => Outcome::Forwarded,
        },
        packets: counter.packets,
        bytes: counter.bytes,
        help: reason.help().trim().to_owned(),
    });
    Ok(CounterTable {
        uptime_seconds,
        routes,
        reasons: reasons.collect(),
    })
}

struct Scope<'a> {
    snapshot: &'a Snapshot,
    subnet: &'a ResourceId,
    vnet: &'a ResourceId,
    zero: bool,
}

impl Scope<'_> {
    fn rows<P: Copy + Ord + Into<IpNet>>(
        &self,
        counted: &[(P, Counter)],
        table: &TableImage<P>,
        rows: &mut Vec<RouteCounter>,
    ) {
        for (prefix, counter) in counted {
            if counter.packets == 0 && !self.zero {
                continue;
            }
            // Between the reading of the counters and of what is in force a route may have gone.
            let Some(action) = action_of(table, prefix) else {
                continue;
            };
            let hop = next_hop_of(&self.snapshot.topology, self.vnet, action);
            rows.push(RouteCounter {
                subnet: self.subnet.to_string(),
                address_prefix: (*prefix).into(),
                next_hop_type: hop.kind,
                next_hop_ip_address: hop.address,
                virtual_network: hop.vnet,
                packets: counter.packets,
                bytes: counter.bytes,
            });
        }
    }
}

fn action_of<'a, P: Ord>(table: &'a TableImage<P>, prefix: &P) -> Option<&'a ActionImage> {
    let at = table
        .routes
        .binary_search_by(|(other, _)| other.cmp(prefix))
        .ok()?;
    table.actions.get(table.routes.get(at)?.1 as usize)
}

/// An action in Azure's words.
pub(crate) struct Hop {
    pub(crate) kind: NextHopType,
    pub(crate) address: Option<IpAddr>,
    pub(crate) vnet: Option<String>,
}

/// `vnet` is the one whose subnet has the action.
pub(crate) fn next_hop_of(topology: &Topology, vnet: &ResourceId, action: &ActionImage) -> Hop {
    let bare = |kind| Hop {
        kind,
        address: None,
        vnet: None,
    };
    match action {
        ActionImage::Local { .. } => bare(NextHopType::VnetLocal),
        ActionImage::Peering { vnet: remote, .. } => {
            let vnets = &topology.virtual_networks;
            let global = vnets
                .get(vnet)
                .zip(vnets.get(remote))
                .is_some_and(|(vnet, remote)| peering_is_global(vnet, remote));
            Hop {
                vnet: Some(remote.to_string()),
                ..bare(if global {
                    NextHopType::VNetGlobalPeering
                } else {
                    NextHopType::VNetPeering
                })
            }
        }
        ActionImage::Appliance { vnet, address, .. } => Hop {
            address: Some(*address),
            vnet: vnet.as_ref().map(ToString::to_string),
            ..bare(NextHopType::VirtualAppliance)
        },
        ActionImage::Internet => bare(NextHopType::Internet),
        ActionImage::Gateway { .. } => bare(NextHopType::VirtualNetworkGateway),
        ActionImage::None => bare(NextHopType::None),
    }
}
