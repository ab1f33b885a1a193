//! Encrypted payloads (RFC 7296, 3.14; RFC 5282; RFC 7383, 2.5).

use std::fmt;

use super::{
    Fragment, HEADER_LEN, Header, Inner, OpenError, Packet, Protection,
    payload::{PAYLOAD_HEADER, payload_type},
};
use crate::{
    crypto::{
        Aead, AeadAlgorithm, AeadKey, AesCbc, BLOCK_LEN, CbcKey, CryptoError, IntegrityAlgorithm,
        IntegrityKey,
        aead::{NONCE_LEN, TAG_LEN},
    },
    ike::{IkeCipher, IkeIntegrity, Random},
    secret::Secret,
};

/// Bytes of salt at the end of an AEAD's key material (RFC 5282, 7.1).
const SALT_LEN: usize = NONCE_LEN - AEAD_IV_LEN;
const AEAD_IV_LEN: usize = 8;
/// Fragment number and total number.
const FRAGMENT_HEADER: usize = 4;
/// No path is narrower (RFC 791), so fragments are never made smaller.
pub const SMALLEST_DATAGRAM: usize = 512;

impl IkeIntegrity {
    fn algorithm(self) -> IntegrityAlgorithm {
        match self {
            Self::HmacSha1_96 => IntegrityAlgorithm::HmacSha1_96,
            Self::HmacSha2_256_128 => IntegrityAlgorithm::HmacSha2_256_128,
            Self::HmacSha2_384_192 => IntegrityAlgorithm::HmacSha2_384_192,
            Self::HmacSha2_512_256 => IntegrityAlgorithm::HmacSha2_512_256,
        }
    }
}

impl IkeCipher {
    fn aead(self) -> Option<AeadAlgorithm> {
        match self {
            Self::Aes128Gcm => Some(AeadAlgorithm::Aes128Gcm),
            Self::Aes256Gcm => Some(AeadAlgorithm::Aes256Gcm),
            Self::ChaCha20Poly1305 => Some(AeadAlgorithm::ChaCha20Poly1305),
            Self::AesCbc { .. } => None,
        }
    }

    /// Bytes of SK_ei and of SK_er, an AEAD's salt included.
    pub fn encryption_key_len(self) -> usize {
        match (self, self.aead()) {
            (Self::AesCbc { key_bits, .. }, _) => usize::from(key_bits) / 8,
            (_, Some(algorithm)) => algorithm.key_len() + SALT_LEN,
            (_, None) => 0,
        }
    }

    /// Bytes of SK_ai and of SK_ar: none beside an AEAD.
    pub fn integrity_key_len(self) -> usize {
        match self {
            Self::AesCbc { integrity, .. } => integrity.algorithm().key_len(),
            _ => 0,
        }
    }
}

enum Suite {
    Aead {
        key: Box<AeadKey>,
        salt: [u8; SALT_LEN],
        /// Never twice under one key: a counter (RFC 5282, 3.1).
        next_iv: u64,
    },
    Cbc {
        key: Box<CbcKey>,
        integrity: Box<IntegrityKey>,
    },
}

/// Seals or opens the messages of one direction of an IKE SA.
pub struct SkCipher(Suite);

impl fmt::Debug for SkCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SkCipher(…)")
    }
}

impl SkCipher {
    /// From SK_ei and SK_ai, or SK_er and SK_ar.
    ///
    /// # Errors
    /// When a key is not as long as the cipher asks for.
    pub fn new(
        cipher: IkeCipher,
        encryption: &Secret,
        integrity: &Secret,
    ) -> Result<Self, CryptoError> {
        let wrong = CryptoError::KeyLength {
            given: encryption.len(),
            wanted: cipher.encryption_key_len(),
        };
        let suite = match (cipher, cipher.aead()) {
            (_, Some(algorithm)) => {
                let (key, salt) = encryption.expose().split_last_chunk().ok_or(wrong)?;
                Suite::Aead {
                    key: Box::new(AeadKey::new(algorithm, key)?),
                    salt: *salt,
                    next_iv: 0,
                }
            }
            (
                IkeCipher::AesCbc {
                    key_bits,
                    integrity: algorithm,
                },
                None,
            ) => {
                if encryption.len() != usize::from(key_bits) / 8 {
                    return Err(wrong);
                }
                Suite::Cbc {
                    key: Box::new(CbcKey::new(encryption.expose())?),
                    integrity: Box::new(IntegrityKey::new(
                        algorithm.algorithm(),
                        integrity.expose(),
                    )?),
                }
            }
            (_, None) => return Err(wrong),
        };
        Ok(Self(suite))
    }

    /// Proves and decrypts a message.
    ///
    /// # Errors
    /// See [`OpenError`]: but for [`OpenError::Content`], anybody may have sent it.
    pub fn open(&self, packet: &Packet<'_>) -> Result<Inner, OpenError> {
        match packet.protection {
            Protection::Encrypted => self.decrypt(packet),
            Protection::Clear | Protection::Fragment { .. } => Err(OpenError::NotEncrypted),
        }
    }

    /// Proves and decrypts one fragment, which goes to a [`super::Reassembler`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_fragment(&self, packet: &Packet<'_>) -> Result<Fragment, OpenError> {
        let Protection::Fragment { number, total } = packet.protection else {
            return Err(OpenError::NotEncrypted);
        };
        let inner = self.decrypt(packet)?;
        // Only the first one tells the type of the first payload (RFC 7383, 2.5).
        if number != 1 && inner.first != payload_type::NONE {
            return Err(OpenError::Content);
        }
        Ok(Fragment {
            number,
            total,
            inner,
        })
    }

    fn decrypt(&self, packet: &Packet<'_>) -> Result<Inner, OpenError> {
        let encrypted = packet.encrypted()?;
        let short = OpenError::TooShort;
        let (aad, body) = packet
            .bytes()
            .split_at_checked(encrypted.start)
            .ok_or(short)?;
        let mut data = match &self.0 {
            Suite::Aead { key, salt, .. } => {
                let (iv, body) = body.split_first_chunk::<AEAD_IV_LEN>().ok_or(short)?;
                let (data, tag) = body.split_last_chunk::<TAG_LEN>().ok_or(short)?;
                if data.is_empty() {
                    return Err(short);
                }
                let mut data = data.to_vec();
                key.open_in_place(&nonce(salt, iv), aad, &mut data, tag)
                    .map_err(|_| OpenError::Integrity)?;
                data
            }
            Suite::Cbc { key, integrity } => {
                let icv_len = integrity.algorithm().icv_len();
                let (iv, body) = body.split_first_chunk::<BLOCK_LEN>().ok_or(short)?;
                let end = body.len().checked_sub(icv_len).ok_or(short)?;
                let (data, icv) = body.split_at_checked(end).ok_or(short)?;
                if data.is_empty() {
                    return Err(short);
                }
                // Over the whole message, and before anything is decrypted.
                integrity
                    .verify(&[aad, iv, data], icv)
                    .map_err(|_| OpenError::Integrity)?;
                let mut data = data.to_vec();
                key.decrypt_in_place(iv, &mut data)
                    .map_err(|_| OpenError::Content)?;
                data
            }
        };
        // The sender may pad with any bytes and any number of them (RFC 7296, 3.14).
        let padding = usize::from(data.pop().ok_or(OpenError::Content)?);
        let end = data.len().checked_sub(padding).ok_or(OpenError::Content)?;
        data.truncate(end);
        Ok(Inner {
            first: encrypted.inner,
            bytes: data,
        })
    }

    /// The message as one datagram, however large.
    ///
    /// # Errors
    /// Only when there is more than the cipher or a payload takes, which no message of ours is.
    pub fn seal(
        &mut self,
        header: &Header,
        inner: &Inner,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, CryptoError> {
        self.encrypt(header, inner.first, None, &inner.bytes, random)
    }

    /// The message as datagrams of at most `max` bytes each: one encrypted payload if that fits,
    /// fragments otherwise (RFC 7383). `max` is for the IKE message alone, without IP, UDP and the
    /// non-ESP marker; less than [`SMALLEST_DATAGRAM`] counts as that.
    ///
    /// # Errors
    /// As [`SkCipher::seal`].
    pub fn seal_fragments(
        &mut self,
        header: &Header,
        inner: &Inner,
        max: usize,
        random: &mut dyn Random,
    ) -> Result<Vec<Vec<u8>>, CryptoError> {
        let max = max.max(SMALLEST_DATAGRAM);
        if inner.bytes.len() <= self.capacity(max) {
            return Ok(vec![self.seal(header, inner, random)?]);
        }
        let chunks = inner.bytes.chunks(self.capacity(max - FRAGMENT_HEADER));
        let total = u16::try_from(chunks.len()).map_err(|_| CryptoError::DataLength)?;
        (1..=total)
            .zip(chunks)
            .map(|(number, chunk)| {
                let first = if number == 1 {
                    inner.first
                } else {
                    payload_type::NONE
                };
                self.encrypt(header, first, Some((number, total)), chunk, random)
            })
            .collect()
    }

    /// How many bytes of payloads fit into an encrypted payload of a datagram of `max` bytes.
    fn capacity(&self, max: usize) -> usize {
        let framing = HEADER_LEN + PAYLOAD_HEADER;
        match &self.0 {
            Suite::Aead { .. } => max.saturating_sub(framing + AEAD_IV_LEN + TAG_LEN + 1),
            Suite::Cbc { integrity, .. } => {
                let icv_len = integrity.algorithm().icv_len();
                let room = max.saturating_sub(framing + BLOCK_LEN + icv_len);
                (room - room % BLOCK_LEN).saturating_sub(1)
            }
        }
    }

    fn encrypt(
        &mut self,
        header: &Header,
        first: u8,
        fragment: Option<(u16, u16)>,
        data: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, CryptoError> {
        let (iv_len, icv_len, padding) = match &self.0 {
            Suite::Aead { .. } => (AEAD_IV_LEN, TAG_LEN, 0),
            Suite::Cbc { integrity, .. } => {
                let with_length = data.len() + 1;
                let padding = with_length.next_multiple_of(BLOCK_LEN) - with_length;
                (BLOCK_LEN, integrity.algorithm().icv_len(), padding)
            }
        };
        let fragment_len = fragment.map_or(0, |_| FRAGMENT_HEADER);
        let payload = PAYLOAD_HEADER + fragment_len + iv_len + data.len() + padding + 1 + icv_len;
        let payload_len = u16::try_from(payload).map_err(|_| CryptoError::DataLength)?;

        let mut out = Vec::with_capacity(HEADER_LEN + payload);
        let kind = fragment.map_or(payload_type::SK, |_| payload_type::SKF);
        header.write(kind, HEADER_LEN + payload, &mut out);
        out.extend_from_slice(&[first, 0]);
        out.extend_from_slice(&payload_len.to_be_bytes());
        if let Some((number, total)) = fragment {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&total.to_be_bytes());
        }
        let mut plain = Vec::with_capacity(data.len() + padding + 1);
        plain.extend_from_slice(data);
        plain.resize(data.len() + padding, 0);
        plain.push(u8::try_from(padding).map_err(|_| CryptoError::DataLength)?);
        match &mut self.0 {
            Suite::Aead { key, salt, next_iv } => {
                let iv = next_iv.to_be_bytes();
                *next_iv = next_iv.checked_add(1).ok_or(CryptoError::DataLength)?;
                let mut tag = [0; TAG_LEN];
                key.seal_in_place(&nonce(salt, &iv), &out, &mut plain, &mut tag)?;
                out.extend_from_slice(&iv);
                out.extend_from_slice(&plain);
                out.extend_from_slice(&tag);
            }
            Suite::Cbc { key, integrity } => {
                let mut iv = [0; BLOCK_LEN];
                random.fill(&mut iv);
                key.encrypt_in_place(&iv, &mut plain)?;
                out.extend_from_slice(&iv);
                out.extend_from_slice(&plain);
                let mut icv = vec![0; icv_len];
                integrity.sign(&[&out], &mut icv)?;
                out.extend_from_slice(&icv);
            }
        }
        Ok(out)
    }
}

fn nonce(salt: &[u8; SALT_LEN], iv: &[u8; AEAD_IV_LEN]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    for (to, from) in nonce.iter_mut().zip(salt.iter().chain(iv)) {
        *to = *from;
    }
    nonce
}
