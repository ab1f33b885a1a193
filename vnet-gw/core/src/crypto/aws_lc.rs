//! The provider that runs: AWS-LC, with the assembly for this machine's instructions.

use aws_lc_rs::{
    aead::{
        AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce,
        UnboundKey,
    },
    cipher::{
        AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey,
        EncryptionContext, UnboundCipherKey,
    },
    iv::FixedLength,
};

use super::{
    CryptoError,
    aead::{Aead, AeadAlgorithm, NONCE_LEN, TAG_LEN},
    cbc::{AesCbc, BLOCK_LEN, check_blocks},
};

/// "Less safe", as the library calls it, because the nonces are the caller's.
pub struct AeadKey(LessSafeKey);

impl Aead for AeadKey {
    fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        CryptoError::check_key(key, algorithm.key_len())?;
        let algorithm = match algorithm {
            AeadAlgorithm::Aes128Gcm => &AES_128_GCM,
            AeadAlgorithm::Aes192Gcm => &AES_192_GCM,
            AeadAlgorithm::Aes256Gcm => &AES_256_GCM,
            AeadAlgorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| CryptoError::KeyLength {
            given: key.len(),
            wanted: algorithm.key_len(),
        })?;
        Ok(Self(LessSafeKey::new(key)))
    }

    #[inline]
    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.0
            .seal_in_place_scatter(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(aad),
                data,
                &[],
                tag,
            )
            .map_err(|_| CryptoError::DataLength)
    }

    #[inline]
    fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.0
            .open_in_place_separate_tag(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(aad),
                tag,
                data,
            )
            .map(|_| ())
            .map_err(|_| CryptoError::Integrity)
    }
}

pub struct CbcKey {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl AesCbc for CbcKey {
    fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let wrong = CryptoError::KeyLength {
            given: key.len(),
            wanted: 32,
        };
        let algorithm = match key.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            _ => return Err(wrong),
        };
        let unbound = || UnboundCipherKey::new(algorithm, key).map_err(|_| wrong);
        Ok(Self {
            encrypting: EncryptingKey::cbc(unbound()?).map_err(|_| wrong)?,
            decrypting: DecryptingKey::cbc(unbound()?).map_err(|_| wrong)?,
        })
    }

    fn encrypt_in_place(&self, iv: &[u8; BLOCK_LEN], data: &mut [u8]) -> Result<(), CryptoError> {
        check_blocks(data)?;
        self.encrypting
            .less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv)))
            .map(|_| ())
            .map_err(|_| CryptoError::DataLength)
    }

    fn decrypt_in_place(&self, iv: &[u8; BLOCK_LEN], data: &mut [u8]) -> Result<(), CryptoError> {
        check_blocks(data)?;
        self.decrypting
            .decrypt(data, DecryptionContext::Iv128(FixedLength::from(iv)))
            .map(|_| ())
            .map_err(|_| CryptoError::DataLength)
    }
}
