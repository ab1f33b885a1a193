//! The system's randomness.

use crate::ike::Random;

/// From the library's generator, which the kernel seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// When the system has no randomness to give: going on would mean keys that can be guessed.
    fn fill(&mut self, bytes: &mut [u8]) {
        let result = aws_lc_rs::rand::fill(bytes);
        assert!(result.is_ok(), "the system's random generator failed");
    }
}
