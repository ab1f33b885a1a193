//! Probes on the socket.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use vnet_gw_common::verdict::Reason;
use vnet_gw_core::probe::{Answer, Outcome};

use crate::probe::ProbeReport;

/// What came of a probe: Azure's latencies and counts, and each try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReply {
    /// The networkInterface's id.
    pub source: String,
    pub destination: Option<IpAddr>,
    /// `Reachable`, `Degraded` where some tries failed, or `Unreachable`.
    pub connection_status: String,
    /// In milliseconds, of the tries that were answered; with microseconds behind the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_latency_in_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_latency_in_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_in_ms: Option<f64>,
    pub probes_sent: u32,
    pub probes_failed: u32,
    pub tries: Vec<TryRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TryRow {
    /// `reply`, `refused`, `error`, `dropped` or `lost`.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_in_ms: Option<f64>,
    /// Who sent the ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The data path's reason, or ICMP's type and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    // Whole microseconds: more is noise.
    time.as_micros() as f64 / 1e3
}

impl ProbeReply {
    pub fn new(source: &str, destination: IpAddr, report: &ProbeReport) -> Self {
        let all = &report.statistics;
        let status = match all.failed {
            0 => "Reachable",
            failed if failed < all.sent => "Degraded",
            _ => "Unreachable",
        };
        Self {
            source: source.to_owned(),
            destination: Some(destination),
            connection_status: status.to_owned(),
            min_latency_in_ms: all.least.map(milliseconds),
            avg_latency_in_ms: all.average().map(milliseconds),
            max_latency_in_ms: all.most.map(milliseconds),
            probes_sent: all.sent,
            probes_failed: all.failed,
            tries: report.outcomes.iter().map(row).collect(),
        }
    }
}

fn row(outcome: &Outcome) -> TryRow {
    let mut row = TryRow::default();
    match outcome {
        Outcome::Answered { answer, after } => {
            row.latency_in_ms = Some(milliseconds(*after));
            row.outcome = match answer {
                Answer::Reply => "reply",
                Answer::Refused => "refused",
                Answer::Error { from, kind, code } => {
                    row.from = Some(*from);
                    row.reason = Some(format!("ICMP type {kind}, code {code}"));
                    "error"
                }
            }
            .to_owned();
        }
        Outcome::Dropped { reason } => {
            row.outcome = "dropped".to_owned();
            let known = Reason::ALL.iter().find(|one| **one as u32 == *reason);
            row.reason = known.map(|reason| reason.name().to_owned());
        }
        Outcome::Lost => row.outcome = "lost".to_owned(),
    }
    row
}
