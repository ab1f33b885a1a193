//! What the table tests share: a naive longest-prefix match as the oracle, lookups the way the
//! data path does them, and random routes.

mod edits;
mod endpoints;
mod forms;
mod numbers;
mod sizes;
mod verify;

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use vnet_gw_common::{
    Addr6,
    table::{
        Action, ActionKind, Block, Header, Leaf, TREE_LEVELS, big_action, directory_lookup,
        header_word, tree_lookup,
    },
};

use super::{Bits, Prefix, RouteEntry, Table4, Table6};

/// The leaf by looking at every route.
fn naive<P: Prefix>(routes: &[RouteEntry<P>], addr: P::Bits) -> u32 {
    let around = |r: &&RouteEntry<P>| r.prefix.first() <= addr && addr <= r.prefix.last();
    let longest = routes
        .iter()
        .filter(around)
        .max_by_key(|r| r.prefix.length());
    longest.map_or(0, RouteEntry::leaf)
}

/// Where leaves may change: the ends of every prefix, the addresses beside them, and the ends of
/// the address space.
fn edges<P: Prefix>(prefixes: impl IntoIterator<Item = P>) -> Vec<P::Bits> {
    let mut edges = vec![P::Bits::ZERO, P::Bits::MAX];
    for prefix in prefixes {
        let (first, last) = (prefix.first(), prefix.last());
        edges.extend([first.previous(), first, first.next()]);
        edges.extend([last.previous(), last, last.next()]);
    }
    edges
}

fn directory_leaf(blocks: &[Block], addr: u32) -> u32 {
    let root_at = header_word(&blocks[0], Header::ROOT_AT);
    directory_lookup(blocks, root_at, addr).unwrap().0
}

fn held_action(blocks: &[Block], leaf: u32) -> Action {
    let at = header_word(&blocks[0], Header::ACTIONS_AT);
    big_action(blocks, at, Leaf(leaf).action()).unwrap()
}

fn tree_leaf(blocks: &[Block], addr: u128) -> u32 {
    let word = |word| header_word(&blocks[0], word);
    let levels: [u32; TREE_LEVELS] = std::array::from_fn(|i| word(Header::LEVELS_AT + i));
    let (depth, values) = (word(Header::DEPTH), word(Header::VALUES_AT));
    tree_lookup(blocks, levels, depth, values, Addr6::from_bits(addr))
        .unwrap()
        .0
}

fn leaf4(table: &Table4, addr: u32) -> u32 {
    match table {
        Table4::Small(small) => small.lookup(addr).0,
        Table4::Directory(directory) => directory_leaf(&directory.blocks, addr),
    }
}

fn leaf6(table: &Table6, addr: u128) -> u32 {
    match table {
        Table6::Small(small) => small.lookup(Addr6::from_bits(addr)).0,
        Table6::Tree(blocks) => tree_leaf(blocks, addr),
    }
}

/// `count` different actions after [`Action::NO_ROUTE`].
fn some_actions(count: u32) -> Vec<Action> {
    let appliance = |n| Action::new(ActionKind::Appliance, 0, 7).with_next_hop4(n);
    std::iter::once(Action::NO_ROUTE)
        .chain((1..=count).map(appliance))
        .collect()
}

fn net4(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// Routes numbered in the order given to them here, which is not that of their prefixes.
fn entries<P: Prefix>(routes: &[(P, u32)]) -> Vec<RouteEntry<P>> {
    let mut unique = BTreeMap::new();
    for &(prefix, action) in routes {
        let route = unique.len() as u32 + 1;
        unique
            .entry((prefix.first(), prefix.length()))
            .or_insert(RouteEntry {
                prefix,
                route,
                action,
            });
    }
    unique.into_values().collect()
}

/// Prefixes that often nest, touch and repeat, with all lengths.
fn any_net4() -> impl Strategy<Value = Ipv4Net> {
    let addr = prop_oneof![
        4 => (0u32..4, 0u32..1 << 17).prop_map(|(high, low)| 0x0a00_0000 + (high << 15) + low),
        2 => prop_oneof![Just(0), Just(u32::MAX)],
        1 => any::<u32>(),
    ];
    let length = prop_oneof![
        1 => 0u8..=8,
        2 => 9u8..=16,
        4 => 17u8..=24,
        2 => 25u8..=31,
        2 => Just(32u8),
    ];
    (addr, length).prop_map(|(addr, length)| Ipv4Net::new_assert(addr.into(), length).trunc())
}

fn any_net6() -> impl Strategy<Value = Ipv6Net> {
    let addr = prop_oneof![
        4 => (0u128..4, 0u128..1 << 12)
            .prop_map(|(high, low)| (0xfd00 << 112) + (high << 78) + (low << 62) + low),
        2 => prop_oneof![Just(0), Just(u128::MAX)],
        1 => any::<u128>(),
    ];
    let length = prop_oneof![
        1 => 0u8..=32,
        4 => 33u8..=64,
        2 => 65u8..=127,
        2 => Just(128u8),
    ];
    (addr, length).prop_map(|(addr, length)| Ipv6Net::new_assert(addr.into(), length).trunc())
}

/// Uniform numbers, the same in every run (xorshift*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

/// Prefix lengths in the shares, of a thousand, in which the global BGP table has them, except
/// that 5 % are longer than /24 (each length alike).
fn bgp_length(random: &mut Random) -> u8 {
    const SHARES: [(u64, u8); 12] = [
        (2, 12),
        (2, 14),
        (13, 16),
        (10, 17),
        (15, 18),
        (25, 19),
        (45, 20),
        (50, 21),
        (105, 22),
        (95, 23),
        (588, 24),
        (50, 25),
    ];
    let mut at = random.below(1000);
    for (share, length) in SHARES {
        if at < share {
            return if length == 25 {
                25 + random.below(8) as u8
            } else {
                length
            };
        }
        at -= share;
    }
    24
}

/// `count` different prefixes with addresses drawn from 1.0.0.0 to 223.255.255.255, in order.
fn bgp_nets(count: usize) -> Vec<Ipv4Net> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut nets = Vec::new();
    while nets.len() < count {
        for _ in nets.len()..count {
            let addr = (1 << 24) + random.below(223 << 24) as u32;
            let length = bgp_length(&mut random);
            nets.push(Ipv4Net::new_assert(addr.into(), length).trunc());
        }
        nets.sort_unstable();
        nets.dedup();
    }
    nets
}

/// Numbered in order, with actions in turn.
fn numbered<P: Copy>(nets: &[P], actions: u32) -> Vec<RouteEntry<P>> {
    let entry = |(i, prefix): (u32, &P)| RouteEntry {
        prefix: *prefix,
        route: i + 1,
        action: i % actions + 1,
    };
    (0..).zip(nets).map(entry).collect()
}
