//! The store of one host: a `redb` file, readable by its owner only.
//!
//! A commit is one transaction with one `fsync`: the new pages and the header that leads to them go
//! to the disk together, and checksums tell at the next start whether all of it arrived. What did
//! not is rolled back to the commit before, which nobody was answered after.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, WriteTransaction, backends::FileBackend,
};
use zeroize::Zeroizing;

use super::{Record, Revision, SCHEMA, Store, StoreError, StoreStats, Table, Write, place};

/// `schema`, `revision` and `commits`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
const COMMITS: &str = "commits";
const NUMBER: &str = "schema";
/// The whole store is in memory as the engine's state anyway.
const CACHE: usize = 16 << 20;

/// Brings the tables from the schema of its place in the list (the first from 1 to 2) to the next,
/// in the transaction that notes the new number.
type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;
const MIGRATIONS: &[Migration] = &[metering];
const _: () = assert!(MIGRATIONS.len() + 1 == SCHEMA as usize);

/// To schema 2: the ledger of metering.
fn metering(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(definition(Table::Meters))?;
    Ok(())
}

const fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(match table {
        Table::Groups => "groups",
        Table::Documents => "documents",
        Table::Keys => "keys",
        Table::Deployments => "deployments",
        Table::Principals => "principals",
        Table::Activity => "activity",
        Table::Instance => "instance",
        Table::Meters => "meters",
    })
}

#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// Nothing after a failure, until it can be opened again.
    database: RwLock<Option<Database>>,
    /// One commit at a time.
    writing: Mutex<()>,
}

impl FileStore {
    /// The file's name in an instance's state directory.
    pub const NAME: &str = "store.redb";

    /// Opens the file, or makes it (0600) and its directory (0700).
    ///
    /// # Errors
    ///
    /// Where another process has it open, it is damaged, of a later version, or no store at all: it
    /// is left as it is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = Shown(path);
        place::prepare(path.0).map_err(|error| path.io(error))?;
        let database = open(path, MIGRATIONS)?;
        Ok(Self {
            path: path.0.to_owned(),
            database: RwLock::new(Some(database)),
            writing: Mutex::new(()),
        })
    }

    /// Does something with the open database, which is opened again first where it failed before.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let opened = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = opened.as_ref() {
            return work(database);
        }
        drop(opened);
        self.reopen()?;
        let opened = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match opened.as_ref() {
            Some(database) => work(database),
            None => Err(StorageError::DatabaseClosed.into()),
        }
    }

    /// After a failure the database takes no more transactions; what is in the file counts.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Closed first: two cannot have it.
        drop(database.take());
        *database = Some(open(Shown(&self.path), MIGRATIONS)?);
        Ok(())
    }

    fn number(&self, name: &str) -> Result<u64, StoreError> {
        let number = self.with(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            Ok(meta.get(name)?.map_or(0, |number| number.value()))
        });
        number.map_err(|failure| self.told(failure))
    }

    fn told(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Told(error) => error,
            Failure::Database(error) => Shown(&self.path).error(error),
        }
    }

    fn range(
        &self,
        table: Table,
        read: impl FnOnce(
            redb::ReadOnlyTable<&'static str, &'static [u8]>,
        ) -> Result<Vec<Record>, redb::Error>,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.with(|database| {
            let transaction = database.begin_read()?;
            Ok(read(transaction.open_table(definition(table))?)?)
        });
        records.map_err(|failure| self.told(failure))
    }
}

impl Store for FileStore {
    fn commit(&self, expected: Option<Revision>, writes: &[Write]) -> Result<Revision, StoreError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = None;
        let written = self.with(|database| {
            let transaction = database.begin_write()?;
            let (revision, commits) = write(&transaction, expected, writes)?;
            next = Some((revision, commits));
            transaction.commit()?;
            Ok(revision)
        });
        let failure = match written {
            Ok(revision) => return Ok(revision),
            Err(Failure::Told(error)) => return Err(error),
            Err(failure) => self.told(failure),
        };
        // A commit that failed may still be in the file, as a whole: then it counts.
        if let Err(error) = self.reopen() {
            log::error!("{error}; it is opened again with the next change");
            return Err(failure);
        }
        match (next, self.number(COMMITS)) {
            (Some((revision, commits)), Ok(now)) if commits == now => Ok(revision),
            _ => Err(failure),
        }
    }

    fn revision(&self) -> Result<Revision, StoreError> {
        self.number(REVISION)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let file = fs::metadata(&self.path).map_err(|error| Shown(&self.path).io(error))?;
        Ok(StoreStats {
            bytes: file.len(),
            commits: self.number(COMMITS)?,
            revision: self.number(REVISION)?,
        })
    }

    fn get(&self, table: Table, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let value = self.with(|database| {
            let table = database.begin_read()?.open_table(definition(table))?;
            let value = table.get(key)?;
            Ok(value.map(|value| Zeroizing::new(value.value().to_vec())))
        });
        value.map_err(|failure| self.told(failure))
    }

    fn scan(&self, table: Table, from: &str, most: usize) -> Result<Vec<Record>, StoreError> {
        self.range(table, |table| {
            let records = table.range(from..)?.take(most);
            records.map(own).collect()
        })
    }

    fn scan_back(
        &self,
        table: Table,
        before: &str,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.range(table, |table| match before {
            "" => table.iter()?.rev().take(most).map(own).collect(),
            before => table.range(..before)?.rev().take(most).map(own).collect(),
        })
    }
}

type Found<'a> = (
    redb::AccessGuard<'a, &'static str>,
    redb::AccessGuard<'a, &'static [u8]>,
);

fn own(found: Result<Found<'_>, StorageError>) -> Result<Record, redb::Error> {
    let (key, value) = found?;
    Ok((
        key.value().to_owned(),
        Zeroizing::new(value.value().to_vec()),
    ))
}

fn write(
    transaction: &WriteTransaction,
    expected: Option<Revision>,
    writes: &[Write],
) -> Result<(Revision, u64), Failure> {
    let mut meta = transaction.open_table(META)?;
    let revision = meta.get(REVISION)?.map_or(0, |revision| revision.value());
    if expected.is_some_and(|expected| expected != revision) {
        return Err(StoreError::Conflict(revision).into());
    }
    let revision = revision + Revision::from(expected.is_some());
    let commits = meta.get(COMMITS)?.map_or(0, |commits| commits.value()) + 1;
    meta.insert(REVISION, revision)?;
    meta.insert(COMMITS, commits)?;
    for which in Table::ALL {
        let mut own = writes
            .iter()
            .filter(|write| write.table == which)
            .peekable();
        if own.peek().is_none() {
            continue;
        }
        let mut table = transaction.open_table(definition(which))?;
        for write in own {
            match &write.value {
                Some(value) => table.insert(write.key.as_str(), value.as_slice())?,
                None => table.remove(write.key.as_str())?,
            };
        }
    }
    Ok((revision, commits))
}

fn open(path: Shown<'_>, migrations: &[Migration]) -> Result<Database, StoreError> {
    let file = match place::open(path.0) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, migrations)?;
            place::open(path.0).map_err(|error| path.io(error))?
        }
        Err(error) => return Err(path.io(error)),
    };
    let length = file.metadata().map_err(|error| path.io(error))?.len();
    if length == 0 {
        return Err(path.content("it is empty; put it back as it was, or remove it to begin anew"));
    }
    let build = || {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE);
        // Every checksum: what is damaged is told, and never built on.
        builder.set_check_integrity_on_open(true);
        builder.create_with_backend(FileBackend::new(file)?)
    };
    // The library checks what it reads, but does not promise to come through whatever is there.
    let database = catch_unwind(AssertUnwindSafe(build))
        .map_err(|_| path.damaged("its pages make no sense"))?
        .map_err(|error| path.opening(error))?;
    migrate(&database, path, migrations)?;
    Ok(database)
}

/// A store takes its place when it is whole: whoever dies here leaves none behind.
fn create(path: Shown<'_>, migrations: &[Migration]) -> Result<(), StoreError> {
    let (new, file) = place::draft(path.0).map_err(|error| path.io(error))?;
    let made = || -> Result<(), redb::Error> {
        let file = FileBackend::new(file)?;
        let database = Builder::new().create_with_backend(file)?;
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(NUMBER, 1 + migrations.len() as u64)?;
            meta.insert(REVISION, 0)?;
        }
        for table in Table::ALL {
            transaction.open_table(definition(table))?;
        }
        transaction.commit()?;
        Ok(database.close()?)
    };
    made().map_err(|error| path.error(error))?;
    place::replace(path.0, &new).map_err(|error| path.io(error))
}

fn migrate(
    database: &Database,
    path: Shown<'_>,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let read = || -> Result<Option<u64>, redb::Error> {
        let meta = database.begin_read()?.open_table(META)?;
        Ok(meta.get(NUMBER)?.map(|number| number.value()))
    };
    let ours = 1 + migrations.len() as u64;
    let found = match read() {
        Ok(Some(found)) if found > 0 => found,
        Err(error @ redb::Error::Io(_)) => return Err(path.error(error)),
        _ => return Err(path.content("it is a database, but no store of vnet-gw")),
    };
    if found > ours {
        let why = format!(
            "its schema is {found}, and this version knows {ours}: run the later vnet-gw that wrote \
             it"
        );
        return Err(path.content(&why));
    }
    if found == ours {
        return Ok(());
    }
    let bring = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        for migration in migrations.iter().skip(found as usize - 1) {
            migration(&transaction)?;
        }
        transaction.open_table(META)?.insert(NUMBER, ours)?;
        Ok(transaction.commit()?)
    };
    bring().map_err(|error| path.error(error))?;
    log::info!(
        "the store {}: from schema {found} to {ours}",
        path.0.display()
    );
    Ok(())
}

/// What went wrong in a transaction.
enum Failure {
    /// By our rules: the database is as good as before.
    Told(StoreError),
    Database(redb::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

macro_rules! database_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
database_errors!(
    redb::Error,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError
);

/// The path of a store, for its errors.
#[derive(Clone, Copy)]
struct Shown<'a>(&'a Path);

impl Shown<'_> {
    fn io(self, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.0.to_owned(),
            source,
        }
    }

    fn content(self, why: &str) -> StoreError {
        StoreError::Content {
            path: self.0.to_owned(),
            why: why.to_owned(),
        }
    }

    fn damaged(self, why: &str) -> StoreError {
        self.content(&format!(
            "it is damaged ({why}); put back a copy, or move it away and begin anew with `vnet-gw \
             run --config` or `vnet-gw apply`"
        ))
    }

    fn error(self, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(source) => self.io(source),
            redb::Error::Corrupted(why) => self.damaged(&why),
            other => self.content(&other.to_string()),
        }
    }

    fn opening(self, error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => self
                .content(
                    "another process has it open; stop that one, or choose another --state-dir",
                ),
            DatabaseError::Storage(StorageError::Io(source))
                if source.kind() == io::ErrorKind::InvalidData =>
            {
                self.content("it is no store; put back a copy, or move it away")
            }
            DatabaseError::UpgradeRequired(version) => {
                self.content(&format!("its format {version} is too old"))
            }
            other => self.error(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_schema_is_brought_up_to_date_and_a_later_one_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("store.redb");
        let first = FileStore::open(&path).unwrap();
        let write = Write::put(Table::Groups, "g", "1");
        first.commit(None, &[write]).unwrap();
        drop(first);

        let second: Migration = |transaction| {
            let mut groups = transaction.open_table(definition(Table::Groups))?;
            groups.insert("h", b"2".as_slice())?;
            Ok(())
        };
        drop(open(Shown(&path), &[metering, second]).unwrap());
        let error = open(Shown(&path), &[metering]).unwrap_err().to_string();
        assert!(
            error.contains("its schema is 3, and this version knows 2"),
            "{error}"
        );

        let third: Migration = |_| Err(redb::Error::ValueTooLarge(7));
        let failed = open(Shown(&path), &[metering, second, third]);
        failed.unwrap_err();
        // What does not succeed changes nothing, and what was done is not done again.
        let database = open(Shown(&path), &[metering, second]).unwrap();
        let read = database.begin_read().unwrap();
        let groups = read.open_table(definition(Table::Groups)).unwrap();
        assert_eq!(groups.get("h").unwrap().unwrap().value(), b"2");
    }
}
