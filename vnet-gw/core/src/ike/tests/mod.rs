//! Two endpoints and a wire between them, on a clock of its own.

mod collisions;
mod establish;
mod failures;
mod hostile;
mod lifecycle;
mod paths;
mod rekeys;
mod unruly;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ConnectionMode, EncapsulationChoice, Endpoint, EndpointOptions, EspProposal, Event, Group,
    Identity, IkeCipher, IkeProposal, IkeSaStatus, Lifetimes, Prf, Random, Report, Transmit,
    TunnelConfig, TunnelState,
};
use crate::{
    sa::{ChildSa, Encapsulation, EspSuite, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

const A: usize = 0;
const B: usize = 1;
const LATENCY: Duration = Duration::from_millis(10);
const TUNNEL: TunnelId = TunnelId(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A generator that is good enough for tests (SplitMix64).
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z ^ (z >> 31)) as u8;
        }
    }
}

/// What the shell and the crypto worker of one side hold.
struct Side {
    endpoint: Endpoint,
    pairs: BTreeMap<Spi, ChildSa>,
    /// Our SPI of the pair that is sent on.
    sending: Option<Spi>,
    lingering: BTreeSet<Spi>,
    /// Not sent on before something comes in.
    waiting: BTreeSet<Spi>,
    state: TunnelState,
    reason: String,
    usable: bool,
    /// All that ever happened.
    states: Vec<(TunnelState, String)>,
    ups: usize,
    moved: Vec<Encapsulation>,
}

impl Side {
    fn apply(&mut self, event: Event) {
        match event {
            Event::ChildUp(child) => {
                self.ups += 1;
                let spi = child.inbound.spi;
                assert!(spi.0 > 255, "a reserved SPI");
                assert!(!self.pairs.contains_key(&spi), "an SPI is given twice");
                if child.send_at_once {
                    self.sending = Some(spi);
                } else {
                    self.waiting.insert(spi);
                }
                self.pairs.insert(spi, *child);
            }
            Event::ChildReady { inbound, .. } => {
                assert!(self.pairs.contains_key(&inbound), "ready, but not there");
                self.waiting.remove(&inbound);
                self.sending = Some(inbound);
            }
            Event::ChildDown { inbound, .. } => {
                assert!(self.pairs.remove(&inbound).is_some(), "down, but not there");
                self.lingering.insert(inbound);
                if self.sending == Some(inbound) {
                    self.sending = None;
                }
            }
            Event::PeerMoved { encapsulation, .. } => {
                for child in self.pairs.values_mut() {
                    child.encapsulation = encapsulation;
                }
                self.moved.push(encapsulation);
            }
            Event::State { state, reason, .. } => {
                self.state = state;
                self.reason.clone_from(&reason.0);
                self.states.push((state, reason.0));
            }
            Event::Path { usable, .. } => self.usable = usable,
        }
    }

    /// The pair that is sent on.
    fn sending(&self) -> &ChildSa {
        &self.pairs[&self.sending.unwrap()]
    }
}

/// What is decided about a datagram on the wire, at the sender's side.
type Filter = Box<dyn FnMut(usize, &Transmit) -> bool>;

struct Net {
    now: Instant,
    sides: [Side; 2],
    /// By arrival and order: to whom, and what.
    wire: BTreeMap<(Instant, u64), (usize, Transmit)>,
    sent: u64,
    /// Datagrams for which it says false are lost.
    filter: Filter,
    /// The address that side A's datagrams seem to come from, and its ports' offset: a NAT.
    nat: Option<(IpAddr, u16)>,
    log: Vec<(usize, Transmit)>,
    /// ESP packets that came by a pair that was not there.
    lost: Vec<(usize, Spi)>,
}

impl Net {
    fn new() -> Self {
        Self::with(EndpointOptions::default())
    }

    fn with(options: EndpointOptions) -> Self {
        Self::seeded(options, 1)
    }

    fn seeded(options: EndpointOptions, seed: u64) -> Self {
        let start = Instant::now();
        let side = |seed| Side {
            endpoint: Endpoint::new(options.clone(), Box::new(Seeded(seed))),
            pairs: BTreeMap::new(),
            sending: None,
            lingering: BTreeSet::new(),
            waiting: BTreeSet::new(),
            state: TunnelState::Unknown,
            reason: String::new(),
            usable: true,
            states: Vec::new(),
            ups: 0,
            moved: Vec::new(),
        };
        Self {
            now: start,
            sides: [side(2 * seed), side(2 * seed + 1)],
            wire: BTreeMap::new(),
            sent: 0,
            filter: Box::new(|_, _| true),
            nat: None,
            log: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Both ends of one tunnel; A initiates.
    fn pair(change: impl Fn(usize, &mut TunnelConfig)) -> Self {
        let mut net = Self::new();
        net.configure_both(change);
        net
    }

    fn configure_both(&mut self, change: impl Fn(usize, &mut TunnelConfig)) {
        for side in [B, A] {
            self.configure(side, |config| change(side, config));
        }
    }

    fn configure(&mut self, side: usize, change: impl FnOnce(&mut TunnelConfig)) {
        let mut config = config(side);
        change(&mut config);
        self.sides[side].endpoint.configure(self.now, vec![config]);
        self.flush(side);
    }

    fn flush(&mut self, side: usize) {
        while let Some(event) = self.sides[side].endpoint.poll_event() {
            self.sides[side].apply(event);
        }
        while let Some(mut transmit) = self.sides[side].endpoint.poll_transmit() {
            self.log.push((side, transmit.clone()));
            if !(self.filter)(side, &transmit) {
                continue;
            }
            if let Some((address, offset)) = self.nat {
                if side == A {
                    let port = transmit.local.port() + offset;
                    transmit.local = SocketAddr::new(address, port);
                } else if transmit.remote.ip() == address
                    && let Some(port) = transmit.remote.port().checked_sub(offset)
                    && [500, 4500].contains(&port)
                {
                    transmit.remote = SocketAddr::new(ip("192.0.2.1"), port);
                } else {
                    continue;
                }
            }
            self.sent += 1;
            self.wire
                .insert((self.now + LATENCY, self.sent), (1 - side, transmit));
        }
    }

    /// Hands a datagram over as it comes from the wire.
    fn deliver(&mut self, side: usize, transmit: &Transmit) {
        let data = if transmit.local.port() == 500 || transmit.remote.port() == 500 {
            Some(transmit.data.as_slice())
        } else {
            transmit.data.strip_prefix(&[0; 4])
        };
        if data.is_none() && transmit.data.len() == 4 {
            self.receive_esp(side, &transmit.data);
        }
        if let Some(data) = data {
            let (local, remote) = (transmit.remote, transmit.local);
            self.sides[side]
                .endpoint
                .handle_datagram(self.now, local, remote, data);
            self.flush(side);
        }
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut idle = 0;
        loop {
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
            let timeouts = self.sides.iter().map(|side| side.endpoint.poll_timeout());
            let Some(next) = timeouts.chain([arrival]).flatten().min() else {
                break;
            };
            if next > until {
                break;
            }
            assert!(next >= self.now || arrival != Some(next), "time goes on");
            // Over and over without a word on the wire: what is due is not acted on.
            let soon = arrival.is_none() && next <= self.now + Duration::from_millis(1);
            idle = if soon { idle + 1 } else { 0 };
            assert!(idle < 50, "a timer stays due");
            self.now = self.now.max(next);
            if arrival == Some(next) {
                if let Some((_, (side, transmit))) = self.wire.pop_first() {
                    self.deliver(side, &transmit);
                }
                continue;
            }
            for side in [A, B] {
                self.sides[side].endpoint.handle_timeout(self.now);
                self.flush(side);
            }
        }
        self.now = until;
    }

    fn report(&mut self, side: usize, change: impl FnOnce(&mut Report)) {
        let mut report = Report {
            tunnel: TUNNEL,
            received: false,
            sent: false,
            rekey: None,
            moved_to: None,
        };
        change(&mut report);
        self.sides[side].endpoint.handle_report(self.now, &report);
        self.flush(side);
    }

    fn status(&self, side: usize) -> Vec<IkeSaStatus> {
        self.sides[side].endpoint.status(self.now)
    }

    /// One IKE SA, one pair, the same on both sides.
    #[track_caller]
    fn assert_agreed(&self) {
        let [a, b] = [A, B].map(|side| self.status(side));
        assert_eq!(a.len(), 1, "IKE SAs of A: {a:#?}");
        assert_eq!(b.len(), 1, "IKE SAs of B: {b:#?}");
        let spis = |status: &IkeSaStatus| (status.initiator_spi, status.responder_spi);
        assert_eq!(spis(&a[0]), spis(&b[0]));
        assert_ne!(a[0].initiator, b[0].initiator);
        for side in &self.sides {
            assert_eq!(side.state, TunnelState::Connected, "{}", side.reason);
            assert_eq!(side.pairs.len(), 1, "{:#?}", side.pairs);
        }
        let (a, b) = (self.sides[A].sending(), self.sides[B].sending());
        for (out, into) in [(&a.outbound, &b.inbound), (&b.outbound, &a.inbound)] {
            assert_eq!(out.spi, into.spi);
            assert_eq!(out.suite, into.suite);
            assert_eq!(out.esn, into.esn);
            assert_eq!(out.keys, into.keys);
            assert!(!out.keys.is_empty());
        }
        assert_ne!(a.inbound.keys, a.outbound.keys);
        assert_eq!(a.local_selectors, b.remote_selectors);
        assert_eq!(a.remote_selectors, b.local_selectors);
    }

    /// As [`Self::run`], with traffic both ways all the time, none of which is lost.
    #[track_caller]
    fn run_with_traffic(&mut self, duration: Duration) {
        let step = Duration::from_millis(2);
        let until = self.now + duration;
        while self.now < until {
            for side in [A, B] {
                self.esp(side);
            }
            self.run(step);
            assert!(
                self.lost.is_empty(),
                "sent on and not taken: {:?}",
                self.lost
            );
        }
    }

    /// A packet on the pair that a side sends on.
    fn esp(&mut self, side: usize) {
        let Some(sending) = self.sides[side].sending else {
            return;
        };
        let pair = &self.sides[side].pairs[&sending];
        let Encapsulation::Udp { local, remote } = pair.encapsulation else {
            return;
        };
        let data = pair.outbound.spi.0.to_be_bytes().to_vec();
        self.sent += 1;
        let transmit = Transmit {
            local,
            remote,
            data,
        };
        self.wire
            .insert((self.now + LATENCY, self.sent), (1 - side, transmit));
    }

    fn receive_esp(&mut self, side: usize, data: &[u8]) {
        let spi = Spi(u32::from_be_bytes(data.try_into().unwrap()));
        let receiver = &mut self.sides[side];
        if receiver.pairs.contains_key(&spi) {
            // The first packet shows that the peer has the pair.
            if receiver.waiting.remove(&spi) {
                receiver.sending = Some(spi);
            }
        } else if !receiver.lingering.contains(&spi) {
            self.lost.push((side, spi));
        }
    }
}

fn any() -> Vec<TrafficSelector> {
    ["0.0.0.0/0", "::/0"]
        .map(|prefix| TrafficSelector::prefix(prefix.parse().unwrap()))
        .to_vec()
}

fn suite(group: Group) -> IkeProposal {
    IkeProposal {
        cipher: IkeCipher::Aes256Gcm,
        prf: Prf::HmacSha2_384,
        group,
    }
}

fn esp(pfs: Option<Group>) -> EspProposal {
    EspProposal {
        suite: EspSuite::Aes256Gcm,
        pfs,
    }
}

/// A side of the tunnel. A asks and B answers, unless a test has it otherwise.
fn config(side: usize) -> TunnelConfig {
    let addresses = [ip("192.0.2.1"), ip("198.51.100.1")];
    let (local, remote) = (addresses[side], addresses[1 - side]);
    TunnelConfig {
        id: TUNNEL,
        name: Arc::from(if side == A { "a-to-b" } else { "b-to-a" }),
        local,
        remote,
        local_id: Identity::Ip(local),
        remote_ids: vec![Identity::Ip(remote)],
        key: Secret::new(*b"made-up-key-of-a-test"),
        mode: if side == A {
            ConnectionMode::Default
        } else {
            ConnectionMode::ResponderOnly
        },
        ike: vec![suite(Group::Curve25519)],
        esp: vec![esp(None)],
        local_selectors: any(),
        remote_selectors: any(),
        lifetimes: Lifetimes {
            ike: seconds(28_800),
            child: seconds(27_000),
            child_bytes: None,
        },
        dpd: seconds(45),
        encapsulation: EncapsulationChoice::Udp,
        post_quantum: false,
        generation: 0,
    }
}
