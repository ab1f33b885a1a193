//! Putting fragments together again (RFC 7383, 2.6).

use std::collections::BTreeMap;

use super::Inner;

/// More fragments of one message than this are not taken: of 512 bytes each they carry all that a
/// message of 64 KiB can hold.
pub const MAX_FRAGMENTS: u16 = 160;
/// A message is not larger in one piece either.
const MAX_BYTES: usize = 65_535;

/// A fragment that [`super::SkCipher::open_fragment`] proved to be the peer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// From 1 to `total`.
    pub number: u16,
    pub total: u16,
    pub(super) inner: Inner,
}

/// The fragments so far of the one message that is awaited.
#[derive(Debug, Default)]
pub struct Reassembler {
    message_id: u32,
    total: u16,
    bytes: usize,
    parts: BTreeMap<u16, Inner>,
}

impl Reassembler {
    pub fn new() -> Self {
        Self::default()
    }

    /// The message when this was the last fragment that it lacked. Fragments come in any order
    /// and more than once; one that has another total than those before begins the message anew
    /// if it is larger, and is dropped if it is smaller (the peer found out that the path is
    /// narrower). A new message id drops what there was.
    pub fn add(&mut self, message_id: u32, fragment: Fragment) -> Option<Inner> {
        if fragment.total > MAX_FRAGMENTS {
            return None;
        }
        if message_id != self.message_id || fragment.total > self.total {
            *self = Self {
                message_id,
                total: fragment.total,
                ..Self::default()
            };
        }
        let bytes = self.bytes + fragment.inner.bytes.len();
        if fragment.total < self.total
            || bytes > MAX_BYTES
            || self.parts.contains_key(&fragment.number)
        {
            return None;
        }
        self.bytes = bytes;
        self.parts.insert(fragment.number, fragment.inner);
        if self.parts.len() != usize::from(self.total) {
            return None;
        }
        let parts = std::mem::take(self).parts;
        let mut whole = Inner {
            first: parts.first_key_value()?.1.first,
            bytes: Vec::with_capacity(bytes),
        };
        for part in parts.into_values() {
            whole.bytes.extend_from_slice(&part.bytes);
        }
        Some(whole)
    }
}
