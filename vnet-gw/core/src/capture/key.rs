//! Whose packet a frame is, as far as the bytes at hand tell: a copy may be cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETHERNET: usize = 14;
/// More extension headers than that are not walked; nothing sends them.
const MAX_EXTENSIONS: usize = 8;

/// Which end of a packet is the port's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

/// What filters compare. "Local" is the side behind the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub local: IpAddr,
    pub remote: IpAddr,
    /// Behind extension headers; the first that is not understood where there are too many.
    pub protocol: u8,
    /// Local and remote; TCP's, UDP's and SCTP's, and only where the header is there: a later
    /// fragment has none.
    pub ports: Option<(u16, u16)>,
}

impl Key {
    /// Of an Ethernet frame, priority tags and all; `None` where it carries no IP.
    pub fn of(frame: &[u8], local: Side) -> Option<Self> {
        let mut at = ETHERNET - 2;
        let mut kind = word(frame, at)?;
        for _ in 0..2 {
            if kind == 0x8100 || kind == 0x88a8 {
                at += 4;
                kind = word(frame, at)?;
            }
        }
        let packet = frame.get(at + 2..)?;
        match kind {
            0x0800 => v4(packet, local),
            0x86dd => v6(packet, local),
            _ => None,
        }
    }

    fn new(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        ports: Option<(u16, u16)>,
        local: Side,
    ) -> Self {
        match local {
            Side::Source => Self {
                local: source,
                remote: destination,
                protocol,
                ports,
            },
            Side::Destination => Self {
                local: destination,
                remote: source,
                protocol,
                ports: ports.map(|(from, to)| (to, from)),
            },
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u16::from_be_bytes(*word))
}

fn v4(packet: &[u8], local: Side) -> Option<Key> {
    let header = packet.first_chunk::<20>()?;
    if header[0] >> 4 != 4 {
        return None;
    }
    let [.., a, b, c, d, e, f, g, h] = *header;
    let protocol = header[9];
    let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    let at = usize::from(header[0] & 0xf) * 4;
    let ports = if later {
        None
    } else {
        ports(packet, at, protocol)
    };
    Some(Key::new(
        Ipv4Addr::new(a, b, c, d).into(),
        Ipv4Addr::new(e, f, g, h).into(),
        protocol,
        ports,
        local,
    ))
}

fn v6(packet: &[u8], local: Side) -> Option<Key> {
    let header = packet.first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let address = |from: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&header[from..from + 16]);
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    let (mut protocol, mut at, mut later) = (header[6], 40, false);
    for _ in 0..MAX_EXTENSIONS {
        let length = match (protocol, packet.get(at + 1)) {
            (0 | 43 | 60 | 135, Some(length)) => 8 + usize::from(*length) * 8,
            (51, Some(length)) => 8 + usize::from(*length) * 4,
            (44, Some(_)) => {
                later |= word(packet, at + 2).is_none_or(|word| word >> 3 != 0);
                8
            }
            _ => break,
        };
        protocol = packet.get(at).copied().unwrap_or(protocol);
        at += length;
        if later {
            break;
        }
    }
    let ports = if later {
        None
    } else {
        ports(packet, at, protocol)
    };
    Some(Key::new(address(8), address(24), protocol, ports, local))
}

fn ports(packet: &[u8], at: usize, protocol: u8) -> Option<(u16, u16)> {
    if !matches!(protocol, 6 | 17 | 132) {
        return None;
    }
    Some((word(packet, at)?, word(packet, at + 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet and IPv4 with UDP 7 to 9.
    fn udp4(fragment: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0, 0x46, 0, 0, 32, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, 17, 0, 0, 10, 0, 0, 4, 10, 0, 1, 5]);
        // An option of four bytes.
        frame.extend([1, 1, 1, 1]);
        frame.extend([0, 7, 0, 9]);
        frame
    }

    #[test]
    fn ipv4_with_options_from_either_side() {
        let key = Key::of(&udp4(0), Side::Source).unwrap();
        assert_eq!(key.local, "10.0.0.4".parse::<IpAddr>().unwrap());
        assert_eq!(key.remote, "10.0.1.5".parse::<IpAddr>().unwrap());
        assert_eq!((key.protocol, key.ports), (17, Some((7, 9))));
        let key = Key::of(&udp4(0), Side::Destination).unwrap();
        assert_eq!(key.local, "10.0.1.5".parse::<IpAddr>().unwrap());
        assert_eq!(key.ports, Some((9, 7)));
    }

    #[test]
    fn a_later_fragment_and_a_cut_packet_have_no_ports() {
        assert_eq!(Key::of(&udp4(0x0001), Side::Source).unwrap().ports, None);
        assert_eq!(
            Key::of(&udp4(0x2000), Side::Source).unwrap().ports,
            Some((7, 9))
        );
        let frame = udp4(0);
        assert_eq!(Key::of(&frame[..40], Side::Source).unwrap().ports, None);
        for length in 0..34 {
            assert_eq!(Key::of(&frame[..length], Side::Source), None);
        }
    }

    #[test]
    fn ipv6_behind_tags_and_extension_headers() {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 0, 0x86, 0xdd]);
        frame.extend([0x60, 0, 0, 0, 0, 20, 0, 64]);
        frame.extend("fd00::4".parse::<Ipv6Addr>().unwrap().octets());
        frame.extend("fd01::5".parse::<Ipv6Addr>().unwrap().octets());
        // Hop-by-hop options, then TCP.
        frame.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        frame.extend([0x1f, 0x90, 0, 80]);
        let key = Key::of(&frame, Side::Source).unwrap();
        assert_eq!((key.protocol, key.ports), (6, Some((8080, 80))));
        assert_eq!(key.remote, "fd01::5".parse::<IpAddr>().unwrap());
        // A fragment header with an offset instead.
        frame[24] = 44;
        frame[60] = 0x01;
        let key = Key::of(&frame, Side::Source).unwrap();
        assert_eq!((key.protocol, key.ports), (6, None));
    }

    #[test]
    fn what_is_not_ip_has_no_key() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(Key::of(&arp, Side::Source), None);
    }
}
