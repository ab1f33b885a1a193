//! The algorithms of a connection's `ipsecPolicies` (section C), with Azure's names. Only those
//! that are carried out have a value here; the others that Azure's enums list are refused when a
//! template is read.

use std::time::Duration;

/// An enum of Azure's with the names that it writes.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// In the order of Azure's enum.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As Azure writes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }
    };
}

named! {
    /// `ikeEncryption`
    IkeEncryption {
        Aes128 = "AES128",
        Aes192 = "AES192",
        Aes256 = "AES256",
        GcmAes256 = "GCMAES256",
        GcmAes128 = "GCMAES128",
    }
}

named! {
    /// `ikeIntegrity`. Beside GCM, which needs no integrity algorithm, it names the PRF; GCM's own
    /// names leave the PRF open.
    IkeIntegrity {
        Sha1 = "SHA1",
        Sha256 = "SHA256",
        Sha384 = "SHA384",
        GcmAes256 = "GCMAES256",
        GcmAes128 = "GCMAES128",
    }
}

named! {
    /// `dhGroup`
    DhGroup {
        DhGroup2 = "DHGroup2",
        DhGroup14 = "DHGroup14",
        /// Another name of group 14.
        DhGroup2048 = "DHGroup2048",
        Ecp256 = "ECP256",
        Ecp384 = "ECP384",
    }
}

named! {
    /// `ipsecEncryption`
    IpsecEncryption {
        Aes128 = "AES128",
        Aes192 = "AES192",
        Aes256 = "AES256",
        GcmAes128 = "GCMAES128",
        GcmAes192 = "GCMAES192",
        GcmAes256 = "GCMAES256",
    }
}

named! {
    /// `ipsecIntegrity`; beside GCM it is the encryption once more.
    IpsecIntegrity {
        Sha1 = "SHA1",
        Sha256 = "SHA256",
        GcmAes128 = "GCMAES128",
        GcmAes192 = "GCMAES192",
        GcmAes256 = "GCMAES256",
    }
}

named! {
    /// `pfsGroup`
    PfsGroup {
        /// Keys of a CHILD SA come from the IKE SA's alone.
        None = "None",
        Pfs2 = "PFS2",
        /// Another name of group 14.
        Pfs2048 = "PFS2048",
        Ecp256 = "ECP256",
        Ecp384 = "ECP384",
        Pfs14 = "PFS14",
    }
}

/// `ipsecPolicies[]`: the one suite that both ends must agree on. GCM stands in both
/// `ipsec_encryption` and `ipsec_integrity` or in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpsecPolicy {
    /// `saLifeTimeSeconds`, of CHILD SAs; at least [`Self::LEAST_LIFE_TIME`].
    pub sa_life_time: Duration,
    /// `saDataSizeKilobytes`, of CHILD SAs; at least [`Self::LEAST_KILOBYTES`].
    pub sa_data_size_kilobytes: u64,
    pub ipsec_encryption: IpsecEncryption,
    pub ipsec_integrity: IpsecIntegrity,
    pub ike_encryption: IkeEncryption,
    pub ike_integrity: IkeIntegrity,
    pub dh_group: DhGroup,
    pub pfs_group: PfsGroup,
}

impl IpsecPolicy {
    /// Of IKE SAs, whatever the policy.
    pub const IKE_LIFE_TIME: Duration = Duration::from_secs(28_800);
    /// Of CHILD SAs where nothing else is said.
    pub const LIFE_TIME: Duration = Duration::from_secs(27_000);
    pub const LEAST_LIFE_TIME: Duration = Duration::from_secs(300);
    /// Of CHILD SAs where nothing else is said.
    pub const KILOBYTES: u64 = 102_400_000;
    pub const LEAST_KILOBYTES: u64 = 1_024;
}
