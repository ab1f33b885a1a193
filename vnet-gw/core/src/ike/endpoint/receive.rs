//! Datagrams find their SA, or make one.

use std::time::{Duration, Instant};

use super::{Endpoint, Sa};
use crate::ike::{
    channel::Spis,
    codec::{
        DecodeError, ExchangeType, Header, Notify, NotifyType, Packet, Payload, Protection, encode,
    },
    context::{Effect, Path},
    initiator::Initiated,
    limits::Admission,
    negotiated::find_notify,
    responder::{Answered, HalfOpen, InitRequest},
    timers::Timer,
};
use crate::sa::TunnelId;

/// Between two liveness checks that a stranger can cause.
const HINT: Duration = Duration::from_secs(5);
/// Tunnels that one unproven hint or IKE_SA_INIT may concern.
const MOST_CANDIDATES: usize = 256;

impl Endpoint {
    pub(super) fn receive(&mut self, now: Instant, path: Path, data: &[u8]) {
        let packet = match Packet::parse(data) {
            Ok(packet) => packet,
            Err(error) => {
                self.cx.counters.malformed += 1;
                if let DecodeError::NewerVersion(_, header) = error {
                    let notify = Notify::new(NotifyType::INVALID_MAJOR_VERSION, []);
                    self.answer_stranger(now, path, header, notify);
                }
                return;
            }
        };
        let header = packet.header;
        if header.exchange == ExchangeType::IKE_SA_INIT && !header.response {
            return self.init_request(now, path, &packet);
        }
        let key = if header.from_initiator {
            header.responder_spi
        } else {
            header.initiator_spi
        };
        if packet.protection == Protection::Clear && header.exchange != ExchangeType::IKE_SA_INIT {
            return self.hint(now, path, key, &packet);
        }
        match self.sas.remove(&key) {
            Some(sa) => self.dispatch(now, path, key, sa, &packet),
            None => self.unknown(now, path, &packet),
        }
    }

    fn dispatch(&mut self, now: Instant, path: Path, key: u64, sa: Sa, packet: &Packet<'_>) {
        let cx = &mut self.cx;
        match sa {
            Sa::Init(sent) => {
                let id = sent.config.id;
                let result = sent.handle(cx, now, path, packet);
                self.initiated(now, id, key, result);
            }
            Sa::Intermediate(sent) => {
                let id = sent.config.id;
                let result = sent.handle(cx, now, path, packet);
                self.initiated(now, id, key, result);
            }
            Sa::Auth(sent) => {
                let id = sent.config.id;
                let result = sent.handle(cx, now, path, packet);
                self.initiated(now, id, key, result);
            }
            Sa::HalfOpen(half) => {
                let known = (half.source.remote.ip(), packet.header.initiator_spi);
                match half.handle(cx, now, path, packet) {
                    Answered::HalfOpen(half) => self.put(key, Sa::HalfOpen(half)),
                    Answered::Established {
                        sa,
                        initial_contact,
                    } => {
                        self.limits.closed(known.0);
                        self.answered.remove(&known);
                        self.add_established(now, sa, initial_contact);
                    }
                    Answered::Failed => {
                        self.limits.closed(known.0);
                        self.answered.remove(&known);
                        self.forget(key);
                    }
                }
            }
            Sa::Established(mut sa) => {
                sa.handle(cx, now, path, packet);
                let tunnel = sa.tunnel();
                let heard = sa.channel.heard == now;
                self.put(key, Sa::Established(sa));
                if heard {
                    self.heard(tunnel, key);
                }
                self.drain(now);
                self.refresh(tunnel);
            }
        }
    }

    fn initiated(&mut self, now: Instant, id: TunnelId, key: u64, result: Initiated) {
        let sa = match result {
            Initiated::Init(sent) => {
                if let Some(reason) = sent.refused.clone() {
                    self.cx
                        .effects
                        .push_back(Effect::Refused { tunnel: id, reason });
                }
                Sa::Init(sent)
            }
            Initiated::Intermediate(sent) => Sa::Intermediate(sent),
            Initiated::Auth(sent) => Sa::Auth(sent),
            Initiated::Established(sa) => {
                if let Some(tunnel) = self.tunnels.get_mut(&id)
                    && tunnel.attempt == Some(key)
                {
                    tunnel.attempt = None;
                }
                return self.add_established(now, sa, false);
            }
            Initiated::Failed(reason) => {
                self.forget(key);
                return self.attempt_failed(now, id, key, reason);
            }
        };
        self.put(key, sa);
    }

    /// The SA was taken out already; nothing of it is left.
    pub(super) fn forget(&mut self, key: u64) {
        self.timers.set(Timer::Sa(key), None);
        self.cx.release_ike_spi(key);
    }

    fn init_request(&mut self, now: Instant, path: Path, packet: &Packet<'_>) {
        let header = packet.header;
        let right = header.from_initiator
            && header.responder_spi == 0
            && header.message_id == 0
            && packet.protection == Protection::Clear;
        if !right {
            self.cx.counters.malformed += 1;
            return;
        }
        if self.ending {
            return;
        }
        let known = (path.remote.ip(), header.initiator_spi);
        if let Some(key) = self.answered.get(&known) {
            match self.sas.get(key) {
                Some(Sa::HalfOpen(half)) => half.again(&mut self.cx, path, packet),
                _ => self.cx.counters.replayed += 1,
            }
            return;
        }
        let candidates = self.by_address.get(&(path.local.ip(), path.remote.ip()));
        let candidates: Vec<_> = candidates
            .into_iter()
            .flatten()
            .take(MOST_CANDIDATES)
            .filter_map(|id| self.tunnels.get(id))
            .map(|tunnel| tunnel.config.clone())
            .collect();
        if candidates.is_empty() {
            self.cx.counters.unknown_peer += 1;
            return;
        }
        let payloads = match packet.payloads() {
            Ok(payloads) => payloads,
            Err(error) => {
                self.cx.counters.malformed += 1;
                let notify = match error {
                    DecodeError::UnsupportedCritical(payload) => {
                        Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [payload])
                    }
                    _ => Notify::new(NotifyType::INVALID_SYNTAX, []),
                };
                return self.answer_stranger(now, path, header, notify);
            }
        };
        let Some(nonce) = payloads.iter().find_map(|payload| match payload {
            Payload::Nonce(nonce) => Some(nonce),
            _ => None,
        }) else {
            self.cx.counters.malformed += 1;
            let notify = Notify::new(NotifyType::INVALID_SYNTAX, []);
            return self.answer_stranger(now, path, header, notify);
        };
        let spi = header.initiator_spi;
        let proven = find_notify(&payloads, NotifyType::COOKIE).is_some_and(|cookie| {
            self.cookies
                .verify(now, &cookie.data, nonce, path.remote, spi)
        });
        match self
            .limits
            .admit(&self.cx.options, now, path.remote.ip(), proven)
        {
            Admission::Admit => {}
            Admission::Cookie => {
                self.cx.counters.cookies_asked += 1;
                let random = self.cx.random();
                let cookie = self.cookies.make(random, now, nonce, path.remote, spi);
                let notify = Notify::new(NotifyType::COOKIE, cookie);
                return self.answer_init(path, packet, notify);
            }
            Admission::Drop => {
                self.cx.counters.rate_limited += 1;
                return;
            }
        }
        let tunnels: Vec<_> = candidates.iter().map(|config| config.id).collect();
        let request = InitRequest {
            packet,
            payloads: &payloads,
            path,
            candidates,
        };
        match HalfOpen::start(&mut self.cx, now, request) {
            Ok(half) => {
                let key = half.negotiated.channel.spis.ours();
                self.limits.opened(known.0);
                self.answered.insert(known, key);
                self.put(key, Sa::HalfOpen(Box::new(half)));
            }
            Err(refused) => {
                self.answer_init(path, packet, refused.notify);
                for tunnel in tunnels {
                    if let Some(reason) = refused.reason.clone() {
                        self.refused(now, tunnel, reason);
                    }
                }
            }
        }
    }

    /// An answer that makes no SA: there is no SPI of ours in it.
    fn answer_init(&mut self, path: Path, packet: &Packet<'_>, notify: Notify) {
        let spis = Spis {
            initiator: packet.header.initiator_spi,
            responder: 0,
            ours_is_initiator: false,
        };
        let header = spis.header(ExchangeType::IKE_SA_INIT, true, 0);
        let message = encode(&header, &[Payload::Notify(notify)]);
        self.cx.send(path, &message);
    }

    /// A message of an SA that we do not have: its peer may have slept through our restart, and is
    /// told (RFC 7296, 2.21.4).
    fn unknown(&mut self, now: Instant, path: Path, packet: &Packet<'_>) {
        self.cx.counters.unknown_spi += 1;
        let notify = Notify::new(NotifyType::INVALID_IKE_SPI, []);
        self.answer_stranger(now, path, packet.header, notify);
    }

    /// Refuses a request that belongs to no SA, in the clear (RFC 7296, 1.5): only where a peer is to
    /// be, and not often, for nothing about it is proven.
    fn answer_stranger(&mut self, now: Instant, path: Path, mut header: Header, notify: Notify) {
        let known = self
            .by_address
            .contains_key(&(path.local.ip(), path.remote.ip()));
        if header.response || self.ending || !known || !self.limits.reply(now) {
            return;
        }
        header.response = true;
        header.from_initiator = !header.from_initiator;
        let message = encode(&header, &[Payload::Notify(notify)]);
        self.cx.send(path, &message);
    }

    /// Somebody says, without a proof, that an SPI is not known: the peer is asked whether that is
    /// so, now and then (RFC 7296, 2.4, 2.21.4).
    fn hint(&mut self, now: Instant, path: Path, key: u64, packet: &Packet<'_>) {
        let Ok(payloads) = packet.payloads() else {
            self.cx.counters.malformed += 1;
            return;
        };
        let says = |kind| find_notify(&payloads, kind).is_some();
        if !says(NotifyType::INVALID_IKE_SPI) && !says(NotifyType::INVALID_SPI) {
            self.cx.counters.unknown_spi += 1;
            return;
        }
        let tunnels = match self.established(key) {
            Some(sa) => vec![sa.tunnel()],
            None => {
                let found = self.by_address.get(&(path.local.ip(), path.remote.ip()));
                found
                    .into_iter()
                    .flatten()
                    .take(MOST_CANDIDATES)
                    .copied()
                    .collect()
            }
        };
        for id in tunnels {
            let Some(tunnel) = self.tunnels.get_mut(&id) else {
                continue;
            };
            let recent = |at: Instant| now.saturating_duration_since(at) < HINT;
            if tunnel.hinted.is_some_and(recent) {
                self.cx.counters.rate_limited += 1;
                continue;
            }
            tunnel.hinted = Some(now);
            if let Some(current) = tunnel.current {
                self.with(current, |sa, cx| sa.probe(cx, now));
            }
        }
    }
}
