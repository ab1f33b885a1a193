//! The directory form of an IPv4 table: 16-8-4-4 bits.
//!
//! ```text
//! block 0          header
//! blocks 1…        actions, 32 a block, with room for later ones
//! 256 blocks       the root: one slot for each /16
//! the rest         nodes for a /16 (a block of 256 slots, one for each /24), blocks cut into 16
//!                  chunks of 16 slots (one for each /28 of a /24, or each address of a /28), and
//!                  free ones
//! ```
//!
//! A slot is a leaf, or [`Leaf::CHILD`] and where the node below is: a block number in the root, a
//! chunk number (block × 16 + place) elsewhere. Routes longer than /24 are few and far between, so
//! a block each would take half of the memory of a table and touch a page each.
//!
//! A node exists exactly where a slot's addresses have more than one leaf, in a built table as in
//! an edited one.

mod alloc;
mod edit;
mod live;

use ipnet::Ipv4Net;
use vnet_gw_common::table::{
    ACTIONS_PER_BLOCK, Action, BLOCK_WORDS, Block, CHUNK_WORDS, CHUNKS_PER_BLOCK, Header, Leaf,
};

use self::alloc::Allocator;
pub(super) use self::edit::check_header;
pub use self::{
    edit::{AdoptError, DirectoryEditor, EditError, Edited},
    live::LiveBlocks,
};
use super::{
    RouteEntry, header,
    intervals::{Cursor, Intervals},
};

pub(super) const ROOT_BLOCKS: u32 = 256;
/// Actions that any directory has room for, and doubles beyond.
const MIN_ACTIONS: u32 = 256;
/// Blocks to spare for edits: a fixed number, and a share of those in use.
const SPARE_BLOCKS: usize = 64;
const SPARE_SHARE: usize = 8;

/// A directory, ready for the kernel.
#[derive(Clone, Debug)]
pub struct Directory {
    /// All of the inner map; its `max_entries` is their number. The last ones are spare.
    pub blocks: Vec<Block>,
    /// Edits the table once it is in the kernel.
    pub editor: DirectoryEditor,
}

/// The routes were checked by the caller.
pub(super) fn build(
    routes: &[RouteEntry<Ipv4Net>],
    actions: &[Action],
    stride: u32,
    generation: u32,
) -> Directory {
    let room = (actions.len() as u32 * 2).clamp(MIN_ACTIONS, Leaf::MAX_ACTIONS);
    let mut header = header(
        Header::FORM_DIRECTORY,
        4,
        routes,
        actions,
        stride,
        generation,
    );
    let mut blocks = vec![Block::ZERO];
    header.0[Header::ACTIONS_AT] = 1;
    write_actions(&mut blocks, actions, room);
    let root_at = blocks.len();
    header.0[Header::ROOT_AT] = root_at as u32;
    blocks[0].0[..header.0.len()].copy_from_slice(&header.0);
    blocks.resize(root_at + ROOT_BLOCKS as usize, Block::ZERO);

    let mut growing = Growing {
        blocks,
        chunks: 0..0,
    };
    let mut cursor = Cursor::new(Intervals::new(routes));
    for index in 0..1u32 << 16 {
        let first = index << 16;
        let slot = match cursor.uniform(first, first | 0xffff) {
            Some(leaf) => leaf,
            None => match grow(&mut growing, &mut cursor, first, 16) {
                Ok(slot) => slot,
                Err(never) => match never {},
            },
        };
        growing.blocks[root_at + (index >> 8) as usize].0[(index & 0xff) as usize] = slot;
    }

    let Growing { mut blocks, chunks } = growing;
    let used = blocks.len();
    blocks.resize(used + used / SPARE_SHARE + SPARE_BLOCKS, Block::ZERO);
    let allocator = Allocator::new(used as u32..blocks.len() as u32, chunks);
    Directory {
        editor: DirectoryEditor::new(&header, allocator),
        blocks,
    }
}

/// Appends the action blocks, with room for `room` actions.
pub(super) fn write_actions(blocks: &mut Vec<Block>, actions: &[Action], room: u32) {
    let at = blocks.len();
    blocks.resize(at + room.div_ceil(ACTIONS_PER_BLOCK) as usize, Block::ZERO);
    for (number, action) in actions.iter().enumerate() {
        let word = number % ACTIONS_PER_BLOCK as usize * action.0.len();
        let block = &mut blocks[at + number / ACTIONS_PER_BLOCK as usize];
        block.0[word..word + action.0.len()].copy_from_slice(&action.0);
    }
}

/// Where new nodes go. They are written whole before any slot leads to them.
trait Nodes {
    type Error;

    fn add_block(&mut self, slots: &Block) -> Result<u32, Self::Error>;
    fn add_chunk(&mut self, slots: &[u32; CHUNK_WORDS]) -> Result<u32, Self::Error>;
}

/// The slot for 2^`bits` addresses from `first` that have more than one leaf: makes the node and
/// all below it. `bits` is 16, 8 or 4.
fn grow<N: Nodes>(
    nodes: &mut N,
    cursor: &mut Cursor<'_, Ipv4Net>,
    first: u32,
    bits: u32,
) -> Result<u32, N::Error> {
    let below = bits_below(bits);
    let mut slot = |i: usize, nodes: &mut N| {
        let first = first | (i as u32) << below;
        match cursor.uniform(first, last_of(first, below)) {
            Some(leaf) => Ok(leaf),
            None => grow(nodes, cursor, first, below),
        }
    };
    let index = if bits == 16 {
        let mut slots = Block::ZERO;
        for (i, to) in slots.0.iter_mut().enumerate() {
            *to = slot(i, nodes)?;
        }
        nodes.add_block(&slots)?
    } else {
        let mut slots = [0; CHUNK_WORDS];
        for (i, to) in slots.iter_mut().enumerate() {
            *to = slot(i, nodes)?;
        }
        nodes.add_chunk(&slots)?
    };
    Ok(Leaf::CHILD | index)
}

/// Of a slot for 2^`bits` addresses: how many bits the slots of its node stand for.
pub(super) const fn bits_below(bits: u32) -> u32 {
    match bits {
        16 => 8,
        8 => 4,
        _ => 0,
    }
}

/// The last of the 2^`bits` addresses from `first`.
pub(super) const fn last_of(first: u32, bits: u32) -> u32 {
    first | ((1 << bits) - 1)
}

/// A node: block, first slot and number of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) block: u32,
    pub(super) slot: u32,
    pub(super) slots: u32,
}

impl Node {
    /// What `child` leads to, being the slot of 2^`bits` addresses. `None`: no address has so many
    /// bits.
    pub(super) const fn of_slot(child: u32, bits: u32) -> Option<Self> {
        let index = child & !Leaf::CHILD;
        match bits {
            16 => Some(Self {
                block: index,
                slot: 0,
                slots: BLOCK_WORDS as u32,
            }),
            8 | 4 => Some(Self {
                block: index / CHUNKS_PER_BLOCK,
                slot: index % CHUNKS_PER_BLOCK * CHUNK_WORDS as u32,
                slots: CHUNK_WORDS as u32,
            }),
            _ => None,
        }
    }
}

/// A table under construction, which takes all the memory it wants.
struct Growing {
    blocks: Vec<Block>,
    /// Chunks left in the block that was last cut up.
    chunks: std::ops::Range<u32>,
}

impl Nodes for Growing {
    type Error = std::convert::Infallible;

    fn add_block(&mut self, slots: &Block) -> Result<u32, Self::Error> {
        self.blocks.push(*slots);
        Ok(self.blocks.len() as u32 - 1)
    }

    fn add_chunk(&mut self, slots: &[u32; CHUNK_WORDS]) -> Result<u32, Self::Error> {
        if self.chunks.is_empty() {
            let block = self.blocks.len() as u32;
            self.blocks.push(Block::ZERO);
            self.chunks = block * CHUNKS_PER_BLOCK..(block + 1) * CHUNKS_PER_BLOCK;
        }
        let chunk = self.chunks.start;
        self.chunks.start += 1;
        let at = chunk % CHUNKS_PER_BLOCK * CHUNK_WORDS as u32;
        let block = &mut self.blocks[(chunk / CHUNKS_PER_BLOCK) as usize];
        block.0[at as usize..at as usize + CHUNK_WORDS].copy_from_slice(slots);
        Ok(chunk)
    }
}
