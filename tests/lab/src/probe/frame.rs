//! Frames made by hand, for what no socket would send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];

pub const ETH_IPV4: u16 = 0x0800;
pub const ETH_ARP: u16 = 0x0806;
pub const ETH_VLAN: u16 = 0x8100;
pub const ETH_QINQ: u16 = 0x88a8;
pub const ETH_IPV6: u16 = 0x86dd;

pub const ICMP: u8 = 1;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const HOP_BY_HOP: u8 = 0;
pub const FRAGMENT: u8 = 44;
pub const DESTINATION_OPTIONS: u8 = 60;

/// An Ethernet frame.
pub fn ethernet(dst: Mac, src: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(dst);
    frame.extend(src);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The frame with an 802.1Q or 802.1ad tag in front of its other tags.
pub fn tagged(frame: &[u8], tpid: u16, tci: u16) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    out.extend(tpid.to_be_bytes());
    out.extend(tci.to_be_bytes());
    out.extend(&frame[12..]);
    out
}

/// What an IPv4 header says besides its addresses.
#[derive(Clone, Debug)]
pub struct Ipv4Header {
    pub protocol: u8,
    pub ttl: u8,
    /// Flags and fragment offset as in the header: `0x4000` is DF, `0x2000` MF.
    pub fragment: u16,
    pub identification: u16,
    /// A multiple of four bytes.
    pub options: Vec<u8>,
}

impl Ipv4Header {
    pub fn new(protocol: u8) -> Self {
        Self {
            protocol,
            ttl: 64,
            fragment: 0,
            identification: 1,
            options: Vec::new(),
        }
    }

    /// An IPv4 packet (RFC 791).
    pub fn packet(&self, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut out = vec![0x40 | (header / 4) as u8, 0];
        out.extend(((header + payload.len()) as u16).to_be_bytes());
        out.extend(self.identification.to_be_bytes());
        out.extend(self.fragment.to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(src.octets());
        out.extend(dst.octets());
        out.extend(&self.options);
        let sum = checksum(&[&out]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(payload);
        out
    }
}

/// An IPv6 packet (RFC 8200); `next` is the type of the first header in `payload`.
pub fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((payload.len() as u16).to_be_bytes());
    out.extend([next, hop_limit]);
    out.extend(src.octets());
    out.extend(dst.octets());
    out.extend(payload);
    out
}

/// A UDP datagram with its checksum (RFC 768, RFC 8200 section 8.1).
pub fn udp(src: (IpAddr, u16), dst: (IpAddr, u16), data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let mut out = Vec::with_capacity(length.into());
    out.extend(src.1.to_be_bytes());
    out.extend(dst.1.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend([0, 0]);
    out.extend(data);
    let sum = match checksum(&[&pseudo_header(src.0, dst.0, UDP, length), &out]) {
        0 => 0xffff,
        sum => sum,
    };
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

/// A UDP packet of either family in a frame.
pub fn udp_frame(
    dst_mac: Mac,
    src_mac: Mac,
    src: (IpAddr, u16),
    dst: (IpAddr, u16),
    data: &[u8],
) -> Vec<u8> {
    let datagram = udp(src, dst, data);
    match (src.0, dst.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let packet = Ipv4Header::new(UDP).packet(from, to, &datagram);
            ethernet(dst_mac, src_mac, ETH_IPV4, &packet)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet(
            dst_mac,
            src_mac,
            ETH_IPV6,
            &ipv6(from, to, UDP, 64, &datagram),
        ),
        mixed => panic!("one address of each family: {mixed:?}"),
    }
}

/// An ARP request (RFC 826), broadcast.
pub fn arp_request(src_mac: Mac, src: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut out = vec![0, 1, 8, 0, 6, 4, 0, 1];
    out.extend(src_mac);
    out.extend(src.octets());
    out.extend([0; 6]);
    out.extend(target.octets());
    ethernet([0xff; 6], src_mac, ETH_ARP, &out)
}

/// Who an ARP reply says has `target`.
pub fn arp_reply(frame: &[u8], target: Ipv4Addr) -> Option<Mac> {
    let body = frame.get(14..42)?;
    let is_reply = frame[12..14] == ETH_ARP.to_be_bytes() && body[6..8] == [0, 2];
    (is_reply && body[14..18] == target.octets()).then(|| [8, 9, 10, 11, 12, 13].map(|i| body[i]))
}

/// A neighbour solicitation (RFC 4861 section 4.3) to the solicited-node group of `target`.
pub fn neighbor_solicitation(src_mac: Mac, src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let last = target.octets();
    let group = Ipv6Addr::from([
        0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, last[13], last[14], last[15],
    ]);
    let mut out = vec![135, 0, 0, 0, 0, 0, 0, 0];
    out.extend(target.octets());
    out.extend([1, 1]);
    out.extend(src_mac);
    let header = pseudo_header(src.into(), group.into(), ICMPV6, out.len() as u16);
    let sum = checksum(&[&header, &out]);
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    let mac = [0x33, 0x33, 0xff, last[13], last[14], last[15]];
    ethernet(mac, src_mac, ETH_IPV6, &ipv6(src, group, ICMPV6, 255, &out))
}

/// Who a neighbour advertisement says has `target`; `None` also where its checksum is wrong.
pub fn neighbor_advertisement(frame: &[u8], target: Ipv6Addr) -> Option<Mac> {
    let packet = Packet::parse(frame)?;
    let body = packet.payload.get(..32)?;
    let header = pseudo_header(
        packet.src,
        packet.dst,
        ICMPV6,
        u16::try_from(packet.payload.len()).ok()?,
    );
    let is_answer = packet.protocol == ICMPV6
        && body[0] == 136
        && body[8..24] == target.octets()
        && body[24..26] == [2, 1]
        && checksum(&[&header, packet.payload]) == 0;
    is_answer.then(|| [26, 27, 28, 29, 30, 31].map(|i| body[i]))
}

/// A received IPv4 or IPv6 packet, extension headers not followed.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub src_mac: Mac,
    pub dst_mac: Mac,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// IPv4 protocol, or the first IPv6 next header.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The IPv4 header with its options, or the 40 bytes of IPv6.
    pub header: &'a [u8],
    /// After the header, without the padding of short frames.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for anything else, for a length that is not there, and for an IPv4 header whose
    /// checksum is wrong.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let mac = |at: usize| -> Option<Mac> { frame.get(at..at + 6)?.try_into().ok() };
        let (dst_mac, src_mac) = (mac(0)?, mac(6)?);
        let ethertype = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
        let packet = frame.get(14..)?;
        match ethertype {
            ETH_IPV4 => {
                let length = usize::from(packet.first()? & 15) * 4;
                let header = packet.get(..length.max(20))?;
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                (checksum(&[header]) == 0).then_some(Self {
                    src_mac,
                    dst_mac,
                    src: <[u8; 4]>::try_from(&header[12..16]).ok()?.into(),
                    dst: <[u8; 4]>::try_from(&header[16..20]).ok()?.into(),
                    protocol: header[9],
                    ttl: header[8],
                    header,
                    payload: packet.get(header.len()..total)?,
                })
            }
            ETH_IPV6 => {
                let header = packet.get(..40)?;
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                Some(Self {
                    src_mac,
                    dst_mac,
                    src: <[u8; 16]>::try_from(&header[8..24]).ok()?.into(),
                    dst: <[u8; 16]>::try_from(&header[24..40]).ok()?.into(),
                    protocol: header[6],
                    ttl: header[7],
                    header,
                    payload: packet.get(40..40 + length)?,
                })
            }
            _ => None,
        }
    }
}

fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, length: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            out.extend(src.octets());
            out.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            out.extend(src.octets());
            out.extend(dst.octets());
        }
        mixed => panic!("one address of each family: {mixed:?}"),
    }
    out.extend([0, protocol]);
    out.extend(length.to_be_bytes());
    out
}

/// The Internet checksum (RFC 1071) over parts of which only the last may be odd in length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of RFC 1071's usual example.
    #[test]
    fn checksum_of_a_known_header() {
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(checksum(&[&header]), 0xb861);
    }

    #[test]
    fn what_is_built_parses() {
        let (from, to) = (Ipv4Addr::new(10, 1, 0, 4), Ipv4Addr::new(10, 41, 0, 4));
        let mut header = Ipv4Header::new(UDP);
        header.options = vec![1, 1, 1, 0];
        header.ttl = 7;
        let datagram = udp((from.into(), 1), (to.into(), 2), b"odd");
        let mut frame = ethernet(
            [1; 6],
            [2; 6],
            ETH_IPV4,
            &header.packet(from, to, &datagram),
        );
        frame.extend([0; 9]);
        let packet = Packet::parse(&frame).unwrap();
        assert_eq!(
            (packet.src, packet.dst, packet.ttl),
            (from.into(), to.into(), 7)
        );
        assert_eq!((packet.header.len(), packet.payload), (24, &datagram[..]));
        frame[22] -= 1;
        assert!(
            Packet::parse(&frame).is_none(),
            "a wrong checksum must not parse"
        );
    }

    #[test]
    fn udp_checksum_verifies() {
        let (from, to): (IpAddr, IpAddr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let datagram = udp((from, 5), (to, 6), b"abc");
        let header = pseudo_header(from, to, UDP, datagram.len() as u16);
        assert_eq!(checksum(&[&header, &datagram]), 0);
    }
}
