//! Compiling again after a change of a few resources: what an image depends on is compared, and of
//! the image before only what that concerns is made anew.
//!
//! | changed | made anew |
//! |---|---|
//! | tags and DNS servers of virtual networks | nothing |
//! | tags of network interfaces | nothing |
//! | `enableIPForwarding` of network interfaces | their ports, and subnets with routes to them |
//! | route tables, while there are no security rules | subnets that have them |
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
    ActionImage, CompileError, CompileOptions, Image, SubnetImage, TableImage, compile,
    index::{Home, Index},
    subnet_image,
    tables::Tables,
};
use crate::{
    model::{NetworkInterface, ResourceId, RouteTable, Topology, VirtualNetwork},
    secret::Secret,
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
}

impl<'a> Changes<'a> {
    fn between(old: &'a Topology, new: &'a Topology) -> Option<Self> {
        let others = Topology {
            virtual_networks: old.virtual_networks.clone(),
            route_tables: old.route_tables.clone(),
            network_interfaces: old.network_interfaces.clone(),
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
        // The tag VirtualNetwork of security rules has the prefixes of user routes, too (rule C
        // "NSG").
        if !self.tables.is_empty() && !image.rule_sets.is_empty() {
            return None;
        }
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
        Some(new.map_or_else(|| Arc::clone(image), Arc::new))
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
