//! What the crypto worker does with the events of IKE, with the real ESP SAs and the same rules:
//! which pair is sent on, when a responder's is, and how long one that was replaced still listens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use vnet_gw_core::{
    esp::{InboundSa, OpenError, OutboundSa, spi_of},
    ike::{Event, Report, TunnelState},
    sa::{ChildSa, Encapsulation, Spi, TunnelId},
};

use crate::{
    ledger::Ledger,
    network::{Datagram, Transport},
};

/// Between two reports.
const REPORT: Duration = Duration::from_millis(200);
/// The bytes of an inner packet's payload: who sent it, on which tunnel, and which one it is.
const MARK: usize = 24;
const INNER: usize = 20 + 8 + MARK;

struct Outbound {
    inbound: Spi,
    sa: OutboundSa,
    ready: bool,
}

struct Inbound {
    tunnel: TunnelId,
    sa: InboundSa,
    confirms: bool,
    expires: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Tunnel {
    encapsulation: Option<Encapsulation>,
    /// The preferred one last.
    outbound: Vec<Outbound>,
    received: bool,
    sent: bool,
    moved_to: Option<SocketAddr>,
    pub(crate) state: TunnelState,
    pub(crate) reason: String,
    /// All that were ever told.
    pub(crate) reasons: BTreeSet<String>,
    pub(crate) unusable: bool,
    packets: u64,
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// From this host, as its that-many-th packet of the tunnel.
    Packet {
        tunnel: TunnelId,
        sender: u64,
        number: u64,
    },
    UnknownSpi(Spi),
    Refused(OpenError),
}

#[derive(Default)]
pub(crate) struct Worker {
    host: u64,
    pub(crate) tunnels: BTreeMap<TunnelId, Tunnel>,
    inbound: BTreeMap<Spi, Inbound>,
    reported: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(host: u64) -> Self {
        Self {
            host,
            ..Self::default()
        }
    }

    /// Carries an event out, holding it to what the API promises; returns its tunnel.
    pub(crate) fn apply(&mut self, now: Instant, event: Event, ledger: &mut Ledger) -> TunnelId {
        match event {
            Event::ChildUp(child) => {
                ledger.child(self.host, &child);
                self.install(&child);
                let pairs = self.tunnel(child.tunnel).outbound.len();
                ledger.tally.collisions += u64::from(pairs > 2);
                child.tunnel
            }
            Event::ChildReady { tunnel, inbound } => {
                assert!(
                    self.tunnel(tunnel).has(inbound),
                    "{inbound} is ready, but not there"
                );
                self.send_on(tunnel, inbound);
                tunnel
            }
            Event::ChildDown {
                tunnel,
                inbound,
                linger,
            } => {
                let pairs = &mut self.tunnel(tunnel).outbound;
                let before = pairs.len();
                pairs.retain(|pair| pair.inbound != inbound);
                assert_eq!(pairs.len() + 1, before, "{inbound} is down, but not there");
                if let Some(entry) = self.inbound.get_mut(&inbound) {
                    entry.confirms = false;
                    entry.expires = Some(now + linger);
                }
                tunnel
            }
            Event::PeerMoved {
                tunnel,
                encapsulation,
            } => {
                ledger.tally.moves += 1;
                let state = self.tunnel(tunnel);
                assert!(!state.outbound.is_empty(), "moved, but nothing is there");
                state.encapsulation = Some(encapsulation);
                tunnel
            }
            Event::State {
                tunnel,
                state,
                reason,
            } => {
                ledger.tally.connects += u64::from(state == TunnelState::Connected);
                let pairs = self.tunnel(tunnel);
                assert!(
                    (pairs.state, pairs.reason.as_str()) != (state, reason.0.as_str()),
                    "told twice: {state:?} {reason:?}"
                );
                assert!(!reason.0.is_empty() || state == TunnelState::Unknown);
                assert!(
                    state != TunnelState::Connected || !pairs.outbound.is_empty(),
                    "connected without a pair of SAs"
                );
                pairs.state = state;
                pairs.reasons.insert(reason.0.clone());
                pairs.reason = reason.0;
                tunnel
            }
            Event::Path { tunnel, usable } => {
                let state = self.tunnel(tunnel);
                assert_eq!(state.unusable, usable, "the path's state is told twice");
                state.unusable = !usable;
                tunnel
            }
        }
    }

    fn tunnel(&mut self, id: TunnelId) -> &mut Tunnel {
        self.tunnels.entry(id).or_default()
    }

    fn install(&mut self, child: &ChildSa) {
        let spi = child.inbound.spi;
        let pair = Outbound {
            inbound: spi,
            sa: OutboundSa::new(child).expect("keys of the right length"),
            ready: child.send_at_once,
        };
        let tunnel = self.tunnel(child.tunnel);
        tunnel.encapsulation = Some(child.encapsulation);
        if child.send_at_once {
            tunnel.outbound.push(pair);
        } else {
            tunnel.outbound.insert(0, pair);
        }
        let entry = Inbound {
            tunnel: child.tunnel,
            sa: InboundSa::new(child).expect("keys of the right length"),
            confirms: !child.send_at_once,
            expires: None,
        };
        self.inbound.insert(spi, entry);
    }

    fn send_on(&mut self, tunnel: TunnelId, inbound: Spi) {
        if let Some(entry) = self.inbound.get_mut(&inbound) {
            entry.confirms = false;
        }
        let pairs = &mut self.tunnel(tunnel).outbound;
        if let Some(at) = pairs.iter().position(|pair| pair.inbound == inbound) {
            let mut pair = pairs.remove(at);
            pair.ready = true;
            pairs.push(pair);
        }
    }

    /// The next packet of a tunnel to another host; `None` if there is nothing to send it on.
    pub(crate) fn seal(&mut self, id: TunnelId, to: u64) -> Option<Datagram> {
        let host = self.host;
        let tunnel = self.tunnels.get_mut(&id)?;
        let encapsulation = tunnel.encapsulation?;
        let mut pairs = tunnel.outbound.iter_mut().rev();
        let pair = pairs.find(|pair| pair.ready && !pair.sa.exhausted())?;
        tunnel.packets += 1;
        let inner = inner_packet(host, to, id, tunnel.packets);
        let offset = pair.sa.payload_offset();
        let mut slot = vec![0; pair.sa.sealed_len(INNER)];
        slot[offset..offset + INNER].copy_from_slice(&inner);
        let length = pair.sa.seal(&mut slot, INNER).ok()?;
        slot.truncate(length);
        tunnel.sent = true;
        let (from, to, transport) = match encapsulation {
            Encapsulation::Udp { local, remote } => (local, remote, Transport::Udp),
            Encapsulation::Esp { local, remote } => {
                let (local, remote) = (SocketAddr::new(local, 0), SocketAddr::new(remote, 0));
                (local, remote, Transport::Esp)
            }
        };
        Some(Datagram {
            from,
            to,
            transport,
            data: slot,
        })
    }

    /// Opens what came in and is no IKE message; the tunnel it belongs to if it begins to send on
    /// another pair for it.
    pub(crate) fn open(&mut self, now: Instant, datagram: &mut Datagram) -> Opened {
        let Some(spi) = spi_of(&datagram.data) else {
            return Opened::Refused(OpenError::Malformed);
        };
        self.inbound
            .retain(|_, entry| entry.expires.is_none_or(|expires| expires > now));
        let Some(entry) = self.inbound.get_mut(&spi) else {
            return Opened::UnknownSpi(spi);
        };
        let id = entry.tunnel;
        let inner = match entry.sa.open(&mut datagram.data) {
            Ok(inner) => inner,
            Err(error) => return Opened::Refused(error),
        };
        if std::mem::take(&mut entry.confirms) {
            self.send_on(id, spi);
        }
        let tunnel = self.tunnel(id);
        tunnel.received = true;
        if datagram.transport == Transport::Udp
            && let Some(Encapsulation::Udp { remote, .. }) = tunnel.encapsulation
        {
            tunnel.moved_to = (remote != datagram.from).then_some(datagram.from);
        }
        let number = |at: usize| {
            let bytes = datagram.data[inner.clone()][28 + at..][..8].try_into();
            u64::from_be_bytes(bytes.expect("eight bytes"))
        };
        assert_eq!(number(8), id.0, "a packet of another tunnel");
        Opened::Packet {
            tunnel: id,
            sender: number(0),
            number: number(16),
        }
    }

    /// When to report next, if there is anything to report.
    pub(crate) fn report_due(&self, now: Instant) -> Option<Instant> {
        let any = |tunnel: &Tunnel| tunnel.received || tunnel.sent || tunnel.moved_to.is_some();
        let at = self.reported.map_or(now, |last| last + REPORT);
        self.tunnels.values().any(any).then_some(at)
    }

    pub(crate) fn reports(&mut self, now: Instant) -> Vec<Report> {
        self.reported = Some(now);
        let mut reports = Vec::new();
        for (&id, tunnel) in &mut self.tunnels {
            let received = std::mem::take(&mut tunnel.received);
            let sent = std::mem::take(&mut tunnel.sent);
            let moved_to = tunnel.moved_to.take();
            if !received && !sent && moved_to.is_none() {
                continue;
            }
            let tired = tunnel.outbound.iter().find(|pair| {
                let inbound = self.inbound.get(&pair.inbound);
                pair.sa.wants_rekey() || inbound.is_some_and(|entry| entry.sa.wants_rekey())
            });
            reports.push(Report {
                tunnel: id,
                received,
                sent,
                rekey: tired.map(|pair| pair.inbound),
                moved_to,
            });
        }
        reports
    }

    /// Our SPI of the pair that is sent on, when it is the only one there is.
    pub(crate) fn only_pair(&self, id: TunnelId) -> Option<Spi> {
        match self.tunnels.get(&id)?.outbound.as_slice() {
            [only] if only.ready => Some(only.inbound),
            _ => None,
        }
    }

    /// Our SPI of the pair that is sent on.
    pub(crate) fn current(&self, id: TunnelId) -> Option<Spi> {
        Some(self.tunnels.get(&id)?.outbound.last()?.inbound)
    }

    /// Nothing can be sent.
    pub(crate) fn is_empty(&self, id: TunnelId) -> bool {
        let tunnel = self.tunnels.get(&id);
        tunnel.is_none_or(|tunnel| tunnel.outbound.is_empty())
    }
}

impl Tunnel {
    fn has(&self, inbound: Spi) -> bool {
        self.outbound.iter().any(|pair| pair.inbound == inbound)
    }
}

/// The address of a host's network.
pub(crate) fn inner_address(host: u64) -> Ipv4Addr {
    Ipv4Addr::new(10, u8::try_from(host + 1).unwrap_or(u8::MAX), 0, 1)
}

fn inner_packet(from: u64, to: u64, tunnel: TunnelId, number: u64) -> [u8; INNER] {
    let mut packet = [0; INNER];
    let length = u16::try_from(INNER).unwrap_or(u16::MAX).to_be_bytes();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length);
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&inner_address(from).octets());
    packet[16..20].copy_from_slice(&inner_address(to).octets());
    packet[20..24].copy_from_slice(&[0x10, 0, 0x20, 0]);
    packet[24..26].copy_from_slice(&(8 + MARK as u16).to_be_bytes());
    for (at, value) in [from, tunnel.0, number].into_iter().enumerate() {
        packet[28 + at * 8..][..8].copy_from_slice(&value.to_be_bytes());
    }
    packet
}
