//! A hash for maps that are asked once a route or once a resource.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// A multiply-and-fold hash. The keys are the operator's own, so nobody gains by finding
/// collisions.
#[derive(Default)]
pub(crate) struct Mix(u64);

/// Keeps words of zero from folding to zero.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

impl Mix {
    fn fold(&mut self, word: u64) {
        let mixed = self.0.rotate_left(23) ^ word ^ SEED;
        let product = u128::from(mixed) * u128::from(0x9fb2_1c65_1e98_df25_u64);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last) ^ bytes.len() as u64);
    }

    fn write_u8(&mut self, _: u8) {
        // What ends a string, and every such key is one string.
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(word.into());
    }

    fn write_u128(&mut self, word: u128) {
        self.fold((word >> 64) as u64);
        self.fold(word as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
