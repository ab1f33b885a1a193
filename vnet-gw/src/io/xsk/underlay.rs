//! The underlay by AF_XDP, with the kernel's sockets beside it for all that is not the common case.

use std::{io, net::IpAddr, ops::Range, os::fd::AsRawFd, os::fd::BorrowedFd, sync::Arc};

use vnet_gw_core::sa::Encapsulation;

use super::{
    area::{FRAME, Frame},
    device::Device,
    headers::{self, LONGEST, Variable},
    paths::Paths,
    socket::Mode,
};
use crate::io::{
    Datagram, IkeSockets, OpenError, Outgoing, PathId, Poll, Ready, Received, SendFailure,
    Underlay, rtnl::Changes, token,
};

/// Packets taken in one call.
const BATCH: usize = 64;
/// Where ESP begins in a frame that is sent: behind the longest headers, aligned.
const ESP_AT: usize = LONGEST.next_multiple_of(64);

/// ESP that came in is copied out of its frame, which is filled again at once; ESP to send is written
/// into a frame in place.
///
/// What the rings cannot do goes through the kernel's sockets: IKE, keepalives and fragments that come
/// in; to send, packets whose neighbour is not known (yet), that leave by another device, or that are
/// too long and may be fragmented.
pub(in crate::io) struct Rings {
    kernel: Box<dyn Underlay>,
    device: Option<Device>,
    modes: &'static [Mode],
    addresses: Vec<IpAddr>,
    paths: Paths,
    changes: Changes,
    arena: Box<[u8]>,
    datagrams: Vec<Datagram>,
    /// Whether a ring may have more.
    ready: bool,
    /// Whose turn it is.
    turn: usize,
    slot: Slot,
    /// Bytes and packets since the last flush.
    queued: (usize, usize),
    /// Where the last of them goes, for errors.
    last: PathId,
    /// Packets for which there was no room.
    overflow: usize,
    identification: u16,
}

/// The slot that was asked for last.
enum Slot {
    None,
    Kernel,
    Frame(Frame, Outgoing),
}

impl Rings {
    /// Beside `kernel`, which is configured already.
    pub(super) fn open(
        kernel: Box<dyn Underlay>,
        addresses: &[IpAddr],
        modes: &'static [Mode],
    ) -> Result<Self, String> {
        let netlink = |error: io::Error| format!("asking the kernel for routes: {error}");
        let mut rings = Self {
            kernel,
            device: None,
            modes,
            addresses: addresses.to_vec(),
            paths: Paths::new().map_err(netlink)?,
            changes: Changes::watch().map_err(netlink)?,
            arena: vec![0; BATCH * FRAME].into_boxed_slice(),
            datagrams: Vec::with_capacity(BATCH),
            ready: false,
            turn: 0,
            slot: Slot::None,
            queued: (0, 0),
            last: PathId(0),
            overflow: 0,
            identification: 0,
        };
        rings.attach()?;
        Ok(rings)
    }

    /// The device in use, and who copies there.
    pub(super) fn device(&self) -> Option<(&str, Mode)> {
        let device = self.device.as_ref()?;
        Some((&device.link.name, device.mode()))
    }

    /// Frames that are nowhere; 0 but for a defect.
    pub(super) fn missing(&self) -> usize {
        let slot = usize::from(matches!(self.slot, Slot::Frame(..)));
        self.device
            .as_ref()
            .map_or(0, |device| device.missing() - slot)
    }

    /// Takes the device that has the addresses into use.
    fn attach(&mut self) -> Result<(), String> {
        let mut found = None;
        for address in &self.addresses {
            let asked = self.paths.rtnl().device_of(*address);
            let device = asked.map_err(|error| format!("looking for {address}: {error}"))?;
            match (found, device) {
                (Some((first, at)), Some(device)) if device != at => {
                    return Err(format!(
                        "{first} and {address} are on two devices, and it serves one"
                    ));
                }
                (None, Some(device)) => found = Some((*address, device)),
                _ => {}
            }
        }
        // While there is no address the device stays: it may come back.
        if let Some((_, ifindex)) = found {
            let same = self.device.as_ref().map(|device| device.link.ifindex) == Some(ifindex);
            if !same {
                self.slot = Slot::None;
                self.device = None;
                let link = self.paths.rtnl().link(ifindex);
                let link = link.map_err(|error| format!("asking for a device: {error}"))?;
                self.device = Some(Device::open(link, self.modes)?);
                self.ready = true;
            }
        }
        let result = match &mut self.device {
            Some(device) => device.set_addresses(&self.addresses),
            None => Ok(()),
        };
        self.paths.refresh_now(self.device.as_mut());
        result
    }

    /// Copies up to a batch of packets out of one socket's ring; whether there were any.
    fn take(&mut self) -> bool {
        self.datagrams.clear();
        let Some(device) = &mut self.device else {
            return false;
        };
        let sockets = device.sockets.len();
        for _ in 0..sockets {
            let at = self.turn % sockets;
            let socket = &mut device.sockets[at];
            let mut places = self.arena.chunks_exact_mut(FRAME).enumerate();
            while self.datagrams.len() < BATCH {
                let Some(mut packet) = socket.receive() else {
                    // The next one's turn.
                    self.turn = at + 1;
                    break;
                };
                let frame = device
                    .area
                    .part(&mut packet.frame, packet.offset, packet.length);
                let parsed = frame.and_then(|frame| Some((headers::parse(frame)?, frame)));
                if let Some((parsed, frame)) = parsed
                    && let Some((number, place)) = places.next()
                {
                    let payload = &frame[parsed.range];
                    place[..payload.len()].copy_from_slice(payload);
                    let start = number * FRAME;
                    self.datagrams.push(Datagram {
                        range: start..start + payload.len(),
                        segment: payload.len().max(1),
                        from: parsed.from,
                        tos: parsed.tos,
                    });
                }
                device.spare.push(packet.frame);
            }
            socket.fill(&mut device.spare);
            if !self.datagrams.is_empty() {
                return true;
            }
        }
        false
    }

    fn room(&mut self, to: &Outgoing) -> Option<Frame> {
        let device = self.device.as_mut()?;
        let socket = device.sockets.first_mut()?;
        if device.free.is_empty() {
            socket.complete(&mut device.free);
        }
        self.last = to.path;
        device.free.pop()
    }

    /// Puts back a frame that was asked for and not used.
    fn give_back(&mut self) {
        if let Slot::Frame(frame, _) = std::mem::replace(&mut self.slot, Slot::None)
            && let Some(device) = &mut self.device
        {
            device.free.push(frame);
        }
    }
}

/// A descriptor that others own.
fn borrowed(descriptor: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: open as long as what it is borrowed from.
    unsafe { BorrowedFd::borrow_raw(descriptor.as_raw_fd()) }
}

impl Underlay for Rings {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        self.kernel.register(poll)?;
        poll.watch(borrowed(&self.changes))?;
        for socket in self.device.iter().flat_map(|device| &device.sockets) {
            poll.watch(borrowed(socket))?;
        }
        Ok(())
    }

    fn ready(&mut self, ready: &Ready) {
        self.kernel.ready(ready);
        if ready.contains(token(&borrowed(&self.changes))) && self.changes.any() {
            self.paths.changed();
        }
        // Before the packets of this turn.
        self.paths.refresh(self.device.as_mut());
        for socket in self.device.iter().flat_map(|device| &device.sockets) {
            self.ready |= ready.contains(token(&borrowed(socket)));
        }
    }

    fn configure(&mut self, addresses: &[IpAddr]) -> Result<(), OpenError> {
        self.give_back();
        let result = self.kernel.configure(addresses);
        self.addresses = addresses.to_vec();
        if let Err(error) = self.attach() {
            // The kernel's sockets do the work meanwhile.
            log::warn!("AF_XDP on the underlay: {error}");
        }
        result
    }

    fn ike_sockets(&self) -> &Arc<IkeSockets> {
        self.kernel.ike_sockets()
    }

    fn receive(&mut self) -> io::Result<Received<'_>> {
        if self.ready {
            if self.take() {
                return Ok(Received {
                    arena: &mut self.arena,
                    datagrams: &self.datagrams,
                });
            }
            self.ready = false;
        }
        self.kernel.receive()
    }

    fn has_more(&self) -> bool {
        self.ready || self.kernel.has_more()
    }

    fn path(&mut self, encapsulation: &Encapsulation) -> PathId {
        let kernel = self.kernel.path(encapsulation);
        let added = self.paths.add(encapsulation, kernel, self.device.as_ref());
        added.unwrap_or_else(|| {
            // Addresses of two families have no path anywhere.
            self.kernel.forget(kernel);
            PathId(u32::MAX)
        })
    }

    fn forget(&mut self, path: PathId) {
        if let Some(path) = self.paths.remove(path) {
            self.kernel.forget(path.kernel);
        }
    }

    fn mtu(&mut self, path: PathId) -> Option<u16> {
        self.paths.look_up(path, self.device.as_ref());
        let kernel = self.paths.get(path)?.kernel;
        self.kernel.mtu(kernel)
    }

    fn slot(&mut self, to: &Outgoing, length: usize) -> Option<&mut [u8]> {
        self.give_back();
        let path = self.paths.get_mut(to.path)?;
        let whole = path.template.length() + length;
        if length > FRAME - ESP_AT || !path.takes(whole) {
            let kernel = Outgoing {
                path: path.kernel,
                ..*to
            };
            self.slot = Slot::Kernel;
            return self.kernel.slot(&kernel, length);
        }
        let frame = self.room(to)?;
        self.slot = Slot::Frame(frame, *to);
        let (Slot::Frame(frame, _), Some(device)) = (&mut self.slot, &self.device) else {
            return None;
        };
        device.area.part(frame, ESP_AT, length)
    }

    fn commit(&mut self, length: usize) {
        let (mut frame, to) = match std::mem::replace(&mut self.slot, Slot::None) {
            Slot::None => return,
            Slot::Kernel => return self.kernel.commit(length),
            Slot::Frame(frame, to) => (frame, to),
        };
        let Some(device) = &mut self.device else {
            return;
        };
        let (Some(path), Some(socket)) = (self.paths.get(to.path), device.sockets.first_mut())
        else {
            device.free.push(frame);
            return;
        };
        let Range { start, end } = ESP_AT - path.template.length()..ESP_AT + length;
        if let Some(packet) = device.area.part(&mut frame, start, end - start) {
            self.identification = self.identification.wrapping_add(1);
            path.template.write(
                packet,
                Variable {
                    tos: to.tos,
                    dont_fragment: to.dont_fragment,
                    identification: self.identification,
                },
            );
        }
        match socket.send(frame, start, end - start) {
            None => {
                self.queued.0 += length;
                self.queued.1 += 1;
            }
            Some(frame) => {
                device.free.push(frame);
                self.overflow += 1;
            }
        }
    }

    fn pending(&self) -> usize {
        self.queued.0 + self.kernel.pending()
    }

    fn flush(&mut self, failed: &mut dyn FnMut(SendFailure)) {
        let (_, packets) = std::mem::take(&mut self.queued);
        if let Some(device) = &mut self.device
            && let Some(socket) = device.sockets.first_mut()
            && (packets > 0 || socket.is_sending())
            && let Err(error) = socket.flush(&mut device.free)
        {
            failed(SendFailure {
                path: self.last,
                packets: packets.max(1),
                error,
            });
        }
        let overflow = std::mem::take(&mut self.overflow);
        if overflow > 0 {
            failed(SendFailure {
                path: self.last,
                packets: overflow,
                error: io::Error::from_raw_os_error(libc::ENOBUFS),
            });
        }
        if self.kernel.pending() > 0 {
            let paths = &self.paths;
            self.kernel.flush(&mut |failure| {
                failed(SendFailure {
                    path: paths.of_kernel(failure.path).unwrap_or(failure.path),
                    ..failure
                });
            });
        }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        let missing = self.missing();
        if missing > 0 {
            log::error!("{missing} frames of the underlay were lost");
        }
        debug_assert!(missing == 0 || std::thread::panicking());
    }
}
