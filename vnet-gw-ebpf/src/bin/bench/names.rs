//! Names of the maps, for the user-space half.

/// `ARRAY[1]` of [`Flow`].
pub(crate) const FLOW: &str = "BENCH_FLOW";
/// `ARRAY[DESTINATIONS]` of `u32`, network order.
pub(crate) const DESTINATIONS4: &str = "BENCH_DEST4";
/// `ARRAY[DESTINATIONS]` of two `u64`, network order.
pub(crate) const DESTINATIONS6: &str = "BENCH_DEST6";
/// `PERCPU_ARRAY[1]` of `u64`: state of the random numbers, never 0.
pub(crate) const RANDOM: &str = "BENCH_RANDOM";
/// `PERCPU_ARRAY[FOREIGN + 1]` of `u64`: frames that arrived, by what they are.
pub(crate) const ARRIVED: &str = "BENCH_ARRIVED";
/// `DEVMAP[1]`: where the bare redirect goes.
pub(crate) const OUT: &str = "BENCH_OUT";
/// `ARRAY_OF_MAPS[TABLES]`, as the data path's map of small IPv4 tables.
pub(crate) const SMALL4: &str = "BENCH_SMALL4";
/// `ARRAY_OF_MAPS[TABLES]`, as the data path's map of big IPv4 tables.
pub(crate) const BIG4: &str = "BENCH_BIG4";
/// `LPM_TRIE[LPM_ROUTES]`, address in network order to leaf.
pub(crate) const LPM4: &str = "BENCH_LPM4";
/// `ARRAY[ADDRESSES]` of `u32`, host order.
pub(crate) const ADDRESSES4: &str = "BENCH_ADDR4";
/// `PERCPU_ARRAY[1]` of `u64`: how many lookups found a route.
pub(crate) const FOUND: &str = "BENCH_FOUND";
