//! What all SAs of an endpoint share.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    EndpointCounters, EndpointOptions, Event, Random, Transmit,
    established::{Ending, Established},
};
use crate::sa::{Spi, TunnelId};

/// UDP port of IKE, and of IKE and ESP together behind NATs (RFC 7296, 2.23).
pub(super) const IKE_PORT: u16 = 500;
pub(super) const NAT_PORT: u16 = 4500;
/// Tells IKE from ESP on port 4500 (RFC 3948, 2.2).
pub(super) const NON_ESP_MARKER: [u8; 4] = [0; 4];
const KEEPALIVE: u8 = 0xff;
/// RFC 4303, 2.1: the first 256 are reserved.
const FIRST_SPI: u32 = 256;

/// What the handling of one SA asks of the endpoint, which knows the others.
#[derive(Debug)]
pub(super) enum Effect {
    /// A rekeyed IKE SA stands beside the one that made it.
    Spawn(Box<Established>),
    /// The peer's rekey lost against ours.
    Redundant { key: u64 },
    /// The children of one IKE SA belong to another from now on.
    Adopt { from: u64, to: u64 },
    /// A peer that has no SA was turned away.
    Refused { tunnel: TunnelId, reason: String },
    /// The IKE SA is no more.
    End { key: u64, ending: Ending },
}

/// What all SAs of an endpoint share.
pub(super) struct Context {
    pub(super) options: EndpointOptions,
    random: Box<dyn Random>,
    pub(super) events: VecDeque<Event>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) effects: VecDeque<Effect>,
    pub(super) counters: EndpointCounters,
    /// Tunnels with a pair of SAs.
    pub(super) connected: BTreeSet<TunnelId>,
    /// Of our inbound ESP SAs and IKE SAs.
    child_spis: BTreeSet<Spi>,
    ike_spis: BTreeSet<u64>,
}

impl Context {
    pub(super) fn new(options: EndpointOptions, random: Box<dyn Random>) -> Self {
        Self {
            options,
            random,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            effects: VecDeque::new(),
            counters: EndpointCounters::default(),
            connected: BTreeSet::new(),
            child_spis: BTreeSet::new(),
            ike_spis: BTreeSet::new(),
        }
    }

    pub(super) fn random(&mut self) -> &mut dyn Random {
        self.random.as_mut()
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// At least half of any PRF's key (RFC 7296, 2.10).
    pub(super) fn nonce(&mut self) -> Vec<u8> {
        self.bytes::<32>().to_vec()
    }

    /// Evenly from 0 to `most`.
    pub(super) fn jitter(&mut self, most: Duration) -> Duration {
        let part = u32::from_be_bytes(self.bytes());
        most.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }

    pub(super) fn new_child_spi(&mut self) -> Spi {
        loop {
            let spi = Spi(u32::from_be_bytes(self.bytes()));
            if spi.0 >= FIRST_SPI && self.child_spis.insert(spi) {
                return spi;
            }
        }
    }

    pub(super) fn release_child_spi(&mut self, spi: Spi) {
        self.child_spis.remove(&spi);
    }

    pub(super) fn new_ike_spi(&mut self) -> u64 {
        loop {
            let spi = u64::from_be_bytes(self.bytes());
            if spi != 0 && self.ike_spis.insert(spi) {
                return spi;
            }
        }
    }

    pub(super) fn release_ike_spi(&mut self, spi: u64) {
        self.ike_spis.remove(&spi);
    }

    /// Sends an IKE message, with the marker where it belongs.
    pub(super) fn send(&mut self, path: Path, message: &[u8]) {
        let marker: &[u8] = if path.floated() { &NON_ESP_MARKER } else { &[] };
        let mut data = Vec::with_capacity(marker.len() + message.len());
        data.extend_from_slice(marker);
        data.extend_from_slice(message);
        self.transmits.push_back(Transmit {
            local: path.local,
            remote: path.remote,
            data,
        });
    }

    pub(super) fn send_keepalive(&mut self, path: Path) {
        self.transmits.push_back(Transmit {
            local: path.local,
            remote: path.remote,
            data: vec![KEEPALIVE],
        });
    }
}

/// Between which addresses and ports an SA's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Path {
    /// On the port that messages share with ESP.
    pub(super) fn floated(self) -> bool {
        self.local.port() != IKE_PORT
    }

    /// As an initiator does once it knows of a NAT (RFC 7296, 2.23).
    pub(super) fn float(&mut self) {
        self.local.set_port(NAT_PORT);
        self.remote.set_port(NAT_PORT);
    }
}

/// The earlier one of two deadlines that may not be.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
