//! Live probes: packets sent as if by a workload, through its port's own program, and what comes back
//! to the port, seen where captures see it.

mod check;
mod run;
mod sink;

pub use check::is_unicast;
pub use run::{ProbeReport, ProbeSpec, Prober, Ready};

use std::io;

use crate::datapath::ProbePort;

/// The way into the data path. [`ProbePort`] is the kernel's; tests have one in memory.
pub trait Inject: Send {
    /// Sends a frame as the workload behind the port would.
    fn send(&mut self, port: u32, frame: &[u8]) -> io::Result<()>;
}

impl Inject for ProbePort {
    fn send(&mut self, port: u32, frame: &[u8]) -> io::Result<()> {
        Self::send(self, port, frame)
    }
}
