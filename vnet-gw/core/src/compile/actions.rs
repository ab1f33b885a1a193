//! The numbering of a table's actions.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
    net::IpAddr,
};

use vnet_gw_common::table::Leaf;

use super::ActionImage;

/// Actions in the order of their first use.
#[derive(Default)]
pub(super) struct Actions {
    list: Vec<ActionImage>,
    numbers: BTreeMap<ActionImage, u32>,
    /// Of appliances that were resolved before. A table may have a million routes and a thousand
    /// appliances: this look-up is most of what a route costs.
    appliances: HashMap<IpAddr, u32, BuildHasherDefault<Mix>>,
}

/// More actions than a leaf can number.
#[derive(Debug)]
pub(super) struct Full;

impl Actions {
    /// Number 0 is "no route".
    pub(super) const LIMIT: usize = Leaf::MAX_ACTIONS as usize - 1;

    pub(super) fn number(&mut self, action: &ActionImage) -> Result<u32, Full> {
        if let Some(&number) = self.numbers.get(action) {
            return Ok(number);
        }
        if self.list.len() == Self::LIMIT {
            return Err(Full);
        }
        let number = self.list.len() as u32;
        self.list.push(action.clone());
        self.numbers.insert(action.clone(), number);
        Ok(number)
    }

    /// The number of the appliance's action; `resolve` is asked once an address.
    pub(super) fn appliance(
        &mut self,
        address: IpAddr,
        resolve: impl FnOnce() -> ActionImage,
    ) -> Result<u32, Full> {
        if let Some(&number) = self.appliances.get(&address) {
            return Ok(number);
        }
        let number = self.number(&resolve())?;
        self.appliances.insert(address, number);
        Ok(number)
    }

    pub(super) fn into_list(self) -> Vec<ActionImage> {
        self.list
    }
}

/// A multiply-and-fold hash. Addresses come from the operator's own configuration, and a table has
/// two thousand of them at most, so nobody gains by finding collisions.
#[derive(Default)]
struct Mix(u64);

impl Mix {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0x9fb2_1c65_1e98_df25_u64);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length of an address says no more than its family.
    }

    fn write_isize(&mut self, word: isize) {
        self.fold(word as u64 ^ 0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
