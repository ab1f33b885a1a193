//! What goes into the worker and what comes out of it.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use vnet_gw_core::{
    ike::Report,
    sa::{ChildSa, Encapsulation, Spi, TunnelId},
};

/// Which I/O the worker does; see `vnet_gw::io`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// By what the devices can do.
    #[default]
    Auto,
    Gso,
    Xsk,
}

/// An event of IKE, for the worker. In order.
#[derive(Debug)]
pub enum Command {
    Install(Box<ChildSa>),
    /// Send on this pair, named by our SPI, from now on.
    SendOn {
        tunnel: TunnelId,
        inbound: Spi,
    },
    /// Nothing is sent on it any more; what comes in is taken for `linger`.
    Remove {
        tunnel: TunnelId,
        inbound: Spi,
        linger: Duration,
    },
    Move {
        tunnel: TunnelId,
        encapsulation: Encapsulation,
    },
    /// Flows keep off a tunnel that is not usable while another of the connection is.
    Path {
        tunnel: TunnelId,
        usable: bool,
    },
}

/// From the worker to whoever runs IKE.
#[derive(Debug)]
pub enum FromWorker {
    /// An IKE message (without the non-ESP marker) that came in on port 4500.
    Ike {
        local: SocketAddr,
        remote: SocketAddr,
        data: Vec<u8>,
    },
    /// At most a few times a second for each tunnel.
    Report(Report),
    /// The worker cannot go on; its gateway is down until it is started again.
    Failed(String),
}

/// Of one tunnel since the worker began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelCounters {
    /// Inner packets and their bytes.
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    /// ESP packets refused: replayed, failed integrity, outside the selectors, …
    pub replayed: u64,
    pub bad_integrity: u64,
    pub outside_selectors: u64,
    pub malformed: u64,
    /// Inner packets for which the tunnel was too narrow, answered with ICMP.
    pub too_big: u64,
    /// Dropped as RFC 6040 wants it: congestion on the underlay, and a sender that does not know ECN.
    pub congested: u64,
    pub last_received: Option<SystemTime>,
}

/// Of one gateway since the worker began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerStats {
    /// `gso` or `xsk`, and in words why.
    pub engine: &'static str,
    pub engine_reason: String,
    pub tunnels: Vec<(TunnelId, TunnelCounters)>,
    /// ESP packets with an SPI of nobody.
    pub unknown_spi: u64,
    /// Inner packets for which no connection, or no tunnel of one, is up.
    pub no_tunnel: u64,
    /// Inner packets for the gateway's own side, which went back into its port.
    pub turned_back: u64,
    /// Inner packets over the gateway's bandwidth, each way.
    pub over_bandwidth_out: u64,
    pub over_bandwidth_in: u64,
    /// IKE messages dropped because IKE did not keep up, or because they were too long.
    pub ike_overflow: u64,
    pub underlay_send_errors: u64,
    pub port_write_errors: u64,
    /// What waits: from IKE for the worker, and the other way.
    pub commands_waiting: usize,
    pub messages_waiting: usize,
}
