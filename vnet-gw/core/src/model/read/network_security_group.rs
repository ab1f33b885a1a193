//! `networkSecurityGroups`, `applicationSecurityGroups`, and what refers to them.

use std::collections::HashMap;

use super::{Reader, envelope::Envelope, route_table::fold, virtual_network::NESTED};
use crate::model::{
    ApplicationSecurityGroup, ArmError, Kind, NetworkSecurityGroup, ResourceId,
    id::group_of,
    object::{Object, QUIET, READ, Schema, format_error},
    template::node::Node,
};

const NETWORK_SECURITY_GROUP: Schema = &[
    ("securityRules", READ),
    ("flushConnection", READ),
    // The same in every group.
    ("defaultSecurityRules", QUIET),
    ("networkInterfaces", QUIET),
    ("subnets", QUIET),
    ("flowLogs", QUIET),
    ("resourceGuid", QUIET),
    ("provisioningState", QUIET),
];

const APPLICATION_SECURITY_GROUP: Schema = &[("resourceGuid", QUIET), ("provisioningState", QUIET)];

impl Reader<'_> {
    pub(super) fn network_security_group(&mut self, envelope: &Envelope<'_>) {
        let id = &envelope.id;
        let path = envelope.properties_path();
        let properties = envelope.properties;
        let object = Object::open(properties, &path, NETWORK_SECURITY_GROUP, self.errors);
        let list_path = path.key("securityRules");
        let items = object.array("securityRules", self.errors);
        let mut rules = Vec::with_capacity(items.len());
        let mut names = HashMap::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = list_path.index(index);
            let fields = Object::open(item, &path, NESTED, self.errors);
            let Some(name) = fields.needed_text("name", self.errors) else {
                continue;
            };
            if let Err(error) = Kind::SecurityRule.check_name(name) {
                self.errors.push(error.at(path.key("name").to_string()));
            }
            if let Some(first) = names.insert(fold(name).into_owned(), index) {
                let message =
                    format!("The name '{name}' is that of securityRules[{first}] too: rename one.");
                let error = ArmError::new("DuplicateResourceName", message);
                self.errors.push(error.at(path.to_string()));
            }
            let properties = fields.get("properties").unwrap_or(&Node::Null);
            let id = Kind::SecurityRule.id(group_of(id), &[id.name(), name]);
            rules.extend(self.security_rule(&id, properties, &path.key("properties")));
        }
        let flush_connection = object.boolean("flushConnection", self.errors);
        let group = NetworkSecurityGroup {
            id: id.clone(),
            rules,
            flush_connection: flush_connection.unwrap_or(false),
            tags: envelope.tags.clone(),
        };
        self.draft.network_security_groups.insert(id.clone(), group);
    }

    pub(super) fn application_security_group(&mut self, envelope: &Envelope<'_>) {
        let id = &envelope.id;
        let path = envelope.properties_path();
        let schema = APPLICATION_SECURITY_GROUP;
        Object::open(envelope.properties, &path, schema, self.errors);
        let group = ApplicationSecurityGroup {
            id: id.clone(),
            tags: envelope.tags.clone(),
        };
        let groups = &mut self.draft.application_security_groups;
        groups.insert(id.clone(), group);
    }

    /// The `networkSecurityGroup` of a subnet or network interface.
    pub(super) fn security_group(
        &mut self,
        object: &Object<'_, '_>,
        whose: &ResourceId,
    ) -> Option<ResourceId> {
        let name = "networkSecurityGroup";
        object.get(name).filter(|value| !value.is_empty())?;
        self.referred(object, name, Kind::NetworkSecurityGroup, whose)
    }

    /// Ids in a list of `{"id": "…"}`, sorted, each once.
    pub(super) fn application_security_groups(
        &mut self,
        object: &Object<'_, '_>,
        list: &str,
        whose: &ResourceId,
    ) -> Vec<ResourceId> {
        let path = object.path.key(list);
        let mut groups = Vec::new();
        for (index, item) in object.array(list, self.errors).iter().enumerate() {
            let path = path.index(index);
            let fields = item.as_object();
            let id = fields
                .and_then(|fields| fields.get("id"))
                .and_then(Node::as_str);
            let Some(id) = id else {
                let message = "This must be an object with an id, {\"id\": \"…\"}: correct it.";
                self.errors.push(format_error(message, &path));
                continue;
            };
            let id = Kind::ApplicationSecurityGroup.resolve(id, group_of(whose));
            let id = id.map_err(|error| error.at(path.key("id").to_string()));
            groups.extend(self.errors.keep(id));
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}
