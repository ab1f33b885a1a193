//! The ledger as records of a store.
//!
//! | key | value |
//! |---|---|
//! | `class/HASH` | what it is of, what it has ever counted, since when |
//! | `seen/BORN` | what a use of a meter had counted when it was last read |
//! | `5m/START/HASH`, `1h/…`, `1d/…` | packets and bytes of a bucket that began at `START` |

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use vnet_gw_core::metering::{Metered, Tier};

use crate::store::{Record, Store, StoreError, Table, Write};

/// Records read at once.
const PAGE: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub packets: u64,
    /// At layer 3, as on the wire.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// What came since. Counters only grow; where one seems not to have, nothing came.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }

    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl From<vnet_gw_common::Counter> for Count {
    fn from(counter: vnet_gw_common::Counter) -> Self {
        Self {
            packets: counter.packets,
            bytes: counter.bytes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClassRecord {
    pub(super) of: Metered,
    pub(super) total: Count,
    /// Seconds since 1970.
    pub(super) since: u64,
    /// When it last grew.
    pub(super) last: u64,
    /// The hash of the meter in the data path that counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) meter: Option<u64>,
}

const CLASS: &str = "class/";
const SEEN: &str = "seen/";

pub(super) fn class(hash: u64, record: &ClassRecord) -> Write {
    put(format!("{CLASS}{hash:016x}"), record)
}

pub(super) fn no_class(hash: u64) -> Write {
    Write::remove(Table::Meters, format!("{CLASS}{hash:016x}"))
}

pub(super) fn seen(born: u64, count: Count) -> Write {
    put(format!("{SEEN}{born:016x}"), &count)
}

pub(super) fn not_seen(born: u64) -> Write {
    Write::remove(Table::Meters, format!("{SEEN}{born:016x}"))
}

fn bucket_key(tier: Tier, start: u64, class: u64) -> String {
    format!("{}/{start:012}/{class:016x}", tier.name)
}

pub(super) fn bucket(tier: Tier, start: u64, class: u64, count: Count) -> Write {
    put(bucket_key(tier, start, class), &count)
}

fn put(key: String, value: &impl Serialize) -> Write {
    // Numbers and texts: nothing in there has no JSON.
    Write::put(
        Table::Meters,
        key,
        serde_json::to_vec(value).unwrap_or_default(),
    )
}

pub(super) fn classes(store: &dyn Store) -> Result<Vec<(u64, ClassRecord)>, StoreError> {
    all(store, CLASS)
}

pub(super) fn all_seen(store: &dyn Store) -> Result<Vec<(u64, Count)>, StoreError> {
    all(store, SEEN)
}

fn all<T: DeserializeOwned>(store: &dyn Store, prefix: &str) -> Result<Vec<(u64, T)>, StoreError> {
    let mut found = Vec::new();
    let mut from = prefix.to_owned();
    loop {
        let page = store.scan(Table::Meters, &from, PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(found);
        };
        from = format!("{last}\0");
        for record in &page {
            let Some(number) = record.0.strip_prefix(prefix) else {
                return Ok(found);
            };
            let number = u64::from_str_radix(number, 16).map_err(|_| wrong(&record.0))?;
            found.push((number, read(record)?));
        }
    }
}

/// One bucket; zero where there is none.
pub(super) fn bucket_of(
    store: &dyn Store,
    tier: Tier,
    start: u64,
    class: u64,
) -> Result<Count, StoreError> {
    let key = bucket_key(tier, start, class);
    match store.get(Table::Meters, &key)? {
        Some(value) => read(&(key, value)),
        None => Ok(Count::default()),
    }
}

/// Hands over every bucket of a tier that began in the given time: its class and its count.
pub(super) fn each_bucket(
    store: &dyn Store,
    tier: Tier,
    from: u64,
    to: u64,
    mut take: impl FnMut(u64, Count),
) -> Result<(), StoreError> {
    let mut next = format!("{}/{from:012}/", tier.name);
    let end = format!("{}/{to:012}/", tier.name);
    loop {
        let page = store.scan(Table::Meters, &next, PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        next = format!("{last}\0");
        for record in &page {
            if record.0 >= end {
                return Ok(());
            }
            let class = record.0.rsplit('/').next().unwrap_or_default();
            let class = u64::from_str_radix(class, 16).map_err(|_| wrong(&record.0))?;
            take(class, read(record)?);
        }
    }
}

/// Removals of buckets that began before, some at a time.
pub(super) fn stale(store: &dyn Store, tier: Tier, before: u64) -> Result<Vec<Write>, StoreError> {
    let (first, end) = (
        format!("{}/", tier.name),
        format!("{}/{before:012}/", tier.name),
    );
    let page = store.scan(Table::Meters, &first, PAGE)?;
    let old = page.into_iter().take_while(|(key, _)| *key < end);
    Ok(old
        .map(|(key, _)| Write::remove(Table::Meters, key))
        .collect())
}

fn read<T: DeserializeOwned>(record: &Record) -> Result<T, StoreError> {
    serde_json::from_slice(&record.1).map_err(|_| wrong(&record.0))
}

fn wrong(key: &str) -> StoreError {
    StoreError::Content {
        path: Path::new(key).to_owned(),
        why: "no record of metering".to_owned(),
    }
}
