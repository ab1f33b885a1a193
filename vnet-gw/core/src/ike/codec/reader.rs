//! Reading bytes that may end anywhere.

use super::DecodeError;

/// What is left of a slice; every read names what it is for.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.0.split_at_checked(n) else {
            return Err(DecodeError::Truncated {
                what,
                have: self.0.len(),
                need: n,
            });
        };
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.0.split_first_chunk() else {
            return Err(DecodeError::Truncated {
                what,
                have: self.0.len(),
                need: N,
            });
        };
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A substructure whose 16-bit length field counts the `header` bytes already read, too.
    pub(super) fn body(
        &mut self,
        length: u16,
        header: usize,
        what: &'static str,
    ) -> Result<Reader<'a>, DecodeError> {
        let n = usize::from(length)
            .checked_sub(header)
            .ok_or(DecodeError::BadLength(what))?;
        self.take(n, what).map(Reader)
    }

    /// Nothing may be left.
    pub(super) fn end(self, what: &'static str) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(what))
        }
    }
}
