//! One resource: GET, HEAD, PUT, PATCH, DELETE.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::time::timeout;
use vnet_gw_core::{
    arm::{Change, Live, NoLive, Origin, Outcome, Put, State, Target, view},
    model::{ArmError, Kind, Warning},
};

use super::{
    Answer, Api, Call, Refusal,
    changes::{operation, subscription_of, with_warnings},
    only, read_tags, watcher,
};
use crate::{
    engine::{Carried, Receipt, forget},
    identity::Permission,
};

/// How long an answer waits for the data path to carry a change, before it becomes a long
/// operation.
const PATIENCE: Duration = Duration::from_secs(5);

impl Api {
    pub(super) async fn resource(&self, call: &Call) -> Answer {
        let target = Target::parse(&call.path.to_string())?;
        match call.method {
            Method::GET => self.get(call, &target).await,
            Method::HEAD => self.head(call, &target),
            Method::PUT => self.put(call, target).await,
            Method::PATCH => self.patch(call, target).await,
            Method::DELETE => self.delete(call, target).await,
            _ => Err(only(call, &["GET", "HEAD", "PUT", "PATCH", "DELETE"])
                .err()
                .unwrap_or_else(Refusal::ending)),
        }
    }

    async fn get(&self, call: &Call, target: &Target) -> Answer {
        call.allow(
            Permission::Read,
            &operation(target.kind, "read"),
            target.id.as_str(),
        )?;
        let value = self.shown(target).await?;
        Ok(with_etag(StatusCode::OK, value))
    }

    fn head(&self, call: &Call, target: &Target) -> Answer {
        call.allow(
            Permission::Read,
            &operation(target.kind, "read"),
            target.id.as_str(),
        )?;
        let state = self.engine.state();
        match view::show(&state, target, &NoLive) {
            Some(_) => Ok(StatusCode::NO_CONTENT.into_response()),
            None => Err(missing(&state, target)),
        }
    }

    async fn put(&self, call: &Call, target: Target) -> Answer {
        let body = call.object()?;
        read_tags(body.get("tags"))?;
        let put = Put {
            target: target.clone(),
            body,
            precondition: call.precondition()?,
            sync_remote_address_space: call.query.flag("syncremoteaddressspace"),
            origin: Origin::Api,
        };
        let receipt = self
            .submit(
                call,
                self.with_watcher(&target, Change::Put(put)),
                &operation(target.kind, "write"),
                target.id.as_str(),
                Vec::new(),
            )
            .await?;
        self.written(call, &target, receipt).await
    }

    /// PATCH: its tags become these.
    async fn patch(&self, call: &Call, target: Target) -> Answer {
        let body = call.object()?;
        if let Some(other) = body.keys().find(|name| !name.eq_ignore_ascii_case("tags")) {
            return Err(Refusal::bad(
                "PropertyChangeNotAllowed",
                format!(
                    "PATCH changes tags, and not '{}': use PUT for the rest.",
                    other.chars().take(80).collect::<String>()
                ),
            ));
        }
        let tags = read_tags(body.values().next())?;
        let change = Change::Tags {
            target: target.clone(),
            tags,
            precondition: call.precondition()?,
        };
        let receipt = self
            .submit(
                call,
                self.with_watcher(&target, change),
                &operation(target.kind, "write"),
                target.id.as_str(),
                Vec::new(),
            )
            .await?;
        let warnings = self.carried(receipt).await?;
        let value = self.shown(&target).await?;
        Ok(with_warnings(with_etag(StatusCode::OK, value), &warnings))
    }

    /// The change of a resource; before one to a network watcher that nobody made, or below it, what
    /// makes that.
    fn with_watcher(&self, target: &Target, change: Change) -> Vec<Change> {
        let mut changes = watcher::made(&self.engine.state(), target);
        changes.push(change);
        changes
    }

    async fn delete(&self, call: &Call, target: Target) -> Answer {
        let change = Change::Delete {
            target: target.clone(),
            precondition: call.precondition()?,
        };
        let receipt = self
            .submit(
                call,
                vec![change],
                &operation(target.kind, "delete"),
                target.id.as_str(),
                Vec::new(),
            )
            .await?;
        let Receipt {
            state, mut carried, ..
        } = receipt;
        forget(state);
        match timeout(PATIENCE, &mut carried).await {
            Ok(outcome) => {
                told(outcome)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            Err(_) => {
                let work = async move { until_carried(carried).await.map(|()| None) };
                let subscription = subscription_of(&target.id);
                Ok(self.operations.begin(call, subscription, work).both())
            }
        }
    }

    /// The answer to a PUT that is durable.
    async fn written(&self, call: &Call, target: &Target, receipt: Receipt) -> Answer {
        let Receipt {
            outcomes,
            mut warnings,
            state,
            mut carried,
        } = receipt;
        let host = self.settings.host.as_deref();
        for warning in self.circles.of(target, &state.topology, host).await {
            log::warn!("{}: {}", warning.target, warning.message);
            warnings.push(warning);
        }
        forget(state);
        let outcome = outcomes.last();
        let status = match outcome {
            Some(Outcome::Created) => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        // Gateways and connections take their time in Azure, and clients expect that.
        let long = matches!(target.kind, Kind::VirtualNetworkGateway | Kind::Connection)
            && outcome != Some(&Outcome::Unchanged);
        if !long && let Ok(outcome) = timeout(PATIENCE, &mut carried).await {
            told(outcome)?;
            let value = self.shown(target).await?;
            return Ok(with_warnings(with_etag(status, value), &warnings));
        }
        let value = self.shown(target).await?;
        let response = with_warnings(with_etag(status, value), &warnings);
        let work = async move { until_carried(carried).await.map(|()| None) };
        let begun = self
            .operations
            .begin(call, subscription_of(&target.id), work);
        Ok(begun.operation(response))
    }

    /// Waits until the data path carries a change; its warnings.
    pub(super) async fn carried(&self, receipt: Receipt) -> Result<Vec<Warning>, Refusal> {
        let Receipt {
            warnings,
            state,
            carried,
            ..
        } = receipt;
        forget(state);
        // Where that takes longer, it is durable all the same, and shown as Updating.
        if let Ok(outcome) = timeout(PATIENCE, carried).await {
            told(outcome)?;
        }
        Ok(warnings)
    }

    /// As a GET answers it now.
    pub(super) async fn shown(&self, target: &Target) -> Result<Value, Refusal> {
        let tunnels = match target.kind {
            Kind::Connection => Some(self.tunnels().await),
            _ => None,
        };
        let live: &dyn Live = match &tunnels {
            Some(tunnels) => tunnels,
            None => &NoLive,
        };
        let state = self.engine.state();
        let shown = view::show(&state, target, live);
        let shown = shown.or_else(|| watcher::with_implicit(&state, target));
        let shown = shown.ok_or_else(|| missing(&state, target));
        forget(state);
        shown
    }
}

/// What the data path says, as an error of ours.
pub(super) fn told(
    outcome: Result<Result<(), ArmError>, tokio::sync::oneshot::error::RecvError>,
) -> Result<(), ArmError> {
    outcome.unwrap_or_else(|_| {
        Err(ArmError::new(
            "ServiceUnavailable",
            "The daemon ends; the change is kept, and carried out when it is back.",
        ))
    })
}

/// Of a receipt, for a long operation.
pub(super) async fn until_carried(carried: Carried) -> Result<(), ArmError> {
    told(carried.await)
}

/// What is said of a resource that is not there.
pub(super) fn missing(state: &State, target: &Target) -> Refusal {
    let group = target.group();
    if !state.groups.contains_key(&group) {
        return missing_group(&group.name);
    }
    if target.is_child() && state.document(&target.document).is_some() {
        return Refusal::missing("NotFound", format!("Resource {} not found.", target.id));
    }
    let kind = target.kind.parent().unwrap_or(target.kind);
    Refusal::missing(
        "ResourceNotFound",
        format!(
            "The Resource '{}/{}' under resource group '{}' was not found.",
            kind.resource_type(),
            target.document.name(),
            group.name
        ),
    )
}

pub(super) fn missing_group(name: &str) -> Refusal {
    Refusal::missing(
        "ResourceGroupNotFound",
        format!("Resource group '{name}' could not be found."),
    )
}

/// A resource, with its `etag` as a header, too.
pub(super) fn with_etag(status: StatusCode, value: Value) -> Response {
    let etag = value.get("etag").and_then(Value::as_str);
    let etag = etag.and_then(|etag| HeaderValue::from_str(etag).ok());
    let mut response = (status, Json(value)).into_response();
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}
