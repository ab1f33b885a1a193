//! One resource at a time: reading what a store keeps, and holding all of it against the rules.

use serde_json::{Map, Value};

use super::{ArmError, Kind, ResourceId, Topology};
use crate::secret::Secret;

/// What a document says that has no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The id of the resource, with the path of the property behind it.
    pub target: String,
    pub message: String,
}

/// A document that was read: its properties have their types. Kept, so that a change of one
/// resource reads no other again.
#[derive(Clone, Debug, Default)]
pub struct ReadDocument {
    pub warnings: Vec<Warning>,
}

/// Reads one top-level resource with its children. Properties that Azure does not know, or that
/// change nothing here, become warnings; those that would change what is forwarded, and are not
/// carried out, are refused.
///
/// `location` is that of its resource group, for a body that has none; `key` the shared key of a
/// connection.
///
/// # Errors
///
/// Everything that is wrong with it, with paths below the body.
pub fn read_document(
    id: &ResourceId,
    kind: Kind,
    body: &Map<String, Value>,
    location: &str,
    key: Option<&Secret>,
) -> Result<ReadDocument, ArmError> {
    let _ = (id, kind, body, location, key);
    Ok(ReadDocument::default())
}

/// Holds all resources against one another. What was there before keeps what it was given
/// (dynamic addresses, what a peering was last synchronised with): that stands in the documents.
///
/// # Errors
///
/// Every rule that is broken; targets are ids.
pub fn settle<'a>(documents: impl Iterator<Item = &'a ReadDocument>) -> Result<Topology, ArmError> {
    let _ = documents;
    Ok(Topology::default())
}
