//! The cryptography of one SA: what a suite does to a packet whose layout stands.

use crate::{
    crypto::{
        Aead, AeadAlgorithm, AeadKey, AesCbc, BLOCK_LEN, CbcKey, CryptoError, IntegrityKey,
        aead::{NONCE_LEN, TAG_LEN},
    },
    sa::{EspSuite, Sa},
};

use super::layout::{AEAD_IV_LEN, HEADER_LEN, Layout, integrity_algorithm};

const SALT_LEN: usize = 4;

pub(super) enum Transform {
    Aead {
        key: Box<AeadKey>,
        salt: [u8; SALT_LEN],
    },
    Cbc {
        cipher: Box<CbcKey>,
        integrity: Box<IntegrityKey>,
    },
}

impl Transform {
    pub(super) fn new(sa: &Sa) -> Result<Self, CryptoError> {
        let keys = sa.keys.expose();
        let algorithm = match sa.suite {
            EspSuite::Aes128Gcm => AeadAlgorithm::Aes128Gcm,
            EspSuite::Aes192Gcm => AeadAlgorithm::Aes192Gcm,
            EspSuite::Aes256Gcm => AeadAlgorithm::Aes256Gcm,
            EspSuite::ChaCha20Poly1305 => AeadAlgorithm::ChaCha20Poly1305,
            EspSuite::AesCbc {
                key_bits,
                integrity,
            } => {
                let algorithm = integrity_algorithm(integrity);
                let cipher_len = usize::from(key_bits / 8);
                let wanted = cipher_len + algorithm.key_len();
                let (cipher, integrity) = split_keys(keys, cipher_len, wanted)?;
                return Ok(Self::Cbc {
                    cipher: Box::new(CbcKey::new(cipher)?),
                    integrity: Box::new(IntegrityKey::new(algorithm, integrity)?),
                });
            }
        };
        let (key, salt) = split_keys(keys, algorithm.key_len(), algorithm.key_len() + SALT_LEN)?;
        let mut salt_bytes = [0; SALT_LEN];
        salt_bytes.copy_from_slice(salt);
        Ok(Self::Aead {
            key: Box::new(AeadKey::new(algorithm, key)?),
            salt: salt_bytes,
        })
    }

    /// Seals a packet that is complete but for IV and ICV: SPI and sequence number, room for the
    /// IV, plain text up to the trailer, room for the ICV. `sequence` is all 64 bits of it.
    #[inline]
    pub(super) fn seal(
        &self,
        layout: &Layout,
        esn: bool,
        sequence: u64,
        packet: &mut [u8],
    ) -> Result<(), CryptoError> {
        let icv_at = packet.len() - layout.icv_len();
        match self {
            Self::Aead { key, salt } => {
                // Unique as long as the key seals no sequence number twice (RFC 4106, 3.1).
                let iv = sequence.to_be_bytes();
                let (header, rest) = packet.split_at_mut(HEADER_LEN);
                rest[..AEAD_IV_LEN].copy_from_slice(&iv);
                let mut associated = [0; 12];
                let associated = associated_data(header, esn, sequence, &mut associated);
                let (data, tag) =
                    rest[AEAD_IV_LEN..].split_at_mut(icv_at - HEADER_LEN - AEAD_IV_LEN);
                let tag: &mut [u8; TAG_LEN] =
                    tag.try_into().map_err(|_| CryptoError::DataLength)?;
                key.seal_in_place(&nonce(salt, &iv), associated, data, tag)
            }
            Self::Cbc { cipher, integrity } => {
                let (data, icv) = packet.split_at_mut(icv_at);
                // An IV must be unforeseeable: the cipher of a number used once (NIST SP 800-38A,
                // appendix C). That is what CBC makes of the number as first block after an IV of
                // zeros, and the next block is then chained to it as to any IV.
                let iv = &mut data[HEADER_LEN..HEADER_LEN + BLOCK_LEN];
                iv[..8].fill(0);
                iv[8..].copy_from_slice(&sequence.to_be_bytes());
                cipher.encrypt_in_place(&[0; BLOCK_LEN], &mut data[HEADER_LEN..])?;
                let (high, used) = (high_half(sequence), usize::from(esn) * 4);
                integrity.sign(&[data, &high[..used]], icv)
            }
        }
    }

    /// Decrypts in place what proves true; the IV and the ICV stay as they are.
    #[inline]
    pub(super) fn open(
        &self,
        layout: &Layout,
        esn: bool,
        sequence: u64,
        packet: &mut [u8],
    ) -> Result<(), CryptoError> {
        let icv_at = packet.len() - layout.icv_len();
        match self {
            Self::Aead { key, salt } => {
                let (header, rest) = packet.split_at_mut(HEADER_LEN);
                let (iv, rest) = rest.split_at_mut(AEAD_IV_LEN);
                let mut associated = [0; 12];
                let associated = associated_data(header, esn, sequence, &mut associated);
                let (data, tag) = rest.split_at_mut(icv_at - HEADER_LEN - AEAD_IV_LEN);
                let tag: &[u8; TAG_LEN] = (&*tag).try_into().map_err(|_| CryptoError::Integrity)?;
                key.open_in_place(&nonce(salt, iv), associated, data, tag)
            }
            Self::Cbc { cipher, integrity } => {
                let (data, icv) = packet.split_at_mut(icv_at);
                let (high, used) = (high_half(sequence), usize::from(esn) * 4);
                integrity.verify(&[data, &high[..used]], icv)?;
                let (iv, data) = data[HEADER_LEN..].split_at_mut(BLOCK_LEN);
                let mut first = [0; BLOCK_LEN];
                first.copy_from_slice(iv);
                cipher.decrypt_in_place(&first, data)
            }
        }
    }
}

fn split_keys(keys: &[u8], first: usize, wanted: usize) -> Result<(&[u8], &[u8]), CryptoError> {
    match keys.split_at_checked(first) {
        Some(halves) if keys.len() == wanted => Ok(halves),
        _ => Err(CryptoError::KeyLength {
            given: keys.len(),
            wanted,
        }),
    }
}

/// RFC 4106, section 4.
#[inline]
fn nonce(salt: &[u8; SALT_LEN], iv: &[u8]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[..SALT_LEN].copy_from_slice(salt);
    nonce[SALT_LEN..].copy_from_slice(iv);
    nonce
}

fn high_half(sequence: u64) -> [u8; 4] {
    ((sequence >> 32) as u32).to_be_bytes()
}

/// SPI and sequence number; of an extended one all 64 bits (RFC 4106, section 5).
#[inline]
fn associated_data<'a>(
    header: &'a [u8],
    esn: bool,
    sequence: u64,
    room: &'a mut [u8; 12],
) -> &'a [u8] {
    if !esn {
        return header;
    }
    room[..4].copy_from_slice(&header[..4]);
    room[4..].copy_from_slice(&sequence.to_be_bytes());
    room
}
