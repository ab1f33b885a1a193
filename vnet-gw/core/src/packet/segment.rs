//! Cutting super-packets into packets, and finishing checksums that were left to the device.

use thiserror::Error;

use super::{
    checksum,
    ip::{Fragment, Outline, V6_HEADER_LEN, protocol},
    transport::{
        TCP_CHECKSUM, TCP_CWR, TCP_FIN, TCP_FLAGS, TCP_PSH, TCP_SEQUENCE, UDP_CHECKSUM,
        UDP_HEADER_LEN, tcp_header_len,
    },
    virtio::{VirtioHeader, gso},
};

/// A packet whose virtio header does not fit it. It came from this machine's kernel, so this is a
/// sign of a mistake, not of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SegmentError {
    #[error("not a whole IP packet")]
    NotIp,
    #[error("segmentation of type {0} is not known")]
    Type(u8),
    #[error("the packet is not what the segmentation says")]
    Mismatch,
    #[error("the place of the checksum is outside the packet")]
    Checksum,
}

/// The packets that a packet from the TAP stands for: one, or the segments of a super-packet. Each
/// is written as a whole, with lengths, numbers and checksums of its own.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    kind: Kind,
    outline: Outline,
    /// IP and transport header together.
    header: usize,
    /// Payload of each segment but the last.
    size: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The checksum's place, if it is to be finished: where it begins to sum and where it is.
    Single(Option<(usize, usize)>),
    Tcp,
    Udp,
}

impl<'a> Segments<'a> {
    /// Of a packet that begins with its IP header; so do the header's offsets.
    pub fn new(header: &VirtioHeader, packet: &'a [u8]) -> Result<Self, SegmentError> {
        let outline = Outline::of(packet).ok_or(SegmentError::NotIp)?;
        let packet = &packet[..outline.total];
        let kind = match header.gso_type & !gso::ECN {
            gso::NONE => Kind::Single(checksum_place(header, packet.len())?),
            gso::TCP_V4 if !outline.v6 && outline.protocol == protocol::TCP => Kind::Tcp,
            gso::TCP_V6 if outline.v6 && outline.protocol == protocol::TCP => Kind::Tcp,
            gso::UDP_L4 if outline.protocol == protocol::UDP => Kind::Udp,
            gso::TCP_V4 | gso::TCP_V6 | gso::UDP_L4 => return Err(SegmentError::Mismatch),
            other => return Err(SegmentError::Type(other)),
        };
        let transport = &packet[outline.transport..];
        let transport_len = match kind {
            Kind::Single(_) => {
                return Ok(Self {
                    packet,
                    kind,
                    outline,
                    header: packet.len(),
                    size: 0,
                    count: 1,
                });
            }
            Kind::Tcp => tcp_header_len(transport),
            Kind::Udp => (transport.len() >= UDP_HEADER_LEN).then_some(UDP_HEADER_LEN),
        };
        let transport_len = transport_len.ok_or(SegmentError::Mismatch)?;
        let (header_len, size) = (
            outline.transport + transport_len,
            usize::from(header.gso_size),
        );
        if size == 0 || outline.fragment != Fragment::Whole {
            return Err(SegmentError::Mismatch);
        }
        Ok(Self {
            packet,
            kind,
            outline,
            header: header_len,
            size,
            count: (packet.len() - header_len).div_ceil(size).max(1),
        })
    }

    /// How many packets they are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The length of the `index`-th packet, from 0. All but the last are as long as the first.
    #[inline]
    pub fn segment_len(&self, index: usize) -> usize {
        self.header + self.payload(index).len()
    }

    /// The length of all packets together.
    pub fn total_len(&self) -> usize {
        self.header * (self.count - 1) + self.packet.len()
    }

    #[inline]
    fn payload(&self, index: usize) -> &'a [u8] {
        let payload = &self.packet[self.header..];
        let start = (index * self.size).min(payload.len());
        let end = if index + 1 < self.count {
            start + self.size
        } else {
            payload.len()
        };
        &payload[start..end]
    }

    /// Writes the `index`-th packet and returns its length. `None` when there is no such packet, or
    /// `out` is too short for it.
    #[inline]
    pub fn write(&self, index: usize, out: &mut [u8]) -> Option<usize> {
        if index >= self.count {
            return None;
        }
        let payload = self.payload(index);
        let length = self.header + payload.len();
        let out = out.get_mut(..length)?;
        let (header, rest) = out.split_at_mut(self.header);
        header.copy_from_slice(&self.packet[..self.header]);
        rest.copy_from_slice(payload);
        match self.kind {
            Kind::Single(None) => {}
            Kind::Single(Some((start, at))) => finish(out, start, at),
            Kind::Tcp | Kind::Udp => self.make_headers(index, out),
        }
        Some(length)
    }

    #[inline]
    fn make_headers(&self, index: usize, out: &mut [u8]) {
        let length = out.len();
        let (ip, transport) = out.split_at_mut(self.outline.transport);
        if self.outline.v6 {
            let payload = (length - V6_HEADER_LEN) as u16;
            ip[4..6].copy_from_slice(&payload.to_be_bytes());
        } else {
            ip[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(index as u16);
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            checksum::set_v4(ip);
        }
        let place = if self.kind == Kind::Tcp {
            self.make_tcp_header(index, transport);
            TCP_CHECKSUM
        } else {
            let length = transport.len() as u16;
            transport[4..6].copy_from_slice(&length.to_be_bytes());
            UDP_CHECKSUM
        };
        transport[place..place + 2].fill(0);
        let pseudo =
            checksum::pseudo_header(ip, self.outline.v6, self.outline.protocol, transport.len());
        let checksum = checksum::finish_transport(pseudo + checksum::sum(transport));
        transport[place..place + 2].copy_from_slice(&checksum);
    }

    #[inline]
    fn make_tcp_header(&self, index: usize, transport: &mut [u8]) {
        if let Some(field) = transport[TCP_SEQUENCE..].first_chunk_mut::<4>() {
            let sequence = u32::from_be_bytes(*field).wrapping_add((index * self.size) as u32);
            *field = sequence.to_be_bytes();
        }
        // FIN and PSH are for the end of the data, and a sender tells of its smaller window once
        // (RFC 3168, 6.1.2).
        if index + 1 < self.count {
            transport[TCP_FLAGS] &= !(TCP_FIN | TCP_PSH);
        }
        if index > 0 {
            transport[TCP_FLAGS] &= !TCP_CWR;
        }
    }
}

/// Where a checksum begins to sum and where it is stored, if it is to be finished.
fn checksum_place(
    header: &VirtioHeader,
    length: usize,
) -> Result<Option<(usize, usize)>, SegmentError> {
    if !header.needs_checksum() {
        return Ok(None);
    }
    let start = usize::from(header.csum_start);
    let at = start + usize::from(header.csum_offset);
    if at + 2 > length {
        return Err(SegmentError::Checksum);
    }
    Ok(Some((start, at)))
}

/// The field holds the pseudo-header's sum, and counts.
#[inline]
fn finish(packet: &mut [u8], start: usize, at: usize) {
    let checksum = checksum::finish_transport(checksum::sum(&packet[start..]));
    packet[at..at + 2].copy_from_slice(&checksum);
}

/// Finishes the checksum of a single packet where it lies.
pub fn finish_checksum(header: &VirtioHeader, packet: &mut [u8]) -> Result<(), SegmentError> {
    let outline = Outline::of(packet).ok_or(SegmentError::NotIp)?;
    let packet = &mut packet[..outline.total];
    if header.gso_type != gso::NONE {
        return Err(SegmentError::Type(header.gso_type));
    }
    if let Some((start, at)) = checksum_place(header, packet.len())? {
        finish(packet, start, at);
    }
    Ok(())
}
