//! A flat map as we believe it to be, so that only what differs is written; and ids in it.

use std::{collections::BTreeMap, fmt::Debug};

use aya::Pod;

use super::{DatapathError, pinned::Pinned};

/// The entries of a flat map that are in use.
#[derive(Debug)]
pub(super) struct Mirror<V> {
    held: BTreeMap<u32, V>,
    /// What a free entry of an array is set to.
    free: V,
    is_free: fn(&V) -> bool,
    kind: Kind,
    /// Somebody else's entry.
    left_alone: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every key exists.
    Array,
    /// Keys come and go.
    Hash,
    /// Keys are those of an array, entries come and go.
    Devmap,
}

impl<V: Pod + PartialEq + Debug> Mirror<V> {
    /// As the kernel has it.
    pub(super) fn read(
        map: &Pinned,
        kind: Kind,
        free: V,
        is_free: fn(&V) -> bool,
    ) -> Result<Self, DatapathError> {
        let mut mirror = Self {
            held: BTreeMap::new(),
            free,
            is_free,
            kind,
            left_alone: None,
        };
        mirror.held = mirror.actual(map)?;
        Ok(mirror)
    }

    fn actual(&self, map: &Pinned) -> Result<BTreeMap<u32, V>, DatapathError> {
        let mut actual = BTreeMap::new();
        let keys: Box<dyn Iterator<Item = u32>> = match self.kind {
            Kind::Array => {
                let values = map.read_all(self.free)?;
                let used = (0..)
                    .zip(values)
                    .filter(|(_, value)| !(self.is_free)(value));
                return Ok(used.collect());
            }
            Kind::Hash => Box::new(map.keys()?.into_iter()),
            Kind::Devmap => Box::new(0..map.entries()),
        };
        for key in keys {
            let mut value = [self.free];
            if map.get_into(key, &mut value)? {
                actual.insert(key, value[0]);
            }
        }
        Ok(actual)
    }

    /// From now on this entry is somebody else's.
    pub(super) fn leave_alone(&mut self, key: u32) {
        self.held.remove(&key);
        self.left_alone = Some(key);
    }

    pub(super) fn held(&self) -> &BTreeMap<u32, V> {
        &self.held
    }

    /// Writes what is not so already; whether it was.
    pub(super) fn set(&mut self, map: &Pinned, key: u32, value: V) -> Result<bool, DatapathError> {
        if self.held.get(&key) == Some(&value) {
            return Ok(false);
        }
        map.set(key, value)?;
        self.held.insert(key, value);
        Ok(true)
    }

    pub(super) fn clear(&mut self, map: &Pinned, key: u32) -> Result<bool, DatapathError> {
        if !self.held.contains_key(&key) {
            return Ok(false);
        }
        self.erase(map, key)?;
        self.held.remove(&key);
        Ok(true)
    }

    fn erase(&self, map: &Pinned, key: u32) -> Result<(), DatapathError> {
        match self.kind {
            Kind::Array => map.set(key, self.free),
            Kind::Hash | Kind::Devmap => map.delete(key),
        }
    }

    /// Compares the whole map with what we believe, and makes it so. What differed: keys, and
    /// whether the kernel had something where nothing should be.
    pub(super) fn mend(&mut self, map: &Pinned) -> Result<Vec<(u32, Difference)>, DatapathError> {
        let actual = self.actual(map)?;
        let mut found = Vec::new();
        let orphan = |key: &&u32| !self.held.contains_key(key) && self.left_alone != Some(**key);
        for key in actual.keys().filter(orphan) {
            self.erase(map, *key)?;
            found.push((*key, Difference::Orphan));
        }
        for (key, value) in &self.held {
            let held = actual.get(key);
            if held != Some(value) {
                map.set(*key, *value)?;
                let missing = held.is_none();
                found.push((
                    *key,
                    if missing {
                        Difference::Missing
                    } else {
                        Difference::Other
                    },
                ));
            }
        }
        Ok(found)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    Missing,
    Other,
    Orphan,
}

impl Difference {
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Missing => "was missing; written",
            Self::Other => "had another value; set right",
            Self::Orphan => "belonged to nothing; removed",
        }
    }
}

/// Which ids of an array are in use. Id 0 means "none" everywhere.
#[derive(Debug)]
pub(super) struct Ids {
    what: &'static str,
    used: Vec<bool>,
    count: usize,
    /// Given back, but perhaps still in the hands of a packet under way.
    resting: Vec<u32>,
    lowest: usize,
}

impl Ids {
    pub(super) fn new(what: &'static str, limit: u32, used: impl Iterator<Item = u32>) -> Self {
        let mut ids = Self {
            what,
            used: vec![false; limit as usize],
            count: 0,
            resting: Vec::new(),
            lowest: 1,
        };
        for id in used.chain([0]) {
            if let Some(slot) = ids.used.get_mut(id as usize)
                && !std::mem::replace(slot, true)
            {
                ids.count += 1;
            }
        }
        ids
    }

    /// The lowest free one.
    pub(super) fn take(&mut self) -> Result<u32, DatapathError> {
        while let Some(used) = self.used.get_mut(self.lowest) {
            if !std::mem::replace(used, true) {
                self.count += 1;
                return Ok(self.lowest as u32);
            }
            self.lowest += 1;
        }
        Err(DatapathError::Capacity {
            what: self.what,
            wanted: self.count,
            limit: self.used.len() - 1,
        })
    }

    /// Not given out again before [`Self::rested`].
    pub(super) fn give_back(&mut self, id: u32) {
        self.resting.push(id);
    }

    /// A grace period has passed since the last id was given back.
    pub(super) fn rested(&mut self) {
        for id in std::mem::take(&mut self.resting) {
            if let Some(used) = self.used.get_mut(id as usize) {
                *used = false;
                self.count -= 1;
                self.lowest = self.lowest.min(id.max(1) as usize);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_reused_only_after_a_rest() {
        let mut ids = Ids::new("ports", 4, [2].into_iter());
        assert_eq!(ids.take().unwrap(), 1);
        assert_eq!(ids.take().unwrap(), 3);
        assert!(matches!(
            ids.take(),
            Err(DatapathError::Capacity {
                what: "ports",
                wanted: 4,
                limit: 3
            })
        ));
        ids.give_back(2);
        assert!(ids.take().is_err(), "a packet may still hold the id");
        ids.rested();
        assert_eq!(ids.take().unwrap(), 2);
    }
}
