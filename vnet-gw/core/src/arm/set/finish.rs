//! What a set of changes comes to, held against the rules.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use imbl::ordmap::DiffItem;

use super::ChangeSet;
use crate::{
    arm::{Applied, Document, Origin, Outcome, State, in_use, write_back},
    model::{
        ArmError, ById, Errors, Kind, ReadDocument, ResourceId, Topology, read_document, settle,
        settle_again,
    },
};

/// Azure makes keys of the same kind, letters and digits; 190 bits are enough.
const MADE_KEY_LENGTH: usize = 32;

type Reads = ById<Arc<ReadDocument>>;

impl ChangeSet<'_> {
    pub(in crate::arm) fn finish(mut self) -> Result<Applied, ArmError> {
        self.forget_what_is_as_it_was();
        if self.documents.is_empty() && self.keys.is_empty() {
            return Ok(self.applied(None));
        }
        let changed = self.documents.iter().filter(|(_, d)| d.is_some());
        let rekeyed = self.keys.iter().filter(|(_, key)| key.is_some());
        let ids: BTreeSet<ResourceId> = changed
            .map(|(id, _)| id)
            .chain(rekeyed.map(|(id, _)| id))
            .cloned()
            .collect();
        let fresh = self.read(&ids)?;
        let mut read = self.base.read.clone();
        for (id, document) in &self.documents {
            if document.is_none() {
                read.remove(id);
            }
        }
        read.extend(fresh);
        self.check_in_use(&read)?;
        if let Some(topology) = self.settle_again(&read) {
            let references = Arc::clone(&self.base.references);
            let written = self.write_back(&topology, &BTreeSet::new());
            read.extend(self.read(&written)?);
            self.forget_what_is_as_it_was();
            let mut applied = self.applied(Some((topology, read)));
            // What concerns nobody else refers to nobody else than before.
            applied.state.references = references;
            return Ok(applied);
        }
        let mut topology = settle(read.values().map(|read| &**read))?;
        let keyed = self.make_keys(&topology);
        if !keyed.is_empty() {
            read.extend(self.read(&keyed)?);
            topology = settle(read.values().map(|read| &**read))?;
        }
        self.addresses_stay(&topology)?;
        let written = self.write_back(&topology, &self.peered(&topology));
        read.extend(self.read(&written)?);
        self.forget_what_is_as_it_was();
        Ok(self.applied(Some((topology, read))))
    }

    /// What a set changed and changed back is not changed.
    fn forget_what_is_as_it_was(&mut self) {
        let base = self.base;
        self.keys
            .retain(|id, key| key.as_ref() != base.keys.get(id));
        let keys = &self.keys;
        self.documents
            .retain(|id, document| match (document, base.documents.get(id)) {
                (None, None) => false,
                (Some(new), Some(old)) => {
                    let same = new.body == old.body && new.origin == old.origin;
                    // A PUT with another key changes the resource, though not what is shown of it.
                    let rekeyed = keys.contains_key(id) && new.etag != old.etag;
                    !same || rekeyed
                }
                _ => true,
            });
        self.groups
            .retain(|id, group| group.as_ref() != base.groups.get(id));
    }

    /// `read` is what the set leaves.
    fn check_in_use(&self, read: &Reads) -> Result<(), ArmError> {
        let mut removed: BTreeMap<ResourceId, Kind> = BTreeMap::new();
        for (id, new) in &self.documents {
            let Some(old) = self.base.documents.get(id) else {
                continue;
            };
            if new.is_none() {
                removed.insert(id.clone(), old.kind);
            }
            if old.kind == Kind::VirtualNetwork {
                let left: BTreeSet<ResourceId> = match new {
                    Some(new) => in_use::subnets(new).collect(),
                    None => BTreeSet::new(),
                };
                let gone = in_use::subnets(old).filter(|subnet| !left.contains(subnet));
                removed.extend(gone.map(|subnet| (subnet, Kind::Subnet)));
            }
        }
        if removed.is_empty() {
            return Ok(());
        }
        let mut errors = Errors::default();
        for error in in_use::check(&removed, read.values().map(|read| &**read)) {
            errors.push(error);
        }
        for (id, kind) in &removed {
            let gateways = &self.base.topology.virtual_network_gateways;
            if let (Kind::VirtualNetworkGateway, Some(gateway)) = (kind, gateways.get(id)) {
                let left = read.values().map(|read| &**read);
                if let Some(error) = in_use::transit(id, &gateway.virtual_network, left) {
                    errors.push(error);
                }
            }
        }
        errors.into_result()
    }

    /// Reads documents, as the set leaves them.
    fn read(&self, ids: &BTreeSet<ResourceId>) -> Result<Reads, ArmError> {
        let mut errors = Errors::default();
        let mut read = Reads::new();
        for document in ids.iter().filter_map(|id| self.document(id)) {
            if let Some(result) = errors.keep(self.read_one(document)) {
                read.insert(document.id.clone(), Arc::new(result));
            }
        }
        errors.into_result()?;
        Ok(read)
    }

    fn read_one(&self, document: &Document) -> Result<ReadDocument, ArmError> {
        let target = crate::arm::Target::known(document.kind, &document.id);
        let location = &self.needed_group(&target)?.location;
        let Document { id, kind, body, .. } = document;
        let read = read_document(id, *kind, body, location, self.key(id));
        let read = read.map_err(|error| within(error, id))?;
        Ok(match document.origin {
            Origin::File => read.of_file(),
            Origin::Api => read,
        })
    }

    /// Keys for the connections that have none; those of a pair share one. Answers whose were made.
    fn make_keys(&mut self, topology: &Topology) -> BTreeSet<ResourceId> {
        let mut made = BTreeSet::new();
        for pair in topology.connections_without_key() {
            let key = self.assign.shared_key(MADE_KEY_LENGTH);
            for id in pair {
                self.keys.insert(id.clone(), Some(key.clone()));
                made.insert(id);
            }
        }
        // Whose connection back has one.
        for connection in topology.connections.values() {
            if connection.shared_key.is_none()
                && let Some(key) = topology.shared_key(connection)
            {
                self.keys.insert(connection.id.clone(), Some(key.clone()));
                made.insert(connection.id.clone());
            }
        }
        made
    }

    /// An address that was given to somebody stays theirs: nobody else's change takes it away.
    fn addresses_stay(&self, topology: &Topology) -> Result<(), ArmError> {
        let moving = |document: &Document| {
            matches!(
                document.kind,
                Kind::VirtualNetwork | Kind::NetworkInterface | Kind::VirtualNetworkGateway
            )
        };
        if !self.documents.values().flatten().any(|d| moving(d)) {
            return Ok(());
        }
        let mut errors = Errors::default();
        let before = &self.base.topology;
        let unchanged = |id: &ResourceId| !self.documents.contains_key(id);
        let (old, new) = (&before.network_interfaces, &topology.network_interfaces);
        for (id, old, new) in differing(old, new) {
            let pairs = old.ip_configurations.iter().zip(&new.ip_configurations);
            for (one, other) in pairs.filter(|_| unchanged(id)) {
                if one.private_ip_address != other.private_ip_address {
                    errors.push(moved(topology, id, one.private_ip_address, &one.subnet));
                }
            }
        }
        let (old, new) = (
            &before.virtual_network_gateways,
            &topology.virtual_network_gateways,
        );
        for (id, old, new) in differing(old, new) {
            let pairs = old.ip_configurations.iter().zip(&new.ip_configurations);
            for (one, other) in pairs.filter(|_| unchanged(id)) {
                if one.private_ip_address != other.private_ip_address {
                    errors.push(moved(topology, id, one.private_ip_address, &old.subnet));
                }
            }
        }
        errors.into_result()
    }

    /// Where the changes concern nobody else. `read` is what the set leaves.
    fn settle_again(&self, read: &Reads) -> Option<Topology> {
        if !self.keys.is_empty() {
            return None;
        }
        let changes = self.documents.keys().map(|id| {
            let old = self.base.read.get(id).map(|read| &**read);
            (old, read.get(id).map(|read| &**read))
        });
        settle_again(&self.base.topology, changes)
    }

    /// The networks that are peered with those of the set.
    fn peered(&self, topology: &Topology) -> BTreeSet<ResourceId> {
        let networks: HashSet<&ResourceId> = self
            .documents
            .iter()
            .filter(|(id, new)| {
                let old = || self.base.documents.get(*id);
                let kind = new.as_ref().or_else(old).map(|document| document.kind);
                kind == Some(Kind::VirtualNetwork)
            })
            .map(|(id, _)| id)
            .collect();
        if networks.is_empty() {
            return BTreeSet::new();
        }
        let peered = topology.virtual_networks.values().filter(|network| {
            let mut remotes = network.peerings.values();
            remotes.any(|peering| networks.contains(&peering.remote_virtual_network))
        });
        peered.map(|network| network.id.clone()).collect()
    }

    /// Writes what was settled into the documents of the set, and into `others`. Answers which it
    /// wrote.
    fn write_back(
        &mut self,
        topology: &Topology,
        others: &BTreeSet<ResourceId>,
    ) -> BTreeSet<ResourceId> {
        let concerned: Vec<ResourceId> = self.documents.keys().chain(others).cloned().collect();
        let mut written = BTreeSet::new();
        for id in concerned {
            let Some(document) = self.document(&id) else {
                continue;
            };
            let assigned = write_back::assigned(document, topology);
            if assigned.is_empty() {
                continue;
            }
            // Of a document of the set, the etag is new already.
            let etag = (!self.documents.contains_key(&id)).then(|| self.assign.guid());
            if let Some(document) = self.document_mut(&id) {
                write_back::write(&mut document.body, assigned);
                if let Some(etag) = etag {
                    document.etag = etag;
                }
            }
            written.insert(id);
        }
        written
    }

    fn applied(self, settled: Option<(Topology, Reads)>) -> Applied {
        let base = self.base;
        let mut state = State::clone(base);
        let outcomes = self.done.iter().map(|(outcome, document)| {
            let as_it_was =
                |id: &ResourceId| !self.documents.contains_key(id) && !self.keys.contains_key(id);
            match (outcome, document) {
                (Outcome::Updated, Some(id)) if as_it_was(id) => Outcome::Unchanged,
                (outcome, _) => *outcome,
            }
        });
        let outcomes = outcomes.collect();
        let mut applied = Applied {
            state: State::default(),
            written: Vec::new(),
            removed: Vec::new(),
            groups_written: Vec::new(),
            groups_removed: Vec::new(),
            keys: self.keys.keys().cloned().collect(),
            outcomes,
            warnings: Vec::new(),
        };
        if let Some((topology, read)) = settled {
            state.topology = Arc::new(topology);
            state.references = Arc::default();
            state.read = read;
        }
        if !self.documents.is_empty() {
            for (id, document) in self.documents {
                match document {
                    Some(document) => {
                        applied.written.push(document.id.clone());
                        state.documents.insert(id, document);
                    }
                    None => {
                        state.documents.remove(&id);
                        applied.removed.push(id);
                    }
                }
            }
        }
        if !self.keys.is_empty() {
            change_map(Arc::make_mut(&mut state.keys), self.keys);
        }
        for (id, group) in &self.groups {
            match group {
                Some(_) => applied.groups_written.push(id.clone()),
                None => applied.groups_removed.push(id.clone()),
            }
        }
        if !self.groups.is_empty() {
            change_map(Arc::make_mut(&mut state.groups), self.groups);
        }
        let asked: BTreeSet<&ResourceId> =
            self.done.iter().filter_map(|(_, id)| id.as_ref()).collect();
        let read = asked.into_iter().filter_map(|id| state.read.get(id));
        applied.warnings = read.flat_map(|read| read.warnings.clone()).collect();
        applied.state = state;
        applied
    }
}

/// What two maps both have and differs; what they share is not looked at.
fn differing<'m, V: PartialEq>(
    old: &'m ById<V>,
    new: &'m ById<V>,
) -> impl Iterator<Item = (&'m ResourceId, &'m V, &'m V)> {
    old.diff(new).filter_map(|item| match item {
        DiffItem::Update { old, new } => Some((old.0, old.1, new.1)),
        DiffItem::Add(..) | DiffItem::Remove(..) => None,
    })
}

fn change_map<K: Ord, V>(map: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        match value {
            Some(value) => {
                map.insert(key, value);
            }
            None => {
                map.remove(&key);
            }
        }
    }
}

/// An error with a path below the body, at a resource.
pub(in crate::arm) fn within(mut error: ArmError, id: &ResourceId) -> ArmError {
    error.target = Some(match error.target {
        Some(target) if target.starts_with('/') => target,
        Some(path) => format!("{id}: {path}"),
        None => id.to_string(),
    });
    error.details = error.details.into_iter().map(|e| within(e, id)).collect();
    error
}

/// Somebody would lose an address that they were given.
fn moved(
    topology: &Topology,
    whose: &ResourceId,
    address: std::net::IpAddr,
    subnet: &ResourceId,
) -> ArmError {
    let interfaces = topology.network_interfaces.iter();
    let taker = interfaces
        .filter(|(_, interface)| {
            let mut configurations = interface.ip_configurations.iter();
            configurations.any(|c| c.subnet == *subnet && c.private_ip_address == address)
        })
        .map(|(id, _)| id)
        .next();
    match taker {
        Some(taker) => ArmError::new(
            "PrivateIPAddressInUse",
            format!("IP address {address} is allocated to {whose}: use another."),
        )
        .at(taker.as_str()),
        None => ArmError::new(
            "InUsePrefixCannotBeDeleted",
            format!(
                "The prefix of the subnet {subnet} that {address} is in has active allocations \
                 ({whose}) and cannot be deleted."
            ),
        )
        .at(subnet.as_str()),
    }
}
