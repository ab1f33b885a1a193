//! Drift is found, and nothing else is.

use super::*;
use crate::table::{
    Drift, build4, build6, directory, verify_directory, verify_small4, verify_small6, verify_tree,
};

#[test]
fn a_directory_is_compared_by_what_it_means() {
    let routes = numbered(&bgp_nets(20_000), 5);
    let actions = some_actions(5);
    let mut blocks = directory::build(&routes, &actions, 1 << 15, 1).blocks;
    let drift = |blocks: &[Block]| verify_directory(blocks, &routes, &actions, 1 << 15).unwrap();
    assert_eq!(drift(&blocks), Drift::default());

    // The generation and what lies in spare blocks mean nothing.
    blocks[0].0[Header::GENERATION] = 99;
    blocks.last_mut().unwrap().0[3] = u32::MAX;
    assert_eq!(drift(&blocks), Drift::default());

    // A leaf in place of a node whose addresses all have that leaf would be the same table.
    let root_at = header_word(&blocks[0], Header::ROOT_AT) as usize;
    let at = blocks.len() - 1;
    let leaf = blocks[root_at + 250].0[7];
    blocks[at] = Block([leaf; 256]);
    blocks[root_at + 250].0[7] = Leaf::CHILD | at as u32;
    assert_eq!(drift(&blocks), Drift::default());
    blocks[at].0[200] = 1;
    blocks[at].0[201] = 2;
    assert_eq!(
        drift(&blocks),
        Drift {
            ranges: 2,
            ..Drift::default()
        }
    );
    blocks[at].0[202] = Leaf::CHILD | u32::MAX;
    assert_eq!(
        drift(&blocks),
        Drift {
            ranges: 2,
            damaged: 1,
            ..Drift::default()
        }
    );

    blocks[1].0[8] ^= 1;
    blocks[0].0[Header::STRIDE] = 64;
    let all = Drift {
        header: 1,
        actions: 1,
        ranges: 2,
        damaged: 1,
    };
    assert_eq!(drift(&blocks), all);
    assert_eq!(all.total(), 5);
    assert!(!drift(&[]).is_none());
}

#[test]
fn one_route_more_is_so_many_slots() {
    let actions = some_actions(2);
    let nets = ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.0/24"].map(net4);
    let routes = numbered(&nets, 2);
    let blocks = directory::build(&routes[..2], &actions, 64, 1).blocks;
    let drift = verify_directory(&blocks[..], &routes, &actions, 64).unwrap();
    // And the header's highest number.
    assert_eq!(
        drift,
        Drift {
            header: 1,
            ranges: 1,
            ..Drift::default()
        }
    );
    let blocks = directory::build(&routes, &actions, 64, 1).blocks;
    let drift = verify_directory(&blocks[..], &routes[..2], &actions, 64).unwrap();
    assert_eq!(
        drift,
        Drift {
            ranges: 1,
            ..Drift::default()
        }
    );
    let drift = verify_directory(&blocks[..], &routes[..1], &actions, 64).unwrap();
    assert_eq!(
        drift,
        Drift {
            ranges: 255 + 256,
            ..Drift::default()
        }
    );
}

#[test]
fn small_tables_and_trees_are_compared_word_by_word() {
    let actions = some_actions(5);
    let routes = numbered(&bgp_nets(20), 5);
    let Table4::Small(mut table) = build4(&routes, &actions, 64, 1).unwrap() else {
        panic!("20 routes are few");
    };
    table.header[Header::GENERATION] = 7;
    let drift = verify_small4(&table, &routes, &actions, 64).unwrap();
    assert!(drift.is_none(), "{drift:?}");
    table.leaves[3] ^= 1;
    table.starts[4] ^= 1;
    table.actions[5][2] ^= 1;
    table.header[Header::STRIDE] = 128;
    let drift = verify_small4(&table, &routes, &actions, 64).unwrap();
    assert_eq!(
        drift,
        Drift {
            header: 1,
            actions: 1,
            ranges: 2,
            damaged: 0
        }
    );

    let nets6 = |count: u128| -> Vec<Ipv6Net> {
        (0..count)
            .map(|i| Ipv6Net::new_assert(((0xfd00 << 112) + (i << 80)).into(), 49))
            .collect()
    };
    let routes = numbered(&nets6(20), 5);
    let Table6::Small(mut table) = build6(&routes, &actions, 64, 1).unwrap() else {
        panic!("20 routes are few");
    };
    assert!(
        verify_small6(&table, &routes, &actions, 64)
            .unwrap()
            .is_none()
    );
    table.starts[4].lo ^= 1;
    let drift = verify_small6(&table, &routes, &actions, 64).unwrap();
    assert_eq!(
        drift,
        Drift {
            ranges: 1,
            ..Drift::default()
        }
    );

    let routes = numbered(&nets6(500), 5);
    let drift = verify_small6(&table, &routes, &actions, 512).unwrap();
    assert!(!drift.is_none(), "these routes need another form");
    let Table6::Tree(mut blocks) = build6(&routes, &actions, 512, 1).unwrap() else {
        panic!("500 routes are many");
    };
    blocks[0].0[Header::GENERATION] = 7;
    assert!(
        verify_tree(&blocks, &routes, &actions, 512)
            .unwrap()
            .is_none()
    );
    // A kernel array may be larger than what it holds.
    blocks.push(Block::ZERO);
    assert!(
        verify_tree(&blocks, &routes, &actions, 512)
            .unwrap()
            .is_none()
    );
    let values = header_word(&blocks[0], Header::VALUES_AT) as usize;
    let level = header_word(&blocks[0], Header::LEVELS_AT + 1) as usize;
    blocks[1].0[9] ^= 1;
    blocks[level].0[1] ^= 1;
    blocks[values].0[1] ^= 1;
    blocks[values + 1].0[1] ^= 1;
    let drift = verify_tree(&blocks, &routes, &actions, 512).unwrap();
    assert_eq!(
        drift,
        Drift {
            header: 0,
            actions: 1,
            ranges: 2,
            damaged: 1
        }
    );
    assert!(
        !verify_tree(&blocks[..values], &routes, &actions, 512)
            .unwrap()
            .is_none()
    );
    assert!(!verify_tree(&[], &routes, &actions, 512).unwrap().is_none());
}
