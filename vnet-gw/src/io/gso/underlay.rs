//! The underlay as sockets of the kernel.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use socket2::Socket;
use vnet_gw_core::sa::Encapsulation;

use super::{
    path::Paths,
    receive::{Kind, Receiver},
    send::{MESSAGES, Message, OLD_MAX_SEGMENTS, Queue},
    socket,
    transmit::transmit,
};
use crate::io::{
    IkeSockets, NAT_PORT, OpenError, Outgoing, PathId, Poll, Ready, Received, SendFailure,
    Underlay, sockopt, token,
};

/// The sockets of one public address.
struct Local {
    address: IpAddr,
    udp: Arc<UdpSocket>,
    raw: Socket,
    /// What may have something to read.
    udp_ready: bool,
    raw_ready: bool,
}

impl Local {
    fn socket(&self, kind: Kind) -> BorrowedFd<'_> {
        match kind {
            Kind::Udp => self.udp.as_fd(),
            Kind::Raw => self.raw.as_fd(),
        }
    }

    fn ready_mut(&mut self, kind: Kind) -> &mut bool {
        match kind {
            Kind::Udp => &mut self.udp_ready,
            Kind::Raw => &mut self.raw_ready,
        }
    }
}

/// Sockets, buffers to receive into and to send from.
pub(in crate::io) struct Sockets {
    locals: Vec<Local>,
    ike: Arc<IkeSockets>,
    paths: Paths,
    queue: Queue,
    receiver: Receiver,
    /// Which socket's turn it is.
    turn: usize,
}

impl Sockets {
    pub(in crate::io) fn new() -> Self {
        Self {
            locals: Vec::new(),
            ike: Arc::default(),
            paths: Paths::default(),
            queue: Queue::new(),
            receiver: Receiver::new(),
            turn: 0,
        }
    }
}

impl Underlay for Sockets {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        for local in &mut self.locals {
            poll.watch(local.udp.as_fd())?;
            poll.watch(local.raw.as_fd())?;
        }
        Ok(())
    }

    fn ready(&mut self, ready: &Ready) {
        for local in &mut self.locals {
            local.udp_ready |= ready.contains(token(&*local.udp));
            local.raw_ready |= ready.contains(token(&local.raw));
        }
    }

    fn configure(&mut self, addresses: &[IpAddr]) -> Result<(), OpenError> {
        self.locals.retain(|local| {
            let stays = addresses.contains(&local.address);
            if !stays {
                self.ike.remove(local.address);
            }
            stays
        });
        // All are tried; the first failure is told.
        let mut result = Ok(());
        for &address in addresses {
            if self.locals.iter().any(|local| local.address == address) {
                continue;
            }
            let opened = socket::udp(address).and_then(|udp| Ok((udp, socket::raw(address)?)));
            match opened {
                Ok((udp, raw)) => {
                    self.ike.insert(address, udp.clone());
                    self.locals.push(Local {
                        address,
                        udp,
                        raw,
                        udp_ready: true,
                        raw_ready: true,
                    });
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
        self.receiver.clear();
        let sockets = self.locals.len() * 2;
        for _ in 0..sockets {
            let at = self.turn % sockets;
            self.turn = at + 1;
            let kind = [Kind::Udp, Kind::Raw][at % 2];
            let local = &mut self.locals[at / 2];
            if !*local.ready_mut(kind) {
                continue;
            }
            let address = SocketAddr::new(local.address, NAT_PORT);
            *local.ready_mut(kind) = self.receiver.receive(&local.socket(kind), address, kind)?;
            let received = self.receiver.received();
            if !received.datagrams.is_empty() {
                break;
            }
        }
        Ok(self.receiver.received())
    }

    fn has_more(&self) -> bool {
        self.locals
            .iter()
            .any(|local| local.udp_ready || local.raw_ready)
    }

    fn path(&mut self, encapsulation: &Encapsulation) -> PathId {
        self.paths.add(encapsulation)
    }

    fn forget(&mut self, path: PathId) {
        self.paths.remove(path);
    }

    fn mtu(&mut self, path: PathId) -> Option<u16> {
        self.paths.get(path)?.mtu().ok()
    }

    fn slot(&mut self, to: &Outgoing, length: usize) -> Option<&mut [u8]> {
        self.queue.slot(to, length)
    }

    fn commit(&mut self, length: usize) {
        let path = self.queue.path().and_then(|path| self.paths.get(path));
        self.queue.commit(length, path);
    }

    fn pending(&self) -> usize {
        self.queue.pending()
    }

    fn flush(&mut self, failed: &mut dyn FnMut(SendFailure)) {
        let (arena, messages) = self.queue.messages();
        if messages.is_empty() {
            return;
        }
        // A call is for one socket; a socket's order stays what it was. Most often there is one.
        let mut done = [false; MESSAGES];
        let mut fewer = false;
        for begin in 0..messages.len() {
            if done[begin] {
                continue;
            }
            let Some(path) = self.paths.get(messages[begin].to.path) else {
                continue;
            };
            let (address, kind) = (path.local, path.kind);
            let whole = messages[begin].to.dont_fragment;
            let mut batch: [&Message; MESSAGES] = [&messages[begin]; MESSAGES];
            let mut count = 0;
            for (message, done) in messages.iter().zip(&mut done).skip(begin) {
                let mine = self.paths.get(message.to.path).is_some_and(|path| {
                    path.local == address && path.kind == kind && message.to.dont_fragment == whole
                });
                if mine && !*done {
                    *done = true;
                    batch[count] = message;
                    count += 1;
                }
            }
            let batch = &batch[..count];
            let Some(local) = self.locals.iter().find(|local| local.address == address) else {
                for message in batch {
                    failed(SendFailure {
                        path: message.to.path,
                        packets: message.segments(),
                        error: io::ErrorKind::AddrNotAvailable.into(),
                    });
                }
                continue;
            };
            let socket = local.socket(kind);
            let paths = &mut self.paths;
            if whole {
                fewer |= transmit(socket, arena, batch, paths, failed).fewer_segments;
                continue;
            }
            let sent = sockopt::fragmenting(&socket, address.is_ipv6(), || {
                transmit(socket, arena, batch, paths, failed);
                Ok(())
            });
            if let Err(error) = sent {
                log::warn!("changing the fragmentation of a socket of {address}: {error}");
            }
        }
        if fewer {
            self.queue.max_segments = OLD_MAX_SEGMENTS;
        }
        self.queue.clear();
    }
}
