//! Paths: where packets of an encapsulation go, and whether that is through our socket.

use std::{
    io,
    time::{Duration, Instant},
};

use vnet_gw_core::sa::Encapsulation;

use super::{
    device::Device,
    headers::{ETHERNET, Template},
};
use crate::io::{
    PathId,
    rtnl::{Neighbour, Rtnl},
};

/// How often what was learnt is looked up again, even where the kernel tells of no change.
const REFRESH: Duration = Duration::from_secs(5);
/// Changes come in swarms: they are followed no more often than this.
const SETTLE: Duration = Duration::from_millis(50);
/// Paths looked up at once: two questions to the kernel for each.
const STEP: usize = 8;

/// One path.
#[derive(Debug)]
pub(super) struct Path {
    encapsulation: Encapsulation,
    /// Its number among the kernel's sockets.
    pub(super) kernel: PathId,
    pub(super) template: Template,
    /// What fits, Ethernet included, where packets go through our socket.
    direct: Option<usize>,
    /// The next packet is the kernel's to send, so that it asks whether the neighbour is still there.
    confirm: bool,
    /// Since the last refresh.
    used: bool,
}

impl Path {
    /// Whether a frame of `length` bytes goes through our socket. What does not is the kernel's: it
    /// asks for neighbours, fragments, and knows every device.
    pub(super) fn takes(&mut self, length: usize) -> bool {
        self.used = true;
        let direct = self.direct.is_some_and(|most| length <= most);
        direct && !std::mem::take(&mut self.confirm)
    }

    fn look_up(&mut self, rtnl: &mut Rtnl, device: Option<&Device>) {
        if let Err(error) = self.resolve(rtnl, device) {
            log::debug!("no route for {:?}: {error}", self.encapsulation);
        }
    }

    fn resolve(&mut self, rtnl: &mut Rtnl, device: Option<&Device>) -> io::Result<()> {
        self.direct = None;
        let Some(device) = device else {
            return Ok(());
        };
        let (local, remote) = match self.encapsulation {
            Encapsulation::Esp { local, remote } => (local, remote),
            Encapsulation::Udp { local, remote } => (local.ip(), remote.ip()),
        };
        let route = rtnl.route(local, remote)?;
        if !route.unicast || route.ifindex != device.link.ifindex {
            return Ok(());
        }
        let Some(Neighbour { mac, stale }) = rtnl.neighbour(route.ifindex, route.next_hop)? else {
            return Ok(());
        };
        self.template.set_macs(device.mac, mac);
        let mtu = route.mtu.unwrap_or(device.link.mtu).min(device.link.mtu);
        self.direct = Some(mtu as usize + ETHERNET);
        self.confirm = stale && self.used;
        Ok(())
    }
}

/// All paths, by number.
pub(super) struct Paths {
    paths: Vec<Option<Path>>,
    rtnl: Rtnl,
    refreshed: Instant,
    /// Something changed since.
    dirty: bool,
    /// Where looking them up again goes on, while it does.
    next: Option<usize>,
}

impl Paths {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            paths: Vec::new(),
            rtnl: Rtnl::open()?,
            refreshed: Instant::now(),
            dirty: false,
            next: None,
        })
    }

    /// Adds one. An encapsulation that makes no sense gets a number that leads nowhere but to the
    /// kernel's sockets, which say why.
    pub(super) fn add(
        &mut self,
        encapsulation: &Encapsulation,
        kernel: PathId,
        device: Option<&Device>,
    ) -> Option<PathId> {
        let mut path = Path {
            encapsulation: *encapsulation,
            kernel,
            template: Template::new(encapsulation)?,
            direct: None,
            confirm: false,
            used: false,
        };
        path.look_up(&mut self.rtnl, device);
        let free = self.paths.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.paths.push(None);
            self.paths.len() - 1
        });
        self.paths[at] = Some(path);
        Some(PathId(at as u32))
    }

    pub(super) fn remove(&mut self, path: PathId) -> Option<Path> {
        self.paths.get_mut(path.0 as usize)?.take()
    }

    pub(super) fn get(&self, path: PathId) -> Option<&Path> {
        self.paths.get(path.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, path: PathId) -> Option<&mut Path> {
        self.paths.get_mut(path.0 as usize)?.as_mut()
    }

    /// The path that the kernel's sockets know by that number.
    pub(super) fn of_kernel(&self, kernel: PathId) -> Option<PathId> {
        let mut paths = (0..).zip(&self.paths);
        let found = |path: &Option<Path>| path.as_ref().is_some_and(|path| path.kernel == kernel);
        paths.find_map(|(at, path)| found(path).then_some(PathId(at)))
    }

    pub(super) fn rtnl(&mut self) -> &mut Rtnl {
        &mut self.rtnl
    }

    /// What was learnt may be wrong now.
    pub(super) fn changed(&mut self) {
        self.dirty = true;
    }

    /// Looks one path up again.
    pub(super) fn look_up(&mut self, path: PathId, device: Option<&Device>) {
        if let Some(Some(path)) = self.paths.get_mut(path.0 as usize) {
            path.look_up(&mut self.rtnl, device);
        }
    }

    /// Looks paths up again where it is time to: a few in each call, since packets wait meanwhile.
    pub(super) fn refresh(&mut self, mut device: Option<&mut Device>) {
        if self.next.is_none() {
            let since = self.refreshed.elapsed();
            if since < SETTLE || (!self.dirty && since < REFRESH) {
                return;
            }
            self.begin(device.as_deref_mut());
        }
        self.step(STEP, device.as_deref());
    }

    /// Looks all of them up again.
    pub(super) fn refresh_now(&mut self, mut device: Option<&mut Device>) {
        self.begin(device.as_deref_mut());
        self.step(usize::MAX, device.as_deref());
    }

    fn begin(&mut self, device: Option<&mut Device>) {
        self.dirty = false;
        self.refreshed = Instant::now();
        self.next = Some(0);
        if let Some(device) = device
            && let Ok(link) = self.rtnl.link(device.link.ifindex)
        {
            device.mac = link.mac.unwrap_or(device.mac);
            device.link = link;
        }
    }

    fn step(&mut self, most: usize, device: Option<&Device>) {
        let Some(begin) = self.next else { return };
        let end = begin.saturating_add(most);
        for path in self.paths.iter_mut().take(end).skip(begin).flatten() {
            path.look_up(&mut self.rtnl, device);
            path.used = false;
        }
        self.next = (end < self.paths.len()).then_some(end);
    }
}
