//! What a deployment would change, as Azure tells it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Deployed, GroupId, State, Target};
use crate::{
    arm::{ResourceChange, diff, view},
    model::ResourceId,
};

/// How much is told of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultFormat {
    #[default]
    FullResourcePayloads,
    ResourceIdOnly,
}

/// `changes[]` of a what-if: what comes of the template's resources and changes with them, and what
/// else is in the group.
pub fn what_if(
    before: &State,
    deployed: &Deployed,
    group: Option<&GroupId>,
    format: ResultFormat,
) -> Vec<Value> {
    let groups = deployed.resources.iter().filter_map(|id| {
        let group = GroupId::parse(id).ok()?;
        let show = |state: &State| state.groups.get(&group).map(view::group);
        let (old, new) = (show(before), show(&deployed.state));
        let kind = match &old {
            None => "Create",
            old if *old == new => "NoChange",
            _ => "Modify",
        };
        Some(json!({"resourceId": id, "changeType": kind, "before": old, "after": new}))
    });
    let named: BTreeSet<ResourceId> = deployed
        .resources
        .iter()
        .filter_map(|id| Target::parse(id).ok())
        .map(|target| target.document)
        .collect();
    let changes = diff(before, &deployed.state, &named);
    let told: BTreeSet<&ResourceId> = changes.iter().map(|change| &change.id).collect();
    let ignored = before.documents.values().filter(|document| {
        group.is_some_and(|group| group.contains(&document.id)) && !told.contains(&document.id)
    });
    let ignored =
        ignored.map(|document| json!({"resourceId": document.id.as_str(), "changeType": "Ignore"}));
    let mut all: Vec<Value> = groups.collect();
    all.extend(changes.iter().map(ResourceChange::to_value));
    all.extend(ignored);
    if format == ResultFormat::ResourceIdOnly {
        let told = ["resourceId", "changeType"];
        for change in all.iter_mut().filter_map(Value::as_object_mut) {
            *change = std::mem::take(change)
                .into_iter()
                .filter(|(name, _)| told.contains(&name.as_str()))
                .collect::<Map<_, _>>();
        }
    }
    all
}
