//! Putting received packets of a flow together again, so that they enter the host as one.
//!
//! A super-packet is made only of packets that [`Segments`](super::Segments) would make of it, but
//! for IPv4 ids that do not matter: what is lost by coalescing is nothing. Packets of one flow stay
//! in their order.

use std::ops::Range;

use super::{
    candidate::{Candidate, Kind, Order},
    checksum,
    ip::{V6_HEADER_LEN, protocol},
    transport::{TCP_CHECKSUM, TCP_FLAGS, TCP_PSH, UDP_CHECKSUM},
    virtio::{DATA_VALID, NEEDS_CSUM, VirtioHeader, gso},
};

/// Of one super-packet: the kernel takes no more (`UDP_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: usize = 128;
/// What IPv4's total length can say; IPv6 packets are kept below it as well.
const MAX_LENGTH: usize = u16::MAX as usize;

/// Flows are found by hash in a table of that many entries. When two meet in one, the one that
/// came first goes on in a new super-packet.
const SLOTS: usize = 256;
const NONE: u32 = u32::MAX;

/// Collects the packets of a batch: [`push`](Self::push) each, then [`finish`](Self::finish).
/// Once it has grown to the size of the batches it allocates nothing.
pub struct Coalescer {
    groups: Vec<Group>,
    /// Payloads that follow a group's first packet, chained.
    pieces: Vec<Piece>,
    /// By flow: the last group of it, if that may still grow.
    slots: Box<[u32; SLOTS]>,
    /// Of the group that is handed out.
    parts: Vec<Range<usize>>,
}

/// One packet, or several that became one.
struct Group {
    /// The whole first packet in the arena.
    first: Range<usize>,
    /// What it needs to be to grow; `None` passes as it is.
    head: Option<Head>,
    count: usize,
    /// Of the IP packet that the group is.
    length: usize,
    /// The last of its pieces, and the first.
    chain: Option<(u32, u32)>,
}

struct Head {
    candidate: Candidate,
    next_sequence: u32,
    /// PSH of the last.
    push: bool,
    open: bool,
}

struct Piece {
    payload: Range<usize>,
    next: u32,
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new()
    }
}

impl Coalescer {
    pub fn new() -> Self {
        Self {
            groups: Vec::new(),
            pieces: Vec::new(),
            slots: Box::new([NONE; SLOTS]),
            parts: Vec::new(),
        }
    }

    /// With room for batches of that many packets.
    pub fn with_capacity(packets: usize) -> Self {
        Self {
            groups: Vec::with_capacity(packets),
            pieces: Vec::with_capacity(packets),
            parts: Vec::with_capacity(packets.min(MAX_SEGMENTS)),
            ..Self::new()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes the IP packet that lies in that range of the arena, whatever it is. The bytes stay as
    /// they are until `finish`.
    pub fn push(&mut self, arena: &[u8], range: Range<usize>) {
        let packet = &arena[range.clone()];
        let (slot, candidate) = match Candidate::of(packet) {
            (Order::Flow(hash), Some(candidate)) => (hash as usize % SLOTS, candidate),
            (order, _) => {
                // What it must not be overtaken by goes on in a new super-packet.
                match order {
                    Order::Free => {}
                    Order::Flow(hash) => self.slots[hash as usize % SLOTS] = NONE,
                    Order::Any => self.slots.fill(NONE),
                }
                self.start(range, None);
                return;
            }
        };
        let last = self.slots[slot];
        let joined = self
            .groups
            .get_mut(last as usize)
            .is_some_and(|group| group.take(arena, packet, &candidate));
        if joined {
            let start = range.start + candidate.header;
            self.chain(last as usize, start..start + candidate.payload);
            return;
        }
        self.slots[slot] = self.groups.len() as u32;
        self.start(range, Some(candidate));
    }

    fn start(&mut self, range: Range<usize>, candidate: Option<Candidate>) {
        let (range, head) = match candidate {
            Some(candidate) => {
                let length = candidate.header + candidate.payload;
                let head = Head {
                    next_sequence: candidate.sequence.wrapping_add(candidate.payload as u32),
                    push: candidate.push,
                    open: !candidate.push,
                    candidate,
                };
                (range.start..range.start + length, Some(head))
            }
            None => (range, None),
        };
        self.groups.push(Group {
            length: range.len(),
            first: range,
            head,
            count: 1,
            chain: None,
        });
    }

    fn chain(&mut self, group: usize, payload: Range<usize>) {
        let piece = self.pieces.len() as u32;
        self.pieces.push(Piece {
            payload,
            next: NONE,
        });
        let chain = &mut self.groups[group].chain;
        let first = match *chain {
            Some((last, first)) => {
                self.pieces[last as usize].next = piece;
                first
            }
            None => piece,
        };
        *chain = Some((piece, first));
    }

    /// Hands out what was pushed, in the order of the first packets, and is empty again: the
    /// arena, the virtio header, and where the parts of the packet are: headers and payload of
    /// the first, then payloads only.
    pub fn finish(
        &mut self,
        arena: &mut [u8],
        mut emit: impl FnMut(&[u8], VirtioHeader, &[Range<usize>]),
    ) {
        for group in &self.groups {
            self.parts.clear();
            self.parts.push(group.first.clone());
            let mut next = group.chain.map_or(NONE, |(_, first)| first);
            while let Some(piece) = self.pieces.get(next as usize) {
                self.parts.push(piece.payload.clone());
                next = piece.next;
            }
            let header = group.make_header(&mut arena[group.first.clone()]);
            emit(arena, header, &self.parts);
        }
        self.groups.clear();
        self.pieces.clear();
        self.slots.fill(NONE);
    }
}

impl Group {
    /// Whether the packet goes on where the group ends; if so it is counted in.
    #[inline]
    fn take(&mut self, arena: &[u8], packet: &[u8], candidate: &Candidate) -> bool {
        let Some(head) = &mut self.head else {
            return false;
        };
        let first = &arena[self.first.clone()];
        let size = head.candidate.payload;
        let fits = head.open
            && candidate.payload <= size
            && self.count < MAX_SEGMENTS
            && self.length + candidate.payload <= MAX_LENGTH
            && candidate.continues(
                packet,
                &head.candidate,
                first,
                self.count,
                head.next_sequence,
            );
        if !fits {
            return false;
        }
        head.next_sequence = head.next_sequence.wrapping_add(candidate.payload as u32);
        head.push = candidate.push;
        head.open = candidate.payload == size && !candidate.push;
        self.count += 1;
        self.length += candidate.payload;
        true
    }

    /// Turns the first packet's headers into the group's.
    fn make_header(&self, first: &mut [u8]) -> VirtioHeader {
        let Some(head) = &self.head else {
            return VirtioHeader::default();
        };
        let candidate = &head.candidate;
        if self.count == 1 {
            // The checksum was looked at: the host need not.
            return VirtioHeader {
                flags: DATA_VALID,
                ..VirtioHeader::default()
            };
        }
        let (ip, transport) = first.split_at_mut(candidate.transport);
        if candidate.v6 {
            let payload = (self.length - V6_HEADER_LEN) as u16;
            ip[4..6].copy_from_slice(&payload.to_be_bytes());
        } else {
            ip[2..4].copy_from_slice(&(self.length as u16).to_be_bytes());
            checksum::set_v4(ip);
        }
        let length = self.length - candidate.transport;
        let (place, number, gso_type) = match candidate.kind {
            Kind::Tcp => {
                if head.push {
                    transport[TCP_FLAGS] |= TCP_PSH;
                }
                let gso_type = if candidate.v6 {
                    gso::TCP_V6
                } else {
                    gso::TCP_V4
                };
                (TCP_CHECKSUM, protocol::TCP, gso_type)
            }
            Kind::Udp => {
                transport[4..6].copy_from_slice(&(length as u16).to_be_bytes());
                (UDP_CHECKSUM, protocol::UDP, gso::UDP_L4)
            }
        };
        let partial = checksum::fold(checksum::pseudo_header(ip, candidate.v6, number, length));
        transport[place..place + 2].copy_from_slice(&partial);
        VirtioHeader {
            flags: NEEDS_CSUM,
            gso_type,
            hdr_len: candidate.header as u16,
            gso_size: candidate.payload as u16,
            csum_start: candidate.transport as u16,
            csum_offset: place as u16,
        }
    }
}
