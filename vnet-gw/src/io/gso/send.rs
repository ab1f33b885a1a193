//! What is to be sent: packets, laid one after another, and messages made of them.

use std::ops::Range;

use super::path::Path;
use crate::io::{MESSAGE_BYTES, Outgoing, PathId};

/// What waits before a flush: three full messages.
const ARENA: usize = 3 << 16;
/// `UDP_MAX_SEGMENTS` of today's kernels.
pub(super) const MAX_SEGMENTS: usize = 128;
/// The same before 6.9.
pub(super) const OLD_MAX_SEGMENTS: usize = 64;
/// Messages of a flush.
pub(super) const MESSAGES: usize = 64;

/// One call's worth for `UDP_SEGMENT`: packets of one length, of which the last may be shorter.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) to: Outgoing,
    pub(super) range: Range<usize>,
    pub(super) segment: usize,
}

impl Message {
    pub(super) fn segments(&self) -> usize {
        self.range.len().div_ceil(self.segment)
    }

    /// The same in pieces of that many segments.
    pub(super) fn split(&self, segments: usize) -> impl Iterator<Item = Self> + '_ {
        let step = self.segment * segments;
        self.range.clone().step_by(step).map(move |start| Self {
            range: start..(start + step).min(self.range.end),
            ..*self
        })
    }
}

/// The queue.
pub(super) struct Queue {
    arena: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    /// Of the slot that was handed out last.
    slot: Option<Outgoing>,
    /// The last message takes more of its kind.
    open: bool,
    pub(super) max_segments: usize,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            arena: vec![0; ARENA].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(MESSAGES),
            slot: None,
            open: false,
            max_segments: MAX_SEGMENTS,
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.used
    }

    /// See [`Underlay::slot`](crate::io::Underlay::slot).
    pub(super) fn slot(&mut self, to: &Outgoing, length: usize) -> Option<&mut [u8]> {
        if self.messages.len() == MESSAGES {
            return None;
        }
        let slot = self.arena.get_mut(self.used..)?.get_mut(..length)?;
        self.slot = Some(*to);
        Some(slot)
    }

    /// Of the slot that was handed out last.
    pub(super) fn path(&self) -> Option<PathId> {
        self.slot.map(|to| to.path)
    }

    /// See [`Underlay::commit`](crate::io::Underlay::commit).
    pub(super) fn commit(&mut self, length: usize, path: Option<&Path>) {
        let Some(to) = self.slot.take().filter(|_| length != 0) else {
            return;
        };
        let range = self.used..self.used + length;
        self.used = range.end;
        // What may be fragmented on its way is not segmented here.
        let joins = to.dont_fragment && path.is_some_and(|path| path.segmentation);
        if self.open
            && joins
            && let Some(last) = self.messages.last_mut()
            && last.to == to
            && length <= last.segment
            && last.range.len() + length <= MESSAGE_BYTES
            && last.segments() < self.max_segments
        {
            last.range.end = range.end;
            self.open = length == last.segment;
            return;
        }
        self.messages.push(Message {
            to,
            range,
            segment: length,
        });
        self.open = joins;
    }

    /// What waits, and the bytes it is made of.
    pub(super) fn messages(&self) -> (&[u8], &[Message]) {
        (&self.arena, &self.messages)
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.messages.clear();
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use vnet_gw_core::sa::Encapsulation;

    use super::{super::path::Paths, *};

    fn lengths(queue: &Queue) -> Vec<(usize, usize)> {
        let (_, messages) = queue.messages();
        messages
            .iter()
            .map(|m| (m.range.len(), m.segment))
            .collect()
    }

    #[test]
    fn packets_of_a_length_share_a_message() {
        let address: SocketAddr = "192.0.2.1:4500".parse().unwrap();
        let mut paths = Paths::default();
        let id = paths.add(&Encapsulation::Udp {
            local: address,
            remote: address,
        });
        let to = |tos, dont_fragment| Outgoing {
            path: id,
            tos,
            dont_fragment,
        };
        let mut queue = Queue::new();
        let put = |queue: &mut Queue, length, to: Outgoing| {
            assert!(queue.slot(&to, length).is_some());
            queue.commit(length, paths.get(to.path));
        };
        for length in [1400, 1400, 900, 900, 1000, 1000] {
            put(&mut queue, length, to(0, true));
        }
        // The shorter one ends a message, a longer one begins another.
        assert_eq!(lengths(&queue), [(3700, 1400), (900, 900), (2000, 1000)]);
        queue.clear();
        put(&mut queue, 100, to(0, true));
        put(&mut queue, 100, to(2, true));
        put(&mut queue, 100, to(2, false));
        put(&mut queue, 100, to(2, false));
        assert_eq!(lengths(&queue), [(100, 100); 4]);
        queue.clear();
        for _ in 0..130 {
            put(&mut queue, 100, to(0, true));
        }
        assert_eq!(lengths(&queue), [(12_800, 100), (200, 100)]);
        queue.clear();
        for _ in 0..47 {
            put(&mut queue, 1400, to(0, true));
        }
        assert_eq!(lengths(&queue), [(46 * 1400, 1400), (1400, 1400)]);
    }

    #[test]
    fn a_message_splits_into_what_it_was_made_of() {
        let to = Outgoing {
            path: crate::io::PathId(0),
            tos: 0,
            dont_fragment: true,
        };
        let message = Message {
            to,
            range: 100..450,
            segment: 100,
        };
        let ranges: Vec<_> = message.split(2).map(|m| m.range).collect();
        assert_eq!(ranges, [100..300, 300..450]);
        let ranges: Vec<_> = message.split(1).map(|m| m.range).collect();
        assert_eq!(ranges, [100..200, 200..300, 300..400, 400..450]);
    }
}
