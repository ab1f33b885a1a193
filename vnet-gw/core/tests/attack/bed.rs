//! Endpoints on a clock, whose messages are delivered at once and kept for an attacker.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use vnet_gw_core::{
    ike::{
        ConnectionMode, EncapsulationChoice, Endpoint, EndpointOptions, EspProposal, Event, Group,
        Identity, IkeCipher, IkeProposal, Lifetimes, Prf, Report, Transmit, TunnelConfig,
        TunnelState,
    },
    sa::{EspSuite, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

use crate::rng::Rng;

/// The gateway under attack; its peer; another one, that comes later.
pub(crate) const GATEWAY: usize = 0;
pub(crate) const PEER: usize = 1;
pub(crate) const LATE: usize = 2;

pub(crate) fn address(host: usize) -> IpAddr {
    IpAddr::from([203, 0, 113, host as u8 + 1])
}

pub(crate) struct Bed {
    pub(crate) now: Instant,
    pub(crate) endpoints: Vec<Endpoint>,
    /// What came out since it was last looked at.
    pub(crate) events: Vec<(usize, Event)>,
    pub(crate) log: Vec<Transmit>,
}

impl Bed {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let endpoint = |_| Endpoint::new(EndpointOptions::default(), Box::new(rng.fork()));
        Self {
            now: Instant::now(),
            endpoints: (0..3).map(endpoint).collect(),
            events: Vec::new(),
            log: Vec::new(),
        }
    }

    /// The gateway and its peer have a tunnel; the gateway waits for the late one, too.
    pub(crate) fn connected(seed: u64) -> Self {
        let mut bed = Self::new(seed);
        let (peer, late) = (tunnel(GATEWAY, PEER), tunnel(GATEWAY, LATE));
        bed.configure(GATEWAY, vec![peer, late]);
        bed.configure(PEER, vec![tunnel(PEER, GATEWAY)]);
        assert_eq!(bed.state(GATEWAY, PEER), TunnelState::Connected);
        assert_eq!(bed.state(PEER, PEER), TunnelState::Connected);
        bed.events.clear();
        bed
    }

    pub(crate) fn configure(&mut self, host: usize, tunnels: Vec<TunnelConfig>) {
        self.endpoints[host].configure(self.now, tunnels);
        self.settle(host);
    }

    pub(crate) fn state(&self, host: usize, tunnel: usize) -> TunnelState {
        let statuses = self.endpoints[host].status(self.now);
        let found = statuses.iter().find(|one| one.tunnel == id(tunnel));
        found.expect("a tunnel").state
    }

    /// Our SPI of the only pair of a tunnel.
    pub(crate) fn pair(&self, host: usize, tunnel: usize) -> (Spi, Spi) {
        let statuses = self.endpoints[host].status(self.now);
        let mut found = statuses.iter().filter(|one| one.tunnel == id(tunnel));
        let [child] = found.next().expect("an SA").children.as_slice() else {
            panic!("not one pair: {statuses:#?}");
        };
        assert!(found.next().is_none(), "two IKE SAs");
        (child.inbound, child.outbound)
    }

    /// Delivers what a host sent, and what is sent in turn.
    pub(crate) fn settle(&mut self, host: usize) {
        let mut waiting = vec![host];
        while let Some(host) = waiting.pop() {
            while let Some(event) = self.endpoints[host].poll_event() {
                self.events.push((host, event));
            }
            while let Some(transmit) = self.endpoints[host].poll_transmit() {
                let to = (0..self.endpoints.len()).find(|to| address(*to) == transmit.remote.ip());
                self.log.push(transmit.clone());
                if let Some(to) = to.filter(|to| *to != host) {
                    let (local, remote) = (transmit.remote, transmit.local);
                    self.inject(to, local, remote, message(&transmit));
                    waiting.push(to);
                }
            }
        }
    }

    /// A datagram, with whatever comes of it left in the endpoint.
    pub(crate) fn inject(
        &mut self,
        host: usize,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) {
        self.endpoints[host].handle_datagram(self.now, local, remote, data);
    }

    /// What an attack made an endpoint do: bytes sent to whomever, and events.
    pub(crate) fn drain(&mut self, host: usize) -> u64 {
        let mut bytes = 0;
        while let Some(event) = self.endpoints[host].poll_event() {
            self.events.push((host, event));
        }
        while let Some(transmit) = self.endpoints[host].poll_transmit() {
            bytes += transmit.data.len() as u64;
        }
        bytes
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        for host in 0..self.endpoints.len() {
            let due = self.endpoints[host].poll_timeout();
            if due.is_some_and(|due| due <= self.now) {
                self.endpoints[host].handle_timeout(self.now);
            }
            self.settle(host);
        }
    }

    /// A pair of a tunnel is replaced; both ends know the new one only.
    pub(crate) fn rekey(&mut self, host: usize, tunnel: usize) {
        let before = self.pair(host, tunnel);
        let report = Report {
            tunnel: id(tunnel),
            received: true,
            sent: true,
            rekey: Some(before.0),
            moved_to: None,
        };
        self.endpoints[host].handle_report(self.now, &report);
        self.settle(host);
        assert_ne!(self.pair(host, tunnel), before, "no rekey");
    }
}

/// Without the non-ESP marker.
pub(crate) fn message(transmit: &Transmit) -> &[u8] {
    transmit
        .data
        .strip_prefix(&[0; 4])
        .unwrap_or(&transmit.data)
}

/// A tunnel is named by the one that is not the gateway.
fn id(tunnel: usize) -> TunnelId {
    TunnelId(tunnel as u64)
}

pub(crate) fn tunnel(from: usize, to: usize) -> TunnelConfig {
    let any = ["0.0.0.0/0", "::/0"];
    let any = any.map(|prefix| TrafficSelector::prefix(prefix.parse().expect("a prefix")));
    TunnelConfig {
        id: id(from.max(to)),
        name: Arc::from(format!("{from} to {to}")),
        local: address(from),
        remote: address(to),
        local_id: Identity::Ip(address(from)),
        remote_ids: vec![Identity::Ip(address(to))],
        key: Secret::new(*b"made-up-key-of-a-test"),
        mode: if from == GATEWAY {
            ConnectionMode::ResponderOnly
        } else {
            ConnectionMode::Default
        },
        ike: vec![IkeProposal {
            cipher: IkeCipher::Aes256Gcm,
            prf: Prf::HmacSha2_256,
            group: Group::Curve25519,
        }],
        esp: vec![EspProposal {
            suite: EspSuite::Aes256Gcm,
            pfs: None,
        }],
        local_selectors: any.to_vec(),
        remote_selectors: any.to_vec(),
        lifetimes: Lifetimes {
            ike: Duration::from_secs(28_800),
            child: Duration::from_secs(27_000),
            child_bytes: None,
        },
        dpd: Duration::from_secs(45),
        encapsulation: EncapsulationChoice::Udp,
        post_quantum: true,
        generation: 0,
    }
}
