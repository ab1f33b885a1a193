//! What the kernel holds against what it should hold.

use ipnet::{Ipv4Net, Ipv6Net};
use vnet_gw_common::table::{
    ACTIONS_PER_BLOCK, Action, Block, HEADER_WORDS, Header, Leaf, SmallTable4, SmallTable6,
    big_action,
};

use super::{
    LiveBlocks, RouteEntry, TableError, check_table,
    directory::{Node, ROOT_BLOCKS, bits_below, check_header, last_of},
    header,
    intervals::{Cursor, Intervals},
    small, tree,
};

/// How a table in the kernel differs from the desired one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Words of the header that say something else; the generation does not count.
    pub header: u32,
    /// Actions of the desired table that are missing or other ones.
    pub actions: u32,
    /// Ranges of addresses with another leaf: intervals of a small table or tree, slots of a
    /// directory.
    pub ranges: u32,
    /// Slots that lead nowhere, or keys of a tree that lead astray.
    pub damaged: u32,
}

impl Drift {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// All differences, for a metric.
    pub fn total(&self) -> u64 {
        [self.header, self.actions, self.ranges, self.damaged]
            .into_iter()
            .map(u64::from)
            .sum()
    }

    /// A table of another form altogether.
    const OTHER_FORM: Self = Self {
        header: 1,
        actions: 0,
        ranges: 0,
        damaged: 0,
    };
}

fn differing<T: PartialEq>(held: &[T], want: &[T]) -> u32 {
    let both = held
        .iter()
        .zip(want)
        .filter(|(held, want)| held != want)
        .count();
    (both + held.len().abs_diff(want.len())) as u32
}

fn differing_header(held: &[u32], want: &[u32]) -> u32 {
    let end = Header::GENERATION;
    differing(&held[..end.min(held.len())], &want[..end])
}

/// A small IPv4 table against its routes, actions and stride (as for [`build4`](super::build4)).
pub fn verify_small4(
    held: &SmallTable4,
    routes: &[RouteEntry<Ipv4Net>],
    actions: &[Action],
    stride: u32,
) -> Result<Drift, TableError> {
    check_table(routes, actions, stride)?;
    let Some(want) = small::build4(routes, actions, stride, 0) else {
        return Ok(Drift::OTHER_FORM);
    };
    Ok(Drift {
        header: differing_header(&held.header, &want.header),
        actions: differing(&held.actions, &want.actions),
        ranges: differing(
            &pairs(&held.starts, &held.leaves),
            &pairs(&want.starts, &want.leaves),
        ),
        damaged: 0,
    })
}

/// The same for IPv6.
pub fn verify_small6(
    held: &SmallTable6,
    routes: &[RouteEntry<Ipv6Net>],
    actions: &[Action],
    stride: u32,
) -> Result<Drift, TableError> {
    check_table(routes, actions, stride)?;
    let Some(want) = small::build6(routes, actions, stride, 0) else {
        return Ok(Drift::OTHER_FORM);
    };
    Ok(Drift {
        header: differing_header(&held.header, &want.header),
        actions: differing(&held.actions, &want.actions),
        ranges: differing(
            &pairs(&held.starts, &held.leaves),
            &pairs(&want.starts, &want.leaves),
        ),
        damaged: 0,
    })
}

fn pairs<T: Copy>(starts: &[T], leaves: &[u32]) -> Vec<(T, u32)> {
    starts.iter().copied().zip(leaves.iter().copied()).collect()
}

/// A tree against its routes, actions and stride (as for [`build6`](super::build6)).
pub fn verify_tree(
    held: &[Block],
    routes: &[RouteEntry<Ipv6Net>],
    actions: &[Action],
    stride: u32,
) -> Result<Drift, TableError> {
    check_table(routes, actions, stride)?;
    let want = tree::build(routes, actions, stride, 0);
    let (Some(held_header), Some(want_header)) = (held.first(), want.first()) else {
        return Ok(Drift::OTHER_FORM);
    };
    let mut drift = Drift {
        header: differing_header(&held_header.0, &want_header.0),
        ..Drift::default()
    };
    if drift.header > 0 || held.len() < want.len() {
        // Where the parts are is not known, so neither is what differs in them.
        drift.header = drift.header.max(1);
        return Ok(drift);
    }
    let word = |word: usize| want_header.0[word] as usize;
    let (levels_at, values_at) = (word(Header::LEVELS_AT), word(Header::VALUES_AT));
    let words = |from: usize, to: usize| {
        let pairs = held[from..to].iter().zip(&want[from..to]);
        pairs
            .map(|(held, want)| differing(&held.0, &want.0))
            .sum::<u32>()
    };
    drift.actions = differing_actions(held, 1, actions);
    drift.damaged = words(levels_at, values_at);
    drift.ranges = words(values_at, want.len());
    Ok(drift)
}

fn differing_actions(held: &[Block], actions_at: u32, actions: &[Action]) -> u32 {
    let differs = |number: u32, action: Action| {
        action != Action::NO_ROUTE && big_action(held, actions_at, number) != Some(action)
    };
    (0..)
        .zip(actions)
        .filter(|&(number, action)| differs(number, *action))
        .count() as u32
}

/// A directory against its routes, actions and stride (as for [`build4`](super::build4)), by what
/// lookups find: where its nodes are does not matter, nor what free numbers' actions are.
pub fn verify_directory<L: LiveBlocks + ?Sized>(
    live: &L,
    routes: &[RouteEntry<Ipv4Net>],
    actions: &[Action],
    stride: u32,
) -> Result<Drift, TableError> {
    check_table(routes, actions, stride)?;
    if live.block_count() == 0 {
        return Ok(Drift::OTHER_FORM);
    }
    let block0 = live.read_block(0);
    let mut held = Header::default();
    held.0.copy_from_slice(&block0.0[..HEADER_WORDS]);
    if check_header(&held, live.block_count()).is_err() {
        return Ok(Drift::OTHER_FORM);
    }
    let want = header(Header::FORM_DIRECTORY, 4, routes, actions, stride, 0);
    let mut drift = Drift::default();
    // The counts may have been higher before an edit.
    let low = |word: usize| u32::from(held.0[word] < want.0[word]);
    drift.header =
        u32::from(held.0[Header::STRIDE] != stride) + low(Header::ACTIONS) + low(Header::ROUTES);

    let actions_at = held.0[Header::ACTIONS_AT];
    let root_at = held.0[Header::ROOT_AT];
    let needed = (actions.len() as u32).div_ceil(ACTIONS_PER_BLOCK);
    let blocks: Vec<Block> = (actions_at..root_at.min(actions_at + needed))
        .map(|at| live.read_block(at))
        .collect();
    drift.actions = differing_actions(&blocks, 0, actions);

    let mut comparison = Comparison {
        live,
        nodes_at: root_at + ROOT_BLOCKS,
        cursor: Cursor::new(Intervals::new(routes)),
        drift,
    };
    for index in 0..ROOT_BLOCKS {
        let root = live.read_block(root_at + index);
        comparison.slots(&root.0, index << 24, 16);
    }
    Ok(comparison.drift)
}

struct Comparison<'a, L: ?Sized> {
    live: &'a L,
    nodes_at: u32,
    cursor: Cursor<'a, Ipv4Net>,
    drift: Drift,
}

impl<L: LiveBlocks + ?Sized> Comparison<'_, L> {
    /// Slots of 2^`bits` addresses each, the first of them from `first` on.
    fn slots(&mut self, slots: &[u32], first: u32, bits: u32) {
        for (i, &held) in (0u32..).zip(slots) {
            let first = first + (i << bits);
            if held & Leaf::CHILD != 0 {
                self.child(held, first, bits);
            } else if self.cursor.uniform(first, last_of(first, bits)) != Some(held) {
                self.leaf(held, first, bits);
            }
        }
    }

    fn child(&mut self, held: u32, first: u32, bits: u32) {
        let node = Node::of_slot(held, bits)
            .filter(|node| (self.nodes_at..self.live.block_count()).contains(&node.block));
        match node {
            None => self.drift.damaged += 1,
            Some(node) if bits == 16 => {
                let block = self.live.read_block(node.block);
                self.slots(&block.0, first, bits_below(bits));
            }
            Some(node) => {
                let mut slots = [0; vnet_gw_common::table::CHUNK_WORDS];
                for (slot, word) in (node.slot..).zip(&mut slots) {
                    *word = self.live.load_slot(node.block, slot);
                }
                self.slots(&slots, first, bits_below(bits));
            }
        }
    }

    /// A leaf for addresses that should have others: which, if not all of them.
    fn leaf(&mut self, held: u32, first: u32, bits: u32) {
        match self.cursor.uniform(first, last_of(first, bits)) {
            Some(want) => self.drift.ranges += u32::from(want != held),
            None => {
                let below = bits_below(bits);
                for i in 0..1u32 << (bits - below) {
                    self.leaf(held, first + (i << below), below);
                }
            }
        }
    }
}
