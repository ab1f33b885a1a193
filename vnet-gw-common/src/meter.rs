//! Meters: what crosses from one virtual network to another, counted where it is handed over.

/// Whose meter it is. Indexed as the counters are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterKey {
    /// Hash of what is metered; 0 marks a free entry.
    pub hash: u64,
    /// A number that no other use of any meter has: a count belongs to it, and begins at zero.
    pub born: u64,
}

const _: () = assert!(size_of::<MeterKey>() == 16);

/// What is not metered.
pub const METER_NONE: u32 = 0;
