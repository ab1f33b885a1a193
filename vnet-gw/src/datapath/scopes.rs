//! Scopes: the numbers of VNets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use vnet_gw_core::model::ResourceId;

use super::{
    DatapathError,
    load::Maps,
    mirror::{Difference, Ids, Kind, Mirror},
};

#[derive(Debug)]
pub(super) struct Scopes {
    by_vnet: HashMap<ResourceId, u32>,
    vnets: BTreeMap<u32, ResourceId>,
    /// Of an earlier life, by hash.
    adopted: BTreeMap<u64, u32>,
    ids: Ids,
    mirror: Mirror<u64>,
    /// Given out, but not yet in the kernel.
    fresh: Vec<(u32, u64)>,
}

impl Scopes {
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let mirror = Mirror::read(&maps.scopes, Kind::Array, 0, |hash| *hash == 0)?;
        let held = mirror.held();
        Ok(Self {
            by_vnet: HashMap::new(),
            vnets: BTreeMap::new(),
            adopted: held.iter().map(|(id, hash)| (*hash, *id)).collect(),
            ids: Ids::new(
                "VNets",
                vnet_gw_common::maps::MAX_SCOPES,
                held.keys().copied(),
            ),
            mirror,
            fresh: Vec::new(),
        })
    }

    /// The number of a VNet; it keeps it for as long as anything refers to it.
    pub(super) fn id(&mut self, vnet: &ResourceId) -> Result<u32, DatapathError> {
        if let Some(id) = self.by_vnet.get(vnet) {
            return Ok(*id);
        }
        let hash = vnet.stable_hash();
        let id = match self.adopted.get(&hash) {
            Some(id) => *id,
            None => self.ids.take()?,
        };
        if let Some(first) = self.vnets.get(&id) {
            return Err(collision(first, vnet, hash));
        }
        self.vnets.insert(id, vnet.clone());
        self.adopted.insert(hash, id);
        self.by_vnet.insert(vnet.clone(), id);
        self.fresh.push((id, hash));
        Ok(id)
    }

    /// Writes what was given out since.
    pub(super) fn write(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        for (id, hash) in std::mem::take(&mut self.fresh) {
            self.mirror.set(&maps.scopes, id, hash)?;
        }
        Ok(())
    }

    /// Frees what is not in `used`; nothing in the kernel may refer to it any more.
    pub(super) fn retain(
        &mut self,
        maps: &Maps,
        used: &BTreeSet<u32>,
    ) -> Result<(), DatapathError> {
        let unused: Vec<u32> = self
            .mirror
            .held()
            .keys()
            .copied()
            .filter(|id| !used.contains(id))
            .collect();
        for id in unused {
            self.mirror.clear(&maps.scopes, id)?;
            self.ids.give_back(id);
        }
        self.by_vnet.retain(|_, id| used.contains(id));
        self.vnets.retain(|id, _| used.contains(id));
        self.adopted.retain(|_, id| used.contains(id));
        Ok(())
    }

    /// Those in use.
    pub(super) fn numbers(&self) -> BTreeSet<u32> {
        self.vnets.keys().copied().collect()
    }

    pub(super) fn rested(&mut self) {
        self.ids.rested();
    }

    pub(super) fn mend(&mut self, maps: &Maps) -> Result<Vec<(u32, Difference)>, DatapathError> {
        self.mirror.mend(&maps.scopes)
    }
}

pub(super) fn collision(first: &ResourceId, second: &ResourceId, hash: u64) -> DatapathError {
    DatapathError::HashCollision {
        first: first.to_string(),
        second: second.to_string(),
        hash,
    }
}
