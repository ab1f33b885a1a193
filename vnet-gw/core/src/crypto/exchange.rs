//! Key exchange methods (RFC 7296, 3.4): the MODP groups, ECP by RFC 5903, Curve25519 by RFC 8031.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use thiserror::Error;

use super::modp::{Modp1024Key, Modp2048Key};
use crate::{ike::Group, secret::Secret};

/// SEC 1's mark of an uncompressed point, which IKE leaves out.
const UNCOMPRESSED: u8 = 4;

/// A key exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExchangeError {
    #[error("the peer's public value has {have} bytes where the method has {need}")]
    Length { have: usize, need: usize },
    /// Out of range, not on the curve, of small order, … (RFC 6989).
    #[error("the peer's public value is not valid")]
    Invalid,
    #[error("the cryptographic library made no key")]
    Library,
}

impl Group {
    /// Bytes of a public value.
    pub fn public_len(self) -> usize {
        match self {
            Self::Modp1024 => 128,
            Self::Modp2048 => 256,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Curve25519 => 32,
        }
    }
}

enum Key {
    Modp1024(Modp1024Key),
    Modp2048(Modp2048Key),
    /// The flag: public values travel without the mark of SEC 1.
    Curve {
        key: PrivateKey,
        ecp: bool,
    },
}

/// Our half of a key exchange. Made from the cryptographic library's own randomness.
pub struct EphemeralKey {
    group: Group,
    key: Key,
    public: Vec<u8>,
}

impl std::fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EphemeralKey({:?}, …)", self.group)
    }
}

impl EphemeralKey {
    /// # Errors
    /// [`ExchangeError::Library`] when the library has no randomness.
    pub fn generate(group: Group) -> Result<Self, ExchangeError> {
        Self::from_key(group, Self::private(group)?)
    }

    fn private(group: Group) -> Result<Key, ExchangeError> {
        let curve = |algorithm, ecp| {
            let key = PrivateKey::generate(algorithm).map_err(|_| ExchangeError::Library)?;
            Ok(Key::Curve { key, ecp })
        };
        match group {
            Group::Modp1024 => Modp1024Key::generate().map(Key::Modp1024),
            Group::Modp2048 => Modp2048Key::generate().map(Key::Modp2048),
            Group::Ecp256 => curve(&agreement::ECDH_P256, true),
            Group::Ecp384 => curve(&agreement::ECDH_P384, true),
            Group::Curve25519 => curve(&agreement::X25519, false),
        }
    }

    fn from_key(group: Group, key: Key) -> Result<Self, ExchangeError> {
        let public = match &key {
            Key::Modp1024(key) => key.public(),
            Key::Modp2048(key) => key.public(),
            Key::Curve { key, ecp } => {
                let public = key
                    .compute_public_key()
                    .map_err(|_| ExchangeError::Library)?;
                let bytes = public.as_ref();
                let skip = usize::from(*ecp);
                bytes.get(skip..).ok_or(ExchangeError::Library)?.to_vec()
            }
        };
        Ok(Self { group, key, public })
    }

    pub fn group(&self) -> Group {
        self.group
    }

    /// The data of our KE payload.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret, from the data of the peer's KE payload. The key stays: a forged answer
    /// may come before the true one (RFC 7296, 2.4).
    ///
    /// # Errors
    /// When the peer's value is not a public value of the group.
    pub fn agree(&self, peer: &[u8]) -> Result<Secret, ExchangeError> {
        let need = self.group.public_len();
        if peer.len() != need {
            return Err(ExchangeError::Length {
                have: peer.len(),
                need,
            });
        }
        match &self.key {
            Key::Modp1024(key) => key.agree(peer),
            Key::Modp2048(key) => key.agree(peer),
            Key::Curve { key, ecp } => {
                let mut point = Vec::with_capacity(need + 1);
                if *ecp {
                    point.push(UNCOMPRESSED);
                }
                point.extend_from_slice(peer);
                // The library checks that a point is on the curve, and refuses the all-zero secret
                // of a point of small order (RFC 7748, 6.1). ECP's secret is the x coordinate.
                let peer = UnparsedPublicKey::new(key.algorithm(), point);
                agreement::agree(key, peer, ExchangeError::Invalid, |secret| {
                    Ok(Secret::new(secret))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
