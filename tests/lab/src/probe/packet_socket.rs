//! AF_PACKET: sends frames as they are, and sees every frame that arrives on a device.

use std::{
    io::Read,
    io::Write,
    mem::MaybeUninit,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Netns;

/// How long past its deadline a reader may go on reading what was queued before.
const DRAIN: Duration = Duration::from_millis(100);

/// A packet socket on one device of a namespace.
pub struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// Sees what arrives from now on; frames that the namespace itself sends are left out.
    pub fn open(netns: &Netns, device: &str) -> Result<Self> {
        netns
            .enter(|| Self::open_here(device))?
            .with_context(|| format!("a packet socket on {device} in {}", netns.name()))
    }

    fn open_here(device: &str) -> Result<Self> {
        let index = if_nametoindex(device).context("looking up the device")?;
        let all = u16::to_be(libc::ETH_P_ALL as u16);
        // Protocol 0 first: between socket and bind nothing of another device may come in.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        // SAFETY: the closure fills the storage with a valid sockaddr_ll and sets its length;
        // sockaddr_storage is large enough and aligned for every address type.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_ll>();
                address.write(libc::sockaddr_ll {
                    sll_family: libc::AF_PACKET as u16,
                    sll_protocol: all,
                    sll_ifindex: index.cast_signed(),
                    ..std::mem::zeroed()
                });
                *length = size_of::<libc::sockaddr_ll>() as u32;
                Ok(())
            })?
        };
        socket.bind(&address)?;
        ignore_outgoing(&socket)?;
        // Bursts must not be lost here, where they are counted.
        socket.set_recv_buffer_size(4 << 20)?;
        Ok(Self { socket })
    }

    /// Room for what is not read yet, whatever the system's limit is.
    pub fn set_buffer(&self, bytes: usize) -> Result<()> {
        set_receive_buffer(&self.socket, bytes).context("setting a receive buffer")
    }

    /// How many frames found no room since this was asked last.
    pub fn missed(&self) -> Result<u64> {
        statistics(&self.socket)
            .map(|(_, dropped)| dropped.into())
            .context("reading a packet socket's statistics")
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        (&self.socket).write_all(frame).context("sending a frame")
    }

    /// The first frame for which `wanted` says something, within `patience`.
    pub fn find<T>(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.each(patience, |frame| {
            found = wanted(frame);
            found.is_some()
        })?;
        Ok(found)
    }

    /// How many frames within `patience` are `wanted`.
    pub fn count(&self, patience: Duration, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<u64> {
        let mut count = 0;
        self.each(patience, |frame| {
            count += u64::from(wanted(frame));
            false
        })?;
        Ok(count)
    }

    fn each(&self, patience: Duration, mut stop: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        // What is queued by then is still read, though not for ever: others may keep sending.
        let last = deadline + DRAIN;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            self.socket.set_nonblocking(left.is_zero())?;
            // A timeout of zero would mean for ever.
            let timeout = left.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(timeout))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) if stop(&buffer[..length]) => break,
                Ok(_) if now > last => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if left.is_zero() {
                        break;
                    }
                }
                Err(error) => return Err(error).context("reading frames"),
            }
        }
        self.socket
            .set_nonblocking(false)
            .context("making a socket blocking again")
    }
}

/// `PACKET_IGNORE_OUTGOING` (Linux 4.20), which socket2 does not know.
fn ignore_outgoing(socket: &Socket) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the pointer and length describe one int that outlives
    // the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// `SO_RCVBUFFORCE`.
fn set_receive_buffer(socket: &Socket, bytes: usize) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open, and the pointer and length describe one int that outlives
    // the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// `PACKET_STATISTICS`: packets seen and packets dropped since the last call.
fn statistics(socket: &Socket) -> std::io::Result<(u32, u32)> {
    use std::os::fd::AsRawFd;
    let mut out = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = size_of_val(&out) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointers are to a tpacket_stats and its length, both
    // of which outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut out).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok((out.tp_packets, out.tp_drops))
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Reads one datagram into a fresh buffer.
pub(crate) fn receive(socket: &Socket) -> std::io::Result<(Vec<u8>, SockAddr)> {
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
    let (length, from) = socket.recv_from(&mut buffer)?;
    // SAFETY: the kernel has written the first `length` bytes.
    let bytes = buffer[..length]
        .iter()
        .map(|byte| unsafe { byte.assume_init() })
        .collect();
    Ok((bytes, from))
}
