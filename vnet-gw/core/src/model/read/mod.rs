//! From the template's resources to the model's types: every property is looked at, every value
//! has its type; whether the resources agree with one another is left to [`rules`](super::rules).

mod connection;
mod envelope;
mod fragment;
mod ipsec_policy;
mod local_network_gateway;
mod network_interface;
mod network_security_group;
mod network_watcher;
mod public_ip_address;
mod route_table;
mod security_rule;
mod virtual_network;
mod virtual_network_gateway;

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

pub(super) use self::fragment::{Draft, Fragment, PeeringMemory, Resource, VirtualNetworkDraft};
pub(super) use self::network_interface::{IpConfigurationDraft, NetworkInterfaceDraft};
pub(super) use self::virtual_network_gateway::{
    GatewayIpConfigurationDraft, VirtualNetworkGatewayDraft,
};
use self::{envelope::Envelope, route_table::Merge};
use super::{
    ArmError, DeployOptions, Kind, ResourceId, Route,
    error::Errors,
    id::{group_of, parent_of},
    normalise_location,
    object::{Object, format_error},
    template::TemplateResource,
};
use crate::secret::Secret;

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
        location: &options.location,
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
        match kind.parent() {
            None => reader.resource(kind, &envelope),
            Some(_) => children.push((kind, envelope)),
        }
    }
    reader.children(&children);
    reader.draft
}

/// Reads one document, a top-level resource with its children; errors have paths below its body.
pub(super) fn read_one(
    id: &ResourceId,
    kind: Kind,
    body: &Map<String, Value>,
    location: &str,
    key: Option<&Secret>,
    errors: &mut Errors,
) -> Draft {
    let fields = body.into();
    let envelope = Envelope::of_document(id, kind, &fields, errors);
    let mut reader = Reader {
        draft: Draft::default(),
        location,
        errors,
    };
    reader.resource(kind, &envelope);
    if let (Some(key), Kind::Connection) = (key, kind) {
        reader.keep_key(&envelope, key);
    }
    reader.draft
}

struct Reader<'a> {
    draft: Draft,
    /// That of the resource group.
    location: &'a str,
    errors: &'a mut Errors,
}

impl Reader<'_> {
    /// A top-level resource.
    fn resource(&mut self, kind: Kind, envelope: &Envelope<'_>) {
        self.locate(envelope);
        match kind {
            Kind::VirtualNetwork => self.virtual_network(envelope),
            Kind::RouteTable => self.route_table(envelope),
            Kind::NetworkSecurityGroup => self.network_security_group(envelope),
            Kind::ApplicationSecurityGroup => self.application_security_group(envelope),
            Kind::NetworkInterface => self.network_interface(envelope),
            Kind::PublicIpAddress => self.public_ip_address(envelope),
            Kind::VirtualNetworkGateway => self.virtual_network_gateway(envelope),
            Kind::LocalNetworkGateway => self.local_network_gateway(envelope),
            Kind::Connection => self.connection(envelope),
            Kind::NetworkWatcher => self.network_watcher(envelope),
            // Read with their parents.
            Kind::Subnet | Kind::VirtualNetworkPeering | Kind::Route | Kind::SecurityRule => {}
        }
    }

    /// Notes the location that a resource names; one that a document does not name is its group's.
    fn locate(&mut self, envelope: &Envelope<'_>) {
        let group = self.errors.are_of_documents().then_some(self.location);
        if let Some(location) = envelope.location.or(group) {
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
                Kind::SecurityRule => self.draft.network_security_groups.contains_key(&parent),
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
                    if let Some(draft) = self.draft.virtual_networks.get_mut(&parent) {
                        draft.network.subnets.remove(&child.id);
                        draft.network.subnets.insert(child.id.clone(), subnet);
                    }
                }
                Kind::Route => {
                    let name = child.id.name();
                    let path = child.properties_path();
                    if let Some(route) = self.route(name, child.properties, &path) {
                        routes.entry(parent).or_default().push(route);
                    }
                }
                Kind::SecurityRule => {
                    let path = child.properties_path();
                    let rule = self.security_rule(&child.id, child.properties, &path);
                    let group = self.draft.network_security_groups.get_mut(&parent);
                    if let (Some(group), Some(rule)) = (group, rule) {
                        let same = |other: &str| other.eq_ignore_ascii_case(&rule.name);
                        group.rules.retain(|other| !same(&other.name));
                        group.rules.push(rule);
                    }
                }
                _ => {
                    let peering =
                        self.peering(&child.id, child.properties, &child.properties_path());
                    let vnet = self.draft.virtual_networks.get_mut(&parent);
                    if let (Some(vnet), Some(peering)) = (vnet, peering) {
                        vnet.network.peerings.remove(&child.id);
                        peering.put_into(vnet);
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
