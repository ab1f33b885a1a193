//! Packet captures: from copies that the data path makes to files, streams and probes.
//!
//! ```text
//! data path ─ rings ─► thread "capture": Batch (order of time, verdicts) ─► Hub ─► sessions ─► Sink
//!                                                                            ▲ add, stop
//!                                        the daemon's loop, which sets and lifts the ports' flags
//! ```
//!
//! The thread is there as long as a session is. What a sink does not take in time is counted and
//! left out; a flood of copies must not keep the loop.

mod batch;
mod file;
mod hub;
mod pcapng;
mod reader;
mod session;
mod stream;
#[cfg(test)]
mod tests;

pub use self::{
    file::{FileError, create},
    hub::{Hub, Wanted},
    pcapng::Pcapng,
    reader::Copies,
    session::{Ended, Interface, Progress, Session, SessionId, Spec, Why},
    stream::{Feed, Stream},
};

use vnet_gw_common::verdict::Reason;

/// Which way a packet went, seen from the workload behind the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Sent,
    Delivered,
}

/// One packet of a captured port.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The same moment of `CLOCK_MONOTONIC`, which nobody sets.
    pub monotonic: u64,
    /// Place of its port among the session's interfaces.
    pub interface: u32,
    pub direction: Direction,
    /// Bytes of the frame, of which `bytes` are the first.
    pub length: u32,
    pub bytes: &'a [u8],
    /// Why it was not forwarded, of one that was sent.
    pub refused: Option<Reason>,
}

/// Where a session's packets go.
pub trait Sink: Send {
    /// # Errors
    /// Why the session ends with the packet before.
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Why>;

    /// No more come for now.
    ///
    /// # Errors
    /// As above.
    fn flush(&mut self) -> Result<(), Why> {
        Ok(())
    }

    /// Bytes it has written.
    fn written(&self) -> u64 {
        0
    }

    /// It is over.
    fn end(&mut self, _progress: &Progress, _why: &Why) {}
}
