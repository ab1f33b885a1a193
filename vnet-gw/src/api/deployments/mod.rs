//! `Microsoft.Resources/deployments`: at a resource group, and at a subscription.
//!
//! A deployment is carried out purely first (`core::arm::deployment`), on the state of now; what
//! comes of it is submitted as one set of changes, with the deployment's record in the same
//! transaction. So it is there as a whole or not at all, and what a client is told to wait for is
//! the data path.

mod record;
mod request;
mod work;

use axum::{
    Json,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use serde_json::{Value, json};
use vnet_gw_core::{
    arm::{
        GroupId,
        deployment::{export, what_if},
    },
    model::ArmError,
};

pub(super) use self::record::Running;
use self::{record::Record, request::Asked};
use super::{
    Answer, Api, Call, Refusal,
    changes::{may, with_warnings},
    lists::Page,
    only,
    resources::missing_group,
};
use crate::{
    identity::Permission,
    store::{Table, Write},
};

const READ: &str = "Microsoft.Resources/deployments/read";
const WRITE: &str = "Microsoft.Resources/deployments/write";
const DELETE: &str = "Microsoft.Resources/deployments/delete";
const VALIDATE: &str = "Microsoft.Resources/deployments/validate/action";
const WHAT_IF: &str = "Microsoft.Resources/deployments/whatIf/action";
const EXPORT: &str = "Microsoft.Resources/deployments/exportTemplate/action";
const EXPORT_GROUP: &str = "Microsoft.Resources/subscriptions/resourceGroups/exportTemplate/action";

/// What a template is deployed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Group(GroupId),
    Subscription(String),
}

impl Scope {
    fn path(&self) -> String {
        match self {
            Self::Group(group) => group.to_string(),
            Self::Subscription(id) => format!("/subscriptions/{id}"),
        }
    }

    fn subscription(&self) -> &str {
        match self {
            Self::Group(group) => &group.subscription,
            Self::Subscription(id) => id,
        }
    }

    fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Group(group) => Some(group),
            Self::Subscription(_) => None,
        }
    }
}

impl Api {
    /// `deployments` of a group or a subscription, with what follows in the path: nothing (the
    /// list), a name, or a name and an action (`validate`, `whatIf`, `exportTemplate`, `cancel`,
    /// `operations`).
    pub(super) async fn deployments(&self, call: &Call, scope: &Scope, rest: &[String]) -> Answer {
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let scope = &self.known_scope(scope)?;
        match rest.as_slice() {
            [] => self.list_deployments(call, scope),
            [name] => {
                request::check_name(name)?;
                self.one_deployment(call, scope, name).await
            }
            [name, action, rest @ ..] => {
                request::check_name(name)?;
                match (action.to_ascii_lowercase().as_str(), rest) {
                    ("validate", []) => self.validate(call, scope, name).await,
                    ("whatif", []) => self.what_if(call, scope, name).await,
                    ("exporttemplate", []) => self.export_deployment(call, scope, name),
                    ("cancel", []) => self.cancel(call, scope, name),
                    ("operations", rest) => self.operations_of(call, scope, name, rest),
                    _ => Err(Refusal::no_such_path(&call.path.to_string())),
                }
            }
        }
    }

    /// `resourceGroups/G/deployments/NAME/operations`: `NAME`, `operations`.
    pub(super) async fn deployment_operations(
        &self,
        call: &Call,
        group: &GroupId,
        rest: &[String],
    ) -> Answer {
        match rest {
            [_, operations, ..] if operations.eq_ignore_ascii_case("operations") => {
                let scope = Scope::Group(group.clone());
                self.deployments(call, &scope, rest).await
            }
            _ => Err(Refusal::no_such_path(&call.path.to_string())),
        }
    }

    /// POST `resourceGroups/G/exportTemplate`
    pub(super) async fn export_group(&self, call: &Call, group: &GroupId) -> Answer {
        only(call, &["POST"])?;
        call.allow(Permission::Read, EXPORT_GROUP, &group.to_string())?;
        let exported = export(&self.engine.state(), group)?;
        Ok(Json(json!({ "template": exported.template })).into_response())
    }

    /// With the group's name as first written.
    fn known_scope(&self, scope: &Scope) -> Result<Scope, Refusal> {
        let state = self.engine.state();
        match scope {
            Scope::Group(id) => {
                let known = state.groups.get(id);
                let known = known.ok_or_else(|| missing_group(&id.name))?;
                Ok(Scope::Group(known.id.clone()))
            }
            Scope::Subscription(id) => {
                self.must_know(&state, id)?;
                Ok(scope.clone())
            }
        }
    }

    fn list_deployments(&self, call: &Call, scope: &Scope) -> Answer {
        only(call, &["GET"])?;
        call.allow(Permission::Read, READ, &scope.path())?;
        let page = Page::of(call)?;
        let records = self.records(scope)?;
        let body = page.take(call, records.into_iter(), |record| {
            Some(self.shown_now(record))
        });
        Ok(Json(body).into_response())
    }

    async fn one_deployment(&self, call: &Call, scope: &Scope, name: &str) -> Answer {
        let id = record::id(scope, name);
        match call.method {
            Method::GET | Method::HEAD => {
                call.allow(Permission::Read, READ, &id)?;
                let record = self.record(scope, name)?;
                match call.method {
                    Method::HEAD => Ok(StatusCode::NO_CONTENT.into_response()),
                    _ => Ok(Json(self.shown_now(record)).into_response()),
                }
            }
            Method::PUT => {
                call.allow(Permission::Write, WRITE, &id)?;
                self.put_deployment(call, scope, name).await
            }
            Method::DELETE => {
                call.allow(Permission::Write, DELETE, &id)?;
                self.record(scope, name)?;
                let records = vec![Write::remove(Table::Deployments, id.to_ascii_lowercase())];
                self.submit(call, Vec::new(), DELETE, &id, records).await?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            _ => Err(Refusal::wrong_method(
                call.method.as_str(),
                "GET, HEAD, PUT, DELETE",
            )),
        }
    }

    /// Whether a deployment would be carried out.
    async fn validate(&self, call: &Call, scope: &Scope, name: &str) -> Answer {
        only(call, &["POST"])?;
        let id = record::id(scope, name);
        call.allow(Permission::Write, VALIDATE, &id)?;
        let state = self.engine.state();
        let asked = self.asked(call, scope, name)?;
        let deployed = self.carried_out(call, asked.clone(), &state).await;
        let deployed = deployed.map_err(refused)?;
        for change in &deployed.changes {
            may(call, &state, change, WRITE)?;
        }
        let mut record = Record::new(call, scope, name, &asked);
        record.came_to(&deployed);
        record.ended(Ok(()));
        let mut body = record.shown();
        let resources: Vec<Value> = deployed
            .resources
            .iter()
            .map(|id| json!({ "id": id }))
            .collect();
        if let Some(properties) = body["properties"].as_object_mut() {
            properties.insert("validatedResources".to_owned(), resources.into());
            for later in ["outputs", "outputResources"] {
                properties.shift_remove(later);
            }
        }
        Ok(with_warnings(
            Json(body).into_response(),
            &deployed.warnings,
        ))
    }

    async fn what_if(&self, call: &Call, scope: &Scope, name: &str) -> Answer {
        only(call, &["POST"])?;
        call.allow(Permission::Write, WHAT_IF, &record::id(scope, name))?;
        let state = self.engine.state();
        let asked = self.asked(call, scope, name)?;
        let format = asked.format;
        let deployed = self.carried_out(call, asked, &state).await;
        let deployed = deployed.map_err(refused)?;
        for change in &deployed.changes {
            may(call, &state, change, WRITE)?;
        }
        let mut changes = what_if(&state, &deployed, scope.group(), format);
        changes.retain(|change| {
            let id = change["resourceId"].as_str().unwrap_or_default();
            call.access.allows(Permission::Read, id)
        });
        let body = json!({
            "status": "Succeeded",
            "properties": {
                "correlationId": call.caller.correlation_id,
                "changes": changes,
            },
        });
        Ok(with_warnings(
            Json(body).into_response(),
            &deployed.warnings,
        ))
    }

    fn export_deployment(&self, call: &Call, scope: &Scope, name: &str) -> Answer {
        only(call, &["POST"])?;
        call.allow(Permission::Read, EXPORT, &record::id(scope, name))?;
        let record = self.record(scope, name)?;
        Ok(Json(json!({ "template": record.template })).into_response())
    }

    fn cancel(&self, call: &Call, scope: &Scope, name: &str) -> Answer {
        only(call, &["POST"])?;
        call.allow(Permission::Write, WRITE, &record::id(scope, name))?;
        self.record(scope, name)?;
        Err(Refusal::from_error(ArmError::new(
            "Conflict",
            format!(
                "The deployment '{name}' cannot be cancelled: a deployment is made durable as a \
                 whole before it is answered. Deploy what was there before instead."
            ),
        )))
    }

    /// The list, or one of them.
    fn operations_of(&self, call: &Call, scope: &Scope, name: &str, rest: &[&str]) -> Answer {
        only(call, &["GET"])?;
        call.allow(Permission::Read, READ, &record::id(scope, name))?;
        let operations = self.record(scope, name)?.operations();
        match rest {
            [] => {
                let page = Page::of(call)?;
                let numbered = operations.into_iter().enumerate();
                let items = numbered.map(|(at, operation)| (format!("{at:06}"), operation));
                Ok(Json(page.take(call, items, Some)).into_response())
            }
            [id] => operations
                .into_iter()
                .find(|operation| operation["operationId"] == *id)
                .map(|operation| Json(operation).into_response())
                .ok_or_else(|| {
                    Refusal::missing("DeploymentOperationNotFound", "There is no such operation.")
                }),
            _ => Err(Refusal::no_such_path(&call.path.to_string())),
        }
    }
}

/// A template that does not hold is a bad request, whatever is missing.
fn refused(error: ArmError) -> Refusal {
    let mut refusal = Refusal::from_error(error);
    if refusal.status == StatusCode::NOT_FOUND {
        refusal.status = StatusCode::BAD_REQUEST;
    }
    refusal
}

impl Asked {
    /// What of the scope the deployment's options say.
    fn scope_options(scope: &Scope) -> (String, String) {
        let group = scope.group().map(|group| group.name.clone());
        (scope.subscription().to_owned(), group.unwrap_or_default())
    }
}
