//! All IKE SAs of a host.

mod effects;
mod receive;
mod status;
mod tunnels;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    EndpointCounters, EndpointOptions, Event, IkeSaStatus, Random, Report, Transmit, TunnelConfig,
    context::{Context, Path},
    cookies::Cookies,
    established::Established,
    initiator::{AuthSent, InitSent, IntermediateSent},
    limits::Limits,
    responder::HalfOpen,
    timers::{Timer, Timers},
    tunnel::Tunnel,
};
use crate::sa::TunnelId;

/// What is still due once it was handled is handled again after this.
const AGAIN: Duration = Duration::from_millis(1);

/// An IKE SA, by the answer or the request that it waits for.
#[derive(Debug)]
enum Sa {
    Init(Box<InitSent>),
    Intermediate(Box<IntermediateSent>),
    Auth(Box<AuthSent>),
    HalfOpen(Box<HalfOpen>),
    Established(Box<Established>),
}

/// All IKE SAs of a host, as initiator and as responder.
///
/// After each call that puts something in (`configure`, `handle_*`, `local_address`, `shutdown`)
/// take out, in this order: [`Self::poll_event`] until `None`, and carry each out;
/// [`Self::poll_transmit`] until `None`; then sleep until [`Self::poll_timeout`].
pub struct Endpoint {
    cx: Context,
    tunnels: BTreeMap<TunnelId, Tunnel>,
    /// By local and remote address.
    by_address: HashMap<(IpAddr, IpAddr), Vec<TunnelId>>,
    /// By our SPI.
    sas: BTreeMap<u64, Sa>,
    /// IKE_SA_INITs that were answered, by source and the initiator's SPI.
    answered: HashMap<(IpAddr, u64), u64>,
    limits: Limits,
    cookies: Cookies,
    timers: Timers,
    /// Local addresses that are not there.
    absent: BTreeSet<IpAddr>,
    ending: bool,
}

impl Endpoint {
    pub fn new(options: EndpointOptions, random: Box<dyn Random>) -> Self {
        Self {
            cx: Context::new(options, random),
            tunnels: BTreeMap::new(),
            by_address: HashMap::new(),
            sas: BTreeMap::new(),
            answered: HashMap::new(),
            limits: Limits::default(),
            cookies: Cookies::default(),
            timers: Timers::default(),
            absent: BTreeSet::new(),
            ending: false,
        }
    }

    /// The tunnels from now on: new ones are established, those that are not in it any more are
    /// deleted, and those that changed (or whose `generation` did) are made anew.
    pub fn configure(&mut self, now: Instant, tunnels: Vec<TunnelConfig>) {
        self.set_tunnels(now, tunnels);
        self.drain(now);
    }

    /// An IKE message, without the non-ESP marker; `local`'s port tells 500 from 4500.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) {
        self.cx.counters.received += 1;
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let path = Path {
            local: canonical(local),
            remote: canonical(remote),
        };
        self.receive(now, path, data);
        self.drain(now);
    }

    /// What the crypto worker saw of a tunnel.
    pub fn handle_report(&mut self, now: Instant, report: &Report) {
        self.report(now, report);
        self.drain(now);
    }

    /// [`Self::poll_timeout`]'s instant has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut handled = BTreeSet::new();
        while let Some(timer) = self.timers.pop(now) {
            if !handled.insert(timer) {
                // One that is due for ever must not keep all others waiting.
                self.timers.set(timer, Some(now + AGAIN));
                continue;
            }
            match timer {
                Timer::Tunnel(tunnel) => self.tunnel_timeout(now, tunnel),
                Timer::Sa(key) => self.sa_timeout(now, key),
            }
            self.drain(now);
        }
    }

    /// An address of the underlay went, or came back. All are taken to be there at first.
    pub fn local_address(&mut self, now: Instant, address: IpAddr, present: bool) {
        self.set_address(now, address, present);
        self.drain(now);
    }

    /// Tells every peer that its SAs end. Nothing is established from now on. The caller may go on
    /// until [`Self::is_idle`], or send what [`Self::poll_transmit`] has and not wait for answers.
    pub fn shutdown(&mut self, now: Instant) {
        self.end_all(now);
        self.drain(now);
    }

    /// Nothing waits for an answer: there is no SA.
    pub fn is_idle(&self) -> bool {
        self.sas.is_empty()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.cx.events.pop_front()
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.cx.transmits.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next; `None`: not before something else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// One entry for each IKE SA that is established or being established by us, and one for each
    /// tunnel that has none; ordered by tunnel.
    pub fn status(&self, now: Instant) -> Vec<IkeSaStatus> {
        self.statuses(now)
    }

    pub fn counters(&self) -> EndpointCounters {
        EndpointCounters {
            half_open: u64::try_from(self.limits.total()).unwrap_or(u64::MAX),
            ..self.cx.counters
        }
    }

    /// Puts an SA (back), and sets its timer.
    fn put(&mut self, key: u64, sa: Sa) {
        let at = match &sa {
            Sa::Init(sent) => Some(sent.deadline()),
            Sa::Intermediate(sent) => sent.negotiated.channel.deadline(),
            Sa::Auth(sent) => sent.negotiated.channel.deadline(),
            Sa::HalfOpen(half) => Some(half.expires),
            Sa::Established(sa) => Some(sa.deadline(&self.cx)),
        };
        self.timers.set(Timer::Sa(key), at);
        self.sas.insert(key, sa);
    }

    /// Lets an established SA do something.
    fn with<R>(
        &mut self,
        key: u64,
        act: impl FnOnce(&mut Established, &mut Context) -> R,
    ) -> Option<R> {
        let Some(Sa::Established(sa)) = self.sas.get_mut(&key) else {
            return None;
        };
        let result = act(sa, &mut self.cx);
        let at = sa.deadline(&self.cx);
        self.timers.set(Timer::Sa(key), Some(at));
        Some(result)
    }

    fn established(&self, key: u64) -> Option<&Established> {
        match self.sas.get(&key) {
            Some(Sa::Established(sa)) => Some(sa),
            _ => None,
        }
    }

    fn schedule_tunnel(&mut self, id: TunnelId) {
        let at = self
            .tunnels
            .get(&id)
            .and_then(|tunnel| tunnel.deadline(&self.cx.options));
        self.timers.set(Timer::Tunnel(id), at);
    }
}
