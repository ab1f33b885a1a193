//! What is known of each tunnel, and the log lines about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use vnet_gw_core::{compile::GatewayImage, ike::TunnelState, model::ResourceId, sa::TunnelId};

use crate::{
    vpn::status::{Ends, SaCounts, TunnelStatus, state_name, sum},
    worker::TunnelCounters,
};

/// How long until the next attempt at something that failed `attempts` times before: a second, then
/// twice as long, up to half a minute.
pub(super) fn unhurried(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.min(5)).min(Duration::from_secs(30))
}

#[derive(Default)]
pub(super) struct Tunnels(BTreeMap<TunnelId, Tunnel>);

struct Tunnel {
    gateway: ResourceId,
    connection: ResourceId,
    local: IpAddr,
    remote: IpAddr,
    state: TunnelState,
    reason: String,
    /// What IKE says does not count while its gateway or address is out of order.
    troubled: bool,
    /// Its path answers; else flows keep off it, whatever its state is.
    usable: bool,
    /// The last failure that was logged as one, until it is connected: attempts that end the same
    /// way again and again are told once.
    told: Option<String>,
    last_established: Option<SystemTime>,
    /// Of workers that ended.
    counted: TunnelCounters,
    sas: SaCounts,
}

impl Tunnels {
    /// The tunnels from now on.
    pub(super) fn follow<'a>(&mut self, images: impl Iterator<Item = &'a GatewayImage>) {
        let mut wanted = BTreeSet::new();
        for image in images {
            for connection in &image.connections {
                for tunnel in &connection.tunnels {
                    wanted.insert(tunnel.id);
                    self.0.entry(tunnel.id).or_insert_with(|| Tunnel {
                        gateway: image.id.clone(),
                        connection: connection.id.clone(),
                        local: tunnel.local,
                        remote: tunnel.remote,
                        state: TunnelState::Unknown,
                        reason: String::new(),
                        troubled: false,
                        usable: true,
                        told: None,
                        last_established: None,
                        counted: TunnelCounters::default(),
                        sas: SaCounts::default(),
                    });
                }
            }
        }
        self.0.retain(|id, _| wanted.contains(id));
    }

    pub(super) fn gateway(&self, id: TunnelId) -> Option<&ResourceId> {
        Some(&self.0.get(&id)?.gateway)
    }

    pub(super) fn connection(&self, id: TunnelId) -> Option<&ResourceId> {
        Some(&self.0.get(&id)?.connection)
    }

    /// What IKE says.
    pub(super) fn state(&mut self, id: TunnelId, state: TunnelState, reason: String) {
        if let Some(tunnel) = self.0.get_mut(&id)
            && !tunnel.troubled
        {
            tunnel.change(state, reason);
        }
    }

    /// Its gateway or address is out of order, or (`None`) is not any more.
    pub(super) fn trouble(&mut self, id: TunnelId, trouble: Option<&str>) {
        let Some(tunnel) = self.0.get_mut(&id) else {
            return;
        };
        match trouble {
            Some(reason) => tunnel.change(TunnelState::NotConnected, reason.to_owned()),
            None if tunnel.troubled => tunnel.change(TunnelState::Unknown, String::new()),
            None => {}
        }
        tunnel.troubled = trouble.is_some();
    }

    /// The path of a tunnel does not answer, or does again.
    pub(super) fn path(&mut self, id: TunnelId, usable: bool) {
        let Some(tunnel) = self.0.get_mut(&id).filter(|one| one.usable != usable) else {
            return;
        };
        tunnel.usable = usable;
        // One that is not connected says why already.
        if tunnel.state != TunnelState::Connected {
            return;
        }
        let (connection, ends) = (tunnel.connection.name(), Ends(tunnel.local, tunnel.remote));
        if usable {
            log::info!("connection {connection}: tunnel {ends} answers again");
        } else {
            log::warn!("connection {connection}: tunnel {ends} does not answer; traffic leaves it");
        }
    }

    /// IKE made a pair of CHILD SAs.
    pub(super) fn child_up(&mut self, id: TunnelId) {
        if let Some(tunnel) = self.0.get_mut(&id) {
            tunnel.sas.rekeys += u64::from(tunnel.sas.now > 0);
            tunnel.sas.established += 1;
            tunnel.sas.now += 1;
        }
    }

    /// IKE took one away.
    pub(super) fn child_down(&mut self, id: TunnelId) {
        if let Some(tunnel) = self.0.get_mut(&id) {
            tunnel.sas.now = tunnel.sas.now.saturating_sub(1);
        }
    }

    /// Adds what a worker that ends has counted.
    pub(super) fn keep(&mut self, id: TunnelId, counters: TunnelCounters) {
        if let Some(tunnel) = self.0.get_mut(&id) {
            tunnel.counted = sum(tunnel.counted, counters);
        }
    }

    pub(super) fn fill(&self, status: &mut TunnelStatus) {
        if let Some(tunnel) = self.0.get(&status.id) {
            status.state = tunnel.state;
            status.reason.clone_from(&tunnel.reason);
            status.silent = tunnel.state == TunnelState::Connected && !tunnel.usable;
            if status.silent {
                status.reason.push_str("; does not answer at the moment");
            }
            status.last_established = tunnel.last_established;
            status.counters = tunnel.counted;
            status.sas = tunnel.sas;
        }
    }
}

impl Tunnel {
    fn change(&mut self, state: TunnelState, reason: String) {
        if (self.state, &self.reason) == (state, &reason) {
            return;
        }
        if state == TunnelState::Connected && self.state != TunnelState::Connected {
            self.last_established = Some(SystemTime::now());
        }
        (self.state, self.reason) = (state, reason);
        self.tell();
    }

    fn tell(&mut self) {
        let Self {
            connection,
            local,
            remote,
            state,
            reason,
            told,
            ..
        } = self;
        let line = format!(
            "connection {}: tunnel {} {}",
            connection.name(),
            Ends(*local, *remote),
            state_name(*state)
        );
        match state {
            TunnelState::Connected => {
                *told = None;
                log::info!("{line} ({reason})");
            }
            TunnelState::NotConnected if told.as_ref() != Some(reason) => {
                log::warn!("{line}: {reason}");
                *told = Some(reason.clone());
            }
            TunnelState::Connecting if told.is_none() => log::info!("{line}"),
            _ => log::debug!("{line}: {reason}"),
        }
    }
}
