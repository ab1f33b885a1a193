//! The lines on the control socket.
//!
//! A request is `{"version":1,"request":{"kind":"ports"}}`, an answer
//! `{"version":1,"answer":{"kind":"ports","body":{…}}}`. Every request has one answer, but `watch`
//! and `trace`, which have many; a stream ends with `end` or with the connection. A request that
//! is not understood is answered by `error`, and the connection goes on.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vnet_gw_core::{
    effective::EffectiveRouteTable,
    security::EffectiveSecurityGroups,
    watcher::{Connectivity, Why},
};

use crate::metering::UsageList;

use super::{
    capture::{CaptureList, CaptureRow},
    monitor::MonitorList,
    packet::TracedPacket,
    probe::ProbeReply,
    reply::{CounterTable, NextHopReply, PeeringList, PortList, Status},
    security_reply::SecurityRuleList,
    vpn_reply::{ConnectionList, ConnectionRow, GatewayList, IkeSaList, KeyText, SharedKeyReply},
    watcher_view::{FlowQuestion, FlowVerdict, PacketQuestion, TopologyReply},
};

/// Changes whenever a request or an answer changes its meaning.
pub const VERSION: u32 = 1;

/// The longest request, in bytes without its newline.
pub const MAX_REQUEST: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLine {
    pub version: u32,
    pub request: Request,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Request {
    // Braces, since a variant without them takes any property unseen.
    Status {},
    Ports {},
    Peerings {},
    EffectiveRoutes {
        of: Target,
    },
    EffectiveSecurityGroups {
        network_interface: String,
    },
    NextHop {
        network_interface: String,
        destination: IpAddr,
    },
    /// Why a packet arrives or does not.
    Why {
        packet: PacketQuestion,
    },
    IpFlowVerify {
        flow: FlowQuestion,
    },
    ConnectivityCheck {
        packet: PacketQuestion,
    },
    /// Of a virtual network or a subnet.
    Topology {
        of: String,
    },
    Counters {
        filter: CounterFilter,
    },
    /// `Counters`, again and again.
    Watch {
        filter: CounterFilter,
        interval_ms: u64,
    },
    /// What was metered, from one moment to another (seconds since 1970): all there ever was, where
    /// neither is given.
    Usage {
        #[serde(default)]
        from: Option<u64>,
        #[serde(default)]
        to: Option<u64>,
    },
    /// Decisions on the packets that a networkInterface sends.
    Trace {
        network_interface: String,
        /// One packet in this many.
        every: u32,
        /// Ends after this many packets.
        #[serde(default)]
        count: Option<u64>,
    },
    /// How often security rules decided.
    SecurityRules {},
    /// Azure's `packetCaptures`, in a file on the daemon's host.
    StartPacketCapture {
        name: String,
        /// `PacketCaptureParameters`; the target may be a name.
        properties: Value,
    },
    StopPacketCapture {
        name: String,
    },
    DeletePacketCapture {
        name: String,
    },
    PacketCaptures {},
    /// Packets as pcapng, until the client goes.
    CapturePackets {
        properties: Value,
    },
    /// Packets as if the networkInterface sent them, and what comes back.
    Probe {
        network_interface: String,
        destination: IpAddr,
        /// Of TCP; without one, ICMP.
        #[serde(default)]
        port: Option<u16>,
        count: u16,
        interval_ms: u64,
        /// How long the last answer is waited for.
        patience_ms: u64,
    },
    ConnectionMonitors {},
    Gateways {},
    Connections {},
    Connection {
        connection: String,
    },
    IkeSas {
        connection: String,
    },
    /// Azure's `resetconnection`: its tunnels are made anew.
    ResetConnection {
        connection: String,
    },
    SharedKey {
        connection: String,
    },
    SetSharedKey {
        connection: String,
        value: KeyText,
    },
    /// Makes a new one of so many characters.
    ResetSharedKey {
        connection: String,
        length: usize,
    },
}

impl Request {
    /// Whether it is for root only: the group of the socket looks, and sees neither keys nor
    /// packets.
    pub fn needs_privilege(&self) -> bool {
        matches!(
            self,
            Self::SharedKey { .. }
                | Self::SetSharedKey { .. }
                | Self::ResetSharedKey { .. }
                | Self::StartPacketCapture { .. }
                | Self::StopPacketCapture { .. }
                | Self::DeletePacketCapture { .. }
                | Self::CapturePackets { .. }
                | Self::Probe { .. }
        )
    }
}

/// Whose routes. Names are resolved by [`find_nic`](super::find_nic) and
/// [`find_subnet`](super::find_subnet).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Target {
    NetworkInterface(String),
    Subnet(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CounterFilter {
    /// Routes of this subnet only.
    #[serde(default)]
    pub subnet: Option<String>,
    /// Routes and reasons that counted nothing, too.
    #[serde(default)]
    pub zero: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseLine {
    pub version: u32,
    pub answer: Response,
}

impl ResponseLine {
    pub fn new(answer: Response) -> Self {
        Self {
            version: VERSION,
            answer,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "camelCase")]
pub enum Response {
    Status(Box<Status>),
    Ports(PortList),
    Peerings(PeeringList),
    EffectiveRoutes(EffectiveRouteTable),
    EffectiveSecurityGroups(EffectiveSecurityGroups),
    NextHop(Box<NextHopReply>),
    Why(Box<Why>),
    IpFlowVerify(FlowVerdict),
    ConnectivityCheck(Box<Connectivity>),
    Topology(TopologyReply),
    Counters(CounterTable),
    Usage(UsageList),
    SecurityRules(SecurityRuleList),
    Gateways(GatewayList),
    Connections(ConnectionList),
    Connection(Box<ConnectionRow>),
    IkeSas(IkeSaList),
    SharedKey(SharedKeyReply),
    PacketCaptures(CaptureList),
    PacketCapture(Box<CaptureRow>),
    /// The next bytes of a pcapng stream, in base64.
    Pcapng(String),
    Probe(Box<ProbeReply>),
    ConnectionMonitors(MonitorList),
    /// It is done; nothing more to tell.
    Done,
    /// The trace is on; packets follow.
    Tracing,
    Packet(TracedPacket),
    /// So many packets were not told, since the client did not keep up.
    Lost(u64),
    /// The stream is over, and why.
    End(String),
    Error(ErrorReply),
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorReply {
    pub code: ErrorCode,
    /// What, why, and what to do.
    pub message: String,
}

impl ErrorReply {
    pub fn new(code: ErrorCode, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// The line is no request of this version.
    BadRequest,
    /// The daemon speaks another version.
    Version,
    /// A name that is nothing's, or several resources'.
    Name,
    /// The data path could not be asked.
    Datapath,
    /// It cannot be as things are; the message says what to change.
    Conflict,
    /// Not by this user.
    NotAllowed,
    /// The daemon is going.
    Ending,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_documented() {
        for (text, request) in [
            (r#"{"kind":"status"}"#, Request::Status {}),
            (
                r#"{"kind":"effectiveRoutes","of":{"subnet":"VNet1/FrontEnd"}}"#,
                Request::EffectiveRoutes {
                    of: Target::Subnet("VNet1/FrontEnd".into()),
                },
            ),
            (
                r#"{"kind":"counters","filter":{}}"#,
                Request::Counters {
                    filter: CounterFilter::default(),
                },
            ),
            (
                r#"{"kind":"trace","networkInterface":"web1","every":10}"#,
                Request::Trace {
                    network_interface: "web1".into(),
                    every: 10,
                    count: None,
                },
            ),
        ] {
            let line = format!(r#"{{"version":1,"request":{text}}}"#);
            let read: RequestLine = serde_json::from_str(&line).unwrap();
            assert_eq!(
                read,
                RequestLine {
                    version: VERSION,
                    request
                },
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            r#"{"version":1,"request":{"kind":"reboot"}}"#,
            r#"{"version":1,"request":{"kind":"ports","all":true}}"#,
            r#"{"version":1,"request":{"kind":"counters","filter":{"top":3}}}"#,
            r#"{"version":1,"request":{"kind":"nextHop","networkInterface":"a","destination":"b"}}"#,
            r#"{"version":1}"#,
        ] {
            assert!(serde_json::from_str::<RequestLine>(line).is_err(), "{line}");
        }
    }

    #[test]
    fn answers_survive_the_socket() {
        for answer in [
            Response::Tracing,
            Response::Lost(7),
            Response::End("over".into()),
            Response::Error(ErrorReply::new(ErrorCode::Name, "no such")),
        ] {
            let text = serde_json::to_string(&ResponseLine::new(answer.clone())).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(
                serde_json::from_str::<ResponseLine>(&text).unwrap().answer,
                answer
            );
        }
    }
}
