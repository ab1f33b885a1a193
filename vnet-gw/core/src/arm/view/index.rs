//! Which resources refer to one: what Azure shows as back references.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::model::{ResourceId, Topology};

/// How often everything is searched before an index is worth its price, which is that of some ten
/// searches.
const SEARCHES: u32 = 8;

/// Who refers to whom in a [`State`](crate::arm::State). A list that shows back references makes an
/// index, because it would otherwise search everything for each of its rows. States share it for as
/// long as nobody refers to anybody else; what is shown after a change that may be of that kind is
/// one resource, and searched for.
#[derive(Default)]
pub struct References {
    index: OnceLock<Index>,
    searches: AtomicU32,
}

/// One resource refers to another.
enum Edge<'a> {
    /// An ipConfiguration to its subnet.
    Subnet(&'a ResourceId, IpConfiguration<'a>),
    /// A subnet to its route table.
    RouteTable(&'a ResourceId, &'a ResourceId),
    /// A NIC to its network security group.
    SecurityGroupOfNic(&'a ResourceId, &'a ResourceId),
    /// A subnet to its network security group.
    SecurityGroupOfSubnet(&'a ResourceId, &'a ResourceId),
    /// An ipConfiguration to its public address.
    PublicAddress(&'a ResourceId, IpConfiguration<'a>),
}

#[derive(Clone, Copy)]
struct IpConfiguration<'a> {
    owner: &'a ResourceId,
    name: &'a str,
}

/// The ids that refer, by what they refer to; in the order of ids.
#[derive(Default)]
struct Index {
    ip_configurations: HashMap<ResourceId, Vec<String>>,
    subnets: HashMap<ResourceId, Vec<String>>,
    /// Of a network security group, the NICs and the subnets.
    secured: HashMap<ResourceId, [Vec<String>; 2]>,
    /// One ipConfiguration has a public address.
    public_addresses: HashMap<ResourceId, String>,
}

impl References {
    /// The ids of the ipConfigurations in a subnet.
    pub(super) fn in_subnet(&self, topology: &Topology, subnet: &ResourceId) -> Vec<String> {
        if let Some(index) = self.index(topology) {
            let found = index.ip_configurations.get(subnet);
            return found.cloned().unwrap_or_default();
        }
        let mut found = Vec::new();
        edges(topology, |edge| match edge {
            Edge::Subnet(to, of) if to == subnet => found.push(of.id()),
            _ => {}
        });
        found
    }

    /// The ids of the subnets with a route table.
    pub(super) fn with_route_table(&self, topology: &Topology, table: &ResourceId) -> Vec<String> {
        if let Some(index) = self.index(topology) {
            return index.subnets.get(table).cloned().unwrap_or_default();
        }
        let mut found = Vec::new();
        edges(topology, |edge| match edge {
            Edge::RouteTable(to, subnet) if to == table => found.push(subnet.to_string()),
            _ => {}
        });
        found
    }

    /// The ids of the NICs, and of the subnets, with a network security group.
    pub(super) fn with_security_group(
        &self,
        topology: &Topology,
        group: &ResourceId,
    ) -> [Vec<String>; 2] {
        if let Some(index) = self.index(topology) {
            return index.secured.get(group).cloned().unwrap_or_default();
        }
        let [mut nics, mut subnets] = [const { Vec::new() }; 2];
        edges(topology, |edge| match edge {
            Edge::SecurityGroupOfNic(to, nic) if to == group => nics.push(nic.to_string()),
            Edge::SecurityGroupOfSubnet(to, subnet) if to == group => {
                subnets.push(subnet.to_string());
            }
            _ => {}
        });
        [nics, subnets]
    }

    /// The id of the ipConfiguration that has a public address.
    pub(super) fn with_public_address(
        &self,
        topology: &Topology,
        address: &ResourceId,
    ) -> Option<String> {
        if let Some(index) = self.index(topology) {
            return index.public_addresses.get(address).cloned();
        }
        let mut found = None;
        edges(topology, |edge| match edge {
            Edge::PublicAddress(to, of) if to == address => found = Some(of.id()),
            _ => {}
        });
        found
    }

    /// Nothing while a search is cheaper.
    fn index(&self, topology: &Topology) -> Option<&Index> {
        let made = self.index.get();
        // How many searched at the same time does not matter.
        if made.is_some() || self.searches.fetch_add(1, Ordering::Relaxed) < SEARCHES {
            return made;
        }
        Some(self.index.get_or_init(|| Index::new(topology)))
    }
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("References")
    }
}

impl Index {
    fn new(topology: &Topology) -> Self {
        let mut index = Self::default();
        edges(topology, |edge| match edge {
            Edge::Subnet(to, of) => push(&mut index.ip_configurations, to, of.id()),
            Edge::RouteTable(to, subnet) => push(&mut index.subnets, to, subnet.to_string()),
            Edge::SecurityGroupOfNic(to, nic) => {
                index.secured.entry(to.clone()).or_default()[0].push(nic.to_string());
            }
            Edge::SecurityGroupOfSubnet(to, subnet) => {
                index.secured.entry(to.clone()).or_default()[1].push(subnet.to_string());
            }
            Edge::PublicAddress(to, of) => {
                index.public_addresses.insert(to.clone(), of.id());
            }
        });
        index
    }
}

fn push(into: &mut HashMap<ResourceId, Vec<String>>, to: &ResourceId, from: String) {
    match into.get_mut(to) {
        Some(all) => all.push(from),
        None => {
            into.insert(to.clone(), vec![from]);
        }
    }
}

impl IpConfiguration<'_> {
    fn id(self) -> String {
        format!("{}/ipConfigurations/{}", self.owner, self.name)
    }
}

/// All of them, in the order of the ids of who refers.
fn edges<'a>(topology: &'a Topology, mut visit: impl FnMut(Edge<'a>)) {
    for nic in topology.network_interfaces.values() {
        for one in &nic.ip_configurations {
            let owner = &nic.id;
            let name = &one.name;
            visit(Edge::Subnet(&one.subnet, IpConfiguration { owner, name }));
        }
        if let Some(group) = &nic.network_security_group {
            visit(Edge::SecurityGroupOfNic(group, &nic.id));
        }
    }
    for gateway in topology.virtual_network_gateways.values() {
        for one in &gateway.ip_configurations {
            let owner = &gateway.id;
            let name = &one.name;
            let of = IpConfiguration { owner, name };
            visit(Edge::Subnet(&gateway.subnet, of));
            visit(Edge::PublicAddress(&one.public_ip_address, of));
        }
    }
    for vnet in topology.virtual_networks.values() {
        for subnet in vnet.subnets.values() {
            if let Some(table) = &subnet.route_table {
                visit(Edge::RouteTable(table, &subnet.id));
            }
            if let Some(group) = &subnet.network_security_group {
                visit(Edge::SecurityGroupOfSubnet(group, &subnet.id));
            }
        }
    }
}
