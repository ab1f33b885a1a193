//! From an SPI to its inbound SA.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use vnet_gw_core::sa::Spi;

/// SPIs of ours are drawn at random, so that they need no more mixing than a multiplication; a
/// peer chooses what is looked up, never what is in here.
#[derive(Default)]
pub(super) struct SpiHasher(u64);

impl Hasher for SpiHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Entries by SPI. A lookup allocates nothing.
pub(super) type SpiTable<T> = HashMap<Spi, T, BuildHasherDefault<SpiHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spis_are_found() {
        let mut table = SpiTable::default();
        for spi in 256..10_000 {
            table.insert(Spi(spi), spi);
        }
        assert!((256..10_000).all(|spi| table.get(&Spi(spi)) == Some(&spi)));
        assert_eq!(table.get(&Spi(10_000)), None);
    }
}
