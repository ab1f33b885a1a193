//! `networkWatchers`: where questions are asked. There is nothing to say of one.

use super::{Reader, envelope::Envelope};
use crate::model::object::{Object, QUIET, Schema};

const NETWORK_WATCHER: Schema = &[("provisioningState", QUIET), ("runningOperationIds", QUIET)];

impl Reader<'_> {
    pub(super) fn network_watcher(&mut self, envelope: &Envelope<'_>) {
        let path = envelope.properties_path();
        Object::open(envelope.properties, &path, NETWORK_WATCHER, self.errors);
        self.draft.network_watchers.insert(envelope.id.clone());
    }
}
