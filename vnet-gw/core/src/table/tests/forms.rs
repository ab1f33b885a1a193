//! Every form against the naive match.

use proptest::prelude::*;
use vnet_gw_common::table::{SMALL_INTERVALS, SMALL4_ACTIONS, SMALL6_ACTIONS};

use super::*;
use crate::table::{TableError, build4, build6, directory, tree};

const STRIDE: u32 = 1024;
const ACTIONS: u32 = 20;

fn routes4(max: usize) -> impl Strategy<Value = Vec<RouteEntry<Ipv4Net>>> {
    prop::collection::vec((any_net4(), 1..=ACTIONS), 0..max).prop_map(|routes| entries(&routes))
}

fn routes6(max: usize) -> impl Strategy<Value = Vec<RouteEntry<Ipv6Net>>> {
    prop::collection::vec((any_net6(), 1..=ACTIONS), 0..max).prop_map(|routes| entries(&routes))
}

fn prefixes<P: Prefix>(routes: &[RouteEntry<P>]) -> Vec<P> {
    routes.iter().map(|r| r.prefix).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn ipv4_tables_match_as_the_naive_search_does(
        routes in routes4(60),
        random in prop::collection::vec(any::<u32>(), 16),
    ) {
        let actions = some_actions(ACTIONS);
        let chosen = build4(&routes, &actions, STRIDE, 1).unwrap();
        prop_assert!(matches!(chosen, Table4::Small(_)));
        let directory = Table4::Directory(directory::build(&routes, &actions, STRIDE, 1));
        for addr in edges(prefixes(&routes)).into_iter().chain(random) {
            let want = naive(&routes, addr);
            prop_assert_eq!(leaf4(&chosen, addr), want, "small, address {:#x}", addr);
            prop_assert_eq!(leaf4(&directory, addr), want, "directory, address {:#x}", addr);
        }
    }

    #[test]
    fn ipv6_tables_match_as_the_naive_search_does(
        routes in routes6(60),
        random in prop::collection::vec(any::<u128>(), 16),
    ) {
        let actions = some_actions(ACTIONS);
        let chosen = build6(&routes, &actions, STRIDE, 1).unwrap();
        prop_assert!(matches!(chosen, Table6::Small(_)));
        let tree = Table6::Tree(tree::build(&routes, &actions, STRIDE, 1));
        for addr in edges(prefixes(&routes)).into_iter().chain(random) {
            let want = naive(&routes, addr);
            prop_assert_eq!(leaf6(&chosen, addr), want, "small, address {:#x}", addr);
            prop_assert_eq!(leaf6(&tree, addr), want, "tree, address {:#x}", addr);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn large_tables_match_too(routes4 in routes4(1000), routes6 in routes6(1000)) {
        let actions = some_actions(ACTIONS);
        let table4 = build4(&routes4, &actions, STRIDE, 1).unwrap();
        for addr in edges(prefixes(&routes4)) {
            prop_assert_eq!(leaf4(&table4, addr), naive(&routes4, addr), "address {:#x}", addr);
        }
        let table6 = build6(&routes6, &actions, STRIDE, 1).unwrap();
        for addr in edges(prefixes(&routes6)) {
            prop_assert_eq!(leaf6(&table6, addr), naive(&routes6, addr), "address {:#x}", addr);
        }
    }
}

/// Every depth of tree, with its last nodes full, and one more or less than full.
#[test]
fn trees_of_every_depth_find_every_interval() {
    let actions = some_actions(3);
    for intervals in [
        1u32, 2, 63, 64, 65, 4095, 4096, 4097, 262_143, 262_144, 262_145,
    ] {
        let stride = (intervals + 1).next_power_of_two();
        // Host routes side by side up to the highest address; the first interval is the gap below.
        let nets: Vec<Ipv6Net> = (0..intervals - 1)
            .rev()
            .map(|i| Ipv6Net::new_assert((u128::MAX - u128::from(i)).into(), 128))
            .collect();
        let routes = numbered(&nets, 3);
        let blocks = tree::build(&routes, &actions, stride, 1);
        assert_eq!(header_word(&blocks[0], Header::INTERVALS), intervals);
        let depth = [64u32, 4096, 262_144]
            .iter()
            .filter(|full| intervals > **full)
            .count()
            + 1;
        assert_eq!(
            header_word(&blocks[0], Header::DEPTH),
            depth as u32,
            "{intervals} intervals"
        );
        for entry in &routes {
            assert_eq!(
                tree_leaf(&blocks, entry.prefix.first()),
                entry.leaf(),
                "{}",
                entry.prefix
            );
        }
        assert_eq!(tree_leaf(&blocks, 0), 0);
        assert_eq!(tree_leaf(&blocks, u128::MAX - u128::from(intervals) + 1), 0);
    }
}

#[test]
fn a_table_without_routes_has_none() {
    let none = some_actions(0);
    let table = build4(&[], &none, 64, 1).unwrap();
    assert!(
        [0, 1, u32::MAX]
            .into_iter()
            .all(|addr| leaf4(&table, addr) == 0)
    );
    let table = build6(&[], &none, 64, 1).unwrap();
    assert!(
        [0, 1, u128::MAX]
            .into_iter()
            .all(|addr| leaf6(&table, addr) == 0)
    );
}

#[test]
fn the_form_follows_from_intervals_and_actions() {
    let hosts = |count: u32| -> Vec<Ipv4Net> {
        (0..count)
            .map(|i| Ipv4Net::new_assert((0x0a00_0000 + 2 * i).into(), 32))
            .collect()
    };
    let small = |count: u32, actions: usize| {
        let routes = numbered(&hosts(count), 2);
        let table = build4(&routes, &some_actions(actions as u32), 256, 1).unwrap();
        matches!(table, Table4::Small(_))
    };
    // Each host route has a gap before it, and one is left behind the last.
    let most = (SMALL_INTERVALS as u32 - 1) / 2;
    assert!(small(most, SMALL4_ACTIONS - 1));
    assert!(!small(most + 1, 2));
    assert!(!small(most, SMALL4_ACTIONS));

    let default: Ipv6Net = "::/0".parse().unwrap();
    let small6 = |actions: usize| {
        let table = build6(
            &numbered(&[default], 1),
            &some_actions(actions as u32),
            64,
            1,
        )
        .unwrap();
        matches!(table, Table6::Small(_))
    };
    assert!(small6(SMALL6_ACTIONS - 1));
    assert!(!small6(SMALL6_ACTIONS));
}

/// Two prefixes may meet without one interval more than their leaves need.
#[test]
fn neighbours_with_one_leaf_share_an_interval() {
    let entry = |prefix, route| RouteEntry {
        prefix: net4(prefix),
        route,
        action: 1,
    };
    let routes = [entry("10.0.0.0/9", 1), entry("10.128.0.0/9", 1)];
    let Table4::Small(table) = build4(&routes, &some_actions(1), 64, 1).unwrap() else {
        panic!("two routes are few");
    };
    assert_eq!(table.header[Header::INTERVALS], 3);
}

#[test]
fn input_that_breaks_the_rules_is_refused() {
    let actions = some_actions(2);
    let entry = |prefix, route, action| RouteEntry {
        prefix: net4(prefix),
        route,
        action,
    };
    let refused = |routes: &[RouteEntry<Ipv4Net>]| build4(routes, &actions, 64, 1).unwrap_err();
    let twice = [entry("10.0.0.0/8", 1, 1), entry("10.0.0.0/8", 2, 1)];
    assert!(matches!(refused(&twice), TableError::Unsorted { .. }));
    let backwards = [entry("10.0.0.0/16", 1, 1), entry("10.0.0.0/8", 2, 1)];
    assert!(matches!(refused(&backwards), TableError::Unsorted { .. }));
    for number in [0, 64, Leaf::MAX_ROUTES] {
        let error = refused(&[entry("10.0.0.0/8", number, 1)]);
        assert!(matches!(error, TableError::RouteNumber { .. }), "{error}");
    }
    for number in [0, 3] {
        let error = refused(&[entry("10.0.0.0/8", 1, number)]);
        assert!(matches!(error, TableError::ActionNumber { .. }), "{error}");
    }
    let error = build4(&[], &some_actions(Leaf::MAX_ACTIONS), 64, 1).unwrap_err();
    assert!(
        matches!(error, TableError::TooManyActions { .. }),
        "{error}"
    );
}
