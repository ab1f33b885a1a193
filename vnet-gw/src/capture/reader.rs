//! The thread that reads copies, as long as there are sessions.

use std::{io, sync::Arc, thread};

use vnet_gw_common::capture::Event;

use super::{Hub, batch::Batch};
use crate::datapath::PacketRings;

/// Milliseconds between two looks at whether a session is to end.
const PATIENCE: u16 = 50;

/// Where copies come from. [`PacketRings`] are the kernel's; tests have some in memory.
pub trait Copies: Send {
    /// Waits until there is something, or so many milliseconds are over.
    fn wait(&self, milliseconds: u16);
    /// Hands on what is there, with the CPU it comes from.
    fn drain(&mut self, take: &mut dyn FnMut(usize, &Event, &[u8]));
    /// Copies of a port that found no room; nothing where that is not known any more.
    fn lost(&self, port: u32) -> Option<u64>;
}

impl Copies for PacketRings {
    fn wait(&self, milliseconds: u16) {
        Self::wait(self, milliseconds);
    }

    fn drain(&mut self, take: &mut dyn FnMut(usize, &Event, &[u8])) {
        Self::drain(self, take);
    }

    fn lost(&self, port: u32) -> Option<u64> {
        Self::lost(self, port)
    }
}

pub(super) fn start(hub: Arc<Hub>, mut copies: Box<dyn Copies>) -> io::Result<()> {
    let work = move || {
        let mut batch = Batch::default();
        loop {
            copies.wait(PATIENCE);
            // Before the rings are read: what was copied until now is theirs.
            let ending = hub.ending();
            copies.drain(&mut |cpu, event, bytes| batch.add(cpu, event, bytes));
            let mut ready = batch.take();
            if !ending.is_empty() {
                // The last one sent, which waits for its verdict.
                ready.extend(batch.take());
            }
            hub.deliver(&ready, |port| copies.lost(port));
            if !hub.finish(&ending) {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("capture".to_owned())
        .spawn(work)
        .map(drop)
}
