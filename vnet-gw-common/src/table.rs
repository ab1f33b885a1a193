//! Route tables: one per subnet and family, in a form chosen by size.
//!
//! | form | holds | lookup |
//! |---|---|---|
//! | small ([`SmallTable4`], [`SmallTable6`]) | up to 128 intervals | binary search, seven steps, no branches; one array element, half a page |
//! | directory (IPv4, [`Block`]s) | up to a million routes | 16-8-4-4 multibit trie: one load, two below a /16, three below a /24, four below a /28 |
//! | tree (IPv6, [`Block`]s) | up to a million routes | static B-tree of interval ends, 64 children a node |
//!
//! Each form yields a [`Leaf`]: which route won and which of the table's actions it has. Routes
//! and actions are numbered per table; number 0 of each means "no route". A table describes
//! itself: its header says where everything is. Which prefix has which route number stands with the
//! table's counters ([`counter_elements`]), so a restarted daemon counts on where it left off.

use crate::{
    Addr6,
    branchless::{advance, le32, le128, opaque},
};

pub const BLOCK_WORDS: usize = 256;

/// 1 KiB: 256 trie slots (or 16 chunks of 16), 32 actions, 64 IPv6 keys or 256 leaves, by where it
/// stands in its table.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(pub [u32; BLOCK_WORDS]);

impl Block {
    pub const ZERO: Self = Self([0; BLOCK_WORDS]);
}

const _: () = assert!(size_of::<Block>() == 1024);

/// Table id 0 is never assigned.
pub const TABLE_NONE: u32 = 0;

/// The outcome of a lookup: bits 0 to 19 the route, bits 20 to 30 the action. Bit 31 marks a trie
/// slot that is no leaf but leads to a child: a block of 256 slots or a chunk of 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf(pub u32);

impl Leaf {
    pub const NO_ROUTE: Self = Self(0);
    /// Routes a table can number (0 is "no route").
    pub const MAX_ROUTES: u32 = 1 << 20;
    /// Actions a table can number (0 is "no route").
    pub const MAX_ACTIONS: u32 = 1 << 11;
    pub const CHILD: u32 = 1 << 31;

    pub const fn new(route: u32, action: u32) -> Self {
        Self((action & (Self::MAX_ACTIONS - 1)) << 20 | (route & (Self::MAX_ROUTES - 1)))
    }

    #[inline(always)]
    pub const fn route(self) -> u32 {
        self.0 & (Self::MAX_ROUTES - 1)
    }

    #[inline(always)]
    pub const fn action(self) -> u32 {
        self.0 >> 20 & (Self::MAX_ACTIONS - 1)
    }
}

/// What is done with a packet whose route won.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    NoRoute = 0,
    /// `VnetLocal`: the destination is an endpoint of `scope`.
    Local = 1,
    /// `VNetPeering` and `VNetGlobalPeering`: the destination is an endpoint of `scope`, a peer.
    Peering = 2,
    /// `VirtualAppliance`: the endpoint `next_hop` of `scope` takes the packet.
    Appliance = 3,
    /// `Internet`.
    Internet = 4,
    /// `VirtualNetworkGateway`.
    Gateway = 5,
    /// `None`.
    None = 6,
}

pub const ACTION_WORDS: usize = 8;

/// An action as it stands in a table: word 0 kind and flags, word 1 scope, words 2 to 5 the next
/// hop (IPv4: word 2; IPv6: most significant first), word 6 the meter, the rest 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(pub [u32; ACTION_WORDS]);

impl Action {
    pub const NO_ROUTE: Self = Self([0; ACTION_WORDS]);
    /// Peering: its other side has `allowForwardedTraffic`.
    pub const ACCEPTS_FORWARDED: u32 = 1 << 8;
    /// Appliance, gateway: it is in a peered VNet (so [`Action::ACCEPTS_FORWARDED`] applies).
    pub const PEERED: u32 = 1 << 9;

    pub const fn new(kind: ActionKind, flags: u32, scope: u32) -> Self {
        Self([kind as u32 | flags, scope, 0, 0, 0, 0, 0, 0])
    }

    pub const fn with_next_hop4(mut self, addr: u32) -> Self {
        self.0[2] = addr;
        self
    }

    pub const fn with_next_hop6(mut self, addr: Addr6) -> Self {
        self.0[2] = (addr.hi >> 32) as u32;
        self.0[3] = addr.hi as u32;
        self.0[4] = (addr.lo >> 32) as u32;
        self.0[5] = addr.lo as u32;
        self
    }

    pub const fn with_meter(mut self, meter: u32) -> Self {
        self.0[6] = meter;
        self
    }

    /// An [`ActionKind`] as a number; compare with `ActionKind::… as u32`.
    #[inline(always)]
    pub const fn kind(&self) -> u32 {
        self.0[0] & 0xff
    }

    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.0[0] & flag != 0
    }

    #[inline(always)]
    pub const fn scope(&self) -> u32 {
        self.0[1]
    }

    /// What counts the packets that this action hands over, or
    /// [`METER_NONE`](crate::meter::METER_NONE).
    #[inline(always)]
    pub const fn meter(&self) -> u32 {
        self.0[6]
    }

    #[inline(always)]
    pub const fn next_hop4(&self) -> u32 {
        self.0[2]
    }

    #[inline(always)]
    pub const fn next_hop6(&self) -> Addr6 {
        Addr6 {
            hi: (self.0[2] as u64) << 32 | self.0[3] as u64,
            lo: (self.0[4] as u64) << 32 | self.0[5] as u64,
        }
    }
}

pub const HEADER_WORDS: usize = 16;

/// The first 64 bytes of every table, by word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header(pub [u32; HEADER_WORDS]);

impl Header {
    pub const FORM_SMALL: u32 = 1;
    pub const FORM_DIRECTORY: u32 = 2;
    pub const FORM_TREE: u32 = 3;

    /// One of `FORM_*`.
    pub const FORM: usize = 0;
    /// 4 or 6.
    pub const FAMILY: usize = 1;
    /// Elements a CPU has in the table's counter map; more than any route number in use.
    pub const STRIDE: usize = 2;
    /// More than any action number in use (number 0 included).
    pub const ACTIONS: usize = 3;
    /// Intervals in use (small and tree).
    pub const INTERVALS: usize = 4;
    /// More than any route number in use (number 0 included).
    pub const ROUTES: usize = 5;
    /// Big forms: first block of the actions, 32 a block.
    pub const ACTIONS_AT: usize = 6;
    /// Directory: first of the 256 root blocks. Tree: unused.
    pub const ROOT_AT: usize = 7;
    /// Tree: first block of each level, the root's first (words 9 to 12).
    pub const LEVELS_AT: usize = 9;
    /// Tree: first block of the leaves' values, 256 a block.
    pub const VALUES_AT: usize = 13;
    /// Tree: levels in use, 1 to 4.
    pub const DEPTH: usize = 14;
    /// A number that changes with every rebuild.
    pub const GENERATION: usize = 15;
}

pub const SMALL_INTERVALS: usize = 128;
pub const SMALL4_ACTIONS: usize = 78;
pub const SMALL6_ACTIONS: usize = 30;

/// A whole small table. Interval `i` begins at `starts[i]` (`starts[0]` is 0) and ends before
/// `starts[i + 1]`; entries past the last interval repeat the highest address and the last leaf.
/// With its map's header it fits one page.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallTable4 {
    pub header: [u32; HEADER_WORDS],
    pub starts: [u32; SMALL_INTERVALS],
    pub leaves: [u32; SMALL_INTERVALS],
    pub actions: [[u32; ACTION_WORDS]; SMALL4_ACTIONS],
}

/// The same for IPv6.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallTable6 {
    pub header: [u32; HEADER_WORDS],
    pub starts: [Addr6; SMALL_INTERVALS],
    pub leaves: [u32; SMALL_INTERVALS],
    pub actions: [[u32; ACTION_WORDS]; SMALL6_ACTIONS],
}

const _: () = assert!(size_of::<SmallTable4>() == 3584);
const _: () = assert!(size_of::<SmallTable6>() == 3584);

impl SmallTable4 {
    #[inline(always)]
    pub fn lookup(&self, addr: u32) -> Leaf {
        let mut at = 0usize;
        let mut step = SMALL_INTERVALS / 2;
        while step > 0 {
            let start = self.starts[(at + step) & (SMALL_INTERVALS - 1)];
            at = advance(at, step, le32(start, addr));
            step /= 2;
        }
        Leaf(self.leaves[at & (SMALL_INTERVALS - 1)])
    }

    #[inline(always)]
    pub fn action(&self, number: u32) -> Option<Action> {
        self.actions.get(number as usize).copied().map(Action)
    }
}

impl SmallTable6 {
    #[inline(always)]
    pub fn lookup(&self, addr: Addr6) -> Leaf {
        let mut at = 0usize;
        let mut step = SMALL_INTERVALS / 2;
        while step > 0 {
            let start = self.starts[(at + step) & (SMALL_INTERVALS - 1)];
            at = advance(at, step, le128(start, addr));
            step /= 2;
        }
        Leaf(self.leaves[at & (SMALL_INTERVALS - 1)])
    }

    #[inline(always)]
    pub fn action(&self, number: u32) -> Option<Action> {
        self.actions.get(number as usize).copied().map(Action)
    }
}

/// Where a big table's blocks come from: a BPF map, or a slice in user space.
pub trait Blocks {
    fn block(&self, index: u32) -> Option<&Block>;
}

impl Blocks for [Block] {
    fn block(&self, index: u32) -> Option<&Block> {
        self.get(index as usize)
    }
}

/// The header of a big table: the first words of its block 0.
#[inline(always)]
pub fn header_word(block0: &Block, word: usize) -> u32 {
    block0.0[word % BLOCK_WORDS]
}

pub const ACTIONS_PER_BLOCK: u32 = (BLOCK_WORDS / ACTION_WORDS) as u32;

/// Action `number` of a big table.
#[inline(always)]
pub fn big_action<S: Blocks + ?Sized>(source: &S, actions_at: u32, number: u32) -> Option<Action> {
    let block = source.block(actions_at.wrapping_add(number / ACTIONS_PER_BLOCK))?;
    let at = (number % ACTIONS_PER_BLOCK) as usize * ACTION_WORDS;
    let mut words = [0; ACTION_WORDS];
    let mut i = 0;
    while i < ACTION_WORDS {
        words[i] = block.0[(at + i) % BLOCK_WORDS];
        i += 1;
    }
    Some(Action(words))
}

/// Slots of a chunk: a node for 4 bits, and a cache line.
pub const CHUNK_WORDS: usize = 16;
pub const CHUNKS_PER_BLOCK: u32 = (BLOCK_WORDS / CHUNK_WORDS) as u32;

/// Directory form: 65,536 root slots in 256 blocks. A child of the root is a block, by number, with
/// a slot for each 8 bits more; children below are chunks, by number (block × 16 + place in it),
/// with a slot for each 4 bits more. (Routes longer than /24 are few and scattered: a block for each
/// would be half of a large table's memory.)
#[inline(always)]
pub fn directory_lookup<S: Blocks + ?Sized>(source: &S, root_at: u32, addr: u32) -> Option<Leaf> {
    let root = source.block(root_at.wrapping_add(addr >> 24))?;
    let slot = root.0[(addr >> 16 & 0xff) as usize];
    if slot & Leaf::CHILD == 0 {
        return Some(Leaf(slot));
    }
    let slot = source.block(slot & !Leaf::CHILD)?.0[(addr >> 8 & 0xff) as usize];
    if slot & Leaf::CHILD == 0 {
        return Some(Leaf(slot));
    }
    let slot = chunk_slot(source, slot, addr >> 4)?;
    if slot & Leaf::CHILD == 0 {
        return Some(Leaf(slot));
    }
    Some(Leaf(chunk_slot(source, slot, addr)?))
}

/// Slot `at` (its lowest 4 bits) of the chunk that `child` leads to.
#[inline(always)]
fn chunk_slot<S: Blocks + ?Sized>(source: &S, child: u32, at: u32) -> Option<u32> {
    let chunk = child & !Leaf::CHILD;
    let block = source.block(chunk / CHUNKS_PER_BLOCK)?;
    // An addition that must not become an OR: see `advance`.
    let first = opaque(((chunk & 0xf) << 4) as u64);
    Some(block.0[(first + (at & 0xf) as u64) as usize & (BLOCK_WORDS - 1)])
}

pub const TREE_KEYS: usize = 64;
pub const TREE_LEVELS: usize = 4;

/// Key `at` of a tree node: four words, most significant first.
#[inline(always)]
pub fn tree_key(node: &Block, at: usize) -> Addr6 {
    let w = (at % TREE_KEYS) * 4;
    Addr6 {
        hi: (node.0[w] as u64) << 32 | node.0[w + 1] as u64,
        lo: (node.0[w + 2] as u64) << 32 | node.0[w + 3] as u64,
    }
}

/// Tree form. Node `n` of a level has its children at `64 n` to `64 n + 63` of the next, as far as
/// there are any. A node's key `i` is the highest address of child `i`; keys past the last child are
/// the highest address of all, so no search leads there, and key 63 is never looked at. `levels_at`
/// and `depth` are the header's.
#[inline(always)]
pub fn tree_lookup<S: Blocks + ?Sized>(
    source: &S,
    levels_at: [u32; TREE_LEVELS],
    depth: u32,
    values_at: u32,
    addr: Addr6,
) -> Option<Leaf> {
    let mut node = 0u32;
    let mut level = 0;
    while level < TREE_LEVELS {
        if level as u32 == depth {
            break;
        }
        let keys = source.block(levels_at[level].wrapping_add(node))?;
        let mut at = 0usize;
        let mut step = TREE_KEYS / 2;
        while step > 0 {
            // A step on where the address is past that child.
            let inside = le128(addr, tree_key(keys, at + step - 1));
            at = advance(at, step, inside ^ 1);
            step /= 2;
        }
        node = node.wrapping_mul(TREE_KEYS as u32).wrapping_add(at as u32);
        level += 1;
    }
    let values = source.block(values_at.wrapping_add(node / BLOCK_WORDS as u32))?;
    Some(Leaf(values.0[node as usize % BLOCK_WORDS]))
}

/// Elements of a table's counter map: `cpus` rows of `stride` counters, then the list of prefixes
/// by route number, in `u64` words: for IPv4 one word each (network in the upper half, prefix length
/// plus one in the lower; 0: the number is free), for IPv6 three (network, most significant first;
/// prefix length plus one).
pub const fn counter_elements(cpus: u32, stride: u32, family: u32) -> u32 {
    let words = if family == 4 { stride } else { stride * 3 };
    cpus * stride + words.div_ceil(2)
}
