//! Appliances that route to one another in a circle.
//!
//! Azure accepts such routes, and so do we: it is a warning, and the TTL ends what goes round. An
//! appliance is taken for a router with the routes of its subnet; what its guest does besides
//! (translate, answer, send by a NIC of another machine) is not known.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use ipnet::IpNet;

use super::{Because, Element, Packet, Path, Predictor, Source};
use crate::model::{NetworkInterface, Route, RouteNextHop, RouteTable};

/// Routes of appliances that are looked at; tables of a million would take seconds.
const MOST: usize = 10_000;

/// Packets for `destination` go round among `appliances` until their TTL is used up.
#[derive(Clone, Debug)]
pub struct RouteLoop<'a> {
    pub table: &'a RouteTable,
    pub route: &'a Route,
    pub destination: IpAddr,
    /// In the order of the circle; the first has the route.
    pub appliances: Vec<&'a NetworkInterface>,
}

impl fmt::Display for RouteLoop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.appliances.iter().map(|nic| nic.id.name()).collect();
        let first = names.first().copied().unwrap_or_default();
        write!(
            f,
            "route table {}: the route {} ({}) leads in a circle: {} → {first}; what {first} forwards \
             there goes round until its TTL is used up: give the appliance's subnet another route \
             table, or none",
            self.table.id.name(),
            self.route.name,
            self.route.address_prefix,
            names.join(" → "),
        )
    }
}

impl<'a> Predictor<'a> {
    /// Circles that routes of appliances' own subnets close, each once.
    pub fn route_loops(&self) -> Vec<RouteLoop<'a>> {
        let interfaces = self.topology.network_interfaces.values();
        let appliances: Vec<&'a NetworkInterface> = interfaces
            .map(|nic| &**nic)
            .filter(|nic| nic.enable_ip_forwarding)
            .collect();
        let mut seen = BTreeSet::new();
        let mut loops = Vec::new();
        let mut left = MOST;
        for nic in appliances {
            let Some(table) = self.table_of(nic) else {
                continue;
            };
            for route in &table.routes {
                if !matches!(route.next_hop, RouteNextHop::VirtualAppliance(_)) {
                    continue;
                }
                let Some(rest) = left.checked_sub(1) else {
                    return loops;
                };
                left = rest;
                let ends = ends(route.address_prefix);
                let found = ends
                    .into_iter()
                    .find_map(|destination| self.circle(nic, table, route, destination));
                if let Some(found) = found {
                    // Whoever of them it begins with, it is one circle.
                    let members: BTreeSet<_> =
                        found.appliances.iter().map(|nic| nic.id.key()).collect();
                    let prefix = route.address_prefix;
                    if seen.insert((members, prefix)) {
                        loops.push(found);
                    }
                }
            }
        }
        loops
    }

    fn table_of(&self, nic: &NetworkInterface) -> Option<&'a RouteTable> {
        let subnet = &nic.ip_configurations.first()?.subnet;
        let vnet = self.topology.vnet_of_subnet(subnet)?;
        let table = vnet.subnets.get(subnet)?.route_table.as_ref()?;
        self.topology.route_tables.get(table).map(|table| &**table)
    }

    fn circle(
        &self,
        nic: &'a NetworkInterface,
        table: &'a RouteTable,
        route: &'a Route,
        destination: IpAddr,
    ) -> Option<RouteLoop<'a>> {
        let configurations = nic.ip_configurations.iter();
        let source = configurations
            .map(|one| one.private_ip_address)
            .find(|address| address.is_ipv4() == destination.is_ipv4())?;
        let packet = Packet::icmp(source, destination);
        let path = self
            .predict(Source::NetworkInterface(&nic.id), &packet)
            .ok()?;
        let appliances = members(&path)?;
        // One that begins elsewhere is found from there.
        (appliances.first()?.id == nic.id).then_some(RouteLoop {
            table,
            route,
            destination,
            appliances,
        })
    }
}

/// The circle that a packet went round in, from where it begins.
fn members<'a>(path: &Path<'a>) -> Option<Vec<&'a NetworkInterface>> {
    if !matches!(path.dropped()?.because, Because::Ttl) {
        return None;
    }
    let first = path.steps.first()?.at;
    let again = path
        .steps
        .iter()
        .skip(1)
        .position(|step| step.at == first)?;
    let circle = path.steps.get(..=again)?.iter();
    circle
        .map(|step| match step.at {
            Element::NetworkInterface(nic) => Some(nic),
            Element::Gateway(_) => None,
        })
        .collect()
}

/// Other routes may take a part of the prefix; both ends are tried.
fn ends(prefix: IpNet) -> [IpAddr; 2] {
    // Not the unspecified and the broadcast address, which are never routed.
    match prefix {
        IpNet::V4(net) if net.prefix_len() == 0 => {
            [[1, 0, 0, 1], [223, 255, 255, 254]].map(IpAddr::from)
        }
        IpNet::V6(net) if net.prefix_len() == 0 => [0x2000u128 << 112 | 1, 0xfbff_u128 << 112 | 1]
            .map(|bits| std::net::Ipv6Addr::from_bits(bits).into()),
        prefix => [prefix.network(), prefix.broadcast()],
    }
}
