//! Client secrets: made here, shown once, kept as a hash.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use vnet_gw_core::{crypto::SystemRandom, ike::Random};
use zeroize::Zeroizing;

/// 238 bits: nobody guesses it, with or without the hash.
const LENGTH: usize = 40;

/// A new secret, of letters and digits.
pub(super) fn generate() -> Zeroizing<String> {
    let key = crate::daemon::keys::generate(LENGTH);
    crate::daemon::keys::text(&key)
}

/// Argon2id with OWASP's parameters (19 MiB, two passes), as a PHC string.
pub(super) fn hash(secret: &str) -> Result<String, String> {
    let mut salt = [0; 16];
    SystemRandom.fill(&mut salt);
    Argon2::default()
        .hash_password_with_salt(secret.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

/// Whether a secret is the hashed one; the comparison takes the same time wherever they differ.
pub(super) fn matches(secret: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(secret.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_its_hash_and_no_other() {
        let secret = generate();
        assert_eq!(secret.len(), LENGTH);
        let one = hash(&secret).unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(!one.contains(secret.as_str()));
        assert_ne!(
            one,
            hash(&secret).unwrap(),
            "every hash has a salt of its own"
        );
        assert!(matches(&secret, &one));
        assert!(!matches(&generate(), &one));
        assert!(!matches(&secret, "no hash"));
    }
}
