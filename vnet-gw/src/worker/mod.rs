//! The crypto worker: one thread a gateway, between its port and the underlay.
//!
//! What IKE decides reaches it as [`Command`]s, which it takes between two batches, so no lock is on
//! the path; what it sees goes back as [`Reports`](vnet_gw_core::ike::Report) and counters that only it writes.

mod api;
#[expect(dead_code, reason = "the path comes next")]
mod counters;
#[expect(dead_code, reason = "the path comes next")]
mod handle;
mod thread;

pub use api::*;
pub use handle::{Worker, WorkerError, WorkerOptions};
