//! Devices, routes and neighbours, asked of the kernel by rtnetlink.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const HEADER: usize = 16;
/// `struct ifinfomsg`, `struct ifaddrmsg`, `struct rtmsg` and `struct ndmsg`.
const IFINFO: usize = 16;
const IFADDR: usize = 8;
const RTMSG: usize = 12;
const NDMSG: usize = 12;
/// Not among the constants of libc.
const VETH_INFO_PEER: u16 = 1;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A socket in the network namespace of the thread that opened it, wherever it is used.
pub(crate) struct Rtnl {
    socket: Socket,
    sequence: u32,
}

/// A device, as far as frames through it need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    /// Ethernet only.
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: u32,
}

/// Where packets to an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) ifindex: u32,
    /// The router, or the address itself.
    pub(crate) next_hop: IpAddr,
    /// Less than the device's where the route says so, or an ICMP error did.
    pub(crate) mtu: Option<u32>,
    /// Not to this host, not to many.
    pub(crate) unicast: bool,
}

/// A neighbour whose MAC address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) mac: [u8; 6],
    /// Nothing has confirmed it for a while.
    pub(crate) stale: bool,
}

impl Rtnl {
    pub(crate) fn open() -> io::Result<Self> {
        Self::of(NETLINK_ROUTE)
    }

    /// For another protocol of netlink.
    pub(crate) fn of(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends one request: the payloads of all answers.
    pub(crate) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        payload: &[u8],
    ) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = vec![0; HEADER];
        message.extend(payload);
        let length = message.len() as u32;
        let mut header = NetlinkBuffer::new(&mut message);
        header.set_length(length);
        header.set_message_type(kind);
        // A dump ends by itself, anything else with an acknowledgement.
        let ends = if flags == NLM_F_DUMP { 0 } else { NLM_F_ACK };
        header.set_flags(NLM_F_REQUEST | flags | ends);
        header.set_sequence_number(self.sequence);
        self.socket.send(&message, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
                let length = message.length() as usize;
                let payload = rest.get(HEADER..length).unwrap_or_default();
                if message.sequence_number() == self.sequence {
                    match message.message_type() {
                        NLMSG_DONE => return Ok(answers),
                        NLMSG_ERROR => {
                            match payload.first_chunk().map(|c| i32::from_ne_bytes(*c)) {
                                Some(0) => return Ok(answers),
                                code => {
                                    return Err(io::Error::from_raw_os_error(
                                        -code.unwrap_or(-libc::EIO),
                                    ));
                                }
                            }
                        }
                        _ => answers.push(payload.to_vec()),
                    }
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    /// The device that has an address of this host.
    pub(crate) fn device_of(&mut self, address: IpAddr) -> io::Result<Option<u32>> {
        let mut request = [0; IFADDR];
        request[0] = family(address);
        let answers = self.ask(libc::RTM_GETADDR, NLM_F_DUMP, &request)?;
        Ok(answers.iter().find_map(|answer| {
            let (head, attributes) = answer.split_at_checked(IFADDR)?;
            // On a point-to-point device `IFA_ADDRESS` is the peer's.
            let own = find(attributes, libc::IFA_LOCAL).or(find(attributes, libc::IFA_ADDRESS))?;
            (ip(own)? == address).then(|| number(head.get(4..)?))?
        }))
    }

    pub(crate) fn link(&mut self, ifindex: u32) -> io::Result<Link> {
        let mut request = [0; IFINFO];
        request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        let answers = self.ask(libc::RTM_GETLINK, 0, &request)?;
        let link = answers.first().and_then(|answer| {
            let attributes = answer.get(IFINFO..)?;
            let name = find(attributes, libc::IFLA_IFNAME)?;
            let name = name.split(|byte| *byte == 0).next()?;
            Some(Link {
                ifindex,
                name: String::from_utf8_lossy(name).into_owned(),
                mac: find(attributes, libc::IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()),
                mtu: find(attributes, libc::IFLA_MTU).and_then(number)?,
            })
        });
        link.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How packets go from an address of this host to another.
    pub(crate) fn route(&mut self, from: IpAddr, to: IpAddr) -> io::Result<Route> {
        let (source, destination) = (octets(from), octets(to));
        let mut request = vec![0; RTMSG];
        request[0] = family(to);
        request[1] = (destination.len() * 8) as u8;
        request[2] = (source.len() * 8) as u8;
        request.extend(attribute(libc::RTA_DST, &destination));
        request.extend(attribute(libc::RTA_SRC, &source));
        let answers = self.ask(libc::RTM_GETROUTE, 0, &request)?;
        let route = answers.first().and_then(|answer| {
            let (head, attributes) = answer.split_at_checked(RTMSG)?;
            let gateway = find(attributes, libc::RTA_GATEWAY).or_else(|| {
                // `struct rtvia`: a family, then the address.
                find(attributes, RTA_VIA).and_then(|via| via.get(2..))
            });
            let metrics = find(attributes, libc::RTA_METRICS);
            Some(Route {
                ifindex: find(attributes, libc::RTA_OIF).and_then(number)?,
                next_hop: gateway.and_then(ip).unwrap_or(to),
                mtu: metrics.and_then(|all| find(all, RTAX_MTU)).and_then(number),
                unicast: *head.get(7)? == libc::RTN_UNICAST,
            })
        });
        route.ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// What the kernel knows of a neighbour; it asks nobody.
    pub(crate) fn neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
    ) -> io::Result<Option<Neighbour>> {
        let mut request = vec![0; NDMSG];
        request[0] = family(address);
        request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        request.extend(attribute(libc::NDA_DST, &octets(address)));
        let answers = match self.ask(libc::RTM_GETNEIGH, 0, &request) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            answers => answers?,
        };
        Ok(answers.first().and_then(|answer| {
            let (head, attributes) = answer.split_at_checked(NDMSG)?;
            let state = u16::from_ne_bytes(*head.get(8..)?.first_chunk()?);
            let confirmed = libc::NUD_REACHABLE | libc::NUD_PERMANENT | libc::NUD_NOARP;
            let valid = confirmed | libc::NUD_STALE | libc::NUD_DELAY | libc::NUD_PROBE;
            (state & valid != 0).then_some(())?;
            Some(Neighbour {
                mac: find(attributes, libc::NDA_LLADDR)?.try_into().ok()?,
                stale: state & confirmed == 0,
            })
        }))
    }

    /// Makes a veth pair: one end here, the other in the network namespace `elsewhere`, or here, too.
    pub(crate) fn create_veth(
        &mut self,
        near: &str,
        far: &str,
        elsewhere: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let name = |name: &str| attribute(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        let mut peer = vec![0; IFINFO];
        peer.extend(name(far));
        if let Some(elsewhere) = elsewhere {
            let namespace = elsewhere.as_raw_fd().to_ne_bytes();
            peer.extend(attribute(libc::IFLA_NET_NS_FD, &namespace));
        }
        let data = attribute(VETH_INFO_PEER | NLA_F_NESTED, &peer);
        let mut info = attribute(libc::IFLA_INFO_KIND, b"veth");
        info.extend(attribute(libc::IFLA_INFO_DATA | NLA_F_NESTED, &data));
        let mut request = vec![0; IFINFO];
        request.extend(name(near));
        request.extend(attribute(libc::IFLA_LINKINFO | NLA_F_NESTED, &info));
        self.ask(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &request)
            .map(drop)
    }

    pub(crate) fn delete(&mut self, ifindex: u32) -> io::Result<()> {
        let mut request = [0; IFINFO];
        request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        self.ask(libc::RTM_DELLINK, 0, &request).map(drop)
    }
}

/// Tells when neighbours, routes or devices change.
pub(crate) struct Changes(Socket);

impl Changes {
    pub(crate) fn watch() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_NEIGH
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE;
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups as u32))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Whether there was any since the last call.
    pub(crate) fn any(&mut self) -> bool {
        let mut any = false;
        let mut buffer = Vec::with_capacity(16 * 1024);
        loop {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Ok(_) => any = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return any,
                // More changed than the socket held: something did.
                Err(_) => return true,
            }
        }
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into())
}

pub(crate) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_its_address_and_a_route_to_itself() {
        let mut rtnl = Rtnl::open().unwrap();
        let address = "127.0.0.1".parse().unwrap();
        assert_eq!(rtnl.device_of(address).unwrap(), Some(1));
        assert_eq!(rtnl.device_of("192.0.2.77".parse().unwrap()).unwrap(), None);
        let route = rtnl.route(address, address).unwrap();
        assert!(!route.unicast && route.ifindex == 1, "{route:?}");
        assert_eq!(rtnl.link(1).unwrap().name, "lo");
        assert_eq!(
            rtnl.neighbour(1, "127.0.0.99".parse().unwrap()).unwrap(),
            None
        );
        assert!(rtnl.link(0x7fff_fff0).is_err());
    }
}
