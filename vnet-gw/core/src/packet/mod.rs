//! What happens to the packets inside a tunnel: pure functions on slices that begin at the IP
//! header. Link-layer headers are the caller's.

mod candidate;
pub mod checksum;
pub mod coalesce;
pub mod ecn;
pub mod flow;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod mss;
pub mod segment;
#[cfg(test)]
mod tests;
mod transport;
pub mod virtio;

pub use coalesce::Coalescer;
pub use flow::{Flow, Ports};
pub use fragment::Fragments;
pub use icmp::{dont_fragment, too_big};
pub use ip::{Fragment, Outline};
pub use mss::clamp_mss;
pub use segment::{SegmentError, Segments, finish_checksum};
pub use virtio::VirtioHeader;
