//! What only this host's administrator is served, on the Unix socket: service principals, and the
//! audit log as it is kept.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{Method, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tower::ServiceExt;

use super::{Answer, Api, Call, Refusal, only};
use crate::{
    engine::{
        EngineError,
        activity::{self, ActivityFilter, ActivityStatus},
    },
    identity::Access,
};

/// The first segment of these paths.
pub(super) const PREFIX: &str = "vnet-gw";

/// Records of the audit log in one answer, where nobody says how many.
const RECORDS: usize = 1000;

impl Api {
    pub(super) async fn local(&self, call: &Call) -> Answer {
        if call.caller.address.is_some() || call.access != Access::everything() {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "AuthorizationFailed",
                "Only root and the daemon's own user are served here, on the daemon's Unix socket: \
                 run the command as root on its host.",
            ));
        }
        match call.path.lower().as_slice() {
            [PREFIX, "activity"] => self.activity_log(call).await,
            [PREFIX, "principals", rest @ ..] => self.principals(call, rest).await,
            _ => Err(Refusal::no_such_path(&format!(
                "/{}",
                call.path.segments().join("/")
            ))),
        }
    }

    async fn activity_log(&self, call: &Call) -> Answer {
        only(call, &["GET"])?;
        let text = |name: &str| call.query.get(name).filter(|text| !text.is_empty());
        let since = text("since")
            .map(humantime::parse_rfc3339_weak)
            .transpose()
            .map_err(|_| {
                Refusal::bad(
                    "InvalidParameter",
                    "since is no time: write it as in 2026-01-31T12:00:00Z.",
                )
            })?;
        let most = text("top")
            .map(str::parse)
            .transpose()
            .map_err(|_| Refusal::bad("InvalidParameter", "top is no number: write one."))?;
        let filter = ActivityFilter {
            since,
            resource: text("resource").map(str::to_owned),
            caller: text("caller").map(str::to_owned),
            most: most.unwrap_or(RECORDS),
        };
        let store = Arc::clone(self.engine.store());
        let records = spawn_blocking(move || activity::read(&*store, &filter)).await;
        let records = records
            .map_err(|_| Refusal::ending())?
            .map_err(|error| EngineError::Store(Arc::new(error)))?;
        Ok(Json(json!({ "value": records })).into_response())
    }

    async fn principals(&self, call: &Call, rest: &[&str]) -> Answer {
        let uri = call.path.segments().iter().skip(2).fold(
            format!("/{PREFIX}/principals"),
            |mut uri, segment| {
                uri.push('/');
                let encoded = percent_encoding::utf8_percent_encode(
                    segment,
                    percent_encoding::NON_ALPHANUMERIC,
                );
                uri.extend(encoded);
                uri
            },
        );
        let request = Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(call.body.clone()))
            .map_err(|_| Refusal::bad("InvalidRequestUri", "The path cannot be read."))?;
        let Ok(response) = self.administration.clone().oneshot(request).await;
        if call.method != Method::GET && response.status().is_success() {
            let action = match rest {
                [_, action] => action,
                _ if call.method == Method::DELETE => "delete",
                _ => "write",
            };
            let made = call.object_or_nothing().unwrap_or_default();
            let made = made.get("displayName").and_then(Value::as_str);
            let name = call.path.segments().get(2).copied().or(made);
            let name = name.unwrap_or_default().to_owned();
            let did = match (rest, call.method == Method::DELETE) {
                (_, true) => "Deleted",
                ([], _) => "Created",
                _ => "Updated",
            };
            self.engine.note(
                call.caller.clone(),
                &format!("vnet-gw/principals/{action}"),
                &format!("/{PREFIX}/principals/{name}"),
                ActivityStatus::Accepted,
                did,
            );
        }
        Ok(response)
    }
}
