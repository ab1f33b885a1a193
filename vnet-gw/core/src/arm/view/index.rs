//! Which resources refer to one: what Azure shows as back references.

use std::{collections::HashMap, fmt, sync::OnceLock};

use crate::model::{ResourceId, Topology};

/// Made when first asked for, once for a [`State`](crate::arm::State): a list that shows back
/// references would otherwise search everything for each of its rows. A clone has none, because
/// it is made to be changed.
#[derive(Default)]
pub struct References(OnceLock<Index>);

/// An ipConfiguration: of which resource, and the place in its list there.
#[derive(Debug)]
pub(super) struct IpConfigurationOf {
    owner: ResourceId,
    at: usize,
    gateway: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// By subnet, in the order of ids.
    ip_configurations: HashMap<ResourceId, Vec<IpConfigurationOf>>,
    /// By route table, in the order of ids.
    subnets: HashMap<ResourceId, Vec<ResourceId>>,
    /// By public IP address, which one ipConfiguration has.
    public_addresses: HashMap<ResourceId, IpConfigurationOf>,
}

impl References {
    pub(super) fn of(&self, topology: &Topology) -> &Index {
        self.0.get_or_init(|| Index::new(topology))
    }
}

impl Clone for References {
    fn clone(&self) -> Self {
        Self::default()
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
        for nic in topology.network_interfaces.values() {
            for (at, configuration) in nic.ip_configurations.iter().enumerate() {
                let of = index.subnet(&configuration.subnet);
                of.push(IpConfigurationOf {
                    owner: nic.id.clone(),
                    at,
                    gateway: false,
                });
            }
        }
        for gateway in topology.virtual_network_gateways.values() {
            for (at, configuration) in gateway.ip_configurations.iter().enumerate() {
                let of = || IpConfigurationOf {
                    owner: gateway.id.clone(),
                    at,
                    gateway: true,
                };
                index.subnet(&gateway.subnet).push(of());
                let address = configuration.public_ip_address.clone();
                index.public_addresses.insert(address, of());
            }
        }
        let subnets = topology
            .virtual_networks
            .values()
            .flat_map(|vnet| vnet.subnets.values());
        for subnet in subnets {
            if let Some(table) = &subnet.route_table {
                let users = index.subnets.entry(table.clone()).or_default();
                users.push(subnet.id.clone());
            }
        }
        index
    }

    fn subnet(&mut self, subnet: &ResourceId) -> &mut Vec<IpConfigurationOf> {
        self.ip_configurations.entry(subnet.clone()).or_default()
    }

    /// The ids of the ipConfigurations in a subnet.
    pub(super) fn in_subnet<'a>(
        &'a self,
        topology: &'a Topology,
        subnet: &ResourceId,
    ) -> impl Iterator<Item = String> + 'a {
        let found = self.ip_configurations.get(subnet);
        found.into_iter().flatten().filter_map(|of| of.id(topology))
    }

    /// The subnets with a route table.
    pub(super) fn with_route_table(&self, table: &ResourceId) -> &[ResourceId] {
        self.subnets.get(table).map_or(&[], Vec::as_slice)
    }

    /// The id of the ipConfiguration that has a public address.
    pub(super) fn with_public_address(
        &self,
        topology: &Topology,
        address: &ResourceId,
    ) -> Option<String> {
        self.public_addresses.get(address)?.id(topology)
    }
}

impl IpConfigurationOf {
    fn id(&self, topology: &Topology) -> Option<String> {
        let name = if self.gateway {
            let gateway = topology.virtual_network_gateways.get(&self.owner)?;
            &gateway.ip_configurations.get(self.at)?.name
        } else {
            let nic = topology.network_interfaces.get(&self.owner)?;
            &nic.ip_configurations.get(self.at)?.name
        };
        Some(format!("{}/ipConfigurations/{name}", self.owner))
    }
}
