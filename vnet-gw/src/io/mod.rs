//! The worker's I/O engines behind one trait: `gso` (tap and UDP sockets with segmentation
//! offloads) and `xsk` (AF_XDP).
//!
//! An engine is two halves, so that what was received on one can be written to the other without
//! a copy: the [`Port`] is the far side of the gateway's port, where inner packets come and go, and
//! the [`Underlay`] is where ESP does. Both hand out packets as ranges of one arena, which stays as
//! it is until the next call of the same half.
//!
//! Nothing in a half blocks, allocates after its start, or makes a system call for each packet
//! where the kernel takes more than one.

pub(crate) mod ethtool;
mod gso;
mod ike_sockets;
pub(crate) mod link;
mod open;
mod poll;
pub(crate) mod rtnl;
mod sockopt;
pub(crate) mod tun;
mod xsk;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::Arc,
};

use vnet_gw_core::{packet::VirtioHeader, sa::Encapsulation};

pub use ike_sockets::{IkeSockets, NAT_PORT};
pub use open::{Engine, OpenError, open};
pub use poll::{Poll, Ready, Token, token};

/// The most that goes out in one message of many packets. UDP takes 65,507 bytes in one send, but a
/// device only what is shorter than 64 KiB with all its headers: longer ones are cut up before they
/// reach it, which costs half the throughput.
pub const MESSAGE_BYTES: usize = (64 << 10) - 128;

/// The far side of a gateway's port: IP packets, without Ethernet.
pub trait Port: Send {
    /// Has `poll` watch what this half reads from. Called again after a change: what is watched
    /// already is left alone.
    fn register(&mut self, poll: &Poll) -> io::Result<()>;

    /// Notes which of its descriptors became ready.
    fn ready(&mut self, ready: &Ready);

    /// The next packet that the data path handed to the gateway; `None` once nothing is left, until
    /// the next [`ready`](Self::ready).
    fn read(&mut self) -> io::Result<Option<InnerPacket<'_>>>;

    /// Whether [`read`](Self::read) may have more.
    fn has_more(&self) -> bool;

    /// Hands a packet to the data path: the parts, one after another. A super-packet where
    /// `offload` says so. May be put off until [`flush`](Self::flush).
    fn write(
        &mut self,
        offload: &VirtioHeader,
        arena: &[u8],
        parts: &[Range<usize>],
    ) -> io::Result<()>;

    /// Carries out what was put off.
    fn flush(&mut self) -> io::Result<()>;

    /// The largest packet (of one family and flow, with one header) that `write` takes, and how many segments: 1 where
    /// nothing is to be coalesced.
    fn limits(&self) -> SuperLimits;
}

/// A packet, or a super-packet, from the data path.
pub struct InnerPacket<'a> {
    /// Its offsets count from the IP header.
    pub offload: VirtioHeader,
    /// From the first byte of its IP header.
    pub packet: &'a mut [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuperLimits {
    pub bytes: usize,
    pub segments: usize,
}

/// Where ESP comes and goes.
pub trait Underlay: Send {
    /// See [`Port::register`].
    fn register(&mut self, poll: &Poll) -> io::Result<()>;

    /// See [`Port::ready`].
    fn ready(&mut self, ready: &Ready);

    /// The public addresses of the gateway, as they are now: binds what is new, closes what went,
    /// and tries again what could not be bound. [`register`](Self::register) follows.
    fn configure(&mut self, addresses: &[IpAddr]) -> Result<(), OpenError>;

    /// The sockets of port 4500 that [`configure`](Self::configure) keeps: every engine has them,
    /// because IKE goes through the host's stack.
    fn ike_sockets(&self) -> &Arc<IkeSockets>;

    /// Some datagrams from one of the sockets or rings: empty once nothing is left, until the next
    /// [`ready`](Self::ready).
    fn receive(&mut self) -> io::Result<Received<'_>>;

    /// Whether [`receive`](Self::receive) may have more.
    fn has_more(&self) -> bool;

    /// Prepares sending with an encapsulation: headers, next hop. Its number stays valid until
    /// [`forget`](Self::forget).
    fn path(&mut self, encapsulation: &Encapsulation) -> PathId;

    fn forget(&mut self, path: PathId);

    /// What the path takes at once, its own IP header included, as the route and the ICMP errors
    /// that came say now. Makes system calls: not for each packet.
    fn mtu(&mut self, path: PathId) -> Option<u16>;

    /// Room for one ESP packet of at most `length` bytes (from the SPI on). `None`: nothing is
    /// free, so [`flush`](Self::flush) and ask again; if there is still none the packet is lost.
    fn slot(&mut self, to: &Outgoing, length: usize) -> Option<&mut [u8]>;

    /// The first `length` bytes of the slot asked for last are a packet.
    fn commit(&mut self, length: usize);

    /// Bytes that wait for [`flush`](Self::flush).
    fn pending(&self) -> usize;

    /// Sends all. What could not be sent is told to `failed`.
    fn flush(&mut self, failed: &mut dyn FnMut(SendFailure));
}

/// Where a packet is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub path: PathId,
    /// TOS or traffic class of the outer header.
    pub tos: u8,
    /// False: the outer packet may be fragmented on its way.
    pub dont_fragment: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

#[derive(Debug)]
pub struct SendFailure {
    pub path: PathId,
    pub packets: usize,
    pub error: io::Error,
}

impl SendFailure {
    /// The path got narrower: ask for its [`mtu`](Underlay::mtu) again.
    pub fn too_big(&self) -> bool {
        matches!(
            self.error.raw_os_error(),
            Some(libc::EMSGSIZE | libc::EINVAL)
        )
    }
}

/// What one call of [`Underlay::receive`] brought.
pub struct Received<'a> {
    pub arena: &'a mut [u8],
    pub datagrams: &'a [Datagram],
}

/// One datagram, or several of one sender in a row.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// In the arena: the payload of UDP, or what follows the IP header of protocol 50.
    pub range: Range<usize>,
    /// Where several were received as one: the length of each but the last, which may be shorter.
    /// Never 0; at least the length of `range` where it is a single one.
    pub segment: usize,
    pub from: Source,
    /// TOS or traffic class of the outer header.
    pub tos: u8,
}

impl Datagram {
    /// Where in the arena each of them is.
    pub fn packets(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (segment, end) = (self.segment.max(1), self.range.end);
        let starts = self.range.clone().step_by(segment);
        starts.map(move |start| start..(start + segment).min(end))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From and to port 4500: ESP, IKE behind a non-ESP marker, or a keepalive.
    Udp {
        local: SocketAddr,
        remote: SocketAddr,
    },
    /// Protocol 50.
    Esp { local: IpAddr, remote: IpAddr },
}
