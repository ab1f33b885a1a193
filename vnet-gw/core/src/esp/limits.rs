//! How much an SA may carry.

use crate::sa::ChildSa;

/// A quarter of the numbers is left for IKE to agree on a successor.
const SOFT_SEQUENCE: u64 = 3 << 30;
const SOFT_EXTENDED_SEQUENCE: u64 = 3 << 62;

/// Bytes and sequence numbers of one direction.
pub(super) struct Limits {
    bytes: u64,
    soft_bytes: u64,
    hard_bytes: u64,
    soft_sequence: u64,
    /// The last number there is: the counter must not cycle (RFC 4303, 3.3.3).
    last_sequence: u64,
}

impl Limits {
    pub(super) fn new(child: &ChildSa, esn: bool) -> Self {
        let (soft_sequence, last_sequence) = if esn {
            (SOFT_EXTENDED_SEQUENCE, u64::MAX)
        } else {
            (SOFT_SEQUENCE, u64::from(u32::MAX))
        };
        Self {
            bytes: 0,
            soft_bytes: child.soft_bytes.unwrap_or(u64::MAX),
            hard_bytes: child.hard_bytes.unwrap_or(u64::MAX),
            soft_sequence,
            last_sequence,
        }
    }

    /// Whether one more packet of that many bytes may follow the `sequence`-th.
    #[inline]
    pub(super) fn admits(&self, sequence: u64, inner: usize) -> bool {
        sequence < self.last_sequence && self.has_room(inner)
    }

    /// Whether that many bytes are left.
    #[inline]
    pub(super) fn has_room(&self, inner: usize) -> bool {
        self.bytes.saturating_add(inner as u64) <= self.hard_bytes
    }

    #[inline]
    pub(super) fn count(&mut self, inner: usize) {
        self.bytes = self.bytes.saturating_add(inner as u64);
    }

    #[inline]
    pub(super) fn wants_rekey(&self, sequence: u64) -> bool {
        self.bytes >= self.soft_bytes || sequence >= self.soft_sequence
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
