//! The ledger: what the data path's meters and the tunnels count, kept for good (rule A28).
//!
//! ```text
//!  meters (kernel) ─┐ every 10 s, at the end, ┌► classes: all there ever was, and when it was last read
//!                   ├► and when somebody asks ─┤
//!  tunnels (worker)─┘    one commit            └► buckets: 5 minutes, hours, days
//! ```
//!
//! What is read is only ever compared with what was read before, under the number of that use of a
//! meter (`born`): a daemon that is killed, restarted, or replaced counts on, and nothing is counted
//! twice, since what was read and the sums that it went into are written in one commit. What can be
//! lost: with the host, what was counted since the last commit; with the daemon alone, as much of
//! the tunnels, whose workers are part of it; and what a tunnel carried since then that is taken out
//! of the configuration.

mod ledger;
mod metrics;
mod records;
mod task;
#[cfg(test)]
mod tests;
mod view;

pub use ledger::Ledger;
pub use metrics::UsageMetrics;
pub use records::Count;
pub use task::{LeftError, Metering, UsageError, note_left};
pub use view::{UsageList, UsageRow};

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
