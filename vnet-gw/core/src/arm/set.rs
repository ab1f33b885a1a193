//! A set of changes on its way: each makes new documents of those that the ones before it left.
//! What the set comes to is held against the rules afterwards, in `finish`.

mod finish;
mod group;
mod put;

pub(super) use finish::within;

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Assign, Change, Document, GroupId, Outcome, Precondition, ResourceGroup, SharedKeyChange,
    State, Target, carry,
    json::{self, Object},
};
use crate::{
    model::{ArmError, Kind, ResourceId},
    secret::Secret,
};

/// What `Reset` makes at most, as the reader takes no longer key.
const LONGEST_KEY: usize = 128;

pub(super) struct ChangeSet<'a> {
    base: &'a State,
    assign: &'a mut dyn Assign,
    /// What differs from the base, or may; nothing where it is gone.
    documents: BTreeMap<ResourceId, Option<Arc<Document>>>,
    groups: BTreeMap<GroupId, Option<ResourceGroup>>,
    keys: BTreeMap<ResourceId, Option<Secret>>,
    /// What each change did, and to which document.
    done: Vec<(Outcome, Option<ResourceId>)>,
    /// Public addresses that somebody has; made when one is given out.
    taken: Option<HashSet<IpAddr>>,
    pool: Option<Vec<IpAddr>>,
}

impl<'a> ChangeSet<'a> {
    pub(super) fn new(base: &'a State, assign: &'a mut dyn Assign) -> Self {
        Self {
            base,
            assign,
            documents: BTreeMap::new(),
            groups: BTreeMap::new(),
            keys: BTreeMap::new(),
            done: Vec::new(),
            taken: None,
            pool: None,
        }
    }

    /// Carries out the next change.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), ArmError> {
        let (outcome, document) = match change {
            Change::Put(put) => (self.put(put)?, Some(&put.target.document)),
            Change::Tags {
                target,
                tags,
                precondition,
            } => (
                self.tags(target, tags, precondition)?,
                Some(&target.document),
            ),
            Change::Delete {
                target,
                precondition,
            } => (self.delete(target, precondition)?, Some(&target.document)),
            Change::PutGroup(group) => (self.put_group(group)?, None),
            Change::DeleteGroup(group) => (self.delete_group(group), None),
            Change::SharedKey { connection, change } => {
                (self.shared_key(connection, change)?, None)
            }
        };
        self.done.push((outcome, document.cloned()));
        Ok(())
    }

    fn document(&self, id: &ResourceId) -> Option<&Arc<Document>> {
        match self.documents.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.base.documents.get(id),
        }
    }

    /// The document, to be changed.
    fn document_mut(&mut self, id: &ResourceId) -> Option<&mut Document> {
        if !self.documents.contains_key(id) {
            let (id, known) = self.base.documents.get_key_value(id)?;
            self.documents.insert(id.clone(), Some(Arc::clone(known)));
        }
        // Copied once in a set, since the base has it, too.
        self.documents.get_mut(id)?.as_mut().map(Arc::make_mut)
    }

    fn key(&self, connection: &ResourceId) -> Option<&Secret> {
        match self.keys.get(connection) {
            Some(changed) => changed.as_ref(),
            None => self.base.keys.get(connection),
        }
    }

    /// PATCH of tags.
    fn tags(
        &mut self,
        target: &Target,
        tags: &BTreeMap<String, String>,
        precondition: &Precondition,
    ) -> Result<Outcome, ArmError> {
        if target.is_child() {
            let message = format!("A {} has no tags.", target.kind.noun());
            return Err(ArmError::new("MethodNotAllowed", message).at(target.id.as_str()));
        }
        let Some(document) = self.document(&target.document) else {
            return Err(not_found(target));
        };
        precondition.check(target, Some(&document.etag))?;
        let tags: Object = tags
            .iter()
            .map(|(name, text)| (name.clone(), text.as_str().into()))
            .collect();
        let known = json::object(&document.body, "tags");
        if known.map_or(tags.is_empty(), |known| *known == tags) {
            return Ok(Outcome::Unchanged);
        }
        let etag = self.assign.guid();
        let Some(document) = self.document_mut(&target.document) else {
            return Err(not_found(target));
        };
        json::set(&mut document.body, "tags", tags);
        document.etag = etag;
        Ok(Outcome::Updated)
    }

    fn delete(
        &mut self,
        target: &Target,
        precondition: &Precondition,
    ) -> Result<Outcome, ArmError> {
        let known = self.document(&target.document);
        let etag = known
            .filter(|document| has(document, target))
            .map(|document| document.etag.as_str());
        precondition.check(target, etag)?;
        if etag.is_none() {
            self.needed_group(target)?;
            return Ok(Outcome::Absent);
        }
        if target.is_child() {
            let etag = self.assign.guid();
            let Some(document) = self.document_mut(&target.document) else {
                return Ok(Outcome::Absent);
            };
            document.etag = etag;
            let name = target.kind.list_name();
            if let Some(properties) = json::object_mut(&mut document.body, "properties")
                && let Some(list) = json::make_list(properties, name)
            {
                list.retain(|item| !is_named(item, target.id.name()));
                carry::drop_empty(properties, name);
            }
        } else {
            self.remove(&target.document);
        }
        Ok(Outcome::Deleted)
    }

    /// A top-level resource goes, with its key.
    fn remove(&mut self, id: &ResourceId) {
        if self.key(id).is_some() {
            self.keys.insert(id.clone(), None);
        }
        if self
            .document(id)
            .is_some_and(|d| d.kind == Kind::PublicIpAddress)
        {
            self.taken = None;
        }
        self.documents.insert(id.clone(), None);
    }

    fn shared_key(
        &mut self,
        connection: &ResourceId,
        change: &SharedKeyChange,
    ) -> Result<Outcome, ArmError> {
        let known = self.document(connection);
        if known.is_none_or(|document| document.kind != Kind::Connection) {
            return Err(not_found(&Target::known(Kind::Connection, connection)));
        }
        let key = match change {
            SharedKeyChange::Set(key) if key.is_empty() => {
                let message = "The shared key is empty: give another, or reset it.";
                return Err(ArmError::new("InvalidSharedKey", message).at(connection.as_str()));
            }
            SharedKeyChange::Set(key) => key.clone(),
            SharedKeyChange::Reset(length) if (1..=LONGEST_KEY).contains(length) => {
                self.assign.shared_key(*length)
            }
            SharedKeyChange::Reset(_) => {
                let message = format!("A shared key has 1 to {LONGEST_KEY} characters.");
                return Err(
                    ArmError::new("InvalidSharedKeyLength", message).at(connection.as_str())
                );
            }
        };
        if self.key(connection) == Some(&key) {
            return Ok(Outcome::Unchanged);
        }
        self.keys.insert(connection.clone(), Some(key));
        Ok(Outcome::Updated)
    }
}

impl Precondition {
    /// `etag` is that of the resource, where it is there.
    fn check(&self, target: &Target, etag: Option<&str>) -> Result<(), ArmError> {
        let failed = match (&self.if_match, etag) {
            (Some(wanted), Some(etag)) if wanted == "*" || wanted == etag => None,
            (Some(_), Some(_)) => Some("it was changed meanwhile: read it again"),
            (Some(_), None) => Some("it is not there"),
            (None, _) => None,
        };
        let failed = failed
            .or_else(|| (self.if_none_match && etag.is_some()).then_some("it is there already"));
        match failed {
            None => Ok(()),
            Some(why) => Err(ArmError::new(
                "PreconditionFailed",
                format!("The precondition of the request does not hold for {target}: {why}."),
            )
            .at(target.id.as_str())),
        }
    }
}

/// Whether the document is the target, or has it.
fn has(document: &Document, target: &Target) -> bool {
    !target.is_child() || child(&document.body, target).is_some()
}

/// A child in its parent's body.
pub(super) fn child<'a>(body: &'a Object, target: &Target) -> Option<&'a Object> {
    let properties = json::object(body, "properties")?;
    let name = target.id.name();
    json::objects(properties, target.kind.list_name())
        .find(|item| json::text(item, "name").is_some_and(|known| known.eq_ignore_ascii_case(name)))
}

fn is_named(item: &serde_json::Value, name: &str) -> bool {
    let known = item.as_object().and_then(|item| json::text(item, "name"));
    known.is_some_and(|known| known.eq_ignore_ascii_case(name))
}

fn not_found(target: &Target) -> ArmError {
    let group = target.group();
    ArmError::new(
        "ResourceNotFound",
        format!(
            "The Resource '{}' under resource group '{}' was not found.",
            target.kind.resource_type().to_owned() + "/" + target.id.name(),
            group.name
        ),
    )
    .at(target.id.as_str())
}
