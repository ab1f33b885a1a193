//! All resources of an instance, and how a set of changes makes new ones of them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Applied, Assign, Change, Document, GroupId, Origin, ProvisioningState, ResourceGroup, Target,
    json,
    set::{ChangeSet, child, within},
    view::References,
};
use crate::{
    model::{
        ArmError, ById, Errors, ReadDocument, ResourceId, Topology, normalise_location,
        read_document, settle,
    },
    secret::Secret,
};

/// Everything that is kept, validated as a whole. Cheap to clone: readers hold one while the next
/// is made.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub groups: Arc<BTreeMap<GroupId, ResourceGroup>>,
    pub documents: ById<Arc<Document>>,
    /// Shared keys by connection: all that have one, set or made here.
    pub keys: Arc<BTreeMap<ResourceId, Secret>>,
    pub topology: Arc<Topology>,
    /// What the reader made of each document, so that a change reads only what it changes.
    pub read: ById<Arc<ReadDocument>>,
    /// Documents that the data path does not carry as they are, or not yet. Whoever carries them out
    /// keeps this.
    pub unsettled: Arc<BTreeMap<ResourceId, ProvisioningState>>,
    /// Who refers to whom in the topology, worked out when it is first shown.
    pub references: Arc<References>,
}

impl State {
    /// From what a store has. Keys of connections that are not there are left out.
    ///
    /// # Errors
    ///
    /// Where the resources do not hold together: another version wrote them, or a hand.
    pub fn load(
        groups: Vec<ResourceGroup>,
        documents: Vec<Document>,
        mut keys: BTreeMap<ResourceId, Secret>,
    ) -> Result<Self, ArmError> {
        let groups: BTreeMap<GroupId, ResourceGroup> =
            groups.into_iter().map(|g| (g.id.clone(), g)).collect();
        let mut errors = Errors::default();
        let mut read = ById::new();
        for document in &documents {
            let Document { id, kind, body, .. } = document;
            let Some(group) = groups.get(&GroupId::of(id)) else {
                let message = format!("The resource group of {id} is not there.");
                errors.push(ArmError::new("ResourceGroupNotFound", message).at(id.as_str()));
                continue;
            };
            let result = read_document(id, *kind, body, &group.location, keys.get(id));
            let result = result.map(|read| match document.origin {
                Origin::File => read.of_file(),
                Origin::Api => read,
            });
            if let Some(result) = errors.keep(result.map_err(|error| within(error, id))) {
                read.insert(id.clone(), Arc::new(result));
            }
        }
        errors.into_result()?;
        let topology = settle(read.values().map(|read| &**read))?;
        let documents: ById<Arc<Document>> = documents
            .into_iter()
            .map(|document| (document.id.clone(), Arc::new(document)))
            .collect();
        keys.retain(|id, _| documents.contains_key(id));
        Ok(Self {
            groups: Arc::new(groups),
            documents,
            keys: Arc::new(keys),
            topology: Arc::new(topology),
            read,
            ..Self::default()
        })
    }

    /// Carries out a set of changes, all or none.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, as one [`ArmError`]; `self` is as it was.
    pub fn apply(&self, changes: &[Change], assign: &mut dyn Assign) -> Result<Applied, ArmError> {
        let mut set = ChangeSet::new(self, assign);
        let mut errors = Errors::default();
        for change in changes {
            errors.keep(set.change(change));
        }
        errors.into_result()?;
        set.finish()
    }

    /// The target with its names as they were first written; nothing where it is not there.
    pub fn find(&self, target: &Target) -> Option<Target> {
        let document = self.documents.get(&target.document)?;
        if document.kind.children().contains(&target.kind) {
            let item = child(&document.body, target)?;
            let name = json::text(item, "name")?;
            let id = target
                .kind
                .id(document.id.group(), &[document.id.name(), name]);
            return Some(Target::known(target.kind, &id));
        }
        (document.kind == target.kind).then(|| Target::known(target.kind, &document.id))
    }

    /// The documents of a group.
    pub fn in_group<'a>(
        &'a self,
        group: &GroupId,
    ) -> impl Iterator<Item = &'a ResourceId> + use<'a> {
        let scope = format!("{}/providers/", group.key());
        let start = ResourceId::new(&scope);
        let documents = self.documents.range(start..).map(|(id, _)| id);
        documents.take_while(move |id| id.key().starts_with(&scope))
    }

    /// Of a top-level resource, and of everything in it.
    pub fn provisioning(&self, document: &ResourceId) -> ProvisioningState {
        let unsettled = self.unsettled.get(document).copied();
        unsettled.unwrap_or(ProvisioningState::Succeeded)
    }

    /// Where a resource is, as Azure writes it; where none was written, that of its group.
    pub fn location(&self, document: &Document) -> Option<String> {
        match json::text(&document.body, "location") {
            Some(written) => Some(normalise_location(written)),
            None => {
                let group = self.groups.get(&GroupId::of(&document.id))?;
                Some(group.location.clone())
            }
        }
    }

    /// A top-level resource.
    pub fn document(&self, id: &ResourceId) -> Option<&Arc<Document>> {
        self.documents.get(id)
    }
}
