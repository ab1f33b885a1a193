//! `Microsoft.Compute/virtualMachines`: looked at only. One is known by the network interfaces that
//! are in it, and by nothing else.

use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use uuid::Uuid;
use vnet_gw_core::{
    arm::{GroupId, State},
    model::ResourceId,
    watcher::{Machine, machine, machines},
};

use crate::{
    api::{
        Answer, Api, Call, Refusal,
        lists::{Page, group_exists},
        only,
    },
    identity::Permission,
};

const TYPE: &str = "Microsoft.Compute/virtualMachines";
const READ: &str = "Microsoft.Compute/virtualMachines/read";

impl Api {
    pub(in crate::api) fn machine(&self, call: &Call, path: &str) -> Answer {
        only(call, &["GET"])?;
        let id = ResourceId::new(path);
        call.allow(Permission::Read, READ, id.as_str())?;
        let state = self.engine.state();
        let found = machine(&state.topology, &id).ok_or_else(|| {
            let group = GroupId::of(&id);
            Refusal::missing(
                "ResourceNotFound",
                format!(
                    "The Resource '{TYPE}/{}' under resource group '{}' was not found: no network \
                     interface names it in its tag vnet-gw:vm, or has its name.",
                    id.name().chars().take(80).collect::<String>(),
                    group.name
                ),
            )
        })?;
        Ok(Json(shown(&state, &found)).into_response())
    }

    pub(in crate::api) fn machines(
        &self,
        call: &Call,
        subscription: &str,
        group: Option<&GroupId>,
    ) -> Answer {
        only(call, &["GET"])?;
        let page = Page::of(call)?;
        let state = self.engine.state();
        match group {
            Some(group) => group_exists(call, &state, group)?,
            None => self.must_know(&state, subscription)?,
        }
        let within = |id: &ResourceId| match group {
            Some(group) => group.contains(id),
            None => GroupId::of(id)
                .subscription
                .eq_ignore_ascii_case(subscription),
        };
        let all = machines(&state.topology).into_iter();
        let all = all
            .filter(|(id, _)| within(id) && call.access.allows(Permission::Read, id.as_str()))
            .map(|(id, machine)| (id.key().to_owned(), machine));
        let body = page.take(call, all, |machine| Some(shown(&state, &machine)));
        Ok(Json(body).into_response())
    }
}

fn shown(state: &State, machine: &Machine<'_>) -> Value {
    let several = machine.interfaces.len() > 1;
    let interfaces = machine.interfaces.iter().enumerate().map(|(at, nic)| {
        let mut shown = json!({ "id": nic.id.as_str() });
        if several {
            shown["properties"] = json!({ "primary": at == 0 });
        }
        shown
    });
    let interfaces: Vec<Value> = interfaces.collect();
    let location = machine.interfaces.first().and_then(|nic| {
        let subnet = &nic.ip_configurations.first()?.subnet;
        Some(state.topology.vnet_of_subnet(subnet)?.location.as_str())
    });
    json!({
        "name": machine.id.name(),
        "id": machine.id.as_str(),
        "type": TYPE,
        "location": location,
        "properties": {
            "vmId": Uuid::new_v5(&Uuid::NAMESPACE_OID, machine.id.key().as_bytes()),
            "provisioningState": "Succeeded",
            "networkProfile": { "networkInterfaces": interfaces },
        },
    })
}
