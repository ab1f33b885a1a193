//! Where things are in an ESP packet, by suite (RFC 4303, section 2).

use crate::{
    crypto::{IntegrityAlgorithm, aead::TAG_LEN, cbc::BLOCK_LEN},
    sa::{EspIntegrity, EspSuite},
};

/// SPI and the low half of the sequence number.
pub(super) const HEADER_LEN: usize = 8;
/// Pad length and next header.
pub(super) const TRAILER_LEN: usize = 2;
/// The explicit IV of GCM and ChaCha20 (RFC 4106, 3.1; RFC 7634, 2).
pub(super) const AEAD_IV_LEN: usize = 8;

/// `[SPI, sequence][IV][inner packet, padding, trailer][ICV]`: the lengths that a suite fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    iv: usize,
    icv: usize,
    /// What inner packet, padding and trailer together are a multiple of.
    align: usize,
}

impl Layout {
    pub const fn of(suite: EspSuite) -> Self {
        match suite {
            EspSuite::Aes128Gcm
            | EspSuite::Aes192Gcm
            | EspSuite::Aes256Gcm
            | EspSuite::ChaCha20Poly1305 => Self {
                iv: AEAD_IV_LEN,
                icv: TAG_LEN,
                align: 4,
            },
            EspSuite::AesCbc { integrity, .. } => Self {
                iv: BLOCK_LEN,
                icv: integrity_algorithm(integrity).icv_len(),
                align: BLOCK_LEN,
            },
        }
    }

    /// Where the inner packet lies.
    pub const fn payload_offset(&self) -> usize {
        HEADER_LEN + self.iv
    }

    pub const fn icv_len(&self) -> usize {
        self.icv
    }

    /// Inner packet, padding and trailer.
    pub(super) const fn encrypted_len(&self, inner: usize) -> usize {
        (inner + TRAILER_LEN).next_multiple_of(self.align)
    }

    /// Of the ESP packet, from the SPI to the end of the ICV.
    pub const fn sealed_len(&self, inner: usize) -> usize {
        self.payload_offset() + self.encrypted_len(inner) + self.icv
    }

    /// The longest inner packet whose ESP packet is no longer than `sealed`; 0 if there is none.
    pub const fn inner_len(&self, sealed: usize) -> usize {
        let room = sealed.saturating_sub(self.payload_offset() + self.icv);
        (room - room % self.align).saturating_sub(TRAILER_LEN)
    }

    /// The length of the encrypted part of a packet of `sealed` bytes, if a packet may be that long.
    pub(super) const fn encrypted_of(&self, sealed: usize) -> Option<usize> {
        let Some(encrypted) = sealed.checked_sub(self.payload_offset() + self.icv) else {
            return None;
        };
        // Only the block cipher insists; others align for the sake of hardware.
        let whole = self.align != BLOCK_LEN || encrypted.is_multiple_of(BLOCK_LEN);
        if encrypted >= TRAILER_LEN && whole {
            Some(encrypted)
        } else {
            None
        }
    }
}

pub(super) const fn integrity_algorithm(integrity: EspIntegrity) -> IntegrityAlgorithm {
    match integrity {
        EspIntegrity::HmacSha1_96 => IntegrityAlgorithm::HmacSha1_96,
        EspIntegrity::HmacSha2_256_128 => IntegrityAlgorithm::HmacSha2_256_128,
        EspIntegrity::HmacSha2_384_192 => IntegrityAlgorithm::HmacSha2_384_192,
    }
}
