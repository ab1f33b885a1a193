//! Network watchers. Azure makes one in every region with a virtual network, `NetworkWatcher_REGION`
//! in the group `NetworkWatcherRG`; here such a one is there without having been made: it is listed
//! and shown, and answers. It becomes a resource when something is kept below it.

use std::collections::BTreeSet;

use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use vnet_gw_core::{
    arm::{Change, NoLive, Origin, Precondition, Put, ResourceGroup, Scope, State, Target, view},
    model::{Kind, ResourceId},
};

use crate::{
    api::{
        Answer, Api, Call, Refusal,
        lists::{Page, group_exists},
        resources::missing,
    },
    identity::Permission,
};

const GROUP: &str = "NetworkWatcherRG";

impl Api {
    /// The network watchers at a scope, made or not.
    pub(in crate::api) fn watchers(
        &self,
        call: &Call,
        state: &State,
        scope: &Scope,
        page: &Page,
    ) -> Answer {
        let subscription = match scope {
            Scope::Subscription(subscription) => {
                self.must_know(state, subscription)?;
                subscription
            }
            Scope::Group(group) => {
                if !group.name.eq_ignore_ascii_case(GROUP) {
                    group_exists(call, state, group)?;
                }
                &group.subscription
            }
            Scope::Parent(parent) => return Err(missing(state, parent)),
        };
        let (made, _) = view::list(state, Some(Kind::NetworkWatcher), scope, None, usize::MAX);
        let others = implicit(state, subscription).into_iter();
        let others = others.filter(|one| match scope {
            Scope::Group(group) => group.contains(&one.id),
            _ => true,
        });
        let mut all: Vec<Target> = made.into_iter().chain(others).collect();
        all.retain(|one| call.access.allows(Permission::Read, one.id.as_str()));
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let all = all.into_iter().map(|one| (one.id.key().to_owned(), one));
        let body = page.take(call, all, |one| {
            view::show(state, &one, &NoLive).or_else(|| with_implicit(state, &one))
        });
        Ok(Json(body).into_response())
    }
}

/// The watchers of a subscription that nobody made: of the regions of its virtual networks in which
/// it has none. In the order of their ids.
fn implicit(state: &State, subscription: &str) -> Vec<Target> {
    let own = |id: &ResourceId| {
        let of = id.key().split('/').nth(2);
        of.is_some_and(|of| of.eq_ignore_ascii_case(subscription))
    };
    let networks = state.topology.virtual_networks.values();
    let mut regions: BTreeSet<&str> = networks
        .filter(|network| own(&network.id))
        .map(|network| network.location.as_str())
        .collect();
    for document in state.documents.values() {
        if document.kind == Kind::NetworkWatcher
            && own(&document.id)
            && let Some(region) = state.location(document)
        {
            regions.remove(region.as_str());
        }
    }
    let targets = regions
        .into_iter()
        .map(|region| target(subscription, region));
    let mut targets: Vec<Target> = targets.collect();
    // The name may be that of a watcher of another region.
    targets.retain(|target| state.document(&target.id).is_none());
    targets.sort_by(|a, b| a.id.cmp(&b.id));
    targets
}

fn target(subscription: &str, region: &str) -> Target {
    let group = format!("/subscriptions/{subscription}/resourceGroups/{GROUP}");
    let id = Kind::NetworkWatcher.id(&group, &[format!("NetworkWatcher_{region}")]);
    Target {
        kind: Kind::NetworkWatcher,
        document: id.clone(),
        id,
    }
}

/// Where the watcher is.
pub(super) fn region_of(state: &State, target: &Target) -> String {
    let made = state.document(&target.document);
    let made = made.and_then(|document| state.location(document));
    made.unwrap_or_else(|| region(target).to_owned())
}

fn region(target: &Target) -> &str {
    let name = target.id.name();
    name.split_once('_').map_or(name, |(_, region)| region)
}

/// As a GET answers an implicit watcher; nothing where `target` is none.
pub(in crate::api) fn with_implicit(state: &State, target: &Target) -> Option<Value> {
    let found = find(state, target).filter(|_| target.kind == Kind::NetworkWatcher)?;
    Some(json!({
        "name": found.id.name(),
        "id": found.id.as_str(),
        "etag": format!("W/\"{}\"", uuid::Uuid::nil()),
        "type": Kind::NetworkWatcher.resource_type(),
        "location": region(&found),
        "properties": {"provisioningState": "Succeeded", "runningOperationIds": []},
    }))
}

fn find(state: &State, target: &Target) -> Option<Target> {
    if !target.group().name.eq_ignore_ascii_case(GROUP) {
        return None;
    }
    let mut all = implicit(state, &target.group().subscription).into_iter();
    all.find(|one| one.id == target.document)
}

/// # Errors
///
/// 404 where there is no such watcher, made or not.
pub(super) fn must_be(state: &State, target: &Target) -> Result<(), Refusal> {
    match state.document(&target.document).is_some() || find(state, target).is_some() {
        true => Ok(()),
        false => Err(missing(state, target)),
    }
}

/// What makes a resource of an implicit watcher, before it is written or anything is put below it;
/// nothing where it is one, or `target` is none and is below none.
pub(in crate::api) fn made(state: &State, target: &Target) -> Vec<Change> {
    let Some(found) = find(state, target) else {
        return Vec::new();
    };
    let group = found.group();
    let location = region(&found).to_owned();
    let mut changes = Vec::new();
    if !state.groups.contains_key(&group) {
        changes.push(Change::PutGroup(ResourceGroup {
            id: group,
            location: location.clone(),
            tags: Default::default(),
        }));
    }
    let body = json!({"location": location, "properties": {}});
    let body = body.as_object().cloned().unwrap_or_default();
    changes.push(Change::Put(Put {
        target: found,
        body,
        precondition: Precondition::default(),
        sync_remote_address_space: false,
        origin: Origin::Api,
    }));
    changes
}
