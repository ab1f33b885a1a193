//! The sockets of one public address.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::io::{NAT_PORT, OpenError, sockopt};

/// Asked of the kernel for each direction: some milliseconds at 10 Gbit/s.
const BUFFER: i32 = 8 << 20;

/// UDP port 4500 of `address`, for ESP in UDP and for IKE.
pub(super) fn udp(address: IpAddr) -> Result<Arc<UdpSocket>, OpenError> {
    let failed = |doing| {
        move |source| OpenError::Socket {
            address,
            doing,
            source,
        }
    };
    let open = || {
        let socket = Socket::new(
            Domain::for_address(SocketAddr::new(address, 0)),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        common(&socket, address)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Kernels before 5.0 have neither; without it each datagram comes alone.
        let _ = sockopt::set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        io::Result::Ok(socket)
    };
    let socket = open().map_err(failed("opening a UDP socket for"))?;
    socket
        .bind(&SocketAddr::new(address, NAT_PORT).into())
        .map_err(failed("binding UDP port 4500 of"))?;
    Ok(Arc::new(socket.into()))
}

/// Protocol 50 of `address`.
pub(super) fn raw(address: IpAddr) -> Result<Socket, OpenError> {
    let failed = |doing| {
        move |source| OpenError::Socket {
            address,
            doing,
            source,
        }
    };
    let open = || {
        let socket = Socket::new(
            Domain::for_address(SocketAddr::new(address, 0)),
            Type::RAW,
            Some(Protocol::from(libc::IPPROTO_ESP)),
        )?;
        common(&socket, address)?;
        io::Result::Ok(socket)
    };
    let socket = open().map_err(failed("opening a raw socket for"))?;
    socket
        .bind(&SockAddr::from(SocketAddr::new(address, 0)))
        .map_err(failed("binding protocol 50 of"))?;
    Ok(socket)
}

fn common(socket: &Socket, address: IpAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    for (force, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        sockopt::set(socket, libc::SOL_SOCKET, force, BUFFER)
            .or_else(|_| sockopt::set(socket, libc::SOL_SOCKET, plain, BUFFER))?;
    }
    // An address that is not there yet (or still tentative) can be bound: what is sent meanwhile
    // is refused, and once it is there all works.
    match address {
        IpAddr::V4(_) => {
            sockopt::set(socket, libc::IPPROTO_IP, libc::IP_FREEBIND, 1)?;
            sockopt::set(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        }
        IpAddr::V6(_) => {
            sockopt::set(socket, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)?;
            sockopt::set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        }
    }
    sockopt::dont_fragment(socket, address.is_ipv6(), true)
}
