//! `networkWatchers/packetCaptures`: kept in the store as they were asked for, run by the daemon's
//! loop, and over for good when the daemon ends.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use vnet_gw_core::{arm::Target, capture::Settings, model::ResourceId};

use super::{child, question::target_machine, watchers};
use crate::{
    api::{Answer, Api, Call, Refusal},
    control::{Asked, CaptureList, CaptureQuestion, CaptureRow, ErrorCode, ErrorReply},
    daemon::records,
    identity::Permission,
    store::{Table, Write},
};

const TYPE: &str = "Microsoft.Network/networkWatchers/packetCaptures";

impl Api {
    /// `rest` is what follows `packetCaptures` in the path, in lower case.
    pub(super) async fn packet_captures(
        &self,
        call: &Call,
        watcher: &Target,
        rest: &[&str],
    ) -> Answer {
        let state = self.engine.state();
        watchers::must_be(&state, watcher)?;
        let Some(_) = rest.first() else {
            let page = child::page(call, watcher, TYPE)?;
            let all = self.captures_of(watcher).await?;
            return child::listed(call, &page, all, shown);
        };
        let id = child::id(call, watcher, TYPE);
        let allow = |permission: Permission, verb: &str| {
            call.allow(permission, &format!("{TYPE}/{verb}"), id.as_str())
        };
        match (&call.method, rest.get(1..).unwrap_or_default()) {
            (&Method::GET, []) => {
                allow(Permission::Read, "read")?;
                let row = self.capture(watcher, &id).await?;
                Ok(Json(shown(&row)).into_response())
            }
            (&Method::PUT, []) => {
                allow(Permission::Write, "write")?;
                self.put_capture(call, id).await
            }
            (&Method::DELETE, []) => {
                allow(Permission::Write, "delete")?;
                if self.capture(watcher, &id).await.is_err() {
                    return Ok(StatusCode::NO_CONTENT.into_response());
                }
                let of = id.clone();
                let stopping = self
                    .ask_capture(|answer| CaptureQuestion::Delete { id: of, answer })
                    .await?
                    .map_err(refused)?;
                ended(stopping).await;
                let write = Write::remove(Table::Instance, records::capture_key(&id));
                self.submit(
                    call,
                    Vec::new(),
                    &format!("{TYPE}/delete"),
                    id.as_str(),
                    vec![write],
                )
                .await?;
                // Azure's is a long operation, whose end is this; `az` takes no 200.
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            (&Method::POST, ["stop"]) => {
                allow(Permission::Write, "stop/action")?;
                self.capture(watcher, &id).await?;
                let of = id.clone();
                let stopping = self
                    .ask_capture(|answer| CaptureQuestion::Stop { id: of, answer })
                    .await?
                    .map_err(refused)?;
                ended(stopping).await;
                Ok(StatusCode::OK.into_response())
            }
            (&Method::POST, ["querystatus"]) => {
                allow(Permission::Read, "queryStatus/action")?;
                let row = self.capture(watcher, &id).await?;
                let mut body = serde_json::to_value(&row.status).unwrap_or_default();
                body["name"] = row.name.into();
                body["id"] = row.id.into();
                Ok(Json(body).into_response())
            }
            (_, []) => Err(Refusal::wrong_method(
                call.method.as_str(),
                "GET, PUT, DELETE",
            )),
            (_, ["stop" | "querystatus"]) => {
                Err(Refusal::wrong_method(call.method.as_str(), "POST"))
            }
            _ => Err(Refusal::no_such_path(&call.path.to_string())),
        }
    }

    async fn put_capture(&self, call: &Call, id: ResourceId) -> Answer {
        child::name_must_fit(&id)?;
        let body = call.object()?;
        let settings = Settings::read(&body)?;
        settings.file()?;
        let state = self.engine.state();
        let target = &settings.target;
        if state.topology.virtual_network_gateways.contains_key(target) {
            let operation = "Microsoft.Network/virtualNetworkGateways/read";
            call.allow(Permission::Read, operation, target.as_str())?;
        } else {
            target_machine(call, &state.topology, target, "properties.target")?;
        }
        let begun = settings.clone();
        let of = id.clone();
        let row = self
            .ask_capture(|answer| CaptureQuestion::Start {
                id: of,
                settings: Box::new(begun),
                confined: true,
                answer,
            })
            .await?
            .map_err(refused)?;
        let write = records::capture(&id, &settings);
        let operation = format!("{TYPE}/write");
        let kept = self
            .submit(call, Vec::new(), &operation, id.as_str(), vec![write])
            .await;
        if let Err(refusal) = kept {
            // What is not kept does not run.
            let question = |answer| CaptureQuestion::Delete { id, answer };
            let _ = self.ask_capture(question).await;
            return Err(refusal);
        }
        Ok((StatusCode::CREATED, Json(shown(&row))).into_response())
    }

    async fn captures_of(&self, watcher: &Target) -> Result<Vec<CaptureRow>, Refusal> {
        let CaptureList { value } = self.ask_capture(CaptureQuestion::List).await?;
        Ok(child::below(value, watcher, TYPE))
    }

    async fn capture(&self, watcher: &Target, id: &ResourceId) -> Result<CaptureRow, Refusal> {
        child::find(self.captures_of(watcher).await?, id)
    }

    async fn ask_capture<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> CaptureQuestion,
    ) -> Result<T, Refusal> {
        self.ask_daemon(|answer| Asked::Capture(question(answer)))
            .await
    }
}

async fn ended<T>(stopping: Option<oneshot::Receiver<T>>) {
    if let Some(stopping) = stopping {
        // A thread that is gone has ended everything.
        let _ = stopping.await;
    }
}

pub(super) fn refused(error: ErrorReply) -> Refusal {
    match error.code {
        ErrorCode::Name => Refusal::missing("ResourceNotFound", error.message),
        ErrorCode::Conflict => Refusal::new(StatusCode::CONFLICT, "Conflict", error.message),
        ErrorCode::BadRequest => Refusal::bad("InvalidParameter", error.message),
        _ => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            error.message,
        ),
    }
}

/// As a GET answers it.
fn shown(row: &CaptureRow) -> Value {
    let mut properties = row.properties.clone();
    properties["provisioningState"] = "Succeeded".into();
    json!({
        "name": row.name,
        "id": row.id,
        "etag": format!("W/\"{}\"", uuid::Uuid::nil()),
        "type": TYPE,
        "properties": properties,
    })
}
