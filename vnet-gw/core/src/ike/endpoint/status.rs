//! For `ike-sas`. Never keys.

use std::{net::SocketAddr, time::Instant};

use super::{Endpoint, Sa};
use crate::ike::{
    ChildStatus, IkeSaStatus, context::IKE_PORT, established::Established, tunnel::Tunnel,
};

impl Endpoint {
    pub(super) fn statuses(&self, now: Instant) -> Vec<IkeSaStatus> {
        let mut out = Vec::new();
        for tunnel in self.tunnels.values() {
            let before = out.len();
            let keys = tunnel.sas.iter().chain(&tunnel.attempt);
            out.extend(keys.filter_map(|key| {
                let sa = self.sas.get(key)?;
                Some(status(now, tunnel, sa))
            }));
            if out.len() == before {
                out.push(empty(tunnel));
            }
        }
        out
    }
}

fn empty(tunnel: &Tunnel) -> IkeSaStatus {
    let config = &tunnel.config;
    IkeSaStatus {
        tunnel: config.id,
        name: config.name.clone(),
        state: tunnel.state,
        reason: tunnel.reason.clone(),
        initiator: false,
        local: SocketAddr::new(config.local, IKE_PORT),
        remote: SocketAddr::new(config.remote, IKE_PORT),
        initiator_spi: 0,
        responder_spi: 0,
        proposal: None,
        post_quantum: false,
        peer_identity: None,
        nat_local: false,
        nat_remote: false,
        rekey_in: None,
        established_for: None,
        children: Vec::new(),
    }
}

fn status(now: Instant, tunnel: &Tunnel, sa: &Sa) -> IkeSaStatus {
    let mut status = empty(tunnel);
    let negotiated = match sa {
        Sa::Established(sa) => {
            established(now, &mut status, sa);
            return status;
        }
        Sa::Init(sent) => {
            status.initiator = true;
            status.initiator_spi = sent.spi;
            (status.local, status.remote) = (sent.path.local, sent.path.remote);
            return status;
        }
        Sa::Intermediate(sent) => &sent.negotiated,
        Sa::Auth(sent) => &sent.negotiated,
        Sa::HalfOpen(half) => &half.negotiated,
    };
    let channel = &negotiated.channel;
    status.initiator = channel.spis.ours_is_initiator;
    status.initiator_spi = channel.spis.initiator;
    status.responder_spi = channel.spis.responder;
    (status.local, status.remote) = (channel.path.local, channel.path.remote);
    status.proposal = Some(negotiated.proposal());
    status.post_quantum = negotiated.post_quantum;
    status.nat_local = negotiated.nat.local;
    status.nat_remote = negotiated.nat.remote;
    status
}

fn established(now: Instant, status: &mut IkeSaStatus, sa: &Established) {
    let channel = &sa.channel;
    status.initiator = channel.spis.ours_is_initiator;
    status.initiator_spi = channel.spis.initiator;
    status.responder_spi = channel.spis.responder;
    (status.local, status.remote) = (channel.path.local, channel.path.remote);
    status.proposal = Some(sa.proposal());
    status.post_quantum = sa.post_quantum;
    status.peer_identity = Some(sa.peer_identity.clone());
    status.nat_local = sa.nat.local;
    status.nat_remote = sa.nat.remote;
    status.rekey_in = Some(sa.rekey_at.saturating_duration_since(now));
    status.established_for = Some(now.saturating_duration_since(sa.since));
    status.children = sa
        .children
        .iter()
        .map(|child| ChildStatus {
            inbound: child.inbound,
            outbound: child.outbound,
            proposal: child.proposal,
            esn: child.esn,
            encapsulation: child.encapsulation,
            local_selectors: child.local_selectors.clone(),
            remote_selectors: child.remote_selectors.clone(),
            rekey_in: child.rekey_at.saturating_duration_since(now),
        })
        .collect();
}
