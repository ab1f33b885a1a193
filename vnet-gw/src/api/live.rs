//! What only the running tunnels know, as the views of resources ask for it.

use tokio::sync::oneshot;
use vnet_gw_core::{
    arm::{ConnectionLive, Live, TunnelLive},
    model::ResourceId,
};

use super::{Api, Refusal};
use crate::{
    control::Asked,
    vpn::{ConnectionStatus, Question, TunnelStatus, VpnStatus, state_name},
};

/// The VPN at one moment.
#[derive(Debug, Default)]
pub(super) struct Tunnels(VpnStatus);

impl Live for Tunnels {
    fn connection(&self, id: &ResourceId) -> Option<ConnectionLive> {
        let mut all = self.0.gateways.iter().flat_map(|one| &one.connections);
        all.find(|one| one.id == *id).map(connection)
    }
}

fn connection(status: &ConnectionStatus) -> ConnectionLive {
    ConnectionLive {
        status: state_name(status.state()).to_owned(),
        ingress_bytes: status.bytes_in(),
        egress_bytes: status.bytes_out(),
        tunnels: status.tunnels.iter().map(tunnel).collect(),
    }
}

fn tunnel(status: &TunnelStatus) -> TunnelLive {
    TunnelLive {
        local: status.local,
        remote: status.remote,
        status: state_name(status.state).to_owned(),
        ingress_bytes: status.counters.bytes_in,
        egress_bytes: status.counters.bytes_out,
        last_established: status
            .last_established
            .map(|at| humantime::format_rfc3339_seconds(at).to_string()),
    }
}

impl Api {
    /// Nothing is known of the tunnels while the daemon ends: resources are shown all the same.
    pub(super) async fn tunnels(&self) -> Tunnels {
        Tunnels(self.ask(Question::Status).await.unwrap_or_default())
    }

    /// Asks the VPN side, by way of the daemon's loop.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Refusal> {
        self.ask_daemon(|answer| Asked::Vpn(question(answer))).await
    }

    /// Asks the daemon's loop.
    pub(super) async fn ask_daemon<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Asked,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let sent = self.questions.send(question(answer)).await;
        sent.map_err(|_| Refusal::ending())?;
        answered.await.map_err(|_| Refusal::ending())
    }
}
