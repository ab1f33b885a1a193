//! Single changes, and what comes of each.

use serde_json::json;

use super::support::*;
use crate::{
    arm::{Change, Outcome, Precondition, Put, SharedKeyChange, status_of},
    secret::Secret,
};

/// What it is, and the outcome, or the code and status.
type Step = (&'static str, Change, Result<Outcome, (&'static str, u16)>);

#[test]
fn a_table_of_changes_and_their_outcomes() {
    let space = json!({"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}});
    let table = || of("routeTables/t", json!({}));
    let mut world = World::new();
    let steps: Vec<Step> = vec![
        ("the group again", put_group("G"), Ok(Outcome::Unchanged)),
        (
            "a VNet",
            of("virtualNetworks/v1", space.clone()),
            Ok(Outcome::Created),
        ),
        (
            "again, in another case",
            of("virtualNetworks/V1", space.clone()),
            Ok(Outcome::Unchanged),
        ),
        (
            "a subnet",
            of(
                "virtualNetworks/v1/subnets/a",
                json!({"addressPrefix": "10.1.0.0/24"}),
            ),
            Ok(Outcome::Created),
        ),
        (
            "the VNet keeps it",
            of("virtualNetworks/v1", space.clone()),
            Ok(Outcome::Unchanged),
        ),
        (
            "the same subnet",
            of(
                "virtualNetworks/v1/subnets/A",
                json!({"addressPrefix": "10.1.0.0/24"}),
            ),
            Ok(Outcome::Unchanged),
        ),
        ("a route table", table(), Ok(Outcome::Created)),
        (
            "a subnet with it",
            of(
                "virtualNetworks/v1/subnets/a",
                json!({"addressPrefix": "10.1.0.0/24", "routeTable": {"id": id("routeTables/t").as_str()}}),
            ),
            Ok(Outcome::Updated),
        ),
        (
            "the table is in use",
            delete("routeTables/t"),
            Err(("InUseRouteTableCannotBeDeleted", 400)),
        ),
        (
            "a route",
            of(
                "routeTables/t/routes/r",
                json!({"addressPrefix": "10.9.0.0/16", "nextHopType": "None"}),
            ),
            Ok(Outcome::Created),
        ),
        (
            "the route goes",
            delete("routeTables/T/routes/R"),
            Ok(Outcome::Deleted),
        ),
        (
            "it is gone",
            delete("routeTables/t/routes/r"),
            Ok(Outcome::Absent),
        ),
        (
            "nothing there",
            delete("connections/c"),
            Ok(Outcome::Absent),
        ),
        (
            "nothing above",
            delete("virtualNetworks/v9/subnets/a"),
            Ok(Outcome::Absent),
        ),
        (
            "no parent",
            of(
                "virtualNetworks/v9/subnets/a",
                json!({"addressPrefix": "10.1.0.0/24"}),
            ),
            Err(("ParentResourceNotFound", 404)),
        ),
        (
            "another location",
            put(
                "virtualNetworks/v1",
                json!({"location": "North Europe", "properties": space}),
            ),
            Err(("InvalidResourceLocation", 409)),
        ),
        (
            "the group's location",
            put(
                "virtualNetworks/v1",
                json!({"location": "West Europe", "properties": space}),
            ),
            Ok(Outcome::Updated),
        ),
        (
            "another name in the body",
            put(
                "virtualNetworks/v1",
                json!({"name": "v2", "properties": space}),
            ),
            Err(("InvalidRequestContent", 400)),
        ),
        (
            "tags",
            Change::Tags {
                target: target("virtualNetworks/v1"),
                tags: [("a".to_owned(), "b".to_owned())].into(),
                precondition: Precondition::default(),
            },
            Ok(Outcome::Updated),
        ),
        (
            "tags of nobody",
            Change::Tags {
                target: target("virtualNetworks/v9"),
                tags: [].into(),
                precondition: Precondition::default(),
            },
            Err(("ResourceNotFound", 404)),
        ),
        (
            "tags of a child",
            Change::Tags {
                target: target("virtualNetworks/v1/subnets/a"),
                tags: [].into(),
                precondition: Precondition::default(),
            },
            Err(("MethodNotAllowed", 405)),
        ),
        (
            "a key of nobody",
            Change::SharedKey {
                connection: id("connections/c"),
                change: SharedKeyChange::Set(Secret::new(*b"abc")),
            },
            Err(("ResourceNotFound", 404)),
        ),
        (
            "the VNet goes",
            delete("virtualNetworks/v1"),
            Ok(Outcome::Deleted),
        ),
        (
            "the table goes",
            delete("routeTables/t"),
            Ok(Outcome::Deleted),
        ),
        (
            "the group goes",
            Change::DeleteGroup(group("G")),
            Ok(Outcome::Deleted),
        ),
        (
            "it is gone",
            Change::DeleteGroup(group("g")),
            Ok(Outcome::Absent),
        ),
        ("no group", table(), Err(("ResourceGroupNotFound", 404))),
        (
            "no group",
            delete("routeTables/t"),
            Err(("ResourceGroupNotFound", 404)),
        ),
    ];
    for (what, change, wanted) in steps {
        let before = world.state.clone();
        match (world.apply(std::slice::from_ref(&change)), wanted) {
            (Ok(applied), Ok(outcome)) => {
                assert_eq!(applied.outcomes, [outcome], "{what}");
                let quiet = matches!(outcome, Outcome::Unchanged | Outcome::Absent);
                let written = applied.written.len() + applied.removed.len();
                let groups = applied.groups_written.len() + applied.groups_removed.len();
                assert_eq!(written + groups == 0, quiet, "{what}");
            }
            (Err(error), Err((code, status))) => {
                assert_eq!(
                    (error.code.as_str(), status_of(&error)),
                    (code, status),
                    "{what}"
                );
                assert!(error.target.is_some(), "{what}: {error}");
                assert_eq!(world.state.documents, before.documents, "{what}");
            }
            (result, wanted) => panic!("{what}: {result:?} instead of {wanted:?}"),
        }
    }
    assert!(world.state.documents.is_empty() && world.state.groups.is_empty());
}

#[test]
fn the_first_spelling_stays() {
    let mut world = World::new();
    let subnet = json!({"name": "Front", "properties": {"addressPrefix": "10.1.0.0/24"}});
    let space = json!({"addressPrefixes": ["10.1.0.0/16"]});
    world.does(&[of(
        "virtualNetworks/Vnet1",
        json!({"addressSpace": space, "subnets": [subnet]}),
    )]);
    let again = json!({"name": "FRONT", "properties": {"addressPrefix": "10.1.1.0/24"}});
    let applied = world.does(&[of(
        "virtualNetworks/VNET1",
        json!({"addressSpace": space, "subnets": [again]}),
    )]);
    assert_eq!(applied.outcomes, [Outcome::Updated]);
    assert_eq!(applied.written[0].name(), "Vnet1");
    world.does(&[of(
        "virtualNetworks/VNET1/subnets/fRONT",
        json!({"addressPrefix": "10.1.2.0/24"}),
    )]);
    let documents: Vec<_> = world.state.documents.values().collect();
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].id.name(), "Vnet1");
    assert_eq!(
        world.properties("virtualNetworks/vnet1")["subnets"],
        json!([{"name": "Front", "properties": {"addressPrefix": "10.1.2.0/24"}}])
    );
    let found = world
        .state
        .find(&target("virtualNetworks/vnet1/subnets/front"));
    assert!(
        found
            .unwrap()
            .id
            .as_str()
            .ends_with("/virtualNetworks/Vnet1/subnets/Front")
    );
    assert_eq!(
        world
            .state
            .find(&target("virtualNetworks/vnet1/subnets/back")),
        None
    );
}

#[test]
fn preconditions_hold_or_nothing_happens() {
    let with = |path: &str, if_match: Option<&str>, if_none_match: bool| {
        let Change::Put(put) = of(path, json!({})) else {
            unreachable!("of makes a PUT");
        };
        let precondition = Precondition {
            if_match: if_match.map(str::to_owned),
            if_none_match,
        };
        Change::Put(Put {
            precondition,
            ..put
        })
    };
    let table = "routeTables/t";
    let mut world = World::new();
    let failed = |world: &mut World, change: Change| {
        let error = world.apply(&[change]).unwrap_err();
        assert_eq!(
            (error.code.as_str(), status_of(&error)),
            ("PreconditionFailed", 412)
        );
    };
    failed(&mut world, with(table, Some("*"), false));
    world.does(&[with(table, None, true)]);
    failed(&mut world, with(table, None, true));
    failed(&mut world, with(table, Some("other"), false));
    let first = world.etag(table).to_owned();
    world.does(&[
        with(table, Some(&first), false),
        with(table, Some("*"), false),
    ]);
    assert_eq!(world.etag(table), first, "nothing changed");
    // A child shares its parent's etag, and changes it.
    let route = "routeTables/t/routes/r";
    failed(&mut world, with(route, Some(&first), false));
    let route_put = of(
        route,
        json!({"addressPrefix": "10.9.0.0/16", "nextHopType": "None"}),
    );
    world.does(std::slice::from_ref(&route_put));
    assert_ne!(world.etag(table), first);
    let second = world.etag(table).to_owned();
    // Of two in one set that rest on the same etag, the second fails, and so the set.
    let delete_with = |if_match: &str| Change::Delete {
        target: target(route),
        precondition: Precondition {
            if_match: Some(if_match.to_owned()),
            if_none_match: false,
        },
    };
    let tags = Change::Tags {
        target: target(table),
        tags: [("a".to_owned(), "b".to_owned())].into(),
        precondition: Precondition {
            if_match: Some(second.clone()),
            if_none_match: false,
        },
    };
    let error = world.apply(&[tags, delete_with(&second)]).unwrap_err();
    assert_eq!(error.code, "PreconditionFailed");
    assert_eq!(world.etag(table), second);
    failed(&mut world, delete_with(&first));
    world.does(&[delete_with(&second)]);
}

#[test]
fn a_set_that_undoes_itself_changes_nothing() {
    let mut world = World::new();
    let route = json!({"addressPrefix": "10.9.0.0/16", "nextHopType": "None"});
    world.does(&[of("routeTables/t", json!({}))]);
    let etag = world.etag("routeTables/t").to_owned();
    let applied = world.does(&[
        of("routeTables/t/routes/r", route.clone()),
        of("routeTables/u", json!({})),
        delete("routeTables/u"),
        delete("routeTables/t/routes/r"),
        put_group("h"),
        Change::DeleteGroup(group("h")),
    ]);
    assert!(applied.written.is_empty() && applied.removed.is_empty());
    assert!(applied.groups_written.is_empty() && applied.groups_removed.is_empty());
    assert_eq!(world.etag("routeTables/t"), etag);
}

#[test]
fn a_group_takes_everything_in_it_along() {
    let mut world = World::new();
    world.does(&[put_group("g-2"), put_group("other")]);
    let in_group = |name: &str, path: &str| {
        let text =
            format!("/subscriptions/s/resourceGroups/{name}/providers/Microsoft.Network/{path}");
        crate::arm::Target::parse(&text).unwrap()
    };
    world.does(&[
        of("routeTables/t", json!({})),
        Change::Put(put_of(in_group("g-2", "routeTables/t"), json!({}))),
    ]);
    let applied = world.does(&[
        of("routeTables/new", json!({})),
        Change::DeleteGroup(group("G")),
    ]);
    assert_eq!(applied.outcomes, [Outcome::Created, Outcome::Deleted]);
    assert_eq!(applied.removed, [id("routeTables/t")]);
    assert_eq!(applied.groups_removed, [group("g")]);
    assert_eq!(world.state.documents.len(), 1);
    assert_eq!(world.state.groups.len(), 2);
}
