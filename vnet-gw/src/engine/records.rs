//! The state as records of a store.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vnet_gw_core::{
    arm::{Applied, Document, GroupId, Origin, ResourceGroup, State, Target},
    model::{ArmError, ResourceId},
    secret::Secret,
};
use zeroize::Zeroizing;

use crate::store::{Record, Store, StoreError, Table, Write};

/// Records read at once.
const PAGE: usize = 1024;

/// A [`Document`], whose kind follows from its id.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    id: Cow<'a, str>,
    etag: Cow<'a, str>,
    origin: Origin,
    body: Cow<'a, Map<String, Value>>,
}

/// What a set of changes made of a state: everything that is to be written.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) documents: BTreeSet<ResourceId>,
    pub(super) groups: BTreeSet<GroupId>,
    pub(super) keys: BTreeSet<ResourceId>,
}

impl Changed {
    pub(super) fn add(&mut self, applied: &Applied) {
        let documents = applied.written.iter().chain(&applied.removed);
        self.documents.extend(documents.cloned());
        let groups = applied.groups_written.iter().chain(&applied.groups_removed);
        self.groups.extend(groups.cloned());
        self.keys.extend(applied.keys.iter().cloned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.groups.is_empty() && self.keys.is_empty()
    }

    /// As they are in `state`; what is not in there is removed.
    pub(super) fn writes(&self, state: &State) -> Vec<Write> {
        let documents = self.documents.iter().map(|id| {
            let value = state.documents.get(id).map(|document| stored(document));
            write(Table::Documents, id.key().to_owned(), value)
        });
        let groups = self.groups.iter().map(|id| {
            let value = state.groups.get(id).map(json);
            write(Table::Groups, id.key(), value)
        });
        let keys = self.keys.iter().map(|id| {
            let key = state.keys.get(id);
            let value = key.map(|key| Zeroizing::new(key.expose().to_vec()));
            write(Table::Keys, id.key().to_owned(), value)
        });
        documents.chain(groups).chain(keys).collect()
    }
}

fn write(table: Table, key: String, value: Option<Zeroizing<Vec<u8>>>) -> Write {
    Write { table, key, value }
}

fn stored(document: &Document) -> Zeroizing<Vec<u8>> {
    json(&Stored {
        id: document.id.as_str().into(),
        etag: document.etag.as_str().into(),
        origin: document.origin,
        body: Cow::Borrowed(&document.body),
    })
}

fn json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Texts, numbers and maps with names: nothing in there has no JSON.
    Zeroizing::new(serde_json::to_vec(value).unwrap_or_default())
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the store's resources do not hold: {0}")]
    Invalid(#[from] ArmError),
}

/// Everything that a store has.
pub(super) fn load(store: &dyn Store) -> Result<State, LoadError> {
    let groups = all(store, Table::Groups)?;
    let groups = groups.iter().map(|record| read(Table::Groups, record));
    let groups = groups.collect::<Result<Vec<ResourceGroup>, _>>()?;
    let mut documents = Vec::new();
    for record in all(store, Table::Documents)? {
        documents.push(document(&record)?);
    }
    let mut keys = BTreeMap::new();
    for (id, key) in all(store, Table::Keys)? {
        keys.insert(ResourceId::new(&id), Secret::new(key.as_slice()));
    }
    Ok(State::load(groups, documents, keys)?)
}

fn document(record: &Record) -> Result<Document, StoreError> {
    let stored: Stored<'_> = read(Table::Documents, record)?;
    let target = Target::parse(&stored.id).map_err(|error| wrong(&record.0, &error.to_string()))?;
    Ok(Document {
        id: target.id,
        kind: target.kind,
        body: stored.body.into_owned(),
        etag: stored.etag.into_owned(),
        origin: stored.origin,
    })
}

fn read<'a, T: Deserialize<'a>>(table: Table, record: &'a Record) -> Result<T, StoreError> {
    let (key, value) = record;
    // Without the parser's words: they may be the record's.
    serde_json::from_slice(value).map_err(|error| {
        let why = format!("no record of {table:?}, line {}", error.line());
        wrong(key, &why)
    })
}

fn wrong(key: &str, why: &str) -> StoreError {
    StoreError::Content {
        path: Path::new(key).to_owned(),
        why: why.to_owned(),
    }
}

fn all(store: &dyn Store, table: Table) -> Result<Vec<Record>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = records.last().map(|(key, _)| format!("{key}\0"));
        let page = store.scan(table, from.as_deref().unwrap_or_default(), PAGE)?;
        if page.is_empty() {
            return Ok(records);
        }
        records.extend(page);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let id =
            "/subscriptions/s/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/VNet";
        let target = Target::parse(id).unwrap();
        let body = json!({"tags": {"a": "ü"}, "properties": {"unknown": [1, null, 2.5]}});
        let document = Document {
            id: target.id.clone(),
            kind: target.kind,
            body: body.as_object().unwrap().clone(),
            etag: "e".to_owned(),
            origin: Origin::File,
        };
        let record = (id.to_lowercase(), stored(&document));
        let read = self::document(&record).unwrap();
        assert_eq!(read, document);
        assert_eq!(read.id.as_str(), id);
    }

    #[test]
    fn what_a_hand_wrote_is_told_by_its_key() {
        for (value, said) in [
            (&b"{"[..], "no record of Documents"),
            (br#"{"id":"x","etag":"","origin":"Api","body":{}}"#, "vnet1"),
        ] {
            let store = MemoryStore::new();
            let write = Write::put(Table::Documents, "vnet1", value);
            store.commit(None, &[write]).unwrap();
            let error = load(&store).unwrap_err().to_string();
            assert!(error.contains("vnet1") && error.contains(said), "{error}");
        }
    }
}
