//! Which blocks and chunks of a directory are free, and which will be once no packet can be
//! reading them any more.

use std::{collections::BTreeMap, ops::Range};

use vnet_gw_common::table::CHUNKS_PER_BLOCK;

const ALL_CHUNKS: u16 = u16::MAX;

/// A node's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Block(u32),
    /// By chunk number.
    Chunk(u32),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Allocator {
    /// Wholly free; the next to be used last.
    blocks: Vec<u32>,
    /// Of blocks cut into chunks that have some free: which ones, a bit each.
    chunks: BTreeMap<u32, u16>,
    /// Given back, but a packet may still be reading them.
    quarantine: Vec<Piece>,
}

impl Allocator {
    /// With these blocks, and chunks of one block, free.
    pub(super) fn new(blocks: Range<u32>, chunks: Range<u32>) -> Self {
        let mut allocator = Self {
            blocks: blocks.rev().collect(),
            ..Self::default()
        };
        for chunk in chunks {
            allocator.release(Piece::Chunk(chunk));
        }
        allocator
    }

    pub(super) fn block(&mut self) -> Option<u32> {
        self.blocks.pop()
    }

    pub(super) fn chunk(&mut self) -> Option<u32> {
        if self.chunks.is_empty() {
            let block = self.blocks.pop()?;
            self.chunks.insert(block, ALL_CHUNKS);
        }
        let mut first = self.chunks.first_entry()?;
        let block = *first.key();
        let chunk = first.get().trailing_zeros();
        *first.get_mut() &= !(1 << chunk);
        if *first.get() == 0 {
            first.remove();
        }
        Some(block * CHUNKS_PER_BLOCK + chunk)
    }

    /// Free at once: no packet can know of it.
    pub(super) fn release(&mut self, piece: Piece) {
        match piece {
            Piece::Block(block) => self.blocks.push(block),
            Piece::Chunk(chunk) => {
                let block = chunk / CHUNKS_PER_BLOCK;
                let free = self.chunks.entry(block).or_insert(0);
                *free |= 1 << (chunk % CHUNKS_PER_BLOCK);
                if *free == ALL_CHUNKS {
                    self.chunks.remove(&block);
                    self.blocks.push(block);
                }
            }
        }
    }

    /// Free after the next grace period.
    pub(super) fn retire(&mut self, piece: Piece) {
        self.quarantine.push(piece);
    }

    pub(super) fn grace_passed(&mut self) {
        for piece in std::mem::take(&mut self.quarantine) {
            self.release(piece);
        }
    }

    pub(super) fn free_blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn free_chunks(&self) -> usize {
        self.chunks
            .values()
            .map(|free| free.count_ones() as usize)
            .sum()
    }

    pub(super) fn quarantined(&self) -> usize {
        self.quarantine.len()
    }
}
