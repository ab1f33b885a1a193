//! The state as a deployment would leave it so far.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value, json};

use super::{
    Assign, Change, GroupId, Origin, Precondition, Request, ResourceId, State, Target, Warning,
};
use crate::{
    arm::{NoLive, Put, ResourceGroup, view},
    model::{ArmError, Kind, cut},
};

/// What the levels of a deployment have in common.
pub(super) struct Tentative<'a> {
    from: &'a State,
    origin: Origin,
    may_read: &'a dyn Fn(&str) -> bool,
    inner: RefCell<Inner<'a>>,
}

struct Inner<'a> {
    assign: &'a mut dyn Assign,
    state: State,
    /// All of them.
    changes: Vec<Change>,
    /// So many of them are in `state`.
    applied: usize,
    warnings: Vec<Warning>,
    written: BTreeSet<ResourceId>,
    resources: Vec<String>,
    dependencies: Vec<(String, Vec<String>)>,
    /// What nested deployments came to, by lower-case id.
    deployments: BTreeMap<String, Value>,
}

/// What is left of it.
pub(super) struct Done {
    pub(super) changes: Vec<Change>,
    pub(super) state: State,
    pub(super) warnings: Vec<Warning>,
    pub(super) resources: Vec<String>,
    pub(super) dependencies: Vec<(String, Vec<String>)>,
}

/// What a `reference()` finds.
pub(super) enum Found {
    Resource(Value),
    /// It is changed, and not applied yet.
    Later,
    Nothing,
}

impl<'a> Tentative<'a> {
    pub(super) fn new(state: &'a State, assign: &'a mut dyn Assign, request: &Request<'a>) -> Self {
        Self {
            from: state,
            origin: request.origin,
            may_read: request.may_read,
            inner: RefCell::new(Inner {
                assign,
                state: state.clone(),
                changes: Vec::new(),
                applied: 0,
                warnings: Vec::new(),
                written: BTreeSet::new(),
                resources: Vec::new(),
                dependencies: Vec::new(),
                deployments: BTreeMap::new(),
            }),
        }
    }

    /// A PUT of a resource. `children` are those of its children that the template has as resources
    /// of their own: a list in the body that lacks one does not remove it in between.
    pub(super) fn put(&self, target: Target, body: Map<String, Value>, children: &[ResourceId]) {
        let mut body = body;
        let mut inner = self.inner.borrow_mut();
        keep_children(&inner.state, &target, &mut body, children);
        inner.written.insert(target.document.clone());
        inner.resources.push(target.id.as_str().to_owned());
        inner.changes.push(Change::Put(Put {
            target,
            body,
            precondition: Precondition::default(),
            sync_remote_address_space: false,
            origin: self.origin,
        }));
    }

    pub(super) fn put_group(&self, group: ResourceGroup) {
        let mut inner = self.inner.borrow_mut();
        inner.resources.push(group.id.to_string());
        inner.changes.push(Change::PutGroup(group));
    }

    pub(super) fn deployed(&self, id: &str, outputs: &Map<String, Value>) {
        let mut inner = self.inner.borrow_mut();
        inner.resources.push(id.to_owned());
        let shown = json!({"provisioningState": "Succeeded", "outputs": outputs});
        inner.deployments.insert(id.to_ascii_lowercase(), shown);
    }

    pub(super) fn depends(&self, id: &str, on: Vec<String>) {
        let mut inner = self.inner.borrow_mut();
        inner.dependencies.push((id.to_owned(), on));
    }

    /// The group, also where it is only to be made.
    pub(super) fn group(&self, id: &GroupId) -> Option<ResourceGroup> {
        let inner = self.inner.borrow();
        let made = inner.changes.iter().rev().find_map(|change| match change {
            Change::PutGroup(group) if group.id == *id => Some(group.clone()),
            _ => None,
        });
        made.or_else(|| inner.state.groups.get(id).cloned())
    }

    /// Whether something was not applied yet.
    pub(super) fn waits(&self) -> bool {
        let inner = self.inner.borrow();
        inner.applied < inner.changes.len()
    }

    /// Applies what was not applied yet.
    pub(super) fn flush(&self) -> Result<(), ArmError> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.applied < inner.changes.len() {
            let applied = inner
                .state
                .apply(&inner.changes[inner.applied..], inner.assign)?;
            inner.state = applied.state;
            inner.applied = inner.changes.len();
        }
        Ok(())
    }

    /// Removes what the group has, and the deployment did not write.
    pub(super) fn remove_others(&self, group: &GroupId) {
        let inner = &mut *self.inner.borrow_mut();
        let others = self.from.documents.values().filter(|document| {
            group.contains(&document.id) && !inner.written.contains(&document.id)
        });
        inner.changes.extend(others.map(|document| Change::Delete {
            target: Target::known(document.kind, &document.id),
            precondition: Precondition::default(),
        }));
    }

    /// Applies all of it as one set to what there was, as whoever carries it out will.
    pub(super) fn finish(&self) -> Result<(), ArmError> {
        let inner = &mut *self.inner.borrow_mut();
        let applied = self.from.apply(&inner.changes, inner.assign)?;
        inner.state = applied.state;
        inner.warnings = applied.warnings;
        inner.applied = inner.changes.len();
        Ok(())
    }

    /// A resource as it is shown.
    pub(super) fn find(&self, id: &str) -> Result<Found, ArmError> {
        if !(self.may_read)(id) {
            return Err(ArmError::new(
                "LinkedAuthorizationFailed",
                format!("reference() is of '{}', which you may not read.", cut(id)),
            ));
        }
        let inner = self.inner.borrow();
        if let Some(deployment) = inner.deployments.get(&id.to_ascii_lowercase()) {
            return Ok(Found::Resource(json!({"id": id, "properties": deployment})));
        }
        if let Ok(group) = GroupId::parse(id) {
            let found = inner.state.groups.get(&group).map(view::group);
            return Ok(found.map_or(Found::Nothing, Found::Resource));
        }
        let target = Target::parse(id)?;
        let waits = inner.changes[inner.applied..].iter().any(
            |change| matches!(change, Change::Put(put) if put.target.document == target.document),
        );
        if waits {
            return Ok(Found::Later);
        }
        let found = view::show(&inner.state, &target, &NoLive);
        Ok(found.map_or(Found::Nothing, Found::Resource))
    }

    pub(super) fn into_done(self) -> Done {
        let inner = self.inner.into_inner();
        Done {
            changes: inner.changes,
            state: inner.state,
            warnings: inner.warnings,
            resources: inner.resources,
            dependencies: inner.dependencies,
        }
    }
}

/// Puts children that are there, and that are resources of the template, into the lists of the body
/// that lack them.
fn keep_children(
    state: &State,
    target: &Target,
    body: &mut Map<String, Value>,
    children: &[ResourceId],
) {
    let Some(document) = state.documents.get(&target.id) else {
        return;
    };
    let there = field(&document.body, "properties").and_then(Value::as_object);
    let name = name_of(body, "properties");
    let Some(Value::Object(properties)) = body.get_mut(&name) else {
        return;
    };
    let kinds: &[Kind] = target.kind.children();
    for kind in kinds {
        let list = kind.list_name();
        let old = there
            .and_then(|there| field(there, list))
            .and_then(Value::as_array);
        let name = name_of(properties, list);
        let (Some(old), Some(Value::Array(new))) = (old, properties.get_mut(&name)) else {
            continue;
        };
        for child in old {
            let Some(name) = child_name(child) else {
                continue;
            };
            let wanted = format!("{}/{list}/{name}", target.id.as_str());
            let wanted = ResourceId::new(&wanted);
            let lacks = !new
                .iter()
                .filter_map(child_name)
                .any(|other| other.eq_ignore_ascii_case(name));
            if lacks && children.contains(&wanted) {
                new.push(child.clone());
            }
        }
    }
}

fn child_name(child: &Value) -> Option<&str> {
    field(child.as_object()?, "name")?.as_str()
}

/// A field by its name, which compares without case.
pub(super) fn field<'m>(fields: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    fields
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The name as it stands in the object.
fn name_of(fields: &Map<String, Value>, name: &str) -> String {
    let found = fields.keys().find(|key| key.eq_ignore_ascii_case(name));
    found.cloned().unwrap_or_else(|| name.to_owned())
}
