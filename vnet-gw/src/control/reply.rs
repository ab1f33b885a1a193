//! The bodies of answers: rows that are ready to print. Property names are Azure's where Azure
//! has one; resources are named by their ids.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vnet_gw_core::{
    effective::{Explanation, NextHopResult, NextHopType},
    watcher::InternetPort,
};

use super::vpn_reply::VpnCounts;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub instance: String,
    /// Of the daemon.
    pub version: String,
    pub pid: u32,
    /// RFC 3339, as every moment here.
    pub started: String,
    /// As chosen: `auto`, `xdp` or `tcx`.
    pub hook: String,
    pub reconcile_interval_seconds: u64,
    pub configuration: ConfigurationStatus,
    pub virtual_networks: usize,
    pub subnets: usize,
    pub peerings: usize,
    pub network_interfaces: usize,
    pub ports: usize,
    pub ports_up: usize,
    /// VPN gateways of this host, their connections and tunnels.
    #[serde(default)]
    pub vpn: VpnCounts,
    /// Azure's API, as it is served.
    #[serde(default)]
    pub api: ApiStatus,
    /// Where Prometheus finds metrics: `http://…/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    pub datapath: DatapathStatus,
}

/// Where clients find the API, and what they need to trust it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiStatus {
    /// `https://…`
    pub addresses: Vec<String>,
    pub socket: String,
    /// That of the CA that signs the API's certificate; nothing where the operator brought one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
    /// The directory that service principals sign in to.
    pub tenant: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStatus {
    /// That of `--config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
    /// How many configurations have been in force since the daemon started, this one included.
    pub generation: u64,
    /// When this one came into force.
    pub applied: String,
    /// Why the files as they are now, or what the store has, is not in force; nothing where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub at: String,
    /// One line.
    pub message: String,
    /// One line for each thing that is wrong.
    pub details: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatapathStatus {
    /// Active routes over all tables.
    pub routes: usize,
    pub endpoints: usize,
    /// Tables, their counters and the endpoints.
    pub bytes: u64,
    /// Since the daemon started: what reconciling found that nobody had asked for.
    pub drift_found: u64,
    pub drift_mended: u64,
    pub reconciles: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_apply_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reconcile_ms: Option<f64>,
    pub tables: Vec<TableRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableRow {
    pub subnet: String,
    pub table_id: u32,
    pub family: u8,
    /// `empty`, `small`, `directory` or `tree`.
    pub form: String,
    pub routes: usize,
    pub next_hops: usize,
    pub table_bytes: u64,
    pub counter_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortList {
    pub value: Vec<PortRow>,
}

impl PortList {
    /// The internet port, where the instance has one.
    pub fn internet_port(&self) -> Option<InternetPort> {
        let row = self.value.iter().find(|row| row.internet)?;
        let carries = |family: &str| row.carries.iter().any(|one| one == family);
        Some(InternetPort {
            up: row.state == "up",
            v4: carries("IPv4"),
            v6: carries("IPv6"),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortRow {
    /// The id of the networkInterface, or of the virtualNetworkGateway whose port it is.
    pub network_interface: String,
    pub device: String,
    /// The port of a VPN gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gateway: bool,
    /// The way to the internet, which is no networkInterface.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internet: bool,
    pub port_id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ifindex: Option<u32>,
    /// Where the program runs: `xdp`, `xdp-generic`, `tcx` or `clsact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// `up`, `device-down`, `no-device` or `failed`.
    pub state: String,
    /// Why it failed, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub mac_address: String,
    pub addresses: Vec<IpAddr>,
    /// Of the internet port: `IPv4`, `IPv6`, as far as the host leads there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carries: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    #[serde(rename = "enableIPForwarding")]
    pub enable_ip_forwarding: bool,
    /// One packet in this many is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_every: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<PortStatistics>,
    pub warnings: Vec<String>,
}

/// Counted by the device: received is what the workload sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortStatistics {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_dropped: u64,
    pub rx_errors: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
    pub tx_errors: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeeringList {
    pub value: Vec<PeeringRow>,
}

/// A `virtualNetworkPeerings` resource with its properties beside its name, as `az` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeeringRow {
    pub id: String,
    pub name: String,
    pub resource_group: String,
    /// The VNet's own id.
    pub virtual_network: Reference,
    pub remote_virtual_network: Reference,
    pub peering_state: String,
    pub peering_sync_level: String,
    pub allow_virtual_network_access: bool,
    pub allow_forwarded_traffic: bool,
    pub allow_gateway_transit: bool,
    pub use_remote_gateways: bool,
    pub remote_address_space: AddressSpace,
    /// The next hop type that its routes have: global where the regions differ.
    pub next_hop_type: NextHopType,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressSpace {
    pub address_prefixes: Vec<IpNet>,
}

/// Network Watcher's answer, and why it is that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextHopReply {
    #[serde(flatten)]
    pub result: NextHopResult,
    pub network_interface: String,
    pub explanation: Explanation,
    /// What becomes of the packet after the route, in words.
    pub outcome: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterTable {
    /// When they were read, in seconds since the daemon started: differences give rates.
    pub uptime_seconds: f64,
    pub routes: Vec<RouteCounter>,
    pub reasons: Vec<ReasonCounter>,
}

/// What a route of a subnet carried. Bytes are those of layer-3 packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteCounter {
    pub subnet: String,
    pub address_prefix: IpNet,
    pub next_hop_type: NextHopType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_ip_address: Option<IpAddr>,
    /// The VNet behind a peering, or that of the appliance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
    pub packets: u64,
    pub bytes: u64,
}

/// What was not forwarded, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCounter {
    pub reason: String,
    pub outcome: Outcome,
    pub packets: u64,
    pub bytes: u64,
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Dropped,
    Answered,
    /// An answer that was due.
    NotSent,
    /// By a slower way.
    Forwarded,
}
