//! The blocks of a table that packets are being looked up in.

use vnet_gw_common::table::{BLOCK_WORDS, Block};

/// The blocks of a table that packets are being looked up in: a mapped array map, or plain memory
/// in a test. An index out of range is a mistake of the caller.
pub trait LiveBlocks {
    /// The array's `max_entries`.
    fn block_count(&self) -> u32;

    /// One slot. Nobody else writes, so any load will do.
    fn load_slot(&self, block: u32, slot: u32) -> u32;

    /// A whole block.
    fn read_block(&self, index: u32) -> Block {
        let mut block = Block::ZERO;
        for (slot, word) in (0..BLOCK_WORDS as u32).zip(&mut block.0) {
            *word = self.load_slot(index, slot);
        }
        block
    }

    /// Fills a block that no lookup can reach yet: stores of any kind, in any order.
    fn write_block(&mut self, index: u32, block: &Block);

    /// Sets a slot that lookups may be reading: one aligned store of 32 bits that nothing written
    /// before may be seen after (release order).
    fn store_slot(&mut self, block: u32, slot: u32, value: u32);
}

impl LiveBlocks for [Block] {
    fn block_count(&self) -> u32 {
        self.len() as u32
    }

    fn load_slot(&self, block: u32, slot: u32) -> u32 {
        self[block as usize].0[slot as usize]
    }

    fn read_block(&self, index: u32) -> Block {
        self[index as usize]
    }

    fn write_block(&mut self, index: u32, block: &Block) {
        self[index as usize] = *block;
    }

    fn store_slot(&mut self, block: u32, slot: u32, value: u32) {
        self[block as usize].0[slot as usize] = value;
    }
}
