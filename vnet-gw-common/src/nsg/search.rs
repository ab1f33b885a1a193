//! From a number to the interval it is in: a static search tree of up to three levels.
//!
//! Inner nodes fill a block with the starts of their children. A leaf holds the starts of its
//! intervals and, behind them, where each one's row is. Starts past the last repeat the highest
//! number of all, and what belongs to them repeats the last.

use crate::{
    Addr6,
    branchless::{advance, le32, le128},
    nsg::{Header, dimension},
    table::{Block, Blocks},
};

/// Children of an inner node over 32-bit numbers.
pub const INNER4: usize = 256;
/// Intervals of a leaf over 32-bit numbers.
pub const LEAF4: usize = 128;
/// Children of an inner node over IPv6 addresses.
pub const INNER6: usize = 64;
/// Intervals of a leaf over IPv6 addresses.
pub const LEAF6: usize = 32;
/// Where the rows' numbers stand in a leaf, of either kind.
pub const LEAF_VALUES_AT: usize = 128;

/// The last of the first `keys` (a power of two) starts that is not past `key`.
#[inline(always)]
fn search32(node: &Block, keys: usize, key: u32) -> usize {
    let mut at = 0usize;
    let mut step = keys / 2;
    while step > 0 {
        let start = node.0[(at + step) & (keys - 1)];
        at = advance(at, step, le32(start, key));
        step /= 2;
    }
    at & (keys - 1)
}

#[inline(always)]
fn search128(node: &Block, keys: usize, key: Addr6) -> usize {
    let mut at = 0usize;
    let mut step = keys / 2;
    while step > 0 {
        let word = ((at + step) & (keys - 1)) * 4;
        let start = Addr6 {
            hi: (node.0[word] as u64) << 32 | node.0[word + 1] as u64,
            lo: (node.0[word + 2] as u64) << 32 | node.0[word + 3] as u64,
        };
        at = advance(at, step, le128(start, key));
        step /= 2;
    }
    at & (keys - 1)
}

/// The child of a node of the level above, as far as there are any.
#[inline(always)]
fn child(node: u32, fan: usize, at: usize, last: u32) -> u32 {
    let child = node.wrapping_mul(fan as u32).wrapping_add(at as u32);
    if child > last { last } else { child }
}

macro_rules! row {
    ($(#[$doc:meta])* $name:ident, $key:ty, $search:ident, $inner:expr, $leaf:expr) => {
        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name<S: Blocks + ?Sized>(
            set: &S,
            header: &Block,
            number: usize,
            key: $key,
        ) -> Option<u32> {
            let depth = dimension(header, number, Header::DEPTH);
            let leaves_at = dimension(header, number, Header::LEAVES_AT);
            if depth == 0 {
                return Some(leaves_at);
            }
            let mut node = 0;
            if depth == 3 {
                let top = set.block(dimension(header, number, Header::TOP_AT))?;
                let last = dimension(header, number, Header::MIDDLE_LAST);
                node = child(0, $inner, $search(top, $inner, key), last);
            }
            if depth >= 2 {
                let at = dimension(header, number, Header::MIDDLE_AT);
                let middle = set.block(at.wrapping_add(node))?;
                let last = dimension(header, number, Header::LEAVES_LAST);
                node = child(node, $inner, $search(middle, $inner, key), last);
            }
            let leaf = set.block(leaves_at.wrapping_add(node))?;
            Some(leaf.0[LEAF_VALUES_AT + $search(leaf, $leaf, key)])
        }
    };
}

row! {
    /// Where the row of a 32-bit number is.
    row32, u32, search32, INNER4, LEAF4
}
row! {
    /// Where the row of an IPv6 address is.
    row128, Addr6, search128, INNER6, LEAF6
}
