//! Sealing: our half of a pair of SAs.

use thiserror::Error;

use crate::sa::{ChildSa, Spi, TUNNEL_MTU};

use super::{
    NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, SaError,
    layout::{Layout, TRAILER_LEN},
    limits::Limits,
    transform::Transform,
};

/// Padding is 1, 2, 3, … (RFC 4303, 2.4), at most one short of a block.
const PADDING: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Why an inner packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// The SA has used up its sequence numbers or its bytes.
    #[error("the SA is used up")]
    Exhausted,
    #[error("the buffer is shorter than the sealed packet")]
    NoRoom,
    /// Neither IPv4 nor IPv6.
    #[error("not an IP packet")]
    Malformed,
}

/// What we send with.
pub struct OutboundSa {
    spi: Spi,
    esn: bool,
    layout: Layout,
    transform: Transform,
    /// The last one used.
    sequence: u64,
    limits: Limits,
}

impl OutboundSa {
    /// Fails when the key material is not as long as the suite asks for.
    pub fn new(child: &ChildSa) -> Result<Self, SaError> {
        let sa = &child.outbound;
        Ok(Self {
            spi: sa.spi,
            esn: sa.esn,
            layout: Layout::of(sa.suite),
            transform: Transform::new(sa)?,
            sequence: 0,
            limits: Limits::new(child, sa.esn),
        })
    }

    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// Where in its slot an inner packet has to lie.
    #[inline]
    pub fn payload_offset(&self) -> usize {
        self.layout.payload_offset()
    }

    /// The length of the ESP packet around an inner packet of this length.
    #[inline]
    pub fn sealed_len(&self, inner: usize) -> usize {
        self.layout.sealed_len(inner)
    }

    /// The longest inner packet whose ESP packet is no longer than `sealed`.
    pub fn inner_len(&self, sealed: usize) -> usize {
        self.layout.inner_len(sealed)
    }

    /// Makes an ESP packet of the inner packet of `inner` bytes that lies in the slot at
    /// `payload_offset()`, and returns its length: `sealed_len(inner)`, from the slot's first byte.
    #[inline]
    pub fn seal(&mut self, slot: &mut [u8], inner: usize) -> Result<usize, SealError> {
        let next_header = match slot.get(self.payload_offset()).map(|byte| byte >> 4) {
            Some(4) if inner > 0 => NEXT_HEADER_IPV4,
            Some(6) if inner > 0 => NEXT_HEADER_IPV6,
            _ => return Err(SealError::Malformed),
        };
        self.seal_as(slot, inner, next_header)
    }

    pub(super) fn seal_as(
        &mut self,
        slot: &mut [u8],
        inner: usize,
        next_header: u8,
    ) -> Result<usize, SealError> {
        let length = self.sealed_len(inner);
        let packet = slot.get_mut(..length).ok_or(SealError::NoRoom)?;
        if !self.limits.admits(self.sequence, inner) {
            return Err(SealError::Exhausted);
        }
        // Counted before it is used: whatever happens below, no nonce is used twice.
        self.sequence += 1;
        self.limits.count(inner);

        packet[..4].copy_from_slice(&self.spi.0.to_be_bytes());
        packet[4..8].copy_from_slice(&(self.sequence as u32).to_be_bytes());
        let end = self.payload_offset() + inner;
        let padding = self.layout.encrypted_len(inner) - inner - TRAILER_LEN;
        packet[end..end + padding].copy_from_slice(&PADDING[..padding]);
        packet[end + padding] = padding as u8;
        packet[end + padding + 1] = next_header;
        self.transform
            .seal(&self.layout, self.esn, self.sequence, packet)
            .map_err(|_| SealError::NoRoom)?;
        Ok(length)
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    /// The SA needs a successor soon: bytes or sequence numbers run out.
    pub fn wants_rekey(&self) -> bool {
        self.limits.wants_rekey(self.sequence)
    }

    /// The SA has no room for every packet any more: not for the largest.
    pub fn exhausted(&self) -> bool {
        !self.limits.admits(self.sequence, usize::from(TUNNEL_MTU))
    }

    /// Inner packets sealed.
    pub fn packets(&self) -> u64 {
        self.sequence
    }

    /// Bytes of inner packets sealed.
    pub fn bytes(&self) -> u64 {
        self.limits.bytes()
    }
}
