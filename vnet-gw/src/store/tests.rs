use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

fn put(table: Table, key: &str, value: &str) -> Write {
    Write::put(table, key, value)
}

fn texts(records: Vec<Record>) -> Vec<String> {
    let text = |(key, value): Record| format!("{key}={}", String::from_utf8_lossy(&value));
    records.into_iter().map(text).collect()
}

/// What both stores do.
fn behaves(store: &dyn Store) {
    assert_eq!(store.revision().unwrap(), 0);
    let writes = [
        put(Table::Documents, "b", "2"),
        put(Table::Documents, "a", "1"),
        put(Table::Keys, "a", "secret"),
        put(Table::Documents, "c", "3"),
    ];
    assert_eq!(store.commit(Some(0), &writes).unwrap(), 1);
    // What rests on nothing is in nobody's way.
    assert_eq!(
        store
            .commit(None, &[put(Table::Activity, "1", "x")])
            .unwrap(),
        1
    );
    assert_eq!(store.commit(Some(1), &[]).unwrap(), 2);
    // Whoever decided on what was there before is told, and nothing is written.
    let error = store.commit(Some(1), &[put(Table::Documents, "d", "4")]);
    assert!(matches!(error, Err(StoreError::Conflict(2))), "{error:?}");
    assert_eq!(store.revision().unwrap(), 2);

    let value = store.get(Table::Keys, "a").unwrap().unwrap();
    assert_eq!(value.as_slice(), b"secret");
    assert!(store.get(Table::Keys, "b").unwrap().is_none());
    let all = |from: &str, most| texts(store.scan(Table::Documents, from, most).unwrap());
    assert_eq!(all("", 9), ["a=1", "b=2", "c=3"]);
    assert_eq!(all("b", 9), ["b=2", "c=3"]);
    assert_eq!(all("aa", 1), ["b=2"]);
    assert!(store.scan(Table::Groups, "", 9).unwrap().is_empty());
    let back = |before: &str, most| texts(store.scan_back(Table::Documents, before, most).unwrap());
    assert_eq!(back("", 2), ["c=3", "b=2"]);
    assert_eq!(back("b", 9), ["a=1"]);
    assert!(back("a", 9).is_empty());

    // Written and removed in one go, in the order that they are given.
    let writes = [
        put(Table::Documents, "a", "5"),
        Write::remove(Table::Documents, "b"),
        Write::remove(Table::Documents, "none"),
        put(Table::Documents, "c", "6"),
        Write::remove(Table::Documents, "c"),
    ];
    store.commit(Some(2), &writes).unwrap();
    assert_eq!(all("", 9), ["a=5"]);
}

#[test]
fn in_memory() {
    behaves(&MemoryStore::new());
}

#[test]
fn in_a_file_that_is_opened_again() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("new/place/store.redb");
    behaves(&FileStore::open(&path).unwrap());
    let store = FileStore::open(&path).unwrap();
    assert_eq!(store.revision().unwrap(), 3);
    assert_eq!(texts(store.scan(Table::Documents, "", 9).unwrap()), ["a=5"]);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    drop(store);
    // Whatever somebody made of it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    FileStore::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn two_cannot_have_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("store.redb");
    let _held = FileStore::open(&path).unwrap();
    let error = FileStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("another process has it open"), "{error}");
}

/// A copy of the store with something done to its bytes is told, and stays as it is.
fn refuses(path: &Path, bytes: &[u8], said: &str) {
    let copy = path.with_file_name("copy.redb");
    fs::write(&copy, bytes).unwrap();
    let error = FileStore::open(&copy).unwrap_err().to_string();
    assert!(
        error.contains(said) && error.contains("copy.redb"),
        "{error}"
    );
    assert!(fs::read(&copy).unwrap() == bytes, "it was overwritten");
}

#[test]
fn what_is_damaged_is_told_and_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("store.redb");
    let store = FileStore::open(&path).unwrap();
    let value = "x".repeat(300);
    for tens in 0..10 {
        let name = |n: usize| format!("document {tens} {n}");
        let writes = (0..50).map(|n| put(Table::Documents, &name(n), &value));
        store.commit(None, &writes.collect::<Vec<_>>()).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    refuses(&path, b"", "it is empty");
    refuses(&path, b"{\"sharedKeys\": {}}", "it is no store");
    refuses(&path, &whole[..whole.len() / 2], "");
    // A byte in the middle of a document.
    let at = whole.windows(40).position(|bytes| bytes == [b'x'; 40]);
    let mut told = 0;
    for at in (at.unwrap()..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let copy = path.with_file_name("copy.redb");
        fs::write(&copy, &bytes).unwrap();
        // A byte of a page that is not in use means nothing.
        match FileStore::open(&copy) {
            Ok(store) => {
                let records = store.scan(Table::Documents, "", 999).unwrap();
                assert_eq!(records.len(), 500);
                assert!(
                    records
                        .iter()
                        .all(|(_, value)| value.as_slice() == [b'x'; 300])
                );
            }
            Err(_) => {
                refuses(&path, &bytes, "it is damaged");
                told += 1;
            }
        }
    }
    assert!(told > 0);
}

#[test]
fn a_database_of_something_else_is_no_store() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("other.redb");
    let database = redb::Database::create(&path).unwrap();
    drop(database);
    let error = FileStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("no store of vnet-gw"), "{error}");
}
