//! The frames of probes.

use std::net::IpAddr;

use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};

use crate::packet::checksum;

pub(super) const TCP: u8 = 6;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;
/// Bytes that an echo request carries, as ping's do.
const ECHO_DATA: usize = 56;
const TTL: u8 = 64;
const WINDOW: u16 = 64_240;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp {
        /// Of the other side.
        port: u16,
    },
    Icmp,
}

/// What tells a probe's packets from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub from: IpAddr,
    /// Of the same family.
    pub to: IpAddr,
    pub protocol: Protocol,
    /// Local port of TCP, identifier of ICMP.
    pub id: u16,
}

/// The frame of try number `sequence`; `None` where the addresses are of two families.
pub fn frame(probe: &Probe, mac: [u8; 6], sequence: u16) -> Option<Vec<u8>> {
    let v6 = probe.to.is_ipv6();
    let (number, sum_at, upper) = match probe.protocol {
        Protocol::Tcp { port } => (TCP, 16, syn(probe.id, port, sequence)),
        Protocol::Icmp if v6 => (ICMPV6, 2, echo(128, probe.id, sequence)),
        Protocol::Icmp => (ICMP, 2, echo(8, probe.id, sequence)),
    };
    let mut packet = header(probe, number, upper.len(), sequence)?;
    let at = packet.len();
    packet.extend(&upper);
    let pseudo = match number {
        // ICMP's sum has no addresses.
        ICMP => 0,
        _ => checksum::pseudo_header(&packet, v6, number, upper.len()),
    };
    let sum = checksum::finish(checksum::sum(&upper) + pseudo);
    packet
        .get_mut(at + sum_at..at + sum_at + 2)?
        .copy_from_slice(&sum);
    let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    Some([&mac_from_u64(FABRIC_MAC), &mac, &kind[..], &packet].concat())
}

fn header(probe: &Probe, number: u8, length: usize, sequence: u16) -> Option<Vec<u8>> {
    match (probe.from, probe.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = (20 + length as u16).to_be_bytes();
            let [id_high, id_low] = sequence.to_be_bytes();
            // Do not fragment.
            let start = [
                0x45, 0, high, low, id_high, id_low, 0x40, 0, TTL, number, 0, 0,
            ];
            let mut header = [&start[..], &from.octets(), &to.octets()].concat();
            let sum = checksum::finish(checksum::sum(&header));
            header.get_mut(10..12)?.copy_from_slice(&sum);
            Some(header)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = (length as u16).to_be_bytes();
            let start = [0x60, 0, 0, 0, high, low, number, TTL];
            Some([&start[..], &from.octets(), &to.octets()].concat())
        }
        _ => None,
    }
}

/// RFC 9293, 3.1, with the option that every SYN has: the largest segment.
fn syn(local: u16, remote: u16, sequence: u16) -> Vec<u8> {
    let mut header = Vec::with_capacity(24);
    header.extend(local.to_be_bytes());
    header.extend(remote.to_be_bytes());
    header.extend(initial(local, sequence).to_be_bytes());
    header.extend([0; 4]);
    header.extend([6 << 4, 0x02]);
    header.extend(WINDOW.to_be_bytes());
    header.extend([0; 4]);
    header.extend([2, 4, 0x05, 0xb4]);
    header
}

/// The sequence number of a probe's SYN, which an answer acknowledges.
pub(super) fn initial(local: u16, sequence: u16) -> u32 {
    (u32::from(local) << 16 | u32::from(sequence)).wrapping_mul(0x9e37_79b1)
}

/// RFC 792 and RFC 4443, 4.1.
fn echo(kind: u8, id: u16, sequence: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend((0..ECHO_DATA).map(|byte| byte as u8));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Outline;

    #[test]
    fn frames_are_whole_and_their_sums_fit() {
        for (from, to) in [("10.0.0.4", "10.1.0.5"), ("fd00::4", "fd01::5")] {
            for protocol in [Protocol::Tcp { port: 443 }, Protocol::Icmp] {
                let probe = Probe {
                    from: from.parse().unwrap(),
                    to: to.parse().unwrap(),
                    protocol,
                    id: 61_234,
                };
                let frame = frame(&probe, [2, 0, 0, 0, 0, 1], 7).unwrap();
                let packet = &frame[14..];
                let outline = Outline::of(packet).unwrap();
                assert_eq!(outline.total, packet.len());
                let upper = &packet[outline.transport..];
                if !outline.v6 {
                    assert!(checksum::is_right(checksum::sum(&packet[..20])));
                }
                let pseudo = match outline.protocol {
                    ICMP => 0,
                    other => checksum::pseudo_header(packet, outline.v6, other, upper.len()),
                };
                let sum = checksum::sum(upper) + pseudo;
                assert!(checksum::is_right(sum), "{probe:?}");
            }
        }
        let mixed = Probe {
            from: "10.0.0.4".parse().unwrap(),
            to: "fd00::1".parse().unwrap(),
            protocol: Protocol::Icmp,
            id: 1,
        };
        assert_eq!(frame(&mixed, [0; 6], 1), None);
    }
}
