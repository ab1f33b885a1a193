//! ML-KEM-768 as an additional key exchange (RFC 9370, draft-ietf-ipsecme-ikev2-mlkem): the
//! initiator sends an encapsulation key, the responder the ciphertext.

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};

use super::exchange::ExchangeError;
use crate::secret::Secret;

/// Bytes of an encapsulation key: the initiator's KE payload.
pub const ENCAPSULATION_KEY_LEN: usize = 1184;
/// Bytes of a ciphertext: the responder's KE payload.
pub const CIPHERTEXT_LEN: usize = 1088;

/// The initiator's half.
pub struct MlKemKey {
    key: DecapsulationKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for MlKemKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MlKemKey(…)")
    }
}

impl MlKemKey {
    /// # Errors
    /// [`ExchangeError::Library`] when the library has no randomness.
    pub fn generate() -> Result<Self, ExchangeError> {
        let key = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| ExchangeError::Library)?;
        let public = key
            .encapsulation_key()
            .and_then(|key| Ok(key.key_bytes()?.as_ref().to_vec()))
            .map_err(|_| ExchangeError::Library)?;
        Ok(Self { key, public })
    }

    /// The data of the initiator's KE payload.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret, from the data of the responder's KE payload. A ciphertext that was
    /// changed gives another secret, not an error (FIPS 203, 6.3).
    ///
    /// # Errors
    /// When it is not as long as a ciphertext.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, ExchangeError> {
        check_len(ciphertext, CIPHERTEXT_LEN)?;
        let secret = self
            .key
            .decapsulate(Ciphertext::from(ciphertext))
            .map_err(|_| ExchangeError::Invalid)?;
        Ok(Secret::new(secret.as_ref()))
    }
}

/// The responder's half: the data of its KE payload, and the shared secret.
///
/// # Errors
/// When the initiator's data is not an encapsulation key (FIPS 203, 7.2).
pub fn encapsulate(public: &[u8]) -> Result<(Vec<u8>, Secret), ExchangeError> {
    check_len(public, ENCAPSULATION_KEY_LEN)?;
    let key = EncapsulationKey::new(&ML_KEM_768, public).map_err(|_| ExchangeError::Invalid)?;
    let (ciphertext, secret) = key.encapsulate().map_err(|_| ExchangeError::Invalid)?;
    Ok((ciphertext.as_ref().to_vec(), Secret::new(secret.as_ref())))
}

fn check_len(bytes: &[u8], need: usize) -> Result<(), ExchangeError> {
    let have = bytes.len();
    if have == need {
        Ok(())
    } else {
        Err(ExchangeError::Length { have, need })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_one_secret() {
        let key = MlKemKey::generate().unwrap();
        assert_eq!(key.public().len(), ENCAPSULATION_KEY_LEN);
        let (ciphertext, theirs) = encapsulate(key.public()).unwrap();
        assert_eq!(ciphertext.len(), CIPHERTEXT_LEN);
        assert_eq!(key.decapsulate(&ciphertext).unwrap(), theirs);
        assert_eq!(theirs.len(), 32);
        let mut changed = ciphertext;
        changed[5] ^= 1;
        assert_ne!(key.decapsulate(&changed).unwrap(), theirs);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        // Coefficients of 0xfff are not reduced modulo 3329.
        assert_eq!(
            encapsulate(&[0xff; ENCAPSULATION_KEY_LEN]).err(),
            Some(ExchangeError::Invalid)
        );
        assert_eq!(
            encapsulate(&[0; 7]).err(),
            Some(ExchangeError::Length {
                have: 7,
                need: ENCAPSULATION_KEY_LEN
            })
        );
        let key = MlKemKey::generate().unwrap();
        assert!(key.decapsulate(&[0; CIPHERTEXT_LEN - 1]).is_err());
    }
}
