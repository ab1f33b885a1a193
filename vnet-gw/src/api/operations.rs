//! Long operations: what was begun, and what came of it.
//!
//! They are kept in memory: after a restart an id is unknown, and whoever asks for the resource
//! itself gets the truth.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;
use vnet_gw_core::model::ArmError;

use super::{Answer, Call, Refusal, deployments::Running};
use crate::engine::Who;

/// The most that are remembered; the oldest goes first.
const MOST: usize = 10_000;
/// How long a question waits for an operation to end: clients that ask again only after seconds
/// then ask once.
const PATIENCE: Duration = Duration::from_secs(1);
/// In seconds. Clients take 0 for nothing said, and then wait for half a minute.
const RETRY_AFTER: &str = "1";

/// What an operation came to: the body of its result, if it has one.
pub type Outcome = Result<Option<Value>, ArmError>;

#[derive(Clone, Debug)]
struct Ended {
    at: SystemTime,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
struct Operation {
    owner: Who,
    /// Its own path, without a query.
    path: String,
    result_path: String,
    started: SystemTime,
    ended: watch::Receiver<Option<Ended>>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: BTreeMap<String, Operation>,
    /// From the oldest.
    order: VecDeque<String>,
}

#[derive(Debug, Default)]
pub struct Operations {
    known: Mutex<Known>,
    pub(super) deployments: Arc<Running>,
}

/// An operation that was begun: where it is asked for.
#[derive(Clone, Debug)]
pub struct Begun {
    /// For `Azure-AsyncOperation`.
    operation: String,
    /// For `Location`.
    result: String,
}

impl Operations {
    /// Begins one, below a subscription. It goes on whether or not anybody asks for it.
    pub fn begin(
        &self,
        call: &Call,
        subscription: &str,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Begun {
        let (end, ended) = watch::channel(None);
        tokio::spawn(async move {
            let outcome = work.await;
            let at = SystemTime::now();
            end.send_replace(Some(Ended { at, outcome }));
        });
        let id = Uuid::new_v4().to_string();
        let below =
            format!("/subscriptions/{subscription}/providers/Microsoft.Network/locations/local");
        let operation = Operation {
            owner: call.caller.who.clone(),
            path: format!("{below}/operations/{id}"),
            result_path: format!("{below}/operationResults/{id}"),
            started: SystemTime::now(),
            ended,
        };
        let version = call.query.get("api-version").unwrap_or_default();
        let version =
            percent_encoding::utf8_percent_encode(version, percent_encoding::NON_ALPHANUMERIC);
        let version = version.to_string().replace("%2D", "-");
        let url = |path: &str| format!("{}{path}?api-version={version}", call.base);
        let begun = Begun {
            operation: url(&operation.path),
            result: url(&operation.result_path),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.order.len() >= MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.by_id.remove(&oldest);
        }
        known.order.push_back(id.clone());
        known.by_id.insert(id, operation);
        begun
    }

    /// GET of an operation's state.
    pub async fn state(&self, call: &Call, id: &str) -> Answer {
        let operation = self.find(call, id)?;
        let ended = operation.ended(PATIENCE).await?;
        let mut body = json!({
            "id": operation.path,
            "name": id,
            "status": "InProgress",
            "startTime": time(operation.started),
        });
        let Some(ended) = ended else {
            return Ok(later(Json(body).into_response()));
        };
        body["endTime"] = time(ended.at).into();
        match ended.outcome {
            Ok(result) => {
                body["status"] = "Succeeded".into();
                body["percentComplete"] = 100.into();
                if let Some(result) = result {
                    body["properties"] = json!({ "output": result });
                }
            }
            Err(error) => {
                body["status"] = "Failed".into();
                body["error"] = error.body()["error"].take();
            }
        }
        Ok(Json(body).into_response())
    }

    /// GET of an operation's result.
    pub async fn result(&self, call: &Call, id: &str) -> Answer {
        let operation = self.find(call, id)?;
        let Some(ended) = operation.ended(PATIENCE).await? else {
            let query = call
                .query
                .get("api-version")
                .map_or_else(String::new, |version| format!("?api-version={version}"));
            let url = format!("{}{}{query}", call.base, operation.result_path);
            let mut response = later(StatusCode::ACCEPTED.into_response());
            set(&mut response, "location", &url);
            return Ok(response);
        };
        match ended.outcome {
            Ok(Some(value)) => Ok(Json(value).into_response()),
            Ok(None) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(error) => Err(Refusal::from_error(error)),
        }
    }

    /// One of the caller's own: to others its id says nothing.
    fn find(&self, call: &Call, id: &str) -> Result<Operation, Refusal> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let operation = known.by_id.get(&id.to_ascii_lowercase());
        operation
            .filter(|operation| operation.owner == call.caller.who)
            .cloned()
            .ok_or_else(|| {
                Refusal::missing(
                    "OperationNotFound",
                    format!(
                        "There is no operation '{id}' of yours: the daemon was started anew, or \
                         it is long ago. The resource itself says in provisioningState what came \
                         of it."
                    ),
                )
            })
    }
}

impl Operation {
    async fn ended(&self, patience: Duration) -> Result<Option<Ended>, Refusal> {
        let mut ended = self.ended.clone();
        match timeout(patience, ended.wait_for(Option::is_some)).await {
            Ok(Ok(ended)) => Ok(ended.clone()),
            // What worked on it panicked.
            Ok(Err(_)) => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "The operation broke off; the daemon's log says why.",
            )),
            Err(_) => Ok(None),
        }
    }
}

impl Begun {
    /// For PUT and PATCH: `Azure-AsyncOperation`.
    pub fn operation(&self, response: Response) -> Response {
        let mut response = later(response);
        set(&mut response, "azure-asyncoperation", &self.operation);
        response
    }

    /// For POST actions: 202 and `Location`.
    pub fn result(&self) -> Response {
        let mut response = later(StatusCode::ACCEPTED.into_response());
        set(&mut response, "location", &self.result);
        response
    }

    /// For DELETE: 202 with both.
    pub fn both(&self) -> Response {
        self.operation(self.result())
    }
}

fn later(mut response: Response) -> Response {
    set(&mut response, header::RETRY_AFTER.as_str(), RETRY_AFTER);
    response
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_micros(at).to_string()
}
