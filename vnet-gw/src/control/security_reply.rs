//! What security rules decided.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityRuleList {
    /// Ordered by group, direction and priority.
    pub value: Vec<SecurityRuleRow>,
    pub flows: FlowsReply,
}

/// A rule of a networkSecurityGroup that holds for a NIC on this host; over all places where it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityRuleRow {
    pub network_security_group: String,
    /// `Inbound` or `Outbound`.
    pub direction: String,
    pub name: String,
    pub priority: u16,
    /// `Allow` or `Deny`.
    pub access: String,
    /// Flows that it admitted, or packets that it refused.
    pub hits: u64,
    /// Seconds since the last one.
    pub last_hit_seconds: Option<f64>,
}

/// Flows that security groups decided about, as of some seconds ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowsReply {
    /// That came about.
    pub established: u64,
    /// That may yet.
    pub half_open: u64,
    /// Taken out since the daemon started: idle for too long, or over.
    pub expired: u64,
}
