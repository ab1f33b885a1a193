//! Network Watcher's `topology`: the resources of a group, a VNet or a subnet, and what belongs to
//! what.

use serde::{Deserialize, Serialize};

use super::machine::machines;
use crate::model::{ResourceId, Topology};

/// `TopologyResource`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyResource {
    pub name: String,
    pub id: String,
    pub location: String,
    pub associations: Vec<Association>,
}

/// `TopologyAssociation`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Association {
    pub name: String,
    pub resource_id: String,
    pub association_type: AssociationType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssociationType {
    Associated,
    Contains,
}

/// Which resources.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// `/subscriptions/…/resourceGroups/…`
    Group(&'a str),
    VirtualNetwork(&'a ResourceId),
    Subnet(&'a ResourceId),
}

impl AssociationType {
    fn with(self, id: &ResourceId) -> Association {
        Association {
            name: id.name().to_owned(),
            resource_id: id.as_str().to_owned(),
            association_type: self,
        }
    }
}

/// The resources of the extent in the VNets of one region: networks, subnets, interfaces, machines
/// and gateways, with what each contains or is associated with.
pub fn topology_view(
    topology: &Topology,
    extent: Extent<'_>,
    region: &str,
) -> Vec<TopologyResource> {
    use AssociationType::{Associated, Contains};
    let mut found = Vec::new();
    let mut push = |id: &ResourceId, associations| {
        found.push(TopologyResource {
            name: id.name().to_owned(),
            id: id.as_str().to_owned(),
            location: region.to_owned(),
            associations,
        });
    };
    let in_group = |id: &ResourceId| match extent {
        Extent::Group(group) => id.group().eq_ignore_ascii_case(group),
        _ => true,
    };
    let networks = topology.virtual_networks.values();
    let networks = networks.filter(|network| network.location.eq_ignore_ascii_case(region));
    for network in networks {
        let whole = match extent {
            Extent::Group(_) => in_group(&network.id),
            Extent::VirtualNetwork(id) => network.id == *id,
            Extent::Subnet(_) => false,
        };
        if whole {
            let subnets = network.subnets.keys().map(|id| Contains.with(id));
            let peered = network.peerings.values();
            let peered = peered.map(|peering| Associated.with(&peering.remote_virtual_network));
            push(&network.id, subnets.chain(peered).collect());
        }
        for subnet in network.subnets.values() {
            if !whole && !matches!(extent, Extent::Subnet(id) if subnet.id == *id) {
                continue;
            }
            let groups = [&subnet.route_table, &subnet.network_security_group];
            let groups = groups.into_iter().flatten();
            push(&subnet.id, groups.map(|id| Associated.with(id)).collect());
        }
    }
    let here = |subnet: &ResourceId| {
        let network = topology.vnet_of_subnet(subnet);
        network.is_some_and(|network| {
            network.location.eq_ignore_ascii_case(region)
                && match extent {
                    Extent::Group(_) => true,
                    Extent::VirtualNetwork(id) => network.id == *id,
                    Extent::Subnet(id) => subnet == id,
                }
        })
    };
    for nic in topology.network_interfaces.values() {
        let mut subnets = nic.ip_configurations.iter().map(|one| &one.subnet);
        if !in_group(&nic.id) || !subnets.any(here) {
            continue;
        }
        let mut subnets: Vec<&ResourceId> = Vec::new();
        for configuration in &nic.ip_configurations {
            if !subnets.contains(&&configuration.subnet) {
                subnets.push(&configuration.subnet);
            }
        }
        let group = nic.network_security_group.iter();
        let all = subnets.into_iter().chain(group);
        push(&nic.id, all.map(|id| Associated.with(id)).collect());
    }
    for machine in machines(topology).values() {
        let own = machine.interfaces.iter().filter(|nic| {
            let mut configurations = nic.ip_configurations.iter();
            configurations.any(|one| here(&one.subnet))
        });
        let own: Vec<Association> = own.map(|nic| Contains.with(&nic.id)).collect();
        if in_group(&machine.id) && !own.is_empty() {
            push(&machine.id, own);
        }
    }
    for gateway in topology.virtual_network_gateways.values() {
        if !in_group(&gateway.id) || !here(&gateway.subnet) {
            continue;
        }
        let addresses = gateway.ip_configurations.iter();
        let addresses = addresses.map(|one| &one.public_ip_address);
        let connections = topology.connections_of(&gateway.id).map(|one| &one.id);
        let all = [&gateway.subnet].into_iter();
        let all = all.chain(addresses).chain(connections);
        push(&gateway.id, all.map(|id| Associated.with(id)).collect());
    }
    found
}
