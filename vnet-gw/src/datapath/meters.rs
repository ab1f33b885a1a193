//! Meters: the numbers of what is metered, and what was counted there.
//!
//! A meter is somebody's until everything that it counted is in the ledger: one that nothing refers
//! to any more waits for [`Meters::settled`]. Each use of a meter has a number of its own (`born`),
//! and begins at zero, so that whoever keeps what a use has counted up to some moment can tell later
//! what came since, whatever became of daemon, tables and meters in between.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{SystemTime, UNIX_EPOCH},
};

use vnet_gw_common::{
    Counter,
    maps::{self, MAX_METERS},
    meter::{METER_NONE, MeterKey as Entry},
};
use vnet_gw_core::metering::MeterKey;

use super::{
    DatapathError, Instance, MeterReading,
    load::{Maps, pinned},
    mirror::{Ids, Kind, Mirror},
    pinned::Pinned,
    pins::Directory,
};

#[derive(Debug)]
pub(super) struct Meters {
    by_key: HashMap<MeterKey, u32>,
    keys: BTreeMap<u32, MeterKey>,
    /// Of an earlier life too, by hash.
    by_hash: BTreeMap<u64, u32>,
    ids: Ids,
    mirror: Mirror<Entry>,
    /// Given out, but not yet in the kernel.
    fresh: Vec<(u32, Entry)>,
    /// Nothing refers to them; their counts are not settled.
    leaving: BTreeSet<u32>,
    last_born: u64,
    full: bool,
}

impl Meters {
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let free = Entry::default();
        let mirror = Mirror::read(&maps.meter_keys, Kind::Array, free, |entry| entry.hash == 0)?;
        let held = mirror.held();
        Ok(Self {
            by_key: HashMap::new(),
            keys: BTreeMap::new(),
            by_hash: held.iter().map(|(id, entry)| (entry.hash, *id)).collect(),
            ids: Ids::new("meters", MAX_METERS, held.keys().copied()),
            mirror,
            fresh: Vec::new(),
            leaving: BTreeSet::new(),
            last_born: 0,
            full: false,
        })
    }

    /// The number of a meter; [`METER_NONE`] where there are no more.
    pub(super) fn id(&mut self, key: &MeterKey) -> u32 {
        if let Some(id) = self.by_key.get(key) {
            return *id;
        }
        let hash = key.stable_hash();
        let known = self.by_hash.get(&hash).copied();
        // Two that have one hash: the second is not metered, rather than metered for the first.
        if known.is_some_and(|id| self.keys.contains_key(&id)) {
            log::warn!("metering: {key:?} cannot be told from another, and is not metered");
            return METER_NONE;
        }
        let id = match known.map_or_else(|| self.ids.take(), Ok) {
            Ok(id) => id,
            Err(_) => {
                if !std::mem::replace(&mut self.full, true) {
                    log::warn!(
                        "metering: {} pairs of virtual networks are metered, and no more can be",
                        MAX_METERS - 1
                    );
                }
                return METER_NONE;
            }
        };
        if known.is_none() {
            let born = self.born();
            self.fresh.push((id, Entry { hash, born }));
            self.by_hash.insert(hash, id);
        }
        self.keys.insert(id, key.clone());
        self.by_key.insert(key.clone(), id);
        id
    }

    /// A number that was not there before: nanoseconds since 1970, or one more than the last.
    fn born(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos() as u64);
        self.last_born = now.max(self.last_born + 1);
        self.last_born
    }

    /// Writes what was given out since: first zeros, then whose it is.
    pub(super) fn write(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        let zeros = vec![Counter::default(); maps.cpus as usize];
        for (id, entry) in std::mem::take(&mut self.fresh) {
            maps.meters.set_all_cpus(id, &zeros)?;
            self.mirror.set(&maps.meter_keys, id, entry)?;
        }
        Ok(())
    }

    /// What is not in `used` counts nothing any more, since no packet can meet an action with it.
    pub(super) fn retain(&mut self, used: &BTreeSet<u32>) {
        let held = self.mirror.held().keys();
        self.leaving = held.copied().filter(|id| !used.contains(id)).collect();
    }

    /// Every meter with what it has counted since it was born.
    pub(super) fn readings(&self, maps: &Maps) -> Result<Vec<MeterReading>, DatapathError> {
        let held = self.mirror.held().iter();
        held.map(|(id, entry)| {
            let mut reading = read(&maps.meters, maps.cpus, *id, *entry)?;
            reading.key = self.keys.get(id).cloned();
            reading.over = self.leaving.contains(id);
            Ok(reading)
        })
        .collect()
    }

    /// Everything that these (by their `born`) counted is kept elsewhere: those that nothing refers
    /// to are free.
    pub(super) fn settled(&mut self, maps: &Maps, born: &[u64]) -> Result<(), DatapathError> {
        let over: Vec<u32> = self
            .leaving
            .iter()
            .filter(|id| {
                let entry = self.mirror.held().get(id);
                entry.is_some_and(|entry| born.contains(&entry.born))
            })
            .copied()
            .collect();
        for id in over {
            if let Some(entry) = self.mirror.held().get(&id) {
                self.by_hash.remove(&entry.hash);
            }
            self.mirror.clear(&maps.meter_keys, id)?;
            if let Some(key) = self.keys.remove(&id) {
                self.by_key.remove(&key);
            }
            self.leaving.remove(&id);
            self.ids.give_back(id);
            self.full = false;
        }
        // They left their tables a grace period ago.
        self.ids.rested();
        Ok(())
    }

    pub(super) fn mend(
        &mut self,
        maps: &Maps,
    ) -> Result<Vec<(u32, super::mirror::Difference)>, DatapathError> {
        self.mirror.mend(&maps.meter_keys)
    }
}

fn read(
    meters: &Pinned,
    cpus: u32,
    id: u32,
    Entry { hash, born }: Entry,
) -> Result<MeterReading, DatapathError> {
    let mut per_cpu = vec![Counter::default(); cpus as usize];
    meters.get_into(id, &mut per_cpu)?;
    let mut counter = Counter::default();
    for one in per_cpu {
        counter.packets = counter.packets.wrapping_add(one.packets);
        counter.bytes = counter.bytes.wrapping_add(one.bytes);
    }
    Ok(MeterReading {
        hash,
        born,
        key: None,
        over: false,
        counter,
    })
}

/// What the meters of an instance have counted, without taking it in hand: for whoever takes it
/// down. Nothing where it is not there, or of another version.
///
/// # Errors
/// [`DatapathError::Busy`] while a daemon has the instance in hand.
pub fn left_meters(instance: &Instance) -> Result<Vec<MeterReading>, DatapathError> {
    let Some(directory) = Directory::existing(instance)? else {
        return Ok(Vec::new());
    };
    let (Some((keys, _)), Some((meters, cpus))) = (
        pinned(instance, &directory, maps::METER_KEYS)?,
        pinned(instance, &directory, maps::METERS)?,
    ) else {
        return Ok(Vec::new());
    };
    let held = keys.read_all(Entry::default())?;
    let held = (0..).zip(held).filter(|(_, entry)| entry.hash != 0);
    held.map(|(id, entry)| {
        let mut reading = read(&meters, cpus, id, entry)?;
        reading.over = true;
        Ok(reading)
    })
    .collect()
}
