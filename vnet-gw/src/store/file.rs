//! The store of one host: a `redb` file, readable by root only.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Record, Revision, Store, StoreError, Table, Write};

#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// Opens the file, or makes it (mode 0600).
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            path: path.to_owned(),
        })
    }

    fn missing(&self) -> StoreError {
        StoreError::Content {
            path: self.path.clone(),
            why: "not yet".to_owned(),
        }
    }
}

impl Store for FileStore {
    fn commit(&self, _: Option<Revision>, _: &[Write]) -> Result<Revision, StoreError> {
        Err(self.missing())
    }

    fn revision(&self) -> Result<Revision, StoreError> {
        Err(self.missing())
    }

    fn get(&self, _: Table, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Err(self.missing())
    }

    fn scan(&self, _: Table, _: &str, _: usize) -> Result<Vec<Record>, StoreError> {
        Err(self.missing())
    }

    fn scan_back(&self, _: Table, _: &str, _: usize) -> Result<Vec<Record>, StoreError> {
        Err(self.missing())
    }
}
