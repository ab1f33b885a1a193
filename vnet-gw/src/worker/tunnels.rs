//! What the worker knows of its tunnels: SAs, paths, and which connection they belong to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use vnet_gw_core::{
    compile::{GATEWAY_ENDPOINT4, GATEWAY_ENDPOINT6},
    esp::{InboundSa, OutboundSa, Selectors},
    packet::Flow,
    sa::{ChildSa, Encapsulation, Spi, TunnelId},
};

use super::{
    counters::{Counters, TunnelCells},
    handle::Configuration,
    routes::{ConnectionNumber, Routes},
    spi_table::SpiTable,
};
use crate::io::{PathId, Underlay};

/// Index of a tunnel.
pub(super) type TunnelNumber = usize;

/// One tunnel.
pub(super) struct Tunnel {
    pub(super) id: TunnelId,
    pub(super) cells: Arc<TunnelCells>,
    /// `None`: the configuration does not know it (any more).
    pub(super) connection: Option<ConnectionNumber>,
    pub(super) usable: bool,
    pub(super) path: Option<TunnelPath>,
    /// What may be sent with, the preferred one last.
    pub(super) outbound: Vec<Outbound>,
    pub(super) seen: Seen,
}

/// Where a tunnel sends to.
#[derive(Clone, Copy, Debug)]
pub(super) struct TunnelPath {
    pub(super) encapsulation: Encapsulation,
    pub(super) id: PathId,
    /// Of the underlay.
    pub(super) mtu: u16,
}

/// Our half of a pair.
pub(super) struct Outbound {
    /// Names the pair.
    pub(super) inbound: Spi,
    pub(super) sa: OutboundSa,
    pub(super) selectors: Selectors,
    /// False for a responder's until the peer is known to have it.
    pub(super) ready: bool,
}

/// The peer's half.
pub(super) struct Inbound {
    pub(super) sa: InboundSa,
    pub(super) tunnel: TunnelNumber,
    /// The first true packet shows that the peer has the pair: we may send on it.
    pub(super) confirms: bool,
    /// Set once it was replaced.
    pub(super) expires: Option<Instant>,
}

/// Since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) received: bool,
    pub(super) sent: bool,
    pub(super) moved_to: Option<SocketAddr>,
    /// The path refused packets as too big: its MTU is to be asked for.
    pub(super) narrowed: bool,
}

/// Where a packet from the port goes.
pub(super) enum Choice {
    /// Into the tunnel, by its SA of that number.
    Tunnel(TunnelNumber, usize),
    /// Into the port again: it is for the gateway's own side.
    Back,
}

/// All of a gateway.
pub(super) struct Tunnels {
    counters: Arc<Counters>,
    by_id: BTreeMap<TunnelId, TunnelNumber>,
    /// Numbers are never used again while the worker lives: a gateway has few, and gets few new.
    pub(super) all: Vec<Tunnel>,
    pub(super) inbound: SpiTable<Inbound>,
    pub(super) routes: Routes,
    /// The gateway's own side.
    own: Routes,
    /// Tunnels of each connection.
    connections: Vec<Vec<TunnelNumber>>,
    /// Sources of ICMP errors.
    error4: IpAddr,
    error6: IpAddr,
}

impl Tunnels {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            counters,
            by_id: BTreeMap::new(),
            all: Vec::new(),
            inbound: SpiTable::default(),
            routes: Routes::default(),
            own: Routes::default(),
            connections: Vec::new(),
            error4: GATEWAY_ENDPOINT4.into(),
            error6: GATEWAY_ENDPOINT6.into(),
        }
    }

    /// Connections and prefixes as they are now. SAs stay: IKE takes them away.
    pub(super) fn configure(&mut self, configuration: &Configuration, underlay: &mut dyn Underlay) {
        for tunnel in &mut self.all {
            tunnel.connection = None;
        }
        self.connections.clear();
        for (number, connection) in (0..).zip(&configuration.connections) {
            let mut members = Vec::with_capacity(connection.tunnels.len());
            for config in &connection.tunnels {
                let tunnel = self.number(config.id);
                self.all[tunnel].connection = Some(number);
                members.push(tunnel);
            }
            self.connections.push(members);
        }
        let prefixes = (0..)
            .zip(&configuration.connections)
            .flat_map(|(number, c)| c.remote_prefixes.iter().map(move |prefix| (prefix, number)));
        self.routes = Routes::new(prefixes);
        self.own = Routes::new(
            configuration
                .local_prefixes
                .iter()
                .map(|prefix| (prefix, 0)),
        );
        let private = &configuration.private_addresses;
        let find = |v6: bool| {
            private
                .iter()
                .copied()
                .find(|address| address.is_ipv6() == v6)
        };
        self.error4 = find(false).unwrap_or(GATEWAY_ENDPOINT4.into());
        self.error6 = find(true).unwrap_or(GATEWAY_ENDPOINT6.into());
        let known: BTreeSet<_> = self
            .all
            .iter()
            .filter(|tunnel| tunnel.connection.is_some())
            .map(|tunnel| tunnel.id)
            .collect();
        self.counters.keep(&known);
        // IKE has taken the SAs of those that went, or will; then there is nothing to send.
        for tunnel in &mut self.all {
            if tunnel.connection.is_none()
                && tunnel.outbound.is_empty()
                && let Some(path) = tunnel.path.take()
            {
                underlay.forget(path.id);
            }
        }
    }

    /// Whom an ICMP error is from.
    pub(super) fn error_source(&self, v6: bool) -> IpAddr {
        if v6 { self.error6 } else { self.error4 }
    }

    /// That of an id; a new one if it is not known.
    pub(super) fn number(&mut self, id: TunnelId) -> TunnelNumber {
        let cells = self.counters.tunnel(id);
        let next = self.all.len();
        let number = *self.by_id.entry(id).or_insert(next);
        match self.all.get_mut(number) {
            Some(tunnel) => tunnel.cells = cells,
            None => self.all.push(Tunnel {
                id,
                cells,
                connection: None,
                usable: true,
                path: None,
                outbound: Vec::new(),
                seen: Seen::default(),
            }),
        }
        number
    }

    /// Where a packet goes. The tunnel and the SA are of the connection that its destination is
    /// behind, one that has an SA for it and a usable path; among those, always the same one for a
    /// flow as long as it is there (rendezvous hashing: one that comes or goes moves only its own
    /// flows). What no connection leads to and is on the gateway's own side goes back: so spokes
    /// reach one another (section C, "Peering").
    pub(super) fn choose(&self, flow: &Flow) -> Option<Choice> {
        let Some(connection) = self.routes.find(flow.destination) else {
            return self.own.find(flow.destination).map(|_| Choice::Back);
        };
        let members = self.connections.get(connection as usize)?;
        if let &[only] = members.as_slice() {
            return Some(Choice::Tunnel(only, self.all[only].sender(flow)?));
        }
        let hash = flow.hash();
        let candidates = members.iter().filter_map(|&number| {
            let tunnel = &self.all[number];
            let sender = tunnel.sender(flow)?;
            Some(((tunnel.usable, weight(hash, tunnel.id)), number, sender))
        });
        let best = candidates.max_by_key(|(rank, ..)| *rank)?;
        Some(Choice::Tunnel(best.1, best.2))
    }

    pub(super) fn install(&mut self, child: &ChildSa, underlay: &mut dyn Underlay) {
        let number = self.number(child.tunnel);
        let (inbound, outbound) = match (InboundSa::new(child), OutboundSa::new(child)) {
            (Ok(inbound), Ok(outbound)) => (inbound, outbound),
            (Err(error), _) | (_, Err(error)) => {
                log::error!("tunnel {}: SA {}: {error}", child.tunnel, child.inbound.spi);
                return;
            }
        };
        self.place(number, child.encapsulation, underlay);
        let tunnel = &mut self.all[number];
        tunnel
            .outbound
            .retain(|pair| pair.inbound != child.inbound.spi);
        let pair = Outbound {
            inbound: child.inbound.spi,
            sa: outbound,
            selectors: Selectors::new(&child.local_selectors, &child.remote_selectors),
            ready: child.send_at_once,
        };
        if child.send_at_once {
            tunnel.outbound.push(pair);
        } else {
            // Of no use yet, so not preferred.
            tunnel.outbound.insert(0, pair);
        }
        self.inbound.insert(
            child.inbound.spi,
            Inbound {
                sa: inbound,
                tunnel: number,
                confirms: !child.send_at_once,
                expires: None,
            },
        );
    }

    pub(super) fn send_on(&mut self, tunnel: TunnelId, inbound: Spi) {
        if let Some(&number) = self.by_id.get(&tunnel) {
            self.all[number].send_on(inbound);
        }
        if let Some(entry) = self.inbound.get_mut(&inbound) {
            entry.confirms = false;
        }
    }

    pub(super) fn remove(&mut self, tunnel: TunnelId, inbound: Spi, expires: Instant) {
        if let Some(&number) = self.by_id.get(&tunnel) {
            self.all[number]
                .outbound
                .retain(|pair| pair.inbound != inbound);
        }
        if let Some(entry) = self.inbound.get_mut(&inbound) {
            entry.confirms = false;
            entry.expires = Some(expires);
        }
    }

    /// Takes away what has lingered long enough; when the next one is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.inbound
            .retain(|_, entry| entry.expires.is_none_or(|expires| expires > now));
        let expirations = self.inbound.values().filter_map(|entry| entry.expires);
        expirations.min()
    }

    pub(super) fn set_usable(&mut self, tunnel: TunnelId, usable: bool) {
        let number = self.number(tunnel);
        self.all[number].usable = usable;
    }

    pub(super) fn move_to(
        &mut self,
        tunnel: TunnelId,
        encapsulation: Encapsulation,
        underlay: &mut dyn Underlay,
    ) {
        let number = self.number(tunnel);
        self.place(number, encapsulation, underlay);
    }

    /// Has a tunnel send with an encapsulation from now on.
    fn place(
        &mut self,
        number: TunnelNumber,
        encapsulation: Encapsulation,
        underlay: &mut dyn Underlay,
    ) {
        let tunnel = &mut self.all[number];
        if let Some(path) = tunnel.path {
            if path.encapsulation == encapsulation {
                return;
            }
            // What waits to be sent still goes where it was meant to.
            underlay.flush(&mut |_| {});
            underlay.forget(path.id);
        }
        let id = underlay.path(&encapsulation);
        tunnel.path = Some(TunnelPath {
            encapsulation,
            id,
            mtu: underlay.mtu(id).unwrap_or(UNKNOWN_MTU),
        });
        tunnel.seen.moved_to = None;
    }

    /// A path refused packets that it once took.
    pub(super) fn narrowed(&mut self, path: PathId) {
        for tunnel in &mut self.all {
            tunnel.seen.narrowed |= tunnel.path.is_some_and(|own| own.id == path);
        }
    }

    /// Asks for a tunnel's MTU again.
    pub(super) fn measure(&mut self, number: TunnelNumber, underlay: &mut dyn Underlay) {
        let Some(tunnel) = self.all.get_mut(number) else {
            return;
        };
        tunnel.seen.narrowed = false;
        if let Some(path) = &mut tunnel.path
            && let Some(mtu) = underlay.mtu(path.id)
            && path.mtu != mtu
        {
            log::info!("tunnel {}: its path takes {mtu} bytes now", tunnel.id);
            path.mtu = mtu;
        }
    }
}

impl Seen {
    /// Anything that IKE is told of.
    pub(super) fn any(&self) -> bool {
        self.received || self.sent || self.moved_to.is_some()
    }
}

/// Until the kernel tells, which it does once there is a route.
const UNKNOWN_MTU: u16 = 1500;

impl Tunnel {
    /// Which of the SAs a packet goes out on.
    fn sender(&self, flow: &Flow) -> Option<usize> {
        self.path?;
        self.outbound.iter().rposition(|pair| {
            pair.ready && !pair.sa.exhausted() && pair.selectors.fits_outbound(flow)
        })
    }

    /// Prefers a pair from now on.
    pub(super) fn send_on(&mut self, inbound: Spi) {
        if let Some(at) = self
            .outbound
            .iter()
            .position(|pair| pair.inbound == inbound)
        {
            let mut pair = self.outbound.remove(at);
            pair.ready = true;
            self.outbound.push(pair);
        }
    }

    /// Where packets come from, if that is not where we send to.
    pub(super) fn heard_from(&mut self, remote: SocketAddr) {
        if let Some(TunnelPath {
            encapsulation: Encapsulation::Udp { remote: known, .. },
            ..
        }) = self.path
        {
            self.seen.moved_to = (known != remote).then_some(remote);
        }
    }
}

/// Spreads well enough: both were hashed before.
fn weight(hash: u64, tunnel: TunnelId) -> u64 {
    let mut weight = hash ^ tunnel.0;
    for _ in 0..2 {
        weight = (weight ^ weight >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    weight ^ weight >> 32
}
