//! Resource groups.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use serde_json::Value;
use vnet_gw_core::arm::{Change, GroupId, Outcome, ResourceGroup, view};

use super::{
    Answer, Api, Call, Refusal,
    filter::Filter,
    lists::Page,
    only, read_tags,
    resources::{missing_group, until_carried},
};
use crate::identity::Permission;

const READ: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";
const WRITE: &str = "Microsoft.Resources/subscriptions/resourceGroups/write";
const DELETE: &str = "Microsoft.Resources/subscriptions/resourceGroups/delete";

impl Api {
    pub(super) fn groups(&self, call: &Call, subscription: &str) -> Answer {
        only(call, &["GET"])?;
        let page = Page::of(call)?;
        let filter = Filter::parse(call.query.get("$filter").unwrap_or_default())?;
        let state = self.engine.state();
        self.must_know(&state, subscription)?;
        let groups = state
            .groups
            .values()
            .filter(|group| group.id.subscription.eq_ignore_ascii_case(subscription))
            .filter(|group| call.access.allows(Permission::Read, &group.id.to_string()))
            .filter(|group| filter.takes_tags(&group.tags))
            .map(|group| (group.id.key(), group));
        let body = page.take(call, groups, |group| Some(view::group(group)));
        Ok(Json(body).into_response())
    }

    pub(super) async fn group(&self, call: &Call, id: GroupId) -> Answer {
        let scope = id.to_string();
        match call.method {
            Method::GET | Method::HEAD => {
                call.allow(Permission::Read, READ, &scope)?;
                let state = self.engine.state();
                let group = state.groups.get(&id);
                let group = group.ok_or_else(|| missing_group(&id.name))?;
                match call.method {
                    Method::HEAD => Ok(StatusCode::NO_CONTENT.into_response()),
                    _ => Ok(Json(view::group(group)).into_response()),
                }
            }
            Method::PUT => self.put_group(call, id).await,
            Method::PATCH => self.patch_group(call, id).await,
            Method::DELETE => self.delete_group(call, id).await,
            _ => Err(Refusal::wrong_method(
                call.method.as_str(),
                "GET, HEAD, PUT, PATCH, DELETE",
            )),
        }
    }

    async fn put_group(&self, call: &Call, id: GroupId) -> Answer {
        let body = call.object()?;
        let location = match body.get("location") {
            Some(Value::String(text)) => text
                .chars()
                .filter(|c| !c.is_whitespace())
                .collect::<String>()
                .to_lowercase(),
            _ => String::new(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if location.is_empty() || location.len() > 64 || !location.chars().all(plain) {
            return Err(Refusal::bad(
                "LocationRequired",
                "The location property is required for a resource group: a region's name, as \
                 'local' or 'westeurope'.",
            ));
        }
        let group = ResourceGroup {
            id,
            location,
            tags: read_tags(body.get("tags"))?,
        };
        self.write_group(call, group).await
    }

    async fn patch_group(&self, call: &Call, id: GroupId) -> Answer {
        call.allow(Permission::Write, WRITE, &id.to_string())?;
        let body = call.object()?;
        let state = self.engine.state();
        let known = state.groups.get(&id);
        let mut group = known.ok_or_else(|| missing_group(&id.name))?.clone();
        if let Some(tags) = body.get("tags") {
            group.tags = read_tags(Some(tags))?;
        }
        self.write_group(call, group).await
    }

    pub(super) async fn write_group(&self, call: &Call, group: ResourceGroup) -> Answer {
        let id = group.id.clone();
        let receipt = self
            .submit(
                call,
                vec![Change::PutGroup(group)],
                WRITE,
                &id.to_string(),
                Vec::new(),
            )
            .await?;
        let status = match receipt.outcomes.first() {
            Some(Outcome::Created) => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        let state = self.engine.state();
        let group = state.groups.get(&id);
        let group = group.ok_or_else(|| missing_group(&id.name))?;
        Ok((status, Json(view::group(group))).into_response())
    }

    async fn delete_group(&self, call: &Call, id: GroupId) -> Answer {
        call.allow(Permission::Write, DELETE, &id.to_string())?;
        if !self.engine.state().groups.contains_key(&id) {
            return Err(missing_group(&id.name));
        }
        let deployments = self.forget_deployments(&id)?;
        let receipt = self
            .submit(
                call,
                vec![Change::DeleteGroup(id.clone())],
                DELETE,
                &id.to_string(),
                deployments,
            )
            .await?;
        let work = async move { until_carried(receipt.carried).await.map(|()| None) };
        let begun = self.operations.begin(call, &id.subscription, work);
        Ok(begun.result())
    }
}
