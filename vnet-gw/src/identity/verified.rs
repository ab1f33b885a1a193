//! Tokens whose signature was found to be ours, so that a client that sends the same one with each
//! request costs one verification.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How many are remembered; a client has one for an hour.
const MOST: usize = 1024;

/// What a token says that was verified. Times are in seconds since 1970, with the leeway in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) tenant: String,
    pub(super) client_id: String,
    pub(super) not_before: u64,
    pub(super) expires: u64,
}

/// Found by a keyed hash of the token, which nobody outside can guess, and then compared in constant
/// time.
#[derive(Default)]
pub(super) struct Verified {
    hasher: RandomState,
    tokens: Mutex<HashMap<u64, (Zeroizing<String>, Said)>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}

impl Verified {
    /// The client id, if that token was verified for the tenant and is good at `now`.
    pub(super) fn get(&self, tenant: &str, token: &str, now: u64) -> Option<String> {
        let tokens = self.tokens();
        let (known, said) = tokens.get(&self.hasher.hash_one(token))?;
        let same = bool::from(known.as_bytes().ct_eq(token.as_bytes()));
        let good = said.tenant == tenant && said.not_before <= now && now < said.expires;
        (same && good).then(|| said.client_id.clone())
    }

    pub(super) fn add(&self, token: &str, said: Said, now: u64) {
        let mut tokens = self.tokens();
        if tokens.len() >= MOST {
            tokens.retain(|_, (_, said)| now < said.expires);
        }
        if tokens.len() >= MOST {
            tokens.clear();
        }
        let known = (Zeroizing::new(token.to_owned()), said);
        tokens.insert(self.hasher.hash_one(token), known);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<u64, (Zeroizing<String>, Said)>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        Said {
            tenant: "t".to_owned(),
            client_id: "c".to_owned(),
            not_before: 100,
            expires: 200,
        }
    }

    #[test]
    fn a_token_is_known_in_its_time_for_its_tenant() {
        let verified = Verified::default();
        assert_eq!(verified.get("t", "token", 150), None);
        verified.add("token", said(), 150);
        for (tenant, token, now, known) in [
            ("t", "token", 100, true),
            ("t", "token", 199, true),
            ("t", "token", 99, false),
            ("t", "token", 200, false),
            ("u", "token", 150, false),
            ("t", "token2", 150, false),
            ("t", "toke", 150, false),
        ] {
            let found = verified.get(tenant, token, now);
            assert_eq!(
                found.as_deref(),
                known.then_some("c"),
                "{tenant} {token} {now}"
            );
        }
    }

    #[test]
    fn it_does_not_grow() {
        let verified = Verified::default();
        for n in 0..MOST {
            verified.add(&n.to_string(), said(), 150);
        }
        verified.add(
            "good",
            Said {
                expires: 900,
                ..said()
            },
            150,
        );
        assert_eq!(verified.tokens().len(), 1);
        for n in 1..MOST {
            verified.add(&n.to_string(), said(), 150);
        }
        // What has expired makes room.
        verified.add(
            "another",
            Said {
                expires: 900,
                ..said()
            },
            300,
        );
        assert_eq!(verified.tokens().len(), 2);
        assert!(verified.get("t", "good", 300).is_some());
    }
}
