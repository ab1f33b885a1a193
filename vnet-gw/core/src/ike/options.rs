//! What an endpoint is set to beyond its tunnels.

use std::time::Duration;

/// Limits and times of an [`super::Endpoint`]. The default is what the daemon uses; the simulator
/// turns the numbers down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOptions {
    /// The largest UDP payload of an IKE message, the non-ESP marker included; larger ones are
    /// fragmented (RFC 7383). 1232 passes an IPv6 underlay of 1280 bytes.
    pub max_datagram: usize,
    /// More half-open SAs than this, and cookies are asked for (RFC 7296, 2.6).
    pub cookie_threshold: usize,
    /// More half-open SAs than this, and an IKE_SA_INIT is dropped.
    pub half_open: usize,
    /// The same of one source address.
    pub half_open_per_source: usize,
    /// IKE_SA_INITs a second that are looked at without a cookie, of all sources together, and how
    /// many at once.
    pub unproven_rate: u32,
    pub unproven_burst: u32,
    /// IKE_SA_INITs a second of one source address that brought a cookie, and how many at once.
    pub source_rate: u32,
    pub source_burst: u32,
    /// A half-open SA is forgotten after this.
    pub half_open_timeout: Duration,
    /// A request is sent again after this, then after twice as long, and so on.
    pub retransmit: Duration,
    /// How many times a request is sent before the peer is given up.
    pub attempts: u32,
    /// A tunnel that failed is tried again after this, then after twice as long, up to `retry_max`;
    /// a random part of up to a half is taken off.
    pub retry: Duration,
    pub retry_max: Duration,
    /// Behind a NAT and nothing sent for so long: a keepalive (RFC 3948, 2.3).
    pub keepalive: Duration,
    /// We send and hear nothing for so long: a liveness check that decides about [`super::Event::Path`].
    pub path_quiet: Duration,
    /// No answer to it for so long: the path is not usable.
    pub path_answer: Duration,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            max_datagram: 1232,
            cookie_threshold: 64,
            half_open: 1024,
            half_open_per_source: 128,
            unproven_rate: 100,
            unproven_burst: 200,
            source_rate: 50,
            source_burst: 200,
            half_open_timeout: Duration::from_secs(30),
            retransmit: Duration::from_secs(1),
            attempts: 5,
            retry: Duration::from_secs(2),
            retry_max: Duration::from_secs(60),
            keepalive: Duration::from_secs(20),
            path_quiet: Duration::from_secs(1),
            path_answer: Duration::from_secs(1),
        }
    }
}
