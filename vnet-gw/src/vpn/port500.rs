//! The sockets of UDP port 500, one for each public address: what other hosts' addresses are sent
//! does not concern us, and an answer must come from the address that was asked.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    mem::{MaybeUninit, size_of, zeroed},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    ptr::null_mut,
    task::Poll,
};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

/// Where IKE begins (RFC 7296, 2).
pub(super) const PORT: u16 = 500;
/// Datagrams of one socket that are taken in one turn: timers and other sockets come in between.
const BATCH: usize = 32;
/// Longer ones are none of IKE's (RFC 7296, 2: 3,000 bytes should do) and are dropped.
const LONGEST: usize = 8192;
/// Room for a burst of some thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Sockets by their address, and the memory that datagrams are read into.
pub(super) struct Sockets {
    sockets: BTreeMap<IpAddr, UdpSocket>,
    buffers: Box<[u8]>,
}

impl Sockets {
    pub(super) fn new() -> Self {
        Self {
            sockets: BTreeMap::new(),
            buffers: vec![0; BATCH * LONGEST].into_boxed_slice(),
        }
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.sockets.contains_key(&address)
    }

    /// Must be called within a runtime.
    pub(super) fn open(&mut self, address: IpAddr) -> io::Result<()> {
        let socket = UdpSocket::from_std(bind(address)?.into())?;
        self.sockets.insert(address, socket);
        Ok(())
    }

    pub(super) fn close_all_but(&mut self, keep: impl Fn(IpAddr) -> bool) {
        self.sockets.retain(|address, _| keep(*address));
    }

    /// What cannot be sent now is lost, as on any network: IKE sends it again.
    pub(super) fn send(&self, local: IpAddr, remote: SocketAddr, data: &[u8]) -> io::Result<()> {
        let socket = self
            .sockets
            .get(&local)
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.try_send_to(data, remote).map(drop)
    }

    /// Waits until a datagram is there. Dropped half-way it forgets nothing.
    pub(super) async fn readable(&self) {
        poll_fn(|context| {
            let mut ready = false;
            // Every one is asked, so that every one wakes us.
            for socket in self.sockets.values() {
                ready |= socket.poll_recv_ready(context).is_ready();
            }
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Hands a batch of each socket to `take`: local address, sender, datagram. True where a full
    /// batch was read, and more may wait.
    pub(super) fn receive(&mut self, mut take: impl FnMut(IpAddr, SocketAddr, &[u8])) -> bool {
        let Self { sockets, buffers } = self;
        let mut more = false;
        for (address, socket) in sockets {
            let received = socket.try_io(Interest::READABLE, || receive(socket, buffers));
            let senders = match received {
                Ok(senders) => senders,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    // An ICMP error that an earlier datagram of ours met: reading cleared it.
                    log::debug!("port {PORT} of {address}: {error}");
                    more = true;
                    continue;
                }
            };
            more |= senders.len() == BATCH;
            for (buffer, (sender, length)) in buffers.chunks_exact(LONGEST).zip(senders) {
                if let (Some(sender), Some(datagram)) = (sender, buffer.get(..length)) {
                    take(*address, sender, datagram);
                }
            }
        }
        more
    }
}

fn bind(address: IpAddr) -> io::Result<Socket> {
    let at = SocketAddr::new(address, PORT);
    let socket = Socket::new(
        Domain::for_address(at),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Without DF: what is too long for the path is fragmented by the hosts and routers on it, until
    // IKE's own fragmentation (RFC 7383) is agreed upon.
    let (level, option, dont) = match address {
        IpAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        ),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
        ),
    };
    set_option(&socket, level, option, dont)?;
    // The limit of the system holds where we may not go past it; a smaller buffer works, too.
    let length = RECEIVE_BUFFER as libc::c_int;
    if set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, length).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.bind(&SockAddr::from(at))?;
    Ok(socket)
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is live for the call and of the size given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One `recvmmsg(2)`: sender and length of each datagram, which is at its place in `buffers`. No
/// sender where it was cut off.
fn receive(socket: &UdpSocket, buffers: &mut [u8]) -> io::Result<Vec<(Option<SocketAddr>, usize)>> {
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::zeroed() }; BATCH];
    let mut vectors = [libc::iovec {
        iov_base: null_mut(),
        iov_len: LONGEST,
    }; BATCH];
    for (vector, buffer) in vectors.iter_mut().zip(buffers.chunks_exact_mut(LONGEST)) {
        vector.iov_base = buffer.as_mut_ptr().cast();
    }
    // SAFETY: integers and pointers; all zeroes is a value of each.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    for ((message, vector), name) in messages.iter_mut().zip(&mut vectors).zip(&mut names) {
        message.msg_hdr.msg_name = name.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: every header points to a live name and vector of the lengths given, and every vector
    // to its own part of `buffers`, which is borrowed for as long.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            BATCH as libc::c_uint,
            libc::MSG_DONTWAIT,
            null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let taken = messages.iter().zip(&names).take(count);
    Ok(taken
        .map(|(message, name)| {
            let whole = message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            // SAFETY: all zeroes before, and written by the kernel since.
            let name = unsafe { name.assume_init() };
            // SAFETY: the storage has the layout of the kernel's, and as many bytes as it said.
            let name = unsafe { SockAddr::new(storage(name), message.msg_hdr.msg_namelen) };
            (name.as_socket().filter(|_| whole), message.msg_len as usize)
        })
        .collect())
}

fn storage(name: libc::sockaddr_storage) -> SockAddrStorage {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: every byte pattern is a value of this C struct.
    *unsafe { storage.view_as::<libc::sockaddr_storage>() } = name;
    storage
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn datagrams_come_with_their_sender_and_go_from_their_address() {
        for address in [
            IpAddr::V4(Ipv4Addr::new(127, 88, 0, 1)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            let mut sockets = Sockets::new();
            sockets.open(address).unwrap();
            let peer = std::net::UdpSocket::bind((address, 0)).unwrap();
            let here = peer.local_addr().unwrap();
            for byte in 0..40u8 {
                peer.send_to(&[byte; 100], (address, PORT)).unwrap();
            }
            peer.send_to(&[0; LONGEST + 1], (address, PORT)).unwrap();
            let mut seen = Vec::new();
            sockets.readable().await;
            let take = |to: IpAddr, from: SocketAddr, data: &[u8]| {
                assert_eq!((to, from, data.len()), (address, here, 100));
                seen.push(data[0]);
            };
            let mut take = take;
            assert!(sockets.receive(&mut take), "a full batch");
            assert!(!sockets.receive(&mut take));
            // What was too long is not among them.
            assert_eq!(seen, (0..40).collect::<Vec<u8>>());

            sockets.send(address, here, b"answer").unwrap();
            let mut buffer = [0; 16];
            let (length, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"answer");
            assert_eq!(from, SocketAddr::new(address, PORT));
            sockets.close_all_but(|_| false);
            assert!(sockets.send(address, here, b"answer").is_err());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_bound_says_why() {
        let mut sockets = Sockets::new();
        let taken = IpAddr::V4(Ipv4Addr::new(127, 88, 0, 2));
        let _other = std::net::UdpSocket::bind((taken, PORT)).unwrap();
        assert_eq!(
            sockets.open(taken).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
        assert_eq!(
            sockets.open(elsewhere).unwrap_err().kind(),
            io::ErrorKind::AddrNotAvailable
        );
    }
}
