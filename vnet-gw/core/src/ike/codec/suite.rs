//! Suites as transforms, and many of them as few proposals.

use std::fmt;

use super::{Transform, TransformType, encryption};
use crate::{
    ike::{EspProposal, Group, IkeCipher, IkeIntegrity, IkeProposal},
    sa::{EspIntegrity, EspSuite},
};

/// Fewest proposals that offer the suites and nothing else. Each suite is its transforms, one of a
/// type.
pub(super) fn merge(suites: &[Vec<Transform>]) -> Vec<Vec<Transform>> {
    let kinds = |suite: &[Transform]| suite.iter().map(|t| t.kind).collect::<Vec<_>>();
    let covers =
        |merged: &[Transform], suite: &[Transform]| suite.iter().all(|t| merged.contains(t));
    let mut offers: Vec<Vec<Transform>> = Vec::new();
    for (i, first) in suites.iter().enumerate() {
        let same = |suite: &&Vec<Transform>| kinds(suite) == kinds(first);
        let alike: Vec<_> = suites.iter().filter(same).collect();
        if suites.iter().take(i).any(|suite| suite == first)
            || offers
                .iter()
                .any(|offer| covers(offer, first) && first.len() == distinct_kinds(offer))
        {
            continue;
        }
        let mut merged = first.clone();
        for suite in &alike {
            let mut wider = merged.clone();
            wider.extend(suite.iter().filter(|t| !merged.contains(t)));
            let combinations: usize = kinds(first)
                .iter()
                .map(|kind| wider.iter().filter(|t| t.kind == *kind).count())
                .product();
            let mut covered: Vec<_> = alike.iter().filter(|s| covers(&wider, s)).collect();
            covered.sort_unstable();
            covered.dedup();
            if combinations == covered.len() {
                merged = wider;
            }
        }
        // Stable: within a type the order of preference stays.
        merged.sort_by_key(|t| t.kind);
        offers.push(merged);
    }
    offers
}

fn distinct_kinds(transforms: &[Transform]) -> usize {
    // Sorted by type.
    transforms.chunk_by(|a, b| a.kind == b.kind).count()
}

fn cbc(key_bits: u16, integrity: u16) -> Vec<Transform> {
    vec![
        Transform::with_key(TransformType::ENCRYPTION, encryption::AES_CBC, key_bits),
        Transform::new(TransformType::INTEGRITY, integrity),
    ]
}

fn gcm(key_bits: u16) -> Vec<Transform> {
    let id = encryption::AES_GCM_16;
    vec![Transform::with_key(TransformType::ENCRYPTION, id, key_bits)]
}

fn chacha() -> Vec<Transform> {
    let id = encryption::CHACHA20_POLY1305;
    vec![Transform::new(TransformType::ENCRYPTION, id)]
}

pub(super) fn ike_transforms(suite: &IkeProposal) -> Vec<Transform> {
    let mut transforms = match suite.cipher {
        IkeCipher::Aes128Gcm => gcm(128),
        IkeCipher::Aes256Gcm => gcm(256),
        IkeCipher::ChaCha20Poly1305 => chacha(),
        IkeCipher::AesCbc {
            key_bits,
            integrity,
        } => cbc(key_bits, integrity.transform_id()),
    };
    let prf = suite.prf.transform_id();
    let group = suite.group.transform_id();
    transforms.push(Transform::new(TransformType::PRF, prf));
    transforms.push(Transform::new(TransformType::KEY_EXCHANGE, group));
    transforms
}

pub(super) fn esp_transforms(suite: &EspProposal, key_exchange: bool) -> Vec<Transform> {
    let mut transforms = match suite.suite {
        EspSuite::Aes128Gcm => gcm(128),
        EspSuite::Aes192Gcm => gcm(192),
        EspSuite::Aes256Gcm => gcm(256),
        EspSuite::ChaCha20Poly1305 => chacha(),
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => {
            let integrity = match integrity {
                EspIntegrity::HmacSha1_96 => IkeIntegrity::HmacSha1_96,
                EspIntegrity::HmacSha2_256_128 => IkeIntegrity::HmacSha2_256_128,
                EspIntegrity::HmacSha2_384_192 => IkeIntegrity::HmacSha2_384_192,
            };
            cbc(key_bits, integrity.transform_id())
        }
    };
    if let Some(group) = suite.pfs.filter(|_| key_exchange) {
        let group = group.transform_id();
        transforms.push(Transform::new(TransformType::KEY_EXCHANGE, group));
    }
    transforms
}

/// Encryption, integrity, PRF, key exchange: the order that logs have.
pub(super) fn order(kind: TransformType) -> u8 {
    match kind {
        TransformType::ENCRYPTION => 0,
        TransformType::INTEGRITY => 1,
        TransformType::PRF => 2,
        other => other.0,
    }
}

fn write_suite(f: &mut fmt::Formatter<'_>, mut transforms: Vec<Transform>) -> fmt::Result {
    transforms.sort_by_key(|t| order(t.kind));
    for (i, transform) in transforms.iter().enumerate() {
        if i > 0 {
            f.write_str("/")?;
        }
        write!(f, "{transform}")?;
    }
    Ok(())
}

/// `AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519`
impl fmt::Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_suite(f, ike_transforms(self))
    }
}

/// `AES_CBC_256/HMAC_SHA1_96`, and the group where there is one.
impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_suite(f, esp_transforms(self, true))
    }
}

/// `CURVE_25519`
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::group_name(self.transform_id()))
    }
}
