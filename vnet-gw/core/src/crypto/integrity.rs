//! Truncated HMACs that go with CBC (RFC 2404, RFC 4868).

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use super::CryptoError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntegrityAlgorithm {
    HmacSha1_96,
    HmacSha2_256_128,
    HmacSha2_384_192,
    HmacSha2_512_256,
}

/// The longest of [`IntegrityAlgorithm::icv_len`].
pub const MAX_ICV_LEN: usize = 32;

impl IntegrityAlgorithm {
    pub const ALL: [Self; 4] = [
        Self::HmacSha1_96,
        Self::HmacSha2_256_128,
        Self::HmacSha2_384_192,
        Self::HmacSha2_512_256,
    ];

    /// In bytes: the hash's output.
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha2_256_128 => 32,
            Self::HmacSha2_384_192 => 48,
            Self::HmacSha2_512_256 => 64,
        }
    }

    /// In bytes, of what goes over the wire.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha2_256_128 => 16,
            Self::HmacSha2_384_192 => 24,
            Self::HmacSha2_512_256 => 32,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha2_256_128 => hmac::HMAC_SHA256,
            Self::HmacSha2_384_192 => hmac::HMAC_SHA384,
            Self::HmacSha2_512_256 => hmac::HMAC_SHA512,
        }
    }
}

pub struct IntegrityKey {
    algorithm: IntegrityAlgorithm,
    key: hmac::Key,
}

impl IntegrityKey {
    /// Fails when the key is not `algorithm.key_len()` bytes.
    pub fn new(algorithm: IntegrityAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        CryptoError::check_key(key, algorithm.key_len())?;
        Ok(Self {
            algorithm,
            key: hmac::Key::new(algorithm.hmac(), key),
        })
    }

    pub fn algorithm(&self) -> IntegrityAlgorithm {
        self.algorithm
    }

    /// The ICV of the parts as if they were one; `icv` is `icv_len()` bytes, or it is `DataLength`.
    pub fn sign(&self, parts: &[&[u8]], icv: &mut [u8]) -> Result<(), CryptoError> {
        if icv.len() != self.algorithm.icv_len() {
            return Err(CryptoError::DataLength);
        }
        icv.copy_from_slice(&self.tag(parts).as_ref()[..icv.len()]);
        Ok(())
    }

    /// Whether `icv` is that of the parts; takes the same time wherever it differs.
    pub fn verify(&self, parts: &[&[u8]], icv: &[u8]) -> Result<(), CryptoError> {
        if icv.len() != self.algorithm.icv_len() {
            return Err(CryptoError::DataLength);
        }
        let tag = self.tag(parts);
        if bool::from(tag.as_ref()[..icv.len()].ct_eq(icv)) {
            Ok(())
        } else {
            Err(CryptoError::Integrity)
        }
    }

    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}
