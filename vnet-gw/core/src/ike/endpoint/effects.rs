//! What the handling of one SA means for its tunnel and for the tunnel's other SAs.

use std::time::{Duration, Instant};

use super::{Endpoint, Sa};
use crate::{
    ike::{
        Event, TunnelState,
        context::Effect,
        established::{Ending, Established, Life},
        timers::Timer,
    },
    sa::TunnelId,
};

/// Of two SAs that do the same, the side that made the lesser one deletes it; if it does not, the
/// other side does after this.
const DUPLICATE: Duration = Duration::from_secs(10);
/// Time for an answer to be sent again once or twice.
const SETTLE: Duration = Duration::from_secs(3);

impl Endpoint {
    /// Carries out what SAs asked for until nothing is left.
    pub(super) fn drain(&mut self, now: Instant) {
        while let Some(effect) = self.cx.effects.pop_front() {
            match effect {
                Effect::Spawn(sa) => self.spawn(sa),
                Effect::Redundant { key } => {
                    self.with(key, |sa, _| sa.redundant(now));
                }
                Effect::Adopt { from, to } => self.adopt(now, from, to),
                Effect::Refused { tunnel, reason } => self.refused(now, tunnel, reason),
                Effect::End { key, ending } => self.end(now, key, ending),
            }
        }
    }

    /// A rekeyed IKE SA.
    fn spawn(&mut self, sa: Box<Established>) {
        let (key, id) = (sa.key(), sa.tunnel());
        let open = sa.life == Life::Open && !sa.leaving();
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.sas.insert(key);
            if open {
                tunnel.current = Some(key);
            }
        }
        self.put(key, Sa::Established(sa));
        self.refresh(id);
    }

    fn adopt(&mut self, now: Instant, from: u64, to: u64) {
        if self.established(to).is_none() {
            return;
        }
        let children = self.with(from, |sa, _| std::mem::take(&mut sa.children));
        let tunnel = self.with(to, |sa, cx| {
            sa.confirmed();
            sa.adopt(cx, now, children.unwrap_or_default());
            sa.tunnel()
        });
        if let Some(id) = tunnel {
            if let Some(tunnel) = self.tunnels.get_mut(&id) {
                tunnel.current = Some(to);
            }
            self.refresh(id);
        }
    }

    /// A peer has proved itself.
    pub(super) fn add_established(
        &mut self,
        now: Instant,
        mut sa: Box<Established>,
        initial_contact: bool,
    ) {
        let (key, id) = (sa.key(), sa.tunnel());
        let wanted = self
            .tunnels
            .get(&id)
            .is_some_and(|tunnel| tunnel.config == sa.config);
        if !wanted || self.ending {
            // The configuration went on while the handshake ran.
            sa.delete(&mut self.cx, now);
            return self.put(key, Sa::Established(sa));
        }
        let begun = sa.begun;
        // Its pair waits for the one before it to go, which the next lines may do.
        let waits = self.cx.connected.contains(&id);
        self.put(key, Sa::Established(sa));
        if initial_contact {
            self.initial_contact(id, begun);
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.sas.insert(key);
        tunnel.several |= waits;
        tunnel.succeeded();
        self.abandon_attempt(id);
        self.settle(now, id, key);
        self.heard(id, key);
        self.refresh(id);
        self.schedule_tunnel(id);
    }

    /// The peer has no other SA with us: those of before are remains. One that was made meanwhile
    /// is not, for the peer may say what it says before it knows of that one.
    fn initial_contact(&mut self, id: TunnelId, begun: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        for key in tunnel.sas.clone() {
            if self.established(key).is_some_and(|sa| sa.since < begun) {
                self.remove_sa(key);
            }
        }
    }

    /// Our own attempt is of no use any more, if its proof is not out yet. If it is, both SAs come
    /// into being, and one goes.
    fn abandon_attempt(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let Some(key) = tunnel.attempt else {
            return;
        };
        if matches!(self.sas.get(&key), Some(Sa::Init(_) | Sa::Intermediate(_))) {
            tunnel.attempt = None;
            self.sas.remove(&key);
            self.forget(key);
        }
    }

    /// One IKE SA for one tunnel. Of two that were made at the same time the one with the lowest
    /// nonce goes, as with rekeys (RFC 7296, 2.8.1): both ends know all nonces. Otherwise the older
    /// one goes.
    fn settle(&mut self, now: Instant, id: TunnelId, new: u64) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let mut winner = new;
        for key in tunnel.sas.clone() {
            if key == winner {
                continue;
            }
            let (Some(old), Some(best)) = (self.established(key), self.established(winner)) else {
                continue;
            };
            if !old.open() || old.leaving() {
                continue;
            }
            // A rekey changes nothing about when it was made: at the other end it may come later.
            let at_once = best.begun <= old.first_since && old.begun <= best.first_since;
            let old_stays = at_once && best.lowest_nonce < old.lowest_nonce;
            let loser = if old_stays {
                std::mem::replace(&mut winner, key)
            } else {
                key
            };
            // What the peer began it may not know to be established yet; until it does, traffic
            // goes on as it went.
            let theirs = self
                .established(winner)
                .is_some_and(|sa| !sa.channel.spis.ours_is_initiator);
            self.with(loser, |sa, cx| {
                let ours = sa.channel.spis.ours_is_initiator;
                match (at_once && ours, theirs) {
                    (true, false) => sa.delete(cx, now),
                    (true, true) => sa.life = Life::Replaced(now + SETTLE),
                    (false, _) => sa.life = Life::Replaced(now + DUPLICATE),
                }
            });
        }
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.current = Some(winner);
        }
    }

    /// Takes an SA out without a word to its peer.
    pub(super) fn remove_sa(&mut self, key: u64) {
        if let Some(Sa::Established(mut sa)) = self.sas.remove(&key) {
            sa.children_down(&mut self.cx);
            sa.release(&mut self.cx);
            if let Some(tunnel) = self.tunnels.get_mut(&sa.tunnel()) {
                tunnel.sas.remove(&key);
                if tunnel.current == Some(key) {
                    tunnel.current = None;
                }
            }
        }
        self.forget(key);
    }

    fn end(&mut self, now: Instant, key: u64, ending: Ending) {
        let Some(sa) = self.established(key) else {
            return;
        };
        let id = sa.tunnel();
        let belongs = self
            .tunnels
            .get(&id)
            .is_some_and(|tunnel| tunnel.sas.contains(&key));
        self.remove_sa(key);
        if !belongs {
            return;
        }
        let (reason, at_once) = match ending {
            Ending::PeerDeleted => ("the peer deleted the IKE SA".to_owned(), false),
            Ending::PeerRefused(reason) | Ending::Broken(reason) => (reason, false),
            Ending::Deleted => ("the IKE SA was deleted".to_owned(), true),
            Ending::NoAnswer(no_answer) => {
                let seconds = no_answer.after.as_secs_f64().round();
                let sent = no_answer.sent;
                let reason = format!("dead peer: no answer for {seconds} s (sent {sent} times)");
                (reason, true)
            }
            Ending::Expired => ("the IKE SA was not rekeyed in time".to_owned(), true),
        };
        self.without_sa(now, id, reason, at_once);
    }

    /// An SA went; another takes over, or the tunnel is tried again.
    fn without_sa(&mut self, now: Instant, id: TunnelId, reason: String, at_once: bool) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if tunnel.current.is_none() {
            let other = tunnel
                .sas
                .iter()
                .filter_map(|key| self.established(*key))
                .filter(|sa| sa.open() && !sa.leaving())
                .max_by_key(|sa| sa.since)
                .map(Established::key);
            // One that was to go stays when the one it was to go for went.
            let spare = other.or_else(|| {
                let replaced = |sa: &&Established| matches!(sa.life, Life::Replaced(_));
                let sas = tunnel.sas.iter().filter_map(|key| self.established(*key));
                sas.filter(replaced)
                    .find(|sa| !sa.children.is_empty())
                    .map(Established::key)
            });
            if let Some(spare) = spare {
                self.with(spare, |sa, _| sa.life = Life::Open);
            }
            if let Some(tunnel) = self.tunnels.get_mut(&id) {
                tunnel.current = spare;
            }
        }
        if let Some(tunnel) = self.tunnels.get_mut(&id)
            && tunnel.current.is_none()
            && !self.ending
        {
            tunnel.set_state(&mut self.cx, TunnelState::NotConnected, reason);
            if tunnel.attempt.is_none() && tunnel.retry.is_none() {
                if at_once && tunnel.initiates() {
                    tunnel.retry = Some(now);
                } else {
                    tunnel.try_later(&mut self.cx, now);
                }
            }
        }
        self.refresh(id);
        self.schedule_tunnel(id);
    }

    /// The state of a tunnel, from its SAs.
    pub(super) fn refresh(&mut self, id: TunnelId) {
        self.sole_pair(id);
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if self.ending {
            return;
        }
        let sas = || tunnel.sas.iter().filter_map(|key| self.established(*key));
        let current = tunnel.current.and_then(|key| self.established(key));
        let carrying = current
            .filter(|sa| !sa.children.is_empty())
            .or_else(|| sas().find(|sa| !sa.children.is_empty()));
        let (state, reason) = if !tunnel.present {
            let reason = format!("the local address {} is gone", tunnel.config.local);
            (TunnelState::NotConnected, reason)
        } else if let Some(sa) = carrying {
            (TunnelState::Connected, sa.algorithms())
        } else if let Some(problem) = current.and_then(|sa| sa.problem.clone()) {
            (TunnelState::NotConnected, problem)
        } else if current.is_some() {
            (
                TunnelState::NotConnected,
                "the IKE SA has no CHILD SA at the moment".to_owned(),
            )
        } else {
            return;
        };
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.set_state(&mut self.cx, state, reason);
        }
    }

    /// Where one pair of several remains, it is the one to send on.
    fn sole_pair(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let sas = tunnel.sas.iter().filter_map(|key| self.established(*key));
        let mut pairs = sas
            .flat_map(|sa| &sa.children)
            .filter(|child| !child.deleting)
            .map(|child| child.inbound);
        let pairs = (pairs.next(), pairs.next().is_some());
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        match pairs {
            (Some(inbound), false) => {
                let before = tunnel.sole.replace(inbound);
                if tunnel.several || before.is_some_and(|before| before != inbound) {
                    self.cx.events.push_back(Event::ChildReady {
                        tunnel: id,
                        inbound,
                    });
                }
                tunnel.several = false;
                self.cx.connected.insert(id);
            }
            (Some(_), true) => tunnel.several = true,
            (None, _) => {
                tunnel.sole = None;
                tunnel.several = false;
                self.cx.connected.remove(&id);
            }
        }
    }

    /// The peer of a tunnel proved to be there.
    pub(super) fn heard(&mut self, id: TunnelId, key: u64) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !tunnel.sas.contains(&key) || !tunnel.present {
            return;
        }
        if tunnel.watch.heard() {
            self.cx.events.push_back(Event::Path {
                tunnel: id,
                usable: true,
            });
        }
        self.schedule_tunnel(id);
    }

    pub(super) fn sa_timeout(&mut self, now: Instant, key: u64) {
        let Some(sa) = self.sas.remove(&key) else {
            return;
        };
        let cx = &mut self.cx;
        let (id, sa, result) = match sa {
            Sa::Init(mut sent) => {
                let result = sent.on_timeout(cx, now).map_err(|no_answer| {
                    sent.refused
                        .clone()
                        .unwrap_or_else(|| no_answer.to_string())
                });
                (sent.config.id, Sa::Init(sent), result)
            }
            Sa::Intermediate(mut sent) => {
                let result = sent.negotiated.channel.on_timeout(cx, now);
                let result = result
                    .map_err(|no_answer| format!("{no_answer}: IKE_INTERMEDIATE is not answered"));
                (sent.config.id, Sa::Intermediate(sent), result)
            }
            Sa::Auth(mut sent) => {
                let result = sent.negotiated.channel.on_timeout(cx, now);
                if result.is_err() {
                    sent.abandon(cx);
                }
                let result =
                    result.map_err(|no_answer| format!("{no_answer}: IKE_AUTH is not answered"));
                (sent.config.id, Sa::Auth(sent), result)
            }
            Sa::HalfOpen(half) => {
                let known = (
                    half.source.remote.ip(),
                    half.negotiated.channel.spis.initiator,
                );
                self.limits.closed(known.0);
                self.answered.remove(&known);
                return self.forget(key);
            }
            Sa::Established(mut sa) => {
                sa.on_timeout(cx, now);
                let id = sa.tunnel();
                self.put(key, Sa::Established(sa));
                self.drain(now);
                return self.refresh(id);
            }
        };
        match result {
            Ok(()) => self.put(key, sa),
            Err(reason) => {
                self.timers.set(Timer::Sa(key), None);
                self.cx.release_ike_spi(key);
                self.attempt_failed(now, id, key, reason);
            }
        }
    }
}
