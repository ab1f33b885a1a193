//! The audit log: who changed what, when, from where, and what came of it.
//!
//! A record is written in the transaction of the change that it tells of. What was refused is
//! written soon after, many at once: a refusal is worth no `fsync` of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Caller, Who};
use crate::store::{Record, Store, StoreError, Table, Write};

/// How many records are kept; the oldest go.
pub const KEPT: u64 = 100_000;
/// Records read at once.
const PAGE: usize = 256;

/// One record, with the names of Azure's activity log where it has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// RFC 3339, UTC, milliseconds.
    pub event_timestamp: String,
    /// The name of a principal or local user, or `file`.
    pub caller: String,
    /// `user:0`, `principal:CLIENT-ID` or `file`: does not change with a name.
    pub caller_id: String,
    /// Nothing on the Unix socket and for the file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub caller_ip_address: Option<String>,
    pub operation_name: String,
    pub resource_id: String,
    pub correlation_id: String,
    pub status: ActivityStatus,
    /// `Created`, `Updated` …, or the code of the error.
    pub sub_status: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityStatus {
    /// Durable.
    Accepted,
    /// Refused, or the store could not keep it: nothing was changed.
    Refused,
    /// It was accepted, and the data path could not carry it out.
    Failed,
}

/// Which records are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityFilter {
    pub since: Option<SystemTime>,
    /// The id of a resource, a group or a subscription: it and everything below. Without case.
    pub resource: Option<String>,
    /// `caller` or `caller_id`, without case.
    pub caller: Option<String>,
    /// 0 is all.
    pub most: usize,
}

impl Activity {
    pub fn new(
        at: SystemTime,
        caller: &Caller,
        operation: &str,
        resource: &str,
        status: ActivityStatus,
        sub_status: &str,
    ) -> Self {
        let (name, id) = match &caller.who {
            Who::File => ("file".to_owned(), "file".to_owned()),
            Who::User { uid, name } => {
                let id = format!("user:{uid}");
                (name.clone().unwrap_or_else(|| id.clone()), id)
            }
            Who::Principal { client_id, name } => (name.clone(), format!("principal:{client_id}")),
        };
        Self {
            event_timestamp: humantime::format_rfc3339_millis(at).to_string(),
            caller: short(&name),
            caller_id: short(&id),
            caller_ip_address: caller.address.map(|address| address.ip().to_string()),
            operation_name: short(operation),
            resource_id: short(resource),
            correlation_id: short(&caller.correlation_id),
            status,
            sub_status: short(sub_status),
        }
    }

    /// The same, when the data path did not carry it.
    pub(super) fn failed(self, code: &str) -> Self {
        Self {
            event_timestamp: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            status: ActivityStatus::Failed,
            sub_status: short(code),
            ..self
        }
    }

    fn matches(&self, filter: &ActivityFilter) -> bool {
        let below = |scope: &str| {
            let scope = scope.trim_end_matches('/');
            let start = self.resource_id.get(..scope.len());
            let rest = self.resource_id.get(scope.len()..).unwrap_or_default();
            start.is_some_and(|start| start.eq_ignore_ascii_case(scope))
                && (rest.is_empty() || rest.starts_with('/'))
        };
        let by = |caller: &str| {
            self.caller.eq_ignore_ascii_case(caller) || self.caller_id.eq_ignore_ascii_case(caller)
        };
        filter.resource.as_deref().is_none_or(below) && filter.caller.as_deref().is_none_or(by)
    }
}

/// The longest text of a record: ids are shorter, and nobody fills the log with one request.
const LONGEST: usize = 2_048;

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

/// The records that match, newest first.
///
/// # Errors
///
/// Where the store cannot be read.
pub fn read(store: &dyn Store, filter: &ActivityFilter) -> Result<Vec<Activity>, StoreError> {
    let most = match filter.most {
        0 => usize::MAX,
        most => most,
    };
    let since = filter.since.map(|since| key(since, 0));
    let mut found = Vec::new();
    let mut before = String::new();
    loop {
        let page = store.scan_back(Table::Activity, &before, PAGE)?;
        let Some((oldest, _)) = page.last() else {
            return Ok(found);
        };
        before.clone_from(oldest);
        for (at, value) in &page {
            if found.len() >= most || since.as_ref().is_some_and(|since| at < since) {
                return Ok(found);
            }
            // One that a hand or a later version wrote hides no other.
            match serde_json::from_slice::<Activity>(value) {
                Ok(activity) if activity.matches(filter) => found.push(activity),
                Ok(_) => {}
                Err(error) => log::warn!("activity log: record {at}: {error}"),
            }
        }
    }
}

/// The end of the log that is written.
#[derive(Debug)]
pub(super) struct Log {
    kept: u64,
    count: u64,
    /// Of the last record: keys grow, whatever the clock does.
    last: (SystemTime, u32),
    /// Keys of the oldest records, ready to go.
    oldest: std::collections::VecDeque<String>,
}

/// Milliseconds, and a number among those of one millisecond: 20 digits.
fn key(at: SystemTime, number: u32) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:014}{number:06}", since.as_millis())
}

fn time(key: &str) -> Option<(SystemTime, u32)> {
    let millis = key.get(..14)?.parse().ok()?;
    let number = key.get(14..)?.parse().ok()?;
    Some((UNIX_EPOCH + Duration::from_millis(millis), number))
}

impl Log {
    pub(super) fn open(store: &dyn Store, kept: u64) -> Result<Self, StoreError> {
        let mut count = 0;
        let mut from = String::new();
        loop {
            let page = store.scan(Table::Activity, &from, PAGE)?;
            count += page.len() as u64;
            match page.last() {
                Some((last, _)) => from = format!("{last}\0"),
                None => break,
            }
        }
        let last = store.scan_back(Table::Activity, "", 1)?;
        let last = last.first().and_then(|(key, _)| time(key));
        Ok(Self {
            kept,
            count,
            last: last.unwrap_or((UNIX_EPOCH, 0)),
            oldest: Default::default(),
        })
    }

    /// The writes of new records, and the removal of as many old ones as are too many. Nothing
    /// counts before [`written`](Self::written).
    pub(super) fn writes(
        &mut self,
        store: &dyn Store,
        activities: &[Activity],
        now: SystemTime,
    ) -> Result<Vec<Write>, StoreError> {
        let mut writes = Vec::with_capacity(activities.len());
        for activity in activities {
            // Whole milliseconds, as in the keys.
            let millis = now
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis();
            let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0));
            let (time, number) = self.last;
            self.last = match now > time {
                true => (now, 0),
                false if number < 999_999 => (time, number + 1),
                false => (time + Duration::from_millis(1), 0),
            };
            let value = serde_json::to_vec(activity).unwrap_or_default();
            writes.push(Write::put(
                Table::Activity,
                key(self.last.0, self.last.1),
                value,
            ));
        }
        let after = self.count + activities.len() as u64;
        let surplus = after.saturating_sub(self.kept).min(self.count) as usize;
        if self.oldest.len() < surplus {
            let most = surplus.max(PAGE);
            let page = store.scan(Table::Activity, "", most)?;
            self.oldest = page.into_iter().map(|(key, _): Record| key).collect();
        }
        let old = self.oldest.iter().take(surplus);
        writes.extend(old.map(|key| Write::remove(Table::Activity, key.clone())));
        Ok(writes)
    }

    /// They are in the store.
    pub(super) fn written(&mut self, writes: &[Write]) {
        for write in writes.iter().filter(|write| write.table == Table::Activity) {
            match write.value {
                Some(_) => self.count += 1,
                None => {
                    self.count = self.count.saturating_sub(1);
                    self.oldest.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn caller(name: &str) -> Caller {
        Caller {
            who: Who::Principal {
                client_id: format!("id of {name}"),
                name: name.to_owned(),
            },
            address: Some("192.0.2.7:443".parse().unwrap()),
            correlation_id: "c".to_owned(),
        }
    }

    fn activity(at: u64, name: &str, resource: &str) -> Activity {
        Activity::new(
            UNIX_EPOCH + Duration::from_secs(at),
            &caller(name),
            "Microsoft.Network/virtualNetworks/write",
            resource,
            ActivityStatus::Accepted,
            "Created",
        )
    }

    fn write(store: &MemoryStore, log: &mut Log, at: u64, activities: &[Activity]) {
        let now = UNIX_EPOCH + Duration::from_secs(at);
        let writes = log.writes(store, activities, now).unwrap();
        store.commit(None, &writes).unwrap();
        log.written(&writes);
    }

    fn resources(store: &MemoryStore, filter: &ActivityFilter) -> Vec<String> {
        let found = read(store, filter).unwrap();
        found.into_iter().map(|one| one.resource_id).collect()
    }

    #[test]
    fn records_are_found_newest_first() {
        let store = MemoryStore::new();
        let mut log = Log::open(&store, KEPT).unwrap();
        write(&store, &mut log, 10, &[activity(10, "anna", "/g/one")]);
        write(
            &store,
            &mut log,
            20,
            &[activity(20, "ben", "/G/two"), activity(20, "anna", "/go")],
        );
        // A clock that was set back changes no order.
        write(&store, &mut log, 5, &[activity(5, "anna", "/g")]);
        let filter = ActivityFilter::default();
        assert_eq!(
            resources(&store, &filter),
            ["/g", "/go", "/G/two", "/g/one"]
        );
        let filter = |resource: Option<&str>, caller: Option<&str>, since, most| ActivityFilter {
            since: Some(UNIX_EPOCH + Duration::from_secs(since)),
            resource: resource.map(str::to_owned),
            caller: caller.map(str::to_owned),
            most,
        };
        for (asked, found) in [
            (
                filter(Some("/g/"), None, 0, 0),
                &["/g", "/G/two", "/g/one"][..],
            ),
            (filter(None, Some("Anna"), 0, 2), &["/g", "/go"]),
            (filter(None, Some("principal:id of ben"), 0, 0), &["/G/two"]),
            (filter(None, None, 11, 0), &["/g", "/go", "/G/two"]),
        ] {
            assert_eq!(resources(&store, &asked), found, "{asked:?}");
        }
    }

    #[test]
    fn the_oldest_go() {
        let store = MemoryStore::new();
        let mut log = Log::open(&store, 10).unwrap();
        for turn in 0..9 {
            let some: Vec<_> = (0..3)
                .map(|n| activity(turn, "anna", &format!("/{turn}/{n}")))
                .collect();
            write(&store, &mut log, turn, &some);
            if turn == 5 {
                log = Log::open(&store, 10).unwrap();
            }
        }
        let left = resources(&store, &ActivityFilter::default());
        assert_eq!(left.len(), 10);
        assert_eq!((left[0].as_str(), left[9].as_str()), ("/8/2", "/5/2"));
        // Fewer are kept from now on.
        let mut log = Log::open(&store, 4).unwrap();
        write(&store, &mut log, 9, &[activity(9, "anna", "/9")]);
        assert_eq!(resources(&store, &ActivityFilter::default()).len(), 4);
    }
}
