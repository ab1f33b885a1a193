//! The addresses of this host, and word of their coming and going (rtnetlink).

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
};

use netlink_packet_core::NLM_F_DUMP;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tokio::io::unix::AsyncFd;

use crate::io::rtnl::{Rtnl, find};

/// `struct ifaddrmsg`
const IFADDRMSG: usize = 8;

/// Of the calling thread's network namespace, as far as a socket can be bound to them.
pub fn local_addresses() -> io::Result<BTreeSet<IpAddr>> {
    let answers = Rtnl::open()?.ask(libc::RTM_GETADDR, NLM_F_DUMP, &[0; IFADDRMSG])?;
    Ok(answers
        .iter()
        .filter_map(|message| address(message))
        .collect())
}

/// `struct ifaddrmsg` and attributes.
fn address(message: &[u8]) -> Option<IpAddr> {
    let (header, attributes) = message.split_at_checked(IFADDRMSG)?;
    let [family, _, flags, ..] = *header else {
        return None;
    };
    // An IPv6 address that is being checked for duplicates, or is one.
    if u32::from(flags) & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) != 0 {
        return None;
    }
    // Of a point-to-point link, IFA_ADDRESS is the other end's.
    let value =
        find(attributes, libc::IFA_LOCAL).or_else(|| find(attributes, libc::IFA_ADDRESS))?;
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Notices that addresses came or went.
pub(super) struct AddressWatch(AsyncFd<OwnedFd>);

impl AddressWatch {
    /// Must be called within a runtime, on a thread of the namespace that is watched.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        let groups = libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        bind(
            socket.as_raw_fd(),
            &NetlinkAddr::new(0, groups.cast_unsigned()),
        )?;
        // SAFETY: the descriptor is open, belongs to the registered value, and is never replaced in it.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// Returns when something changed. Dropped half-way it forgets nothing.
    pub(super) async fn changed(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [0; 8192];
        loop {
            // Which address it was does not matter: all are read again.
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                // Some were lost, so there were some.
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::rtnl::attribute;

    #[test]
    fn the_loopbacks_addresses_are_there() {
        let addresses = local_addresses().unwrap();
        assert!(addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn an_address_that_cannot_be_bound_is_left_out() {
        let message = |flags: u32| {
            let mut message = vec![libc::AF_INET6 as u8, 64, flags as u8, 0, 2, 0, 0, 0];
            message.extend(attribute(libc::IFA_ADDRESS, &Ipv6Addr::LOCALHOST.octets()));
            message
        };
        assert_eq!(
            address(&message(libc::IFA_F_PERMANENT)),
            Some(IpAddr::V6(Ipv6Addr::LOCALHOST))
        );
        assert_eq!(address(&message(libc::IFA_F_TENTATIVE)), None);
        // Of a point-to-point link the local end counts.
        let mut message = vec![libc::AF_INET as u8, 32, 0, 0, 2, 0, 0, 0];
        message.extend(attribute(libc::IFA_ADDRESS, &[10, 0, 0, 2]));
        message.extend(attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]));
        assert_eq!(address(&message), Some(Ipv4Addr::new(10, 0, 0, 1).into()));
    }
}
