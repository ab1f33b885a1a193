//! What an id or the path of a URL names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{ArmError, Kind, ResourceId};

/// `/subscriptions/S/resourceGroups/G`; compares without case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupId {
    pub subscription: String,
    /// As first written.
    pub name: String,
}

/// One resource of the types that are carried out: top-level, or a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    pub id: ResourceId,
    /// The top-level resource it is in: itself, where it is one.
    pub document: ResourceId,
}

impl Target {
    /// From a full id or the path of a URL (without its query).
    ///
    /// # Errors
    ///
    /// `InvalidResourceType`, `InvalidResourceNamespace`, `InvalidResourceName`,
    /// `InvalidResourceId`
    pub fn parse(path: &str) -> Result<Self, ArmError> {
        Err(ArmError::new("NotSupported", path))
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/subscriptions/{}/resourceGroups/{}",
            self.subscription, self.name
        )
    }
}
