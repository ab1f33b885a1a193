//! How the command line talks to a running daemon: a Unix socket for each instance, one JSON
//! request a line, one JSON answer a line (or a stream of them).
//!
//! Who may ask is who may open the socket: its owner and group, mode 0660. Nothing is asked of the
//! peer beyond that.

mod capture;
mod client;
mod monitor;
mod names;
mod packet;
mod paths;
mod probe;
mod protocol;
mod reply;
mod security_reply;
mod server;
mod view;
mod vpn_reply;
mod vpn_view;
mod watcher_view;

pub use capture::*;
pub use client::{Client, ClientError};
pub use monitor::*;
pub use names::{
    NameError, find_connection, find_gateway, find_nic, find_subnet, find_vnet, group_of, short,
};
pub use packet::{PacketOutcome, TraceStep, TracedPacket};
pub use paths::RuntimeDir;
pub use probe::*;
pub use protocol::{
    CounterFilter, ErrorCode, ErrorReply, MAX_REQUEST, Request, RequestLine, Response,
    ResponseLine, Target, VERSION,
};
pub use reply::*;
pub use security_reply::*;
pub use server::{Asked, Server, TraceEnd, TraceFeed};
pub(crate) use view::next_hop_of;
pub use view::{counters, effective_routes, effective_security_groups, next_hop, peerings};
pub use vpn_reply::*;
pub use watcher_view::{
    FlowQuestion, FlowVerdict, IpProtocol, PacketQuestion, TopologyReply, connectivity_check,
    connectivity_probes, ip_flow_verify, topology, why_packet,
};

use std::sync::Arc;

use vnet_gw_core::{compile::Image, model::Topology, watcher::InternetPort};

/// What is in force: answers about resources come from here, without a stop at the daemon's loop.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub topology: Arc<Topology>,
    pub image: Arc<Image>,
    /// Whether routes to the internet lead through the host's network stack.
    pub internet: bool,
}

impl Snapshot {
    /// The internet port as the data path has it; where nobody tells, as it should be.
    fn internet_port(&self, ports: Option<&PortList>) -> Option<InternetPort> {
        match ports {
            Some(ports) => ports.internet_port(),
            None => self.internet.then_some(InternetPort::UP),
        }
    }
}
