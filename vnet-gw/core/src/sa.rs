//! What IKE hands to ESP: CHILD SAs with their keys, and what belongs to them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use crate::secret::Secret;

/// A tunnel: one address of a gateway, one of its peer's, and the connection they belong to.
/// The number is a stable hash of those, so it is the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u64);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Security parameters index of an ESP SA; 0 to 255 are never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Encryption and integrity of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspSuite {
    /// RFC 4106 with a 16-byte ICV. Key material: key, then 4 bytes of salt.
    Aes128Gcm,
    Aes192Gcm,
    Aes256Gcm,
    /// RFC 7634. Key material: 32 bytes of key, then 4 bytes of salt.
    ChaCha20Poly1305,
    /// RFC 3602 with RFC 2404 or RFC 4868. Encryption key first, then the integrity key.
    AesCbc {
        key_bits: u16,
        integrity: EspIntegrity,
    },
}

/// Integrity algorithms beside CBC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspIntegrity {
    /// RFC 2404: 20-byte key, 12-byte ICV.
    HmacSha1_96,
    /// RFC 4868: 32-byte key, 16-byte ICV.
    HmacSha2_256_128,
    /// RFC 4868: 48-byte key, 24-byte ICV.
    HmacSha2_384_192,
}

/// One direction of a CHILD SA.
#[derive(Clone, Debug)]
pub struct Sa {
    pub spi: Spi,
    pub suite: EspSuite,
    /// Extended sequence numbers (RFC 4303, 2.2.1).
    pub esn: bool,
    /// `EspSuite`'s key material, as long as the suite asks for.
    pub keys: Secret,
}

/// How ESP packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// IP protocol 50, between the hosts of these addresses.
    Esp { local: IpAddr, remote: IpAddr },
    /// RFC 3948: in UDP, from and to the ports that IKE floated to.
    Udp {
        local: SocketAddr,
        remote: SocketAddr,
    },
}

/// A contiguous range of addresses, as in a traffic selector of IKEv2 (RFC 7296, 3.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// First and last port, or ICMP type and code as the RFC has it; 0 and 65535 for any.
    pub ports: (u16, u16),
    /// First and last address, both of one family.
    pub addresses: (IpAddr, IpAddr),
}

/// A pair of SAs as IKE negotiated it.
#[derive(Clone, Debug)]
pub struct ChildSa {
    pub tunnel: TunnelId,
    /// What the peer sends with; its SPI is ours.
    pub inbound: Sa,
    /// What we send with; its SPI is the peer's.
    pub outbound: Sa,
    pub encapsulation: Encapsulation,
    /// What may be inside: from our side, to the peer's.
    pub local_selectors: Vec<TrafficSelector>,
    pub remote_selectors: Vec<TrafficSelector>,
    /// False for a responder: the peer may not have the SA yet, so packets go out on it only after
    /// the first one came in on it, or when IKE says so (RFC 7296, 2.8).
    pub send_at_once: bool,
    /// IKE is told when this many bytes went either way (it rekeys then); `None`: no limit.
    pub soft_bytes: Option<u64>,
    /// Past this many bytes either way the SA is not used any more.
    pub hard_bytes: Option<u64>,
}

/// The largest inner packet of a tunnel (section C: tunnel MTU 1400).
pub const TUNNEL_MTU: u16 = 1400;
/// What TCP's MSS option is clamped to (section C).
pub const TCP_MSS: u16 = 1350;
/// How long an inbound SA that was replaced still takes packets that are on their way.
pub const LINGER: Duration = Duration::from_secs(5);

impl TrafficSelector {
    /// Any protocol and port of a prefix.
    pub fn prefix(prefix: IpNet) -> Self {
        Self {
            protocol: 0,
            ports: (0, u16::MAX),
            addresses: (prefix.network(), prefix.broadcast()),
        }
    }
}
