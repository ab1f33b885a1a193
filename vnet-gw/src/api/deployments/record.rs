//! What is kept of a deployment, and how it is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use vnet_gw_core::{
    arm::{
        GroupId,
        deployment::{Deployed, hide_keys, template_hash},
    },
    model::ArmError,
};

use super::{Api, Asked, Call, Refusal, Scope};
use crate::{
    api::operations::time,
    store::{Table, Write},
};

/// The most records of a scope that are kept, as in Azure; the oldest go.
const MOST: usize = 800;

/// Names of deployments that wait for the data path, by lower-case ids. After a restart none does:
/// what is durable is carried out then.
#[derive(Debug)]
pub(in crate::api) struct Running {
    keys: Mutex<BTreeSet<String>>,
    turns: Semaphore,
}

/// Deployments that are tried at a time: each may take some memory.
const AT_ONCE: usize = 4;

impl Default for Running {
    fn default() -> Self {
        Self {
            keys: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl Running {
    /// Waits until another one may be tried.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    pub(super) fn begin(&self, key: &str) {
        let mut running = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(key.to_owned());
    }

    pub(super) fn end(&self, key: &str) {
        let mut running = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(key);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        let running = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        running.contains(key)
    }
}

/// A deployment as it is kept: nothing in it is a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    mode: String,
    correlation: String,
    hash: String,
    pub(super) template: Value,
    started: SystemTime,
    took: Duration,
    parameters: Map<String, Value>,
    pub(super) outputs: Map<String, Value>,
    resources: Vec<String>,
    dependencies: Vec<(String, Vec<String>)>,
    /// `{code, message, …}` of one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

pub(super) fn id(scope: &Scope, name: &str) -> String {
    format!(
        "{}/providers/Microsoft.Resources/deployments/{name}",
        scope.path()
    )
}

impl Record {
    pub(super) fn new(call: &Call, scope: &Scope, name: &str, asked: &Asked) -> Self {
        let mut template = asked.template.as_ref().clone();
        let hash = template_hash(&template);
        hide_keys(&mut template);
        Self {
            id: id(scope, name),
            name: name.to_owned(),
            location: asked.location.clone(),
            mode: asked.mode.as_str().to_owned(),
            correlation: call.caller.correlation_id.clone(),
            hash,
            template,
            started: SystemTime::now(),
            took: Duration::ZERO,
            parameters: Map::new(),
            outputs: Map::new(),
            resources: Vec::new(),
            dependencies: Vec::new(),
            error: None,
        }
    }

    pub(super) fn came_to(&mut self, deployed: &Deployed) {
        self.parameters.clone_from(&deployed.parameters);
        self.outputs.clone_from(&deployed.outputs);
        self.resources.clone_from(&deployed.resources);
        self.dependencies.clone_from(&deployed.dependencies);
    }

    pub(super) fn ended(&mut self, outcome: Result<(), &ArmError>) {
        self.took = self.started.elapsed().unwrap_or_default();
        self.error = outcome.err().map(|error| error.body()["error"].take());
        if self.error.is_some() {
            self.outputs = Map::new();
        }
    }

    pub(super) fn key(&self) -> String {
        self.id.to_ascii_lowercase()
    }

    /// To be written in the transaction of its changes.
    pub(super) fn write(&self) -> Result<Write, Refusal> {
        let text = serde_json::to_vec(self).map_err(|error| {
            log::error!("api: the record of a deployment: {error}");
            Refusal::ending()
        })?;
        Ok(Write::put(Table::Deployments, self.key(), text))
    }

    fn state(&self) -> &'static str {
        match self.error {
            Some(_) => "Failed",
            None => "Succeeded",
        }
    }

    /// As a GET answers it, when it has ended.
    pub(super) fn shown(&self) -> Value {
        let mut properties = json!({
            "templateHash": self.hash,
            "parameters": self.parameters,
            "mode": self.mode,
            "provisioningState": self.state(),
            "timestamp": time(self.started + self.took),
            "duration": duration(self.took),
            "correlationId": self.correlation,
            "providers": self.providers(),
            "dependencies": self.dependencies(),
        });
        match &self.error {
            Some(error) => properties["error"] = error.clone(),
            None => {
                if !self.outputs.is_empty() {
                    properties["outputs"] = Value::Object(self.outputs.clone());
                }
                let resources = self.resources.iter().map(|id| json!({ "id": id }));
                properties["outputResources"] = resources.collect();
            }
        }
        let mut shown = json!({
            "id": self.id,
            "name": self.name,
            "type": "Microsoft.Resources/deployments",
            "properties": properties,
        });
        if let Some(location) = &self.location {
            shown["location"] = location.as_str().into();
        }
        shown
    }

    /// As it is answered while the data path does not carry it yet.
    pub(super) fn shown_running(&self) -> Value {
        let mut shown = self.shown();
        if let Some(properties) = shown["properties"].as_object_mut() {
            properties.insert("provisioningState".to_owned(), "Running".into());
            for later in ["outputs", "outputResources", "error"] {
                properties.shift_remove(later);
            }
        }
        shown
    }

    fn providers(&self) -> Value {
        let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for id in &self.resources {
            let (provider, kind, _) = parts(id);
            types.entry(provider).or_default().insert(kind);
        }
        types
            .into_iter()
            .map(|(provider, kinds)| {
                let kinds: Vec<Value> = kinds
                    .into_iter()
                    .map(|kind| json!({"resourceType": kind, "locations": [null]}))
                    .collect();
                json!({"namespace": provider, "resourceTypes": kinds})
            })
            .collect()
    }

    fn dependencies(&self) -> Value {
        let one = |id: &String| {
            let (provider, kind, name) = parts(id);
            json!({"id": id, "resourceType": format!("{provider}/{kind}"), "resourceName": name})
        };
        self.dependencies
            .iter()
            .filter(|(_, on)| !on.is_empty())
            .map(|(id, on)| {
                let mut shown = one(id);
                shown["dependsOn"] = on.iter().map(one).collect();
                shown
            })
            .collect()
    }

    /// `operations`: one for each resource.
    pub(super) fn operations(&self) -> Vec<Value> {
        let (state, status) = match self.error {
            Some(_) => ("Failed", "BadRequest"),
            None => ("Succeeded", "OK"),
        };
        let operation = |number: usize, target: Option<&String>| {
            let operation_id = format!("{:016X}", number + 1);
            let mut properties = json!({
                "provisioningOperation": "Create",
                "provisioningState": state,
                "timestamp": time(self.started + self.took),
                "duration": duration(self.took),
                "trackingId": self.correlation,
                "statusCode": status,
            });
            if let Some(id) = target {
                let (provider, kind, name) = parts(id);
                properties["targetResource"] = json!({
                    "id": id,
                    "resourceType": format!("{provider}/{kind}"),
                    "resourceName": name,
                });
            }
            if let Some(error) = &self.error {
                properties["statusMessage"] = json!({"status": "Failed", "error": error});
            }
            json!({
                "id": format!("{}/operations/{operation_id}", self.id),
                "operationId": operation_id,
                "properties": properties,
            })
        };
        match self.error {
            // What failed failed as a whole.
            Some(_) => vec![operation(0, None)],
            None => {
                let resources = self.resources.iter().enumerate();
                resources
                    .map(|(number, id)| operation(number, Some(id)))
                    .collect()
            }
        }
    }
}

/// Provider, type and name of an id.
fn parts(id: &str) -> (String, String, String) {
    let Some(at) = id.rfind("/providers/") else {
        let name = id.rsplit('/').next().unwrap_or_default();
        return (
            "Microsoft.Resources".to_owned(),
            "resourceGroups".to_owned(),
            name.to_owned(),
        );
    };
    let mut words = id[at + "/providers/".len()..].split('/');
    let provider = words.next().unwrap_or_default().to_owned();
    let rest: Vec<&str> = words.collect();
    let every_other = |from: usize| {
        let words = rest.iter().skip(from).step_by(2).copied();
        words.collect::<Vec<_>>().join("/")
    };
    (provider, every_other(0), every_other(1))
}

/// `PT1.204S`
fn duration(took: Duration) -> String {
    format!("PT{:.3}S", took.as_secs_f64())
}

impl Api {
    /// # Errors
    ///
    /// `DeploymentNotFound`
    pub(super) fn record(&self, scope: &Scope, name: &str) -> Result<Record, Refusal> {
        let key = id(scope, name).to_ascii_lowercase();
        let store = self.engine.store();
        let found = store.get(Table::Deployments, &key).map_err(lost)?;
        let record = found.and_then(|bytes| read(&key, &bytes));
        record.ok_or_else(|| {
            Refusal::missing(
                "DeploymentNotFound",
                format!("Deployment '{}' could not be found.", name),
            )
        })
    }

    /// Those of a scope by their keys.
    pub(super) fn records(&self, scope: &Scope) -> Result<Vec<(String, Record)>, Refusal> {
        let prefix = id(scope, "").to_ascii_lowercase();
        let store = self.engine.store();
        let found = store
            .scan(Table::Deployments, &prefix, MOST + 1)
            .map_err(lost)?;
        Ok(found
            .into_iter()
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, bytes)| Some((key.clone(), read(&key, &bytes)?)))
            .collect())
    }

    /// Removes the oldest record, where one more is one too many.
    pub(super) fn make_room(&self, scope: &Scope, key: &str) -> Result<Option<Write>, Refusal> {
        let records = self.records(scope)?;
        if records.len() < MOST || records.iter().any(|(known, _)| known == key) {
            return Ok(None);
        }
        let oldest = records.into_iter().min_by_key(|(_, record)| record.started);
        Ok(oldest.map(|(key, _)| Write::remove(Table::Deployments, key)))
    }

    /// Removes the records of a group that goes.
    pub(in crate::api) fn forget_deployments(
        &self,
        group: &GroupId,
    ) -> Result<Vec<Write>, Refusal> {
        let records = self.records(&Scope::Group(group.clone()))?;
        let keys = records.into_iter().map(|(key, _)| key);
        Ok(keys
            .map(|key| Write::remove(Table::Deployments, key))
            .collect())
    }

    pub(super) fn shown_now(&self, record: Record) -> Value {
        match self.operations.deployments.has(&record.key()) {
            true => record.shown_running(),
            false => record.shown(),
        }
    }
}

fn read(key: &str, bytes: &[u8]) -> Option<Record> {
    let record = serde_json::from_slice(bytes);
    record
        .map_err(|error| log::error!("api: the record of the deployment {key}: {error}"))
        .ok()
}

fn lost(error: crate::store::StoreError) -> Refusal {
    Refusal::from(crate::engine::EngineError::Store(error.into()))
}
