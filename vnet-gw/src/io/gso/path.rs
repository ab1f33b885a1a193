//! Where ESP is sent to.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use vnet_gw_core::sa::Encapsulation;

use super::{address::RawAddress, receive::Kind};
use crate::io::{PathId, sockopt};

/// An encapsulation, ready to be used.
#[derive(Clone, Copy)]
pub(super) struct Path {
    pub(super) local: IpAddr,
    pub(super) remote: SocketAddr,
    pub(super) raw: RawAddress,
    pub(super) kind: Kind,
    /// Cleared where the device refused `UDP_SEGMENT`.
    pub(super) segmentation: bool,
}

impl Path {
    fn new(encapsulation: &Encapsulation) -> Self {
        let (local, remote, kind) = match *encapsulation {
            Encapsulation::Esp { local, remote } => (local, SocketAddr::new(remote, 0), Kind::Raw),
            Encapsulation::Udp { local, remote } => (local.ip(), remote, Kind::Udp),
        };
        Self {
            local,
            remote,
            raw: RawAddress::new(remote),
            kind,
            segmentation: kind == Kind::Udp,
        }
    }

    /// What fits through at once, by the route and the ICMP errors that came. The kernel tells it
    /// for a connected socket alone.
    pub(super) fn mtu(&self) -> io::Result<u16> {
        let probe = UdpSocket::bind(SocketAddr::new(self.local, 0))?;
        // The port is of no interest to the route; 0 cannot be connected to.
        probe.connect(SocketAddr::new(self.remote.ip(), crate::io::NAT_PORT))?;
        let mtu = match self.remote {
            SocketAddr::V4(_) => sockopt::get(&probe, libc::IPPROTO_IP, libc::IP_MTU)?,
            SocketAddr::V6(_) => sockopt::get(&probe, libc::IPPROTO_IPV6, libc::IPV6_MTU)?,
        };
        Ok(u16::try_from(mtu).unwrap_or(u16::MAX))
    }
}

/// By number; a number is free again once it was forgotten.
#[derive(Default)]
pub(super) struct Paths(Vec<Option<Path>>);

impl Paths {
    pub(super) fn add(&mut self, encapsulation: &Encapsulation) -> PathId {
        let path = Some(Path::new(encapsulation));
        let free = self.0.iter().position(Option::is_none);
        let at = free.unwrap_or(self.0.len());
        match self.0.get_mut(at) {
            Some(slot) => *slot = path,
            None => self.0.push(path),
        }
        PathId(at as u32)
    }

    pub(super) fn remove(&mut self, id: PathId) {
        if let Some(slot) = self.0.get_mut(id.0 as usize) {
            *slot = None;
        }
    }

    pub(super) fn get(&self, id: PathId) -> Option<&Path> {
        self.0.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn no_segmentation(&mut self, id: PathId) {
        if let Some(Some(path)) = self.0.get_mut(id.0 as usize) {
            path.segmentation = false;
        }
    }
}
