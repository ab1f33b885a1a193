//! What IKE and ESP ask of the cryptographic libraries. Nothing in here is a primitive of ours.
//!
//! Each thing that is asked for is a trait with two implementations, both always compiled:
//! [`aws_lc`] is what runs, [`portable`] (RustCrypto, no C and no assembly of its own) is what the
//! feature `portable` chooses instead and what the tests hold the first against. [`AeadKey`] and
//! [`CbcKey`] name the chosen ones. HMAC is aws-lc-rs' in either case.

use thiserror::Error;

pub mod aead;
pub mod aws_lc;
pub mod cbc;
pub mod exchange;
pub mod integrity;
pub mod mlkem;
mod modp;
pub mod portable;
mod prf;
mod random;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(not(feature = "portable"))]
use aws_lc as chosen;
#[cfg(feature = "portable")]
use portable as chosen;

pub use aead::{Aead, AeadAlgorithm};
pub use cbc::{AesCbc, BLOCK_LEN};
pub use chosen::{AeadKey, CbcKey};
pub use exchange::{EphemeralKey, ExchangeError};
pub use integrity::{IntegrityAlgorithm, IntegrityKey};
pub use mlkem::MlKemKey;
pub use random::SystemRandom;

/// What the cryptography refused, and no more than that: which byte was wrong helps an attacker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CryptoError {
    #[error("a key of {given} bytes was given where the algorithm takes {wanted}")]
    KeyLength { given: usize, wanted: usize },
    /// Not a multiple of the cipher's block, or more than the algorithm takes under one nonce.
    #[error("the cipher does not take data of this length")]
    DataLength,
    #[error("the integrity check failed")]
    Integrity,
}

impl CryptoError {
    /// Err(KeyLength) when they differ.
    fn check_key(key: &[u8], wanted: usize) -> Result<(), Self> {
        let given = key.len();
        if given == wanted {
            Ok(())
        } else {
            Err(Self::KeyLength { given, wanted })
        }
    }
}
