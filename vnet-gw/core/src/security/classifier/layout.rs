//! Blocks: the header, then the searches of the four dimensions, the rows, what the rules do.

use vnet_gw_common::{
    nsg::{DIMENSIONS, Header, INNER4, INNER6, LEAF_VALUES_AT, LEAF4, LEAF6, RuleWord},
    table::{BLOCK_WORDS, Block},
};

use super::{ClassifierError, intervals::Intervals, rows::Rows};

/// What is searched for.
pub(super) trait Key: Copy + Ord {
    const ZERO: Self;
    const MAX: Self;
    /// Children of an inner node, intervals of a leaf.
    const INNER: usize;
    const LEAF: usize;

    /// The next one, unless this is the highest.
    fn after(self) -> Option<Self>;
    /// As 32-bit words, most significant first.
    fn words(self) -> impl Iterator<Item = u32>;
}

impl Key for u32 {
    const ZERO: Self = 0;
    const MAX: Self = Self::MAX;
    const INNER: usize = INNER4;
    const LEAF: usize = LEAF4;

    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn words(self) -> impl Iterator<Item = u32> {
        [self].into_iter()
    }
}

impl Key for u128 {
    const ZERO: Self = 0;
    const MAX: Self = Self::MAX;
    const INNER: usize = INNER6;
    const LEAF: usize = LEAF6;

    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn words(self) -> impl Iterator<Item = u32> {
        [96, 64, 32, 0]
            .into_iter()
            .map(move |by| (self >> by) as u32)
    }
}

pub(super) struct Layout {
    blocks: Vec<Block>,
    /// The next dimension.
    dimension: usize,
}

impl Layout {
    pub(super) fn new(rows: &Rows, stride: u32, hash: u64) -> Self {
        let mut layout = Self {
            blocks: vec![Block::ZERO],
            dimension: 0,
        };
        layout.put(0, Header::ROW_WORDS, rows.words() as u32);
        layout.put(0, Header::STRIDE, stride);
        layout.put(0, Header::HASH, hash as u32);
        layout.put(0, Header::HASH + 1, (hash >> 32) as u32);
        layout
    }

    fn put(&mut self, block: usize, word: usize, value: u32) {
        if let Some(to) = self
            .blocks
            .get_mut(block)
            .and_then(|block| block.0.get_mut(word))
        {
            *to = value;
        }
    }

    fn describe(&mut self, word: usize, value: usize) {
        let at = Header::DIMENSIONS_AT + self.dimension * Header::DIMENSION_WORDS;
        self.put(0, at + word, value as u32);
    }

    /// Writes keys from the block's start on, the highest where there are no more.
    fn keys<K: Key>(&mut self, block: usize, keys: &[K], room: usize) {
        let all = keys
            .iter()
            .copied()
            .chain(std::iter::repeat(K::MAX))
            .take(room);
        for (word, value) in all.flat_map(K::words).enumerate() {
            self.put(block, word, value);
        }
    }

    /// Inner nodes over `starts`, those of the nodes below; where the first one is.
    fn inner<K: Key>(&mut self, starts: &[K]) -> usize {
        let first = self.blocks.len();
        for children in starts.chunks(K::INNER) {
            self.blocks.push(Block::ZERO);
            self.keys(self.blocks.len() - 1, children, K::INNER);
        }
        first
    }

    /// The next dimension's search.
    pub(super) fn dimension<K: Key>(
        &mut self,
        name: &'static str,
        intervals: &Intervals<K>,
    ) -> Result<(), ClassifierError> {
        let all = &intervals.0;
        let limit = K::INNER * K::INNER * K::LEAF;
        if all.len() > limit {
            return Err(ClassifierError::TooManyIntervals {
                dimension: name,
                count: all.len(),
                limit,
            });
        }
        if let [(_, row)] = all[..] {
            self.describe(Header::LEAVES_AT, row as usize);
            self.dimension += 1;
            return Ok(());
        }
        let leaves_at = self.blocks.len();
        let mut starts = Vec::new();
        for leaf in all.chunks(K::LEAF) {
            let at = self.blocks.len();
            self.blocks.push(Block::ZERO);
            let keys: Vec<K> = leaf.iter().map(|(start, _)| *start).collect();
            self.keys(at, &keys, K::LEAF);
            let last = leaf.last().map_or(0, |(_, row)| *row);
            let rows = leaf
                .iter()
                .map(|(_, row)| *row)
                .chain(std::iter::repeat(last));
            for (word, row) in rows.take(K::LEAF).enumerate() {
                self.put(at, LEAF_VALUES_AT + word, row);
            }
            starts.extend(keys.first());
        }
        self.describe(Header::LEAVES_AT, leaves_at);
        self.describe(Header::LEAVES_LAST, starts.len() - 1);
        let mut depth = 1;
        if starts.len() > 1 {
            let middle_at = self.inner(&starts);
            let middle: Vec<K> = starts.iter().copied().step_by(K::INNER).collect();
            self.describe(Header::MIDDLE_AT, middle_at);
            self.describe(Header::MIDDLE_LAST, middle.len() - 1);
            depth = 2;
            if middle.len() > 1 {
                let top_at = self.inner(&middle);
                self.describe(Header::TOP_AT, top_at);
                depth = 3;
            }
        }
        self.describe(Header::DEPTH, depth);
        self.dimension += 1;
        Ok(())
    }

    pub(super) fn finish(mut self, rows: &Rows, words: &[RuleWord]) -> Vec<Block> {
        debug_assert_eq!(self.dimension, DIMENSIONS);
        let rows_at = self.blocks.len();
        self.blocks.reserve(rows.blocks());
        for longs in rows.longs() {
            let mut block = Block::ZERO;
            for (pair, long) in block.0.chunks_exact_mut(2).zip(longs) {
                pair.copy_from_slice(&halves(long));
            }
            self.blocks.push(block);
        }
        let rules_at = self.blocks.len();
        for words in words.chunks(BLOCK_WORDS) {
            let mut block = Block::ZERO;
            for (to, word) in block.0.iter_mut().zip(words) {
                *to = word.0;
            }
            self.blocks.push(block);
        }
        self.put(0, Header::ROWS_AT, rows_at as u32);
        self.put(0, Header::RULES_AT, rules_at as u32);
        // Last, as a mark that the rest is there.
        self.put(0, Header::RULES, words.len() as u32);
        self.blocks
    }
}

/// A 64-bit word as it lies in memory.
fn halves(long: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = long.to_ne_bytes();
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}
