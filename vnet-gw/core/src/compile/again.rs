//! Compiling again after a change of a few resources: what an image depends on is compared, and of
//! the image before only what that concerns is made anew.
//!
//! | changed | made anew |
//! |---|---|
//! | tags and DNS servers of virtual networks | nothing |
//! | tags of network interfaces | nothing |
//! | `enableIPForwarding` of network interfaces | their ports, and subnets with routes to them |
//! | application security groups: their members are told by the interfaces | nothing |
//! | network security groups | their rule sets |
//! | route tables | subnets that have them, and rule sets of ports there: the tag `VirtualNetwork` has the prefixes of user routes, too (rule C "NSG") |
//!
//! Anything else makes everything anew, and so does whatever a [`Topology`] or a resource has that
//! is not named here: it is compared all the same. So a new kind or property is right from the
//! start, and may be added here once it is known what it concerns.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
};

use imbl::ordmap::DiffItem;

use super::{
    ActionImage, CompileError, CompileOptions, Image, SubnetImage, TableImage, check_rule_sets,
    compile,
    index::{Home, Index},
    subnet_image,
    tables::Tables,
};
use crate::{
    model::{NetworkInterface, ResourceId, RouteTable, Topology, VirtualNetwork},
    secret::Secret,
    security::{RuleSetId, RuleSets},
};

/// An image, and what it was compiled from, with the same host name.
#[derive(Clone, Copy, Debug)]
pub struct Compiled<'a> {
    pub topology: &'a Topology,
    pub shared_keys: &'a BTreeMap<ResourceId, Secret>,
    pub image: &'a Arc<Image>,
}

/// What [`compile`] makes of `topology`, at the price of what differs from `before`. Where nothing
/// does, it is the very same image.
///
/// # Errors
///
/// Those of [`compile`].
pub fn compile_again(
    before: Compiled<'_>,
    topology: &Topology,
    options: &CompileOptions<'_>,
) -> Result<Arc<Image>, CompileError> {
    let same_keys = before.shared_keys == options.shared_keys;
    let changes = Changes::between(before.topology, topology).filter(|_| same_keys);
    if let Some(changes) = changes
        && let Some(image) = changes.carry_out(before.image, topology)
    {
        return Ok(image);
    }
    compile(topology, options, Some(before.image)).map(Arc::new)
}

/// What differs between two topologies that differ in nothing else.
#[derive(Default)]
struct Changes<'a> {
    tables: HashSet<&'a ResourceId>,
    /// With another `enableIPForwarding`.
    forwarding: Vec<&'a NetworkInterface>,
    security_groups: HashSet<&'a ResourceId>,
}

impl<'a> Changes<'a> {
    fn between(old: &'a Topology, new: &'a Topology) -> Option<Self> {
        let others = Topology {
            virtual_networks: old.virtual_networks.clone(),
            route_tables: old.route_tables.clone(),
            network_interfaces: old.network_interfaces.clone(),
            network_security_groups: old.network_security_groups.clone(),
            application_security_groups: old.application_security_groups.clone(),
            ..new.clone()
        };
        if others != *old {
            return None;
        }
        for item in old.virtual_networks.diff(&new.virtual_networks) {
            match item {
                DiffItem::Update { old, new } if same_network(old.1, new.1) => {}
                _ => return None,
            }
        }
        let mut changes = Self::default();
        for item in old.network_interfaces.diff(&new.network_interfaces) {
            let DiffItem::Update { old, new } = item else {
                return None;
            };
            let (old, new): (_, &NetworkInterface) = (old.1, new.1);
            if !same_but_forwarding(old, new) {
                return None;
            }
            if old.enable_ip_forwarding != new.enable_ip_forwarding {
                changes.forwarding.push(new);
            }
        }
        let groups = &old.network_security_groups;
        for item in groups.diff(&new.network_security_groups) {
            changes.security_groups.insert(match item {
                DiffItem::Add(id, _) | DiffItem::Remove(id, _) => id,
                DiffItem::Update { new, .. } => new.0,
            });
        }
        for item in old.route_tables.diff(&new.route_tables) {
            changes.tables.extend(match item {
                DiffItem::Add(id, _) | DiffItem::Remove(id, _) => Some(id),
                DiffItem::Update { old, new } if same_table(old.1, new.1) => None,
                DiffItem::Update { new, .. } => Some(new.0),
            });
        }
        Some(changes)
    }

    /// The image with the changes; nothing where that is not to be had, which [`compile`] tells.
    fn carry_out(&self, image: &Arc<Image>, topology: &Topology) -> Option<Arc<Image>> {
        let mut new = None;
        for nic in &self.forwarding {
            if image.ports.contains_key(&nic.id) {
                let new = new.get_or_insert_with(|| Image::clone(image));
                new.ports.get_mut(&nic.id)?.ip_forwarding = nic.enable_ip_forwarding;
            }
        }
        let homes = self.homes(image, topology)?;
        if !homes.is_empty() {
            let index = Index::around(topology, &homes, &image.endpoints);
            let mut tables = Tables::new(topology, &index);
            for (network, id) in homes {
                let home = Home {
                    vnet: index.number(&network.id)?,
                    subnet: network.subnets.get(id)?,
                };
                let before = image.subnets.get(id)?;
                let subnet = subnet_image(&index, &mut tables, home, Some(before)).ok()?;
                if !Arc::ptr_eq(before, &subnet) {
                    let new = new.get_or_insert_with(|| Image::clone(image));
                    new.subnets.insert(id.clone(), subnet);
                }
            }
        }
        self.security(image, &mut new, topology)?;
        Some(new.map_or_else(|| Arc::clone(image), Arc::new))
    }

    /// Makes the rule sets anew that the changes concern. A user route may move a port to sets of
    /// other names.
    fn security(
        &self,
        image: &Arc<Image>,
        new: &mut Option<Image>,
        topology: &Topology,
    ) -> Option<()> {
        if image.rule_sets.is_empty() || (self.tables.is_empty() && self.security_groups.is_empty())
        {
            return Some(());
        }
        let mut sets = RuleSets::new(topology, Some(&image.rule_sets));
        let mut moved = Vec::new();
        for (id, port) in &image.ports {
            // Both directions have the same groups; gateways have none.
            let groups = &port.security.inbound;
            let Some(nic) = topology.network_interfaces.get(id) else {
                continue;
            };
            if groups.is_empty() {
                continue;
            }
            let network = topology.virtual_networks.get(&port.vnet)?;
            let subnet = network.subnets.get(&port.subnet)?;
            let table = subnet.route_table.as_ref();
            let mut groups = groups.iter().map(|set| &set.group);
            let concerned = table.is_some_and(|table| self.tables.contains(table))
                || groups.any(|group| self.security_groups.contains(group));
            if concerned {
                let security = sets.of_nic_in(nic, network, subnet);
                if security != port.security {
                    moved.push((id, security));
                }
            }
        }
        for (id, set) in sets.into_sets() {
            let before = image.rule_sets.get(&id);
            if !before.is_some_and(|before| Arc::ptr_eq(before, &set)) {
                let new = new.get_or_insert_with(|| Image::clone(image));
                new.rule_sets.insert(id, set);
            }
        }
        if !moved.is_empty() {
            let new = new.get_or_insert_with(|| Image::clone(image));
            for (id, security) in moved {
                new.ports.get_mut(id)?.security = security;
            }
            let securities = new.ports.values().map(|port| &port.security);
            let named = securities.flat_map(|one| one.inbound.iter().chain(&one.outbound));
            let named: HashSet<&RuleSetId> = named.collect();
            new.rule_sets.retain(|id, _| named.contains(id));
        }
        if let Some(new) = new {
            check_rule_sets(&new.rule_sets, Some(&image.rule_sets)).ok()?;
        }
        Some(())
    }

    /// The subnets of the image that the changes concern, each with its network.
    fn homes<'t>(
        &self,
        image: &'t Image,
        topology: &'t Topology,
    ) -> Option<Vec<(&'t VirtualNetwork, &'t ResourceId)>> {
        let mut homes = Vec::new();
        if self.tables.is_empty() && self.forwarding.is_empty() {
            return Some(homes);
        }
        let addresses = self
            .forwarding
            .iter()
            .flat_map(|nic| &nic.ip_configurations);
        let addresses: BTreeSet<IpAddr> = addresses.map(|one| one.private_ip_address).collect();
        for (id, subnet) in &image.subnets {
            let network = topology.virtual_networks.get(&subnet.vnet)?;
            let table = network.subnets.get(id)?.route_table.as_ref();
            let concerned = table.is_some_and(|table| self.tables.contains(table))
                || leads_to(subnet, &addresses);
            if concerned {
                homes.push((&**network, id));
            }
        }
        Some(homes)
    }
}

/// Whether a route of the subnet has one of the addresses as its appliance's.
fn leads_to(subnet: &SubnetImage, addresses: &BTreeSet<IpAddr>) -> bool {
    fn any<P>(table: &TableImage<P>, addresses: &BTreeSet<IpAddr>) -> bool {
        let mut actions = table.actions.iter();
        actions.any(|action| match action {
            ActionImage::Appliance { address, .. } => addresses.contains(address),
            _ => false,
        })
    }
    !addresses.is_empty() && (any(&subnet.v4, addresses) || any(&subnet.v6, addresses))
}

/// Of those that the image depends on, whether they are the same.
fn same_network(old: &VirtualNetwork, new: &VirtualNetwork) -> bool {
    let alike = VirtualNetwork {
        tags: old.tags.clone(),
        dns_servers: old.dns_servers.clone(),
        ..new.clone()
    };
    alike == *old
}

fn same_but_forwarding(old: &NetworkInterface, new: &NetworkInterface) -> bool {
    let alike = NetworkInterface {
        tags: old.tags.clone(),
        enable_ip_forwarding: old.enable_ip_forwarding,
        ..new.clone()
    };
    alike == *old
}

/// Without a copy of its routes, which may be a million.
fn same_table(old: &RouteTable, new: &RouteTable) -> bool {
    let RouteTable {
        id,
        disable_bgp_route_propagation,
        routes,
        tags: _,
    } = new;
    *id == old.id
        && *disable_bgp_route_propagation == old.disable_bgp_route_propagation
        && *routes == old.routes
}
