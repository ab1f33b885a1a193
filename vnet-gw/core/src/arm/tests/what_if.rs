//! What lies between two states.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::*;
use crate::arm::{Change, ChangeType, SharedKeyChange, diff};
use crate::secret::Secret;

fn table(routes: Value, tags: Value) -> Change {
    put(
        "routeTables/t",
        json!({"tags": tags, "properties": {"routes": routes}}),
    )
}

fn route(name: &str, prefix: &str) -> Value {
    json!({"name": name, "properties": {"addressPrefix": prefix, "nextHopType": "None"}})
}

#[test]
fn every_kind_of_change_is_told_with_its_paths() {
    let mut world = World::new();
    world.does(&[
        table(
            json!([
                route("a", "10.1.0.0/16"),
                route("b", "10.2.0.0/16"),
                route("c", "10.3.0.0/16")
            ]),
            json!({"env": "test", "old": "1"}),
        ),
        of("routeTables/same", json!({})),
        of("routeTables/gone", json!({})),
    ]);
    let before = world.state.clone();
    world.does(&[
        table(
            json!([
                route("C", "10.3.0.0/16"),
                route("a", "10.9.0.0/16"),
                route("d", "10.4.0.0/16")
            ]),
            json!({"env": "live", "new": "2"}),
        ),
        delete("routeTables/gone"),
        of(
            "routeTables/new",
            json!({"disableBgpRoutePropagation": true}),
        ),
        of("routeTables/same", json!({})),
    ]);
    let named: BTreeSet<_> = [id("routeTables/same"), id("routeTables/t")].into();
    let changes = diff(&before, &world.state, &named);
    let kinds: Vec<_> = changes
        .iter()
        .map(|change| (change.id.name(), change.change))
        .collect();
    assert_eq!(
        kinds,
        [
            ("gone", ChangeType::Delete),
            ("new", ChangeType::Create),
            ("same", ChangeType::NoChange),
            ("t", ChangeType::Modify),
        ]
    );
    assert_eq!(
        changes[1].to_value(),
        json!({
            "resourceId": id("routeTables/new").as_str(),
            "changeType": "Create",
            "after": {
                "id": id("routeTables/new").as_str(),
                "name": "new",
                "type": "Microsoft.Network/routeTables",
                "properties": {"disableBgpRoutePropagation": true},
            },
        })
    );
    let told = changes[3].to_value();
    let mut routes = Value::Null;
    let mut paths = Vec::new();
    for change in told["delta"].as_array().unwrap() {
        if change["propertyChangeType"] == "Array" {
            assert_eq!(change["path"], "properties.routes");
            routes = change["children"].clone();
        } else {
            paths.push((change["path"].clone(), change["propertyChangeType"].clone()));
        }
    }
    let expected = [
        ("tags.env", "Modify"),
        ("tags.old", "Delete"),
        ("tags.new", "Create"),
    ];
    assert_eq!(
        paths,
        expected.map(|(path, kind)| (json!(path), json!(kind)))
    );
    assert_eq!(
        routes,
        json!([
            {
                "path": "1", "propertyChangeType": "Modify",
                "before": route("a", "10.1.0.0/16"), "after": route("a", "10.9.0.0/16"),
                "children": [{
                    "path": "properties.addressPrefix", "propertyChangeType": "Modify",
                    "before": "10.1.0.0/16", "after": "10.9.0.0/16",
                }],
            },
            {"path": "1", "propertyChangeType": "Delete", "before": route("b", "10.2.0.0/16")},
            {"path": "2", "propertyChangeType": "Create", "after": route("d", "10.4.0.0/16")},
        ])
    );
    assert_eq!(diff(&world.state, &world.state, &BTreeSet::new()), []);
}

#[test]
fn a_key_is_told_and_not_shown() {
    let mut world = World::new();
    super::gateways::two_connected(&mut world);
    let before = world.state.clone();
    world.does(&[Change::SharedKey {
        connection: id("connections/c12"),
        change: SharedKeyChange::Set(Secret::new(*b"VerySecret1")),
    }]);
    let changes = diff(&before, &world.state, &BTreeSet::new());
    assert_eq!(changes.len(), 1);
    let text = changes[0].to_value().to_string();
    assert!(text.contains("properties.sharedKey"), "{text}");
    assert!(!text.contains("VerySecret1"), "{text}");
}
