//! AES in CBC mode (RFC 3602) as ESP and IKE use it: whole blocks, padded by the protocol.

use super::CryptoError;

/// AES' block, and so the length of an IV.
pub const BLOCK_LEN: usize = 16;

/// A key for both directions. CBC alone protects nothing: what is decrypted has passed
/// [`IntegrityKey::verify`](super::IntegrityKey::verify) before.
pub trait AesCbc: Sized {
    /// A key of 16, 24 or 32 bytes.
    fn new(key: &[u8]) -> Result<Self, CryptoError>;

    /// Encrypts whole blocks in place. The IV must be one that nobody could foresee.
    fn encrypt_in_place(&self, iv: &[u8; BLOCK_LEN], data: &mut [u8]) -> Result<(), CryptoError>;

    /// Decrypts whole blocks in place.
    fn decrypt_in_place(&self, iv: &[u8; BLOCK_LEN], data: &mut [u8]) -> Result<(), CryptoError>;
}

/// Err(DataLength) for a part of a block.
pub(super) fn check_blocks(data: &[u8]) -> Result<(), CryptoError> {
    if data.len().is_multiple_of(BLOCK_LEN) {
        Ok(())
    } else {
        Err(CryptoError::DataLength)
    }
}
