//! Where things are in an IPv4 or IPv6 packet.

/// Protocol numbers (IANA).
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const FRAGMENT: u8 = 44;
    pub const ICMPV6: u8 = 58;

    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// IPv6's fixed header.
pub const V6_HEADER_LEN: usize = 40;
/// IPv4's without options.
pub const V4_HEADER_LEN: usize = 20;

/// More extension headers than that are not walked; nothing sends them.
const MAX_EXTENSIONS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not a fragment.
    Whole,
    /// Has the header of the transport.
    First,
    Later,
}

/// The outline of a packet whose lengths agree with each other and with the slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    pub v6: bool,
    /// What IP says the packet's length is; the slice may be longer.
    pub total: usize,
    /// Where the transport's header (or, of a later fragment, its data) begins.
    pub transport: usize,
    pub protocol: u8,
    pub fragment: Fragment,
}

impl Outline {
    /// `None` for what is not an IP packet, or not a whole one.
    #[inline]
    pub fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            _ => None,
        }
    }

    #[inline]
    fn v4(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<V4_HEADER_LEN>()?;
        let transport = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if transport < V4_HEADER_LEN || total < transport || total > packet.len() {
            return None;
        }
        let word = u16::from_be_bytes([header[6], header[7]]);
        let fragment = match (word & 0x1fff, word & 0x2000) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        };
        Some(Self {
            v6: false,
            total,
            transport,
            protocol: header[9],
            fragment,
        })
    }

    #[inline]
    fn v6(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<V6_HEADER_LEN>()?;
        let total = V6_HEADER_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let packet = packet.get(..total)?;
        let mut outline = Self {
            v6: true,
            total,
            transport: V6_HEADER_LEN,
            protocol: header[6],
            fragment: Fragment::Whole,
        };
        if matches!(outline.protocol, protocol::TCP | protocol::UDP) {
            return Some(outline);
        }
        for _ in 0..MAX_EXTENSIONS {
            let rest = &packet[outline.transport..];
            let length = match outline.protocol {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    8 + usize::from(*rest.get(1)?) * 8
                }
                protocol::AUTHENTICATION => 8 + usize::from(*rest.get(1)?) * 4,
                protocol::FRAGMENT => {
                    let [_, _, high, low] = *rest.first_chunk()?;
                    let word = u16::from_be_bytes([high, low]);
                    outline.fragment = match (word >> 3, word & 1) {
                        // An "atomic" fragment (RFC 6946) is a whole packet.
                        (0, 0) => Fragment::Whole,
                        (0, _) => Fragment::First,
                        _ => Fragment::Later,
                    };
                    8
                }
                _ => return Some(outline),
            };
            if rest.len() < length {
                return None;
            }
            outline.protocol = rest[0];
            outline.transport += length;
            if outline.fragment == Fragment::Later {
                // What follows is data, whatever it looks like.
                return Some(outline);
            }
        }
        None
    }
}
