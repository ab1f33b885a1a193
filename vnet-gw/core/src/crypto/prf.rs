//! Pseudo-random functions of IKE (RFC 7296, 2.13).

use aws_lc_rs::hmac;

use crate::{ike::Prf, secret::Secret};

impl Prf {
    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha2_256 => hmac::HMAC_SHA256,
            Self::HmacSha2_384 => hmac::HMAC_SHA384,
            Self::HmacSha2_512 => hmac::HMAC_SHA512,
        }
    }

    /// Bytes of output, which are the preferred bytes of key, too (RFC 4868, 2.1.2).
    pub fn output_len(self) -> usize {
        self.algorithm().digest_algorithm().output_len()
    }

    /// `prf(key, data)`, `data` being the concatenation of its parts.
    pub fn compute(self, key: &[u8], data: &[&[u8]]) -> Secret {
        sign(&hmac::Key::new(self.algorithm(), key), data)
    }

    /// `prf+(key, seed)`, its first `len` bytes.
    ///
    /// # Panics
    /// When `len` is over 255 times the output, for which prf+ is not defined; keys of IKE and ESP
    /// are far below that, and no peer has a say in it.
    pub fn plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
        let blocks = len.div_ceil(self.output_len());
        assert!(blocks <= 255, "prf+ ends after 255 blocks");
        let key = hmac::Key::new(self.algorithm(), key);
        // As large as it gets, so that growing leaves no copy behind.
        let mut out = zeroize::Zeroizing::new(Vec::with_capacity(blocks * self.output_len()));
        let mut previous = Secret::new([]);
        for counter in 1..=255 {
            if out.len() >= len {
                break;
            }
            let mut parts = Vec::with_capacity(seed.len() + 2);
            parts.push(previous.expose());
            parts.extend_from_slice(seed);
            let counter = [counter];
            parts.push(&counter);
            let block = sign(&key, &parts);
            out.extend_from_slice(block.expose());
            previous = block;
        }
        Secret::new(out.get(..len).unwrap_or_default())
    }
}

fn sign(key: &hmac::Key, data: &[&[u8]]) -> Secret {
    let mut context = hmac::Context::with_key(key);
    for part in data {
        context.update(part);
    }
    Secret::new(context.sign().as_ref())
}
