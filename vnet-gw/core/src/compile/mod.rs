//! From a topology to what the data path should hold.
//!
//! [`compile`] is quick enough to run anew at every change: VNets and subnets are indexed once, a
//! VNet's system routes are decided once for each route table in use, and the routes of a table,
//! which are in order already, are merged with the few system routes in one pass. What comes out
//! equal to the previous image shares its memory, so [`diff_routes`] and whoever compares images
//! sees at once what did not change.

mod actions;
mod diff;
mod hash;
mod image;
mod index;
mod tables;
#[cfg(test)]
mod tests;

pub use diff::{RouteChange, diff_routes};
pub use image::*;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use index::Index;
use ipnet::IpNet;
use tables::Tables;
use thiserror::Error;
use vnet_gw_common::maps;

use crate::model::{NetworkInterface, ResourceId, Subnet, Topology};

/// What the image depends on besides the resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompileOptions<'a> {
    /// The name of this host: NICs whose tag `vnet-gw:host` has it are ports, too. Compared
    /// without case.
    pub host_name: Option<&'a str>,
}

impl CompileOptions<'_> {
    /// Whether the NIC is plugged in here.
    pub fn is_port(&self, nic: &NetworkInterface) -> bool {
        nic.device.is_some()
            && match (&nic.host, self.host_name) {
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
    #[error(
        "networkInterfaces {first} and {second} both have the device {device}; give each its own"
    )]
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
        endpoints: index.endpoint_images(),
        ..Image::default()
    };
    let mut devices = BTreeMap::new();
    let mut tables = Tables::new(topology, &index);
    for nic in topology.network_interfaces.values() {
        let Some(device) = nic.device.as_deref().filter(|_| options.is_port(nic)) else {
            continue;
        };
        if let Some(first) = devices.insert(device, &nic.id) {
            return Err(CompileError::DuplicateDevice {
                device: device.to_owned(),
                first: first.clone(),
                second: nic.id.clone(),
            });
        }
        let home = index.home(nic)?;
        image.ports.insert(
            nic.id.clone(),
            PortImage {
                device: device.to_owned(),
                mac: nic.mac_address,
                vnet: index.vnet(home.vnet).id.clone(),
                subnet: home.subnet.id.clone(),
                addresses: nic
                    .ip_configurations
                    .iter()
                    .map(|c| c.private_ip_address)
                    .collect(),
                ip_forwarding: nic.enable_ip_forwarding,
                gateway: false,
            },
        );
        if image.subnets.contains_key(&home.subnet.id) {
            continue;
        }
        let before = previous.and_then(|image| image.subnets.get(&home.subnet.id));
        let (v4, v6) = tables.of(home.vnet, home.subnet, before)?;
        let subnet = SubnetImage {
            vnet: index.vnet(home.vnet).id.clone(),
            prefixes: home.subnet.address_prefixes.clone(),
            gateway4: gateway4(home.subnet),
            gateway6: gateway6(home.subnet),
            v4,
            v6,
        };
        let shared = match before {
            Some(before) if **before == subnet => Arc::clone(before),
            _ => Arc::new(subnet),
        };
        image.subnets.insert(home.subnet.id.clone(), shared);
    }
    fits("ports", image.ports.len(), maps::MAX_PORTS)?;
    fits("subnets with ports", image.subnets.len(), maps::MAX_TABLES)?;
    tables.check_scopes()?;
    Ok(image)
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
