//! Comparisons without a branch.
//!
//! BPF has no conditional move: whatever the compiler recognises as a comparison becomes a jump,
//! and in a binary search over random addresses half of such jumps are mispredicted, at the cost of
//! a whole lookup each. So the result is computed as a number, behind a barrier the compiler
//! cannot see through.

use crate::Addr6;

/// `x`, in a way that the compiler cannot reason about.
#[inline(always)]
pub fn opaque(x: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut x = x;
        // SAFETY: the move touches nothing but the register it is given. (An empty template would do
        // for the compiler, but leaves two lines of debug information at one instruction, which the
        // kernel refuses.)
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) x, options(pure, nomem, nostack)) };
        x
    }
    #[cfg(not(target_arch = "bpf"))]
    x
}

/// Bit 63, as a number. Opaque on both sides: the compiler turns a sign bit into a comparison where
/// it sees either the number it comes from or the mask that is made of it.
#[inline(always)]
fn sign(x: u64) -> u64 {
    opaque(opaque(x) >> 63)
}

/// 1 where `a <= b`, else 0.
#[inline(always)]
pub fn le32(a: u32, b: u32) -> u64 {
    // The difference of two 32-bit numbers has its sign in bit 63.
    sign((b as u64).wrapping_sub(a as u64)) ^ 1
}

/// 1 where `a < b`, else 0 (Hacker's Delight, 2-12).
#[inline(always)]
fn less(a: u64, b: u64) -> u64 {
    sign((!a & b) | ((!a | b) & a.wrapping_sub(b)))
}

/// 1 where `a <= b`, else 0.
#[inline(always)]
pub fn le64(a: u64, b: u64) -> u64 {
    less(b, a) ^ 1
}

/// 1 where `a <= b`, else 0.
#[inline(always)]
pub fn le128(a: Addr6, b: Addr6) -> u64 {
    let differs = b.hi ^ a.hi;
    let hi_differs = sign(differs | differs.wrapping_neg());
    let greater = less(b.hi, a.hi) | (less(b.lo, a.lo) & (hi_differs ^ 1));
    greater ^ 1
}

/// `at`, and `step` (a power of two) more where `bit` is 1.
///
/// By a shift, not by a mask: the verifier of kernels from 6.18 on walks on twice behind a mask of
/// all ones or none. Where the compiler sees that two numbers have no bit in common it adds them by
/// OR and drops masks that then seem idle; but the verifier of kernels before 6.10 forgets all it
/// knows of a register after an OR with another, so an index made that way is refused.
#[inline(always)]
pub fn advance(at: usize, step: usize, bit: u64) -> usize {
    at.wrapping_add(opaque(bit << step.trailing_zeros()) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_operators_at_the_edges() {
        let edges = [
            0,
            1,
            2,
            u64::MAX / 2,
            u64::MAX / 2 + 1,
            u64::MAX - 1,
            u64::MAX,
        ];
        for hi_a in edges {
            for hi_b in edges {
                let (a32, b32) = (hi_a as u32, hi_b as u32);
                assert_eq!(le32(a32, b32), u64::from(a32 <= b32), "{a32} {b32}");
                assert_eq!(le64(hi_a, hi_b), u64::from(hi_a <= hi_b));
                for lo_a in edges {
                    for lo_b in edges {
                        let (a, b) = (Addr6 { hi: hi_a, lo: lo_a }, Addr6 { hi: hi_b, lo: lo_b });
                        assert_eq!(le128(a, b), u64::from(a <= b), "{a:?} {b:?}");
                    }
                }
            }
        }
    }
}
