//! Settling again after changes that concern nobody but the resources themselves: then everything
//! else is as it was, and is not looked at. With ten thousand resources that is most of what a
//! change would cost.
//!
//! | changed | what may differ |
//! |---|---|
//! | virtual network | tags, DNS servers |
//! | route table | its routes, as long as GatewaySubnet may have it still; a new one |
//! | network security group that refers to nothing | its rules; a new one |
//! | network interface | tags, `enableIPForwarding` |
//!
//! Whatever is not known here to be of no concern to others is settled with them: another kind,
//! another property, a resource that goes. So a new kind or property is right from the start, and
//! may be added here once it is known to be local.

use std::sync::Arc;

use crate::model::{
    RouteTable, Topology, VirtualNetwork,
    read::{Fragment, NetworkInterfaceDraft, Resource, VirtualNetworkDraft},
};

/// A resource as it was and as it is, where it is there.
pub(in crate::model) type Change<'a> = (Option<&'a Fragment>, Option<&'a Fragment>);

/// The topology after the changes, from the one before, which the resources as they were are
/// settled in. Nothing where somebody else may be concerned.
pub(in crate::model) fn again<'a>(
    before: &Topology,
    changes: impl Iterator<Item = Change<'a>>,
) -> Option<Topology> {
    let mut topology = before.clone();
    for (old, new) in changes {
        change(&mut topology, old, new?)?;
    }
    Some(topology)
}

fn change(topology: &mut Topology, old: Option<&Fragment>, new: &Fragment) -> Option<()> {
    // Who refers to a resource is in its location.
    if old.is_some_and(|old| old.location != new.location) {
        return None;
    }
    match (old.map(|old| &old.resource), &new.resource) {
        (Some(Resource::VirtualNetwork(old)), Resource::VirtualNetwork(new)) => {
            virtual_network(topology, old, new)
        }
        (Some(Resource::NetworkInterface(old)), Resource::NetworkInterface(new)) => {
            network_interface(topology, old, new)
        }
        (None | Some(Resource::RouteTable(_)), Resource::RouteTable(table)) => {
            if let Some(Resource::RouteTable(old)) = old.map(|old| &old.resource)
                && barred(table)
                && !barred(old)
            {
                return None;
            }
            let tables = &mut topology.route_tables;
            tables.insert(table.id.clone(), Arc::clone(table));
            Some(())
        }
        (None | Some(Resource::NetworkSecurityGroup(_)), Resource::NetworkSecurityGroup(group)) => {
            if refers(&new.resource) || old.is_some_and(|old| refers(&old.resource)) {
                return None;
            }
            let groups = &mut topology.network_security_groups;
            groups.insert(group.id.clone(), group.clone());
            Some(())
        }
        _ => None,
    }
}

/// Whether GatewaySubnet may not have it.
fn barred(table: &RouteTable) -> bool {
    let mut routes = table.routes.iter();
    table.disable_bgp_route_propagation
        || routes.any(|route| route.address_prefix.prefix_len() == 0)
}

fn refers(resource: &Resource) -> bool {
    let mut any = false;
    resource.each_reference(&mut |_, _, _| any = true);
    any
}

/// What its peerings became stays.
fn virtual_network(
    topology: &mut Topology,
    old: &VirtualNetworkDraft,
    new: &VirtualNetworkDraft,
) -> Option<()> {
    let mut alike = new.clone();
    own(&mut alike.network, &old.network);
    if alike != *old {
        return None;
    }
    let settled = topology.virtual_networks.get_mut(&new.network.id)?;
    own(settled, &new.network);
    Some(())
}

/// Gives a network what is of no concern to others, from another one.
fn own(network: &mut VirtualNetwork, from: &VirtualNetwork) {
    network.tags.clone_from(&from.tags);
    network.dns_servers.clone_from(&from.dns_servers);
}

/// Its addresses stay, which are those that are written.
fn network_interface(
    topology: &mut Topology,
    old: &NetworkInterfaceDraft,
    new: &NetworkInterfaceDraft,
) -> Option<()> {
    let (was, is) = (old.ready.as_ref()?, new.ready.as_ref()?);
    let alike = NetworkInterfaceDraft {
        enable_ip_forwarding: old.enable_ip_forwarding,
        tags: old.tags.clone(),
        ready: Some(was.clone()),
        ..new.clone()
    };
    let settled = topology.network_interfaces.get_mut(&new.id)?;
    if alike != *old || settled != was {
        return None;
    }
    *settled = is.clone();
    Some(())
}
