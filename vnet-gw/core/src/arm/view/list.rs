//! Which resources a list has.

use std::ops::Bound;

use super::{child_name, children};
use crate::{
    arm::{Scope, State, Target},
    model::{Kind, ResourceId},
};

/// The resources of a kind (`None`: top-level ones of every kind) at a scope, in the order of
/// their ids: the first `most` ones after the id `after`, and where there are more, the id to go on
/// after. A resource that comes or goes between two pages moves no other.
pub fn list(
    state: &State,
    kind: Option<Kind>,
    scope: &Scope,
    after: Option<&ResourceId>,
    most: usize,
) -> (Vec<Target>, Option<ResourceId>) {
    let mut found = match scope {
        Scope::Parent(parent) => of_parent(state, kind, &parent.id, after),
        Scope::Subscription(id) => {
            let prefix = format!("/subscriptions/{id}/").to_ascii_lowercase();
            top_level(state, kind, &prefix, after, most)
        }
        Scope::Group(group) => {
            let below = kind.map_or_else(String::new, |kind| {
                format!("providers/{}/", kind.resource_type())
            });
            let prefix = format!("{group}/{below}").to_ascii_lowercase();
            top_level(state, kind, &prefix, after, most)
        }
    };
    let more = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| more).map(|last| last.id.clone());
    (found, next)
}

/// One more than `most`, where there are as many.
fn top_level(
    state: &State,
    kind: Option<Kind>,
    prefix: &str,
    after: Option<&ResourceId>,
    most: usize,
) -> Vec<Target> {
    let first = ResourceId::new(prefix);
    let start: Bound<&ResourceId> = match after {
        Some(after) if *after > first => Bound::Excluded(after),
        _ => Bound::Excluded(&first),
    };
    let documents = state
        .documents
        .range::<_, ResourceId>((start, Bound::Unbounded));
    documents
        // The id of another group may sort between: "a" < "a-b/…" < "a/…".
        .take_while(|(id, _)| id.key().starts_with(prefix) || id.key() < prefix)
        .filter(|(id, document)| {
            id.key().starts_with(prefix) && kind.is_none_or(|kind| document.kind == kind)
        })
        .take(most.saturating_add(1))
        .map(|(id, document)| Target::known(document.kind, id))
        .collect()
}

/// All of them.
fn of_parent(
    state: &State,
    kind: Option<Kind>,
    parent: &ResourceId,
    after: Option<&ResourceId>,
) -> Vec<Target> {
    let (Some((parent, document)), Some(kind)) = (state.documents.get_key_value(parent), kind)
    else {
        return Vec::new();
    };
    if kind.parent() != Some(document.kind) {
        return Vec::new();
    }
    let ids = children(document, kind).filter_map(|child| {
        let name = child_name(child)?;
        Some(ResourceId::new(&format!(
            "{parent}/{}/{name}",
            kind.list_name()
        )))
    });
    let mut targets: Vec<Target> = ids
        .filter(|id| after.is_none_or(|after| id > after))
        .map(|id| Target {
            kind,
            id,
            document: parent.clone(),
        })
        .collect();
    targets.sort_by(|a, b| a.id.cmp(&b.id));
    targets
}
