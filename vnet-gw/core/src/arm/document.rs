//! What is kept of a resource.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::GroupId;
use crate::model::{Kind, ResourceId};

/// A top-level resource. Its children (subnets and peerings, routes, security rules) are inside,
/// where Azure shows them, and share its etag.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Provider and type in Azure's case, group and name as first written.
    pub id: ResourceId,
    pub kind: Kind,
    /// `location`, `tags`, `sku`, `zones`, `properties` …: what the client last wrote, unknown
    /// properties included, and what was assigned once and stays (`resourceGuid`, dynamic
    /// addresses, a peering's state and last synchronised address space). Not `id`, `name`, `type`,
    /// `etag` or `provisioningState`, which are made when it is shown; and never a key.
    pub body: Map<String, Value>,
    /// Changes with every change, and only then. Without quotes.
    pub etag: String,
    pub origin: Origin,
}

/// `provisioningState`: `Succeeded` means that the data path carries it. It is no part of a document,
/// because it changes without one: see [`State::provisioning`](super::State::provisioning).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProvisioningState {
    Succeeded,
    /// Durable, and on its way to the data path.
    Updating,
    Deleting,
    /// The data path could not carry it out.
    Failed,
}

impl ProvisioningState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }
}

/// Who keeps a resource up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Whoever calls the API.
    Api,
    /// The file of `vnet-gw run --config`: what is not in it any more goes.
    File,
}

/// `Microsoft.Resources/resourceGroups`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceGroup {
    pub id: GroupId,
    /// Lower case, without spaces.
    pub location: String,
    pub tags: BTreeMap<String, String>,
}
