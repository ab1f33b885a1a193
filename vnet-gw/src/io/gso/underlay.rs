//! The underlay as sockets of the kernel.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, UdpSocket},
    os::fd::AsFd,
    sync::Arc,
};

use socket2::Socket;
use vnet_gw_core::sa::Encapsulation;

use super::socket;
use crate::io::{
    IkeSockets, OpenError, Outgoing, PathId, Poll, Ready, Received, SendFailure, Underlay,
};

/// The sockets of one public address.
struct Local {
    udp: Arc<UdpSocket>,
    raw: Socket,
}

/// Sockets, buffers to receive into and to send from.
pub(in crate::io) struct Sockets {
    locals: BTreeMap<IpAddr, Local>,
    ike: Arc<IkeSockets>,
}

impl Sockets {
    pub(in crate::io) fn new() -> Self {
        Self {
            locals: BTreeMap::new(),
            ike: Arc::default(),
        }
    }
}

impl Underlay for Sockets {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        for local in self.locals.values() {
            poll.watch(local.udp.as_fd())?;
            poll.watch(local.raw.as_fd())?;
        }
        Ok(())
    }

    fn ready(&mut self, _ready: &Ready) {}

    fn configure(&mut self, addresses: &[IpAddr]) -> Result<(), OpenError> {
        self.locals.retain(|address, _| {
            let stays = addresses.contains(address);
            if !stays {
                self.ike.remove(*address);
            }
            stays
        });
        // All are tried; the first failure is told.
        let mut result = Ok(());
        for &address in addresses {
            if self.locals.contains_key(&address) {
                continue;
            }
            let opened = socket::udp(address).and_then(|udp| Ok((udp, socket::raw(address)?)));
            match opened {
                Ok((udp, raw)) => {
                    self.ike.insert(address, udp.clone());
                    self.locals.insert(address, Local { udp, raw });
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn ike_sockets(&self) -> &Arc<IkeSockets> {
        &self.ike
    }

    fn receive(&mut self) -> io::Result<Received<'_>> {
        Ok(Received {
            arena: &mut [],
            datagrams: &[],
        })
    }

    fn has_more(&self) -> bool {
        false
    }

    fn path(&mut self, _encapsulation: &Encapsulation) -> PathId {
        PathId(0)
    }

    fn forget(&mut self, _path: PathId) {}

    fn mtu(&mut self, _path: PathId) -> Option<u16> {
        None
    }

    fn slot(&mut self, _to: &Outgoing, _length: usize) -> Option<&mut [u8]> {
        None
    }

    fn commit(&mut self, _length: usize) {}

    fn pending(&self) -> usize {
        0
    }

    fn flush(&mut self, _failed: &mut dyn FnMut(SendFailure)) {}
}
