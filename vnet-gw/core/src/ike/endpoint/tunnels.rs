//! What comes from the configuration, the crypto worker, the host's addresses and the clock.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Endpoint, Sa};
use crate::{
    ike::{
        Event, Report, TunnelConfig, TunnelState,
        established::Established,
        initiator::InitSent,
        timers::Timer,
        tunnel::{Tunnel, Watch},
    },
    sa::TunnelId,
};

/// Of many new tunnels, this many begin at once and the others one after the other: the peer may
/// be one and the same for all of them.
const AT_ONCE: u32 = 32;
const APART: Duration = Duration::from_millis(10);

impl Endpoint {
    pub(super) fn set_tunnels(&mut self, now: Instant, configs: Vec<TunnelConfig>) {
        let mut old = std::mem::take(&mut self.tunnels);
        let mut started = 0;
        for config in configs {
            let id = config.id;
            let before = old.remove(&id);
            if let Some(before) = before {
                if *before.config == config {
                    self.tunnels.insert(id, before);
                    continue;
                }
                self.take_down(now, before);
            }
            let mut tunnel = Tunnel::new(config, true);
            tunnel.present = !self.absent.contains(&tunnel.config.local);
            self.begin(now, &mut tunnel, started);
            started += u32::from(tunnel.retry.is_some());
            self.tunnels.insert(id, tunnel);
            self.schedule_tunnel(id);
        }
        for (id, gone) in old {
            self.take_down(now, gone);
            self.timers.set(Timer::Tunnel(id), None);
        }
        self.by_address.clear();
        for (id, tunnel) in &self.tunnels {
            let addresses = (tunnel.config.local, tunnel.config.remote);
            self.by_address.entry(addresses).or_default().push(*id);
        }
        // Those that may begin at once need not wait for a timer.
        let ready = self
            .tunnels
            .values()
            .filter(|tunnel| tunnel.retry == Some(now));
        for id in ready.map(|tunnel| tunnel.config.id).collect::<Vec<_>>() {
            self.tunnel_timeout(now, id);
        }
    }

    fn begin(&mut self, now: Instant, tunnel: &mut Tunnel, before: u32) {
        let cx = &mut self.cx;
        if !tunnel.present {
            let reason = format!("the local address {} is gone", tunnel.config.local);
            tunnel.set_state(cx, TunnelState::NotConnected, reason);
        } else if tunnel.initiates() && !self.ending {
            tunnel.retry = Some(now + APART * before.saturating_sub(AT_ONCE - 1));
            tunnel.set_state(cx, TunnelState::Connecting, "asking the peer".to_owned());
        } else {
            let reason = "waiting for the peer to begin".to_owned();
            tunnel.set_state(cx, TunnelState::Connecting, reason);
        }
    }

    /// Ends what a tunnel has, politely.
    fn take_down(&mut self, now: Instant, mut tunnel: Tunnel) {
        self.cx.connected.remove(&tunnel.config.id);
        if let Some(key) = tunnel.attempt {
            self.drop_attempt(key);
        }
        // What is made in its place, if anything, begins with a path that is fit for use.
        if tunnel.watch.reset() {
            self.cx.events.push_back(Event::Path {
                tunnel: tunnel.config.id,
                usable: true,
            });
        }
        for key in tunnel.sas {
            self.with(key, |sa, cx| sa.delete(cx, now));
        }
    }

    fn drop_attempt(&mut self, key: u64) {
        if let Some(Sa::Auth(sent)) = self.sas.remove(&key) {
            sent.abandon(&mut self.cx);
        }
        self.forget(key);
    }

    pub(super) fn end_all(&mut self, now: Instant) {
        self.ending = true;
        for (id, tunnel) in std::mem::take(&mut self.tunnels) {
            self.timers.set(Timer::Tunnel(id), None);
            self.take_down(now, tunnel);
        }
        self.by_address.clear();
        let half_open: Vec<_> = self
            .sas
            .iter()
            .filter(|(_, sa)| matches!(sa, Sa::HalfOpen(_)))
            .map(|(key, _)| *key)
            .collect();
        for key in half_open {
            if let Some(Sa::HalfOpen(half)) = self.sas.remove(&key) {
                self.limits.closed(half.source.remote.ip());
            }
            self.forget(key);
        }
        self.answered.clear();
    }

    pub(super) fn set_address(&mut self, now: Instant, address: IpAddr, present: bool) {
        let address = address.to_canonical();
        let changed = if present {
            self.absent.remove(&address)
        } else {
            self.absent.insert(address)
        };
        if !changed {
            return;
        }
        let concerned: Vec<_> = self
            .tunnels
            .iter()
            .filter(|(_, tunnel)| tunnel.config.local == address)
            .map(|(id, _)| *id)
            .collect();
        for id in concerned {
            if let Some(tunnel) = self.tunnels.get_mut(&id) {
                tunnel.present = present;
            }
            if present {
                self.address_came(now, id);
            } else {
                self.address_went(id);
                self.refresh(id);
            }
            self.schedule_tunnel(id);
        }
    }

    fn address_went(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.retry = None;
        let attempt = tunnel.attempt.take();
        if tunnel.watch.lost() {
            self.cx.events.push_back(Event::Path {
                tunnel: id,
                usable: false,
            });
        }
        if let Some(key) = attempt {
            self.drop_attempt(key);
        }
    }

    /// Whether the SAs there were are still known to the peer, a question tells.
    fn address_came(&mut self, now: Instant, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        match tunnel.current {
            Some(current) => {
                let reason = "asking whether the peer still is there".to_owned();
                tunnel.set_state(&mut self.cx, TunnelState::Connecting, reason);
                self.with(current, |sa, cx| sa.probe(cx, now));
            }
            None if tunnel.initiates() => {
                tunnel.set_state(
                    &mut self.cx,
                    TunnelState::Connecting,
                    "asking the peer".to_owned(),
                );
                tunnel.retry = Some(now);
            }
            None => {
                let reason = "waiting for the peer to begin".to_owned();
                tunnel.set_state(&mut self.cx, TunnelState::Connecting, reason);
            }
        }
    }

    pub(super) fn tunnel_timeout(&mut self, now: Instant, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.retry.is_some_and(|at| now >= at) {
            tunnel.retry = None;
            let wanted = tunnel.initiates() && tunnel.current.is_none() && !self.ending;
            if wanted && tunnel.attempt.is_none() {
                self.attempt(now, id);
            }
        }
        self.watch(now, id);
        self.schedule_tunnel(id);
    }

    fn attempt(&mut self, now: Instant, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let initial_contact = tunnel.sas.is_empty();
        let config = tunnel.config.clone();
        match InitSent::start(&mut self.cx, now, config, initial_contact) {
            Some(sent) => {
                let key = sent.spi;
                tunnel.attempt = Some(key);
                self.put(key, Sa::Init(Box::new(sent)));
            }
            None => {
                let reason = "there is no proposal to make".to_owned();
                tunnel.set_state(&mut self.cx, TunnelState::NotConnected, reason);
                tunnel.try_later(&mut self.cx, now);
            }
        }
    }

    /// The SA of an attempt was taken out already.
    pub(super) fn attempt_failed(&mut self, now: Instant, id: TunnelId, key: u64, reason: String) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.attempt != Some(key) {
            return;
        }
        tunnel.attempt = None;
        if tunnel.current.is_none() {
            tunnel.set_state(&mut self.cx, TunnelState::NotConnected, reason);
            tunnel.try_later(&mut self.cx, now);
        }
        self.schedule_tunnel(id);
    }

    /// A peer was turned away, or turned us away.
    pub(super) fn refused(&mut self, now: Instant, id: TunnelId, reason: String) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.note(&mut self.cx, now, reason);
        }
    }

    /// Makes an IKE SA beside the one that is there.
    #[cfg(test)]
    pub(in crate::ike) fn attempt_now(&mut self, now: Instant, id: TunnelId) {
        self.attempt(now, id);
        self.drain(now);
    }

    #[cfg(test)]
    pub(in crate::ike) fn delete_child_now(
        &mut self,
        now: Instant,
        id: TunnelId,
        spi: crate::sa::Spi,
    ) {
        let current = self.tunnels.get(&id).and_then(|tunnel| tunnel.current);
        if let Some(current) = current {
            self.with(current, |sa, cx| sa.delete_child(cx, now, spi));
        }
        self.drain(now);
    }

    /// Rekeys the IKE SA out of turn: collisions need a time that is known.
    #[cfg(test)]
    pub(in crate::ike) fn rekey_ike_now(&mut self, now: Instant, id: TunnelId) {
        let current = self.tunnels.get(&id).and_then(|tunnel| tunnel.current);
        if let Some(current) = current {
            self.with(current, |sa, cx| {
                sa.enqueue(cx, now, crate::ike::established::Task::RekeyIke);
            });
        }
        self.drain(now);
    }

    fn watch(&mut self, now: Instant, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        match tunnel.watch.on_timeout(&self.cx.options, now) {
            Watch::Nothing => {}
            asks @ (Watch::Ask | Watch::AskAgain) => {
                if let Some(current) = tunnel.current {
                    self.with(current, |sa, cx| sa.probe(cx, now));
                }
                if asks == Watch::Ask {
                    self.doubt_siblings(now, id);
                }
            }
            Watch::Unusable => {
                if tunnel.watch.lost() {
                    self.cx.events.push_back(Event::Path {
                        tunnel: id,
                        usable: false,
                    });
                }
            }
        }
    }

    /// What a silent tunnel shares with others of its connection, an address of ours or of the
    /// peer's, may be what is dead: they are checked at the same time, or a flow that leaves the
    /// one would have to find out about the next by itself. Tunnels of one connection have one key.
    fn doubt_siblings(&mut self, now: Instant, id: TunnelId) {
        let Some(silent) = self.tunnels.get(&id) else {
            return;
        };
        let (local, remote) = (silent.config.local, silent.config.remote);
        let key = silent.config.key.clone();
        let mut asked = Vec::new();
        for (other, tunnel) in &mut self.tunnels {
            let config = &tunnel.config;
            let sibling = *other != id
                && (config.local == local || config.remote == remote)
                && config.key == key;
            if let Some(current) = tunnel.current.filter(|_| sibling)
                && tunnel.watch.doubt(now)
            {
                asked.push((*other, current));
            }
        }
        for (other, current) in asked {
            self.with(current, |sa, cx| sa.probe(cx, now));
            self.schedule_tunnel(other);
        }
    }

    pub(super) fn report(&mut self, now: Instant, report: &Report) {
        let id = report.tunnel;
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.watch.report(now, report);
        let (sas, current) = (tunnel.sas.clone(), tunnel.current);
        if let Some(current) = current {
            self.with(current, |sa, cx| {
                if report.sent {
                    sa.sent(now);
                }
                if report.received {
                    sa.seen(now);
                }
                if let Some(remote) = report.moved_to {
                    sa.esp_moved(cx, remote);
                }
            });
            if report.received {
                self.heard(id, current);
            }
        }
        if let Some(spi) = report.rekey {
            let has = |sa: &Established| sa.children.iter().any(|child| child.inbound == spi);
            let found = sas
                .iter()
                .find(|key| self.established(**key).is_some_and(has));
            if let Some(key) = found {
                self.with(*key, |sa, cx| sa.rekey_child(cx, now, spi));
            }
        }
        self.schedule_tunnel(id);
    }
}
