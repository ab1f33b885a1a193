//! Random topologies: valid ones, with much that nests, collides and is half done.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use proptest::prelude::*;

use crate::{
    effective::tests::build::{Build, net, nic_id, subnet_id, vnet_id},
    model::{PeeringState, Route, RouteNextHop, SubnetPeering, Topology},
};

/// What a topology is built from: small numbers that [`build`] makes sense of.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    vnets: Vec<VnetSpec>,
    /// Ends, kind, and the two sides' allowForwardedTraffic.
    peerings: Vec<(usize, usize, u8, bool, bool)>,
    /// disableBgpRoutePropagation and routes.
    tables: Vec<(bool, Vec<RouteSpec>)>,
    /// VNet, space, address, forwarding, tagged with a device.
    nics: Vec<(usize, usize, u8, bool, bool)>,
    /// Of each of the first VNets: whether it has a gateway, and its connections' prefixes.
    gateways: Vec<(bool, Vec<Vec<PrefixSpec>>)>,
}

/// Prefix, how much longer.
type PrefixSpec = (usize, u8);

/// Prefix, how much longer, next hop type, appliance.
type RouteSpec = (usize, u8, u8, usize);

#[derive(Clone, Debug)]
struct VnetSpec {
    location: bool,
    spaces: Vec<usize>,
    /// Route table of each of two subnets and of GatewaySubnet, past the last for none.
    tables: [usize; 3],
}

const SPACES: [&str; 16] = [
    "10.1.0.0/16",
    "10.2.0.0/16",
    "10.3.0.0/24",
    "10.3.1.0/24",
    "10.0.0.0/8",
    "172.0.0.0/8",
    "172.16.0.0/12",
    "172.17.0.0/16",
    "192.168.0.0/16",
    "192.168.7.0/24",
    "100.64.0.0/10",
    "100.0.0.0/8",
    "8.8.0.0/16",
    "fd00:1::/48",
    "fd00:2::/48",
    "2001:db8::/32",
];

/// Other prefixes of user routes.
const EXTRA: [&str; 8] = [
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/9",
    "172.16.5.0/24",
    "192.0.0.0/8",
    "100.64.0.0/16",
    "fd00::/16",
    "128.0.0.0/1",
];

pub(super) fn specs() -> impl Strategy<Value = Spec> {
    let vnet = (
        any::<bool>(),
        prop::collection::vec(0..SPACES.len(), 1..4),
        [0usize..3, 0usize..3, 0usize..3],
    )
        .prop_map(|(location, spaces, tables)| VnetSpec {
            location,
            spaces,
            tables,
        });
    let route = (0..SPACES.len() + EXTRA.len(), 0u8..10, 0u8..8, 0usize..64);
    let table = (any::<bool>(), prop::collection::vec(route, 0..12));
    let prefix = (0..SPACES.len() + EXTRA.len(), 0u8..10);
    let connection = prop::collection::vec(prefix, 1..5);
    let connections = prop::collection::vec(connection, 0..4);
    (
        prop::collection::vec(vnet, 2..6),
        prop::collection::vec(
            (0usize..6, 0usize..6, 0u8..16, any::<bool>(), any::<bool>()),
            0..14,
        ),
        prop::collection::vec(table, 1..4),
        prop::collection::vec(
            (
                0usize..6,
                0usize..3,
                4u8..9,
                prop::bool::weighted(0.7),
                prop::bool::weighted(0.8),
            ),
            4..16,
        ),
        prop::collection::vec((any::<bool>(), connections), 0..5),
    )
        .prop_map(|(vnets, peerings, tables, nics, gateways)| Spec {
            vnets,
            peerings,
            tables,
            nics,
            gateways,
        })
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The prefix of that number, as it is or a piece of it.
fn prefix_of(number: usize, longer: u8) -> Option<IpNet> {
    let prefix = net(SPACES.iter().chain(&EXTRA).nth(number).unwrap());
    // Half of them as they are, half a piece of them.
    match longer {
        0..5 => Some(prefix),
        _ => prefix
            .subnets(prefix.prefix_len() + longer - 4)
            .ok()?
            .last(),
    }
}

/// Subnet `S0`, `S1` or GatewaySubnet of a space: the first three /26 (IPv6: /64) of it.
fn subnet_of(space: &IpNet, half: usize) -> IpNet {
    let len = if matches!(space, IpNet::V4(_)) {
        26
    } else {
        64
    };
    space.subnets(len).unwrap().nth(half).unwrap()
}

fn host(prefix: &IpNet, number: u8) -> IpAddr {
    match prefix.network() {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() | u32::from(number)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() | u128::from(number)).into()),
    }
}

pub(super) fn build(spec: &Spec) -> Topology {
    let mut t = Topology::default();
    let name = |at: usize| format!("V{at}");
    let mut spaces: Vec<Vec<IpNet>> = Vec::new();
    for (at, vnet) in spec.vnets.iter().enumerate() {
        let mut own: Vec<IpNet> = Vec::new();
        for space in vnet.spaces.iter().map(|&space| net(SPACES[space])) {
            if !own.iter().any(|other| overlap(other, &space)) {
                own.push(space);
            }
        }
        let text: Vec<_> = own.iter().map(IpNet::to_string).collect();
        let text: Vec<_> = text.iter().map(String::as_str).collect();
        t.vnet(
            &name(at),
            if vnet.location {
                "westeurope"
            } else {
                "eastus"
            },
            &text,
        );
        for half in 0..2 {
            let prefixes: Vec<_> = own
                .iter()
                .map(|space| subnet_of(space, half).to_string())
                .collect();
            let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
            t.subnet(&name(at), &format!("S{half}"), &prefixes);
        }
        spaces.push(own);
    }
    peer(&mut t, spec, &spaces);
    for (at, nic) in spec.nics.iter().enumerate() {
        let &(vnet, space, number, forwarding, plugged) = nic;
        let Some(own) = spaces.get(vnet) else {
            continue;
        };
        let half = at % 2;
        let space = &own[space % own.len()];
        let address = host(&subnet_of(space, half), number);
        let taken = t.network_interfaces.values().any(|other| {
            other.ip_configurations[0].private_ip_address == address
                && other.ip_configurations[0]
                    .subnet
                    .as_str()
                    .contains(&format!("/{}/", name(vnet)))
        });
        if taken {
            continue;
        }
        let id = format!("nic{at}");
        t.nic(
            &id,
            &name(vnet),
            &format!("S{half}"),
            &[&address.to_string()],
        );
        let nic = t.network_interfaces.get_mut(&nic_id(&id)).unwrap();
        nic.enable_ip_forwarding = forwarding;
        if !plugged {
            nic.device = None;
        }
    }
    let hops: Vec<IpAddr> = t
        .network_interfaces
        .values()
        .map(|nic| nic.ip_configurations[0].private_ip_address)
        .chain([host(&net("10.1.0.0/16"), 99)])
        .collect();
    for (at, (disabled, routes)) in spec.tables.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let routes = routes.iter().filter_map(|&(prefix, longer, hop, to)| {
            let prefix = prefix_of(prefix, longer)?;
            let next_hop = match hop {
                0 => RouteNextHop::VirtualNetworkGateway,
                1 | 2 => RouteNextHop::VnetLocal,
                3 => RouteNextHop::Internet,
                4 => RouteNextHop::None,
                _ => RouteNextHop::VirtualAppliance(hops[to % hops.len()]),
            };
            let name = format!("r{}", seen.len());
            seen.insert(prefix).then(|| Route {
                name: name.into(),
                address_prefix: prefix,
                next_hop,
            })
        });
        let routes = routes.collect();
        t.table(&format!("T{at}"), routes)
            .disable_bgp_route_propagation = *disabled;
    }
    for (at, own) in spaces.iter().enumerate() {
        connect(&mut t, spec, at, own);
    }
    for (at, vnet) in spec.vnets.iter().enumerate() {
        for (subnet, &table) in ["S0", "S1", "GatewaySubnet"].iter().zip(&vnet.tables) {
            let there = t.virtual_networks[&vnet_id(&name(at))].subnets.keys();
            if table < spec.tables.len() && there.into_iter().any(|id| id.name() == *subnet) {
                t.attach(&name(at), subnet, &format!("T{table}"));
            }
        }
    }
    t
}

/// The gateway of a VNet and its connections. Their prefixes collide as they like: with one another,
/// with the VNet, its peers, user and reserved routes.
fn connect(t: &mut Topology, spec: &Spec, at: usize, own: &[IpNet]) {
    let Some((true, connections)) = spec.gateways.get(at) else {
        return;
    };
    let subnet = subnet_of(&own[0], 2).to_string();
    let (gateway, public) = (format!("G{at}"), format!("203.0.113.{at}"));
    t.gateway(&gateway, &format!("V{at}"), &[&subnet], &public);
    for (number, prefixes) in connections.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let prefixes = prefixes
            .iter()
            .filter_map(|&(p, longer)| prefix_of(p, longer));
        let prefixes: Vec<_> = prefixes.filter(|prefix| seen.insert(*prefix)).collect();
        t.connect(&format!("{gateway}-{number}"), &gateway, &prefixes);
    }
}

/// Peers what may be peered: no overlap of the two, nor with a peer of either.
fn peer(t: &mut Topology, spec: &Spec, spaces: &[Vec<IpNet>]) {
    let mut peers: Vec<BTreeSet<usize>> = (0..spaces.len()).map(|own| [own].into()).collect();
    let mut spokes = BTreeSet::new();
    for &(a, b, kind, forward_a, forward_b) in &spec.peerings {
        if a >= spaces.len() || b >= spaces.len() || peers[a].contains(&b) {
            continue;
        }
        let disjoint = |near: usize, far: usize| {
            let mut around = peers[near].iter().flat_map(|peer| &spaces[*peer]);
            !around.any(|space| spaces[far].iter().any(|other| overlap(space, other)))
        };
        if !disjoint(a, b) || !disjoint(b, a) {
            continue;
        }
        peers[a].insert(b);
        peers[b].insert(a);
        let (near, far) = (format!("V{a}"), format!("V{b}"));
        match kind {
            0 => {
                t.peer_one_way(&near, &far);
                continue;
            }
            1 => {
                t.peer_one_way(&near, &far).peering_state = PeeringState::Disconnected;
                continue;
            }
            _ => t.peer(&near, &far),
        }
        t.side(&near, &far).allow_forwarded_traffic = forward_a;
        t.side(&far, &near).allow_forwarded_traffic = forward_b;
        if kind == 2 {
            // The far VNet grew since, and this side has not been synchronised with it.
            t.side(&near, &far).remote_address_space.truncate(1);
        }
        if kind == 14 {
            // The same, of a hub that does not know all of its spoke.
            t.side(&far, &near).remote_address_space.truncate(1);
        }
        if kind == 15 {
            // Subnets alone.
            for (from, to) in [(&near, &far), (&far, &near)] {
                let remote = subnet_id(to, "S0");
                let prefixes = t.virtual_networks[&vnet_id(to)].subnets[&remote]
                    .address_prefixes
                    .clone();
                let side = t.side(from, to);
                side.remote_address_space = prefixes;
                side.subnets = Some(SubnetPeering {
                    local: vec![subnet_id(from, "S0")],
                    remote: vec![remote],
                    only_ipv6: false,
                });
            }
        }
        // Gateway transit, and halves of it; some hubs have no gateway.
        t.side(&far, &near).allow_gateway_transit = kind >= 9;
        let has_gateway = matches!(spec.gateways.get(a), Some((true, _)));
        if kind >= 8 && !has_gateway && spokes.insert(a) {
            t.side(&near, &far).use_remote_gateways = true;
        }
    }
}
