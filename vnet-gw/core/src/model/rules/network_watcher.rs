//! Network watchers: a subscription has one in a region.

use std::collections::BTreeMap;

use super::error;
use crate::model::{
    ResourceId,
    error::{Errors, cut},
};

/// Where there is one: subscription and region.
#[derive(Default)]
pub(super) struct Places<'a>(BTreeMap<(String, Option<&'a str>), &'a ResourceId>);

impl<'a> Places<'a> {
    pub(super) fn take(
        &mut self,
        id: &'a ResourceId,
        location: Option<&'a str>,
        errors: &mut Errors,
    ) {
        let subscription = id.key().split('/').nth(2).unwrap_or_default().to_owned();
        let Some(first) = self.0.insert((subscription, location), id) else {
            return;
        };
        let region = location.unwrap_or("the resource group's region");
        errors.push(error(
            "NetworkWatcherCountLimitReached",
            id,
            format!(
                "Cannot create more than 1 network watcher for this subscription in {}: {first} is \
                 there. Use that, or remove it first.",
                cut(region)
            ),
        ));
    }
}
