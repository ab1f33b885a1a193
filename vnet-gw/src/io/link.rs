//! Settings of a network device, by rtnetlink, in the calling thread's network namespace.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const HEADER: usize = 16;
/// Not among the constants of libc.
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const NLA_F_NESTED: u16 = 1 << 15;

/// Makes `device` a port that only our programs use: a MAC, an MTU, a queue, no address of its own,
/// no ARP; and brings it up.
pub(crate) fn prepare(device: &str, mac: [u8; 6], mtu: u32, queue: u32) -> io::Result<()> {
    // Before it is up, or the kernel makes a link-local address.
    let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    match std::fs::write(path, "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => result?,
    }
    let mut attributes = attribute(libc::IFLA_ADDRESS, &mac);
    attributes.extend(attribute(libc::IFLA_MTU, &mtu.to_ne_bytes()));
    attributes.extend(attribute(libc::IFLA_TXQLEN, &queue.to_ne_bytes()));
    set(device, 0, 0, &attributes)?;
    no_link_local(device)?;
    up(device)
}

/// Makes `device` an end that the host's network stack reads: it has IPv6, but makes itself no
/// address and asks for no neighbours. Brings it up.
pub(crate) fn prepare_for_host(device: &str, mtu: u32) -> io::Result<()> {
    no_link_local(device)?;
    set(device, 0, 0, &attribute(libc::IFLA_MTU, &mtu.to_ne_bytes()))?;
    up(device)
}

/// Gives a device another MAC address.
pub(crate) fn set_mac(device: &str, mac: [u8; 6]) -> io::Result<()> {
    set(device, 0, 0, &attribute(libc::IFLA_ADDRESS, &mac))
}

/// Gives a device another MTU.
pub(crate) fn set_mtu(device: &str, mtu: u32) -> io::Result<()> {
    set(device, 0, 0, &attribute(libc::IFLA_MTU, &mtu.to_ne_bytes()))
}

/// Brings a device up, without ARP.
pub(crate) fn up(device: &str) -> io::Result<()> {
    let flags = (libc::IFF_UP | libc::IFF_NOARP) as u32;
    set(device, flags, flags, &[])
}

fn no_link_local(device: &str) -> io::Result<()> {
    let mode = attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    let inet6 = attribute(libc::AF_INET6 as u16 | NLA_F_NESTED, &mode);
    let family = attribute(libc::IFLA_AF_SPEC | NLA_F_NESTED, &inet6);
    match set(device, 0, 0, &family) {
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
        result => result,
    }
}

/// `RTM_NEWLINK` on a device that exists.
fn set(device: &str, flags: u32, change: u32, attributes: &[u8]) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(device)?;
    // `struct ifinfomsg`
    let mut payload = vec![0; 4];
    payload.extend(index.to_ne_bytes());
    payload.extend(flags.to_ne_bytes());
    payload.extend(change.to_ne_bytes());
    payload.extend(attributes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = vec![0; HEADER];
    message.extend(payload);
    let length = message.len() as u32;
    let mut header = NetlinkBuffer::new(&mut message);
    header.set_length(length);
    header.set_message_type(libc::RTM_NEWLINK);
    header.set_flags(NLM_F_REQUEST | NLM_F_ACK);
    header.set_sequence_number(1);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkBuffer::new_checked(answer.as_slice()).map_err(io::Error::other)?;
    if answer.message_type() != NLMSG_ERROR {
        return Err(io::Error::other("the kernel did not acknowledge"));
    }
    let code = answer
        .payload()
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// One attribute, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
