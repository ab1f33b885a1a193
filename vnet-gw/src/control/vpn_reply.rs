//! The bodies of answers about VPN gateways and connections. Never a key, but in [`KeyText`].

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Reference;

/// How many there are, and how many of them work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VpnCounts {
    /// On this host, as everything here.
    pub gateways: usize,
    pub gateways_up: usize,
    pub connections: usize,
    pub connections_connected: usize,
    pub tunnels: usize,
    pub tunnels_connected: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionList {
    pub value: Vec<ConnectionRow>,
}

/// A `connections` resource with its properties beside its name, as `az` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRow {
    pub id: String,
    pub name: String,
    pub resource_group: String,
    /// `Vnet2Vnet` or `IPsec`.
    pub connection_type: String,
    pub virtual_network_gateway1: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network_gateway2: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_network_gateway2: Option<Reference>,
    /// `Unknown`, `Connecting`, `Connected` or `NotConnected`.
    pub connection_status: String,
    /// Why it is not connected, or why a tunnel of it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub ingress_bytes_transferred: u64,
    pub egress_bytes_transferred: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connection_established_utc_time: Option<String>,
    /// What is routed to it.
    pub remote_address_prefixes: Vec<IpNet>,
    pub tunnel_connection_status: Vec<TunnelRow>,
}

impl ConnectionRow {
    pub fn tunnels_connected(&self) -> usize {
        let tunnels = self.tunnel_connection_status.iter();
        tunnels
            .filter(|tunnel| tunnel.connection_status == "Connected")
            .count()
    }
}

/// Azure's `tunnelConnectionStatus[]`, and what the crypto worker counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelRow {
    /// `LOCAL → REMOTE`
    pub tunnel: String,
    pub connection_status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub ingress_bytes_transferred: u64,
    pub egress_bytes_transferred: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connection_established_utc_time: Option<String>,
    pub local_ip_address: IpAddr,
    pub remote_ip_address: IpAddr,
    pub ingress_packets_transferred: u64,
    pub egress_packets_transferred: u64,
    /// Packets that were dropped, by reason; those that counted none are left out.
    pub drops: Vec<DropCount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    pub reason: String,
    pub packets: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayList {
    pub value: Vec<GatewayRow>,
    /// IKE messages of all gateways of this host that were refused, by reason.
    pub ike: Vec<DropCount>,
}

/// A `virtualNetworkGateways` resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRow {
    pub id: String,
    pub name: String,
    pub resource_group: String,
    pub virtual_network: Reference,
    /// `sku.name`
    pub sku: String,
    /// Shared by all tunnels; nothing where it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_second: Option<u64>,
    /// `up`, `down`, or `elsewhere` where it is not on this host.
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// `gso` or `xsk`, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_reason: Option<String>,
    pub instances: Vec<InstanceRow>,
    pub connections: usize,
    pub tunnels: usize,
    pub tunnels_connected: usize,
    /// The VNets that use it by gateway transit.
    pub used_by: Vec<Reference>,
    /// Packets from its own side for its own side, which it handed back to the data path.
    pub turned_back: u64,
    pub drops: Vec<DropCount>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRow {
    pub name: String,
    pub private_ip_address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_ip_address: Option<IpAddr>,
    /// Why nothing comes or goes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IkeSaList {
    pub value: Vec<IkeSaRow>,
}

/// An IKE SA, or a tunnel that has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IkeSaRow {
    /// `LOCAL → REMOTE`, with ports.
    pub tunnel: String,
    pub connection_status: String,
    pub reason: String,
    pub initiator: bool,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// 16 hexadecimal digits.
    pub initiator_spi: String,
    pub responder_spi: String,
    /// `AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<String>,
    /// ML-KEM-768 took part in the key exchange.
    pub post_quantum: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_identity: Option<String>,
    pub nat_local: bool,
    pub nat_remote: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rekey_seconds: Option<u64>,
    pub children: Vec<ChildSaRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildSaRow {
    /// 8 hexadecimal digits.
    pub inbound_spi: String,
    pub outbound_spi: String,
    /// `AES_GCM_16_256`, and the group of perfect forward secrecy where there is one.
    pub proposal: String,
    pub extended_sequence_numbers: bool,
    /// `ESP in UDP` or `ESP`, and between which addresses.
    pub encapsulation: String,
    pub local_selectors: Vec<String>,
    pub remote_selectors: Vec<String>,
    pub rekey_seconds: u64,
}

/// A shared key on its way between the command line and the daemon. Wiped when it goes, and not
/// shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct KeyText(String);

impl KeyText {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

/// Azure's `ConnectionSharedKey`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKeyReply {
    /// The connection.
    pub id: String,
    pub value: KeyText,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_travels_and_does_not_show() {
        let key = KeyText::new("abc123".into());
        assert_eq!(format!("{key:?}"), "KeyText(…)");
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, "\"abc123\"");
        assert_eq!(serde_json::from_str::<KeyText>(&text).unwrap(), key);
    }
}
