//! `topology`: what there is in a resource group, a VNet or a subnet, and what belongs to what.

use std::time::SystemTime;

use serde_json::{Value, json};
use uuid::Uuid;
use vnet_gw_core::{
    arm::{State, Target},
    model::{Kind, ResourceId},
    watcher::{Extent, topology_view},
};

use super::{
    question::{self, Question},
    watchers,
};
use crate::{
    api::{
        Call, Refusal,
        lists::group_exists,
        operations::time,
        resources::{missing, missing_group},
    },
    identity::Permission,
};

/// Exactly one of the three says what is looked at.
pub(super) fn answer(
    call: &Call,
    state: &State,
    watcher: &Target,
    question: &Question<'_>,
) -> Result<Value, Refusal> {
    let group = question.text("targetResourceGroupName")?;
    let network = question.object("targetVirtualNetwork")?;
    let subnet = question.object("targetSubnet")?;
    let region = watchers::region_of(state, watcher);
    let resources = match (group, network, subnet) {
        (Some(name), None, None) => {
            let mut id = watcher.group();
            name.clone_into(&mut id.name);
            group_exists(call, state, &id)?;
            let group = state
                .groups
                .get_key_value(&id)
                .map(|(id, _)| id.to_string());
            let group = group.ok_or_else(|| missing_group(name))?;
            topology_view(&state.topology, Extent::Group(&group), &region)
        }
        (None, Some(network), None) => {
            let id = found(call, state, network.needed("id")?, Kind::VirtualNetwork)?;
            topology_view(&state.topology, Extent::VirtualNetwork(&id), &region)
        }
        (None, None, Some(subnet)) => {
            let id = found(call, state, subnet.needed("id")?, Kind::Subnet)?;
            topology_view(&state.topology, Extent::Subnet(&id), &region)
        }
        _ => {
            return Err(question::wrong(
                "give one of targetResourceGroupName, targetVirtualNetwork and targetSubnet.",
            ));
        }
    };
    let now = time(SystemTime::now());
    let resources: Vec<_> = resources
        .into_iter()
        .filter(|one| call.access.allows(Permission::Read, &one.id))
        .collect();
    Ok(json!({
        "id": Uuid::new_v4(),
        "createdDateTime": now,
        "lastModified": now,
        "resources": question::shown(&resources)?,
    }))
}

fn found(call: &Call, state: &State, text: &str, kind: Kind) -> Result<ResourceId, Refusal> {
    let target = Target::parse(text)?;
    let operation = format!("{}/read", kind.resource_type());
    call.allow(Permission::Read, &operation, target.id.as_str())?;
    match state.find(&target).filter(|found| found.kind == kind) {
        Some(found) => Ok(found.id),
        None => Err(missing(state, &target)),
    }
}
