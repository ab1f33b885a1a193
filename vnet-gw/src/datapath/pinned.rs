//! A map that is pinned, whose errors say which one it is.

use std::os::fd::{AsRawFd, OwnedFd};

use aya::{Pod, util::KernelVersion};

use super::{
    DatapathError,
    map::{Map, Mapping},
};

/// A pinned map, and its name for errors.
#[derive(Debug)]
pub(super) struct Pinned {
    name: &'static str,
    map: Map,
}

impl Pinned {
    pub(super) fn new(name: &'static str, map: Map) -> Self {
        Self { name, map }
    }

    fn failed(&self, operation: &str) -> impl FnOnce(std::io::Error) -> DatapathError {
        let (map, operation) = (self.name, operation.to_owned());
        move |source| DatapathError::Map {
            map,
            operation,
            source,
        }
    }

    pub(super) fn get<V: Pod + Default>(&self, key: u32) -> Result<Option<V>, DatapathError> {
        self.map
            .get(key)
            .map_err(self.failed(&format!("reading entry {key}")))
    }

    pub(super) fn get_into<V: Pod>(
        &self,
        key: u32,
        value: &mut [V],
    ) -> Result<bool, DatapathError> {
        self.map
            .get_into(key, value)
            .map_err(self.failed(&format!("reading entry {key}")))
    }

    pub(super) fn set<V: Pod>(&self, key: u32, value: V) -> Result<(), DatapathError> {
        self.map
            .set(key, value)
            .map_err(self.failed(&format!("writing entry {key}")))
    }

    /// A value for every CPU.
    pub(super) fn set_all_cpus<V: Pod>(&self, key: u32, values: &[V]) -> Result<(), DatapathError> {
        self.map
            .set_from(key, values)
            .map_err(self.failed(&format!("writing entry {key}")))
    }

    pub(super) fn delete(&self, key: u32) -> Result<(), DatapathError> {
        self.map
            .delete(key)
            .map_err(self.failed(&format!("removing entry {key}")))
    }

    pub(super) fn keys(&self) -> Result<Vec<u32>, DatapathError> {
        self.map.keys().map_err(self.failed("listing its keys"))
    }

    /// Every value of an array; `blank` is any value.
    pub(super) fn read_all<V: Pod>(&self, blank: V) -> Result<Vec<V>, DatapathError> {
        self.map
            .read_all(blank)
            .map_err(self.failed("reading all of it"))
    }

    pub(super) fn entries(&self) -> u32 {
        self.map.info().entries
    }

    /// The values of an array, as memory.
    pub(super) fn in_memory(&self) -> Result<Mapping, DatapathError> {
        self.map
            .map()
            .map_err(self.failed("mapping it into memory"))
    }

    /// Another descriptor of it.
    pub(super) fn duplicate(&self) -> Result<OwnedFd, DatapathError> {
        let duplicate = self.map.fd().try_clone_to_owned();
        duplicate.map_err(self.failed("opening it again"))
    }

    /// The same map, for another thread.
    pub(super) fn again(&self) -> Result<Self, DatapathError> {
        let map = Map::new(self.duplicate()?, 1).map_err(self.failed("opening it again"))?;
        Ok(Self::new(self.name, map))
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Puts inner maps into an outer one. When it returns, no packet is being looked up in what
    /// was there before.
    pub(super) fn set_inner(&self, inner: &[(u32, &Map)]) -> Result<(), DatapathError> {
        let values: Vec<(u32, u32)> = inner
            .iter()
            .map(|(key, map)| (*key, map.fd().as_raw_fd() as u32))
            .collect();
        self.map
            .set_all(&values)
            .map_err(self.failed("putting tables in"))
    }

    /// The inner map of a slot.
    pub(super) fn inner(&self, key: u32) -> Result<Option<Map>, DatapathError> {
        let Some(id) = self.get::<u32>(key)? else {
            return Ok(None);
        };
        Map::by_id(id)
            .map(Some)
            .map_err(self.failed(&format!("opening table {key}")))
    }

    /// Slots in use of an outer map, with the ids of their inner maps. Before Linux 6.8 each look at a
    /// slot waits for a grace period, which for all of them is minutes: only those in `likely` are
    /// looked at there.
    pub(super) fn inner_ids(
        &self,
        likely: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<(u32, u32)>, DatapathError> {
        if KernelVersion::current().is_ok_and(|kernel| kernel.code() < 6 << 16 | 8 << 8) {
            let mut held = Vec::new();
            for key in likely {
                held.extend(self.get::<u32>(key)?.map(|id| (key, id)));
            }
            return Ok(held);
        }
        let ids = self.read_all(0u32)?;
        Ok((0..).zip(ids).filter(|(_, id)| *id != 0).collect())
    }
}
