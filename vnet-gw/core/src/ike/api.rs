//! What goes into the endpoint and what comes out of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    sa::{ChildSa, EspSuite, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

/// Where randomness comes from: the system's in the daemon, a seeded one in the simulator.
/// Ephemeral keys are not made from it: they come from the cryptographic library itself.
pub trait Random: Send {
    fn fill(&mut self, bytes: &mut [u8]);
}

/// A tunnel as the configuration wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelConfig {
    pub id: TunnelId,
    /// For log lines and `ike-sas`: `VNet1-to-VNet4 203.0.113.1 → 203.0.113.9`.
    pub name: Arc<str>,
    pub local: IpAddr,
    pub remote: IpAddr,
    pub local_id: Identity,
    /// Any identity the peer may show; empty: whatever it says, since the key proves who it is.
    pub remote_ids: Vec<Identity>,
    pub key: Secret,
    pub mode: ConnectionMode,
    /// Proposals in the order of preference.
    pub ike: Vec<IkeProposal>,
    pub esp: Vec<EspProposal>,
    /// Proposed as initiator and the outer bounds as responder.
    pub local_selectors: Vec<TrafficSelector>,
    pub remote_selectors: Vec<TrafficSelector>,
    pub lifetimes: Lifetimes,
    /// Quiet for that long with nothing sent by the peer: a liveness check (`dpdTimeoutSeconds`).
    pub dpd: Duration,
    pub encapsulation: EncapsulationChoice,
    /// Offer ML-KEM-768 as an additional key exchange (RFC 9370).
    pub post_quantum: bool,
    /// Raised when the administrator asks for a reset: the tunnel is torn down and made anew.
    pub generation: u32,
}

/// `connectionMode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionMode {
    #[default]
    Default,
    InitiatorOnly,
    ResponderOnly,
}

/// How ESP is to travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncapsulationChoice {
    /// Always in UDP, by showing the peer a NAT (RFC 7296, 2.23): what the `gso` engine is quick with.
    #[default]
    Udp,
    /// In UDP where there is a NAT, bare protocol 50 otherwise.
    ByNat,
}

/// RFC 7296, 3.5.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    Ip(IpAddr),
    Fqdn(String),
    KeyId(Vec<u8>),
    /// A type that we never send (RFC 822 address, distinguished name, …), as it came.
    Other {
        kind: u8,
        data: Vec<u8>,
    },
}

/// Of IKE SAs and CHILD SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub ike: Duration,
    pub child: Duration,
    /// Bytes either way after which a CHILD SA should have been replaced; `None`: no limit.
    pub child_bytes: Option<u64>,
}

/// Encryption of IKE messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeCipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    /// 128, 192 or 256.
    AesCbc {
        key_bits: u16,
        integrity: IkeIntegrity,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeIntegrity {
    HmacSha1_96,
    HmacSha2_256_128,
    HmacSha2_384_192,
    HmacSha2_512_256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prf {
    HmacSha1,
    HmacSha2_256,
    HmacSha2_384,
    HmacSha2_512,
}

/// Key exchange methods, with their transform ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Group {
    Modp1024 = 2,
    Modp2048 = 14,
    Ecp256 = 19,
    Ecp384 = 20,
    Curve25519 = 31,
}

/// One suite for the IKE SA: what is proposed, and what was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeProposal {
    pub cipher: IkeCipher,
    pub prf: Prf,
    pub group: Group,
}

/// One suite for CHILD SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EspProposal {
    pub suite: EspSuite,
    /// Perfect forward secrecy; `None`: keys from the IKE SA's alone.
    pub pfs: Option<Group>,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Port 500 or 4500.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// On port 4500 with the four zero bytes of the non-ESP marker in front; a keepalive is one
    /// byte of 0xff.
    pub data: Vec<u8>,
}

/// What the shell must do or may tell.
#[derive(Debug)]
pub enum Event {
    /// A new pair of SAs. Carried out before the next transmit.
    ChildUp(Box<ChildSa>),
    /// Send on this pair, named by our SPI, from now on.
    ChildReady { tunnel: TunnelId, inbound: Spi },
    /// The pair goes: nothing is sent on it any more; what comes in on it is still taken for
    /// `linger`.
    ChildDown {
        tunnel: TunnelId,
        inbound: Spi,
        linger: Duration,
    },
    /// The peer's address or port changed behind a NAT.
    PeerMoved {
        tunnel: TunnelId,
        encapsulation: crate::sa::Encapsulation,
    },
    /// `connectionStatus` of the tunnel changed, or its reason did.
    State {
        tunnel: TunnelId,
        state: TunnelState,
        reason: Reason,
    },
    /// The path does not answer (or does again): traffic moves to other tunnels of the connection while IKE
    /// goes on trying.
    Path { tunnel: TunnelId, usable: bool },
}

/// `connectionStatus` of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TunnelState {
    #[default]
    Unknown,
    Connecting,
    Connected,
    NotConnected,
}

/// Why a tunnel is in its state, in words that help. Never a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub String);

/// What the crypto worker saw, told from time to time (a few times a second).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub tunnel: TunnelId,
    /// Since the last report: whether packets that proved true came in, and whether any went out.
    pub received: bool,
    pub sent: bool,
    /// A pair that needs a successor: its byte limit or its sequence numbers run out.
    pub rekey: Option<Spi>,
    /// Where a true packet came from that is not where we send to (a NAT changed its mapping).
    pub moved_to: Option<SocketAddr>,
}

/// For `ike-sas`; never keys.
#[derive(Clone, Debug, PartialEq)]
pub struct IkeSaStatus {
    pub tunnel: TunnelId,
    pub name: Arc<str>,
    pub state: TunnelState,
    pub reason: Reason,
    pub initiator: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub initiator_spi: u64,
    pub responder_spi: u64,
    pub proposal: Option<IkeProposal>,
    /// ML-KEM-768 was used, too.
    pub post_quantum: bool,
    pub peer_identity: Option<Identity>,
    pub nat_local: bool,
    pub nat_remote: bool,
    /// Until the IKE SA is rekeyed.
    pub rekey_in: Option<Duration>,
    pub established_for: Option<Duration>,
    pub children: Vec<ChildStatus>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ChildStatus {
    pub inbound: Spi,
    pub outbound: Spi,
    pub proposal: EspProposal,
    pub esn: bool,
    pub encapsulation: crate::sa::Encapsulation,
    pub local_selectors: Vec<TrafficSelector>,
    pub remote_selectors: Vec<TrafficSelector>,
    pub rekey_in: Duration,
}

/// Counters of what was refused; a flood shows here and nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounters {
    pub received: u64,
    pub malformed: u64,
    pub unknown_spi: u64,
    pub bad_integrity: u64,
    pub replayed: u64,
    pub cookies_asked: u64,
    pub rate_limited: u64,
    pub unknown_peer: u64,
    pub half_open: u64,
}
