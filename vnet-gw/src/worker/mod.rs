//! The crypto worker: one thread a gateway, between its port and the underlay.
//!
//! What IKE decides reaches it as [`Command`]s, which it takes between two batches, so no lock is on
//! the path; what it sees goes back as [`Reports`](vnet_gw_core::ike::Report) and counters that only it writes.

mod api;
mod bucket;
mod counters;
mod handle;
mod inbound;
mod outbound;
mod priority;
mod report;
mod routes;
mod spi_table;
mod spin;
mod thread;
mod tunnels;

pub use api::*;
pub use handle::{Worker, WorkerError, WorkerOptions};
