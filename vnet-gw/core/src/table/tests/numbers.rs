//! Numbers stay, and the list behind the counters tells them again.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::table::{
    ActionNumbers, RouteNumbers, TableError, decode_list4, decode_list6, encode_list4, encode_list6,
};

fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
    texts.iter().map(|text| net4(text)).collect()
}

#[test]
fn kept_prefixes_keep_their_numbers() {
    let mut numbers = RouteNumbers::default();
    let change = numbers
        .assign(nets(&["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"]))
        .unwrap();
    assert_eq!(
        (change.numbers, change.added, change.freed),
        (vec![1, 2, 3], vec![1, 2, 3], vec![])
    );
    // 2 is freed in this step, so the new one does not get it.
    let change = numbers
        .assign(nets(&["0.0.0.0/0", "10.0.0.0/8", "10.2.0.0/16"]))
        .unwrap();
    assert_eq!(
        (change.numbers, change.added, change.freed),
        (vec![4, 1, 3], vec![4], vec![2])
    );
    let change = numbers
        .assign(nets(&[
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.2.0.0/16",
            "11.0.0.0/8",
        ]))
        .unwrap();
    assert_eq!((change.numbers, change.added), (vec![4, 1, 3, 2], vec![2]));
    assert!(!change.fresh);
    assert_eq!(numbers.stride(), 64);
}

#[test]
fn the_stride_grows_by_powers_of_two_and_says_so() {
    let hosts = |count: u32| (0..count).map(|i| Ipv4Net::new_assert(i.into(), 32));
    let mut numbers = RouteNumbers::default();
    assert!(!numbers.assign(hosts(63)).unwrap().fresh);
    assert_eq!(numbers.stride(), 64);
    assert!(numbers.assign(hosts(64)).unwrap().fresh);
    assert_eq!(numbers.stride(), 128);
    assert!(!numbers.assign(hosts(1)).unwrap().fresh);
    assert_eq!(numbers.stride(), 128);
}

#[test]
fn a_table_changed_altogether_is_numbered_anew() {
    let hosts =
        |from: u32, count: u32| (from..from + count).map(|i| Ipv4Net::new_assert(i.into(), 32));
    let most = Leaf::MAX_ROUTES - 1;
    let mut numbers = RouteNumbers::default();
    numbers.assign(hosts(0, most)).unwrap();
    let change = numbers.assign(hosts(1, most)).unwrap();
    assert!(change.fresh);
    assert_eq!((change.added, change.freed), (vec![1], vec![]));
    let error = numbers.assign(hosts(0, most + 1)).unwrap_err();
    assert!(matches!(error, TableError::TooManyRoutes { .. }), "{error}");
    let error = numbers
        .assign(nets(&["10.0.0.0/16", "10.0.0.0/8"]))
        .unwrap_err();
    assert!(matches!(error, TableError::Unsorted { .. }), "{error}");
    assert_eq!(
        numbers.assigned().len(),
        most as usize,
        "an error changes nothing"
    );
}

#[test]
fn a_damaged_list_gives_what_is_left() {
    let twice = [
        None,
        Some(net4("10.0.0.0/8")),
        None,
        Some(net4("10.0.0.0/8")),
    ];
    let numbers = RouteNumbers::from_list(&twice);
    assert_eq!(numbers.assigned(), [(net4("10.0.0.0/8"), 1)]);
    // Number 0 is no route; a length of 33 and host bits are no prefix.
    let words = [
        (10 << 56) | 9,
        (10 << 56) | 34,
        (10 << 56 | 1 << 32) | 9,
        u64::MAX,
        0,
    ];
    let list = decode_list4(&words);
    assert_eq!(list, [Some(net4("10.0.0.0/8")), None, None, None, None]);
    assert!(RouteNumbers::from_list(&list).assigned().is_empty());
    assert_eq!(decode_list6(&[1, 2]), []);
    assert_eq!(decode_list6(&[0, 0, 130, 0, 1, 128]), [None, None]);
}

proptest! {
    #[test]
    fn numbers_are_distinct_low_and_told_by_the_list(
        steps in prop::collection::vec(prop::collection::btree_set(any_net4(), 0..100), 1..6),
    ) {
        let mut numbers = RouteNumbers::default();
        let mut before: Vec<(Ipv4Net, u32)> = Vec::new();
        for step in &steps {
            let change = numbers.assign(step.iter().copied()).unwrap();
            let now = numbers.assigned();
            prop_assert!(now.iter().map(|(net, _)| net).eq(step));
            prop_assert!(now.iter().map(|(_, number)| number).eq(&change.numbers));
            let distinct: BTreeSet<u32> = change.numbers.iter().copied().collect();
            prop_assert_eq!(distinct.len(), step.len());
            let most = step.len() + before.len();
            prop_assert!(change.added.iter().all(|n| *n > 0 && *n as usize <= most));
            prop_assert!(distinct.iter().all(|n| *n < numbers.stride()));
            for (net, number) in &before {
                let kept = now.iter().find(|(now, _)| now == net);
                prop_assert_eq!(kept.is_none(), change.freed.contains(number));
                prop_assert!(kept.is_none_or(|(_, now)| now == number));
                prop_assert!(!change.added.contains(number));
            }
            prop_assert_eq!(change.added.len() + before.len() - change.freed.len(), step.len());

            let stride = numbers.stride();
            let entry = |(prefix, route): &(Ipv4Net, u32)| RouteEntry {
                prefix: *prefix,
                route: *route,
                action: 1,
            };
            let entries: Vec<_> = now.iter().map(entry).collect();
            let words = encode_list4(&entries, stride);
            prop_assert_eq!(words.len() as u32, stride);
            let told = RouteNumbers::from_list(&decode_list4(&words));
            prop_assert_eq!(told.assigned(), now);
            prop_assert_eq!(told.stride(), stride);
            before = now.to_vec();
        }
    }

    #[test]
    fn the_list_of_ipv6_prefixes_tells_them(nets in prop::collection::btree_set(any_net6(), 0..60)) {
        let nets: Vec<Ipv6Net> = nets.into_iter().collect();
        let words = encode_list6(&numbered(&nets, 1), 64);
        prop_assert_eq!(words.len(), 3 * 64);
        let told = RouteNumbers::from_list(&decode_list6(&words));
        let told: Vec<Ipv6Net> = told.assigned().iter().map(|(net, _)| *net).collect();
        prop_assert_eq!(told, nets);
    }
}

#[test]
fn actions_keep_their_numbers_and_equal_ones_share_one() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|n| some_actions(n)[n as usize]);
    let mut numbers = ActionNumbers::default();
    assert_eq!(
        numbers.assign([b, a, b, Action::NO_ROUTE]).unwrap().numbers,
        [1, 2, 1, 0]
    );
    assert_eq!(numbers.table(), [Action::NO_ROUTE, b, a]);
    // 1 was freed in this step; it is given out in the next.
    assert_eq!(numbers.assign([a, c]).unwrap().numbers, [2, 3]);
    assert_eq!(numbers.table(), [Action::NO_ROUTE, Action::NO_ROUTE, a, c]);
    assert_eq!(numbers.assign([a, c, d]).unwrap().numbers, [2, 3, 1]);
    assert_eq!(numbers.assign([d]).unwrap().numbers, [1]);
    assert_eq!(numbers.table(), [Action::NO_ROUTE, d]);

    // A table in the kernel may still hold what was freed.
    let mut told = ActionNumbers::from_table(&[Action::NO_ROUTE, d, a, d, Action::NO_ROUTE, c]);
    assert_eq!(told.assign([c, d, b]).unwrap().numbers, [5, 1, 3]);
}

#[test]
fn actions_changed_altogether_are_numbered_anew() {
    let most = Leaf::MAX_ACTIONS - 1;
    let all = some_actions(most + 1);
    let mut numbers = ActionNumbers::default();
    assert!(
        !numbers
            .assign(all[1..=most as usize].iter().copied())
            .unwrap()
            .fresh
    );
    let change = numbers.assign(all[2..].iter().copied()).unwrap();
    assert!(change.fresh);
    assert_eq!(change.numbers.last(), Some(&1));
    assert_eq!(numbers.table().len(), Leaf::MAX_ACTIONS as usize);
    let error = numbers.assign(all).unwrap_err();
    assert!(
        matches!(error, TableError::TooManyActions { .. }),
        "{error}"
    );
}
