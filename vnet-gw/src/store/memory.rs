//! A store that ends with its process: for ephemeral runs and for tests.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;

use super::{Record, Revision, Store, StoreError, StoreStats, Table, Write};

#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    revision: Revision,
    commits: u64,
    tables: BTreeMap<Table, BTreeMap<String, Zeroizing<Vec<u8>>>>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn commit(&self, expected: Option<Revision>, writes: &[Write]) -> Result<Revision, StoreError> {
        let mut inner = self.inner();
        if expected.is_some_and(|expected| expected != inner.revision) {
            return Err(StoreError::Conflict(inner.revision));
        }
        for write in writes {
            let table = inner.tables.entry(write.table).or_default();
            match &write.value {
                Some(value) => table.insert(write.key.clone(), value.clone()),
                None => table.remove(&write.key),
            };
        }
        inner.revision += Revision::from(expected.is_some());
        inner.commits += 1;
        Ok(inner.revision)
    }

    fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.inner().revision)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let inner = self.inner();
        let records = inner.tables.values().flatten();
        let bytes: usize = records.map(|(key, value)| key.len() + value.len()).sum();
        Ok(StoreStats {
            bytes: bytes as u64,
            commits: inner.commits,
            revision: inner.revision,
        })
    }

    fn get(&self, table: Table, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let inner = self.inner();
        let table = inner.tables.get(&table);
        Ok(table.and_then(|table| table.get(key)).cloned())
    }

    fn scan(&self, table: Table, from: &str, most: usize) -> Result<Vec<Record>, StoreError> {
        let inner = self.inner();
        let range = (Bound::Included(from), Bound::Unbounded);
        let table = inner.tables.get(&table).into_iter();
        let records = table.flat_map(|table| table.range::<str, _>(range));
        Ok(records.take(most).map(own).collect())
    }

    fn scan_back(
        &self,
        table: Table,
        before: &str,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let inner = self.inner();
        let end = match before {
            "" => Bound::Unbounded,
            before => Bound::Excluded(before),
        };
        let range = (Bound::Unbounded, end);
        let table = inner.tables.get(&table).into_iter();
        let records = table.flat_map(|table| table.range::<str, _>(range).rev());
        Ok(records.take(most).map(own).collect())
    }
}

fn own((key, value): (&String, &Zeroizing<Vec<u8>>)) -> Record {
    (key.clone(), value.clone())
}
