//! Rule sets of security groups as the data path reads them: which rule a packet meets first.
//!
//! A set is compiled to bit vectors (Lakshman and Stiliadis, 1998; aggregated as by Baboescu and
//! Varghese, 2001). Each of four dimensions (both addresses, both ports; the protocol goes with the
//! destination port) is cut into intervals, and every interval leads to a row with one bit for each
//! rule that holds there. The rule a packet meets is the first bit that its four rows share. A row
//! begins with a summary, one bit for each of its words that is not 0, so that only words are read
//! that may matter. What grows with the rules is the depth of four searches, by its logarithm, and
//! the length of rows, by a 64th.
//!
//! A set is an array of [`Block`]s, one for each family, and describes itself by the
//! [header](Header) in its first block. It never changes: another is built and takes its place.

mod search;

use crate::{
    Addr6,
    branchless::opaque,
    table::{BLOCK_WORDS, Block, Blocks},
};

pub use search::{INNER4, INNER6, LEAF_VALUES_AT, LEAF4, LEAF6};

/// Rules of a set, default rules included: more than a group can have (3,997 and three).
pub const MAX_RULES: u32 = 4_096;
/// Words of a row, without its summary.
pub const MAX_ROW_WORDS: u32 = MAX_RULES / 64;
/// Words of 64 bits in a block. A row never goes over the end of one.
pub const BLOCK_LONGS: usize = BLOCK_WORDS / 2;

/// Of the 32-bit words in block 0.
pub struct Header;

impl Header {
    /// Rules of the set; 0 is no set at all.
    pub const RULES: usize = 0;
    /// Words of 64 bits in a row, its summary left out.
    pub const ROW_WORDS: usize = 1;
    /// First block of the rows; a row's number is that of its first word from there.
    pub const ROWS_AT: usize = 2;
    /// First block of the [`RuleWord`]s, 256 a block.
    pub const RULES_AT: usize = 3;
    /// Elements of a CPU in the set's counters.
    pub const STRIDE: usize = 4;
    /// Hash of the set's id: how a restarted daemon knows it again. Lower half, upper half.
    pub const HASH: usize = 5;
    /// First word of the first dimension; each has [`Header::DIMENSION_WORDS`].
    pub const DIMENSIONS_AT: usize = 8;
    pub const DIMENSION_WORDS: usize = 8;
    /// Within a dimension: levels of its search, 0 to 3; with 0 there is one interval, whose row is
    /// [`Header::LEAVES_AT`].
    pub const DEPTH: usize = 0;
    pub const TOP_AT: usize = 1;
    pub const MIDDLE_AT: usize = 2;
    /// Number of the last node of the middle level.
    pub const MIDDLE_LAST: usize = 3;
    pub const LEAVES_AT: usize = 4;
    /// Number of the last leaf.
    pub const LEAVES_LAST: usize = 5;
}

/// The dimensions, by number.
pub const SOURCE: usize = 0;
pub const DESTINATION: usize = 1;
pub const SOURCE_PORT: usize = 2;
pub const DESTINATION_PORT: usize = 3;
pub const DIMENSIONS: usize = 4;

/// Protocols that rules tell apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Any other: only rules for every protocol hold for it.
    Other = 0,
    Tcp = 1,
    Udp = 2,
    /// Of both families.
    Icmp = 3,
    Esp = 4,
    Ah = 5,
}

impl Protocol {
    pub const ALL: [Self; 6] = [
        Self::Other,
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Esp,
        Self::Ah,
    ];

    /// The one with an IP protocol number.
    pub const fn of(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            50 => Self::Esp,
            51 => Self::Ah,
            _ => Self::Other,
        }
    }

    pub const fn has_ports(self) -> bool {
        has_ports(self as u32)
    }
}

/// What is looked up in the dimension of source ports for a packet without ports.
pub const NO_PORT: u32 = 1 << 16;

/// What is looked up in the dimension of source ports. `protocol` is a [`Protocol`].
#[inline(always)]
pub const fn source_port_key(protocol: u32, port: u16) -> u32 {
    if has_ports(protocol) {
        port as u32
    } else {
        NO_PORT
    }
}

/// What is looked up in the dimension of destination ports: the protocol and, where it has any, the
/// port.
#[inline(always)]
pub const fn destination_port_key(protocol: u32, port: u16) -> u32 {
    let port = if has_ports(protocol) { port } else { 0 };
    protocol << 16 | port as u32
}

#[inline(always)]
const fn has_ports(protocol: u32) -> bool {
    protocol == Protocol::Tcp as u32 || protocol == Protocol::Udp as u32
}

/// What a rule does: bit 31 denies, the rest is the number of the rule's counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleWord(pub u32);

impl RuleWord {
    pub const DENY: u32 = 1 << 31;

    pub const fn new(deny: bool, counter: u32) -> Self {
        Self(if deny { Self::DENY | counter } else { counter })
    }

    #[inline(always)]
    pub const fn denies(self) -> bool {
        self.0 & Self::DENY != 0
    }

    #[inline(always)]
    pub const fn counter(self) -> u32 {
        self.0 & !Self::DENY
    }
}

/// How often a rule decided, on one CPU: once for each flow that it admitted, and for each packet
/// that it refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounter {
    pub hits: u64,
    /// When last: nanoseconds of the monotonic clock, or 0.
    pub last: u64,
}

const _: () = assert!(size_of::<RuleCounter>() == 16);

/// The security of one port. Indexed by port id; each word changes at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Ids of rule sets, 0 for none: two for packets that the port sends (bits 0 to 31), the NIC's
    /// and then the subnet's, and two for those that it gets, the subnet's and then the NIC's.
    pub sets: u64,
    /// How long a flow may be idle, in [`flow::SECONDS`](crate::flow).
    pub flow_timeout: u64,
}

const _: () = assert!(size_of::<Security>() == 16);

impl Security {
    pub const fn new(outbound: [u16; 2], inbound: [u16; 2], flow_timeout: u16) -> Self {
        Self {
            sets: outbound[0] as u64
                | (outbound[1] as u64) << 16
                | (inbound[0] as u64) << 32
                | (inbound[1] as u64) << 48,
            flow_timeout: flow_timeout as u64,
        }
    }

    /// For packets that the port sends, in the order in which they are asked.
    #[inline(always)]
    pub const fn outbound(self) -> u32 {
        self.sets as u32
    }

    /// For packets that the port gets.
    #[inline(always)]
    pub const fn inbound(self) -> u32 {
        (self.sets >> 32) as u32
    }
}

/// A word of 64 bits in a block.
#[inline(always)]
fn long(block: &Block, at: usize) -> u64 {
    let words = block.0.as_ptr().cast::<u64>();
    // SAFETY: a block is aligned to 8 bytes and has 128 such words; the mask keeps to them.
    unsafe { *words.add(at & (BLOCK_LONGS - 1)) }
}

/// The lowest bit that is set; `x` is not 0. BPF has no instruction for it; this takes no branch
/// and no table.
#[inline(always)]
fn lowest(x: u64) -> u32 {
    x.trailing_zeros()
}

/// A word of a dimension's description.
#[inline(always)]
fn dimension(header: &Block, dimension: usize, word: usize) -> u32 {
    header.0[Header::DIMENSIONS_AT + dimension * Header::DIMENSION_WORDS + word]
}

/// The four rows of a packet.
#[derive(Clone, Copy)]
struct Rows([u32; DIMENSIONS]);

/// The number of the first rule that all rows share.
#[inline(always)]
fn first<S: Blocks + ?Sized>(set: &S, header: &Block, rows: Rows) -> Option<u32> {
    let rows_at = header.0[Header::ROWS_AT];
    let row = |number: u32| {
        set.block(rows_at.wrapping_add(number / BLOCK_LONGS as u32))
            .map(|block| (block, opaque(u64::from(number) & 127) as usize))
    };
    let (a, a_at) = row(rows.0[SOURCE])?;
    let (b, b_at) = row(rows.0[DESTINATION])?;
    let (c, c_at) = row(rows.0[SOURCE_PORT])?;
    let (d, d_at) = row(rows.0[DESTINATION_PORT])?;
    let mut left = long(a, a_at) & long(b, b_at) & long(c, c_at) & long(d, d_at);
    let mut round = 0;
    while round < MAX_ROW_WORDS {
        if left == 0 {
            return None;
        }
        let word = lowest(left) as usize;
        let at = word + 1;
        let shared =
            long(a, a_at + at) & long(b, b_at + at) & long(c, c_at + at) & long(d, d_at + at);
        if shared != 0 {
            return Some(word as u32 * 64 + lowest(shared));
        }
        left &= left.wrapping_sub(1);
        round += 1;
    }
    None
}

/// What the rule with that number does.
#[inline(always)]
fn rule_word<S: Blocks + ?Sized>(set: &S, header: &Block, rule: u32) -> Option<RuleWord> {
    // The compiler knows how large it can be and drops the mask below, which the verifier needs.
    let rule = opaque(u64::from(rule)) as u32;
    let at = header.0[Header::RULES_AT].wrapping_add(rule / BLOCK_WORDS as u32);
    let block = set.block(at)?;
    Some(RuleWord(block.0[rule as usize % BLOCK_WORDS]))
}

/// The first rule of an IPv4 set that a packet meets, by what it does; `None` where the set is
/// damaged, since the last rule of every set holds for every packet. Ports as
/// [`source_port_key`] and [`destination_port_key`] make them.
#[inline(always)]
pub fn classify4<S: Blocks + ?Sized>(
    set: &S,
    header: &Block,
    source: u32,
    destination: u32,
    source_port: u32,
    destination_port: u32,
) -> Option<RuleWord> {
    let rows = Rows([
        search::row32(set, header, SOURCE, source)?,
        search::row32(set, header, DESTINATION, destination)?,
        search::row32(set, header, SOURCE_PORT, source_port)?,
        search::row32(set, header, DESTINATION_PORT, destination_port)?,
    ]);
    rule_word(set, header, first(set, header, rows)?)
}

/// The same for IPv6.
#[inline(always)]
pub fn classify6<S: Blocks + ?Sized>(
    set: &S,
    header: &Block,
    source: Addr6,
    destination: Addr6,
    source_port: u32,
    destination_port: u32,
) -> Option<RuleWord> {
    let rows = Rows([
        search::row128(set, header, SOURCE, source)?,
        search::row128(set, header, DESTINATION, destination)?,
        search::row32(set, header, SOURCE_PORT, source_port)?,
        search::row32(set, header, DESTINATION_PORT, destination_port)?,
    ]);
    rule_word(set, header, first(set, header, rows)?)
}
