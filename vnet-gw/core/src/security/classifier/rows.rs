//! Rows of bits, one for each rule; equal ones are kept once.

use std::collections::HashMap;

use vnet_gw_common::nsg::BLOCK_LONGS;

/// A bit for each rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    pub(super) fn set(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    pub(super) fn toggle(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word ^= 1 << (rule % 64);
        }
    }

    pub(super) fn toggle_all(&mut self, mask: &Self) {
        for (word, mask) in self.0.iter_mut().zip(&mask.0) {
            *word ^= mask;
        }
    }
}

/// Every row that some interval has.
pub(super) struct Rows {
    words: usize,
    numbers: HashMap<Bits, u32>,
    in_order: Vec<Bits>,
}

impl Rows {
    pub(super) fn new(rules: usize) -> Self {
        Self {
            words: rules.div_ceil(64),
            numbers: HashMap::new(),
            in_order: Vec::new(),
        }
    }

    /// Of a row, its summary left out.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    fn per_block(&self) -> usize {
        BLOCK_LONGS / (self.words + 1)
    }

    /// Where the row stands: the number of its first word, from the first of all rows.
    pub(super) fn number(&mut self, bits: &Bits) -> u32 {
        if let Some(number) = self.numbers.get(bits) {
            return *number;
        }
        let (at, per_block) = (self.in_order.len(), self.per_block());
        let number = at / per_block * BLOCK_LONGS + at % per_block * (self.words + 1);
        self.numbers.insert(bits.clone(), number as u32);
        self.in_order.push(bits.clone());
        number as u32
    }

    pub(super) fn blocks(&self) -> usize {
        self.in_order.len().div_ceil(self.per_block())
    }

    /// The words of block after block; each row's summary first.
    pub(super) fn longs(&self) -> impl Iterator<Item = Vec<u64>> {
        self.in_order.chunks(self.per_block()).map(|rows| {
            let mut longs = Vec::with_capacity(BLOCK_LONGS);
            for Bits(words) in rows {
                let some = words.iter().enumerate().filter(|(_, word)| **word != 0);
                longs.push(some.fold(0u64, |summary, (at, _)| summary | 1 << at));
                longs.extend(words);
            }
            longs
        })
    }
}
