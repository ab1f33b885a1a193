//! Resources as labels.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use vnet_gw_core::model::ResourceId;

use crate::control::{group_of, short};

/// `TestRG1/VNet1/FrontEnd`: the resource group and the names of an id.
pub fn label(id: &ResourceId) -> String {
    format!("{}/{}", group_of(id.as_str()), short(id.as_str()))
}

/// What resources of one kind are called in labels: [`label`], or the whole id where two have the
/// same one, in two subscriptions. So two resources never make one time series.
#[derive(Debug, Default)]
pub struct Names {
    by_id: BTreeMap<ResourceId, String>,
}

impl Names {
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a ResourceId>) -> Self {
        let mut by_id: BTreeMap<ResourceId, String> = BTreeMap::new();
        for id in ids {
            by_id.entry(id.clone()).or_insert_with(|| label(id));
        }
        let mut seen = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for name in by_id.values() {
            if !seen.insert(name.clone()) {
                twice.insert(name.clone());
            }
        }
        for (id, name) in &mut by_id {
            if twice.contains(name) {
                *name = id.as_str().to_owned();
            }
        }
        Self { by_id }
    }

    pub fn get(&self, id: &ResourceId) -> Cow<'_, str> {
        match self.by_id.get(id) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(id.as_str().to_owned()),
        }
    }
}
