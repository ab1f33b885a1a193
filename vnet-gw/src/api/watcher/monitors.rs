//! `networkWatchers/connectionMonitors`: kept in the store, run by the daemon's loop.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use vnet_gw_core::{
    arm::Target,
    model::ResourceId,
    monitor::{Destination, Monitor},
};

use super::{child, question::target_machine, watchers};
use crate::{
    api::{Answer, Api, Call, Refusal},
    control::{Asked, MonitorList, MonitorQuestion, MonitorRow},
    daemon::records,
    identity::Permission,
    store::{Table, Write},
};

const TYPE: &str = "Microsoft.Network/networkWatchers/connectionMonitors";
/// All of an instance.
const MOST: usize = 200;

impl Api {
    /// `rest` is what follows `connectionMonitors` in the path, in lower case.
    pub(super) async fn connection_monitors(
        &self,
        call: &Call,
        watcher: &Target,
        rest: &[&str],
    ) -> Answer {
        let state = self.engine.state();
        watchers::must_be(&state, watcher)?;
        let Some(_) = rest.first() else {
            let page = child::page(call, watcher, TYPE)?;
            let all = self.monitors_of(watcher).await?;
            return child::listed(call, &page, all, shown);
        };
        let id = child::id(call, watcher, TYPE);
        let allow = |permission: Permission, verb: &str| {
            call.allow(permission, &format!("{TYPE}/{verb}"), id.as_str())
        };
        match (&call.method, rest.get(1..).unwrap_or_default()) {
            (&Method::GET, []) => {
                allow(Permission::Read, "read")?;
                let row = self.monitor(watcher, &id).await?;
                Ok(Json(shown(&row)).into_response())
            }
            (&Method::PUT, []) => {
                allow(Permission::Write, "write")?;
                self.put_monitor(call, watcher, id).await
            }
            (&Method::DELETE, []) => {
                allow(Permission::Write, "delete")?;
                if self.monitor(watcher, &id).await.is_err() {
                    return Ok(StatusCode::NO_CONTENT.into_response());
                }
                let write = Write::remove(Table::Instance, records::monitor_key(&id));
                let operation = format!("{TYPE}/delete");
                self.submit(call, Vec::new(), &operation, id.as_str(), vec![write])
                    .await?;
                self.ask_monitor(|answer| MonitorQuestion::Delete { id, answer })
                    .await?;
                // As captures.
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            (&Method::POST, [verb @ ("start" | "stop")]) => {
                allow(Permission::Write, &format!("{verb}/action"))?;
                self.monitor(watcher, &id).await?;
                let run = *verb == "start";
                self.ask_monitor(|answer| MonitorQuestion::Run { id, run, answer })
                    .await?;
                Ok(StatusCode::OK.into_response())
            }
            (&Method::POST, ["query"]) => {
                allow(Permission::Read, "query/action")?;
                let row = self.monitor(watcher, &id).await?;
                Ok(Json(query(&row)).into_response())
            }
            (_, []) => Err(Refusal::wrong_method(
                call.method.as_str(),
                "GET, PUT, DELETE",
            )),
            (_, ["start" | "stop" | "query"]) => {
                Err(Refusal::wrong_method(call.method.as_str(), "POST"))
            }
            _ => Err(Refusal::no_such_path(&call.path.to_string())),
        }
    }

    async fn put_monitor(&self, call: &Call, watcher: &Target, id: ResourceId) -> Answer {
        child::name_must_fit(&id)?;
        let body = call.object()?;
        let monitor = Monitor::read(&body)?;
        let state = self.engine.state();
        for test in &monitor.tests {
            target_machine(call, &state.topology, &test.source, "source")?;
            if let Destination::Resource(id) = &test.destination {
                target_machine(call, &state.topology, id, "destination")?;
            }
        }
        let all = self.ask_monitor(MonitorQuestion::List).await?.value;
        let known = all.iter().any(|one| ResourceId::new(&one.id) == id);
        if !known && all.len() >= MOST {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "ConnectionMonitorCountLimitReached",
                format!("There are {MOST} connection monitors already: remove some."),
            ));
        }
        let mut kept = body;
        kept.entry("location")
            .or_insert_with(|| region(watcher).into());
        let write = records::monitor(&id, &kept);
        let operation = format!("{TYPE}/write");
        self.submit(call, Vec::new(), &operation, id.as_str(), vec![write])
            .await?;
        let question = |answer| MonitorQuestion::Put {
            id,
            body: kept,
            monitor,
            answer,
        };
        let row = self.ask_monitor(question).await?;
        let status = match known {
            true => StatusCode::OK,
            false => StatusCode::CREATED,
        };
        Ok((status, Json(shown(&row))).into_response())
    }

    async fn monitors_of(&self, watcher: &Target) -> Result<Vec<MonitorRow>, Refusal> {
        let MonitorList { value } = self.ask_monitor(MonitorQuestion::List).await?;
        Ok(child::below(value, watcher, TYPE))
    }

    async fn monitor(&self, watcher: &Target, id: &ResourceId) -> Result<MonitorRow, Refusal> {
        child::find(self.monitors_of(watcher).await?, id)
    }

    async fn ask_monitor<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> MonitorQuestion,
    ) -> Result<T, Refusal> {
        self.ask_daemon(|answer| Asked::Monitor(question(answer)))
            .await
    }
}

fn region(watcher: &Target) -> &str {
    let name = watcher.id.name();
    name.split_once('_').map_or(name, |(_, region)| region)
}

/// As a GET answers it.
fn shown(row: &MonitorRow) -> Value {
    let mut properties = row.body.get("properties").cloned().unwrap_or_default();
    let old = properties.get("testGroups").is_none_or(Value::is_null);
    properties["provisioningState"] = "Succeeded".into();
    properties["monitoringStatus"] = row.monitoring_status.clone().into();
    properties["connectionMonitorType"] = match old {
        true => "SingleSourceDestination",
        false => "MultiEndpoint",
    }
    .into();
    if let Some(start) = &row.start_time {
        properties["startTime"] = start.clone().into();
    }
    let mut shown = json!({
        "name": row.name,
        "id": row.id,
        "etag": format!("W/\"{}\"", uuid::Uuid::nil()),
        "type": TYPE,
        "location": row.body.get("location"),
        "properties": properties,
    });
    if let Some(tags) = row.body.get("tags") {
        shown["tags"] = tags.clone();
    }
    shown
}

/// `ConnectionMonitorQueryResult`, each state with the test that it is of.
fn query(row: &MonitorRow) -> Value {
    let states = row.tests.iter().flat_map(|test| {
        test.states.iter().map(|state| {
            let mut shown = serde_json::to_value(state).unwrap_or_default();
            // Azure's are whole numbers, and its clients take no others.
            for name in ["avgLatencyInMs", "minLatencyInMs", "maxLatencyInMs"] {
                if let Some(exact) = shown[name].as_f64() {
                    shown[name] = (exact.round() as u64).into();
                }
            }
            shown["testGroupName"] = test.test_group_name.clone().into();
            shown["sourceName"] = test.source_name.clone().into();
            shown["destinationName"] = test.destination_name.clone().into();
            shown["testConfigurationName"] = test.test_configuration_name.clone().into();
            shown["hops"] = json!([]);
            shown
        })
    });
    json!({
        "sourceStatus": match row.monitoring_status.as_str() {
            "Running" => "Active",
            _ => "Inactive",
        },
        "states": states.collect::<Vec<_>>(),
    })
}
