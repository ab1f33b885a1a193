//! Many datagrams by one call, each with room for as many as were received as one.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

use super::{address::RawAddress, control::Control};
use crate::io::{Datagram, Source};

/// The largest datagram, and what the kernel joins.
const BUFFER: usize = 64 << 10;
/// Buffers of a call where datagrams come joined: half a megabyte, which stays in the cache.
const FEW: usize = 8;
/// Buffers of a call where they come one by one.
const MANY: usize = 64;

/// Buffers to receive into.
pub(super) struct Receiver {
    arena: Box<[u8]>,
    datagrams: Vec<Datagram>,
    /// Whether the next call is for [`MANY`].
    many: bool,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Udp,
    /// Protocol 50; packets of IPv4 come with their IP header.
    Raw,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            arena: vec![0; MANY * BUFFER].into_boxed_slice(),
            datagrams: Vec::with_capacity(MANY),
            many: false,
        }
    }

    /// What the last [`receive`](Self::receive) brought.
    pub(super) fn received(&mut self) -> crate::io::Received<'_> {
        crate::io::Received {
            arena: &mut self.arena,
            datagrams: &self.datagrams,
        }
    }

    /// Forgets what the last one brought.
    pub(super) fn clear(&mut self) {
        self.datagrams.clear();
    }

    /// Takes what is there; false once the socket has nothing more.
    pub(super) fn receive(
        &mut self,
        socket: &impl AsFd,
        local: SocketAddr,
        kind: Kind,
    ) -> io::Result<bool> {
        if self.many {
            self.receive_up_to::<MANY>(socket, local, kind)
        } else {
            self.receive_up_to::<FEW>(socket, local, kind)
        }
    }

    /// Into the first `N` buffers. The headers of so many are cleared for each call, which is why
    /// `N` is not always [`MANY`].
    fn receive_up_to<const N: usize>(
        &mut self,
        socket: &impl AsFd,
        local: SocketAddr,
        kind: Kind,
    ) -> io::Result<bool> {
        self.clear();
        let mut names = [RawAddress::EMPTY; N];
        let mut controls = [Control::EMPTY; N];
        // SAFETY: integers and pointers; all zeroes is a value of both.
        let (mut parts, mut messages): ([libc::iovec; N], [libc::mmsghdr; N]) =
            unsafe { std::mem::zeroed() };
        let base = self.arena.as_mut_ptr();
        for i in 0..N {
            parts[i] = libc::iovec {
                // Within the arena, which has MANY buffers.
                iov_base: base.wrapping_add(i * BUFFER).cast(),
                iov_len: BUFFER,
            };
            let header = &mut messages[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[i];
            header.msg_iovlen = 1;
            header.msg_control = controls[i].as_mut_ptr();
            header.msg_controllen = Control::capacity() as _;
        }
        // SAFETY: `N` messages are set up above; what their pointers lead to, names, parts,
        // controls and disjoint pieces of the arena, lives until after the call and is not
        // referred to otherwise meanwhile.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                messages.as_mut_ptr(),
                N as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(false),
                    io::ErrorKind::Interrupted => Ok(true),
                    _ => Err(error),
                };
            }
        };
        let mut joined = false;
        for (i, message) in messages.iter().enumerate().take(count) {
            let came = controls[i].parse(message.msg_hdr.msg_controllen);
            let length = (message.msg_len as usize).min(BUFFER);
            let mut range = i * BUFFER..i * BUFFER + length;
            let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let Some(remote) = names[i].get().filter(|_| !truncated) else {
                continue;
            };
            let from = match kind {
                Kind::Udp => Source::Udp { local, remote },
                Kind::Raw => {
                    if local.is_ipv4() {
                        let header = self.arena.get(range.start).map_or(0, |b| b & 15);
                        range.start = (range.start + usize::from(header) * 4).min(range.end);
                    }
                    Source::Esp {
                        local: local.ip(),
                        remote: remote.ip(),
                    }
                }
            };
            if range.is_empty() {
                continue;
            }
            joined |= came.segment != 0;
            let segment = match came.segment {
                0 => range.len(),
                segment => segment,
            };
            self.datagrams.push(Datagram {
                range,
                segment,
                from,
                tos: came.tos,
            });
        }
        let all = count == N;
        self.many = all && !joined;
        Ok(all)
    }
}
