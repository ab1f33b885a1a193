//! Bucket tables against a map.

use proptest::prelude::*;
use vnet_gw_common::endpoint::{
    Bucket4, Buckets, Endpoint, EndpointsWord, hash4, key4, lookup4, lookup6,
};

use super::*;
use crate::table::{
    TableError, build_endpoints4, build_endpoints6, decode_endpoints4, decode_endpoints6,
};

/// Both slots of the outer map; the table is in the second.
struct Slots<'a, B>(&'a [B]);

impl<B> Buckets<B> for Slots<'_, B> {
    fn bucket(&self, slot: u32, index: u32) -> Option<&B> {
        assert_eq!(slot, 1);
        self.0.get(index as usize)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_endpoint_is_found_and_no_other(
        keys in prop::collection::btree_map((1u32..5, 0u32..2000), any::<u64>(), 0..600),
        others in prop::collection::vec((1u32..6, 0u32..2500), 50),
    ) {
        let entries: Vec<_> =
            keys.iter().map(|(&(scope, addr), &v)| (scope, addr, Endpoint(v))).collect();
        let built = build_endpoints4(&entries).unwrap();
        prop_assert_eq!(built.buckets.len(), 1 << built.bits);
        prop_assert!(built.buckets.len() >= 2 && built.buckets.len() * 2 >= entries.len());
        prop_assert_eq!(&built, &build_endpoints4(&entries).unwrap());
        let word = built.word(1);
        for &(scope, addr) in keys.keys().chain(&others) {
            let found = lookup4(&Slots(&built.buckets), word, scope, addr);
            prop_assert_eq!(found.map(|e| e.0), keys.get(&(scope, addr)).copied());
        }
        prop_assert_eq!(&decode_endpoints4(&built.buckets), &entries);

        let spread = |addr: u32| Addr6 { hi: u64::from(addr % 7), lo: u64::from(addr / 7) << 30 };
        let mut entries: Vec<_> =
            entries.iter().map(|&(scope, addr, e)| (scope, spread(addr), e)).collect();
        entries.sort_unstable_by_key(|&(scope, addr, _)| (scope, addr));
        let built = build_endpoints6(&entries).unwrap();
        let word = built.word(1);
        for &(scope, addr) in keys.keys().chain(&others) {
            let found = lookup6(&Slots(&built.buckets), word, scope, spread(addr));
            prop_assert_eq!(found.map(|e| e.0), keys.get(&(scope, addr)).copied());
        }
        prop_assert_eq!(decode_endpoints6(&built.buckets), entries);
    }
}

/// Where both buckets of a key are full, others move; where that cannot help, the table grows.
#[test]
fn full_buckets_make_room() {
    // Keys that a table of 2^bits buckets would all put into the lower half, under its first seed.
    for (bits, count) in [(2, 7), (2, 8), (4, 31), (6, 125), (8, 500)] {
        let word = EndpointsWord::new(0, bits, 1);
        let crowded = |addr: &u32| {
            let (first, second) = word.buckets(hash4(1, key4(1, *addr)));
            (first | second) >> (bits - 1) == 0
        };
        let addrs: Vec<u32> = (0..).filter(crowded).take(count).collect();
        let entries: Vec<_> = addrs
            .iter()
            .map(|a| (1, *a, Endpoint(u64::from(*a))))
            .collect();
        let built = build_endpoints4(&entries).unwrap();
        assert_eq!((built.bits, built.seed), (bits, 1), "{count} keys fit");
        for addr in addrs {
            let found = lookup4(&Slots(&built.buckets), built.word(1), 1, addr);
            assert_eq!(found, Some(Endpoint(u64::from(addr))));
        }
    }
}

#[test]
fn another_seed_is_tried_before_more_buckets() {
    // Five keys with one bucket, the first and second being the same, do not fit under seed 1.
    let word = EndpointsWord::new(0, 2, 1);
    let alike = |addr: &u32| word.buckets(hash4(1, key4(1, *addr))) == (0, 0);
    let addrs: Vec<u32> = (0..).filter(alike).take(5).collect();
    let entries: Vec<_> = addrs.iter().map(|a| (1, *a, Endpoint(7))).collect();
    let built = build_endpoints4(&entries).unwrap();
    assert_eq!(built.buckets.len(), 4);
    assert!(built.seed > 1);
    assert_eq!(decode_endpoints4(&built.buckets), entries);
}

#[test]
fn most_endpoints_are_in_their_first_bucket() {
    let entries: Vec<_> = (0..64_000)
        .map(|i| (1 + i % 9, i * 3, Endpoint(u64::from(i))))
        .collect();
    let built = build_endpoints4(&entries).unwrap();
    let word = built.word(0);
    let first = |&&(scope, addr, _): &&(u32, u32, Endpoint)| {
        let (first, _) = word.buckets(hash4(word.seed(), key4(scope, addr)));
        built.buckets[first as usize]
            .keys
            .contains(&key4(scope, addr))
    };
    let share = entries.iter().filter(first).count() as f64 / entries.len() as f64;
    assert!(share > 0.9, "only {share} of them");
}

#[test]
fn input_that_breaks_the_rules_is_refused() {
    let error = build_endpoints4(&[(0, 5, Endpoint(1))]).unwrap_err();
    assert!(matches!(error, TableError::NoScope { .. }), "{error}");
    let error = build_endpoints4(&[(1, 5, Endpoint(1)), (1, 5, Endpoint(2))]).unwrap_err();
    assert_eq!(
        error,
        TableError::DuplicateEndpoint {
            scope: 1,
            address: [0, 0, 0, 5].into()
        }
    );
    let empty = build_endpoints4(&[]).unwrap();
    assert_eq!(
        (empty.buckets, empty.bits),
        (vec![Bucket4::default(); 2], 1)
    );
}
