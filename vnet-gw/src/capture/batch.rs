//! Copies in the order of time, each with what became of it.

use vnet_gw_common::{capture::Event, verdict::Reason};

use super::Direction;

/// A copy that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(super) time: u64,
    pub(super) port: u32,
    pub(super) direction: Direction,
    pub(super) length: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) refused: Option<Reason>,
    /// It waited for its verdict already.
    waited: bool,
}

/// What was read at one time. A CPU tells one packet after the other: of one that was sent, what
/// became of it comes next, and may come with the next batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    by_cpu: Vec<Vec<Copied>>,
}

impl Batch {
    pub(super) fn add(&mut self, cpu: usize, event: &Event, bytes: &[u8]) {
        if self.by_cpu.len() <= cpu {
            self.by_cpu.resize_with(cpu + 1, Vec::new);
        }
        let Some(copies) = self.by_cpu.get_mut(cpu) else {
            return;
        };
        let direction = match event.kind {
            Event::SENT => Direction::Sent,
            Event::DELIVERED => Direction::Delivered,
            Event::REFUSED => {
                let sent = copies
                    .last_mut()
                    .filter(|last| last.direction == Direction::Sent && last.port == event.port);
                if let Some(sent) = sent {
                    sent.refused = Reason::ALL
                        .iter()
                        .find(|reason| **reason as u32 == event.reason)
                        .copied();
                }
                return;
            }
            _ => return,
        };
        copies.push(Copied {
            time: event.time,
            port: event.port,
            direction,
            length: event.len,
            bytes: bytes.to_vec(),
            refused: None,
            waited: false,
        });
    }

    /// What is ready, in the order of time.
    pub(super) fn take(&mut self) -> Vec<Copied> {
        let mut ready = Vec::new();
        for copies in &mut self.by_cpu {
            let kept = copies.pop_if(|last| {
                last.direction == Direction::Sent && last.refused.is_none() && !last.waited
            });
            ready.append(copies);
            copies.extend(kept.map(|last| Copied {
                waited: true,
                ..last
            }));
        }
        ready.sort_by_key(|copy| copy.time);
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u32, time: u64, port: u32) -> Event {
        Event {
            time,
            port,
            kind,
            len: 60,
            copied: 2,
            reason: Reason::NoRoute as u32,
            reserved: 0,
        }
    }

    #[test]
    fn a_refusal_belongs_to_the_packet_before_it_on_its_cpu() {
        let mut batch = Batch::default();
        batch.add(0, &event(Event::SENT, 10, 1), &[1]);
        batch.add(1, &event(Event::SENT, 5, 1), &[2]);
        batch.add(1, &event(Event::DELIVERED, 6, 2), &[3]);
        batch.add(0, &event(Event::REFUSED, 11, 1), &[]);
        let ready = batch.take();
        let told: Vec<_> = ready.iter().map(|one| (one.time, one.refused)).collect();
        assert_eq!(told, [(5, None), (6, None), (10, Some(Reason::NoRoute))]);
        assert!(batch.take().is_empty());
    }

    #[test]
    fn the_last_one_sent_waits_once_for_its_verdict() {
        let mut batch = Batch::default();
        batch.add(0, &event(Event::SENT, 1, 1), &[]);
        assert!(batch.take().is_empty());
        batch.add(0, &event(Event::REFUSED, 2, 1), &[]);
        assert_eq!(batch.take()[0].refused, Some(Reason::NoRoute));
        batch.add(0, &event(Event::SENT, 3, 1), &[]);
        assert!(batch.take().is_empty());
        assert_eq!(batch.take()[0].refused, None);
        // A refusal of what was not seen is nobody's.
        batch.add(0, &event(Event::SENT, 4, 1), &[]);
        batch.add(0, &event(Event::REFUSED, 5, 9), &[]);
        assert!(batch.take().is_empty());
        assert_eq!(batch.take()[0].refused, None);
    }
}
