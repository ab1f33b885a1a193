//! Asking the kernel by netlink, and the devices it tells of.
//!
//! /sys/class/net would show the network namespace that was current when /sys was mounted.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const HEADER: usize = 16;
/// Not among the constants of libc.
const IFLA_PARENT_DEV_NAME: u16 = 56;
/// The upper two bits say how the value is written.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// Sends one request and returns the payloads of the answers.
pub(crate) fn request(
    protocol: isize,
    kind: u16,
    dump: bool,
    payload: &[u8],
) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = vec![0; HEADER + payload.len()];
    message[HEADER..].copy_from_slice(payload);
    let length = message.len() as u32;
    let mut header = NetlinkBuffer::new(&mut message);
    header.set_length(length);
    header.set_message_type(kind);
    header.set_flags(if dump {
        NLM_F_REQUEST | NLM_F_DUMP
    } else {
        NLM_F_REQUEST
    });
    header.set_sequence_number(1);
    socket.send(&message, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            let length = message.length() as usize;
            let payload = rest.get(HEADER..length).unwrap_or_default();
            match message.message_type() {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => {
                    let code = payload
                        .first_chunk()
                        .map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => answers.push(payload.to_vec()),
            }
            if !dump {
                return Ok(answers);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// One attribute, padded.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a kind.
pub(crate) fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    while let [low, high, first, second, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([first, second]) & NLA_TYPE_MASK == kind {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

pub(super) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

pub(super) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// What a check needs to know of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) loopback: bool,
    /// `veth`, `tun`, …; physical devices have none.
    pub(super) kind: Option<String>,
    pub(super) parent: bool,
    /// A veth's other end: its interface index there, and our number of that network namespace
    /// (`None`: it is in ours).
    pub(super) peer: Option<(u32, Option<i32>)>,
}

impl Link {
    /// Whether a driver stands behind it.
    pub(super) fn is_physical(&self) -> bool {
        self.parent || (self.kind.is_none() && !self.loopback)
    }
}

/// The devices of the calling thread's network namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let answers = request(NETLINK_ROUTE, libc::RTM_GETLINK, true, &[0; 16])?;
    Ok(answers.iter().filter_map(|message| link(message)).collect())
}

/// `struct ifinfomsg` and attributes.
fn link(message: &[u8]) -> Option<Link> {
    let (header, attributes) = message.split_at_checked(16)?;
    let flags = number(header.get(8..)?)?;
    let value = |kind| find(attributes, kind);
    let peer = value(libc::IFLA_LINK).and_then(number).map(|index| {
        let namespace = value(libc::IFLA_LINK_NETNSID).and_then(number);
        (index, namespace.map(u32::cast_signed))
    });
    let info = value(libc::IFLA_LINKINFO);
    Some(Link {
        ifindex: number(header.get(4..)?)?,
        name: text(value(libc::IFLA_IFNAME)?),
        mtu: value(libc::IFLA_MTU).and_then(number).unwrap_or(0),
        up: flags & libc::IFF_UP as u32 != 0,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        kind: info
            .and_then(|info| find(info, libc::IFLA_INFO_KIND))
            .map(text),
        parent: value(IFLA_PARENT_DEV_NAME).is_some(),
        peer,
    })
}

/// Our number of the network namespace that `fd` is, if it has one.
pub(super) fn namespace_id(fd: i32) -> io::Result<Option<i32>> {
    // `struct rtgenmsg`, padded.
    let mut payload = vec![0; 4];
    payload.extend(attribute(NETNSA_FD, &fd.to_ne_bytes()));
    let answers = request(NETLINK_ROUTE, libc::RTM_GETNSID, false, &payload)?;
    let id = answers
        .first()
        .and_then(|answer| find(answer.get(4..)?, NETNSA_NSID));
    let id = id.and_then(number).map(u32::cast_signed);
    Ok(id.filter(|id| *id >= 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there() {
        let links = links().unwrap();
        let loopback = links.iter().find(|link| link.loopback).unwrap();
        assert_eq!((loopback.name.as_str(), loopback.ifindex), ("lo", 1));
        assert!(!loopback.is_physical());
    }

    #[test]
    fn attributes_are_found_again() {
        let mut bytes = attribute(3, b"abc\0");
        bytes.extend(attribute(7, &9u32.to_ne_bytes()));
        assert_eq!(find(&bytes, 3).map(text).as_deref(), Some("abc"));
        assert_eq!(find(&bytes, 7).and_then(number), Some(9));
        assert_eq!(find(&bytes, 8), None);
        assert_eq!(find(&bytes[..6], 3), None);
    }
}
