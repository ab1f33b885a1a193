//! The anti-replay window (RFC 4303, 3.4.3 and appendix A).

/// How far behind the highest sequence number a packet may come.
pub const WINDOW: u64 = 4096;

/// A window spans at most 65 words of 64; the ring is the next power of two.
const WORDS: usize = 128;
const WORD_BITS: u64 = u64::BITS as u64;

/// Which sequence numbers have been seen, of the last [`WINDOW`]. Asking and marking are apart:
/// nothing a packet says changes the window before the packet is authenticated.
pub struct ReplayWindow {
    /// The highest sequence number marked, 0 before the first.
    top: u64,
    /// Bit `n % 64` of word `n / 64 % WORDS` for number `n`; words ahead of `top` are stale.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    pub const fn new() -> Self {
        Self {
            top: 0,
            seen: [0; WORDS],
        }
    }

    /// The highest sequence number so far.
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// The 64 bits of a sequence number of which the packet has the low 32: the one closest to the
    /// window (appendix A2.2). `None` when that would be below 0 or above the last one.
    #[inline]
    pub fn extend(&self, low: u32) -> Option<u64> {
        let (top_low, top_high) = (self.top as u32, (self.top >> 32) as u32);
        let bottom = top_low.wrapping_sub(WINDOW as u32 - 1);
        let high = if u64::from(top_low) >= WINDOW - 1 {
            // Case A: the window lies within one block of 2^32.
            if low >= bottom {
                top_high
            } else {
                top_high.checked_add(1)?
            }
        } else if low >= bottom {
            // Case B: it begins in the block before.
            top_high.checked_sub(1)?
        } else {
            top_high
        };
        Some(u64::from(high) << 32 | u64::from(low))
    }

    /// Whether a packet of this number may still come.
    #[inline]
    pub fn admits(&self, sequence: u64) -> bool {
        if sequence > self.top {
            return true;
        }
        sequence != 0
            && self.top - sequence < WINDOW
            && self.seen[word(sequence)] & bit(sequence) == 0
    }

    /// Notes a number that `admits` admitted and whose packet proved true.
    #[inline]
    pub fn mark(&mut self, sequence: u64) {
        if sequence > self.top {
            let (old, new) = (self.top / WORD_BITS, sequence / WORD_BITS);
            let steps = (new - old).min(WORDS as u64);
            for step in 0..steps {
                self.seen[((new - step) % WORDS as u64) as usize] = 0;
            }
            self.top = sequence;
        }
        self.seen[word(sequence)] |= bit(sequence);
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
const fn word(sequence: u64) -> usize {
    (sequence / WORD_BITS % WORDS as u64) as usize
}

#[inline]
const fn bit(sequence: u64) -> u64 {
    1 << (sequence % WORD_BITS)
}
