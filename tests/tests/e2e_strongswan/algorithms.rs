//! Every algorithm that both know, under both names.

use vnet_gw_core::{
    ike::{EspProposal, Group, IkeCipher, IkeIntegrity, IkeProposal, Prf},
    sa::{EspIntegrity, EspSuite},
};

pub(crate) const PRFS: [Prf; 4] = [
    Prf::HmacSha2_256,
    Prf::HmacSha2_384,
    Prf::HmacSha2_512,
    Prf::HmacSha1,
];

pub(crate) const GROUPS: [Group; 5] = [
    Group::Curve25519,
    Group::Modp2048,
    Group::Ecp256,
    Group::Ecp384,
    Group::Modp1024,
];

/// Ciphers of IKE: three AEADs, and CBC with every integrity algorithm.
pub(crate) fn ike_ciphers() -> Vec<IkeCipher> {
    let mut out = vec![
        IkeCipher::Aes128Gcm,
        IkeCipher::Aes256Gcm,
        IkeCipher::ChaCha20Poly1305,
    ];
    for key_bits in [128, 192, 256] {
        for integrity in [
            IkeIntegrity::HmacSha1_96,
            IkeIntegrity::HmacSha2_256_128,
            IkeIntegrity::HmacSha2_384_192,
            IkeIntegrity::HmacSha2_512_256,
        ] {
            out.push(IkeCipher::AesCbc {
                key_bits,
                integrity,
            });
        }
    }
    out
}

/// Suites of ESP.
pub(crate) fn esp_suites() -> Vec<EspSuite> {
    let mut out = vec![
        EspSuite::Aes128Gcm,
        EspSuite::Aes192Gcm,
        EspSuite::Aes256Gcm,
        EspSuite::ChaCha20Poly1305,
    ];
    for key_bits in [128, 192, 256] {
        for integrity in [
            EspIntegrity::HmacSha1_96,
            EspIntegrity::HmacSha2_256_128,
            EspIntegrity::HmacSha2_384_192,
        ] {
            out.push(EspSuite::AesCbc {
                key_bits,
                integrity,
            });
        }
    }
    out
}

/// As swanctl writes it.
pub(crate) fn ike_name(proposal: &IkeProposal) -> String {
    let cipher = match proposal.cipher {
        IkeCipher::Aes128Gcm => "aes128gcm16".to_owned(),
        IkeCipher::Aes256Gcm => "aes256gcm16".to_owned(),
        IkeCipher::ChaCha20Poly1305 => "chacha20poly1305".to_owned(),
        IkeCipher::AesCbc {
            key_bits,
            integrity,
        } => {
            let integrity = match integrity {
                IkeIntegrity::HmacSha1_96 => "sha1",
                IkeIntegrity::HmacSha2_256_128 => "sha256",
                IkeIntegrity::HmacSha2_384_192 => "sha384",
                IkeIntegrity::HmacSha2_512_256 => "sha512",
            };
            format!("aes{key_bits}-{integrity}")
        }
    };
    let prf = match proposal.prf {
        Prf::HmacSha1 => "prfsha1",
        Prf::HmacSha2_256 => "prfsha256",
        Prf::HmacSha2_384 => "prfsha384",
        Prf::HmacSha2_512 => "prfsha512",
    };
    format!("{cipher}-{prf}-{}", group_name(proposal.group))
}

/// As swanctl writes it.
pub(crate) fn esp_name(proposal: &EspProposal) -> String {
    let suite = match proposal.suite {
        EspSuite::Aes128Gcm => "aes128gcm16".to_owned(),
        EspSuite::Aes192Gcm => "aes192gcm16".to_owned(),
        EspSuite::Aes256Gcm => "aes256gcm16".to_owned(),
        EspSuite::ChaCha20Poly1305 => "chacha20poly1305".to_owned(),
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => {
            let integrity = match integrity {
                EspIntegrity::HmacSha1_96 => "sha1",
                EspIntegrity::HmacSha2_256_128 => "sha256",
                EspIntegrity::HmacSha2_384_192 => "sha384",
            };
            format!("aes{key_bits}-{integrity}")
        }
    };
    match proposal.pfs {
        Some(group) => format!("{suite}-{}", group_name(group)),
        None => suite,
    }
}

fn group_name(group: Group) -> &'static str {
    match group {
        Group::Modp1024 => "modp1024",
        Group::Modp2048 => "modp2048",
        Group::Ecp256 => "ecp256",
        Group::Ecp384 => "ecp384",
        Group::Curve25519 => "curve25519",
    }
}

/// The part of strongSwan's suite of an IKE SA that names the cipher, the PRF and the group.
pub(crate) fn ike_suite(proposal: &IkeProposal) -> String {
    let cipher = match proposal.cipher {
        IkeCipher::Aes128Gcm => "AES_GCM_16-128".to_owned(),
        IkeCipher::Aes256Gcm => "AES_GCM_16-256".to_owned(),
        IkeCipher::ChaCha20Poly1305 => "CHACHA20_POLY1305".to_owned(),
        IkeCipher::AesCbc {
            key_bits,
            integrity,
        } => {
            let integrity = match integrity {
                IkeIntegrity::HmacSha1_96 => "HMAC_SHA1_96",
                IkeIntegrity::HmacSha2_256_128 => "HMAC_SHA2_256_128",
                IkeIntegrity::HmacSha2_384_192 => "HMAC_SHA2_384_192",
                IkeIntegrity::HmacSha2_512_256 => "HMAC_SHA2_512_256",
            };
            format!("AES_CBC-{key_bits}/{integrity}")
        }
    };
    let prf = match proposal.prf {
        Prf::HmacSha1 => "PRF_HMAC_SHA1",
        Prf::HmacSha2_256 => "PRF_HMAC_SHA2_256",
        Prf::HmacSha2_384 => "PRF_HMAC_SHA2_384",
        Prf::HmacSha2_512 => "PRF_HMAC_SHA2_512",
    };
    let group = match proposal.group {
        Group::Modp1024 => "MODP_1024",
        Group::Modp2048 => "MODP_2048",
        Group::Ecp256 => "ECP_256",
        Group::Ecp384 => "ECP_384",
        Group::Curve25519 => "CURVE_25519",
    };
    format!("{cipher}/{prf}/{group}")
}
