//! The headers in front of ESP: Ethernet, IP, and UDP where it is encapsulated (RFC 3948).

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use vnet_gw_core::{packet::checksum, sa::Encapsulation};

use crate::io::{NAT_PORT, Source};

pub(super) const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// The longest of all.
pub(super) const LONGEST: usize = ETHERNET + IPV6 + UDP;

const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ESP: u8 = 50;
const ETH_P_IP: [u8; 2] = [0x08, 0x00];
const ETH_P_IPV6: [u8; 2] = [0x86, 0xdd];
const TTL: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;

/// The headers of one path, but for lengths, checksums, TOS and identification.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: [u8; LONGEST],
    length: usize,
    v6: bool,
    udp: bool,
}

/// What differs between packets of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable {
    /// TOS or traffic class (RFC 6040 is the caller's).
    pub(super) tos: u8,
    pub(super) dont_fragment: bool,
    /// IPv4's identification, of meaning only where the packet may be fragmented.
    pub(super) identification: u16,
}

impl Template {
    /// `None` for addresses of two families.
    pub(super) fn new(encapsulation: &Encapsulation) -> Option<Self> {
        let (local, remote, ports) = match *encapsulation {
            Encapsulation::Esp { local, remote } => (local, remote, None),
            Encapsulation::Udp { local, remote } => {
                (local.ip(), remote.ip(), Some((local.port(), remote.port())))
            }
        };
        let mut bytes = [0; LONGEST];
        let protocol = if ports.is_some() {
            PROTOCOL_UDP
        } else {
            PROTOCOL_ESP
        };
        let ip = &mut bytes[ETHERNET..];
        let v6 = match (local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                ip[0] = 0x45;
                ip[8] = TTL;
                ip[9] = protocol;
                ip[12..16].copy_from_slice(&local.octets());
                ip[16..20].copy_from_slice(&remote.octets());
                bytes[12..14].copy_from_slice(&ETH_P_IP);
                false
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                ip[0] = 0x60;
                ip[6] = protocol;
                ip[7] = TTL;
                ip[8..24].copy_from_slice(&local.octets());
                ip[24..40].copy_from_slice(&remote.octets());
                bytes[12..14].copy_from_slice(&ETH_P_IPV6);
                true
            }
            _ => return None,
        };
        let mut length = ETHERNET + if v6 { IPV6 } else { IPV4 };
        if let Some((local, remote)) = ports {
            bytes[length..length + 2].copy_from_slice(&local.to_be_bytes());
            bytes[length + 2..length + 4].copy_from_slice(&remote.to_be_bytes());
            length += UDP;
        }
        Some(Self {
            bytes,
            length,
            v6,
            udp: ports.is_some(),
        })
    }

    pub(super) fn set_macs(&mut self, from: [u8; 6], to: [u8; 6]) {
        self.bytes[..6].copy_from_slice(&to);
        self.bytes[6..12].copy_from_slice(&from);
    }

    /// With Ethernet.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Writes the headers in front of an ESP packet: `packet` has room for them and ends with it.
    pub(super) fn write(&self, packet: &mut [u8], variable: Variable) {
        let Some((head, esp)) = packet.split_at_mut_checked(self.length) else {
            return;
        };
        head.copy_from_slice(&self.bytes[..self.length]);
        let (ip, upper) = head[ETHERNET..].split_at_mut(if self.v6 { IPV6 } else { IPV4 });
        let upper_length = (upper.len() + esp.len()) as u16;
        if self.v6 {
            ip[0] |= variable.tos >> 4;
            ip[1] = variable.tos << 4;
            ip[4..6].copy_from_slice(&upper_length.to_be_bytes());
        } else {
            ip[1] = variable.tos;
            ip[2..4].copy_from_slice(&(upper_length + IPV4 as u16).to_be_bytes());
            if variable.dont_fragment {
                ip[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
            } else {
                ip[4..6].copy_from_slice(&variable.identification.to_be_bytes());
            }
            let sum = checksum::finish(checksum::sum(ip));
            ip[10..12].copy_from_slice(&sum);
        }
        if self.udp {
            upper[4..6].copy_from_slice(&upper_length.to_be_bytes());
            // Over IPv4 there is none (RFC 3948, 2.1); over IPv6 routers and hosts ask for one.
            if self.v6 {
                let length = usize::from(upper_length);
                let sum = checksum::pseudo_header(ip, true, PROTOCOL_UDP, length)
                    + checksum::sum(upper)
                    + checksum::sum(esp);
                let sum = checksum::finish_transport(sum);
                upper[6..8].copy_from_slice(&sum);
            }
        }
    }
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The payload of UDP, or what follows the IP header.
    pub(super) range: Range<usize>,
    pub(super) from: Source,
    pub(super) tos: u8,
}

/// Reads a frame that the program in the kernel sent here: ESP, bare or in UDP to port 4500.
/// `None` for anything else, and where a length says more than there is.
pub(super) fn parse(frame: &[u8]) -> Option<Parsed> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let (tos, protocol, local, remote, header, length): (u8, u8, IpAddr, IpAddr, usize, usize) =
        match ethernet[12..] {
            [0x08, 0x00] => {
                let ip: &[u8; IPV4] = packet.first_chunk()?;
                let fragment = u16::from_be_bytes([ip[6], ip[7]]);
                if ip[0] != 0x45 || fragment & FRAGMENT != 0 {
                    return None;
                }
                let (remote, local) = (&ip[12..16], &ip[16..20]);
                let length = u16::from_be_bytes([ip[2], ip[3]]);
                (
                    ip[1],
                    ip[9],
                    <[u8; 4]>::try_from(local).ok()?.into(),
                    <[u8; 4]>::try_from(remote).ok()?.into(),
                    IPV4,
                    usize::from(length),
                )
            }
            [0x86, 0xdd] => {
                let ip: &[u8; IPV6] = packet.first_chunk()?;
                if ip[0] >> 4 != 6 {
                    return None;
                }
                let (remote, local) = (&ip[8..24], &ip[24..40]);
                let length = u16::from_be_bytes([ip[4], ip[5]]);
                (
                    ip[0] << 4 | ip[1] >> 4,
                    ip[6],
                    <[u8; 16]>::try_from(local).ok()?.into(),
                    <[u8; 16]>::try_from(remote).ok()?.into(),
                    IPV6,
                    IPV6 + usize::from(length),
                )
            }
            _ => return None,
        };
    // Behind the packet there may be padding.
    let upper = packet.get(header..length)?;
    let start = ETHERNET + header;
    let (range, from) = match protocol {
        PROTOCOL_ESP => (start..start + upper.len(), Source::Esp { local, remote }),
        PROTOCOL_UDP => {
            let udp: &[u8; UDP] = upper.first_chunk()?;
            let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
            let length = usize::from(word(4));
            if word(2) != NAT_PORT || length < UDP || length > upper.len() {
                return None;
            }
            let from = Source::Udp {
                local: SocketAddr::new(local, NAT_PORT),
                remote: SocketAddr::new(remote, word(0)),
            };
            (start + UDP..start + length, from)
        }
        _ => return None,
    };
    Some(Parsed { range, from, tos })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESP: [u8; 33] = [0x5a; 33];

    fn encapsulations() -> [Encapsulation; 4] {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b) = (address("192.0.2.1"), address("198.51.100.2"));
        let (c, d) = (address("2001:db8::1"), address("2001:db8:1::2"));
        let udp = |local, remote| Encapsulation::Udp {
            local: SocketAddr::new(local, 4500),
            remote: SocketAddr::new(remote, 4500),
        };
        [
            Encapsulation::Esp {
                local: a,
                remote: b,
            },
            udp(a, b),
            Encapsulation::Esp {
                local: c,
                remote: d,
            },
            udp(c, d),
        ]
    }

    fn packet(encapsulation: &Encapsulation, variable: Variable) -> Vec<u8> {
        let mut template = Template::new(encapsulation).unwrap();
        template.set_macs([2; 6], [4; 6]);
        let mut packet = [&vec![0xee; template.length()][..], &ESP].concat();
        template.write(&mut packet, variable);
        packet
    }

    #[test]
    fn what_is_written_is_read_at_the_other_end() {
        for encapsulation in encapsulations() {
            for tos in [0, 0xb9] {
                let mut bytes = packet(
                    &encapsulation,
                    Variable {
                        tos,
                        dont_fragment: true,
                        identification: 7,
                    },
                );
                assert_eq!(bytes[..12], [4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2]);
                // Ethernet pads what is short.
                bytes.extend([0; 9]);
                let parsed = parse(&bytes).unwrap();
                assert_eq!(bytes[parsed.range.clone()], ESP, "{encapsulation:?}");
                assert_eq!(parsed.tos, tos);
                let expected = match encapsulation {
                    Encapsulation::Esp { local, remote } => Source::Esp {
                        local: remote,
                        remote: local,
                    },
                    Encapsulation::Udp { local, remote } => Source::Udp {
                        local: remote,
                        remote: local,
                    },
                };
                assert_eq!(parsed.from, expected);
                for length in 0..bytes.len() - 9 {
                    assert_eq!(parse(&bytes[..length]), None, "cut to {length}");
                }
            }
        }
    }

    #[test]
    fn checksums_hold() {
        let variable = Variable {
            tos: 3,
            dont_fragment: false,
            identification: 0xbeef,
        };
        for encapsulation in encapsulations() {
            let bytes = packet(&encapsulation, variable);
            if bytes[14] == 0x45 {
                assert!(checksum::is_right(checksum::sum(&bytes[14..34])));
                assert_eq!(bytes[18..22], [0xbe, 0xef, 0, 0]);
                if bytes[23] == PROTOCOL_UDP {
                    assert_eq!(bytes[40..42], [0, 0]);
                }
            } else if bytes[20] == PROTOCOL_UDP {
                let udp = &bytes[54..];
                let sum = checksum::pseudo_header(&bytes[14..], true, PROTOCOL_UDP, udp.len());
                assert_ne!(udp[6..8], [0, 0]);
                assert!(checksum::is_right(sum + checksum::sum(udp)));
            }
        }
    }

    #[test]
    fn dont_fragment_leaves_no_identification() {
        let variable = Variable {
            tos: 0,
            dont_fragment: true,
            identification: 0xbeef,
        };
        let bytes = packet(&encapsulations()[0], variable);
        assert_eq!(bytes[18..22], [0, 0, 0x40, 0]);
    }

    #[test]
    fn fragments_options_and_other_ports_are_not_taken() {
        let variable = Variable {
            tos: 0,
            dont_fragment: false,
            identification: 1,
        };
        let good = packet(&encapsulations()[1], variable);
        for (at, value) in [
            (14, 0x46),
            (20, 0x20),
            (21, 0x01),
            (23, 6),
            (37, 0x95),
            (12, 0x09),
        ] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(parse(&bytes), None, "byte {at}");
        }
        assert!(
            Template::new(&Encapsulation::Esp {
                local: "192.0.2.1".parse().unwrap(),
                remote: "2001:db8::1".parse().unwrap(),
            })
            .is_none()
        );
    }
}
