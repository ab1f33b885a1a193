//! Random numbers: xorshift64*, a few instructions and no helper call.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};

#[btf_map]
static BENCH_RANDOM: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The next number; 0 only where the state is missing.
#[inline(always)]
pub fn next() -> u32 {
    let Some(state) = BENCH_RANDOM.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's element of the map; generator and lookups are not re-entered on a CPU.
    unsafe {
        let mut x = *state;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        *state = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}
