//! What tells one flow from another.

use std::net::IpAddr;

use super::ip::{Fragment, Outline, protocol};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Source and destination, of TCP, UDP, SCTP, DCCP and UDP-Lite.
    Pair(u16, u16),
    /// Type and code, as one number (RFC 7296, 3.13.1).
    Icmp(u16),
    /// A protocol without, or a fragment: all fragments of a packet, the first one, too, look the
    /// same, so that they stay together.
    None,
}

/// The five-tuple of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub ports: Ports,
}

impl Flow {
    /// `None` for what is not a whole IP packet.
    #[inline]
    pub fn of(packet: &[u8]) -> Option<Self> {
        Self::with(packet, &Outline::of(packet)?)
    }

    /// As `of`, with the packet's outline known.
    #[inline]
    pub fn with(packet: &[u8], outline: &Outline) -> Option<Self> {
        let (source, destination) = addresses(packet, outline.v6)?;
        let transport = packet.get(outline.transport..outline.total)?;
        Some(Self {
            source,
            destination,
            protocol: outline.protocol,
            ports: ports(transport, outline),
        })
    }

    /// Spreads flows evenly, and the same way after a restart. No secret is in it: who chooses ports
    /// so that all flows meet on one tunnel slows only themselves down.
    #[inline]
    pub fn hash(&self) -> u64 {
        let (source, destination) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => (
                u128::from(source.to_bits()),
                u128::from(destination.to_bits()),
            ),
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                (source.to_bits(), destination.to_bits())
            }
            // `of` makes none of these.
            _ => (0, 0),
        };
        let ports = match self.ports {
            Ports::Pair(source, destination) => {
                u64::from(source) << 16 | u64::from(destination) | 1 << 32
            }
            // An echo and an error about it belong together.
            Ports::Icmp(_) | Ports::None => 0,
        };
        let mut hash = ports << 8 | u64::from(self.protocol);
        for half in [source, destination] {
            hash = mix(hash ^ (half as u64), 0x9e37_79b9_7f4a_7c15);
            hash = mix(hash ^ ((half >> 64) as u64), 0xd6e8_feb8_6659_fd93);
        }
        hash
    }
}

/// Both halves of a 128-bit product: every bit of the input reaches every bit of the result.
#[inline]
fn mix(value: u64, factor: u64) -> u64 {
    let product = u128::from(value ^ 0x2545_f491_4f6c_dd1d) * u128::from(factor);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
pub(crate) fn addresses(packet: &[u8], v6: bool) -> Option<(IpAddr, IpAddr)> {
    Some(if v6 {
        let bytes = packet.get(8..40)?;
        (
            IpAddr::from(*bytes.first_chunk::<16>()?),
            IpAddr::from(*bytes.last_chunk::<16>()?),
        )
    } else {
        let bytes = packet.get(12..20)?;
        (
            IpAddr::from(*bytes.first_chunk::<4>()?),
            IpAddr::from(*bytes.last_chunk::<4>()?),
        )
    })
}

#[inline]
fn ports(transport: &[u8], outline: &Outline) -> Ports {
    const DCCP: u8 = 33;
    const SCTP: u8 = 132;
    const UDP_LITE: u8 = 136;
    if outline.fragment != Fragment::Whole {
        return Ports::None;
    }
    match (outline.protocol, transport) {
        (
            protocol::TCP | protocol::UDP | DCCP | SCTP | UDP_LITE,
            [source_high, source_low, high, low, ..],
        ) => Ports::Pair(
            u16::from_be_bytes([*source_high, *source_low]),
            u16::from_be_bytes([*high, *low]),
        ),
        (protocol::ICMP, [kind, code, ..]) if !outline.v6 => {
            Ports::Icmp(u16::from_be_bytes([*kind, *code]))
        }
        (protocol::ICMPV6, [kind, code, ..]) if outline.v6 => {
            Ports::Icmp(u16::from_be_bytes([*kind, *code]))
        }
        _ => Ports::None,
    }
}
