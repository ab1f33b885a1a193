//! Short names for changes, and what they need that no client says.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};

use crate::{
    arm::{
        Applied, Assign, Change, GroupId, Origin, Precondition, Put, ResourceGroup, State, Target,
    },
    model::{ArmError, ResourceId},
    secret::Secret,
};

pub(super) const GROUP: &str = "/subscriptions/s/resourceGroups/g";

/// Counts, so that what is made up is known.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) guids: usize,
    keys: usize,
    pub(super) pool: Vec<IpAddr>,
}

impl Assign for Counting {
    fn guid(&mut self) -> String {
        self.guids += 1;
        format!("guid-{}", self.guids)
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        self.keys += 1;
        Secret::new(format!("{:k>length$}", self.keys))
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        self.pool.clone()
    }
}

/// `virtualNetworks/v1/subnets/a` in the group `g`.
pub(super) fn target(path: &str) -> Target {
    Target::parse(&format!("{GROUP}/providers/Microsoft.Network/{path}")).expect("a valid path")
}

pub(super) fn id(path: &str) -> ResourceId {
    target(path).id
}

pub(super) fn group(name: &str) -> GroupId {
    GroupId::new("s", name).expect("a valid name")
}

pub(super) fn put_group(name: &str) -> Change {
    Change::PutGroup(ResourceGroup {
        id: group(name),
        location: "westeurope".to_owned(),
        tags: BTreeMap::new(),
    })
}

pub(super) fn put_of(target: Target, body: Value) -> Put {
    let Value::Object(body) = body else {
        panic!("a body is an object");
    };
    Put {
        target,
        body,
        precondition: Precondition::default(),
        sync_remote_address_space: false,
        origin: Origin::Api,
    }
}

pub(super) fn put(path: &str, body: Value) -> Change {
    Change::Put(put_of(target(path), body))
}

/// A PUT with these properties.
pub(super) fn of(path: &str, properties: Value) -> Change {
    put(path, json!({ "properties": properties }))
}

pub(super) fn delete(path: &str) -> Change {
    Change::Delete {
        target: target(path),
        precondition: Precondition::default(),
    }
}

/// A state and where what it makes up comes from.
#[derive(Default)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) assign: Counting,
}

impl World {
    /// With the group `g`.
    pub(super) fn new() -> Self {
        let mut world = Self::default();
        world.does(&[put_group("g")]);
        world
    }

    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<Applied, ArmError> {
        let applied = self.state.apply(changes, &mut self.assign)?;
        self.state = applied.state.clone();
        Ok(applied)
    }

    pub(super) fn does(&mut self, changes: &[Change]) -> Applied {
        let applied = self.apply(changes);
        applied.unwrap_or_else(|error| panic!("{:#?}", error.lines()))
    }

    /// The properties of a document.
    pub(super) fn properties(&self, path: &str) -> Value {
        let document = &self.state.documents[&id(path)];
        document.body["properties"].clone()
    }

    pub(super) fn etag(&self, path: &str) -> &str {
        &self.state.documents[&id(path)].etag
    }
}
