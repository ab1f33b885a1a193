//! The answer to a packet that does not fit into the tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    checksum,
    flow::addresses,
    ip::{Fragment, Outline, V4_HEADER_LEN, V6_HEADER_LEN, protocol},
};

const ICMP_HEADER_LEN: usize = 8;
/// An error is no longer than that (RFC 1812, 4.3.2.3; RFC 4443, 2.4 (c)).
const V4_LONGEST: usize = 576;
const V6_LONGEST: usize = 1280;
const HOP_LIMIT: u8 = 64;

/// The longest error that [`too_big`] writes.
pub const LONGEST_ERROR: usize = V6_LONGEST;

/// Whether IPv4 forbids to fragment the packet; IPv6 always does.
pub fn dont_fragment(packet: &[u8]) -> bool {
    match packet {
        [first, _, _, _, _, _, word, ..] if first >> 4 == 4 => word & 0x40 != 0,
        _ => true,
    }
}

/// Writes "fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443, 3.2) about an inner
/// packet, from `source` to the packet's sender, and returns its length. `None` where no such error
/// may be sent: about ICMP errors, later fragments, packets from or to what is not one host, IPv4
/// packets that may be fragmented; and when `source` is of the other family or `out` too short.
///
/// Of a super-packet, give the first of its segments: a sender looks at the lengths it is told.
pub fn too_big(packet: &[u8], source: IpAddr, mtu: u16, out: &mut [u8]) -> Option<usize> {
    let outline = Outline::of(packet)?;
    let packet = &packet[..outline.total];
    let (sender, destination) = addresses(packet, outline.v6)?;
    if outline.fragment == Fragment::Later
        || is_icmp_error(packet, &outline)
        || !dont_fragment(packet)
    {
        return None;
    }
    match (source, sender, destination) {
        (IpAddr::V4(source), IpAddr::V4(sender), IpAddr::V4(destination))
            if is_host_v4(sender) && is_host_v4(destination) =>
        {
            v4(packet, source, sender, mtu, out)
        }
        // Even about multicast (RFC 4443, 2.4 (e.3)).
        (IpAddr::V6(source), IpAddr::V6(sender), _)
            if !sender.is_unspecified() && !sender.is_multicast() && !sender.is_loopback() =>
        {
            v6(packet, source, sender, mtu, out)
        }
        _ => None,
    }
}

fn is_host_v4(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_loopback())
}

/// Errors are types 3, 4, 5, 11 and 12 of ICMP and 0 to 127 of ICMPv6.
fn is_icmp_error(packet: &[u8], outline: &Outline) -> bool {
    let kind = packet.get(outline.transport);
    match outline.protocol {
        protocol::ICMP if !outline.v6 => {
            kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12))
        }
        protocol::ICMPV6 if outline.v6 => kind.is_none_or(|kind| *kind < 128),
        _ => false,
    }
}

fn v4(
    packet: &[u8],
    source: Ipv4Addr,
    destination: Ipv4Addr,
    mtu: u16,
    out: &mut [u8],
) -> Option<usize> {
    const HEADERS: usize = V4_HEADER_LEN + ICMP_HEADER_LEN;
    let quoted = packet.len().min(V4_LONGEST - HEADERS);
    let length = HEADERS + quoted;
    let out = out.get_mut(..length)?;
    let (ip, icmp) = out.split_at_mut(V4_HEADER_LEN);
    ip.fill(0);
    ip[0] = 0x45;
    // Internetwork control, as RFC 1812, 4.3.2.5 has it for errors.
    ip[1] = 0xc0;
    ip[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    ip[8] = HOP_LIMIT;
    ip[9] = protocol::ICMP;
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&destination.octets());
    checksum::set_v4(ip);
    let [high, low] = mtu.to_be_bytes();
    icmp[..ICMP_HEADER_LEN].copy_from_slice(&[3, 4, 0, 0, 0, 0, high, low]);
    icmp[ICMP_HEADER_LEN..].copy_from_slice(&packet[..quoted]);
    let checksum = checksum::finish(checksum::sum(icmp));
    icmp[2..4].copy_from_slice(&checksum);
    Some(length)
}

fn v6(
    packet: &[u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    mtu: u16,
    out: &mut [u8],
) -> Option<usize> {
    const HEADERS: usize = V6_HEADER_LEN + ICMP_HEADER_LEN;
    let quoted = packet.len().min(V6_LONGEST - HEADERS);
    let length = HEADERS + quoted;
    let out = out.get_mut(..length)?;
    let (ip, icmp) = out.split_at_mut(V6_HEADER_LEN);
    ip.fill(0);
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&((length - V6_HEADER_LEN) as u16).to_be_bytes());
    ip[6] = protocol::ICMPV6;
    ip[7] = HOP_LIMIT;
    ip[8..24].copy_from_slice(&source.octets());
    ip[24..40].copy_from_slice(&destination.octets());
    let [high, low] = mtu.to_be_bytes();
    icmp[..ICMP_HEADER_LEN].copy_from_slice(&[2, 0, 0, 0, 0, 0, high, low]);
    icmp[ICMP_HEADER_LEN..].copy_from_slice(&packet[..quoted]);
    let pseudo = checksum::pseudo_header(ip, true, protocol::ICMPV6, icmp.len());
    let checksum = checksum::finish(pseudo + checksum::sum(icmp));
    icmp[2..4].copy_from_slice(&checksum);
    Some(length)
}
