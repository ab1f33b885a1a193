//! The configuration's file as a set of changes: what it has is put there, what it had and has not
//! any more goes.
//!
//! The file is the whole truth about its resources. Their children (subnets, peerings, routes) are
//! those of the file, wherever it writes them: inside their parent, or as resources of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vnet_gw_core::{
    arm::{Change, GroupId, Origin, Precondition, Put, ResourceGroup, State, Target},
    model::{ArmError, DeployOptions, ResourceId, Topology, template_resources},
};

use crate::engine::{Caller, Submission, Who};

/// What a template has, evaluated and validated.
pub struct FileSet {
    /// In the template's order, children inside their parents.
    resources: Vec<(Target, Map<String, Value>)>,
    /// Of resource groups that are not there yet.
    location: String,
    /// Connections for which the template carries no key, not even that of the connection back.
    pub(super) without_key: Vec<ResourceId>,
}

impl FileSet {
    /// # Errors
    ///
    /// Those of [`template_resources`], which does not ask whether resources agree: the template is
    /// that of `topology`.
    pub(super) fn read(
        text: &str,
        options: &DeployOptions,
        topology: &Topology,
    ) -> Result<Self, ArmError> {
        let mut resources: Vec<(Target, Map<String, Value>)> = Vec::new();
        let mut places = BTreeMap::new();
        let mut children = Vec::new();
        for resource in template_resources(text, options)? {
            let at = |error: ArmError| error.at(resource.path.clone());
            let id = resource.id(options)?;
            let target = Target::parse(id.as_str()).map_err(at)?;
            if target.is_child() {
                children.push((target, resource.body));
                continue;
            }
            let mut body = resource.body;
            for kind in target.kind.children() {
                list(&mut body, kind.list_name());
            }
            places.insert(target.id.clone(), resources.len());
            resources.push((target, body));
        }
        for (target, body) in children {
            let parent = places.get(&target.document);
            // A template has the parents of its children: it was validated.
            if let Some((_, parent)) = parent.and_then(|place| resources.get_mut(*place)) {
                adopt(parent, &target, body);
            }
        }
        let location = options.location.split_whitespace().collect::<String>();
        Ok(Self {
            resources,
            location: location.to_lowercase(),
            without_key: topology
                .connections_without_key()
                .into_iter()
                .flatten()
                .collect(),
        })
    }

    /// What makes the resources of `state` those of the file, as far as they are the file's.
    pub(super) fn changes(self, state: &State) -> Vec<Change> {
        let own: BTreeSet<&ResourceId> = self.resources.iter().map(|(t, _)| &t.id).collect();
        let gone = state
            .documents
            .values()
            .filter(|document| document.origin == Origin::File && !own.contains(&document.id));
        let gone = gone.filter_map(|document| Target::parse(document.id.as_str()).ok());
        let mut changes: Vec<Change> = gone
            .map(|target| Change::Delete {
                target,
                precondition: Precondition::default(),
            })
            .collect();
        let groups: BTreeSet<GroupId> = own.iter().map(|id| GroupId::of(id)).collect();
        let new = groups
            .into_iter()
            .filter(|id| !state.groups.contains_key(id));
        changes.extend(new.map(|id| {
            Change::PutGroup(ResourceGroup {
                id,
                location: self.location.clone(),
                tags: BTreeMap::new(),
            })
        }));
        changes.extend(self.resources.into_iter().map(|(target, body)| {
            Change::Put(Put {
                target,
                body,
                precondition: Precondition::default(),
                sync_remote_address_space: true,
                origin: Origin::File,
            })
        }));
        changes
    }
}

/// As the audit log names it. `resource` is the file's path.
pub(super) fn submission(changes: Vec<Change>, resource: String) -> Submission {
    Submission {
        changes,
        caller: Caller {
            who: Who::File,
            address: None,
            correlation_id: uuid::Uuid::new_v4().to_string(),
        },
        operation: "Microsoft.Resources/deployments/write".to_owned(),
        resource,
        records: Vec::new(),
        noted: crate::engine::Noted::default(),
    }
}

/// The list of children in a body; an empty one where there is none, so that nobody else's stay.
fn list<'a>(body: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    let properties = entry(body, "properties", || json!({})).as_object_mut()?;
    let list = entry(properties, name, || json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

/// Names of properties compare without case.
fn entry<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
    default: impl FnOnce() -> Value,
) -> &'a mut Value {
    let known = object.keys().find(|key| key.eq_ignore_ascii_case(name));
    let key = known.cloned().unwrap_or_else(|| name.to_owned());
    object.entry(key).or_insert_with(default)
}

/// A child in the place of what its parent says of it.
fn adopt(parent: &mut Map<String, Value>, target: &Target, mut body: Map<String, Value>) {
    let Some(list) = list(parent, target.kind.list_name()) else {
        return;
    };
    body.insert("name".to_owned(), target.id.name().into());
    let name = target.id.name();
    let same = |item: &&mut Value| {
        let known = item.get("name").and_then(Value::as_str);
        known.is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    match list.iter_mut().find(same) {
        Some(place) => *place = Value::Object(body),
        None => list.push(Value::Object(body)),
    }
}

#[cfg(test)]
mod tests {
    use vnet_gw_core::model::parse_template;

    use super::*;

    fn set(template: &Value) -> FileSet {
        let (text, options) = (template.to_string(), DeployOptions::default());
        let topology = parse_template(&text, &options).unwrap();
        FileSet::read(&text, &options, &topology).unwrap()
    }

    #[test]
    fn children_are_the_files_wherever_it_writes_them() {
        let vnet = "Microsoft.Network/virtualNetworks";
        let set = set(&json!({"resources": [
            {"type": format!("{vnet}/subnets"), "name": "VNet1/B", "apiVersion": "2024-05-01",
             "properties": {"addressPrefix": "10.1.1.0/24"},
             "dependsOn": ["[resourceId('Microsoft.Network/virtualNetworks', 'VNet1')]"]},
            {"type": vnet, "name": "VNet1", "apiVersion": "2024-05-01", "location": "westeurope",
             "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}, "Subnets": [
                {"name": "a", "properties": {"addressPrefix": "10.1.0.0/24"}},
                {"name": "b", "properties": {"addressPrefix": "10.1.9.0/24"}}]}},
        ]}));
        let changes = set.changes(&State::default());
        let [Change::PutGroup(group), Change::Put(put)] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!(group.location, "local");
        assert_eq!(put.origin, Origin::File);
        let properties = put.body["properties"].as_object().unwrap();
        assert_eq!(properties["virtualNetworkPeerings"], json!([]));
        assert!(!properties.contains_key("subnets"));
        assert_eq!(
            properties["Subnets"],
            json!([
                {"name": "a", "properties": {"addressPrefix": "10.1.0.0/24"}},
                {"name": "B", "properties": {"addressPrefix": "10.1.1.0/24"}}
            ])
        );
    }
}
