//! Probes: one packet as if a workload had sent it, and what comes back to the workload.
//!
//! A TCP probe is a SYN. The workload knows nothing of it and answers a SYN-ACK with a reset, which
//! closes the connection at the other end, too. An ICMP probe is an echo request.

mod answer;
mod frame;
mod statistics;

pub use answer::{Answer, answer};
pub use frame::{Probe, Protocol, frame};
pub use statistics::{Outcome, Statistics};
