//! A frame's headers, read in the plainest way there is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vnet_gw_common::verdict::Reason;

pub(super) const ETH: usize = 14;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// Extension headers that are followed.
const MOST_EXTENSIONS: usize = 8;

pub(super) fn byte(frame: &[u8], at: usize) -> Option<u8> {
    frame.get(at).copied()
}

pub(super) fn word(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn double_word(frame: &[u8], at: usize) -> Option<u32> {
    let bytes = frame.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Takes off priority tags. An error: the reasons that it may be refused for.
pub(super) fn untag(frame: &[u8]) -> Result<Vec<u8>, &'static [Reason]> {
    let mut frame = frame.to_vec();
    let is_tag = |frame: &[u8]| matches!(word(frame, 12), Some(0x8100 | 0x88a8));
    for _ in 0..2 {
        if !is_tag(&frame) {
            break;
        }
        match word(&frame, ETH) {
            Some(tag) if tag & 0xfff == 0 && frame.len() >= ETH + 4 => drop(frame.drain(12..16)),
            Some(_) if frame.len() >= ETH + 4 => return Err(&[Reason::Vlan]),
            // The kernel takes the second tag off together with the first.
            _ => return Err(&[Reason::Truncated, Reason::Vlan]),
        }
    }
    if is_tag(&frame) {
        return Err(&[Reason::Vlan]);
    }
    Ok(frame)
}

/// An IP header that holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ttl: u8,
    /// Bytes at layer 3.
    pub(super) len: usize,
    pub(super) protocol: u8,
    /// What is behind the header.
    pub(super) at: usize,
    /// IPv4: identification, and the word with flags and offset.
    fragment: (u16, u16),
}

impl Ip {
    pub(super) fn v6(&self) -> bool {
        self.source.is_ipv6()
    }

    pub(super) fn read4(frame: &[u8]) -> Result<Self, Reason> {
        let header = frame.get(ETH..ETH + 20).ok_or(Reason::Truncated)?;
        let address = |at| Ipv4Addr::from_bits(double_word(header, at).unwrap_or(0)).into();
        let there = frame.len() - ETH;
        let header_len = usize::from(header[0] & 0xf) * 4;
        if header[0] >> 4 != 4 || header_len < 20 {
            return Err(Reason::BadHeader);
        }
        let len = match word(header, 2) {
            Some(0) | None => there,
            Some(len) => len.into(),
        };
        if len < header_len {
            return Err(Reason::BadHeader);
        }
        if len > there {
            return Err(Reason::Truncated);
        }
        Ok(Self {
            source: address(12),
            destination: address(16),
            ttl: header[8],
            len,
            protocol: header[9],
            at: ETH + header_len,
            fragment: (
                word(header, 4).unwrap_or(0),
                word(header, 6).unwrap_or(0) & 0x3fff,
            ),
        })
    }

    pub(super) fn read6(frame: &[u8]) -> Result<Self, Reason> {
        let header = frame.get(ETH..ETH + 40).ok_or(Reason::Truncated)?;
        let address = |at: usize| -> IpAddr {
            let bytes: [u8; 16] = header[at..at + 16].try_into().unwrap_or([0; 16]);
            Ipv6Addr::from(bytes).into()
        };
        if header[0] >> 4 != 6 {
            return Err(Reason::BadHeader);
        }
        let there = frame.len() - ETH;
        let len = match word(header, 4) {
            Some(0) | None => there,
            Some(payload) => usize::from(payload) + 40,
        };
        if len > there {
            return Err(Reason::Truncated);
        }
        Ok(Self {
            source: address(8),
            destination: address(24),
            ttl: header[7],
            len,
            protocol: header[6],
            at: ETH + 40,
            fragment: (0, 0),
        })
    }
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// The first fragment and the others, of the datagram with that number.
    First(u32),
    Later(u32),
}

/// What is behind the IP header and its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upper {
    pub(super) part: Part,
    /// Protocol and offset; `None` of a later fragment, and behind too many or cut extensions.
    pub(super) found: Option<(u8, usize)>,
}

/// `authenticated`: also what is behind an authentication header.
pub(super) fn upper(frame: &[u8], ip: &Ip, authenticated: bool) -> Upper {
    if !ip.v6() {
        let (id, word) = ip.fragment;
        let id = u32::from(id) << 16 | u32::from(ip.protocol);
        let (part, found) = match (word & 0x1fff, word & 0x2000) {
            (0, 0) => (Part::Whole, Some((ip.protocol, ip.at))),
            (0, _) => (Part::First(id), Some((ip.protocol, ip.at))),
            _ => (Part::Later(id), None),
        };
        return Upper { part, found };
    }
    let (mut protocol, mut at) = (ip.protocol, ip.at);
    let mut part = Part::Whole;
    for _ in 0..MOST_EXTENSIONS {
        let extension = matches!(protocol, 0 | 43 | FRAGMENT | 60 | 135)
            || protocol == AUTHENTICATION && authenticated;
        if !extension {
            let found = Some((protocol, at));
            return Upper { part, found };
        }
        let Some(head) = frame.get(at..at + 4) else {
            break;
        };
        let mut length = (usize::from(head[1]) + 1) * 8;
        if protocol == AUTHENTICATION {
            length = (usize::from(head[1]) + 2) * 4;
        }
        if protocol == FRAGMENT {
            length = 8;
            let offset = u16::from_be_bytes([head[2], head[3]]);
            // Whether an error is due does not depend on it.
            let id = match double_word(frame, at + 4) {
                Some(id) => id,
                None if authenticated => 0,
                None => {
                    part = Part::Whole;
                    break;
                }
            };
            part = match (offset & 0xfff8, offset & 1) {
                (0, 0) => Part::Whole,
                (0, _) => Part::First(id),
                _ => Part::Later(id),
            };
            if offset & 0xfff8 != 0 {
                break;
            }
        }
        protocol = head[0];
        at += length;
    }
    Upper { part, found: None }
}

/// What rules and flows ask for, of a packet or of the first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layer4 {
    pub(super) protocol: u8,
    /// Tells flows apart, with what stands for ports.
    pub(super) class: u8,
    pub(super) ports: (u16, u16),
    pub(super) error: bool,
}

const ECHO: u8 = 3;
const OTHER_ICMP: u8 = 4;

/// `None` where it ends before that.
pub(super) fn layer4(frame: &[u8], v6: bool, (protocol, at): (u8, usize)) -> Option<Layer4> {
    let of = |class, ports, error| Layer4 {
        protocol,
        class,
        ports,
        error,
    };
    let own_icmp = if v6 { ICMPV6 } else { ICMP };
    match protocol {
        TCP | UDP => {
            let ports = (word(frame, at)?, word(frame, at + 2)?);
            if protocol == TCP {
                byte(frame, at + 13)?;
            }
            Some(of(protocol, ports, false))
        }
        number if number == own_icmp => {
            let head = word(frame, at)?;
            let kind = head >> 8;
            let error = if v6 {
                kind < 128
            } else {
                matches!(kind, 3 | 4 | 5 | 11 | 12)
            };
            if error {
                return Some(of(OTHER_ICMP, (head, head), true));
            }
            let id = word(frame, at + 4)?;
            let echo = if v6 {
                matches!(kind, 128 | 129)
            } else {
                matches!(kind, 0 | 8)
            };
            Some(if echo {
                of(ECHO, (id, id), false)
            } else {
                of(OTHER_ICMP, (head, head), false)
            })
        }
        _ => Some(of(0, (protocol.into(), protocol.into()), false)),
    }
}

/// Whether an ICMP error about the packet is due (RFC 1122, section 3.2.2; RFC 4443, section 2.4).
pub(super) fn error_is_due(frame: &[u8], ip: &Ip) -> bool {
    if ip.v6() {
        let Some((protocol, at)) = upper(frame, ip, true).found else {
            return false;
        };
        return protocol != ICMPV6 || byte(frame, at).is_some_and(|kind| kind >= 128);
    }
    let later = ip.fragment.1 & 0x1fff != 0;
    let kind = byte(frame, ip.at);
    let error = kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12));
    !(later || ip.protocol == ICMP && error)
}
