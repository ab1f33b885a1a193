//! All service principals of an instance: in the store, and at hand for every call.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Assignment, NewSecret, Principal, PrincipalError, principal::SecretRecord, secret};
use crate::store::{Store, StoreError, Table, Write};

/// Principals read at a time.
const PAGE: usize = 1000;
/// The secrets of one principal that are good at the same time: an old one and its successor, and a
/// few that nobody took away.
const SECRETS: usize = 8;

/// What an unknown client's secret is held against, so that it takes as long as a known one's.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| secret::hash(&secret::generate()).unwrap_or_default());

pub struct Principals {
    store: Arc<dyn Store>,
    known: RwLock<BTreeMap<String, Principal>>,
    /// One change after the other.
    change: Mutex<()>,
}

impl std::fmt::Debug for Principals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Principals")
    }
}

impl Principals {
    pub(super) fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let mut known = BTreeMap::new();
        let mut from = String::new();
        loop {
            let records = store.scan(Table::Principals, &from, PAGE)?;
            let Some((last, _)) = records.last() else {
                break;
            };
            from = format!("{last}\0");
            for (key, value) in records {
                match serde_json::from_slice::<Principal>(&value) {
                    Ok(principal) => {
                        known.insert(key, principal);
                    }
                    // One that a later version wrote signs nobody in; the others still do.
                    Err(error) => log::error!("service principal {key} is not readable: {error}"),
                }
            }
        }
        Ok(Self {
            store,
            known: RwLock::new(known),
            change: Mutex::default(),
        })
    }

    /// By client id.
    pub fn get(&self, client_id: &str) -> Option<Principal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&client_id.to_ascii_lowercase()).cloned()
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Principal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.values().cloned().collect();
        all.sort_by(|a, b| (&a.name, &a.client_id).cmp(&(&b.name, &b.client_id)));
        all
    }

    /// By name, client id or object id.
    pub fn find(&self, name: &str) -> Result<Principal, PrincipalError> {
        let mut all = self.list();
        let found = all.iter().position(|principal| principal.is(name));
        found
            .map(|at| all.swap_remove(at))
            .ok_or_else(|| PrincipalError::Unknown(name.to_owned()))
    }

    /// A new one, with a secret that is good for `lifetime`.
    pub fn create(
        &self,
        name: &str,
        assignments: Vec<Assignment>,
        lifetime: Duration,
    ) -> Result<NewSecret, PrincipalError> {
        let length = name.chars().count();
        if !(1..=120).contains(&length)
            || name.trim() != name
            || name.chars().any(char::is_control)
            // It would be taken for one.
            || Uuid::try_parse(name).is_ok()
        {
            return Err(PrincipalError::Name(name.to_owned()));
        }
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(name).is_ok() {
            return Err(PrincipalError::Exists(name.to_owned()));
        }
        let mut principal = Principal::new(name);
        principal.assignments = assignments;
        self.renew(principal, lifetime)
    }

    /// A new secret; those before it are void at once.
    pub fn reset(&self, name: &str, lifetime: Duration) -> Result<NewSecret, PrincipalError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut principal = self.find(name)?;
        principal.secrets.clear();
        self.renew(principal, lifetime)
    }

    pub fn delete(&self, name: &str) -> Result<Principal, PrincipalError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let principal = self.find(name)?;
        self.write(&principal.client_id, None)?;
        Ok(principal)
    }

    /// Gives a role at a scope.
    pub fn assign(&self, name: &str, assignment: Assignment) -> Result<Principal, PrincipalError> {
        self.edit(name, |assignments| {
            if !assignments.iter().any(|other| same(other, &assignment)) {
                assignments.push(assignment);
            }
        })
    }

    /// Takes a role at a scope away.
    pub fn unassign(
        &self,
        name: &str,
        assignment: &Assignment,
    ) -> Result<Principal, PrincipalError> {
        self.edit(name, |assignments| {
            assignments.retain(|other| !same(other, assignment));
        })
    }

    /// The principal, if the secret is one of its own and still good. Takes the same time for a
    /// client that does not exist.
    pub(super) fn check(&self, client_id: &str, given: &str, now: SystemTime) -> Option<Principal> {
        let principal = self.get(client_id);
        let now = seconds(now);
        let hashes: Vec<&str> = principal
            .iter()
            .flat_map(|principal| &principal.secrets)
            .filter(|secret| secret.expires > now)
            .map(|secret| secret.hash.as_str())
            .collect();
        if hashes.is_empty() {
            secret::matches(given, &NOBODY);
            return None;
        }
        let good = hashes.iter().any(|hash| secret::matches(given, hash));
        principal.filter(|_| good)
    }

    fn edit(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<Assignment>),
    ) -> Result<Principal, PrincipalError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut principal = self.find(name)?;
        change(&mut principal.assignments);
        self.keep(&principal)?;
        Ok(principal)
    }

    fn renew(
        &self,
        mut principal: Principal,
        lifetime: Duration,
    ) -> Result<NewSecret, PrincipalError> {
        let secret = secret::generate();
        let hash = secret::hash(&secret).map_err(PrincipalError::Hash)?;
        principal.secrets.push(SecretRecord {
            hash,
            expires: seconds(SystemTime::now()).saturating_add(lifetime.as_secs()),
        });
        let many = principal.secrets.len().saturating_sub(SECRETS);
        principal.secrets.drain(..many);
        self.keep(&principal)?;
        Ok(NewSecret { principal, secret })
    }

    fn keep(&self, principal: &Principal) -> Result<(), PrincipalError> {
        self.write(&principal.client_id, Some(principal))
    }

    /// Durable first, then in force.
    fn write(&self, client_id: &str, principal: Option<&Principal>) -> Result<(), PrincipalError> {
        let key = client_id.to_ascii_lowercase();
        let value = principal
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| PrincipalError::Hash(error.to_string()))?;
        let write = Write {
            table: Table::Principals,
            key: key.clone(),
            value: value.map(Zeroizing::new),
        };
        self.store.commit(None, &[write])?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match principal {
            Some(principal) => known.insert(key, principal.clone()),
            None => known.remove(&key),
        };
        Ok(())
    }
}

fn same(a: &Assignment, b: &Assignment) -> bool {
    a.role == b.role && a.scope.eq_ignore_ascii_case(&b.scope)
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
