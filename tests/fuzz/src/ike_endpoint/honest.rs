//! Two honest endpoints, their clocks, and the messages between them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use vnet_gw_core::{
    ike::{
        ConnectionMode, EncapsulationChoice, Endpoint, EndpointOptions, EspProposal, Event, Group,
        Identity, IkeCipher, IkeIntegrity, IkeProposal, Lifetimes, Prf, Random, Transmit,
        TunnelConfig, TunnelState,
    },
    sa::{ChildSa, EspSuite, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

/// Ports of IKE.
const IKE: u16 = 500;
const NAT_T: u16 = 4500;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Honest {
    A,
    B,
}

struct Peer {
    endpoint: Endpoint,
    /// By our SPI.
    children: BTreeMap<Spi, ChildSa>,
    state: TunnelState,
    reason: String,
}

pub(super) struct World {
    now: Instant,
    a: Peer,
    b: Peer,
    network: VecDeque<Transmit>,
}

fn address(honest: Honest) -> IpAddr {
    match honest {
        Honest::A => [192, 0, 2, 1].into(),
        Honest::B => [192, 0, 2, 2].into(),
    }
}

impl World {
    /// `how` chooses modes and algorithms.
    pub(super) fn new(how: u8) -> Self {
        let now = Instant::now();
        let peer = |honest, other, mode| {
            let options = EndpointOptions::default();
            let random = Seeded(if honest == Honest::A {
                0xa5a5
            } else {
                0x5a5a_0000
            });
            let mut endpoint = Endpoint::new(options, Box::new(random));
            endpoint.configure(now, vec![tunnel(honest, other, mode, how)]);
            Peer {
                endpoint,
                children: BTreeMap::new(),
                state: TunnelState::Unknown,
                reason: String::new(),
            }
        };
        // Both may begin, or one of them.
        let second = if how & 1 == 0 {
            ConnectionMode::ResponderOnly
        } else {
            ConnectionMode::Default
        };
        let mut world = Self {
            now,
            a: peer(Honest::A, Honest::B, ConnectionMode::Default),
            b: peer(Honest::B, Honest::A, second),
            network: VecDeque::new(),
        };
        world.collect(Honest::A);
        world.collect(Honest::B);
        world
    }

    fn peer(&mut self, honest: Honest) -> &mut Peer {
        match honest {
            Honest::A => &mut self.a,
            Honest::B => &mut self.b,
        }
    }

    pub(super) fn on_their_way(&self) -> &VecDeque<Transmit> {
        &self.network
    }

    pub(super) fn made_up(&self, to: Honest, port: u16, on_500: bool, data: Vec<u8>) -> Transmit {
        let from = if to == Honest::A {
            Honest::B
        } else {
            Honest::A
        };
        let local = if on_500 { IKE } else { NAT_T };
        Transmit {
            local: SocketAddr::new(address(from), port),
            remote: SocketAddr::new(address(to), local),
            data,
        }
    }

    /// Carries out what one of them wants done, and tells whether that touched a CHILD SA.
    fn collect(&mut self, honest: Honest) -> bool {
        let mut touched = false;
        let peer = self.peer(honest);
        let mut sent = Vec::new();
        while let Some(event) = peer.endpoint.poll_event() {
            match event {
                Event::ChildUp(child) => {
                    touched = true;
                    let again = peer.children.insert(child.inbound.spi, *child);
                    assert!(again.is_none(), "an SPI is used twice");
                }
                Event::ChildDown { inbound, .. } => {
                    touched = true;
                    let gone = peer.children.remove(&inbound);
                    assert!(gone.is_some(), "a CHILD SA ends that never was");
                }
                Event::ChildReady { inbound, .. } => {
                    touched = true;
                    assert!(peer.children.contains_key(&inbound));
                }
                Event::PeerMoved { .. } => touched = true,
                Event::State { state, reason, .. } => {
                    peer.state = state;
                    peer.reason = reason.0;
                }
                Event::Path { .. } => {}
            }
        }
        while let Some(transmit) = peer.endpoint.poll_transmit() {
            sent.push(transmit);
        }
        self.network.extend(sent);
        // A network that holds more than this has lost the rest.
        self.network.truncate(100);
        touched
    }

    fn arrive(&mut self, message: &Transmit) -> bool {
        let to = match message.remote.ip() {
            ip if ip == address(Honest::A) => Honest::A,
            ip if ip == address(Honest::B) => Honest::B,
            _ => return false,
        };
        let data = if message.remote.port() == NAT_T {
            match message.data.split_at_checked(4) {
                Some(([0, 0, 0, 0], data)) => data,
                // A keepalive, or ESP: none of IKE's business.
                _ => return false,
            }
        } else {
            &message.data
        };
        let now = self.now;
        let peer = self.peer(to);
        peer.endpoint
            .handle_datagram(now, message.remote, message.local, data);
        self.collect(to)
    }

    /// A message that its sender did not send now.
    pub(super) fn forge(&mut self, message: &Transmit) {
        let touched = self.arrive(message);
        assert!(!touched, "a forged message touched a CHILD SA");
    }

    /// The `index`-th message on its way arrives.
    pub(super) fn deliver(&mut self, index: usize, seen: &mut Vec<Transmit>) {
        let count = self.network.len().max(1);
        if let Some(message) = self.network.remove(index % count) {
            self.arrive(&message);
            seen.insert(0, message);
        }
    }

    pub(super) fn lose(&mut self, index: usize) {
        let count = self.network.len().max(1);
        self.network.remove(index % count);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        for honest in [Honest::A, Honest::B] {
            while let Some(due) = self
                .peer(honest)
                .endpoint
                .poll_timeout()
                .filter(|due| *due <= end)
            {
                let now = due.max(self.now);
                self.peer(honest).endpoint.handle_timeout(now);
                self.collect(honest);
                let next = self.peer(honest).endpoint.poll_timeout();
                assert!(
                    next.is_none_or(|next| next > now),
                    "a timer that was handled is due again"
                );
            }
        }
        self.now = end;
    }

    /// A quiet network for so long.
    pub(super) fn settle(&mut self, time: Duration, seen: &mut Vec<Transmit>) {
        let end = self.now + time;
        while self.now < end {
            let mut delivered = 0;
            while !self.network.is_empty() {
                self.deliver(0, seen);
                delivered += 1;
                assert!(delivered < 1_000, "they never stop talking");
            }
            let due = [Honest::A, Honest::B]
                .into_iter()
                .filter_map(|honest| self.peer(honest).endpoint.poll_timeout())
                .min();
            let next = due.unwrap_or(end).clamp(self.now, end);
            let step = (next - self.now).max(Duration::from_millis(1));
            self.advance(step);
        }
        while !self.network.is_empty() {
            self.deliver(0, seen);
        }
    }

    /// Both are connected and have the same CHILD SAs with the same keys.
    pub(super) fn agreed(&self) -> bool {
        let mirrored = |one: &Peer, other: &Peer| {
            one.children.values().all(|child| {
                other
                    .children
                    .get(&child.outbound.spi)
                    .is_some_and(|other| {
                        other.outbound.spi == child.inbound.spi
                            && other.outbound.keys == child.inbound.keys
                            && other.inbound.keys == child.outbound.keys
                            && other.inbound.suite == child.outbound.suite
                    })
            })
        };
        let connected =
            |peer: &Peer| peer.state == TunnelState::Connected && !peer.children.is_empty();
        connected(&self.a)
            && connected(&self.b)
            && mirrored(&self.a, &self.b)
            && mirrored(&self.b, &self.a)
    }

    pub(super) fn tell(&self) -> String {
        let one = |peer: &Peer| {
            let children: Vec<_> = peer
                .children
                .values()
                .map(|child| format!("{}/{}", child.inbound.spi, child.outbound.spi))
                .collect();
            format!("{:?} ({}) {children:?}", peer.state, peer.reason)
        };
        format!("A is {}, B is {}", one(&self.a), one(&self.b))
    }
}

fn tunnel(honest: Honest, other: Honest, mode: ConnectionMode, how: u8) -> TunnelConfig {
    let (cipher, prf, group) = match how >> 4 & 3 {
        0 => (IkeCipher::Aes256Gcm, Prf::HmacSha2_384, Group::Curve25519),
        1 => (
            IkeCipher::ChaCha20Poly1305,
            Prf::HmacSha2_256,
            Group::Ecp256,
        ),
        _ => {
            let integrity = IkeIntegrity::HmacSha2_256_128;
            let cipher = IkeCipher::AesCbc {
                key_bits: 256,
                integrity,
            };
            (cipher, Prf::HmacSha2_256, Group::Curve25519)
        }
    };
    // Short ones, so that rekeys are attacked, too, and some that run out before one is done.
    let (ike, child) = match how & 0x48 {
        0x08 => (500, 300),
        0x48 => (40, 25),
        _ => (28_800, 27_000),
    };
    let (ike, child) = (Duration::from_secs(ike), Duration::from_secs(child));
    let any = |prefix: &str| {
        let prefix: ipnet::IpNet = prefix.parse().expect("it is a prefix");
        vec![TrafficSelector::prefix(prefix)]
    };
    let (local, remote) = match honest {
        Honest::A => ("10.1.0.0/16", "10.2.0.0/16"),
        Honest::B => ("10.2.0.0/16", "10.1.0.0/16"),
    };
    TunnelConfig {
        id: TunnelId(1),
        name: "fuzzed".into(),
        local: address(honest),
        remote: address(other),
        local_id: Identity::Ip(address(honest)),
        remote_ids: vec![Identity::Ip(address(other))],
        key: Secret::new(*b"made-up"),
        mode,
        ike: vec![IkeProposal { cipher, prf, group }],
        esp: vec![EspProposal {
            suite: EspSuite::Aes256Gcm,
            pfs: (how & 2 == 2).then_some(Group::Curve25519),
        }],
        local_selectors: any(local),
        remote_selectors: any(remote),
        lifetimes: Lifetimes {
            ike,
            child,
            child_bytes: None,
        },
        dpd: Duration::from_secs(20),
        encapsulation: EncapsulationChoice::Udp,
        post_quantum: how & 4 == 4,
        generation: 0,
    }
}

/// SPIs, nonces and jitter, the same in every run.
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0.to_be_bytes()[0];
        }
    }
}
