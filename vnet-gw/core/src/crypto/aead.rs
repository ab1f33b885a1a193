//! Authenticated encryption with associated data (RFC 5116).

use super::CryptoError;

/// The nonce of all of them: a salt of 4 bytes and an IV of 8 in ESP and in IKE.
pub const NONCE_LEN: usize = 12;
/// The tag of all of them; shorter ones (RFC 4106 has 8 and 12) are not offered.
pub const TAG_LEN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadAlgorithm {
    Aes128Gcm,
    Aes192Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl AeadAlgorithm {
    pub const ALL: [Self; 4] = [
        Self::Aes128Gcm,
        Self::Aes192Gcm,
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
    ];

    /// In bytes, without a salt.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes192Gcm => 24,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// A key that seals and opens. The caller sees to it that no nonce seals twice.
pub trait Aead: Sized {
    /// Fails when the key is not `algorithm.key_len()` bytes.
    fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, CryptoError>;

    /// Encrypts `data` where it is and writes the tag. Fails only for data of many gigabytes.
    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), CryptoError>;

    /// Decrypts `data` where it is when the tag is right. When it is not, `data` is of no use any
    /// more: some implementations have decrypted it by then, some have wiped it.
    fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError>;
}
