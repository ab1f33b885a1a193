//! The network between the hosts: it loses, repeats, delays and reorders, drops what is too big,
//! translates addresses, and owns time in that nothing arrives but by its schedule.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::rng::Rng;

/// UDP and IPv4 around a payload, or IPv6 instead.
const HEADERS4: usize = 28;
const HEADERS6: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    /// Bare protocol 50; ports are 0.
    Esp,
}

#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) data: Vec<u8>,
}

/// What becomes of datagrams on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// In percent.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// Each datagram draws its own, in milliseconds: reordering comes of itself.
    pub(crate) delay: (u64, u64),
}

impl Weather {
    /// Nothing is lost or repeated.
    pub(crate) fn is_faithful(&self) -> bool {
        self.loss == 0 && self.duplicates == 0
    }
}

/// A translator in front of the first host: every inner address and port gets an outer port, which
/// any peer may use until it times out.
#[derive(Debug)]
struct Nat {
    inside: BTreeSet<IpAddr>,
    outside: IpAddr,
    idle: Duration,
    by_inner: BTreeMap<SocketAddr, u16>,
    by_port: BTreeMap<u16, (SocketAddr, Instant)>,
    next: u16,
}

impl Nat {
    fn outbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool {
        if datagram.transport == Transport::Esp {
            return false;
        }
        let alive = self.by_inner.get(&datagram.from).copied().filter(|port| {
            let last = self.by_port.get(port).map(|&(_, last)| last);
            last.is_some_and(|last| now.saturating_duration_since(last) < self.idle)
        });
        let port = alive.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.by_inner.insert(datagram.from, port);
        self.by_port.insert(port, (datagram.from, now));
        datagram.from = SocketAddr::new(self.outside, port);
        true
    }

    fn inbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool {
        let Some((inner, last)) = self.by_port.get(&datagram.to.port()).copied() else {
            return false;
        };
        let current = self.by_inner.get(&inner) == Some(&datagram.to.port());
        if !current || now.saturating_duration_since(last) >= self.idle {
            return false;
        }
        datagram.to = inner;
        true
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    rng: Rng,
    pub(crate) weather: Weather,
    /// Of IP packets; what is larger vanishes.
    mtu: usize,
    nat: Option<Nat>,
    /// Addresses that no host has at the moment.
    pub(crate) absent: BTreeSet<IpAddr>,
    pub(crate) partitioned: bool,
    /// By arrival, then by when it was sent.
    wire: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
    /// Since it was last asked: what did not arrive.
    pub(crate) dropped: u64,
    /// Everything that anybody sent, for whoever wants to see it again.
    pub(crate) largest: usize,
}

impl Network {
    pub(crate) fn new(rng: Rng, weather: Weather, mtu: usize) -> Self {
        Self {
            rng,
            weather,
            mtu,
            nat: None,
            absent: BTreeSet::new(),
            partitioned: false,
            wire: BTreeMap::new(),
            sent: 0,
            dropped: 0,
            largest: 0,
        }
    }

    pub(crate) fn translate(&mut self, inside: BTreeSet<IpAddr>, outside: IpAddr, idle: Duration) {
        self.nat = Some(Nat {
            inside,
            outside,
            idle,
            by_inner: BTreeMap::new(),
            by_port: BTreeMap::new(),
            next: 20_000,
        });
    }

    /// The translator forgets everything.
    pub(crate) fn rebind(&mut self) {
        if let Some(nat) = &mut self.nat {
            nat.by_inner.clear();
            nat.by_port.clear();
        }
    }

    pub(crate) fn send(&mut self, now: Instant, mut datagram: Datagram) {
        let headers = if datagram.from.is_ipv4() {
            HEADERS4
        } else {
            HEADERS6
        };
        self.largest = self.largest.max(datagram.data.len() + headers);
        let Weather {
            loss, duplicates, ..
        } = self.weather;
        let lost = self.absent.contains(&datagram.from.ip())
            || self.partitioned
            || datagram.data.len() + headers > self.mtu
            || self.rng.percent(loss);
        let translated = match &mut self.nat {
            Some(nat) if !lost && nat.inside.contains(&datagram.from.ip()) => {
                nat.outbound(now, &mut datagram)
            }
            _ => true,
        };
        if lost || !translated {
            self.dropped += 1;
            return;
        }
        if self.rng.percent(duplicates) {
            self.carry(now, datagram.clone());
        }
        self.carry(now, datagram);
    }

    fn carry(&mut self, now: Instant, datagram: Datagram) {
        let (least, most) = self.weather.delay;
        let at = now + self.rng.millis(least, most);
        self.sent += 1;
        self.wire.insert((at, self.sent), datagram);
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.wire.first_key_value().map(|(&(at, _), _)| at)
    }

    /// What arrives now, if it finds its way in.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Datagram> {
        let (_, mut datagram) = self.wire.pop_first()?;
        let translated = match &mut self.nat {
            Some(nat) if nat.outside == datagram.to.ip() => nat.inbound(now, &mut datagram),
            _ => true,
        };
        if !translated || self.absent.contains(&datagram.to.ip()) {
            self.dropped += 1;
            return None;
        }
        Some(datagram)
    }
}
