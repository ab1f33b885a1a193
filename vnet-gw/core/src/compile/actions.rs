//! The numbering of a table's actions.

use std::{collections::BTreeMap, net::IpAddr};

use vnet_gw_common::table::Leaf;

use super::ActionImage;
use crate::hash::FastMap;

/// Actions in the order of their first use.
#[derive(Default)]
pub(super) struct Actions {
    list: Vec<ActionImage>,
    numbers: BTreeMap<ActionImage, u32>,
    /// Of appliances that were resolved before. A table may have a million routes and a thousand
    /// appliances: this look-up is most of what a route costs.
    appliances4: FastMap<u32, u32>,
    appliances6: FastMap<u128, u32>,
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
        let known = match address {
            IpAddr::V4(address) => self.appliances4.get(&address.to_bits()),
            IpAddr::V6(address) => self.appliances6.get(&address.to_bits()),
        };
        if let Some(&number) = known {
            return Ok(number);
        }
        let number = self.number(&resolve())?;
        match address {
            IpAddr::V4(address) => self.appliances4.insert(address.to_bits(), number),
            IpAddr::V6(address) => self.appliances6.insert(address.to_bits(), number),
        };
        Ok(number)
    }

    pub(super) fn into_list(self) -> Vec<ActionImage> {
        self.list
    }
}
