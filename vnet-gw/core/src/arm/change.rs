//! What can be asked of the resources, and what came of it.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value};

use super::{GroupId, Origin, ResourceGroup, State, Target};
use crate::{
    model::{ResourceId, Warning},
    secret::Secret,
};

/// One change. A set of them is carried out as a whole, in its order, or not at all; rules are
/// checked on what comes out of the set.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Put(Put),
    /// PATCH of a resource: its tags become these.
    Tags {
        target: Target,
        tags: BTreeMap<String, String>,
        precondition: Precondition,
    },
    Delete {
        target: Target,
        precondition: Precondition,
    },
    PutGroup(ResourceGroup),
    /// With everything in it.
    DeleteGroup(GroupId),
    SharedKey {
        connection: ResourceId,
        change: SharedKeyChange,
    },
}

/// PUT of a resource: it becomes what the body says. Children that the body of a VNet does not
/// mention (no `subnets`, no `virtualNetworkPeerings`) stay, as in Azure; a list that is there is
/// the whole list. A child PUT replaces that child in its parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    pub target: Target,
    /// The body of the request. A `sharedKey` in it is moved to where keys are kept.
    pub body: Map<String, Value>,
    pub precondition: Precondition,
    /// `?syncRemoteAddressSpace=true`, of a peering.
    pub sync_remote_address_space: bool,
    pub origin: Origin,
}

/// `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// Its value, without quotes; `*` is any that exists.
    pub if_match: Option<String>,
    /// `If-None-Match: *`: only where there is none.
    pub if_none_match: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SharedKeyChange {
    Set(Secret),
    /// A new one, of so many characters.
    Reset(usize),
}

/// What a change needs that no client says.
pub trait Assign {
    /// A new random UUID, in lower case with hyphens: `resourceGuid`, etags.
    fn guid(&mut self) -> String;
    /// A new shared key of so many characters.
    fn shared_key(&mut self, length: usize) -> Secret;
    /// Public addresses that may be given to a publicIPAddress that names none, in order of
    /// preference; [`State::apply`] takes the first free one of the family.
    fn public_addresses(&self) -> Vec<IpAddr>;
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    /// As it was before; nothing is written.
    Unchanged,
    Deleted,
    /// A DELETE of what was not there.
    Absent,
}

/// A set of changes that holds.
#[derive(Clone, Debug)]
pub struct Applied {
    /// With all of it; nothing of it is durable yet.
    pub state: State,
    /// Documents that changed, those that follow from others (a peering's state) included.
    pub written: Vec<ResourceId>,
    pub removed: Vec<ResourceId>,
    pub groups_written: Vec<GroupId>,
    pub groups_removed: Vec<GroupId>,
    /// Connections whose key was set or, where the state has none now, removed.
    pub keys: Vec<ResourceId>,
    /// One for each change.
    pub outcomes: Vec<Outcome>,
    /// What the changed resources say that has no effect here.
    pub warnings: Vec<Warning>,
}
