//! All resources of an instance, and how a set of changes makes new ones of them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Applied, Assign, Change, Document, GroupId, ProvisioningState, ResourceGroup, view::References,
};
use crate::{
    model::{ArmError, ReadDocument, ResourceId, Topology},
    secret::Secret,
};

/// Everything that is kept, validated as a whole. Cheap to clone: readers hold one while the next
/// is made.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub groups: Arc<BTreeMap<GroupId, ResourceGroup>>,
    pub documents: Arc<BTreeMap<ResourceId, Arc<Document>>>,
    /// Shared keys by connection: all that have one, set or made here.
    pub keys: Arc<BTreeMap<ResourceId, Secret>>,
    pub topology: Arc<Topology>,
    /// What the reader made of each document, so that a change reads only what it changes.
    pub read: Arc<BTreeMap<ResourceId, Arc<ReadDocument>>>,
    /// Documents that the data path does not carry as they are, or not yet. Whoever carries them out
    /// keeps this.
    pub unsettled: Arc<BTreeMap<ResourceId, ProvisioningState>>,
    /// Who refers to whom, worked out when it is first shown. A clone of a state starts without.
    pub references: References,
}

impl State {
    /// From what a store has.
    ///
    /// # Errors
    ///
    /// Where the resources do not hold together: another version wrote them, or a hand.
    pub fn load(
        groups: Vec<ResourceGroup>,
        documents: Vec<Document>,
        keys: BTreeMap<ResourceId, Secret>,
    ) -> Result<Self, ArmError> {
        let _ = (groups, documents, keys);
        Ok(Self::default())
    }

    /// Carries out a set of changes, all or none.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, as one [`ArmError`]; `self` is as it was.
    pub fn apply(&self, changes: &[Change], assign: &mut dyn Assign) -> Result<Applied, ArmError> {
        let _ = (changes, assign);
        Err(ArmError::new("NotSupported", "not yet"))
    }

    /// Of a top-level resource, and of everything in it.
    pub fn provisioning(&self, document: &ResourceId) -> ProvisioningState {
        let unsettled = self.unsettled.get(document).copied();
        unsettled.unwrap_or(ProvisioningState::Succeeded)
    }

    /// What has no effect here, of one document: told again whenever it is written.
    pub fn document(&self, id: &ResourceId) -> Option<&Arc<Document>> {
        self.documents.get(id)
    }
}
