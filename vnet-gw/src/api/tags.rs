//! `providers/Microsoft.Resources/tags/default` of a resource or a resource group.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::Method,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use vnet_gw_core::arm::{Change, GroupId, Precondition, ResourceGroup, Target};

use super::{
    Answer, Api, Call, Refusal, read_tags,
    resources::{missing, missing_group},
};
use crate::identity::Permission;

type Tags = BTreeMap<String, String>;

/// What has the tags.
enum Owner {
    Group(ResourceGroup),
    Resource(Target, Tags),
}

impl Api {
    pub(super) async fn tags(&self, call: &Call, scope: &str) -> Answer {
        let owner = self.owner(call, scope)?;
        let before = match &owner {
            Owner::Group(group) => &group.tags,
            Owner::Resource(_, tags) => tags,
        };
        let after = match call.method {
            Method::GET => return Ok(shown(scope, before)),
            Method::DELETE => Tags::new(),
            Method::PUT => read_tags(call.object()?.get("properties").and_then(|p| p.get("tags")))?,
            Method::PATCH => patched(before.clone(), call)?,
            _ => {
                return Err(Refusal::wrong_method(
                    call.method.as_str(),
                    "GET, PUT, PATCH, DELETE",
                ));
            }
        };
        let change = match owner {
            Owner::Group(group) => Change::PutGroup(ResourceGroup {
                tags: after.clone(),
                ..group
            }),
            Owner::Resource(target, _) => Change::Tags {
                target,
                tags: after.clone(),
                precondition: Precondition::default(),
            },
        };
        let receipt = self
            .submit(
                call,
                vec![change],
                "Microsoft.Resources/tags/write",
                scope,
                Vec::new(),
            )
            .await?;
        self.carried(receipt).await?;
        match call.method {
            Method::DELETE => Ok(().into_response()),
            _ => Ok(shown(scope, &after)),
        }
    }

    fn owner(&self, call: &Call, scope: &str) -> Result<Owner, Refusal> {
        call.allow(Permission::Read, "Microsoft.Resources/tags/read", scope)?;
        let state = self.engine.state();
        if let Ok(id) = GroupId::parse(scope) {
            let group = state.groups.get(&id);
            let group = group.ok_or_else(|| missing_group(&id.name))?;
            return Ok(Owner::Group(group.clone()));
        }
        let target = Target::parse(scope)?;
        if target.is_child() {
            return Err(Refusal::bad(
                "InvalidResourceType",
                format!("A {} has no tags: its parent has.", target.kind.noun()),
            ));
        }
        let document = state.document(&target.id);
        let document = document.ok_or_else(|| missing(&state, &target))?;
        let tags = read_tags(document.body.get("tags"))?;
        Ok(Owner::Resource(target, tags))
    }
}

/// `{"operation": "Merge", "properties": {"tags": {…}}}`
fn patched(mut tags: Tags, call: &Call) -> Result<Tags, Refusal> {
    let body = call.object()?;
    let given = read_tags(body.get("properties").and_then(|p| p.get("tags")))?;
    let operation = body.get("operation").and_then(Value::as_str);
    match operation.unwrap_or_default().to_ascii_lowercase().as_str() {
        "replace" => tags = given,
        "merge" => {
            for (name, value) in given {
                tags.retain(|known, _| !known.eq_ignore_ascii_case(&name));
                tags.insert(name, value);
            }
        }
        "delete" => {
            tags.retain(|known, _| !given.keys().any(|name| name.eq_ignore_ascii_case(known)))
        }
        _ => {
            return Err(Refusal::bad(
                "InvalidRequestContent",
                "The body of the request is not valid: operation must be Merge, Replace or Delete.",
            ));
        }
    }
    Ok(tags)
}

fn shown(scope: &str, tags: &Tags) -> Response {
    Json(json!({
        "id": format!("{scope}/providers/Microsoft.Resources/tags/default"),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": { "tags": tags },
    }))
    .into_response()
}
