//! From a topology to what the data path should hold.
//!
//! [`compile`] is quick enough to run anew at every change: VNets and subnets are indexed once, a
//! VNet's system routes are decided once for each route table in use, and the routes of a table,
//! which are in order already, are merged with the few system routes in one pass. What comes out
//! equal to the previous image shares its memory, so [`diff_routes`] and whoever compares images
//! sees at once what did not change. [`compile_again`] makes the same from an image before and what
//! changed since, where that is not much.

mod actions;
mod again;
mod diff;
mod gateways;
mod image;
mod index;
mod proposals;
mod tables;
#[cfg(test)]
mod tests;

pub use again::{Compiled, compile_again};
pub use diff::{RouteChange, diff_routes};
pub use image::*;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use index::{Home, Index};
use ipnet::IpNet;
use tables::Tables;
use thiserror::Error;
use vnet_gw_common::maps;

use crate::{
    model::{NetworkInterface, ResourceId, Subnet, Topology, VirtualNetworkGateway},
    secret::Secret,
    security::{RuleSet, RuleSetId, RuleSets, check_size, classifier::ClassifierError},
};

/// What the image depends on besides the resources.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions<'a> {
    /// The name of this host: NICs and gateways whose tag `vnet-gw:host` has it are here, too.
    /// Compared without case.
    pub host_name: Option<&'a str>,
    /// Keys of connections for which the template has none
    /// ([`Topology::connections_without_key`]). A connection with no key at all has no tunnels.
    pub shared_keys: &'a BTreeMap<ResourceId, Secret>,
}

/// Sets of security rules by their names.
type Sets = BTreeMap<RuleSetId, Arc<RuleSet>>;

static NO_KEYS: BTreeMap<ResourceId, Secret> = BTreeMap::new();

impl Default for CompileOptions<'_> {
    fn default() -> Self {
        Self {
            host_name: None,
            shared_keys: &NO_KEYS,
        }
    }
}

impl CompileOptions<'_> {
    /// Whether the NIC is plugged in here.
    pub fn is_port(&self, nic: &NetworkInterface) -> bool {
        nic.device.is_some() && self.is_here(nic.host.as_deref())
    }

    /// Whether this host runs the gateway.
    pub fn runs(&self, gateway: &VirtualNetworkGateway) -> bool {
        self.is_here(gateway.host.as_deref())
    }

    fn is_here(&self, host: Option<&str>) -> bool {
        match (host, self.host_name) {
            (None, _) => true,
            (Some(host), Some(name)) => host.eq_ignore_ascii_case(name),
            (Some(_), None) => false,
        }
    }
}

/// Why a topology does not fit the data path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompileError {
    #[error(
        "subnet {subnet}: {count} {family} routes, {limit} fit; take routes out of its route table"
    )]
    TooManyRoutes {
        subnet: ResourceId,
        family: &'static str,
        count: usize,
        limit: usize,
    },
    #[error(
        "subnet {subnet}: more than {limit} different next hops among its {family} routes; \
         use fewer appliances or peerings"
    )]
    TooManyActions {
        subnet: ResourceId,
        family: &'static str,
        limit: usize,
    },
    #[error("networkSecurityGroup {group}: {why}")]
    TooManyRules {
        group: ResourceId,
        why: ClassifierError,
    },
    #[error("route table {table}: route {route} is out of order or has the prefix of another")]
    RoutesOutOfOrder { table: ResourceId, route: String },
    #[error("networkInterface {nic}: its subnet {subnet} does not exist")]
    UnknownSubnet { nic: ResourceId, subnet: ResourceId },
    #[error("subnet {subnet}: its route table {table} does not exist")]
    UnknownRouteTable {
        subnet: ResourceId,
        table: ResourceId,
    },
    #[error("networkInterface {0}: it has no ipConfiguration")]
    NoIpConfiguration(ResourceId),
    #[error("virtualNetworkGateway {gateway}: its subnet {subnet} does not exist")]
    UnknownGatewaySubnet {
        gateway: ResourceId,
        subnet: ResourceId,
    },
    #[error("{first} and {second} both have the device {device}; give each its own")]
    DuplicateDevice {
        device: String,
        first: ResourceId,
        second: ResourceId,
    },
    #[error(
        "{count} {what}, but one instance holds {limit}; spread the networkInterfaces over more hosts"
    )]
    TooMany {
        what: &'static str,
        count: usize,
        limit: usize,
    },
}

/// The desired image of `topology`. A pure function of `topology` and `options`: `previous` only
/// lends its memory to what comes out equal.
pub fn compile(
    topology: &Topology,
    options: &CompileOptions<'_>,
    previous: Option<&Image>,
) -> Result<Image, CompileError> {
    let index = Index::new(topology)?;
    let mut image = Image {
        endpoints: index.endpoint_images().into(),
        ..Image::default()
    };
    let mut devices = BTreeMap::new();
    let mut tables = Tables::new(topology, &index);
    let mut rule_sets = RuleSets::new(topology, previous.map(|image| &image.rule_sets));
    let mut homes = Vec::new();
    for nic in topology.network_interfaces.values() {
        let Some(device) = nic.device.as_deref().filter(|_| options.is_port(nic)) else {
            continue;
        };
        take_device(&mut devices, device.to_owned(), &nic.id)?;
        let home = index.home(nic)?;
        homes.push(home);
        let vnet = index.vnet(home.vnet);
        image.ports.insert(
            nic.id.clone(),
            PortImage {
                device: device.to_owned(),
                mac: nic.mac_address,
                vnet: vnet.id.clone(),
                subnet: home.subnet.id.clone(),
                addresses: nic
                    .ip_configurations
                    .iter()
                    .map(|c| c.private_ip_address)
                    .collect(),
                ip_forwarding: nic.enable_ip_forwarding,
                gateway: false,
                security: rule_sets.of_nic_in(nic, vnet, home.subnet),
                flow_timeout: vnet.flow_timeout,
            }
            .into(),
        );
    }
    for gateway in topology.virtual_network_gateways.values() {
        if !options.runs(gateway) {
            continue;
        }
        let unknown = || CompileError::UnknownGatewaySubnet {
            gateway: gateway.id.clone(),
            subnet: gateway.subnet.clone(),
        };
        let home = index.subnet(&gateway.subnet).ok_or_else(unknown)?;
        homes.push(home);
        let vnet = index.vnet(home.vnet);
        let compiled = gateways::image(topology, options, gateway, vnet);
        take_device(&mut devices, compiled.device.clone(), &gateway.id)?;
        image.ports.insert(
            gateway.id.clone(),
            gateways::port(gateway, &compiled).into(),
        );
        image.gateways.push(compiled);
    }
    for home in homes {
        if image.subnets.contains_key(&home.subnet.id) {
            continue;
        }
        let before = previous.and_then(|image| image.subnets.get(&home.subnet.id));
        let subnet = subnet_image(&index, &mut tables, home, before)?;
        image.subnets.insert(home.subnet.id.clone(), subnet);
    }
    image.rule_sets = rule_sets.into_sets();
    let before = previous.map(|image| &image.rule_sets);
    check_rule_sets(&image.rule_sets, before)?;
    fits("ports", image.ports.len(), maps::MAX_PORTS)?;
    fits("subnets with ports", image.subnets.len(), maps::MAX_TABLES)?;
    tables.check_scopes()?;
    Ok(image)
}

/// Whether the data path takes the sets; those that it took before are not asked again.
fn check_rule_sets(sets: &Sets, before: Option<&Sets>) -> Result<(), CompileError> {
    fits("sets of security rules", sets.len(), maps::MAX_RULE_SETS)?;
    for (id, set) in sets {
        let known = before.and_then(|before| before.get(id));
        if !known.is_some_and(|known| Arc::ptr_eq(known, set)) {
            let group = id.group.clone();
            check_size(set).map_err(|why| CompileError::TooManyRules { group, why })?;
        }
    }
    Ok(())
}

/// A subnet with its tables: `before`, where that is equal.
fn subnet_image<'a>(
    index: &Index<'a>,
    tables: &mut Tables<'a>,
    home: Home<'a>,
    before: Option<&Arc<SubnetImage>>,
) -> Result<Arc<SubnetImage>, CompileError> {
    let (v4, v6) = tables.of(home.vnet, home.subnet, before)?;
    let subnet = SubnetImage {
        vnet: index.vnet(home.vnet).id.clone(),
        prefixes: home.subnet.address_prefixes.clone(),
        gateway4: gateway4(home.subnet),
        gateway6: gateway6(home.subnet),
        v4,
        v6,
    };
    Ok(match before {
        Some(before) if **before == subnet => Arc::clone(before),
        _ => Arc::new(subnet),
    })
}

/// A netdev is one port's.
fn take_device<'a>(
    devices: &mut BTreeMap<String, &'a ResourceId>,
    device: String,
    port: &'a ResourceId,
) -> Result<(), CompileError> {
    match devices.insert(device.clone(), port) {
        None => Ok(()),
        Some(first) => Err(CompileError::DuplicateDevice {
            device,
            first: first.clone(),
            second: port.clone(),
        }),
    }
}

/// Number 0 of every map is "none".
fn fits(what: &'static str, count: usize, entries: u32) -> Result<(), CompileError> {
    let limit = entries as usize - 1;
    if count > limit {
        Err(CompileError::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}

fn gateway4(subnet: &Subnet) -> Option<Ipv4Addr> {
    subnet
        .address_prefixes
        .iter()
        .find_map(|prefix| match prefix {
            IpNet::V4(prefix) => Some(Ipv4Addr::from_bits(prefix.network().to_bits() | 1)),
            IpNet::V6(_) => None,
        })
}

fn gateway6(subnet: &Subnet) -> Option<Ipv6Addr> {
    subnet
        .address_prefixes
        .iter()
        .find_map(|prefix| match prefix {
            IpNet::V6(prefix) => Some(Ipv6Addr::from_bits(prefix.network().to_bits() | 1)),
            IpNet::V4(_) => None,
        })
}
