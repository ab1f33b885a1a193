//! What a packet that comes to the workload says of a probe.

use std::net::IpAddr;

use super::{
    Probe, Protocol,
    frame::{ICMP, ICMPV6, TCP, initial},
};
use crate::packet::{Fragment, Outline};

const ETHERNET: usize = 14;
const SYN_ACK: u8 = 0x12;
const RESET: u8 = 0x04;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A SYN-ACK, or an echo reply.
    Reply,
    /// A reset: the host is there, and nothing listens.
    Refused,
    /// An ICMP error, from whoever could not pass it on.
    Error { from: IpAddr, kind: u8, code: u8 },
}

/// The answer to a probe that a frame is, and to which try of it, where the frame says so.
pub fn answer(
    probe: &Probe,
    frame: &[u8],
    mut sequences: std::ops::Range<u16>,
) -> Option<(Answer, u16)> {
    let packet = frame.get(ETHERNET..)?;
    let outline = Outline::of(packet)?;
    if outline.fragment == Fragment::Later {
        return None;
    }
    let (source, destination) = addresses(packet, outline.v6)?;
    if destination != probe.from {
        return None;
    }
    let upper = packet.get(outline.transport..outline.total)?;
    match (outline.protocol, probe.protocol) {
        (TCP, Protocol::Tcp { port }) if source == probe.to => {
            let header = upper.first_chunk::<20>()?;
            let [a, b, c, d, _, _, _, _, e, f, g, h, _, flags, ..] = *header;
            let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            if ports != (port, probe.id) {
                return None;
            }
            let acknowledged = u32::from_be_bytes([e, f, g, h]).wrapping_sub(1);
            let sequence =
                sequences.find(|sequence| initial(probe.id, *sequence) == acknowledged)?;
            match flags {
                flags if flags & RESET != 0 => Some((Answer::Refused, sequence)),
                flags if flags & SYN_ACK == SYN_ACK => Some((Answer::Reply, sequence)),
                _ => None,
            }
        }
        (ICMP | ICMPV6, _) => {
            let header = upper.first_chunk::<8>()?;
            let [kind, code, _, _, a, b, c, d] = *header;
            let reply = if outline.v6 { 129 } else { 0 };
            if kind == reply {
                let fits = source == probe.to
                    && probe.protocol == Protocol::Icmp
                    && u16::from_be_bytes([a, b]) == probe.id;
                let sequence =
                    Some(u16::from_be_bytes([c, d])).filter(|one| sequences.contains(one));
                return sequence
                    .filter(|_| fits)
                    .map(|sequence| (Answer::Reply, sequence));
            }
            let error = if outline.v6 {
                kind < 128
            } else {
                matches!(kind, 3 | 4 | 11 | 12)
            };
            if !error {
                return None;
            }
            let sequence = quoted(probe, upper.get(8..)?, outline.v6, sequences)?;
            let from = source;
            Some((Answer::Error { from, kind, code }, sequence))
        }
        _ => None,
    }
}

fn addresses(packet: &[u8], v6: bool) -> Option<(IpAddr, IpAddr)> {
    let at = |from: usize| -> Option<IpAddr> {
        if v6 {
            let octets: [u8; 16] = *packet.get(from..)?.first_chunk()?;
            Some(octets.into())
        } else {
            let octets: [u8; 4] = *packet.get(from..)?.first_chunk()?;
            Some(octets.into())
        }
    };
    match v6 {
        true => Some((at(8)?, at(24)?)),
        false => Some((at(12)?, at(16)?)),
    }
}

/// The try that an error quotes, which may be cut.
fn quoted(probe: &Probe, packet: &[u8], v6: bool, sequences: std::ops::Range<u16>) -> Option<u16> {
    if addresses(packet, v6)? != (probe.from, probe.to) {
        return None;
    }
    let (protocol, at) = match v6 {
        true => (*packet.get(6)?, 40),
        false => (*packet.get(9)?, usize::from(packet.first()? & 0xf) * 4),
    };
    let [a, b, c, d, e, f, g, h] = *packet.get(at..)?.first_chunk::<8>()?;
    let mut sequences = sequences;
    match (protocol, probe.protocol) {
        (TCP, Protocol::Tcp { port }) => {
            let fits = u16::from_be_bytes([a, b]) == probe.id && u16::from_be_bytes([c, d]) == port;
            let number = u32::from_be_bytes([e, f, g, h]);
            sequences.find(|sequence| fits && initial(probe.id, *sequence) == number)
        }
        (ICMP | ICMPV6, Protocol::Icmp) => {
            let fits = u16::from_be_bytes([e, f]) == probe.id;
            let number = u16::from_be_bytes([g, h]);
            sequences.find(|sequence| fits && *sequence == number)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::frame;

    fn probe(v6: bool, protocol: Protocol) -> Probe {
        let (from, to) = match v6 {
            true => ("fd00::4", "fd01::5"),
            false => ("10.0.0.4", "10.1.0.5"),
        };
        Probe {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            protocol,
            id: 61_234,
        }
    }

    /// What the other side sends: our frame turned round, and changed.
    fn turned(probe: &Probe, sequence: u16, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut frame = frame(probe, [2; 6], sequence).unwrap();
        let (at, length) = if probe.to.is_ipv6() {
            (22, 16)
        } else {
            (26, 4)
        };
        let (head, tail) = frame.split_at_mut(at + length);
        head[at..].swap_with_slice(&mut tail[..length]);
        change(&mut tail[length..]);
        frame
    }

    fn tcp(probe: &Probe, sequence: u16, flags: u8) -> Vec<u8> {
        turned(probe, sequence, |upper| {
            let (ports, rest) = upper.split_at_mut(4);
            ports.rotate_left(2);
            let number = initial(probe.id, sequence).wrapping_add(1);
            rest[4..8].copy_from_slice(&number.to_be_bytes());
            rest[9] = flags;
        })
    }

    #[test]
    fn answers_of_tcp() {
        for v6 in [false, true] {
            let probe = probe(v6, Protocol::Tcp { port: 443 });
            let of = |frame: &[u8]| answer(&probe, frame, 1..10);
            assert_eq!(of(&tcp(&probe, 3, 0x12)), Some((Answer::Reply, 3)));
            assert_eq!(of(&tcp(&probe, 4, 0x14)), Some((Answer::Refused, 4)));
            // Of a try that was not made, data of a connection, another's.
            assert_eq!(of(&tcp(&probe, 10, 0x12)), None);
            assert_eq!(of(&tcp(&probe, 3, 0x10)), None);
            let other = Probe {
                id: 61_235,
                ..probe
            };
            assert_eq!(of(&tcp(&other, 3, 0x12)), None);
            assert_eq!(of(&frame(&probe, [2; 6], 3).unwrap()), None);
        }
    }

    #[test]
    fn answers_of_icmp() {
        for (v6, reply) in [(false, 0), (true, 129)] {
            let probe = probe(v6, Protocol::Icmp);
            let echo = turned(&probe, 5, |upper| upper[0] = reply);
            assert_eq!(answer(&probe, &echo, 1..10), Some((Answer::Reply, 5)));
            assert_eq!(answer(&probe, &echo, 6..10), None);
            let other = Probe { id: 7, ..probe };
            assert_eq!(answer(&other, &echo, 1..10), None);
        }
    }

    #[test]
    fn errors_quote_the_probe() {
        for v6 in [false, true] {
            for protocol in [Protocol::Tcp { port: 443 }, Protocol::Icmp] {
                let probe = probe(v6, protocol);
                let sent = frame(&probe, [2; 6], 6).unwrap();
                let quote = &sent[ETHERNET..];
                let mut error = vec![0; 12];
                let upper = [&[if v6 { 1 } else { 3 }, 1, 0, 0, 0, 0, 0, 0][..], quote].concat();
                let router: IpAddr;
                if v6 {
                    router = "fd00::1".parse().unwrap();
                    error.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                    error.extend((upper.len() as u16).to_be_bytes());
                    error.extend([58, 64]);
                    error.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
                    error.extend("fd00::4".parse::<std::net::Ipv6Addr>().unwrap().octets());
                } else {
                    router = "10.0.0.1".parse().unwrap();
                    error.extend([0x08, 0, 0x45, 0]);
                    error.extend((20 + upper.len() as u16).to_be_bytes());
                    error.extend([0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 4]);
                }
                error.extend(&upper);
                let kind = upper[0];
                let wanted = Answer::Error {
                    from: router,
                    kind,
                    code: 1,
                };
                assert_eq!(
                    answer(&probe, &error, 1..10),
                    Some((wanted, 6)),
                    "{probe:?}"
                );
                let other = Probe { id: 9, ..probe };
                assert_eq!(answer(&other, &error, 1..10), None);
                for cut in 0..error.len() {
                    // Never a panic; a quote of eight bytes is enough.
                    let _ = answer(&probe, &error[..cut], 1..10);
                }
            }
        }
    }
}
