//! How the gateways of this host and their tunnels fare.

use std::{fmt, net::IpAddr, time::SystemTime};

use ipnet::IpNet;
use vnet_gw_core::{
    ike::{EndpointCounters, TunnelState},
    model::ResourceId,
    sa::TunnelId,
};

use crate::worker::{TunnelCounters, WorkerStats};

/// Everything at one moment. Never a key.
#[derive(Clone, Debug, Default)]
pub struct VpnStatus {
    /// Ordered by id.
    pub gateways: Vec<GatewayStatus>,
    pub ike: EndpointCounters,
}

#[derive(Clone, Debug)]
pub struct GatewayStatus {
    pub id: ResourceId,
    pub device: String,
    /// Why it does not work; `None` where it does.
    pub trouble: Option<String>,
    /// Bits a second that all tunnels share; `None`: unlimited.
    pub bandwidth: Option<u64>,
    pub instances: Vec<InstanceStatus>,
    /// While it works.
    pub worker: Option<WorkerStats>,
    pub connections: Vec<ConnectionStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceStatus {
    pub name: String,
    pub private_address: IpAddr,
    pub public_address: IpAddr,
    /// Why nothing comes or goes at the public address.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    pub id: ResourceId,
    pub vnet_to_vnet: bool,
    pub remote_prefixes: Vec<IpNet>,
    pub tunnels: Vec<TunnelStatus>,
}

#[derive(Clone, Debug)]
pub struct TunnelStatus {
    pub id: TunnelId,
    pub local: IpAddr,
    pub remote: IpAddr,
    pub state: TunnelState,
    pub reason: String,
    /// Connected, and does not answer at the moment: traffic goes elsewhere.
    pub silent: bool,
    pub last_established: Option<SystemTime>,
    /// Since the daemon started.
    pub counters: TunnelCounters,
    pub sas: SaCounts,
}

/// Pairs of CHILD SAs of one tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaCounts {
    pub now: u64,
    /// Since the daemon started.
    pub established: u64,
    /// Those among them that took the place of another.
    pub rekeys: u64,
}

impl ConnectionStatus {
    /// Connected if any tunnel is, Connecting if any is connecting, else NotConnected; Unknown
    /// where nothing is known of any tunnel yet.
    pub fn state(&self) -> TunnelState {
        let any = |state| self.tunnels.iter().any(|tunnel| tunnel.state == state);
        [
            TunnelState::Connected,
            TunnelState::Connecting,
            TunnelState::NotConnected,
        ]
        .into_iter()
        .find(|state| any(*state))
        .unwrap_or_default()
    }

    /// Why it is not connected, or why not all of it is: one reason, the first tunnel's that has
    /// one; or how many of its tunnels do not answer.
    pub fn reason(&self) -> Option<String> {
        let down = |tunnel: &&TunnelStatus| tunnel.state != TunnelState::Connected;
        let mut down = self.tunnels.iter().filter(down);
        if let Some(tunnel) = down.find(|tunnel| !tunnel.reason.is_empty()) {
            return Some(tunnel.reason.clone());
        }
        let silent = self.tunnels.iter().filter(|tunnel| tunnel.silent).count();
        (silent > 0).then(|| {
            let all = self.tunnels.len();
            format!("{silent} of {all} tunnels do not answer at the moment")
        })
    }

    pub fn tunnels_up(&self) -> usize {
        let up = |tunnel: &&TunnelStatus| tunnel.state == TunnelState::Connected;
        self.tunnels.iter().filter(up).count()
    }

    pub fn last_established(&self) -> Option<SystemTime> {
        self.tunnels
            .iter()
            .filter_map(|tunnel| tunnel.last_established)
            .max()
    }

    pub fn bytes_in(&self) -> u64 {
        self.tunnels
            .iter()
            .map(|tunnel| tunnel.counters.bytes_in)
            .sum()
    }

    pub fn bytes_out(&self) -> u64 {
        self.tunnels
            .iter()
            .map(|tunnel| tunnel.counters.bytes_out)
            .sum()
    }
}

/// Azure's word for it.
pub const fn state_name(state: TunnelState) -> &'static str {
    match state {
        TunnelState::Unknown => "Unknown",
        TunnelState::Connecting => "Connecting",
        TunnelState::Connected => "Connected",
        TunnelState::NotConnected => "NotConnected",
    }
}

/// What a worker counted before it ended goes on counting.
pub(super) fn sum(before: TunnelCounters, now: TunnelCounters) -> TunnelCounters {
    TunnelCounters {
        packets_in: before.packets_in + now.packets_in,
        bytes_in: before.bytes_in + now.bytes_in,
        packets_out: before.packets_out + now.packets_out,
        bytes_out: before.bytes_out + now.bytes_out,
        replayed: before.replayed + now.replayed,
        bad_integrity: before.bad_integrity + now.bad_integrity,
        outside_selectors: before.outside_selectors + now.outside_selectors,
        malformed: before.malformed + now.malformed,
        too_big: before.too_big + now.too_big,
        congested: before.congested + now.congested,
        last_received: now.last_received.max(before.last_received),
    }
}

/// `192.0.2.1 → 192.0.2.9`
pub(super) struct Ends(pub(super) IpAddr, pub(super) IpAddr);

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(states: &[TunnelState]) -> ConnectionStatus {
        let tunnel = |state: &TunnelState| TunnelStatus {
            id: TunnelId(1),
            local: "192.0.2.1".parse().unwrap(),
            remote: "192.0.2.9".parse().unwrap(),
            state: *state,
            reason: format!("because {state:?}"),
            silent: false,
            last_established: None,
            counters: TunnelCounters {
                bytes_in: 2,
                ..TunnelCounters::default()
            },
            sas: SaCounts::default(),
        };
        ConnectionStatus {
            id: ResourceId::new("a"),
            vnet_to_vnet: true,
            remote_prefixes: Vec::new(),
            tunnels: states.iter().map(tunnel).collect(),
        }
    }

    #[test]
    fn a_connection_is_as_good_as_its_best_tunnel() {
        use TunnelState::{Connected, Connecting, NotConnected, Unknown};
        for (tunnels, state, reason) in [
            (
                &[NotConnected, Connected][..],
                Connected,
                Some("because NotConnected"),
            ),
            (
                &[NotConnected, Connecting],
                Connecting,
                Some("because NotConnected"),
            ),
            (
                &[NotConnected, Unknown],
                NotConnected,
                Some("because NotConnected"),
            ),
            (&[Connected], Connected, None),
            (&[Unknown], Unknown, Some("because Unknown")),
            (&[], Unknown, None),
        ] {
            let connection = connection(tunnels);
            assert_eq!(
                (connection.state(), connection.reason().as_deref()),
                (state, reason)
            );
            assert_eq!(connection.bytes_in(), 2 * tunnels.len() as u64);
        }
    }

    #[test]
    fn tunnels_that_do_not_answer_are_counted() {
        let mut connection = connection(&[TunnelState::Connected; 4]);
        connection.tunnels[1].silent = true;
        let reason = "1 of 4 tunnels do not answer at the moment";
        assert_eq!(connection.reason().as_deref(), Some(reason));
        // What is down says more.
        connection.tunnels[3].state = TunnelState::NotConnected;
        connection.tunnels[3].reason = "refused".into();
        assert_eq!(connection.reason().as_deref(), Some("refused"));
    }
}
