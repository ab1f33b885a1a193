//! What outlives the daemon: a transactional store of small records.
//!
//! The engine and the API know [`Store`] only, so that one that several hosts share can take the
//! place of [`FileStore`]: whoever writes says which revision it has seen, and is refused where
//! another was faster.

mod file;
mod memory;
mod place;
#[cfg(test)]
mod tests;

pub use file::FileStore;
pub use memory::MemoryStore;

use std::{io, path::PathBuf};

use zeroize::Zeroizing;

/// The schema of what is in the tables. A store of a later one is refused, an earlier one is
/// brought up to date when it is opened.
pub const SCHEMA: u32 = 2;

/// Counts the commits that rest on what was there before.
pub type Revision = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Resource groups by lower-case id.
    Groups,
    /// Top-level resources by lower-case id.
    Documents,
    /// Shared keys by the lower-case id of their connection.
    Keys,
    /// `Microsoft.Resources/deployments` by lower-case id, as they are shown.
    Deployments,
    /// Service principals by their client id, with their roles.
    Principals,
    /// The audit log, by a number of 20 digits that grows.
    Activity,
    /// What belongs to the instance as a whole, by name.
    Instance,
    /// The ledger of metering.
    Meters,
}

impl Table {
    pub const ALL: [Self; 8] = [
        Self::Groups,
        Self::Documents,
        Self::Keys,
        Self::Deployments,
        Self::Principals,
        Self::Activity,
        Self::Instance,
        Self::Meters,
    ];
}

/// One record written, or removed where it has no value.
#[derive(Clone, Debug)]
pub struct Write {
    pub table: Table,
    pub key: String,
    pub value: Option<Zeroizing<Vec<u8>>>,
}

impl Write {
    pub fn put(table: Table, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            table,
            key: key.into(),
            value: Some(Zeroizing::new(value.into())),
        }
    }

    pub fn remove(table: Table, key: impl Into<String>) -> Self {
        Self {
            table,
            key: key.into(),
            value: None,
        }
    }
}

/// A key and its value, which may hold secrets.
pub type Record = (String, Zeroizing<Vec<u8>>);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store {path}: {source}{}", remedy(.source))]
    Io { path: PathBuf, source: io::Error },
    #[error("the store {path}: {why}")]
    Content { path: PathBuf, why: String },
    /// Somebody else wrote meanwhile: read again.
    #[error("the store changed meanwhile: it is at revision {0}")]
    Conflict(Revision),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room on its file system"
        }
        io::ErrorKind::PermissionDenied => "; run as root",
        io::ErrorKind::ReadOnlyFilesystem => "; choose another place with --state-dir",
        _ => "",
    }
}

/// How a store fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// That it takes up; of a store in memory those of its records.
    pub bytes: u64,
    /// All of them, also those that rest on nothing.
    pub commits: u64,
    pub revision: Revision,
}

pub trait Store: Send + Sync {
    /// All of it or nothing; durable when it returns. `expected` is the revision that the writer's
    /// decision rests on, and the next one is returned; records that rest on nothing
    /// ([`Table::Activity`], [`Table::Meters`]) say `None`, and the revision stays.
    fn commit(&self, expected: Option<Revision>, writes: &[Write]) -> Result<Revision, StoreError>;

    fn revision(&self) -> Result<Revision, StoreError>;

    fn stats(&self) -> Result<StoreStats, StoreError>;

    fn get(&self, table: Table, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Records in the order of their keys, from the first one at or after `from`.
    fn scan(&self, table: Table, from: &str, most: usize) -> Result<Vec<Record>, StoreError>;

    /// The same, backwards, from the last one before `before` (from the end, where it is empty).
    fn scan_back(&self, table: Table, before: &str, most: usize)
    -> Result<Vec<Record>, StoreError>;
}
