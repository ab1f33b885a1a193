//! Ports: NICs, their devices, and the entries that say so in the kernel.

mod entry;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use vnet_gw_common::{
    capture::Capture,
    maps::{IFINDEX_DIRECT, MAX_PORTS},
    port::Port,
};
use vnet_gw_core::{
    compile::PortImage,
    model::{ResourceId, Shared},
};

use super::{
    DatapathError,
    attach::Attacher,
    capture,
    flows::PortName,
    internet::Wanted,
    load::Maps,
    mirror::{Ids, Kind, Mirror},
    netdev::Netdevs,
    report::{Hook, PortState, PortStatus},
    scopes::collision,
};

#[derive(Debug)]
struct Entry {
    place: Place,
    image: Shared<PortImage>,
    trace_every: Option<u32>,
    /// Its packets are copied to user space.
    captured: bool,
    ifindex: Option<u32>,
    mtu: Option<u32>,
    hook: Option<Hook>,
    state: PortState,
    veth: bool,
    /// Packets go straight to the far end of its device.
    peer: bool,
    warnings: Vec<String>,
    /// What others on this host make of it: their hooks, and programs that stand before ours.
    surroundings: Vec<String>,
    /// The programs that stand before ours at TCX; `None` until somebody has looked.
    ahead: Option<Vec<u32>>,
}

#[derive(Debug)]
pub(super) struct Ports {
    by_nic: BTreeMap<ResourceId, Entry>,
    /// Port ids of an earlier life, by the NIC's hash.
    adopted: BTreeMap<u64, u32>,
    ids: Ids,
    ports: Mirror<Port>,
    near: Mirror<u32>,
    far: Mirror<u32>,
    devices: Mirror<[u32; 2]>,
}

/// Ids of the NICs of an image.
pub(super) type PortIds = BTreeMap<ResourceId, u32>;

/// What a port is found under and looks things up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: u32,
    pub(super) scope: u32,
    pub(super) table: u32,
    /// It is the internet port.
    pub(super) internet: bool,
    /// Of its flows; see [`Ports::generation`].
    pub(super) generation: u32,
}

pub(super) type Places = BTreeMap<ResourceId, Place>;

/// Which ports to look after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that are not in service yet.
    New,
    /// Those that differ from what is in service, as far as we know.
    Changed,
    /// All of them, looking at the kernel.
    All,
}

#[derive(Debug, Default)]
pub(super) struct SetReport {
    pub(super) changed: usize,
    /// Ports whose program had been taken off by somebody else, one line each.
    pub(super) relinked: Vec<String>,
}

impl Ports {
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let free = Port::default();
        // A port whose device is not here is in use, too: its id is among the endpoints.
        let ports = Mirror::read(&maps.ports, Kind::Array, free, |port| port.nic_hash == 0)?;
        let held = ports.held();
        Ok(Self {
            by_nic: BTreeMap::new(),
            adopted: held.iter().map(|(id, port)| (port.nic_hash, *id)).collect(),
            ids: Ids::new(
                "network interfaces on this host",
                MAX_PORTS,
                held.keys().copied(),
            ),
            near: Mirror::read(&maps.port_by_if, Kind::Array, 0, |id| *id == 0)?,
            far: Mirror::read(&maps.port_by_if_far, Kind::Hash, 0, |_| false)?,
            devices: Mirror::read(&maps.devices, Kind::Devmap, [0; 2], |_| false)?,
            ports,
        })
    }

    /// The id of every port that is wanted: the one it has, or a new one.
    pub(super) fn plan(&mut self, wanted: &Wanted<'_>) -> Result<PortIds, DatapathError> {
        let mut ids = PortIds::new();
        let mut seen = BTreeMap::new();
        for (nic, _) in wanted.iter() {
            let hash = nic.stable_hash();
            if let Some(first) = seen.insert(hash, nic) {
                return Err(collision(first, nic, hash));
            }
            let known = self.by_nic.get(nic).map(|entry| entry.place.id);
            let id = match known.or_else(|| self.adopted.get(&hash).copied()) {
                Some(id) => id,
                None => {
                    let id = self.ids.take()?;
                    self.adopted.insert(hash, id);
                    id
                }
            };
            ids.insert(nic.clone(), id);
        }
        Ok(ids)
    }

    /// The generation of a NIC's flows: what it has, or one that no earlier NIC with its id had, as
    /// far as a clock can tell.
    pub(super) fn generation(&self, nic: &ResourceId, id: u32) -> u32 {
        if let Some(entry) = self.by_nic.get(nic) {
            return entry.place.generation;
        }
        let held = self.ports.held().get(&id);
        match held.filter(|port| port.nic_hash == nic.stable_hash()) {
            Some(port) => port.generation,
            None => now_hashed(),
        }
    }

    /// Whether all ports are in service, as far as we know, and stay on their devices with their
    /// addresses: then no device has to be looked at.
    pub(super) fn stand(&self, all: &Wanted<'_>, places: &Places) -> bool {
        self.by_nic.len() == places.len()
            && all.iter().all(|(nic, wanted)| {
                let entry = self.by_nic.get(nic);
                entry.zip(places.get(nic)).is_some_and(|(entry, place)| {
                    entry.state == PortState::Up && entry.stays(wanted, *place)
                })
            })
    }

    /// Has ports that [`Self::stand`] do what else the image says of them. How many changed.
    pub(super) fn touch(
        &mut self,
        maps: &Maps,
        all: &Wanted<'_>,
        places: &Places,
    ) -> Result<usize, DatapathError> {
        let mut changed = 0;
        for (nic, wanted) in all.iter() {
            let (Some(entry), Some(place)) = (self.by_nic.get_mut(nic), places.get(nic)) else {
                continue;
            };
            if entry.place == *place && entry.image == *wanted {
                continue;
            }
            entry.place = *place;
            entry.image = wanted.clone();
            let value = entry.value(nic);
            self.ports.set(&maps.ports, place.id, value)?;
            changed += 1;
        }
        Ok(changed)
    }

    /// Brings the ports in `which` into service as the image has them, or follows what became of
    /// their devices.
    pub(super) fn set(
        &mut self,
        maps: &Maps,
        attacher: &Attacher<'_>,
        devices: &Netdevs,
        all: &Wanted<'_>,
        places: &Places,
        which: Which,
    ) -> Result<SetReport, DatapathError> {
        let mut report = SetReport::default();
        let mut owners: BTreeMap<&str, &ResourceId> = BTreeMap::new();
        for (nic, wanted) in all.iter() {
            let owner = *owners.entry(&wanted.device).or_insert(nic);
            let Some(place) = places.get(nic) else {
                continue;
            };
            let known = self.by_nic.get(nic);
            let device = devices.named(&wanted.device);
            let as_is = known.is_some_and(|entry| entry.is_as(wanted, *place, device));
            match which {
                Which::New if known.is_some() => continue,
                Which::Changed if as_is => continue,
                _ => {}
            }
            let mut entry = Entry::new(wanted.clone(), *place);
            entry.trace_every = known.and_then(|entry| entry.trace_every);
            entry.captured = known.is_some_and(|entry| entry.captured);
            let device = device.filter(|_| owner == nic);
            match device {
                // Validation refuses this; here it is a matter of not fighting over a device.
                None if owner != nic => {
                    entry.state = PortState::Failed(format!(
                        "{} is the device of {} already; give each its own",
                        wanted.device,
                        owner.name()
                    ));
                }
                None => {}
                Some(device) => {
                    let relinked = entry.follow(device, attacher, known);
                    if relinked && known.is_some_and(|before| before.ifindex == entry.ifindex) {
                        report.relinked.push(format!(
                            "{}: the program had gone from {}; attached again",
                            nic.name(),
                            device.name
                        ));
                    }
                }
            }
            let differs = known
                .is_none_or(|before| before.image != entry.image || before.state != entry.state);
            let wrote = self.write(maps, nic, &entry, attacher, devices)?;
            report.changed += usize::from(wrote || differs);
            self.by_nic.insert(nic.clone(), entry);
        }
        if report.changed > 0 || which == Which::All {
            self.look_around(attacher);
        }
        Ok(report)
    }

    /// Looks at what has been set since the last time, and tells every port whether others are at
    /// XDP.
    fn look_around(&mut self, attacher: &Attacher<'_>) {
        let any_xdp = self
            .by_nic
            .values()
            .any(|entry| entry.hook.is_some_and(Hook::is_xdp));
        for entry in self.by_nic.values_mut() {
            entry.look_around(attacher, any_xdp);
        }
    }

    /// The entries of one port. A port is found by its interface only once its own entry is there.
    fn write(
        &mut self,
        maps: &Maps,
        nic: &ResourceId,
        entry: &Entry,
        attacher: &Attacher<'_>,
        devices: &Netdevs,
    ) -> Result<bool, DatapathError> {
        let value = entry.value(nic);
        let mut wrote = false;
        if let Some(held) = self.ports.held().get(&entry.place.id).copied()
            && !may_change_in_place(&held, &value)
        {
            // Packets must not see half of one port and half of another.
            let hidden = Port {
                flags: held.flags & !Port::PRESENT,
                ..held
            };
            self.ports.set(&maps.ports, entry.place.id, hidden)?;
            let hidden = Port {
                flags: value.flags & !Port::PRESENT,
                ..value
            };
            self.ports.set(&maps.ports, entry.place.id, hidden)?;
        }
        wrote |= self.ports.set(&maps.ports, entry.place.id, value)?;
        match entry.ifindex.filter(|_| entry.hook.is_some()) {
            Some(ifindex) => {
                wrote |= self
                    .devices
                    .set(&maps.devices, entry.place.id, [ifindex, 0])?;
                wrote |= self.set_interface(maps, ifindex, entry.place.id)?;
            }
            None => wrote |= self.devices.clear(&maps.devices, entry.place.id)?,
        }
        // An interface it had before.
        for ifindex in self.interfaces_of(entry.place.id) {
            if entry.ifindex != Some(ifindex) || entry.hook.is_none() {
                self.clear_interface(maps, ifindex)?;
                attacher.unfilter(ifindex, devices)?;
                wrote = true;
            }
        }
        Ok(wrote)
    }

    fn interfaces_of(&self, id: u32) -> Vec<u32> {
        let all = self.near.held().iter().chain(self.far.held());
        all.filter(|(_, held)| **held == id)
            .map(|(ifindex, _)| *ifindex)
            .collect()
    }

    fn set_interface(&mut self, maps: &Maps, ifindex: u32, id: u32) -> Result<bool, DatapathError> {
        if ifindex < IFINDEX_DIRECT {
            self.near.set(&maps.port_by_if, ifindex, id)
        } else {
            self.far.set(&maps.port_by_if_far, ifindex, id)
        }
    }

    fn clear_interface(&mut self, maps: &Maps, ifindex: u32) -> Result<bool, DatapathError> {
        if ifindex < IFINDEX_DIRECT {
            self.near.clear(&maps.port_by_if, ifindex)
        } else {
            self.far.clear(&maps.port_by_if_far, ifindex)
        }
    }

    /// Takes out of service what the image does not have, whoever had put it there. How many.
    pub(super) fn remove_others(
        &mut self,
        maps: &Maps,
        attacher: &Attacher<'_>,
        devices: &Netdevs,
        ids: &PortIds,
    ) -> Result<usize, DatapathError> {
        let wanted: BTreeSet<u32> = ids.values().copied().collect();
        let other = |id: &u32| !wanted.contains(id);
        let gone: Vec<u32> = self.ports.held().keys().copied().filter(other).collect();
        for id in &gone {
            for ifindex in self.interfaces_of(*id) {
                self.clear_interface(maps, ifindex)?;
                attacher.unfilter(ifindex, devices)?;
            }
            self.devices.clear(&maps.devices, *id)?;
            self.ports.clear(&maps.ports, *id)?;
            maps.captures.delete(*id)?;
            self.ids.give_back(*id);
        }
        self.by_nic.retain(|nic, _| ids.contains_key(nic));
        self.adopted.retain(|_, id| wanted.contains(id));
        attacher.sweep(&self.interfaces())?;
        Ok(gone.len())
    }

    /// Interfaces with our program on them.
    pub(super) fn interfaces(&self) -> BTreeSet<u32> {
        self.near
            .held()
            .keys()
            .chain(self.far.held().keys())
            .copied()
            .collect()
    }

    pub(super) fn rested(&mut self) {
        self.ids.rested();
    }

    pub(super) fn mend(
        &mut self,
        maps: &Maps,
    ) -> Result<(Vec<String>, Vec<String>), DatapathError> {
        let mut differences = Vec::new();
        let mut orphans = Vec::new();
        let mut note = |what: &str, found: Vec<(u32, super::mirror::Difference)>| {
            for (key, difference) in found {
                let line = format!("{what} {key} {}", difference.describe());
                match difference {
                    super::mirror::Difference::Orphan => orphans.push(line),
                    _ => differences.push(line),
                }
            }
        };
        note("port entry", self.ports.mend(&maps.ports)?);
        note("port of interface", self.near.mend(&maps.port_by_if)?);
        note("port of interface", self.far.mend(&maps.port_by_if_far)?);
        note("redirect entry of port", self.devices.mend(&maps.devices)?);
        Ok((differences, orphans))
    }

    /// The kernel itself takes a device that is gone out of the redirect map.
    pub(super) fn forget_devices(
        &mut self,
        maps: &Maps,
        devices: &Netdevs,
    ) -> Result<(), DatapathError> {
        let gone: Vec<u32> = self
            .devices
            .held()
            .iter()
            .filter(|(_, [ifindex, _])| devices.get(*ifindex).is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.devices.clear(&maps.devices, id)?;
        }
        Ok(())
    }

    /// What became of a port since, in words, for [`Self::set`] to compare.
    pub(super) fn summary(&self) -> BTreeMap<ResourceId, (Option<u32>, Option<u32>, PortState)> {
        let of = |entry: &Entry| (entry.ifindex, entry.mtu, entry.state.clone());
        self.by_nic
            .iter()
            .map(|(nic, entry)| (nic.clone(), of(entry)))
            .collect()
    }

    pub(super) fn set_trace(
        &mut self,
        maps: &Maps,
        nic: &ResourceId,
        every: Option<u32>,
    ) -> Result<(), DatapathError> {
        let unknown = || DatapathError::NoSuchPort(nic.to_string());
        let entry = self.by_nic.get_mut(nic).ok_or_else(unknown)?;
        entry.trace_every = every.map(|every| every.max(1));
        let held = self
            .ports
            .held()
            .get(&entry.place.id)
            .copied()
            .ok_or_else(unknown)?;
        let flags = (held.flags & !Port::TRACE) | trace_flag(entry.trace_every);
        let value = Port {
            flags,
            trace_every: entry.trace_every.unwrap_or(0),
            ..held
        };
        self.ports.set(&maps.ports, entry.place.id, value).map(drop)
    }

    /// The NICs, by port id.
    pub(super) fn names(&self) -> BTreeMap<u32, PortName> {
        let of = |(nic, entry): (&ResourceId, &Entry)| {
            let name = PortName {
                nic: nic.clone(),
                vnet: entry.image.vnet.clone(),
                mac: entry.image.mac,
            };
            (entry.place.id, name)
        };
        self.by_nic.iter().map(of).collect()
    }

    /// An interface that is now this port, now that, and somebody else's matter.
    pub(super) fn leave_alone(&mut self, ifindex: u32) {
        if ifindex < IFINDEX_DIRECT {
            self.near.leave_alone(ifindex);
        } else {
            self.far.leave_alone(ifindex);
        }
    }

    pub(super) fn set_capture(
        &mut self,
        maps: &Maps,
        nic: &ResourceId,
        wanted: Option<Capture>,
    ) -> Result<(), DatapathError> {
        let unknown = || DatapathError::NoSuchPort(nic.to_string());
        let entry = self.by_nic.get_mut(nic).ok_or_else(unknown)?;
        let id = entry.place.id;
        let held = self.ports.held().get(&id).copied().ok_or_else(unknown)?;
        if let Some(wanted) = &wanted {
            capture::write(maps, id, wanted)?;
        }
        entry.captured = wanted.is_some();
        let flags = (held.flags & !Port::CAPTURE) | capture_flag(entry.captured);
        self.ports.set(&maps.ports, id, Port { flags, ..held })?;
        match wanted {
            Some(_) => Ok(()),
            None => maps.captures.delete(id),
        }
    }

    pub(super) fn lost_copies(&self, maps: &Maps, nic: &ResourceId) -> Result<u64, DatapathError> {
        match self.by_nic.get(nic) {
            Some(entry) => capture::lost(maps, entry.place.id),
            None => Ok(0),
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (nic, entry) in &self.by_nic {
            let (name, device) = (nic.name(), &entry.image.device);
            match &entry.state {
                PortState::NoDevice if entry.place.internet => all.push(format!(
                    "{name}: its device {device} is gone; it is made again"
                )),
                PortState::NoDevice if entry.image.gateway => all.push(format!(
                    "{name}: the gateway's worker has not made its device {device} (yet); packets to it are counted as port_down"
                )),
                PortState::NoDevice => all.push(format!(
                    "{name}: there is no network device {device} (yet); packets to it are counted as port_down"
                )),
                PortState::DeviceDown => {
                    all.push(format!("{name}: {device} is down; `ip link set dev {device} up`"));
                }
                PortState::Failed(why) => all.push(format!("{name}: {why}")),
                PortState::Up => {}
            }
            all.extend(
                entry
                    .warnings
                    .iter()
                    .chain(&entry.surroundings)
                    .map(|warning| format!("{name}: {warning}")),
            );
        }
        all
    }

    pub(super) fn status(&self) -> Vec<PortStatus> {
        let of = |(nic, entry): (&ResourceId, &Entry)| PortStatus {
            nic: nic.clone(),
            device: entry.image.device.clone(),
            port_id: entry.place.id,
            ifindex: entry.ifindex,
            hook: entry.hook,
            state: entry.state.clone(),
            warnings: [&entry.warnings[..], &entry.surroundings].concat(),
            mac: entry.image.mac,
            addresses: entry.image.addresses.clone(),
            mtu: entry.mtu,
            gateway: entry.image.gateway && !entry.place.internet,
            internet: entry.place.internet,
            ip_forwarding: entry.image.ip_forwarding || entry.image.gateway,
            trace_every: entry.trace_every,
        };
        self.by_nic.iter().map(of).collect()
    }
}

fn now_hashed() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.map_or(0, |since| since.as_micros() as u64);
    (micros.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

fn trace_flag(every: Option<u32>) -> u32 {
    if every.is_some() { Port::TRACE } else { 0 }
}

fn capture_flag(captured: bool) -> u32 {
    if captured { Port::CAPTURE } else { 0 }
}

/// Whether a port may become another while packets read it. The kernel writes an entry word by
/// word: what changes in one word changes at once, but who the port is takes several.
fn may_change_in_place(from: &Port, to: &Port) -> bool {
    let who = |port: &Port| (port.mac, port.ip4, port.scope, port.ip6);
    who(from) == who(to) || from.flags & Port::PRESENT == 0
}
