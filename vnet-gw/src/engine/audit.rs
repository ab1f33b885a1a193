//! What the audit log says of a submission that holds.

use std::time::SystemTime;

use vnet_gw_core::arm::{Change, Outcome, State};

use super::{
    Submission,
    activity::{Activity, ActivityStatus},
    handle::Noted,
};

/// Records of one submission; what is more is counted in the last.
const MOST: usize = 2_000;

/// The submission itself, and, where it is a set, each change that did something.
pub(super) fn records(
    base: &State,
    submission: &Submission,
    changes: &[Change],
    outcomes: &[Outcome],
) -> Vec<Activity> {
    let at = SystemTime::now();
    let note = |operation: &str, resource: &str, status, code: &str| {
        Activity::new(at, &submission.caller, operation, resource, status, code)
    };
    let itself = |status, code: &str| {
        vec![note(
            &submission.operation,
            &submission.resource,
            status,
            code,
        )]
    };
    match &submission.noted {
        Noted::Not => return Vec::new(),
        Noted::As(status, code) => return itself(*status, code),
        Noted::Outcomes => {}
    }
    let mut records = itself(ActivityStatus::Accepted, name(most(outcomes)));
    let mut parts = Vec::new();
    for (change, outcome) in changes.iter().zip(outcomes) {
        if let Change::DeleteGroup(group) = change
            && *outcome == Outcome::Deleted
        {
            // With everything in it.
            let inside = base.documents.values();
            let inside = inside.filter(|document| group.contains(&document.id));
            parts.extend(inside.map(|document| {
                let operation = format!("{}/delete", document.kind.resource_type());
                (operation, document.id.to_string(), Outcome::Deleted)
            }));
        }
        // One alone is what the submission is.
        if changes.len() > 1 && !matches!(outcome, Outcome::Unchanged | Outcome::Absent) {
            let (operation, resource) = of(change);
            parts.push((operation, resource, *outcome));
        }
    }
    parts.retain(|(_, resource, _)| !resource.eq_ignore_ascii_case(&submission.resource));
    let more = parts.len().saturating_sub(MOST);
    for (operation, resource, outcome) in parts.into_iter().take(MOST) {
        records.push(note(
            &operation,
            &resource,
            ActivityStatus::Accepted,
            name(outcome),
        ));
    }
    if more > 0 {
        let code = format!("and {more} more");
        records.extend(itself(ActivityStatus::Accepted, &code));
    }
    records
}

/// What a change is called, and what it is about.
fn of(change: &Change) -> (String, String) {
    const GROUPS: &str = "Microsoft.Resources/subscriptions/resourceGroups";
    let (of, what, resource) = match change {
        Change::Put(put) => (
            put.target.kind.resource_type(),
            "write",
            put.target.id.to_string(),
        ),
        Change::Tags { target, .. } => {
            (target.kind.resource_type(), "write", target.id.to_string())
        }
        Change::Delete { target, .. } => {
            (target.kind.resource_type(), "delete", target.id.to_string())
        }
        Change::PutGroup(group) => (GROUPS, "write", group.id.to_string()),
        Change::DeleteGroup(id) => (GROUPS, "delete", id.to_string()),
        Change::SharedKey { connection, .. } => (
            "Microsoft.Network/connections/sharedKey",
            "write",
            connection.to_string(),
        ),
    };
    (format!("{of}/{what}"), resource)
}

/// The one that says most.
fn most(outcomes: &[Outcome]) -> Outcome {
    [
        Outcome::Created,
        Outcome::Updated,
        Outcome::Deleted,
        Outcome::Absent,
    ]
    .into_iter()
    .find(|outcome| outcomes.contains(outcome))
    .unwrap_or(Outcome::Unchanged)
}

const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "Created",
        Outcome::Updated => "Updated",
        Outcome::Deleted => "Deleted",
        Outcome::Absent => "Absent",
        Outcome::Unchanged => "Unchanged",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vnet_gw_core::arm::{GroupId, ResourceGroup};

    use super::*;
    use crate::engine::{Caller, Who};

    fn put(name: &str) -> Change {
        Change::PutGroup(ResourceGroup {
            id: GroupId::new("s", name).unwrap(),
            location: "local".to_owned(),
            tags: BTreeMap::new(),
        })
    }

    fn submission(noted: Noted) -> Submission {
        Submission {
            changes: Vec::new(),
            caller: Caller {
                who: Who::File,
                address: None,
                correlation_id: "c".to_owned(),
            },
            operation: "Microsoft.Resources/deployments/write".to_owned(),
            resource: "/subscriptions/s/deployments/d".to_owned(),
            records: Vec::new(),
            noted,
        }
    }

    fn lines(noted: Noted, changes: &[Change], outcomes: &[Outcome]) -> Vec<String> {
        let base = State::default();
        let records = records(&base, &submission(noted), changes, outcomes);
        let line = |one: Activity| {
            assert_eq!(one.correlation_id, "c");
            format!(
                "{} {} {}",
                one.operation_name, one.resource_id, one.sub_status
            )
        };
        records.into_iter().map(line).collect()
    }

    #[test]
    fn each_change_of_a_set_that_did_something_has_a_record() {
        let changes = [
            put("a"),
            put("b"),
            Change::DeleteGroup(GroupId::new("s", "c").unwrap()),
        ];
        let outcomes = [Outcome::Created, Outcome::Unchanged, Outcome::Deleted];
        let itself = "Microsoft.Resources/deployments/write /subscriptions/s/deployments/d";
        let groups = "Microsoft.Resources/subscriptions/resourceGroups";
        assert_eq!(
            lines(Noted::Outcomes, &changes, &outcomes),
            [
                format!("{itself} Created"),
                format!("{groups}/write /subscriptions/s/resourceGroups/a Created"),
                format!("{groups}/delete /subscriptions/s/resourceGroups/c Deleted"),
            ]
        );
        assert_eq!(
            lines(Noted::Outcomes, &changes, &[Outcome::Unchanged; 3]),
            [format!("{itself} Unchanged")]
        );
        assert_eq!(
            lines(Noted::As(ActivityStatus::Refused, "X".to_owned()), &[], &[]),
            [format!("{itself} X")]
        );
        assert!(lines(Noted::Not, &changes, &outcomes).is_empty());
    }

    #[test]
    fn a_huge_set_is_cut_and_counted() {
        let changes: Vec<_> = (0..MOST + 7).map(|n| put(&n.to_string())).collect();
        let lines = lines(
            Noted::Outcomes,
            &changes,
            &vec![Outcome::Created; changes.len()],
        );
        assert_eq!(lines.len(), MOST + 2);
        assert!(lines.last().unwrap().ends_with("and 7 more"));
    }
}
