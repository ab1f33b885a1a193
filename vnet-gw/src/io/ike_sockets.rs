//! The UDP sockets of port 4500, for those who send IKE messages through them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
};

/// The port of IKE behind a NAT, and of ESP in UDP (RFC 3948).
pub const NAT_PORT: u16 = 4500;

/// By local address. The worker's thread keeps it up to date; the thread of IKE sends with it. Only
/// configuration and IKE take its lock, never a packet.
#[derive(Debug, Default)]
pub struct IkeSockets(Mutex<BTreeMap<IpAddr, Arc<UdpSocket>>>);

impl IkeSockets {
    pub fn insert(&self, address: IpAddr, socket: Arc<UdpSocket>) {
        self.lock().insert(address, socket);
    }

    pub fn remove(&self, address: IpAddr) {
        self.lock().remove(&address);
    }

    /// Sends a datagram; `data` has its non-ESP marker already, or is a keepalive.
    pub fn send(&self, local: SocketAddr, remote: SocketAddr, data: &[u8]) -> io::Result<()> {
        let socket = self.lock().get(&local.ip()).cloned();
        let socket = socket.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no socket is bound to {}", local.ip()),
            )
        })?;
        match socket.send_to(data, remote) {
            // Messages of IKE may be fragmented by IP where the peer does not know RFC 7383, ESP
            // must not be: the socket's default is for ESP.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                super::sockopt::fragmenting(&*socket, remote.is_ipv6(), || {
                    socket.send_to(data, remote)
                })
            }
            result => result,
        }
        .map(drop)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, Arc<UdpSocket>>> {
        // Nothing that can panic happens under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
