//! The underlay's device with our program on it, and a socket for each of its receive queues.

use std::{net::IpAddr, sync::Arc};

use vnet_gw_common::xsk::MAX_QUEUES;

use super::{
    area::{Area, Frame},
    program::{Kind, Program},
    socket::{Mode, RING, Socket},
};
use crate::io::{ethtool, rtnl::Link};

/// Dropping it takes the program off and closes the sockets.
pub(super) struct Device {
    pub(super) link: Link,
    pub(super) mac: [u8; 6],
    pub(super) area: Arc<Area>,
    /// One for each receive queue; all packets go out by the first, so that they stay in order.
    pub(super) sockets: Vec<Socket>,
    /// To send.
    pub(super) free: Vec<Frame>,
    /// Received and copied: to be filled again.
    pub(super) spare: Vec<Frame>,
    /// Frames of the area.
    total: usize,
    program: Program,
}

impl Device {
    /// Opens it with one of `modes`, the first that its driver can. The error is for the operator.
    pub(super) fn open(link: Link, modes: &[Mode]) -> Result<Self, String> {
        let name = link.name.clone();
        let told = |error: String| format!("{name}: {error}");
        let mac = link
            .mac
            .ok_or_else(|| told("it is not Ethernet".to_owned()))?;
        let queues = ethtool::queues(&link.name).min(MAX_QUEUES);
        let frames = RING * (queues + 1);
        let (area, mut free) = Area::new(frames).map_err(|error| told(error.to_string()))?;
        let mut sockets = Vec::new();
        for queue in 0..queues {
            let socket = Self::bind(&area, &link, queue, modes, sockets.first())
                .map_err(|error| told(error.to_string()))?;
            sockets.push(socket);
        }
        // Only now: a device whose driver will not do is left as it is.
        let generic = modes.contains(&Mode::Copy);
        let program = Program::attach(Kind::Net, link.ifindex, generic).map_err(told)?;
        let mut spare = free.split_off(RING as usize);
        for socket in &mut sockets {
            socket.fill(&mut spare);
        }
        let mut device = Self {
            link,
            mac,
            area,
            sockets,
            free,
            spare,
            total: frames as usize,
            program,
        };
        for (queue, socket) in (0..).zip(&device.sockets) {
            device.program.set_socket(queue, socket).map_err(told)?;
        }
        Ok(device)
    }

    /// All queues in one mode: the first one's.
    fn bind(
        area: &Arc<Area>,
        link: &Link,
        queue: u32,
        modes: &[Mode],
        first: Option<&Socket>,
    ) -> Result<Socket, super::socket::Failed> {
        let decided = first.map(Socket::mode);
        let modes = decided.as_ref().map_or(modes, std::slice::from_ref);
        let mut refused = None;
        for mode in modes {
            match Socket::bind(area, link.ifindex, queue, *mode) {
                Ok(socket) => return Ok(socket),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| super::socket::Failed {
            doing: "choosing a mode",
            source: std::io::ErrorKind::InvalidInput.into(),
        }))
    }

    pub(super) fn mode(&self) -> Mode {
        self.sockets.first().map_or(Mode::Copy, Socket::mode)
    }

    pub(super) fn set_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), String> {
        self.program.set_addresses(addresses)
    }

    /// Frames for which there is no token here, nor any at the kernel's; 0 but for a defect.
    pub(super) fn missing(&self) -> usize {
        let held: usize = self.sockets.iter().map(Socket::held).sum();
        self.total - held - self.free.len() - self.spare.len()
    }
}
