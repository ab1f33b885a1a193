//! Differences between tables.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::Ipv4Net;
use proptest::prelude::*;

use crate::compile::{ActionImage, RouteChange, TableImage, diff_routes};
use crate::model::ResourceId;

fn actions(names: &[u8]) -> Vec<ActionImage> {
    names
        .iter()
        .map(|name| ActionImage::Local {
            vnet: ResourceId::new(&format!("/v{name}")),
        })
        .collect()
}

fn table(actions: Vec<ActionImage>, routes: &[(&str, u32)]) -> TableImage<Ipv4Net> {
    let routes = routes
        .iter()
        .map(|(prefix, action)| (prefix.parse().unwrap(), *action));
    TableImage {
        actions,
        routes: Arc::new(routes.collect()),
    }
}

#[test]
fn renumbered_actions_are_no_change() {
    let old = table(
        actions(&[1, 2]),
        &[("10.0.0.0/8", 0), ("10.1.0.0/16", 1), ("10.2.0.0/16", 1)],
    );
    let new = table(
        actions(&[3, 2, 1]),
        &[("10.0.0.0/8", 2), ("10.0.0.0/9", 0), ("10.1.0.0/16", 0)],
    );
    let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
    assert_eq!(
        diff_routes(&old, &new),
        [
            RouteChange::Added {
                prefix: net("10.0.0.0/9"),
                new: 0
            },
            RouteChange::Changed {
                prefix: net("10.1.0.0/16"),
                old: 1,
                new: 0
            },
            RouteChange::Removed {
                prefix: net("10.2.0.0/16"),
                old: 1
            },
        ]
    );
    assert_eq!(diff_routes(&new, &new.clone()), []);
}

#[test]
fn shared_routes_with_other_actions_differ() {
    let old = table(actions(&[1]), &[("10.0.0.0/8", 0)]);
    let new = TableImage {
        actions: actions(&[2]),
        routes: Arc::clone(&old.routes),
    };
    let prefix = "10.0.0.0/8".parse().unwrap();
    assert_eq!(
        diff_routes(&old, &new),
        [RouteChange::Changed {
            prefix,
            old: 0,
            new: 0
        }]
    );
}

fn any_table() -> impl Strategy<Value = TableImage<Ipv4Net>> {
    let numbers = prop::sample::subsequence(vec![1u8, 2, 3, 4], 1..=4).prop_shuffle();
    let routes = prop::collection::btree_map((0u8..8, 8u8..11), any::<u32>(), 0..12);
    (numbers, routes).prop_map(|(numbers, routes)| {
        let actions = actions(&numbers);
        let mut by_prefix = BTreeMap::new();
        for ((octet, len), action) in routes {
            let prefix = Ipv4Net::new([octet, 0, 0, 0].into(), len).unwrap();
            by_prefix.insert(prefix, action % actions.len() as u32);
        }
        TableImage {
            actions,
            routes: Arc::new(by_prefix.into_iter().collect()),
        }
    })
}

proptest! {
    #[test]
    fn a_difference_turns_the_old_into_the_new(old in any_table(), new in any_table()) {
        let act = |table: &TableImage<Ipv4Net>, number: u32| table.actions[number as usize].clone();
        let whole = |table: &TableImage<Ipv4Net>| -> BTreeMap<Ipv4Net, ActionImage> {
            table.routes.iter().map(|(prefix, number)| (*prefix, act(table, *number))).collect()
        };
        let mut patched = whole(&old);
        let changes = diff_routes(&old, &new);
        prop_assert!(changes.is_sorted_by_key(|change| change.prefix()));
        for change in changes {
            match change {
                RouteChange::Removed { prefix, old: number } => {
                    prop_assert_eq!(patched.remove(&prefix), Some(act(&old, number)));
                }
                RouteChange::Added { prefix, new: number } => {
                    prop_assert_eq!(patched.insert(prefix, act(&new, number)), None);
                }
                RouteChange::Changed { prefix, old: from, new: to } => {
                    prop_assert_ne!(act(&old, from), act(&new, to));
                    let before = patched.insert(prefix, act(&new, to));
                    prop_assert_eq!(before, Some(act(&old, from)));
                }
            }
        }
        prop_assert_eq!(patched, whole(&new));
    }
}
