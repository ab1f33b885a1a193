//! From the template's resources to the model's types: every property is looked at, every value
//! has its type; whether the resources agree with one another is left to [`rules`](super::rules).

mod connection;
mod envelope;
mod ipsec_policy;
mod local_network_gateway;
mod network_interface;
mod public_ip_address;
mod route_table;
mod virtual_network;
mod virtual_network_gateway;

use std::collections::{BTreeMap, HashSet};

pub(super) use self::network_interface::{IpConfigurationDraft, NetworkInterfaceDraft};
pub(super) use self::virtual_network_gateway::{
    GatewayIpConfigurationDraft, VirtualNetworkGatewayDraft,
};
use self::{envelope::Envelope, route_table::Merge};
use super::{
    ArmError, Connection, DeployOptions, Kind, LocalNetworkGateway, PublicIpAddress, ResourceId,
    Route, RouteTable, VirtualNetwork,
    error::Errors,
    id::{group_of, parent_of},
    normalise_location,
    object::{Object, format_error},
    template::TemplateResource,
};

/// What the template says, before the resources are held against one another.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) virtual_networks: BTreeMap<ResourceId, VirtualNetwork>,
    /// Peerings whose `doNotVerifyRemoteGateways` is set.
    pub(super) unverified_gateways: HashSet<ResourceId>,
    pub(super) route_tables: BTreeMap<ResourceId, RouteTable>,
    /// In the template's order, in which dynamic addresses are given.
    pub(super) network_interfaces: Vec<NetworkInterfaceDraft>,
    pub(super) public_ip_addresses: BTreeMap<ResourceId, PublicIpAddress>,
    pub(super) virtual_network_gateways: Vec<VirtualNetworkGatewayDraft>,
    pub(super) local_network_gateways: BTreeMap<ResourceId, LocalNetworkGateway>,
    /// What follows from their other end is not filled in yet.
    pub(super) connections: BTreeMap<ResourceId, Connection>,
    /// The locations that the template names, lower case and without spaces.
    pub(super) locations: BTreeMap<ResourceId, String>,
}

/// Reads every resource; errors have JSON paths.
pub(super) fn read(
    resources: &[TemplateResource<'_>],
    options: &DeployOptions,
    errors: &mut Errors,
) -> Draft {
    let group = format!(
        "/subscriptions/{}/resourceGroups/{}",
        options.subscription_id, options.resource_group
    );
    let mut reader = Reader {
        draft: Draft::default(),
        options,
        errors,
    };
    let mut seen = HashSet::with_capacity(resources.len());
    let mut children = Vec::new();
    for resource in resources {
        let kind = Kind::of(&resource.resource_type, &resource.names);
        let kind = kind.map_err(|error| error.at(format!("{}.type", resource.path)));
        let Some(kind) = reader.errors.keep(kind) else {
            continue;
        };
        let Some(envelope) = Envelope::read(resource, kind, &group, reader.errors) else {
            continue;
        };
        if !seen.insert(envelope.id.clone()) {
            reader.errors.push(
                ArmError::new(
                    "InvalidTemplate",
                    format!("The resource {} is there twice: remove one.", envelope.id),
                )
                .at(&resource.path),
            );
            continue;
        }
        match kind {
            Kind::VirtualNetwork => reader.virtual_network(&envelope),
            Kind::RouteTable => reader.route_table(&envelope),
            Kind::NetworkInterface => reader.network_interface(&envelope),
            Kind::PublicIpAddress => reader.public_ip_address(&envelope),
            Kind::VirtualNetworkGateway => reader.virtual_network_gateway(&envelope),
            Kind::LocalNetworkGateway => reader.local_network_gateway(&envelope),
            Kind::Connection => reader.connection(&envelope),
            Kind::NetworkSecurityGroup | Kind::SecurityRule => reader.errors.push(
                ArmError::new(
                    "NotSupported",
                    "Security groups are not supported yet: remove it.",
                )
                .at(envelope.path_text()),
            ),
            Kind::Subnet | Kind::VirtualNetworkPeering | Kind::Route => {
                children.push((kind, envelope));
            }
        }
    }
    reader.children(&children);
    reader.draft
}

struct Reader<'a> {
    draft: Draft,
    options: &'a DeployOptions,
    errors: &'a mut Errors,
}

impl Reader<'_> {
    /// Notes the location that a resource names.
    fn locate(&mut self, envelope: &Envelope<'_>) {
        if let Some(location) = envelope.location {
            let location = normalise_location(location);
            self.draft.locations.insert(envelope.id.clone(), location);
        }
    }

    /// The id that a property refers to, `{"id": "…"}`, of a resource of `kind`.
    fn referred(
        &mut self,
        object: &Object<'_, '_>,
        name: &str,
        kind: Kind,
        whose: &ResourceId,
    ) -> Option<ResourceId> {
        let text = object.reference(name, self.errors)?;
        let id = kind.resolve(text, group_of(whose));
        let path = object.path.key(name);
        self.errors
            .keep(id.map_err(|error| error.at(path.key("id").to_string())))
    }

    /// The same of a property without which the object means nothing.
    fn needed_reference(
        &mut self,
        object: &Object<'_, '_>,
        name: &str,
        kind: Kind,
        whose: &ResourceId,
    ) -> Option<ResourceId> {
        if object.lacks(name) {
            self.errors.push(format_error(
                format!("The property '{name}' is missing: add {{\"id\": \"…\"}}."),
                object.path,
            ));
        }
        self.referred(object, name, kind, whose)
    }

    /// Top-level child resources. Each is a PUT of its own after its parent's, so it replaces what
    /// the parent has of the same name: exported templates say both.
    fn children(&mut self, children: &[(Kind, Envelope<'_>)]) {
        let mut routes: BTreeMap<ResourceId, Vec<Route>> = BTreeMap::new();
        for (kind, child) in children {
            let parent = parent_of(&child.id);
            let known = match kind {
                Kind::Route => self.draft.route_tables.contains_key(&parent),
                _ => self.draft.virtual_networks.contains_key(&parent),
            };
            if !known {
                self.errors.push(
                    ArmError::new(
                        "ParentResourceNotFound",
                        format!(
                            "The {} '{}' is below {parent}, which is not in the template: add it.",
                            kind.noun(),
                            child.id.name(),
                        ),
                    )
                    .at(child.path_text()),
                );
                continue;
            }
            match kind {
                Kind::Subnet => {
                    let subnet = self.subnet(&child.id, child.properties, &child.properties_path());
                    if let Some(vnet) = self.draft.virtual_networks.get_mut(&parent) {
                        vnet.subnets.remove(&child.id);
                        vnet.subnets.insert(child.id.clone(), subnet);
                    }
                }
                Kind::Route => {
                    let name = child.id.name();
                    let path = child.properties_path();
                    if let Some(route) = self.route(name, child.properties, &path) {
                        routes.entry(parent).or_default().push(route);
                    }
                }
                _ => {
                    self.draft.unverified_gateways.remove(&child.id);
                    let peering =
                        self.peering(&child.id, child.properties, &child.properties_path());
                    let vnet = self.draft.virtual_networks.get_mut(&parent);
                    if let (Some(vnet), Some(peering)) = (vnet, peering) {
                        vnet.peerings.remove(&child.id);
                        vnet.peerings.insert(child.id.clone(), peering);
                    }
                }
            }
        }
        for (table, routes) in routes {
            if let Some(table) = self.draft.route_tables.get_mut(&table) {
                table.merge(routes);
            }
        }
    }
}
