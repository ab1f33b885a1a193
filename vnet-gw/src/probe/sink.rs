//! What the port says of a probe's packets.

use tokio::sync::mpsc;
use vnet_gw_core::probe::{Answer, Probe, answer};

use crate::capture::{Direction, Packet, Sink, Why};

/// What was seen of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) sequence: u16,
    /// Nanoseconds of the monotonic clock.
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Sent,
    Refused { reason: u32 },
    Answered(Answer),
}

pub(super) struct Watch {
    pub(super) probe: Probe,
    /// By try, from 1 on.
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) feed: mpsc::UnboundedSender<Seen>,
}

impl Watch {
    fn seen(&self, packet: &Packet<'_>) -> Option<Seen> {
        let (sequence, what) = match packet.direction {
            Direction::Sent => {
                let place = self.frames.iter().position(|one| one == packet.bytes)?;
                let what = match packet.refused {
                    Some(reason) => What::Refused {
                        reason: reason as u32,
                    },
                    None => What::Sent,
                };
                (place as u16 + 1, what)
            }
            Direction::Delivered => {
                let tries = 1..self.frames.len() as u16 + 1;
                let (answer, sequence) = answer(&self.probe, packet.bytes, tries)?;
                (sequence, What::Answered(answer))
            }
        };
        Some(Seen {
            sequence,
            at: packet.monotonic,
            what,
        })
    }
}

impl Sink for Watch {
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Why> {
        match self.seen(packet) {
            None => Ok(()),
            // As many as there were tries and answers: a bounded number, but for answers that are
            // repeated, and those come no faster than the port is captured.
            Some(seen) => self.feed.send(seen).map_err(|_| Why::Closed),
        }
    }

    fn flush(&mut self) -> Result<(), Why> {
        match self.feed.is_closed() {
            true => Err(Why::Closed),
            false => Ok(()),
        }
    }
}
