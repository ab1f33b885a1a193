//! The rules of `azure-semantics.md` (B, C, D) that concern more than one property: the resources
//! are held against one another, and what follows from all of them (peering states, dynamic
//! addresses, MAC addresses) is filled in. Errors have the resource's id as their target.

mod address_space;
mod again;
mod connection;
mod gateway;
mod network_interface;
mod network_security_group;
mod network_watcher;
mod peering;
mod peering_state;
mod route_table;

pub(super) use again::again;

use std::sync::Arc;

use super::{
    ArmError, ById, ResourceId, Shared, Topology, VirtualNetwork,
    error::{Errors, cut},
    read::{Draft, Fragment, Resource},
};
use crate::hash::FastMap;

type Networks = ById<Shared<VirtualNetwork>>;

/// Where resources are, those that say it; but for network interfaces, of which there are many.
type Locations<'a> = FastMap<&'a ResourceId, &'a str>;

/// What can be said of each resource by itself. An interface that is not sound is told and left
/// out.
pub(super) fn alone(draft: &mut Draft, errors: &mut Errors) {
    for network in draft.virtual_networks.values() {
        address_space::check(&network.network, errors);
        peering::check_own(&network.network, errors);
    }
    for table in draft.route_tables.values_mut() {
        route_table::sort(table, errors);
    }
    for group in draft.network_security_groups.values_mut() {
        network_security_group::sort(group, errors);
    }
    draft
        .network_interfaces
        .retain_mut(|interface| network_interface::check_own(interface, errors));
    for site in draft.local_network_gateways.values() {
        connection::check_site(site, errors);
    }
}

/// The topology of resources that are sound by themselves; what breaks a rule is collected. What
/// follows from nothing else is shared with the fragments.
pub(super) fn together<'a>(
    fragments: impl Iterator<Item = &'a Fragment>,
    errors: &mut Errors,
) -> Topology {
    let mut topology = Topology::default();
    let mut locations = Locations::default();
    let (mut networks, mut interfaces, mut gateways) = (Vec::new(), Vec::new(), Vec::new());
    let (mut virtual_networks, mut route_tables) = (Vec::new(), Vec::new());
    let (mut security_groups, mut addresses, mut sites) = (Vec::new(), Vec::new(), Vec::new());
    let (mut application_groups, mut connections) = (Vec::new(), Vec::new());
    let mut watchers = network_watcher::Places::default();
    for fragment in fragments {
        let resource = &fragment.resource;
        let id = resource.id();
        let location = fragment.location.as_deref();
        if let Resource::NetworkInterface(draft) = resource {
            interfaces.push((draft, location));
            continue;
        }
        if let Some(location) = location {
            locations.insert(id, location);
        }
        let id = id.clone();
        match resource {
            Resource::VirtualNetwork(draft) => {
                networks.push(draft);
                virtual_networks.push((id, draft.network.clone()));
            }
            Resource::RouteTable(table) => route_tables.push((id, Arc::clone(table))),
            Resource::NetworkSecurityGroup(group) => security_groups.push((id, group.clone())),
            Resource::ApplicationSecurityGroup(group) => {
                application_groups.push((id, group.clone()))
            }
            Resource::PublicIpAddress(address) => addresses.push((id, address.clone())),
            Resource::VirtualNetworkGateway(draft) => gateways.push(draft),
            Resource::LocalNetworkGateway(site) => sites.push((id, site.clone())),
            Resource::Connection(connection) => connections.push(connection),
            Resource::NetworkWatcher(watcher) => watchers.take(watcher, location, errors),
            Resource::NetworkInterface(_) => {}
        }
    }
    // From lists, since maps are made of what is sorted already in no time.
    topology.virtual_networks = ById::from_iter(virtual_networks);
    topology.route_tables = ById::from_iter(route_tables);
    topology.network_security_groups = ById::from_iter(security_groups);
    topology.application_security_groups = ById::from_iter(application_groups);
    topology.public_ip_addresses = ById::from_iter(addresses);
    topology.local_network_gateways = ById::from_iter(sites);
    gateway::check_public_addresses(&topology.public_ip_addresses, errors);
    let mut refused: Vec<&ResourceId> = gateways.iter().map(|gateway| &gateway.id).collect();
    topology.virtual_network_gateways = gateway::settle(
        gateways,
        &topology.virtual_networks,
        &topology.public_ip_addresses,
        &locations,
        errors,
    );
    refused.retain(|id| !topology.virtual_network_gateways.contains_key(*id));
    peering_state::settle(&networks, &mut topology.virtual_networks, errors);
    peering::check(
        &networks,
        &topology.virtual_networks,
        &topology.virtual_network_gateways,
        errors,
    );
    route_table::check_subnets(
        &topology.virtual_networks,
        &topology.route_tables,
        &locations,
        errors,
    );
    topology.network_interfaces =
        network_interface::settle(&interfaces, &topology.virtual_networks, &locations, errors);
    network_security_group::check(&topology, &interfaces, &locations, errors);
    let ends = connection::Ends {
        networks: &topology.virtual_networks,
        gateways: &topology.virtual_network_gateways,
        sites: &topology.local_network_gateways,
        locations: &locations,
        refused: &refused,
    };
    topology.connections = connection::settle(connections, &ends, errors);
    topology
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
    errors: &mut Errors,
) {
    if errors.are_of_documents() {
        let message = format!(
            "The {noun} {missing} that {target} refers to was not found: create it first, or \
             correct the id."
        );
        errors.push(error("InvalidResourceReference", target, message));
        return;
    }
    // The commonest mistake is a full id of another resource group.
    let hint = known.find(|id| id.name().eq_ignore_ascii_case(missing.name())).map_or_else(
        || "add it, or correct the id".to_owned(),
        |id| format!("there is {id}; correct the id, or deploy to that subscription and resource group"),
    );
    let message = format!("The {noun} {missing} is not in the template: {hint}.");
    errors.push(error("InvalidResourceReference", target, message));
}

/// Azure finds what is referred to in the same region only. Locations that are not written are
/// that of the resource group, and agree.
fn check_location(
    target: &ResourceId,
    other: &ResourceId,
    locations: &Locations<'_>,
    errors: &mut Errors,
) {
    let both = locations.get(target).zip(locations.get(other));
    check_locations(target, other, both.map(|(a, b)| (*a, *b)), errors);
}

/// The same where both locations are at hand, if both are written.
fn check_locations(
    target: &ResourceId,
    other: &ResourceId,
    both: Option<(&str, &str)>,
    errors: &mut Errors,
) {
    if let Some((here, there)) = both
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
