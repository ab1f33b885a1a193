//! Transforms and their names (RFC 7296, 3.3.2; IANA's registry "IKEv2 Parameters").

use std::fmt;

use crate::ike::{Group, IkeIntegrity, Prf};

/// Type of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransformType(pub u8);

impl TransformType {
    pub const ENCRYPTION: Self = Self(1);
    pub const PRF: Self = Self(2);
    pub const INTEGRITY: Self = Self(3);
    pub const KEY_EXCHANGE: Self = Self(4);
    pub const SEQUENCE_NUMBERS: Self = Self(5);
    /// The first of seven (RFC 9370, 2.2.1).
    pub const ADDITIONAL_KEY_EXCHANGE_1: Self = Self(6);
    pub const ADDITIONAL_KEY_EXCHANGE_7: Self = Self(12);

    pub fn is_additional_key_exchange(self) -> bool {
        (Self::ADDITIONAL_KEY_EXCHANGE_1..=Self::ADDITIONAL_KEY_EXCHANGE_7).contains(&self)
    }
}

/// NONE, as integrity beside an AEAD and as key exchange.
pub const NONE: u16 = 0;

/// Encryption transforms.
pub mod encryption {
    pub const AES_CBC: u16 = 12;
    /// With a 16-byte ICV; 18 and 19 have shorter ones and are not ours.
    pub const AES_GCM_16: u16 = 20;
    pub const CHACHA20_POLY1305: u16 = 28;
}

/// Transform id of ML-KEM-768 among the key exchange methods (draft-ietf-ipsecme-ikev2-mlkem).
pub const ML_KEM_768: u16 = 36;
/// 32-bit sequence numbers, of the transforms of [`TransformType::SEQUENCE_NUMBERS`].
pub const NO_ESN: u16 = 0;
/// 64-bit ones.
pub const ESN: u16 = 1;

impl Prf {
    pub fn transform_id(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::HmacSha2_256 => 5,
            Self::HmacSha2_384 => 6,
            Self::HmacSha2_512 => 7,
        }
    }

    pub fn from_transform_id(id: u16) -> Option<Self> {
        Some(match id {
            2 => Self::HmacSha1,
            5 => Self::HmacSha2_256,
            6 => Self::HmacSha2_384,
            7 => Self::HmacSha2_512,
            _ => return None,
        })
    }
}

impl IkeIntegrity {
    pub fn transform_id(self) -> u16 {
        match self {
            Self::HmacSha1_96 => 2,
            Self::HmacSha2_256_128 => 12,
            Self::HmacSha2_384_192 => 13,
            Self::HmacSha2_512_256 => 14,
        }
    }

    pub fn from_transform_id(id: u16) -> Option<Self> {
        Some(match id {
            2 => Self::HmacSha1_96,
            12 => Self::HmacSha2_256_128,
            13 => Self::HmacSha2_384_192,
            14 => Self::HmacSha2_512_256,
            _ => return None,
        })
    }
}

impl Group {
    pub fn transform_id(self) -> u16 {
        self as u16
    }

    pub fn from_transform_id(id: u16) -> Option<Self> {
        [
            Self::Modp1024,
            Self::Modp2048,
            Self::Ecp256,
            Self::Ecp384,
            Self::Curve25519,
        ]
        .into_iter()
        .find(|group| group.transform_id() == id)
    }
}

/// One algorithm of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transform {
    pub kind: TransformType,
    pub id: u16,
    /// The key length attribute.
    pub key_bits: Option<u16>,
    /// It came with an attribute that we do not know, so it must not be chosen (RFC 7296, 3.3.6).
    pub unknown_attribute: bool,
}

impl Transform {
    pub fn new(kind: TransformType, id: u16) -> Self {
        Self {
            kind,
            id,
            key_bits: None,
            unknown_attribute: false,
        }
    }

    pub fn with_key(kind: TransformType, id: u16, bits: u16) -> Self {
        Self {
            key_bits: Some(bits),
            ..Self::new(kind, id)
        }
    }
}

/// As strongSwan and other peers write them in their logs: `AES_CBC_256`, `MODP_1024`.
impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.kind, self.id) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{}_{}", type_name(self.kind), self.id)?,
        }
        if let Some(bits) = self.key_bits {
            write!(f, "_{bits}")?;
        }
        if self.unknown_attribute {
            f.write_str("(+unknown attribute)")?;
        }
        Ok(())
    }
}

fn type_name(kind: TransformType) -> &'static str {
    match kind.0 {
        1 => "ENCR",
        2 => "PRF",
        3 => "AUTH",
        4 => "KE",
        5 => "SN",
        6 => "KE1",
        7 => "KE2",
        8 => "KE3",
        9 => "KE4",
        10 => "KE5",
        11 => "KE6",
        12 => "KE7",
        _ => "TRANSFORM",
    }
}

/// What peers offer now and in days gone by; a name in a log line says more than a number.
fn name(kind: TransformType, id: u16) -> Option<&'static str> {
    match kind {
        TransformType::ENCRYPTION => encryption_name(id),
        TransformType::PRF => Some(match id {
            1 => "PRF_HMAC_MD5",
            2 => "PRF_HMAC_SHA1",
            4 => "PRF_AES128_XCBC",
            5 => "PRF_HMAC_SHA2_256",
            6 => "PRF_HMAC_SHA2_384",
            7 => "PRF_HMAC_SHA2_512",
            8 => "PRF_AES128_CMAC",
            _ => return None,
        }),
        TransformType::INTEGRITY => Some(match id {
            NONE => "NO_INTEGRITY",
            1 => "HMAC_MD5_96",
            2 => "HMAC_SHA1_96",
            5 => "AES_XCBC_96",
            8 => "AES_CMAC_96",
            9 => "AES_128_GMAC",
            11 => "AES_256_GMAC",
            12 => "HMAC_SHA2_256_128",
            13 => "HMAC_SHA2_384_192",
            14 => "HMAC_SHA2_512_256",
            _ => return None,
        }),
        TransformType::SEQUENCE_NUMBERS => Some(match id {
            NO_ESN => "NO_ESN",
            ESN => "ESN",
            _ => return None,
        }),
        TransformType::KEY_EXCHANGE => key_exchange_name(id),
        kind if kind.is_additional_key_exchange() => match id {
            NONE => Some("NO_ADDITIONAL_KE"),
            id => key_exchange_name(id),
        },
        _ => None,
    }
}

fn encryption_name(id: u16) -> Option<&'static str> {
    Some(match id {
        2 => "DES_CBC",
        3 => "3DES_CBC",
        7 => "BLOWFISH_CBC",
        11 => "NULL",
        encryption::AES_CBC => "AES_CBC",
        13 => "AES_CTR",
        14 => "AES_CCM_8",
        15 => "AES_CCM_12",
        16 => "AES_CCM_16",
        18 => "AES_GCM_8",
        19 => "AES_GCM_12",
        encryption::AES_GCM_16 => "AES_GCM_16",
        21 => "NULL_AES_GMAC",
        23 => "CAMELLIA_CBC",
        encryption::CHACHA20_POLY1305 => "CHACHA20_POLY1305",
        _ => return None,
    })
}

pub(super) fn key_exchange_name(id: u16) -> Option<&'static str> {
    Some(match id {
        NONE => "NO_KE",
        1 => "MODP_768",
        2 => "MODP_1024",
        5 => "MODP_1536",
        14 => "MODP_2048",
        15 => "MODP_3072",
        16 => "MODP_4096",
        17 => "MODP_6144",
        18 => "MODP_8192",
        19 => "ECP_256",
        20 => "ECP_384",
        21 => "ECP_521",
        22 => "MODP_1024_160",
        23 => "MODP_2048_224",
        24 => "MODP_2048_256",
        25 => "ECP_192",
        26 => "ECP_224",
        27 => "ECP_224_BP",
        28 => "ECP_256_BP",
        29 => "ECP_384_BP",
        30 => "ECP_512_BP",
        31 => "CURVE_25519",
        32 => "CURVE_448",
        35 => "ML_KEM_512",
        ML_KEM_768 => "ML_KEM_768",
        37 => "ML_KEM_1024",
        _ => return None,
    })
}

/// A key exchange method by its number, for log lines: `MODP_1024`, or `KE_99` for one nobody knows.
pub fn group_name(id: u16) -> String {
    key_exchange_name(id).map_or_else(|| format!("KE_{id}"), str::to_owned)
}
