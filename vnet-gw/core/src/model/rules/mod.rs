//! The rules of `azure-semantics.md` (B, C, D) that concern more than one property: the resources
//! are held against one another, and what follows from all of them (peering states, dynamic
//! addresses, MAC addresses) is filled in. Errors have the resource's id as their target.

mod address_space;
mod connection;
mod gateway;
mod network_interface;
mod peering;
mod route_table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ArmError, ResourceId, Shared, Topology,
    error::{Errors, cut},
    read::Draft,
};

/// The topology of a draft; what breaks a rule is collected.
pub(super) fn check(draft: Draft, errors: &mut Errors) -> Topology {
    let Draft {
        mut virtual_networks,
        unverified_gateways,
        mut route_tables,
        network_interfaces,
        public_ip_addresses,
        virtual_network_gateways,
        local_network_gateways,
        connections,
        locations,
    } = draft;
    address_space::check(&virtual_networks, errors);
    gateway::check_public_addresses(&public_ip_addresses, errors);
    let mut refused: BTreeSet<ResourceId> = virtual_network_gateways
        .iter()
        .map(|gateway| gateway.id.clone())
        .collect();
    let virtual_network_gateways = gateway::settle(
        virtual_network_gateways,
        &virtual_networks,
        &public_ip_addresses,
        &locations,
        errors,
    );
    refused.retain(|id| !virtual_network_gateways.contains_key(id));
    let with_gateway = virtual_network_gateways
        .values()
        .map(|gateway| &gateway.virtual_network);
    let gateways = peering::Gateways {
        networks: with_gateway.collect(),
        unverified: &unverified_gateways,
    };
    peering::check(&virtual_networks, &gateways, errors);
    peering::connect(&mut virtual_networks);
    route_tables
        .values_mut()
        .for_each(|table| route_table::sort(table, errors));
    route_table::check_subnets(&virtual_networks, &route_tables, &locations, errors);
    let network_interfaces =
        network_interface::settle(network_interfaces, &virtual_networks, &locations, errors);
    connection::check_sites(&local_network_gateways, errors);
    let ends = connection::Ends {
        networks: &virtual_networks,
        gateways: &virtual_network_gateways,
        sites: &local_network_gateways,
        locations: &locations,
        refused: &refused,
    };
    let connections = connection::settle(connections, &ends, errors);
    Topology {
        virtual_networks: shared(virtual_networks),
        route_tables: route_tables
            .into_iter()
            .map(|(id, table)| (id, Arc::new(table)))
            .collect(),
        network_security_groups: BTreeMap::new(),
        network_interfaces: shared(network_interfaces),
        public_ip_addresses: shared(public_ip_addresses),
        virtual_network_gateways: shared(virtual_network_gateways),
        local_network_gateways: shared(local_network_gateways),
        connections: shared(connections),
    }
}

fn shared<T>(all: BTreeMap<ResourceId, T>) -> BTreeMap<ResourceId, Shared<T>> {
    all.into_iter().map(|(id, one)| (id, one.into())).collect()
}

fn error(code: &str, target: &ResourceId, message: String) -> ArmError {
    ArmError::new(code, message).at(target.as_str())
}

/// `InvalidResourceReference`: what is referred to is not there.
fn not_found<'a>(
    noun: &str,
    missing: &ResourceId,
    target: &ResourceId,
    mut known: impl Iterator<Item = &'a ResourceId>,
) -> ArmError {
    // The commonest mistake is a full id of another resource group.
    let hint = known.find(|id| id.name().eq_ignore_ascii_case(missing.name())).map_or_else(
        || "add it, or correct the id".to_owned(),
        |id| format!("there is {id}; correct the id, or deploy to that subscription and resource group"),
    );
    let message = format!("The {noun} {missing} is not in the template: {hint}.");
    error("InvalidResourceReference", target, message)
}

/// Azure finds what is referred to in the same region only. Locations that are not written are
/// that of the resource group, and agree.
fn check_location(
    target: &ResourceId,
    other: &ResourceId,
    locations: &BTreeMap<ResourceId, String>,
    errors: &mut Errors,
) {
    if let (Some(here), Some(there)) = (locations.get(target), locations.get(other))
        && here != there
    {
        errors.push(error(
            "InvalidResourceReference",
            target,
            format!(
                "It is in {}, but {other}, which it belongs to, is in {}: use one location.",
                cut(here),
                cut(there)
            ),
        ));
    }
}
