//! The lookups alone. Each program draws an address and looks it up; [`bench_draw`] only draws, and
//! what it costs is taken off the others.

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{Array, ArrayOfMaps, LpmTrie, PerCpuArray, lpm_trie::Key},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use vnet_gw_common::{
    maps::INNER_FLAGS,
    table::{self, Block, Header, Leaf, SmallTable4},
};

use crate::{
    abi::{ADDRESSES, TABLE},
    random,
};

const TABLES: usize = 8;
/// Routes the trie takes.
const LPM_ROUTES: usize = 1 << 20;

type Blocks = Array<Block, 256, { INNER_FLAGS as usize }>;

#[btf_map]
static BENCH_SMALL4: ArrayOfMaps<Array<SmallTable4, 1>, TABLES> = ArrayOfMaps::new();
#[btf_map]
static BENCH_BIG4: ArrayOfMaps<Blocks, TABLES> = ArrayOfMaps::new();
#[btf_map]
static BENCH_LPM4: LpmTrie<u32, u32, LPM_ROUTES> = LpmTrie::new();
#[btf_map]
static BENCH_ADDR4: Array<u32, { ADDRESSES as usize }> = Array::new();
#[btf_map]
static BENCH_FOUND: PerCpuArray<u64, 1> = PerCpuArray::new();

struct KernelBlocks<'a>(&'a Blocks);

impl table::Blocks for KernelBlocks<'_> {
    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        self.0.get(index)
    }
}

#[inline(always)]
fn draw() -> u32 {
    BENCH_ADDR4
        .get(random::next() & (ADDRESSES - 1))
        .copied()
        .unwrap_or(0)
}

/// Counts a lookup that found a route, so that its result is used and can be checked.
#[inline(always)]
fn found(leaf: u32) -> u32 {
    if let Some(counter) = BENCH_FOUND.get_ptr_mut(0) {
        // SAFETY: this CPU's element of the map, and test runs do not interrupt each other.
        unsafe { *counter += u64::from(leaf != 0) };
    }
    xdp_action::XDP_DROP
}

#[xdp]
pub fn bench_draw(_ctx: XdpContext) -> u32 {
    found(draw())
}

#[xdp]
pub fn bench_ours(_ctx: XdpContext) -> u32 {
    found(ours(draw()).map_or(0, |leaf| leaf.0))
}

/// As the data path's route step does it: small tables first.
#[inline(always)]
fn ours(address: u32) -> Option<Leaf> {
    if let Some(small) = BENCH_SMALL4.get_value(TABLE, &0) {
        return Some(small.lookup(address));
    }
    let blocks = KernelBlocks(BENCH_BIG4.get(TABLE)?);
    let header = blocks.0.get(0)?;
    table::directory_lookup(
        &blocks,
        table::header_word(header, Header::ROOT_AT),
        address,
    )
}

#[xdp]
pub fn bench_lpm(_ctx: XdpContext) -> u32 {
    let key = Key::new(32, draw().to_be());
    found(BENCH_LPM4.get(&key).copied().unwrap_or(0))
}
