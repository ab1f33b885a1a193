//! Connection monitors: what Azure's `connectionMonitors` asks for, and what its probes come to.

mod read;
mod state;

pub use read::{Destination, Monitor, Test};
pub use state::{ConnectionState, History, Snapshot};
