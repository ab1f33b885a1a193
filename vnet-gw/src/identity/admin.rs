//! Seeing to service principals: on the Unix socket only, for root and the daemon's own user.
//!
//! | request | answer |
//! |---|---|
//! | `GET /vnet-gw/principals` | `{"tenant", "value": […]}` |
//! | `POST /vnet-gw/principals` `{"displayName", "assignments", "lifetimeSeconds"}` | with its `password`, this once |
//! | `DELETE /vnet-gw/principals/{name}` | what it was |
//! | `POST /vnet-gw/principals/{name}/reset` `{"lifetimeSeconds"}` | with its new `password` |
//! | `POST /vnet-gw/principals/{name}/assign`, `…/unassign` `{"role", "scope"}` | with its roles |
//!
//! Names are those of `az ad sp`; `{name}` is the display name, the client id or the object id.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use vnet_gw_core::model::ArmError;
use zeroize::Zeroizing;

use super::{Assignment, Identity, NewSecret, Principal, PrincipalError, Role};
use crate::control::KeyText;

/// How long a secret is good for where nobody says: Azure's year.
pub const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A principal as it is shown; `password` only when it was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalView {
    pub app_id: String,
    pub display_name: String,
    pub object_id: String,
    pub tenant: String,
    pub created: String,
    /// When the last of its secrets ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_expires: Option<String>,
    pub assignments: Vec<Assignment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<KeyText>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalList {
    pub tenant: String,
    pub value: Vec<PrincipalView>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPrincipal {
    pub display_name: String,
    #[serde(default)]
    pub assignments: Vec<GivenAssignment>,
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
}

/// A role at a scope, as somebody wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenAssignment {
    pub role: Role,
    pub scope: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewLifetime {
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
}

/// The routes. Whoever serves them has made sure who asks.
pub fn admin(identity: Arc<Identity>) -> Router {
    Router::new()
        .route("/vnet-gw/principals", get(list).post(create))
        .route("/vnet-gw/principals/{name}", delete(remove))
        .route("/vnet-gw/principals/{name}/reset", post(reset))
        .route("/vnet-gw/principals/{name}/assign", post(assign))
        .route("/vnet-gw/principals/{name}/unassign", post(unassign))
        .with_state(identity)
}

type Shared = State<Arc<Identity>>;
type Body<T> = Result<Json<T>, JsonRejection>;

async fn list(State(identity): Shared) -> Response {
    let all = identity.principals().list();
    let value = all.iter().map(|one| view(&identity, one, None));
    Json(PrincipalList {
        tenant: identity.tenant().to_owned(),
        value: value.collect(),
    })
    .into_response()
}

async fn create(State(identity): Shared, body: Body<NewPrincipal>) -> Response {
    work(body, move |new| {
        let roles: Result<Vec<_>, _> = new.assignments.iter().map(given).collect();
        let lifetime = lifetime(new.lifetime_seconds);
        let made = identity
            .principals()
            .create(&new.display_name, roles?, lifetime)?;
        log::info!("service principal {:?}: made", made.principal.name);
        Ok((StatusCode::CREATED, fresh(&identity, &made)))
    })
    .await
}

async fn reset(
    State(identity): Shared,
    Path(name): Path<String>,
    body: Body<NewLifetime>,
) -> Response {
    work(body, move |new| {
        let lifetime = lifetime(new.lifetime_seconds);
        let made = identity.principals().reset(&name, lifetime)?;
        log::info!("service principal {:?}: a new secret", made.principal.name);
        Ok((StatusCode::OK, fresh(&identity, &made)))
    })
    .await
}

async fn remove(State(identity): Shared, Path(name): Path<String>) -> Response {
    work(Ok(Json(())), move |()| {
        let gone = identity.principals().delete(&name)?;
        log::info!("service principal {:?}: deleted", gone.name);
        Ok((StatusCode::OK, view(&identity, &gone, None)))
    })
    .await
}

async fn assign(
    State(identity): Shared,
    Path(name): Path<String>,
    body: Body<GivenAssignment>,
) -> Response {
    work(body, move |role| {
        let changed = identity.principals().assign(&name, given(&role)?)?;
        log::info!(
            "service principal {:?}: {} at {}",
            changed.name,
            role.role.as_str(),
            role.scope.escape_debug()
        );
        Ok((StatusCode::OK, view(&identity, &changed, None)))
    })
    .await
}

async fn unassign(
    State(identity): Shared,
    Path(name): Path<String>,
    body: Body<GivenAssignment>,
) -> Response {
    work(body, move |role| {
        let changed = identity.principals().unassign(&name, &given(&role)?)?;
        log::info!(
            "service principal {:?}: no {} at {} any more",
            changed.name,
            role.role.as_str(),
            role.scope.escape_debug()
        );
        Ok((StatusCode::OK, view(&identity, &changed, None)))
    })
    .await
}

/// Does what takes a hash or a disk beside the server's thread.
async fn work<T: Send + 'static>(
    body: Body<T>,
    work: impl FnOnce(T) -> Result<(StatusCode, PrincipalView), PrincipalError> + Send + 'static,
) -> Response {
    let body = match body {
        Ok(Json(body)) => body,
        Err(rejection) => {
            let error = ArmError::new("InvalidRequestContent", rejection.body_text());
            return (rejection.status(), Json(error.body())).into_response();
        }
    };
    match spawn_blocking(move || work(body)).await {
        Ok(Ok((status, view))) => (status, Json(view)).into_response(),
        Ok(Err(error)) => told(&error),
        Err(_) => {
            let body = json!({"error": {"code": "InternalServerError", "message": "It failed: see the log.", "details": []}});
            (StatusCode::INTERNAL_SERVER_ERROR, Json::<Value>(body)).into_response()
        }
    }
}

fn told(error: &PrincipalError) -> Response {
    let (status, code) = match error {
        PrincipalError::Exists(_) => (StatusCode::CONFLICT, "PrincipalExists"),
        PrincipalError::Unknown(_) => (StatusCode::NOT_FOUND, "PrincipalNotFound"),
        PrincipalError::Name(_) => (StatusCode::BAD_REQUEST, "InvalidPrincipalName"),
        PrincipalError::Scope(_) => (StatusCode::BAD_REQUEST, "InvalidScope"),
        PrincipalError::Store(_) | PrincipalError::Hash(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
        }
    };
    let body = ArmError::new(code, error.to_string()).body();
    (status, Json(body)).into_response()
}

fn given(assignment: &GivenAssignment) -> Result<Assignment, PrincipalError> {
    Assignment::new(assignment.role, &assignment.scope)
}

fn lifetime(seconds: Option<u64>) -> Duration {
    seconds.map_or(LIFETIME, Duration::from_secs)
}

fn fresh(identity: &Identity, made: &NewSecret) -> PrincipalView {
    view(identity, &made.principal, Some(&made.secret))
}

fn view(
    identity: &Identity,
    principal: &Principal,
    secret: Option<&Zeroizing<String>>,
) -> PrincipalView {
    let expires = principal.secrets.iter().map(|secret| secret.expires).max();
    let expires = expires.and_then(|seconds| {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(253_402_300_799)))
    });
    PrincipalView {
        app_id: principal.client_id.clone(),
        display_name: principal.name.clone(),
        object_id: principal.object_id.clone(),
        tenant: identity.tenant().to_owned(),
        created: principal.created.clone(),
        secret_expires: expires.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
        assignments: principal.assignments.clone(),
        password: secret.map(|secret| KeyText::new(secret.to_string())),
    }
}
