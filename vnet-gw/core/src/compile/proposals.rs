//! From a connection's IPsec policy, or from none, to what IKE proposes and accepts.

use crate::{
    ike::{EspProposal, Group, IkeCipher, IkeIntegrity, IkeProposal, Prf},
    model::{self, DhGroup, IkeEncryption, IpsecEncryption, IpsecIntegrity, IpsecPolicy, PfsGroup},
    sa::{EspIntegrity, EspSuite},
};

/// Best first. Group 2 is too weak to be offered where no policy names it.
const GROUPS: [Group; 4] = [
    Group::Curve25519,
    Group::Ecp256,
    Group::Ecp384,
    Group::Modp2048,
];

/// Without a policy, best first: authenticated encryption, then what older devices and Azure's own
/// default proposals have (section C).
const IKE_SUITES: [(IkeCipher, Prf); 9] = [
    (IkeCipher::Aes256Gcm, Prf::HmacSha2_384),
    (IkeCipher::Aes256Gcm, Prf::HmacSha2_256),
    (IkeCipher::ChaCha20Poly1305, Prf::HmacSha2_256),
    (IkeCipher::Aes128Gcm, Prf::HmacSha2_256),
    (cbc(256, IkeIntegrity::HmacSha2_384_192), Prf::HmacSha2_384),
    (cbc(256, IkeIntegrity::HmacSha2_256_128), Prf::HmacSha2_256),
    (cbc(128, IkeIntegrity::HmacSha2_256_128), Prf::HmacSha2_256),
    (cbc(256, IkeIntegrity::HmacSha1_96), Prf::HmacSha1),
    (cbc(128, IkeIntegrity::HmacSha1_96), Prf::HmacSha1),
];

const ESP_SUITES: [EspSuite; 7] = [
    EspSuite::Aes256Gcm,
    EspSuite::ChaCha20Poly1305,
    EspSuite::Aes128Gcm,
    esp_cbc(256, EspIntegrity::HmacSha2_256_128),
    esp_cbc(128, EspIntegrity::HmacSha2_256_128),
    esp_cbc(256, EspIntegrity::HmacSha1_96),
    esp_cbc(128, EspIntegrity::HmacSha1_96),
];

const fn cbc(key_bits: u16, integrity: IkeIntegrity) -> IkeCipher {
    IkeCipher::AesCbc {
        key_bits,
        integrity,
    }
}

const fn esp_cbc(key_bits: u16, integrity: EspIntegrity) -> EspSuite {
    EspSuite::AesCbc {
        key_bits,
        integrity,
    }
}

/// Suites for the IKE SA, best first.
pub(super) fn ike(policy: Option<&IpsecPolicy>) -> Vec<IkeProposal> {
    let Some(policy) = policy else {
        let all = IKE_SUITES.iter().flat_map(|(cipher, prf)| {
            GROUPS.map(|group| IkeProposal {
                cipher: *cipher,
                prf: *prf,
                group,
            })
        });
        return all.collect();
    };
    let group = match policy.dh_group {
        DhGroup::DhGroup2 => Group::Modp1024,
        DhGroup::DhGroup14 | DhGroup::DhGroup2048 => Group::Modp2048,
        DhGroup::Ecp256 => Group::Ecp256,
        DhGroup::Ecp384 => Group::Ecp384,
    };
    // GCM leaves the PRF open where it is named as integrity, too.
    let prfs: &[Prf] = match policy.ike_integrity {
        model::IkeIntegrity::Sha1 => &[Prf::HmacSha1],
        model::IkeIntegrity::Sha256 => &[Prf::HmacSha2_256],
        model::IkeIntegrity::Sha384 => &[Prf::HmacSha2_384],
        model::IkeIntegrity::GcmAes256 | model::IkeIntegrity::GcmAes128 => {
            &[Prf::HmacSha2_384, Prf::HmacSha2_256]
        }
    };
    let integrity = match policy.ike_integrity {
        model::IkeIntegrity::Sha1 => IkeIntegrity::HmacSha1_96,
        model::IkeIntegrity::Sha384 => IkeIntegrity::HmacSha2_384_192,
        _ => IkeIntegrity::HmacSha2_256_128,
    };
    let cipher = match policy.ike_encryption {
        IkeEncryption::Aes128 => cbc(128, integrity),
        IkeEncryption::Aes192 => cbc(192, integrity),
        IkeEncryption::Aes256 => cbc(256, integrity),
        IkeEncryption::GcmAes128 => IkeCipher::Aes128Gcm,
        IkeEncryption::GcmAes256 => IkeCipher::Aes256Gcm,
    };
    let suites = prfs.iter().map(|prf| IkeProposal {
        cipher,
        prf: *prf,
        group,
    });
    suites.collect()
}

/// Suites for CHILD SAs, best first. Without a policy the peer may have forward secrecy with any
/// of the groups, or none, which is what Azure's own default asks for.
pub(super) fn esp(policy: Option<&IpsecPolicy>) -> Vec<EspProposal> {
    let Some(policy) = policy else {
        let all = ESP_SUITES.into_iter().flat_map(|suite| {
            let groups = GROUPS.into_iter().map(Some).chain([None]);
            groups.map(move |pfs| EspProposal { suite, pfs })
        });
        return all.collect();
    };
    let integrity = match policy.ipsec_integrity {
        IpsecIntegrity::Sha1 => EspIntegrity::HmacSha1_96,
        _ => EspIntegrity::HmacSha2_256_128,
    };
    let suite = match policy.ipsec_encryption {
        IpsecEncryption::Aes128 => esp_cbc(128, integrity),
        IpsecEncryption::Aes192 => esp_cbc(192, integrity),
        IpsecEncryption::Aes256 => esp_cbc(256, integrity),
        IpsecEncryption::GcmAes128 => EspSuite::Aes128Gcm,
        IpsecEncryption::GcmAes192 => EspSuite::Aes192Gcm,
        IpsecEncryption::GcmAes256 => EspSuite::Aes256Gcm,
    };
    let pfs = match policy.pfs_group {
        PfsGroup::None => None,
        PfsGroup::Pfs2 => Some(Group::Modp1024),
        PfsGroup::Pfs2048 | PfsGroup::Pfs14 => Some(Group::Modp2048),
        PfsGroup::Ecp256 => Some(Group::Ecp256),
        PfsGroup::Ecp384 => Some(Group::Ecp384),
    };
    vec![EspProposal { suite, pfs }]
}
