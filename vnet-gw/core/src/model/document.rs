//! One resource at a time: reading what a store keeps, and holding all of it against the rules.
//!
//! Reading is lenient where a template's is strict: a store keeps what a client wrote, and gives it
//! back. So what has no effect here is told as a [`Warning`]; what would change what is forwarded,
//! and is not carried out, is refused all the same, and so is every value of a wrong type.

use serde_json::{Map, Value};

use super::{
    ArmError, Kind, PeeringState, ResourceId, Topology,
    error::{Errors, Note},
    hidden::{Hidden, is_key},
    read::{self, Fragment, Resource},
    rules,
};
use crate::secret::Secret;

/// What a document says that has no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The id of the resource, with the path of the property behind it:
    /// `/subscriptions/…/virtualNetworks/VNet1: properties.bgpCommunities`.
    pub target: String,
    pub message: String,
}

/// A document that was read: its properties have their types. Kept, so that a change of one
/// resource reads no other again.
#[derive(Clone, Debug, Default)]
pub struct ReadDocument {
    pub warnings: Vec<Warning>,
    /// `None` of a document that says nothing.
    fragment: Option<Fragment>,
}

/// That a resource needs another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Who refers: the document, or a child in it.
    pub from: &'a ResourceId,
    pub kind: Kind,
    pub to: &'a ResourceId,
}

impl ReadDocument {
    /// The same of a document that a file of its resource group says: a peering with a network of
    /// another group waits for that, as a template's does.
    #[must_use]
    pub fn of_file(mut self) -> Self {
        if let Some(Fragment {
            resource: Resource::VirtualNetwork(draft),
            ..
        }) = &mut self.fragment
        {
            draft.waits = true;
        }
        self
    }

    /// What the document refers to and cannot do without. Peerings are not among them: a peering
    /// outlives its other side.
    pub fn references(&self) -> Vec<Reference<'_>> {
        let mut references = Vec::new();
        if let Some(fragment) = &self.fragment {
            fragment.resource.each_reference(&mut |from, kind, to| {
                references.push(Reference { from, kind, to });
            });
        }
        references
    }

    /// The document's peering that uses the gateway of the VNet `hub`, where it is a VNet's and has
    /// one. It is no reference: who ends the peering needs the gateway no more.
    pub(crate) fn uses_gateway_of(&self, hub: &ResourceId) -> Option<&ResourceId> {
        let Some(Resource::VirtualNetwork(draft)) = self.resource() else {
            return None;
        };
        let mut peerings = draft.network.peerings.values();
        let user = peerings.find(|peering| {
            peering.use_remote_gateways
                && peering.remote_virtual_network == *hub
                && peering.peering_state != PeeringState::Disconnected
                && !draft.unverified_gateways.contains(&peering.id)
        });
        user.map(|peering| &peering.id)
    }

    /// Whether it is a gateway in the VNet `vnet`.
    pub(crate) fn is_gateway_of(&self, vnet: &ResourceId) -> bool {
        let Some(Resource::VirtualNetworkGateway(draft)) = self.resource() else {
            return false;
        };
        let first = draft.ip_configurations.first();
        first.is_some_and(|first| first.subnet.parent() == *vnet)
    }

    fn resource(&self) -> Option<&Resource> {
        Some(&self.fragment.as_ref()?.resource)
    }
}

/// Reads one top-level resource with its children. Properties that Azure does not know, or that
/// change nothing here, become warnings; those that would change what is forwarded, and are not
/// carried out, are refused.
///
/// `location` is that of its resource group, for a body that has none; `key` the shared key of a
/// connection. A peering's `peeringState` and `remoteAddressSpace` are what was written back after
/// it was settled, never what a client says: without the first it is new, without the second its
/// remote address space is synchronised now.
///
/// # Errors
///
/// Everything that is wrong with it, with paths below the body. None shows a key.
pub fn read_document(
    id: &ResourceId,
    kind: Kind,
    body: &Map<String, Value>,
    location: &str,
    key: Option<&Secret>,
) -> Result<ReadDocument, ArmError> {
    let hidden = Hidden::default();
    hide_keys(body, &hidden);
    let mut errors = Errors::of_documents();
    let mut draft = read::read_one(id, kind, body, location, key, &mut errors);
    let notes = errors.take_notes();
    let told = std::mem::replace(&mut errors, Errors::of_documents()).into_result();
    told.map_err(|error| hidden.scrub(error))?;
    rules::alone(&mut draft, &mut errors);
    errors.into_result().map_err(|error| hidden.scrub(error))?;
    let warning = |note: Note| {
        let shown = hidden.scrub(ArmError::new("", note.message).at(note.path));
        Warning {
            target: format!("{id}: {}", shown.target.unwrap_or_default()),
            message: shown.message,
        }
    };
    Ok(ReadDocument {
        warnings: notes.into_iter().map(warning).collect(),
        fragment: draft.into_fragments().pop(),
    })
}

/// Holds all resources against one another. What was there before keeps what it was given
/// (dynamic addresses, what a peering was last synchronised with): that stands in the documents.
/// New dynamic addresses are given in the order of the documents.
///
/// Values that follow from one document alone are shared with it, so that topologies that differ
/// in little share the rest.
///
/// # Errors
///
/// Every rule that is broken; targets are ids.
pub fn settle<'a>(documents: impl Iterator<Item = &'a ReadDocument>) -> Result<Topology, ArmError> {
    let mut errors = Errors::of_documents();
    let fragments = documents.filter_map(|document| document.fragment.as_ref());
    let topology = rules::together(fragments, &mut errors);
    errors.into_result()?;
    Ok(topology)
}

/// The topology after changes, from the one `before` them, where each concerns nobody but its own
/// resource: what [`settle`] would make of all documents, without a look at those that did not
/// change. Nothing where a change may concern others, and so also where a rule may be broken.
///
/// Of each change the document as it was, which `before` was settled with, and as it is.
pub fn settle_again<'a>(
    before: &Topology,
    changes: impl Iterator<Item = (Option<&'a ReadDocument>, Option<&'a ReadDocument>)>,
) -> Option<Topology> {
    let of = |document: Option<&'a ReadDocument>| document?.fragment.as_ref();
    rules::again(before, changes.map(|(old, new)| (of(old), of(new))))
}

/// A key is no document's to have; one that is there all the same is not told.
fn hide_keys(fields: &Map<String, Value>, hidden: &Hidden) {
    for (name, value) in fields {
        match value {
            value if is_key(name) => hidden.value(value),
            Value::Object(fields) => hide_keys(fields, hidden),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_object)
                .for_each(|fields| hide_keys(fields, hidden)),
            _ => {}
        }
    }
}
