//! What happens to the packets inside a tunnel: pure functions on slices that begin at the IP
//! header. Link-layer headers are the caller's.

pub mod flow;
pub mod ip;

pub use flow::{Flow, Ports};
pub use ip::{Fragment, Outline};
