//! A traced packet, as it is told to whoever traces.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vnet_gw_core::effective::NextHopType;

/// One packet that a networkInterface sent, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedPacket {
    /// Counts up from 1 in each trace.
    pub number: u64,
    pub network_interface: String,
    pub steps: Vec<TraceStep>,
}

/// What one step of the data path found, in packet order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "step",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum TraceStep {
    /// The frame's header was read.
    Ethernet,
    /// An IP packet, from an address the port may send from unless the verdict says otherwise.
    Parse {
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        ttl: u8,
        length: u32,
    },
    /// The route that won.
    Route {
        route_id: u32,
        next_hop_type: Option<NextHopType>,
        /// Nothing where the data path decided otherwise than the configuration says, as for a
        /// moment while a change is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address_prefix: Option<IpNet>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_hop_ip_address: Option<IpAddr>,
        /// The VNet behind a peering, or that of the appliance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        virtual_network: Option<String>,
    },
    /// Who takes the packet.
    Endpoint {
        port_id: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network_interface: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        mac_address: String,
    },
    /// What became of it. Of an answered or dropped one, why.
    Verdict {
        outcome: PacketOutcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        help: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PacketOutcome {
    Forwarded,
    /// By the fabric itself: ARP, neighbour discovery.
    Answered,
    Dropped,
}
