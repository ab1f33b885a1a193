//! The gateway's port as a veth pair: the data path has the near end, and a socket reads and writes
//! at the far end.
//!
//! The far end stands in a network namespace of its own that nobody else knows: it goes, and the pair
//! with it, when the last descriptor of it is closed, however the process ends.

use std::{
    io,
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};
use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};
use vnet_gw_core::{packet::VirtioHeader, sa::TUNNEL_MTU};

use super::{
    area::{Area, FRAME, Frame},
    headers::ETHERNET,
    program::{Kind, Program},
    socket::{Mode, RING, Socket},
};
use crate::io::{
    InnerPacket, Poll, Port, Ready, SuperLimits,
    ethtool::{self, Offload as Feature},
    link,
    rtnl::Rtnl,
    token,
};

/// The far end's name, where there is no other device but the loopback.
const FAR: &str = "port";
/// Nobody sees the far end's address: the data path sends to the gateway's.
const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// Packets that may wait in a queue of the near end; veth itself has none.
const QUEUE: u32 = 1000;
/// Frames are filled again this many at a time.
const BATCH: usize = 64;

/// A pair that lives as long as this does.
pub(in crate::io) struct Pair {
    mac: [u8; 6],
    area: Arc<Area>,
    socket: Socket,
    /// To write into.
    free: Vec<Frame>,
    /// Read: to be filled again.
    spare: Vec<Frame>,
    /// What was read last.
    current: Option<Frame>,
    ready: bool,
    _program: Program,
    near: u32,
    rtnl: Rtnl,
    _namespace: OwnedFd,
}

impl Pair {
    /// Makes the pair, its near end in the calling thread's network namespace. What failed, in words,
    /// where it did.
    pub(super) fn create(device: &str, mac: [u8; 6]) -> Result<Self, (&'static str, io::Error)> {
        let namespace = new_namespace().map_err(|error| ("making a network namespace", error))?;
        let mut rtnl = Rtnl::open().map_err(|error| ("opening rtnetlink", error))?;
        rtnl.create_veth(device, FAR, Some(namespace.as_fd()))
            .map_err(|error| ("making the veth pair", error))?;
        let near = nix::net::if_::if_nametoindex(device)
            .map_err(|errno| ("looking for it", errno.into()))?;
        let made = Self::connect(device, mac, &namespace);
        let (program, area, socket, free, spare) = match made {
            Ok(made) => made,
            Err(error) => {
                // The namespace would take it along, but not at once.
                let _ = rtnl.delete(near);
                return Err(error);
            }
        };
        Ok(Self {
            mac,
            area,
            socket,
            free,
            spare,
            current: None,
            ready: true,
            _program: program,
            near,
            rtnl,
            _namespace: namespace,
        })
    }

    #[expect(clippy::type_complexity, reason = "taken apart at once")]
    fn connect(
        device: &str,
        mac: [u8; 6],
        namespace: &OwnedFd,
    ) -> Result<(Program, Arc<Area>, Socket, Vec<Frame>, Vec<Frame>), (&'static str, io::Error)>
    {
        let (area, mut free) =
            Area::new(2 * RING).map_err(|error| ("mapping packet memory", error))?;
        let mut spare = free.split_off(RING as usize);
        // What the data path hands over is cut into packets and summed before it crosses: a socket
        // sees neither super-packets nor partial checksums. First of all: with a program at the far
        // end some of these cannot be changed any more.
        for (feature, on) in [
            (Feature::TransmitChecksum, false),
            (Feature::TcpSegmentation, false),
            (Feature::GenericSegmentation, false),
            (Feature::GenericReceive, true),
        ] {
            ethtool::set(device, feature, on).map_err(|error| ("setting its offloads", error))?;
        }
        let mtu = u32::from(TUNNEL_MTU);
        let (program, socket) = within(namespace, || {
            // Single packets with their checksums: so the near end may put them together again.
            for feature in [Feature::TransmitChecksum, Feature::TcpSegmentation] {
                ethtool::set(FAR, feature, false)
                    .map_err(|error| ("switching off an offload of its far end", error))?;
            }
            link::prepare(FAR, FAR_MAC, mtu, QUEUE)
                .map_err(|error| ("configuring its far end", error))?;
            let ifindex = nix::net::if_::if_nametoindex(FAR)
                .map_err(|errno| ("looking for its far end", errno.into()))?;
            let mut program = Program::attach(Kind::Port, ifindex, false)
                .map_err(|error| ("at its far end", io::Error::other(error)))?;
            let socket = Socket::bind(&area, ifindex, 0, Mode::Copy)
                .map_err(|error| ("at its far end", io::Error::other(error)))?;
            program
                .set_socket(0, &socket)
                .map_err(|error| ("at its far end", io::Error::other(error)))?;
            Ok((program, socket))
        })
        .map_err(|error| ("entering its network namespace", error))??;
        let mut socket = socket;
        socket.fill(&mut spare);
        link::prepare(device, mac, mtu, QUEUE).map_err(|error| ("configuring it", error))?;
        Ok((program, area, socket, free, spare))
    }

    /// Frames that are nowhere; 0 but for a defect.
    pub(super) fn missing(&self) -> usize {
        let here = self.free.len() + self.spare.len() + usize::from(self.current.is_some());
        2 * RING as usize - self.socket.held() - here
    }

    /// A frame to write into.
    fn room(&mut self) -> Option<Frame> {
        if self.free.is_empty() {
            self.socket.complete(&mut self.free);
        }
        self.free.pop()
    }
}

/// A network namespace with nothing in it.
fn new_namespace() -> io::Result<OwnedFd> {
    thread::scope(|scope| {
        let made = scope.spawn(|| -> io::Result<OwnedFd> {
            // Of this thread alone, which ends here.
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
        });
        made.join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// Runs `work` in a thread that is in the namespace; sockets that it opens stay there.
fn within<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            io::Result::Ok(work())
        });
        done.join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// A descriptor that others own.
fn borrowed(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: open as long as the socket.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// The length of the IP packet that begins here, which padding may follow.
fn ip_length(packet: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        Some(usize::from(u16::from_be_bytes(
            *packet.get(at..)?.first_chunk()?,
        )))
    };
    match packet.first()? >> 4 {
        4 => word(2),
        6 => Some(word(4)? + 40),
        _ => None,
    }
}

impl Port for Pair {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        poll.watch(borrowed(&self.socket))
    }

    fn ready(&mut self, ready: &Ready) {
        self.ready |= ready.contains(token(&borrowed(&self.socket)));
    }

    fn read(&mut self) -> io::Result<Option<InnerPacket<'_>>> {
        self.spare.extend(self.current.take());
        if self.spare.len() >= BATCH {
            self.socket.fill(&mut self.spare);
        }
        while self.ready {
            let Some(mut packet) = self.socket.receive() else {
                self.ready = false;
                self.socket.fill(&mut self.spare);
                break;
            };
            let range = self
                .area
                .part(&mut packet.frame, packet.offset, packet.length)
                .and_then(|frame| {
                    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
                    let ip = matches!(ethernet[12..], [0x08, 0x00] | [0x86, 0xdd]);
                    let length = ip_length(packet)?;
                    let ours = ip && ethernet[..6] == self.mac && length <= packet.len();
                    ours.then_some(length)
                });
            let Some(length) = range else {
                self.spare.push(packet.frame);
                continue;
            };
            let start = packet.offset + ETHERNET;
            let frame = self.current.insert(packet.frame);
            let packet = self.area.part(frame, start, length);
            return Ok(packet.map(|packet| InnerPacket {
                offload: VirtioHeader::default(),
                packet,
            }));
        }
        Ok(None)
    }

    fn has_more(&self) -> bool {
        self.ready
    }

    fn write(
        &mut self,
        _offload: &VirtioHeader,
        arena: &[u8],
        parts: &[Range<usize>],
    ) -> io::Result<()> {
        let length = parts.iter().map(ExactSizeIterator::len).sum::<usize>();
        let mut frame = match self.room() {
            Some(frame) => frame,
            None => {
                self.flush()?;
                let none = || io::Error::from_raw_os_error(libc::ENOBUFS);
                self.room().ok_or_else(none)?
            }
        };
        let bytes = self.area.bytes_mut(&mut frame);
        let (head, rest) = bytes.split_at_mut(ETHERNET);
        if length == 0 || length > rest.len() {
            self.free.push(frame);
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let mut at = 0;
        for part in parts {
            let Some(part) = arena.get(part.clone()) else {
                self.free.push(frame);
                return Err(io::ErrorKind::InvalidInput.into());
            };
            rest[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        head[..6].copy_from_slice(&mac_from_u64(FABRIC_MAC));
        head[6..12].copy_from_slice(&self.mac);
        let kind: [u8; 2] = if rest[0] >> 4 == 6 {
            [0x86, 0xdd]
        } else {
            [0x08, 0x00]
        };
        head[12..].copy_from_slice(&kind);
        match self.socket.send(frame, 0, ETHERNET + length) {
            None => Ok(()),
            Some(frame) => {
                self.free.push(frame);
                Err(io::Error::from_raw_os_error(libc::ENOBUFS))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush(&mut self.free)
    }

    fn limits(&self) -> SuperLimits {
        SuperLimits {
            bytes: FRAME - ETHERNET,
            segments: 1,
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let missing = self.missing();
        if missing > 0 {
            log::error!("{missing} frames of the gateway's port were lost");
        }
        debug_assert!(missing == 0 || std::thread::panicking());
        if let Err(error) = self.rtnl.delete(self.near) {
            log::debug!("removing the gateway's port: {error}");
        }
    }
}
