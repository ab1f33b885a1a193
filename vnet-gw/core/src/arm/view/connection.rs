//! connections, and their keys.

use serde_json::{Value, json};

use super::{ConnectionLive, TunnelLive, View, written::Properties};
use crate::{
    arm::State,
    model::{Connection, ConnectionRemote, ResourceId},
};

/// `ConnectionSharedKey`: the answer to `sharedkey`, which shows the key to whoever may ask for
/// it. Nothing where there is no such connection.
pub fn shared_key(state: &State, connection: &ResourceId) -> Option<Value> {
    let (id, _) = state.documents.get_key_value(connection)?;
    let key = state.keys.get(connection)?;
    let value = String::from_utf8_lossy(key.expose());
    Some(json!({ "id": format!("{id}/sharedkey"), "value": value }))
}

impl View<'_> {
    pub(super) fn connection(&self, properties: &mut Properties) {
        let id = &self.document.id;
        for name in [
            "virtualNetworkGateway1",
            "virtualNetworkGateway2",
            "localNetworkGateway2",
        ] {
            self.reference(properties, name);
        }
        if let Some(connection) = self.state.topology.connections.get(id) {
            self.settled(connection, properties);
        }
        properties.default("connectionProtocol", "IKEv2");
        properties.default("routingWeight", 0);
        for name in [
            "enableBgp",
            "useLocalAzureIpAddress",
            "usePolicyBasedTrafficSelectors",
            "expressRouteGatewayBypass",
            "enablePrivateLinkFastPath",
        ] {
            properties.default(name, false);
        }
        for name in [
            "ipsecPolicies",
            "trafficSelectorPolicies",
            "ingressNatRules",
            "egressNatRules",
            "gatewayCustomBgpIpAddresses",
        ] {
            properties.default(name, json!([]));
        }
        live(self.live.connection(id), id.name(), properties);
    }

    /// What the rules made of it.
    fn settled(&self, connection: &Connection, properties: &mut Properties) {
        properties.set("connectionType", connection.connection_type());
        let gateway = self.reference_to(&connection.gateway);
        properties.set("virtualNetworkGateway1", gateway);
        let remote = match &connection.remote {
            ConnectionRemote::VirtualNetworkGateway(_) => "virtualNetworkGateway2",
            ConnectionRemote::LocalNetworkGateway(_) => "localNetworkGateway2",
        };
        properties.set(remote, self.reference_to(connection.remote.id()));
        let timeout = connection.dpd_timeout.as_secs();
        properties.set("dpdTimeoutSeconds", timeout);
        properties.default("connectionMode", "Default");
    }
}

/// How it fares.
fn live(live: Option<ConnectionLive>, name: &str, properties: &mut Properties) {
    let live = live.unwrap_or_else(|| ConnectionLive {
        status: "Unknown".to_owned(),
        ingress_bytes: 0,
        egress_bytes: 0,
        tunnels: Vec::new(),
    });
    properties.set("connectionStatus", live.status);
    properties.set("ingressBytesTransferred", live.ingress_bytes);
    properties.set("egressBytesTransferred", live.egress_bytes);
    let tunnels = live.tunnels.iter().map(|one| tunnel(one, name));
    properties.set("tunnelConnectionStatus", tunnels.collect::<Vec<_>>());
}

fn tunnel(tunnel: &TunnelLive, connection: &str) -> Value {
    let mut shown = json!({
        "tunnel": format!("{connection}_{}_{}", tunnel.local, tunnel.remote),
        "connectionStatus": tunnel.status,
        "ingressBytesTransferred": tunnel.ingress_bytes,
        "egressBytesTransferred": tunnel.egress_bytes,
    });
    if let Some(at) = &tunnel.last_established {
        shown["lastConnectionEstablishedUtcTime"] = at.as_str().into();
    }
    shown
}
