//! What the instance counts, for Prometheus: OpenMetrics text over HTTP on a local port.
//!
//! ```text
//! GET /metrics ─► server: a thread of its own ─► scrape ── the daemon's loop: ports, routes, reasons
//!                                                  │ ├──── the VPN side: gateways, tunnels, SAs
//!                                                  │ └──── the engine, the store, the API, the process
//!                                                  └► text, written beside all of them
//! ```
//!
//! A part of the daemon takes part by handing over a [`Collector`]: values that were read at one
//! moment, which write themselves as families. The data path is only read, by mapped memory and
//! netlink; nothing on it locks or waits for a scrape.
//!
//! Names follow Prometheus' conventions: `vnet_gw_` and what is counted, base units (bytes, seconds),
//! `_total` at the end of counters. Labels are names of resources, and words of closed lists; no
//! label holds an address of a packet, and none a secret.

mod datapath;
mod family;
mod names;
mod process;
mod scrape;
mod security;
mod server;
#[cfg(test)]
mod tests;
mod vpn;

pub use datapath::DatapathMetrics;
pub use family::{Family, counter, counters, gauge, gauges};
pub use names::{Names, label};
pub use prometheus_client::collector::Collector;
pub use scrape::{ScrapeError, Sources};
pub use security::SecurityMetrics;
pub use server::{MetricsError, MetricsServer};
pub use vpn::VpnMetrics;
