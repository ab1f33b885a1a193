//! What a set of changes would do, resource by resource: the answer to
//! `Microsoft.Resources/deployments/whatIf`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Document, State,
    carry::{PEERING_STATE, REMOTE_ADDRESS_SPACE},
    json::{self, Object},
};
use crate::model::{Kind, ResourceId};

/// What becomes of a top-level resource with its children; as it is shown, with no key in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceChange {
    pub id: ResourceId,
    pub change: ChangeType,
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Of [`ChangeType::Modify`].
    pub delta: Vec<PropertyChange>,
}

/// `changeType`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    Create,
    Delete,
    Modify,
    NoChange,
}

/// One property that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyChange {
    /// Below the resource, or below the item of an array that this is a child of:
    /// `properties.addressSpace.addressPrefixes`. Of an item, its index.
    pub path: String,
    pub change: PropertyChangeType,
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Of an array, its items that differ; of one of those, the properties that do.
    pub children: Vec<PropertyChange>,
}

/// `propertyChangeType`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyChangeType {
    Create,
    Delete,
    Modify,
    Array,
}

/// What stands for a key.
const HIDDEN: &str = "(securestring)";

/// What lies between two states, in the order of ids. Resources that are as they were are among it
/// where `named` has them.
pub fn diff(before: &State, after: &State, named: &BTreeSet<ResourceId>) -> Vec<ResourceChange> {
    let ids: BTreeSet<&ResourceId> = before
        .documents
        .iter()
        .filter(|(id, document)| {
            let same = |other| std::sync::Arc::ptr_eq(*document, other);
            !after.documents.get(*id).is_some_and(same)
        })
        .map(|(id, _)| id)
        .chain(
            after
                .documents
                .keys()
                .filter(|id| !before.documents.contains_key(*id)),
        )
        .chain(
            before
                .keys
                .keys()
                .chain(after.keys.keys())
                .filter(|id| rekeyed(before, after, id)),
        )
        .chain(named)
        .collect();
    ids.into_iter()
        .filter_map(|id| resource(before, after, id))
        .filter(|change| change.change != ChangeType::NoChange || named.contains(&change.id))
        .collect()
}

/// Whether a connection has another key; not whether it has come or gone.
fn rekeyed(before: &State, after: &State, id: &ResourceId) -> bool {
    before.documents.contains_key(id)
        && after.documents.contains_key(id)
        && before.keys.get(id) != after.keys.get(id)
}

fn resource(before: &State, after: &State, id: &ResourceId) -> Option<ResourceChange> {
    let shown = |state: &State| state.documents.get(id).map(|document| shown(document));
    let (old, new) = (shown(before), shown(after));
    let mut delta = Vec::new();
    let change = match (&old, &new) {
        (None, None) => return None,
        (None, Some(_)) => ChangeType::Create,
        (Some(_), None) => ChangeType::Delete,
        (Some(old), Some(new)) => {
            fields(old, new, "", &mut delta);
            if rekeyed(before, after, id) {
                let known = before.keys.contains_key(id);
                delta.push(PropertyChange {
                    path: "properties.sharedKey".to_owned(),
                    change: match known {
                        true => PropertyChangeType::Modify,
                        false => PropertyChangeType::Create,
                    },
                    before: known.then(|| HIDDEN.into()),
                    after: Some(HIDDEN.into()),
                    children: Vec::new(),
                });
            }
            match delta.is_empty() {
                true => ChangeType::NoChange,
                false => ChangeType::Modify,
            }
        }
    };
    Some(ResourceChange {
        id: id.clone(),
        change,
        before: old.map(Value::Object),
        after: new.map(Value::Object),
        delta,
    })
}

/// A resource without what is made up for it, and what only follows from others.
fn shown(document: &Document) -> Object {
    let mut shown = Map::new();
    json::set(&mut shown, "id", document.id.as_str());
    json::set(&mut shown, "name", document.id.name());
    json::set(&mut shown, "type", document.kind.resource_type());
    shown.extend(document.body.clone());
    if let Some(properties) = json::object_mut(&mut shown, "properties") {
        json::take(properties, "resourceGuid");
        for item in json::objects_mut(properties, Kind::VirtualNetworkPeering.list_name()) {
            if let Some(properties) = json::object_mut(item, "properties") {
                json::take(properties, PEERING_STATE);
                json::take(properties, REMOTE_ADDRESS_SPACE);
            }
        }
    }
    shown
}

/// The fields that differ, with their path behind `path`.
fn fields(before: &Object, after: &Object, path: &str, changes: &mut Vec<PropertyChange>) {
    let at = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    for (name, old) in before {
        values(Some(old), json::get(after, name), at(name), changes);
    }
    for (name, new) in after {
        if json::get(before, name).is_none() {
            values(None, Some(new), at(name), changes);
        }
    }
}

fn values(
    before: Option<&Value>,
    after: Option<&Value>,
    path: String,
    changes: &mut Vec<PropertyChange>,
) {
    if before == after {
        return;
    }
    let (change, children) = match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            return fields(old, new, &path, changes);
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            (PropertyChangeType::Array, items(old, new))
        }
        (None, _) => (PropertyChangeType::Create, Vec::new()),
        (_, None) => (PropertyChangeType::Delete, Vec::new()),
        _ => (PropertyChangeType::Modify, Vec::new()),
    };
    if change == PropertyChangeType::Array && children.is_empty() {
        // The same items in another order.
        return;
    }
    changes.push(PropertyChange {
        path,
        change,
        before: before.cloned(),
        after: after.cloned(),
        children,
    });
}

/// The items that differ. Those with names are compared with the one of the same name, the others
/// are there or not.
fn items(before: &[Value], after: &[Value]) -> Vec<PropertyChange> {
    let mut changes = Vec::new();
    let mut left: Vec<(usize, &Value)> = after.iter().enumerate().collect();
    let mut take = |wanted: &dyn Fn(&Value) -> bool| {
        let at = left.iter().position(|(_, item)| wanted(item))?;
        Some(left.remove(at))
    };
    for (index, old) in before.iter().enumerate() {
        let new = match name(old) {
            Some(old) => take(&|new| name(new).is_some_and(|new| new.eq_ignore_ascii_case(old))),
            None => take(&|new| new == old),
        };
        match (old, new) {
            (_, Some((_, new))) if new == old => {}
            (Value::Object(one), Some((index, new @ Value::Object(other)))) => {
                let mut children = Vec::new();
                fields(one, other, "", &mut children);
                if !children.is_empty() {
                    changes.push(PropertyChange {
                        path: index.to_string(),
                        change: PropertyChangeType::Modify,
                        before: Some(old.clone()),
                        after: Some(new.clone()),
                        children,
                    });
                }
            }
            _ => changes.push(PropertyChange {
                path: index.to_string(),
                change: PropertyChangeType::Delete,
                before: Some(old.clone()),
                after: None,
                children: Vec::new(),
            }),
        }
    }
    changes.extend(left.into_iter().map(|(index, new)| PropertyChange {
        path: index.to_string(),
        change: PropertyChangeType::Create,
        before: None,
        after: Some(new.clone()),
        children: Vec::new(),
    }));
    changes
}

fn name(item: &Value) -> Option<&str> {
    json::text(item.as_object()?, "name")
}

impl ChangeType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Modify => "Modify",
            Self::NoChange => "NoChange",
        }
    }
}

impl PropertyChangeType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Modify => "Modify",
            Self::Array => "Array",
        }
    }
}

impl ResourceChange {
    /// As an item of `properties.changes` of the answer.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "resourceId": self.id.as_str(),
            "changeType": self.change.as_str(),
        });
        put(&mut value, "before", self.before.clone());
        put(&mut value, "after", self.after.clone());
        if self.change == ChangeType::Modify {
            let delta = self.delta.iter().map(PropertyChange::to_value).collect();
            put(&mut value, "delta", Some(delta));
        }
        value
    }
}

impl PropertyChange {
    fn to_value(&self) -> Value {
        let mut value = json!({
            "path": self.path,
            "propertyChangeType": self.change.as_str(),
        });
        put(&mut value, "before", self.before.clone());
        put(&mut value, "after", self.after.clone());
        if !self.children.is_empty() {
            let children = self.children.iter().map(Self::to_value).collect();
            put(&mut value, "children", Some(children));
        }
        value
    }
}

fn put(value: &mut Value, name: &str, field: Option<Value>) {
    if let (Value::Object(fields), Some(field)) = (value, field) {
        fields.insert(name.to_owned(), field);
    }
}
