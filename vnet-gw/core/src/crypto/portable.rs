//! AEADs of RustCrypto: what those of AWS-LC are tested against, and with the feature `portable`
//! what ESP and IKE use instead of them. The rest of the cryptography (PRFs and HMACs, key exchange,
//! random numbers) is AWS-LC's with either.

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::{
    AesGcm,
    aead::{AeadInOut, KeyInit, consts::U12},
};
use cbc::cipher::{
    Array, Block, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, array::sizes::U16,
};
use chacha20poly1305::ChaCha20Poly1305;

use super::{
    CryptoError,
    aead::{Aead, AeadAlgorithm, NONCE_LEN, TAG_LEN},
    cbc::{AesCbc, BLOCK_LEN, check_blocks},
};

/// The keys are boxed: expanded, they are of very different sizes.
pub enum AeadKey {
    Aes128Gcm(Box<AesGcm<Aes128, U12>>),
    Aes192Gcm(Box<AesGcm<Aes192, U12>>),
    Aes256Gcm(Box<AesGcm<Aes256, U12>>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Aead for AeadKey {
    fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        let wrong = |_| CryptoError::KeyLength {
            given: key.len(),
            wanted: algorithm.key_len(),
        };
        Ok(match algorithm {
            AeadAlgorithm::Aes128Gcm => {
                Self::Aes128Gcm(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?))
            }
            AeadAlgorithm::Aes192Gcm => {
                Self::Aes192Gcm(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?))
            }
            AeadAlgorithm::Aes256Gcm => {
                Self::Aes256Gcm(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?))
            }
            AeadAlgorithm::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?))
            }
        })
    }

    fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let (nonce, data) = (nonce.into(), data.into());
        let made = match self {
            Self::Aes128Gcm(key) => key.encrypt_inout_detached(nonce, aad, data),
            Self::Aes192Gcm(key) => key.encrypt_inout_detached(nonce, aad, data),
            Self::Aes256Gcm(key) => key.encrypt_inout_detached(nonce, aad, data),
            Self::ChaCha20Poly1305(key) => key.encrypt_inout_detached(nonce, aad, data),
        };
        *tag = made.map_err(|_| CryptoError::DataLength)?.into();
        Ok(())
    }

    fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let (nonce, data, tag) = (nonce.into(), data.into(), tag.into());
        match self {
            Self::Aes128Gcm(key) => key.decrypt_inout_detached(nonce, aad, data, tag),
            Self::Aes192Gcm(key) => key.decrypt_inout_detached(nonce, aad, data, tag),
            Self::Aes256Gcm(key) => key.decrypt_inout_detached(nonce, aad, data, tag),
            Self::ChaCha20Poly1305(key) => key.decrypt_inout_detached(nonce, aad, data, tag),
        }
        .map_err(|_| CryptoError::Integrity)
    }
}

/// Boxed for the same reason.
pub enum CbcKey {
    Aes128(Box<Aes128>),
    Aes192(Box<Aes192>),
    Aes256(Box<Aes256>),
}

impl AesCbc for CbcKey {
    fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let wrong = |_| CryptoError::KeyLength {
            given: key.len(),
            wanted: 32,
        };
        Ok(match key.len() {
            16 => Self::Aes128(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?)),
            24 => Self::Aes192(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?)),
            _ => Self::Aes256(Box::new(KeyInit::new_from_slice(key).map_err(wrong)?)),
        })
    }

    fn encrypt_in_place(&self, iv: &[u8; BLOCK_LEN], data: &mut [u8]) -> Result<(), CryptoError> {
        check_blocks(data)?;
        let iv = iv.into();
        let (blocks, _) = Array::slice_as_chunks_mut(data);
        match self {
            Self::Aes128(key) => encrypt(cbc::Encryptor::inner_iv_init(&**key, iv), blocks),
            Self::Aes192(key) => encrypt(cbc::Encryptor::inner_iv_init(&**key, iv), blocks),
            Self::Aes256(key) => encrypt(cbc::Encryptor::inner_iv_init(&**key, iv), blocks),
        }
        Ok(())
    }

    fn decrypt_in_place(&self, iv: &[u8; BLOCK_LEN], data: &mut [u8]) -> Result<(), CryptoError> {
        check_blocks(data)?;
        let iv = iv.into();
        let (blocks, _) = Array::slice_as_chunks_mut(data);
        match self {
            Self::Aes128(key) => decrypt(cbc::Decryptor::inner_iv_init(&**key, iv), blocks),
            Self::Aes192(key) => decrypt(cbc::Decryptor::inner_iv_init(&**key, iv), blocks),
            Self::Aes256(key) => decrypt(cbc::Decryptor::inner_iv_init(&**key, iv), blocks),
        }
        Ok(())
    }
}

fn encrypt<M: BlockModeEncrypt<BlockSize = U16>>(mut mode: M, blocks: &mut [Block<M>]) {
    mode.encrypt_blocks(blocks);
}

fn decrypt<M: BlockModeDecrypt<BlockSize = U16>>(mut mode: M, blocks: &mut [Block<M>]) {
    mode.decrypt_blocks(blocks);
}
