//! Packet captures: what Azure's `packetCaptures` asks for, and which packets fit it. Who copies
//! and writes them is somebody else's matter.

mod filter;
mod key;
mod settings;

pub use filter::{Addresses, Filter, Ports, Protocol};
pub use key::{Key, Side};
pub use settings::{Limits, Settings};
