//! Fragmenting IPv4 packets that are longer than the tunnel and allow it (RFC 791, 3.2).

use super::{
    checksum,
    icmp::dont_fragment,
    ip::{Outline, V4_HEADER_LEN},
};

const OFFSET: u16 = 0x1fff;
const MORE_FRAGMENTS: u16 = 0x2000;
/// Offsets count in these.
const UNIT: usize = 8;
const LONGEST_HEADER: usize = 60;

/// The fragments of a packet whose checksums are complete.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    packet: &'a [u8],
    header: usize,
    /// Payload of each but the last.
    size: usize,
    count: usize,
    /// The header of all but the first: only options that say so are copied.
    later: [u8; LONGEST_HEADER],
    later_len: usize,
}

impl<'a> Fragments<'a> {
    /// `None` for what is not IPv4, forbids it, or has a header that leaves no room.
    pub fn new(packet: &'a [u8], mtu: usize) -> Option<Self> {
        let outline = Outline::of(packet)?;
        if outline.v6 || dont_fragment(packet) {
            return None;
        }
        let (packet, header) = (&packet[..outline.total], outline.transport);
        let size = mtu.checked_sub(header)? / UNIT * UNIT;
        let offset = usize::from(u16::from_be_bytes([packet[6], packet[7]]) & OFFSET) * UNIT;
        if size == 0 || offset + packet.len() > usize::from(u16::MAX) {
            return None;
        }
        let (later, later_len) = later_header(&packet[..header]);
        Some(Self {
            packet,
            header,
            size,
            count: (packet.len() - header).div_ceil(size).max(1),
            later,
            later_len,
        })
    }

    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Writes the `index`-th fragment and returns its length; `None` when there is none, or `out`
    /// is too short for it.
    pub fn write(&self, index: usize, out: &mut [u8]) -> Option<usize> {
        if index >= self.count {
            return None;
        }
        let payload = &self.packet[self.header..];
        let start = index * self.size;
        let payload = &payload[start..payload.len().min(start + self.size)];
        let header = if index == 0 {
            &self.packet[..self.header]
        } else {
            &self.later[..self.later_len]
        };
        let length = header.len() + payload.len();
        let out = out.get_mut(..length)?;
        let (head, rest) = out.split_at_mut(header.len());
        head.copy_from_slice(header);
        rest.copy_from_slice(payload);
        // What is fragmented may be a fragment: its offset counts, and so does "more".
        let word = u16::from_be_bytes([head[6], head[7]]);
        let mut new = word + (start / UNIT) as u16;
        if index + 1 < self.count {
            new |= MORE_FRAGMENTS;
        }
        head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        head[6..8].copy_from_slice(&new.to_be_bytes());
        checksum::set_v4(head);
        Some(length)
    }
}

/// The header with those options only that are copied on fragmentation.
fn later_header(header: &[u8]) -> ([u8; LONGEST_HEADER], usize) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut later = [END; LONGEST_HEADER];
    later[..V4_HEADER_LEN].copy_from_slice(&header[..V4_HEADER_LEN]);
    let (mut from, mut to) = (V4_HEADER_LEN, V4_HEADER_LEN);
    while let Some(kind) = header.get(from) {
        let length = match (*kind, header.get(from + 1)) {
            (END, _) => break,
            (NO_OPERATION, _) => 1,
            (_, Some(length)) if *length >= 2 => usize::from(*length),
            _ => break,
        };
        let Some(option) = header.get(from..from + length) else {
            break;
        };
        if kind & COPIED != 0 {
            later[to..to + length].copy_from_slice(option);
            to += length;
        }
        from += length;
    }
    let length = to.next_multiple_of(4);
    later[0] = 0x40 | (length / 4) as u8;
    (later, length)
}
