//! Which packets may be part of a super-packet, and which follow each other.

use super::{
    checksum,
    ip::{Fragment, Outline, V4_HEADER_LEN, V6_HEADER_LEN, protocol},
    transport::{
        TCP_ACK, TCP_ECE, TCP_FLAGS, TCP_PSH, TCP_SEQUENCE, UDP_CHECKSUM, UDP_HEADER_LEN,
        tcp_header_len,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
}

/// What a packet may not overtake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing that is coalesced.
    Free,
    /// The flow with this hash.
    Flow(u64),
    /// A fragment's ports cannot be seen: any flow.
    Any,
}

/// A packet with data, with nothing unusual about it and with true checksums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) v6: bool,
    pub(super) kind: Kind,
    /// Where the transport's header begins.
    pub(super) transport: usize,
    /// Both headers.
    pub(super) header: usize,
    pub(super) payload: usize,
    /// TCP's.
    pub(super) sequence: u32,
    pub(super) push: bool,
}

impl Candidate {
    /// The candidate if the packet is one, and in any case where it belongs.
    #[inline]
    pub(super) fn of(packet: &[u8]) -> (Order, Option<Self>) {
        let Some(outline) = Outline::of(packet) else {
            return (Order::Free, None);
        };
        let packet = &packet[..outline.total];
        let kind = match outline.protocol {
            protocol::TCP => Kind::Tcp,
            protocol::UDP => Kind::Udp,
            _ => return (Order::Free, None),
        };
        if outline.fragment != Fragment::Whole {
            return (Order::Any, None);
        }
        let Some(ports) = packet[outline.transport..].first_chunk::<4>() else {
            return (Order::Free, None);
        };
        let hash = hash(packet, outline.v6, u32::from_ne_bytes(*ports));
        (Order::Flow(hash), Self::new(packet, &outline, kind))
    }

    #[inline]
    fn new(packet: &[u8], outline: &Outline, kind: Kind) -> Option<Self> {
        let plain = if outline.v6 {
            V6_HEADER_LEN
        } else {
            V4_HEADER_LEN
        };
        let (ip, transport) = packet.split_at(outline.transport);
        if outline.transport != plain || !(outline.v6 || checksum::is_right(checksum::sum(ip))) {
            return None;
        }
        let (transport_len, sequence, push) = match kind {
            Kind::Tcp => {
                let length = tcp_header_len(transport)?;
                let flags = transport[TCP_FLAGS];
                if flags & !(TCP_PSH | TCP_ECE) != TCP_ACK {
                    return None;
                }
                let sequence = u32::from_be_bytes(*transport[TCP_SEQUENCE..].first_chunk()?);
                (length, sequence, flags & TCP_PSH != 0)
            }
            Kind::Udp => {
                let header = transport.first_chunk::<UDP_HEADER_LEN>()?;
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                if length != transport.len() || header[UDP_CHECKSUM..] == [0, 0] {
                    return None;
                }
                (UDP_HEADER_LEN, 0, false)
            }
        };
        let payload = transport.len() - transport_len;
        if payload == 0 {
            return None;
        }
        let pseudo = checksum::pseudo_header(packet, outline.v6, outline.protocol, transport.len());
        if !checksum::is_right(pseudo + checksum::sum(transport)) {
            return None;
        }
        Some(Self {
            v6: outline.v6,
            kind,
            transport: outline.transport,
            header: outline.transport + transport_len,
            payload,
            sequence,
            push,
        })
    }

    /// Whether the packet is what segmentation makes after `count` packets that begin with
    /// `first_packet` and end before `next_sequence`.
    #[inline]
    pub(super) fn continues(
        &self,
        packet: &[u8],
        first: &Self,
        first_packet: &[u8],
        count: usize,
        next_sequence: u32,
    ) -> bool {
        if (self.v6, self.kind, self.header) != (first.v6, first.kind, first.header) {
            return false;
        }
        let (ip, transport) = packet[..self.header].split_at(self.transport);
        let (first_ip, first_transport) = first_packet[..self.header].split_at(self.transport);
        let same_ip = if self.v6 {
            // All but the length.
            ip[..4] == first_ip[..4] && ip[6..] == first_ip[6..]
        } else {
            // All but length, id and checksum; without fragments an id says nothing (RFC 6864).
            let numbered = dont_fragment(ip) || id(ip) == id(first_ip).wrapping_add(count as u16);
            numbered
                && ip[..2] == first_ip[..2]
                && ip[6..10] == first_ip[6..10]
                && ip[12..] == first_ip[12..]
        };
        same_ip
            && match self.kind {
                Kind::Udp => transport[..4] == first_transport[..4],
                Kind::Tcp => {
                    let flags = transport[TCP_FLAGS] ^ first_transport[TCP_FLAGS];
                    // Ports; acknowledgement and data offset; window; urgent pointer and options.
                    self.sequence == next_sequence
                        && flags & !TCP_PSH == 0
                        && transport[..4] == first_transport[..4]
                        && transport[8..13] == first_transport[8..13]
                        && transport[14..16] == first_transport[14..16]
                        && transport[18..] == first_transport[18..]
                }
            }
    }
}

#[inline]
fn dont_fragment(ip: &[u8]) -> bool {
    ip[6] & 0x40 != 0
}

#[inline]
fn id(ip: &[u8]) -> u16 {
    u16::from_be_bytes([ip[4], ip[5]])
}

/// Only spreads flows over a table.
#[inline]
fn hash(packet: &[u8], v6: bool, ports: u32) -> u64 {
    let addresses = if v6 { &packet[8..40] } else { &packet[12..20] };
    let (words, _) = addresses.as_chunks::<8>();
    let mut hash = u64::from(ports);
    for word in words {
        hash = (hash ^ u64::from_ne_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    // With two words of IPv6 mixed in last, or one of IPv4: the upper bits are the good ones.
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}
