//! Asking the kernel by netlink, and the devices it tells of.
//!
//! /sys/class/net would show the network namespace that was current when /sys was mounted.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::io::rtnl::Rtnl;
pub(super) use crate::io::rtnl::{attribute, find, number};

/// Not among the constants of libc.
const IFLA_PARENT_DEV_NAME: u16 = 56;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// Sends one request and returns the payloads of the answers.
pub(super) fn request(
    protocol: isize,
    kind: u16,
    dump: bool,
    payload: &[u8],
) -> io::Result<Vec<Vec<u8>>> {
    let flags = if dump { NLM_F_DUMP } else { 0 };
    Rtnl::of(protocol)?.ask(kind, flags, payload)
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
