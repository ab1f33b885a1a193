//! Edits of a directory that packets are being looked up in.
//!
//! Every address has its old leaf or its new one at every moment: a change is one store of a slot,
//! and a node is complete before a slot leads to it. A node that no slot leads to any more keeps
//! its content until the caller says that a grace period has passed.

use ipnet::Ipv4Net;
use vnet_gw_common::table::{
    ACTION_WORDS, ACTIONS_PER_BLOCK, Action, BLOCK_WORDS, Block, CHUNK_WORDS, CHUNKS_PER_BLOCK,
    HEADER_WORDS, Header, Leaf,
};

use super::{
    LiveBlocks, Node, Nodes, ROOT_BLOCKS,
    alloc::{Allocator, Piece},
    bits_below, grow, last_of,
};
use crate::table::{
    Prefix, RouteEntry, TableError, check_routes,
    intervals::{Cursor, Intervals},
};

/// Why an edit was not, or not wholly, carried out. In each case every address has its old leaf
/// or its new one: build the table anew, swap it in, and forget this one and its editor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// More actions or higher route numbers than the table has room for; nothing was changed.
    #[error("the table has no room for {what} {needed}, only for {room}; build it anew and swap")]
    TooLarge {
        what: &'static str,
        needed: u32,
        room: u32,
    },
    #[error("the table has no block left for this edit; build it anew and swap")]
    OutOfBlocks,
    #[error("the table is damaged ({0}); build it anew and swap")]
    Damaged(#[from] AdoptError),
    #[error(transparent)]
    Routes(#[from] TableError),
}

/// What is wrong with the blocks of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    #[error("its header is not that of an IPv4 directory: word {word} is {value}")]
    Header { word: usize, value: u32 },
    #[error("slot {slot} of block {block} leads to block {child}, which holds no nodes")]
    OutOfRange { block: u32, slot: u32, child: u32 },
    #[error("slot {slot} of block {block} leads to block {child}, which is in use already")]
    UsedTwice { block: u32, slot: u32, child: u32 },
    #[error("slot {slot} of block {block} leads on where no address bits are left")]
    TooDeep { block: u32, slot: u32 },
}

/// What an edit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Slots stored, the table's root and nodes taken together.
    pub slots: u32,
    /// Nodes made.
    pub added: u32,
    /// Nodes in quarantine since: call [`DirectoryEditor::grace_passed`] after a grace period.
    pub retired: u32,
    /// Actions written.
    pub actions: u32,
}

/// Knows which blocks of one live directory are free, and edits it.
#[derive(Clone, Debug)]
pub struct DirectoryEditor {
    actions_at: u32,
    root_at: u32,
    stride: u32,
    allocator: Allocator,
}

impl DirectoryEditor {
    pub(super) fn new(header: &Header, allocator: Allocator) -> Self {
        Self {
            actions_at: header.0[Header::ACTIONS_AT],
            root_at: header.0[Header::ROOT_AT],
            stride: header.0[Header::STRIDE],
            allocator,
        }
    }

    /// For a table that is already in the kernel: what no slot leads to is free. Only when no
    /// packet can be reading what an earlier editor had retired, so a grace period after it is gone
    /// (a daemon that has restarted is late enough).
    pub fn adopt<L: LiveBlocks + ?Sized>(live: &L) -> Result<Self, AdoptError> {
        let count = live.block_count();
        if count == 0 {
            return Err(AdoptError::Header {
                word: Header::FORM,
                value: 0,
            });
        }
        let mut header = Header([0; HEADER_WORDS]);
        for (slot, word) in (0..).zip(&mut header.0) {
            *word = live.load_slot(0, slot);
        }
        check_header(&header, count)?;
        let nodes_at = header.0[Header::ROOT_AT] + ROOT_BLOCKS;
        let mut used = vec![0u16; count.saturating_sub(nodes_at) as usize];
        let mut walk = Walk {
            live,
            nodes_at,
            used: &mut used,
        };
        for block in nodes_at - ROOT_BLOCKS..nodes_at {
            walk.node(
                Node {
                    block,
                    slot: 0,
                    slots: BLOCK_WORDS as u32,
                },
                16,
            )?;
        }
        let mut allocator = Allocator::default();
        for (block, used) in (nodes_at..count).zip(used).rev() {
            match used {
                0 => allocator.release(Piece::Block(block)),
                _ => (0..CHUNKS_PER_BLOCK)
                    .filter(|chunk| used & 1 << chunk == 0)
                    .for_each(|chunk| {
                        allocator.release(Piece::Chunk(block * CHUNKS_PER_BLOCK + chunk))
                    }),
            }
        }
        Ok(Self::new(&header, allocator))
    }

    /// Makes the live table that of `routes` (all of them, sorted), given that it differs only in
    /// the prefixes of `changed`: those added, removed, or with another leaf. `actions` are all of
    /// the table's; those that were in use before are the same as then, under the same numbers
    /// ([`ActionNumbers`](crate::table::ActionNumbers) keeps them so). With 0.0.0.0/0 in `changed`
    /// the whole table is gone through, which repairs whatever leaves drifted.
    pub fn apply<L: LiveBlocks + ?Sized>(
        &mut self,
        live: &mut L,
        routes: &[RouteEntry<Ipv4Net>],
        actions: &[Action],
        changed: &[Ipv4Net],
    ) -> Result<Edited, EditError> {
        let room = (self.root_at - self.actions_at) * ACTIONS_PER_BLOCK;
        let needed = actions.len() as u32;
        if needed > room {
            return Err(EditError::TooLarge {
                what: "action number",
                needed: needed - 1,
                room,
            });
        }
        let ranges = ranges(changed);
        let mut highest = 0;
        for &(first, last) in &ranges {
            let touched = Intervals::of_range(routes, first, last).routes();
            highest = touched
                .iter()
                .map(|r| r.route)
                .max()
                .unwrap_or(0)
                .max(highest);
            if highest >= self.stride {
                let room = self.stride;
                return Err(EditError::TooLarge {
                    what: "route number",
                    needed: highest,
                    room,
                });
            }
            check_routes(touched, actions.len(), self.stride)?;
        }

        let mut edited = Edited {
            actions: self.write_actions(live, actions),
            ..Edited::default()
        };
        raise(live, Header::ACTIONS, needed);
        raise(live, Header::ROUTES, highest + 1);
        for (first, last) in ranges {
            let cursor = &mut Cursor::new(Intervals::of_range(routes, first, last));
            for index in first >> 16..=last >> 16 {
                let at = (self.root_at + (index >> 8), index & 0xff);
                self.settle(live, cursor, at, index << 16, 16, &mut edited)?;
            }
        }
        Ok(edited)
    }

    /// Packets that were under way when the last edit ended have left the table: what they may
    /// have been reading can be used again.
    pub fn grace_passed(&mut self) {
        self.allocator.grace_passed();
    }

    /// Nodes that wait for a grace period.
    pub fn quarantined(&self) -> usize {
        self.allocator.quarantined()
    }

    /// Blocks free for edits.
    pub fn free_blocks(&self) -> usize {
        self.allocator.free_blocks()
    }

    /// Chunks free for edits in blocks that are already cut up.
    pub fn free_chunks(&self) -> usize {
        self.allocator.free_chunks()
    }

    /// Free numbers are left as they are: a packet may still be looking its action up.
    fn write_actions<L: LiveBlocks + ?Sized>(&self, live: &mut L, actions: &[Action]) -> u32 {
        let mut written = 0;
        for (number, action) in (0..).zip(actions) {
            let block = self.actions_at + number / ACTIONS_PER_BLOCK;
            let slot = number % ACTIONS_PER_BLOCK * ACTION_WORDS as u32;
            let held = |live: &L, i: usize| live.load_slot(block, slot + i as u32);
            if *action == Action::NO_ROUTE
                || (0..ACTION_WORDS).all(|i| held(live, i) == action.0[i])
            {
                continue;
            }
            for (slot, &word) in (slot..).zip(&action.0) {
                live.store_slot(block, slot, word);
            }
            written += 1;
        }
        written
    }

    /// Makes the slot at `at`, of the 2^`bits` addresses from `first`, and all below it right.
    fn settle<L: LiveBlocks + ?Sized>(
        &mut self,
        live: &mut L,
        cursor: &mut Cursor<'_, Ipv4Net>,
        at: (u32, u32),
        first: u32,
        bits: u32,
        edited: &mut Edited,
    ) -> Result<(), EditError> {
        let held = live.load_slot(at.0, at.1);
        match cursor.uniform(first, last_of(first, bits)) {
            Some(leaf) if held == leaf => {}
            Some(leaf) => {
                live.store_slot(at.0, at.1, leaf);
                edited.slots += 1;
                if held & Leaf::CHILD != 0 {
                    self.retire(live, at, held, bits, edited)?;
                }
            }
            None if held & Leaf::CHILD == 0 => {
                let mut nodes = Adding {
                    live,
                    allocator: &mut self.allocator,
                    added: Vec::new(),
                };
                match grow(&mut nodes, cursor, first, bits) {
                    Ok(slot) => {
                        edited.added += nodes.added.len() as u32;
                        live.store_slot(at.0, at.1, slot);
                        edited.slots += 1;
                    }
                    Err(error) => {
                        let added = std::mem::take(&mut nodes.added);
                        added
                            .into_iter()
                            .for_each(|piece| self.allocator.release(piece));
                        return Err(error);
                    }
                }
            }
            None => {
                let node = self.node(live, at, held, bits)?;
                let below = bits_below(bits);
                for i in 0..node.slots {
                    let at = (node.block, node.slot + i);
                    self.settle(live, cursor, at, first | i << below, below, edited)?;
                }
            }
        }
        Ok(())
    }

    /// Quarantines the node that `child` leads to, and all below it.
    fn retire<L: LiveBlocks + ?Sized>(
        &mut self,
        live: &L,
        at: (u32, u32),
        child: u32,
        bits: u32,
        edited: &mut Edited,
    ) -> Result<(), EditError> {
        let node = self.node(live, at, child, bits)?;
        for slot in node.slot..node.slot + node.slots {
            let held = live.load_slot(node.block, slot);
            if held & Leaf::CHILD != 0 {
                self.retire(live, (node.block, slot), held, bits_below(bits), edited)?;
            }
        }
        self.allocator.retire(piece(child, bits));
        edited.retired += 1;
        Ok(())
    }

    fn node<L: LiveBlocks + ?Sized>(
        &self,
        live: &L,
        at: (u32, u32),
        child: u32,
        bits: u32,
    ) -> Result<Node, AdoptError> {
        checked_node(live, self.root_at + ROOT_BLOCKS, at, child, bits)
    }
}

/// Makes a word of the header at least `value`. It never falls in place: a reader that has loaded
/// it may be on its way to an element below.
fn raise<L: LiveBlocks + ?Sized>(live: &mut L, word: usize, value: u32) {
    if live.load_slot(0, word as u32) < value {
        live.store_slot(0, word as u32, value);
    }
}

/// The /16 blocks that prefixes touch, as disjoint ranges in order.
fn ranges(changed: &[Ipv4Net]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = changed
        .iter()
        .map(|net| (net.first() & !0xffff, net.last() | 0xffff))
        .collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let joined = next.0 <= kept.1;
        if joined {
            kept.1 = kept.1.max(next.1);
        }
        joined
    });
    ranges
}

const fn piece(child: u32, bits: u32) -> Piece {
    let index = child & !Leaf::CHILD;
    if bits == 16 {
        Piece::Block(index)
    } else {
        Piece::Chunk(index)
    }
}

fn checked_node<L: LiveBlocks + ?Sized>(
    live: &L,
    nodes_at: u32,
    (block, slot): (u32, u32),
    child: u32,
    bits: u32,
) -> Result<Node, AdoptError> {
    let node = Node::of_slot(child, bits).ok_or(AdoptError::TooDeep { block, slot })?;
    if node.block < nodes_at || node.block >= live.block_count() {
        return Err(AdoptError::OutOfRange {
            block,
            slot,
            child: node.block,
        });
    }
    Ok(node)
}

pub(in crate::table) fn check_header(header: &Header, count: u32) -> Result<(), AdoptError> {
    let actions_at = header.0[Header::ACTIONS_AT];
    let root_at = header.0[Header::ROOT_AT];
    let expect = |word: usize, good: bool| {
        if good {
            Ok(())
        } else {
            Err(AdoptError::Header {
                word,
                value: header.0[word],
            })
        }
    };
    expect(
        Header::FORM,
        header.0[Header::FORM] == Header::FORM_DIRECTORY,
    )?;
    expect(Header::FAMILY, header.0[Header::FAMILY] == 4)?;
    expect(Header::ACTIONS_AT, actions_at > 0)?;
    expect(Header::ROOT_AT, root_at > actions_at)?;
    expect(
        Header::ROOT_AT,
        root_at
            .checked_add(ROOT_BLOCKS)
            .is_some_and(|end| end <= count),
    )
}

/// A walk over all that slots lead to.
struct Walk<'a, L: ?Sized> {
    live: &'a L,
    nodes_at: u32,
    /// Chunks in use, by block from `nodes_at` on; a node of a whole block has all bits.
    used: &'a mut [u16],
}

impl<L: LiveBlocks + ?Sized> Walk<'_, L> {
    /// `bits`: of each slot of the node.
    fn node(&mut self, node: Node, bits: u32) -> Result<(), AdoptError> {
        for slot in node.slot..node.slot + node.slots {
            let held = self.live.load_slot(node.block, slot);
            if held & Leaf::CHILD == 0 {
                continue;
            }
            let child = checked_node(self.live, self.nodes_at, (node.block, slot), held, bits)?;
            let mask = match piece(held, bits) {
                Piece::Block(_) => u16::MAX,
                Piece::Chunk(chunk) => 1 << (chunk % CHUNKS_PER_BLOCK),
            };
            let used = &mut self.used[(child.block - self.nodes_at) as usize];
            if *used & mask != 0 {
                let (block, child) = (node.block, child.block);
                return Err(AdoptError::UsedTwice { block, slot, child });
            }
            *used |= mask;
            self.node(child, bits_below(bits))?;
        }
        Ok(())
    }
}

/// Nodes made in free memory of a live table.
struct Adding<'a, L: ?Sized> {
    live: &'a mut L,
    allocator: &'a mut Allocator,
    added: Vec<Piece>,
}

impl<L: LiveBlocks + ?Sized> Nodes for Adding<'_, L> {
    type Error = EditError;

    fn add_block(&mut self, slots: &Block) -> Result<u32, EditError> {
        let block = self.allocator.block().ok_or(EditError::OutOfBlocks)?;
        self.added.push(Piece::Block(block));
        self.live.write_block(block, slots);
        Ok(block)
    }

    fn add_chunk(&mut self, slots: &[u32; CHUNK_WORDS]) -> Result<u32, EditError> {
        let chunk = self.allocator.chunk().ok_or(EditError::OutOfBlocks)?;
        self.added.push(Piece::Chunk(chunk));
        // The block's other chunks may be in use, so it cannot be written whole.
        let at = chunk % CHUNKS_PER_BLOCK * CHUNK_WORDS as u32;
        for (slot, &value) in (at..).zip(slots) {
            self.live.store_slot(chunk / CHUNKS_PER_BLOCK, slot, value);
        }
        Ok(chunk)
    }
}
