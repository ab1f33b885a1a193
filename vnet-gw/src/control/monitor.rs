//! Connection monitors on the socket: what the loop is asked, and what it answers.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use vnet_gw_core::{
    model::ResourceId,
    monitor::{History, Monitor, Snapshot, Test},
};

use super::probe::milliseconds;

/// A monitor, and what its tests came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorRow {
    pub name: String,
    pub id: String,
    /// As it was asked for: `location`, `tags`, `properties`.
    pub body: Map<String, Value>,
    /// `NotStarted`, `Running` or `Stopped`.
    pub monitoring_status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    pub tests: Vec<TestRow>,
}

/// A source, a destination and a configuration of a monitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestRow {
    pub test_group_name: String,
    pub source_name: String,
    pub destination_name: String,
    pub test_configuration_name: String,
    /// Since it was started, whatever of it is kept below.
    pub probes_sent: u64,
    pub probes_failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_round_trip_in_ms: Option<f64>,
    /// Oldest first.
    pub states: Vec<StateRow>,
}

/// Azure's `ConnectionStateSnapshot`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateRow {
    pub connection_state: String,
    pub start_time: String,
    pub end_time: String,
    pub evaluation_state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_latency_in_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_latency_in_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_in_ms: Option<f64>,
    pub probes_sent: u64,
    pub probes_failed: u64,
    /// Why it could not be tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MonitorList {
    pub value: Vec<MonitorRow>,
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

impl TestRow {
    pub fn new(test: &Test, history: &History) -> Self {
        Self {
            test_group_name: test.group.clone(),
            source_name: test.source_name.clone(),
            destination_name: test.destination_name.clone(),
            test_configuration_name: test.configuration.clone(),
            probes_sent: history.sent,
            probes_failed: history.failed,
            last_round_trip_in_ms: history.last_round_trip.map(milliseconds),
            states: history.snapshots().map(StateRow::new).collect(),
        }
    }
}

impl StateRow {
    fn new(snapshot: &Snapshot) -> Self {
        Self {
            connection_state: snapshot.state.name().to_owned(),
            start_time: time(snapshot.start),
            end_time: time(snapshot.end),
            evaluation_state: "Completed".to_owned(),
            avg_latency_in_ms: snapshot.average().map(milliseconds),
            min_latency_in_ms: snapshot.least.map(milliseconds),
            max_latency_in_ms: snapshot.most.map(milliseconds),
            probes_sent: snapshot.sent,
            probes_failed: snapshot.failed,
            reason: snapshot.why.clone(),
        }
    }
}

/// For the daemon's loop.
#[derive(Debug)]
pub enum MonitorQuestion {
    /// Makes one, or changes one, which begins anew.
    Put {
        id: ResourceId,
        body: Map<String, Value>,
        monitor: Monitor,
        answer: oneshot::Sender<MonitorRow>,
    },
    /// Whether there was one.
    Delete {
        id: ResourceId,
        answer: oneshot::Sender<bool>,
    },
    /// Starts or stops one; whether there is one.
    Run {
        id: ResourceId,
        run: bool,
        answer: oneshot::Sender<bool>,
    },
    List(oneshot::Sender<MonitorList>),
}
