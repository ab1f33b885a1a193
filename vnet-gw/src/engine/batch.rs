//! Many submissions at once: what holds together, and who does not.

use std::{borrow::Cow, ops::Range};

use serde_json::Value;
use vnet_gw_core::{
    arm::{Applied, Change, Outcome, State},
    model::{ArmError, Warning},
};
use zeroize::Zeroize;

use super::records::Changed;

/// Validations in one batch. What is not decided by then waits for the next, so that whoever holds
/// is not kept waiting by many who do not.
const ATTEMPTS: usize = 24;

/// The changes of all submissions, one after the other.
#[derive(Debug, Default)]
pub(super) struct Changes {
    all: Vec<Change>,
    ends: Vec<usize>,
}

impl Changes {
    pub(super) fn push(&mut self, changes: Vec<Change>) {
        self.all.extend(changes);
        self.ends.push(self.all.len());
    }

    fn range(&self, which: usize) -> Range<usize> {
        let start = which
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or(0);
        start..self.ends.get(which).copied().unwrap_or(start)
    }

    /// Those of one submission.
    pub(super) fn of(&self, which: usize) -> &[Change] {
        self.all.get(self.range(which)).unwrap_or_default()
    }

    /// Those of several. Neighbours are not copied: a body may be large.
    fn of_all(&self, group: &[usize]) -> Cow<'_, [Change]> {
        let neighbours = group.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        match (group.first(), group.last()) {
            (Some(first), Some(last)) if neighbours => {
                let range = self.range(*first).start..self.range(*last).end;
                Cow::Borrowed(self.all.get(range).unwrap_or_default())
            }
            _ => {
                let of = |which: &usize| self.of(*which);
                Cow::Owned(group.iter().flat_map(of).cloned().collect())
            }
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.all.iter_mut().for_each(wipe);
    }
}

/// A connection's body may have its key in it.
fn wipe(change: &mut Change) {
    if let Change::Put(put) = change
        && let Some(Value::Object(properties)) = put.body.get_mut("properties")
        && let Some(Value::String(key)) = properties.get_mut("sharedKey")
    {
        key.zeroize();
    }
}

/// Validates changes on a state.
type Attempt<'a> = &'a mut dyn FnMut(&State, &[Change]) -> Result<Applied, ArmError>;

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// With everything that holds.
    pub(super) state: State,
    pub(super) changed: Changed,
    pub(super) held: Vec<Held>,
    pub(super) refused: Vec<(usize, ArmError)>,
    /// Not tried yet.
    pub(super) deferred: Vec<usize>,
}

/// A submission that holds.
#[derive(Debug)]
pub(super) struct Held {
    /// Which one of the batch.
    pub(super) which: usize,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) warnings: Vec<Warning>,
}

/// Tries `groups` of submissions one after the other, each as a whole if that holds. One that does
/// not is taken apart: those that the error is about from the others, where it says so, else in
/// halves.
pub(super) fn decide(
    state: &State,
    asked: &Changes,
    groups: Vec<Vec<usize>>,
    attempt: Attempt<'_>,
) -> Batch {
    let mut batch = Batch {
        state: state.clone(),
        ..Batch::default()
    };
    let mut attempts = ATTEMPTS;
    let mut waiting: Vec<Vec<usize>> = groups;
    // The last of the list is the next.
    waiting.reverse();
    while let Some(group) = waiting.pop() {
        if group.is_empty() {
            continue;
        }
        // Something is decided in any case: a group of 256 is nine attempts from a single one.
        if attempts == 0 {
            batch.deferred.extend(group);
            continue;
        }
        attempts -= 1;
        match attempt(&batch.state, &asked.of_all(&group)) {
            Ok(applied) => batch.hold(asked, &group, applied),
            Err(error) => match group[..] {
                [which] => batch.refused.push((which, error)),
                _ => {
                    let (blamed, others) = blame(&error, asked, &group);
                    match blamed.is_empty() || others.is_empty() {
                        true => {
                            let (first, second) = group.split_at(group.len() / 2);
                            waiting.push(second.to_vec());
                            waiting.push(first.to_vec());
                        }
                        false => {
                            waiting.push(blamed);
                            waiting.push(others);
                        }
                    }
                }
            },
        }
    }
    batch.deferred.sort_unstable();
    batch
}

impl Batch {
    fn hold(&mut self, asked: &Changes, group: &[usize], applied: Applied) {
        self.changed.add(&applied);
        let mut outcomes = applied.outcomes.into_iter();
        for which in group {
            let own = asked.of(*which);
            let warnings = applied.warnings.iter();
            let warnings =
                warnings.filter(|warning| own.iter().any(|one| is_in(&warning.target, one)));
            self.held.push(Held {
                which: *which,
                outcomes: outcomes.by_ref().take(own.len()).collect(),
                warnings: warnings.cloned().collect(),
            });
        }
        self.state = applied.state;
    }
}

/// The submissions whose resources the error names, and the others.
fn blame(error: &ArmError, asked: &Changes, group: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut targets = Vec::new();
    collect(error, &mut targets);
    let named = |which: &usize| {
        let mut own = asked.of(*which).iter();
        own.any(|change| targets.iter().any(|target| is_in(target, change)))
    };
    group.iter().copied().partition(named)
}

fn collect<'a>(error: &'a ArmError, targets: &mut Vec<&'a str>) {
    targets.extend(error.target.as_deref());
    for detail in &error.details {
        collect(detail, targets);
    }
}

/// Whether a target is the resource of a change, or something in the document that it is in.
fn is_in(target: &str, change: &Change) -> bool {
    let document = match change {
        Change::Put(put) => &put.target.document,
        Change::Tags { target, .. } | Change::Delete { target, .. } => &target.document,
        Change::SharedKey { connection, .. } => connection,
        Change::PutGroup(_) | Change::DeleteGroup(_) => return false,
    };
    let document = document.as_str();
    let start = target.get(..document.len());
    let rest = target.get(document.len()..).unwrap_or_default();
    start.is_some_and(|start| start.eq_ignore_ascii_case(document))
        && !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Map;
    use vnet_gw_core::arm::{Document, Origin, Precondition, Put, Target};

    use super::*;

    fn put(name: &str) -> Change {
        let id = format!(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/routeTables/{name}"
        );
        Change::Put(Put {
            target: Target::parse(&id).unwrap(),
            body: Map::new(),
            precondition: Precondition::default(),
            sync_remote_address_space: false,
            origin: Origin::Api,
        })
    }

    fn all(names: &[&str]) -> Changes {
        let mut changes = Changes::default();
        for name in names {
            changes.push(vec![put(name)]);
        }
        changes
    }

    /// Takes every change but those whose name begins with `bad`, and says where it is wrong if it
    /// is told to; counts.
    struct Rules {
        named: bool,
        attempts: usize,
    }

    impl Rules {
        fn attempt(&mut self, state: &State, changes: &[Change]) -> Result<Applied, ArmError> {
            self.attempts += 1;
            let mut state = state.clone();
            let mut documents = state.documents.clone();
            let mut written = Vec::new();
            let mut bad = Vec::new();
            for change in changes {
                let Change::Put(put) = change else { panic!() };
                let id = put.target.id.clone();
                if id.name().starts_with("bad") {
                    let error = ArmError::new("Bad", "no");
                    bad.push(match self.named {
                        true => error.at(format!("{id}.properties")),
                        false => error,
                    });
                }
                let document = Document {
                    id: id.clone(),
                    kind: put.target.kind,
                    body: Map::new(),
                    etag: String::new(),
                    origin: Origin::Api,
                };
                documents.insert(id.clone(), document.into());
                written.push(id);
            }
            if !bad.is_empty() {
                return Err(ArmError {
                    details: bad,
                    ..ArmError::new("Several", "")
                });
            }
            state.documents = documents;
            Ok(Applied {
                state,
                written,
                removed: Vec::new(),
                groups_written: Vec::new(),
                groups_removed: Vec::new(),
                keys: Vec::new(),
                outcomes: vec![Outcome::Created; changes.len()],
                warnings: Vec::new(),
            })
        }

        fn decide(&mut self, changes: &Changes, groups: Vec<Vec<usize>>) -> Batch {
            decide(&State::default(), changes, groups, &mut |state, changes| {
                self.attempt(state, changes)
            })
        }
    }

    fn held(batch: &Batch) -> BTreeSet<usize> {
        batch.held.iter().map(|held| held.which).collect()
    }

    #[test]
    fn whoever_holds_goes_on_and_who_does_not_is_found() {
        let names: Vec<String> = (0..200)
            .map(|n| match n {
                17 | 130 => format!("bad{n}"),
                _ => format!("good{n}"),
            })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let changes = all(&names);
        // With a hint, and without one.
        for (named, most) in [(true, 5), (false, ATTEMPTS)] {
            let mut rules = Rules { named, attempts: 0 };
            let batch = rules.decide(&changes, vec![(0..200).collect()]);
            assert!(rules.attempts <= most, "{named}: {}", rules.attempts);
            let refused: Vec<usize> = batch.refused.iter().map(|(which, _)| *which).collect();
            let mut decided = held(&batch);
            decided.extend(&refused);
            decided.extend(&batch.deferred);
            assert_eq!(decided.len(), 200);
            assert_eq!(batch.state.documents.len(), batch.held.len());
            if named {
                assert_eq!(refused, [17, 130]);
                assert!(batch.deferred.is_empty());
            }
        }
    }

    #[test]
    fn a_batch_of_bad_ones_ends_and_decides_something() {
        let names = vec!["bad"; 256];
        let changes = all(&names);
        let mut rules = Rules {
            named: false,
            attempts: 0,
        };
        let batch = rules.decide(&changes, vec![(0..256).collect()]);
        assert_eq!(rules.attempts, ATTEMPTS);
        assert!(batch.held.is_empty() && batch.refused.len() >= 4);
        assert_eq!(batch.refused.len() + batch.deferred.len(), 256);
    }

    #[test]
    fn the_doubted_do_not_cost_the_trusted_a_second_attempt() {
        let changes = all(&["good1", "good2", "good3", "bad"]);
        let mut rules = Rules {
            named: false,
            attempts: 0,
        };
        let batch = rules.decide(&changes, vec![vec![0, 1, 2], vec![3]]);
        assert_eq!(rules.attempts, 2);
        assert_eq!(held(&batch), BTreeSet::from([0, 1, 2]));
        assert_eq!(batch.held[1].outcomes, [Outcome::Created]);
    }

    #[test]
    fn a_target_is_in_its_document_only() {
        let change = put("Table1");
        let Change::Put(inside) = &change else {
            panic!()
        };
        let id = inside.target.id.to_string();
        for (target, is) in [
            (id.clone(), true),
            (id.to_uppercase(), true),
            (format!("{id}/routes/a"), true),
            (format!("{id}.properties"), true),
            (format!("{id}0"), false),
            (format!("{id}-b"), false),
            ("properties".to_owned(), false),
        ] {
            assert_eq!(is_in(&target, &change), is, "{target}");
        }
    }
}
