//! All IKE SAs of a host.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use crate::sa::TunnelId;

use super::{
    EndpointCounters, EndpointOptions, Event, IkeSaStatus, Random, Report, Transmit, TunnelConfig,
};

/// All IKE SAs of a host, as initiator and as responder.
///
/// After each call that puts something in (`configure`, `handle_*`, `local_address`, `shutdown`)
/// take out, in this order: [`Self::poll_event`] until `None`, and carry each out;
/// [`Self::poll_transmit`] until `None`; then sleep until [`Self::poll_timeout`].
pub struct Endpoint {
    options: EndpointOptions,
    random: Box<dyn Random>,
    tunnels: BTreeMap<TunnelId, TunnelConfig>,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
    counters: EndpointCounters,
}

impl Endpoint {
    pub fn new(options: EndpointOptions, random: Box<dyn Random>) -> Self {
        Self {
            options,
            random,
            tunnels: BTreeMap::new(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            counters: EndpointCounters::default(),
        }
    }

    /// The tunnels from now on: new ones are established, those that are not in it any more are
    /// deleted, and those that changed (or whose `generation` did) are made anew.
    pub fn configure(&mut self, now: Instant, tunnels: Vec<TunnelConfig>) {
        let _ = (now, &self.options, &mut self.random);
        self.tunnels = tunnels
            .into_iter()
            .map(|tunnel| (tunnel.id, tunnel))
            .collect();
    }

    /// An IKE message, without the non-ESP marker; `local`'s port tells 500 from 4500.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) {
        let _ = (now, local, remote, data);
        self.counters.received += 1;
    }

    /// What the crypto worker saw of a tunnel.
    pub fn handle_report(&mut self, now: Instant, report: &Report) {
        let _ = (now, report);
    }

    /// [`Self::poll_timeout`]'s instant has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// An address of the underlay went, or came back. All are taken to be there at first.
    pub fn local_address(&mut self, now: Instant, address: IpAddr, present: bool) {
        let _ = (now, address, present);
    }

    /// Tells every peer that its SAs end. Nothing is answered or established from now on; the
    /// caller sends what [`Self::poll_transmit`] has and need not wait for answers.
    pub fn shutdown(&mut self, now: Instant) {
        let _ = now;
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next; `None`: not before something else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// One entry for each IKE SA that is established or being established, and one for each tunnel
    /// that has none; ordered by tunnel.
    pub fn status(&self, now: Instant) -> Vec<IkeSaStatus> {
        let _ = now;
        Vec::new()
    }

    pub fn counters(&self) -> EndpointCounters {
        self.counters
    }
}
