//! One AF_XDP socket: tokens go in and come out, and the kernel is called only where it asks.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    area::{Area, FRAME, Frame},
    ring::{Consumer, Producer},
};
use crate::io::sockopt;

/// Entries of each ring, and so the frames that may be on their way each way.
pub(super) const RING: u32 = 1024;
/// Bytes of packets on their way out.
const BUFFER: i32 = 8 << 20;
/// Calls into the kernel for one flush: each sends at least some packets (32 in copy mode).
const CALLS: u32 = 2 * RING / 32;

/// Who copies packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The device writes into the area.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

/// What came in.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) frame: Frame,
    /// Where the packet stands in it.
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// A socket on one receive queue of one device.
#[derive(Debug)]
pub(super) struct Socket {
    area: Arc<Area>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    receive: Consumer<libc::xdp_desc>,
    transmit: Producer<libc::xdp_desc>,
    /// Frames that the kernel has to receive into, and to send.
    filled: usize,
    sending: usize,
    mode: Mode,
    fd: OwnedFd,
}

/// What could not be done to open a socket.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub(super) struct Failed {
    pub(super) doing: &'static str,
    pub(super) source: io::Error,
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> Failed {
    move |source| Failed { doing, source }
}

impl Socket {
    /// Opens and binds one in the calling thread's network namespace.
    pub(super) fn bind(
        area: &Arc<Area>,
        ifindex: u32,
        queue: u32,
        mode: Mode,
    ) -> Result<Self, Failed> {
        let fd = open().map_err(failed("opening an AF_XDP socket"))?;
        // Copies that the kernel makes to send count as the socket's.
        sockopt::set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER)
            .map_err(failed("sizing its buffer"))?;
        let memory = libc::xdp_umem_reg {
            addr: area.address(),
            len: area.length(),
            chunk_size: FRAME as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set(&fd, libc::XDP_UMEM_REG, &memory).map_err(failed("registering packet memory"))?;
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set(&fd, ring, &RING).map_err(failed("sizing a ring"))?;
        }
        let offsets = offsets(&fd).map_err(failed("asking for the layout of rings"))?;
        let mapping = failed("mapping a ring");
        let rings = || {
            Ok((
                Producer::map(
                    fd.as_fd(),
                    libc::XDP_UMEM_PGOFF_FILL_RING,
                    &offsets.fr,
                    RING,
                )?,
                Consumer::map(
                    fd.as_fd(),
                    libc::XDP_UMEM_PGOFF_COMPLETION_RING,
                    &offsets.cr,
                    RING,
                )?,
                Consumer::map(
                    fd.as_fd(),
                    libc::XDP_PGOFF_RX_RING as u64,
                    &offsets.rx,
                    RING,
                )?,
                Producer::map(
                    fd.as_fd(),
                    libc::XDP_PGOFF_TX_RING as u64,
                    &offsets.tx,
                    RING,
                )?,
            ))
        };
        let (fill, completion, receive, transmit) = rings().map_err(mapping)?;
        let mode_flag = match mode {
            Mode::ZeroCopy => libc::XDP_ZEROCOPY,
            Mode::Copy => libc::XDP_COPY,
        };
        bind(&fd, ifindex, queue, mode_flag | libc::XDP_USE_NEED_WAKEUP).map_err(failed(
            match mode {
                Mode::ZeroCopy => "binding with zero-copy",
                Mode::Copy => "binding",
            },
        ))?;
        Ok(Self {
            area: area.clone(),
            fill,
            completion,
            receive,
            transmit,
            filled: 0,
            sending: 0,
            mode,
            fd,
        })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Frames that the kernel holds.
    pub(super) fn held(&self) -> usize {
        self.filled + self.sending
    }

    /// Gives the kernel frames to receive into, as many as it takes.
    pub(super) fn fill(&mut self, frames: &mut Vec<Frame>) {
        let before = self.filled;
        while self.fill.has_room() {
            let Some(frame) = frames.pop() else { break };
            // There is room, as just seen; the token ends here, and `receive` makes it anew.
            if self.fill.push(Area::offset(&frame, 0)) {
                self.filled += 1;
            }
        }
        if self.filled == before {
            return;
        }
        self.fill.submit();
        if self.fill.needs_wakeup() {
            // SAFETY: no buffer, no address: the call only wakes the device's receiver.
            unsafe {
                libc::recvfrom(
                    self.fd.as_raw_fd(),
                    std::ptr::null_mut(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                )
            };
        }
    }

    /// The next packet that has come in.
    pub(super) fn receive(&mut self) -> Option<Received> {
        let entry = self.receive.pop()?;
        self.receive.release();
        // SAFETY: an entry of the receive ring names a frame that `fill` gave up, once.
        let (frame, offset) = unsafe { self.area.returned(entry.addr) }?;
        self.filled -= 1;
        Some(Received {
            frame,
            offset,
            length: entry.len as usize,
        })
    }

    /// Queues a packet: `length` bytes of the frame from `offset` on. It goes out with
    /// [`Self::flush`]. A frame for which there is no room is given back.
    pub(super) fn send(&mut self, frame: Frame, offset: usize, length: usize) -> Option<Frame> {
        if offset + length > FRAME || length == 0 || self.sending >= RING as usize {
            return Some(frame);
        }
        let entry = libc::xdp_desc {
            addr: Area::offset(&frame, offset),
            len: length as u32,
            options: 0,
        };
        // As many frames as places are under way at most, so that completions always fit, too.
        if !self.transmit.push(entry) {
            return Some(frame);
        }
        self.sending += 1;
        None
    }

    /// Has the kernel send what is queued. Frames that are sent go to `free`.
    ///
    /// # Errors
    /// What the device says, such as `ENETDOWN`; what is queued stays so.
    pub(super) fn flush(&mut self, free: &mut Vec<Frame>) -> io::Result<()> {
        self.transmit.submit();
        self.complete(free);
        for _ in 0..CALLS {
            if self.transmit.waiting() == 0 || !self.transmit.needs_wakeup() {
                return Ok(());
            }
            let result = self.wake_sender();
            self.complete(free);
            match result {
                Ok(()) => {}
                Err(error) => match error.raw_os_error() {
                    // More is left than one call takes, or memory or the device's queue is short for the
                    // moment.
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn wake_sender(&self) -> io::Result<()> {
        // SAFETY: no buffer, no address: the call only has what is queued sent.
        let result = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                std::ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null(),
                0,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Takes back the frames that are sent.
    pub(super) fn complete(&mut self, free: &mut Vec<Frame>) {
        let before = self.sending;
        while let Some(at) = self.completion.pop() {
            // SAFETY: an entry of the completion ring names a frame that `send` gave up, once.
            if let Some((frame, _)) = unsafe { self.area.returned(at) } {
                free.push(frame);
            }
            self.sending -= 1;
        }
        if self.sending != before {
            self.completion.release();
        }
    }

    /// Whether packets are queued that the kernel has not taken.
    pub(super) fn is_sending(&self) -> bool {
        self.sending > 0
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a live value, made of integers.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn offsets(socket: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: integers; all zeroes is a value of it.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a live value, made of integers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // Kernels before 5.4 have no flags, and no `need_wakeup`.
    if length as usize != size_of::<libc::xdp_mmap_offsets>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(offsets)
}

/// How long a queue may be busy because of a socket that was closed: the kernel takes it out of the
/// queue in the background, a grace period later.
const RELEASE: Duration = Duration::from_millis(300);

fn bind(socket: &OwnedFd, ifindex: u32, queue: u32, flags: u16) -> io::Result<()> {
    let deadline = Instant::now() + RELEASE;
    loop {
        match bind_once(socket, ifindex, queue, flags) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn bind_once(socket: &OwnedFd, ifindex: u32, queue: u32, flags: u16) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    // SAFETY: the pointer and the length are those of a live `sockaddr_xdp`.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
