//! Questions to the daemon's loop.

use tokio::sync::{mpsc, oneshot};
use vnet_gw_core::model::ResourceId;

use crate::{
    control::{
        CaptureQuestion, ErrorReply, MonitorQuestion, PortList, SecurityRuleList, Status,
        TracedPacket,
    },
    datapath::{Counters, MeterReading},
    metrics::Collector,
    probe::{ProbeReport, ProbeSpec},
    vpn::Question,
};

/// A question to the daemon's loop, with where the answer goes.
#[derive(Debug)]
pub enum Asked {
    Status(oneshot::Sender<Status>),
    Ports(oneshot::Sender<PortList>),
    /// With the seconds since the daemon started.
    Counters(oneshot::Sender<Result<(Counters, f64), ErrorReply>>),
    Trace {
        nic: ResourceId,
        every: u32,
        feed: TraceFeed,
        answer: oneshot::Sender<Result<(), ErrorReply>>,
    },
    /// A client's feed is closed: what nobody wants is not traced.
    TraceGone,
    SecurityRules(oneshot::Sender<SecurityRuleList>),
    /// Of packet captures.
    Capture(CaptureQuestion),
    Probe {
        spec: Box<ProbeSpec>,
        answer: oneshot::Sender<Result<ProbeReport, ErrorReply>>,
    },
    Monitor(MonitorQuestion),
    /// For the VPN side.
    Vpn(Question),
    /// What was handed over from one VNet into another.
    Meters(oneshot::Sender<Result<Vec<MeterReading>, ErrorReply>>),
    /// What these, by their `born`, have counted is in the store.
    MetersSettled(Vec<u64>),
    /// What the loop and the data path count.
    Metrics(oneshot::Sender<Vec<Box<dyn Collector>>>),
}

/// Where traced packets go. The client is gone once it is closed.
pub type TraceFeed = mpsc::Sender<Result<TracedPacket, TraceEnd>>;

/// What a feed carries besides packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceEnd {
    /// So many packets were left out; the trace goes on.
    Lost(u64),
    /// The trace is over, and why.
    Over(String),
}
