//! The blocks of a big table in the kernel.

use std::{io, sync::atomic::Ordering};

use vnet_gw_common::table::{BLOCK_WORDS, Block};
use vnet_gw_core::table::LiveBlocks;

use crate::datapath::map::{Map, Mapping};

/// An inner map of `BIG4` or `BIG6`, mapped into memory. It lives for as long as this does, also
/// when no slot has it any more.
#[derive(Debug)]
pub(in crate::datapath) struct Live {
    mapping: Mapping,
    count: u32,
}

impl Live {
    pub(super) fn new(map: &Map) -> io::Result<Self> {
        Ok(Self {
            mapping: map.map()?,
            count: map.info().entries,
        })
    }

    /// For a map that no program sees yet.
    pub(super) fn fill(&mut self, blocks: &[Block]) -> io::Result<()> {
        self.mapping.fill(blocks)
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        (0..self.count)
            .map(|index| self.read_block(index))
            .collect()
    }

    pub(super) fn size(&self) -> u64 {
        self.mapping.length() as u64
    }

    fn words(&self, block: u32) -> &[std::sync::atomic::AtomicU32] {
        let at = block as usize * BLOCK_WORDS;
        &self.mapping.words()[at..at + BLOCK_WORDS]
    }
}

impl LiveBlocks for Live {
    fn block_count(&self) -> u32 {
        self.count
    }

    fn load_slot(&self, block: u32, slot: u32) -> u32 {
        self.words(block)[slot as usize].load(Ordering::Relaxed)
    }

    fn read_block(&self, index: u32) -> Block {
        let mut block = Block::ZERO;
        for (to, from) in block.0.iter_mut().zip(self.words(index)) {
            *to = from.load(Ordering::Relaxed);
        }
        block
    }

    fn write_block(&mut self, index: u32, block: &Block) {
        for (to, from) in self.words(index).iter().zip(block.0) {
            to.store(from, Ordering::Relaxed);
        }
    }

    fn store_slot(&mut self, block: u32, slot: u32, value: u32) {
        self.words(block)[slot as usize].store(value, Ordering::Release);
    }
}
