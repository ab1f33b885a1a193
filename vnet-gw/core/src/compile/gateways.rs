//! VPN gateways of this host: their ports, and their connections with every tunnel.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{CompileOptions, ConnectionImage, GatewayImage, GatewayInstance, PortImage, proposals};
use crate::{
    ike::{Identity, Lifetimes, TunnelConfig},
    model::{
        Connection, IpsecPolicy, ResourceId, Topology, VirtualNetwork, VirtualNetworkGateway, fnv1a,
    },
    sa::{TrafficSelector, TunnelId},
    secret::Secret,
    security::PortSecurity,
};

/// Of a gateway's port: of the id's hash, and locally administered, so that it is none of a NIC's.
pub(super) fn mac(gateway: &ResourceId) -> [u8; 6] {
    let [a, b, c, d, e, ..] = gateway.stable_hash().to_be_bytes();
    [0x02, a, b, c, d, e]
}

/// At most 15 bytes, as Linux wants it.
fn device(gateway: &ResourceId) -> String {
    format!("vgw{:012x}", gateway.stable_hash() >> 16)
}

pub(super) fn port(gateway: &VirtualNetworkGateway, image: &GatewayImage) -> PortImage {
    PortImage {
        device: image.device.clone(),
        mac: image.mac,
        vnet: image.vnet.clone(),
        subnet: gateway.subnet.clone(),
        addresses: image.instances.iter().map(|i| i.private_address).collect(),
        ip_forwarding: true,
        gateway: true,
        security: PortSecurity::default(),
        flow_timeout: VirtualNetwork::FLOW_TIMEOUT,
    }
}

pub(super) fn image(
    topology: &Topology,
    options: &CompileOptions<'_>,
    gateway: &VirtualNetworkGateway,
    vnet: &VirtualNetwork,
) -> GatewayImage {
    let instances = gateway
        .ip_configurations
        .iter()
        .zip(&gateway.public_addresses);
    let connections = topology.connections_of(&gateway.id);
    let behind = topology.behind_gateway(vnet);
    let local_prefixes: Vec<IpNet> = behind.flat_map(|(_, prefixes)| prefixes).copied().collect();
    GatewayImage {
        id: gateway.id.clone(),
        vnet: vnet.id.clone(),
        device: device(&gateway.id),
        mac: mac(&gateway.id),
        instances: instances
            .map(|(configuration, public)| GatewayInstance {
                name: configuration.name.clone(),
                private_address: configuration.private_ip_address,
                public_address: *public,
            })
            .collect(),
        bandwidth: gateway.bandwidth,
        connections: connections
            .map(|connection| ConnectionImage {
                id: connection.id.clone(),
                vnet_to_vnet: connection.is_vnet_to_vnet(),
                remote_prefixes: connection.remote_prefixes.clone(),
                tunnels: match key(topology, options, connection) {
                    Some(key) => tunnels(gateway, &local_prefixes, connection, key),
                    None => Vec::new(),
                },
            })
            .collect(),
        local_prefixes,
    }
}

/// The template's, else the one that was made; the two of a pair have one.
fn key<'a>(
    topology: &'a Topology,
    options: &CompileOptions<'a>,
    connection: &'a Connection,
) -> Option<&'a Secret> {
    let made = || {
        let back = || {
            options
                .shared_keys
                .get(&topology.connection_back(connection)?.id)
        };
        options.shared_keys.get(&connection.id).or_else(back)
    };
    topology.shared_key(connection).or_else(made)
}

fn tunnels(
    gateway: &VirtualNetworkGateway,
    local_prefixes: &[IpNet],
    connection: &Connection,
    key: &Secret,
) -> Vec<TunnelConfig> {
    let policy = connection.ipsec_policy.as_ref();
    let [local_selectors, remote_selectors]: [Vec<_>; 2] = connection
        .selectors(local_prefixes)
        .map(|prefixes| prefixes.into_iter().map(TrafficSelector::prefix).collect());
    let pairs = gateway.public_addresses.iter().flat_map(|local| {
        let remotes = connection.remote_addresses.iter();
        remotes.map(|remote| (*local, *remote))
    });
    pairs
        .filter(|(local, remote)| local.is_ipv4() == remote.is_ipv4())
        .map(|(local, remote)| TunnelConfig {
            id: tunnel_id(&connection.id, local, remote),
            name: format!("{} {local} → {remote}", connection.id.name()).into(),
            local,
            remote,
            local_id: connection.local_id.clone().unwrap_or(Identity::Ip(local)),
            remote_ids: connection.remote_id.iter().cloned().collect(),
            key: key.clone(),
            mode: connection.mode,
            ike: proposals::ike(policy),
            esp: proposals::esp(policy),
            local_selectors: local_selectors.clone(),
            remote_selectors: remote_selectors.clone(),
            lifetimes: lifetimes(policy),
            dpd: connection.dpd_timeout,
            encapsulation: connection.encapsulation,
            post_quantum: connection.post_quantum,
            generation: 0,
        })
        .collect()
}

fn tunnel_id(connection: &ResourceId, local: IpAddr, remote: IpAddr) -> TunnelId {
    TunnelId(fnv1a(&format!("{}|{local}|{remote}", connection.key())))
}

fn lifetimes(policy: Option<&IpsecPolicy>) -> Lifetimes {
    let child = policy.map_or(IpsecPolicy::LIFE_TIME, |policy| policy.sa_life_time);
    let kilobytes = policy.map_or(IpsecPolicy::KILOBYTES, |policy| {
        policy.sa_data_size_kilobytes
    });
    Lifetimes {
        ike: IpsecPolicy::IKE_LIFE_TIME,
        child,
        child_bytes: Some(kilobytes.saturating_mul(1_024)),
    }
}
