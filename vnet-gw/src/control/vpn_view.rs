//! Rows about VPN gateways and connections: what the configuration says, with how it fares.

use std::time::{Duration, SystemTime};

use vnet_gw_core::{
    ike::{ChildStatus, EndpointCounters, Identity, IkeSaStatus, TunnelState},
    model::{self, ConnectionRemote, ResourceId, Topology, VirtualNetworkGateway},
    sa::{Encapsulation, TrafficSelector},
};

use super::{
    ChildSaRow, ConnectionList, ConnectionRow, DropCount, ErrorCode, ErrorReply, GatewayList,
    GatewayRow, IkeSaRow, InstanceRow, Reference, Snapshot, TunnelRow, VpnCounts, group_of,
};
use crate::{
    vpn::{ConnectionStatus, GatewayStatus, TunnelStatus, VpnStatus, state_name},
    worker::{TunnelCounters, WorkerStats},
};

pub(super) fn counts(status: &VpnStatus) -> VpnCounts {
    let gateways = status.gateways.iter();
    let connections = gateways.clone().flat_map(|gateway| &gateway.connections);
    VpnCounts {
        gateways: gateways.len(),
        gateways_up: gateways.filter(|gateway| gateway.trouble.is_none()).count(),
        connections: connections.clone().count(),
        connections_connected: connections
            .clone()
            .filter(|one| one.state() == TunnelState::Connected)
            .count(),
        tunnels: connections.clone().map(|one| one.tunnels.len()).sum(),
        tunnels_connected: connections.map(ConnectionStatus::tunnels_up).sum(),
    }
}

pub(super) fn connections(snapshot: &Snapshot, status: &VpnStatus) -> ConnectionList {
    let rows = snapshot.topology.connections.values();
    ConnectionList {
        value: rows.map(|one| row(snapshot, status, one)).collect(),
    }
}

pub(super) fn connection(
    snapshot: &Snapshot,
    status: &VpnStatus,
    id: &ResourceId,
) -> Result<ConnectionRow, ErrorReply> {
    let connection = snapshot.topology.connections.get(id);
    let connection = connection.ok_or_else(|| {
        ErrorReply::new(
            ErrorCode::Name,
            format!("connection {}: it went meanwhile", id.name()),
        )
    })?;
    Ok(row(snapshot, status, connection))
}

fn row(snapshot: &Snapshot, status: &VpnStatus, connection: &model::Connection) -> ConnectionRow {
    let id = &connection.id;
    let known = status
        .gateways
        .iter()
        .flat_map(|gateway| &gateway.connections)
        .find(|one| one.id == *id);
    let (mut remote_gateway, mut site) = (None, None);
    let reference = |id: &ResourceId| Reference { id: id.to_string() };
    match &connection.remote {
        ConnectionRemote::VirtualNetworkGateway(id) => remote_gateway = Some(reference(id)),
        ConnectionRemote::LocalNetworkGateway(id) => site = Some(reference(id)),
    }
    let reason = match known {
        Some(known) => known.reason(),
        None => Some(elsewhere(&snapshot.topology, id)),
    };
    ConnectionRow {
        id: id.to_string(),
        name: id.name().to_owned(),
        resource_group: group_of(id.as_str()).to_owned(),
        connection_type: connection.connection_type().to_owned(),
        virtual_network_gateway1: reference(&connection.gateway),
        virtual_network_gateway2: remote_gateway,
        local_network_gateway2: site,
        connection_status: state_name(known.map(ConnectionStatus::state).unwrap_or_default())
            .to_owned(),
        reason,
        ingress_bytes_transferred: known.map_or(0, ConnectionStatus::bytes_in),
        egress_bytes_transferred: known.map_or(0, ConnectionStatus::bytes_out),
        last_connection_established_utc_time: known
            .and_then(ConnectionStatus::last_established)
            .map(time),
        remote_address_prefixes: connection.remote_prefixes.clone(),
        tunnel_connection_status: known
            .iter()
            .flat_map(|known| &known.tunnels)
            .map(tunnel)
            .collect(),
    }
}

/// Why a connection of the configuration has no tunnels here.
pub(super) fn elsewhere(topology: &Topology, connection: &ResourceId) -> String {
    let gateway = topology
        .connections
        .get(connection)
        .and_then(|connection| topology.virtual_network_gateways.get(&connection.gateway));
    match gateway.map(|gateway| &**gateway) {
        Some(VirtualNetworkGateway {
            id,
            host: Some(host),
            ..
        }) => format!("its gateway {} lives on host {host}", id.name()),
        Some(gateway) => format!("its gateway {} is not up yet", gateway.id.name()),
        None => "it is not in force yet".to_owned(),
    }
}

fn tunnel(tunnel: &TunnelStatus) -> TunnelRow {
    let TunnelCounters {
        packets_in,
        bytes_in,
        packets_out,
        bytes_out,
        ..
    } = tunnel.counters;
    TunnelRow {
        tunnel: format!("{} → {}", tunnel.local, tunnel.remote),
        connection_status: state_name(tunnel.state).to_owned(),
        reason: Some(tunnel.reason.clone()).filter(|reason| !reason.is_empty()),
        ingress_bytes_transferred: bytes_in,
        egress_bytes_transferred: bytes_out,
        last_connection_established_utc_time: tunnel.last_established.map(time),
        local_ip_address: tunnel.local,
        remote_ip_address: tunnel.remote,
        ingress_packets_transferred: packets_in,
        egress_packets_transferred: packets_out,
        drops: drops(&tunnel_drops(&tunnel.counters)),
    }
}

const fn tunnel_drops(counters: &TunnelCounters) -> [(&'static str, u64); 5] {
    [
        ("replayed", counters.replayed),
        ("bad_integrity", counters.bad_integrity),
        ("outside_selectors", counters.outside_selectors),
        ("malformed", counters.malformed),
        ("too_big", counters.too_big),
    ]
}

fn drops(counted: &[(&str, u64)]) -> Vec<DropCount> {
    let counted = counted.iter().filter(|(_, packets)| *packets > 0);
    counted
        .map(|(reason, packets)| DropCount {
            reason: (*reason).to_owned(),
            packets: *packets,
        })
        .collect()
}

pub(super) fn gateways(snapshot: &Snapshot, status: &VpnStatus) -> GatewayList {
    let rows = snapshot.topology.virtual_network_gateways.values();
    let EndpointCounters {
        malformed,
        unknown_spi,
        bad_integrity,
        replayed,
        cookies_asked,
        rate_limited,
        unknown_peer,
        ..
    } = status.ike;
    GatewayList {
        value: rows
            .map(|gateway| {
                let mut known = status.gateways.iter();
                let known = known.find(|one| one.id == gateway.id);
                gateway_row(&snapshot.topology, gateway, known)
            })
            .collect(),
        ike: drops(&[
            ("malformed", malformed),
            ("unknown_spi", unknown_spi),
            ("bad_integrity", bad_integrity),
            ("replayed", replayed),
            ("cookies_asked", cookies_asked),
            ("rate_limited", rate_limited),
            ("unknown_peer", unknown_peer),
        ]),
    }
}

fn gateway_row(
    topology: &Topology,
    gateway: &VirtualNetworkGateway,
    known: Option<&GatewayStatus>,
) -> GatewayRow {
    let (state, reason) = match (known, &gateway.host) {
        (Some(GatewayStatus { trouble: None, .. }), _) => ("up", None),
        (Some(known), _) => ("down", known.trouble.clone()),
        (None, Some(host)) => ("elsewhere", Some(format!("it lives on host {host}"))),
        (None, None) => ("down", Some("not started yet".to_owned())),
    };
    let worker = known.and_then(|known| known.worker.as_ref());
    let connections = known.map(|known| known.connections.as_slice());
    let connections = connections.unwrap_or_default();
    let instances = match known {
        Some(known) => known
            .instances
            .iter()
            .map(|one| InstanceRow {
                name: one.name.clone(),
                private_ip_address: one.private_address,
                public_ip_address: Some(one.public_address),
                reason: one.trouble.clone(),
            })
            .collect(),
        None => {
            let public = gateway.public_addresses.iter().copied().map(Some);
            let public = public.chain(std::iter::repeat(None));
            let instances = gateway.ip_configurations.iter().zip(public);
            instances
                .map(|(one, public_ip_address)| InstanceRow {
                    name: one.name.clone(),
                    private_ip_address: one.private_ip_address,
                    public_ip_address,
                    reason: None,
                })
                .collect()
        }
    };
    GatewayRow {
        id: gateway.id.to_string(),
        name: gateway.id.name().to_owned(),
        resource_group: group_of(gateway.id.as_str()).to_owned(),
        virtual_network: Reference {
            id: gateway.virtual_network.to_string(),
        },
        sku: gateway.sku_name.to_owned(),
        bits_per_second: gateway.bandwidth,
        state: state.to_owned(),
        reason,
        device: known.map(|known| known.device.clone()),
        engine: worker.map(|worker| worker.engine.to_owned()),
        engine_reason: worker.map(|worker| worker.engine_reason.clone()),
        instances,
        connections: connections.len(),
        tunnels: connections.iter().map(|one| one.tunnels.len()).sum(),
        tunnels_connected: connections.iter().map(ConnectionStatus::tunnels_up).sum(),
        used_by: used_by(topology, gateway),
        turned_back: worker.map_or(0, |worker| worker.turned_back),
        drops: worker.map_or_else(Vec::new, |worker| worker_drops(worker, connections)),
    }
}

/// The VNets that use the gateway by gateway transit.
fn used_by(topology: &Topology, gateway: &VirtualNetworkGateway) -> Vec<Reference> {
    let hub = topology.virtual_networks.get(&gateway.virtual_network);
    let behind = hub.into_iter().flat_map(|hub| topology.behind_gateway(hub));
    let spokes = behind.filter(|(vnet, _)| **vnet != gateway.virtual_network);
    spokes
        .map(|(vnet, _)| Reference {
            id: vnet.to_string(),
        })
        .collect()
}

/// Of the gateway itself, and of all its tunnels together.
fn worker_drops(worker: &WorkerStats, connections: &[ConnectionStatus]) -> Vec<DropCount> {
    let mut counted = vec![
        ("no_tunnel", worker.no_tunnel),
        ("over_bandwidth_out", worker.over_bandwidth_out),
        ("over_bandwidth_in", worker.over_bandwidth_in),
        ("unknown_spi", worker.unknown_spi),
        ("ike_overflow", worker.ike_overflow),
        ("underlay_send_errors", worker.underlay_send_errors),
        ("port_write_errors", worker.port_write_errors),
    ];
    let mut sums = tunnel_drops(&TunnelCounters::default());
    for tunnel in connections.iter().flat_map(|one| &one.tunnels) {
        for (sum, (_, packets)) in sums.iter_mut().zip(tunnel_drops(&tunnel.counters)) {
            sum.1 += packets;
        }
    }
    counted.extend(sums);
    drops(&counted)
}

pub(super) fn ike_sa(sa: &IkeSaStatus) -> IkeSaRow {
    IkeSaRow {
        tunnel: format!("{} → {}", sa.local, sa.remote),
        connection_status: state_name(sa.state).to_owned(),
        reason: sa.reason.0.clone(),
        initiator: sa.initiator,
        local: sa.local,
        remote: sa.remote,
        initiator_spi: format!("{:016x}", sa.initiator_spi),
        responder_spi: format!("{:016x}", sa.responder_spi),
        proposal: sa.proposal.map(|proposal| proposal.to_string()),
        post_quantum: sa.post_quantum,
        peer_identity: sa.peer_identity.as_ref().map(identity),
        nat_local: sa.nat_local,
        nat_remote: sa.nat_remote,
        established_seconds: sa.established_for.as_ref().map(Duration::as_secs),
        rekey_seconds: sa.rekey_in.as_ref().map(Duration::as_secs),
        children: sa.children.iter().map(child).collect(),
    }
}

fn child(child: &ChildStatus) -> ChildSaRow {
    let selectors = |list: &[TrafficSelector]| list.iter().map(selector).collect();
    ChildSaRow {
        inbound_spi: child.inbound.to_string(),
        outbound_spi: child.outbound.to_string(),
        proposal: child.proposal.to_string(),
        extended_sequence_numbers: child.esn,
        encapsulation: match child.encapsulation {
            Encapsulation::Esp { local, remote } => format!("ESP, {local} → {remote}"),
            Encapsulation::Udp { local, remote } => format!("ESP in UDP, {local} → {remote}"),
        },
        local_selectors: selectors(&child.local_selectors),
        remote_selectors: selectors(&child.remote_selectors),
        rekey_seconds: child.rekey_in.as_secs(),
    }
}

/// A prefix where it is one, else the range; with protocol and ports where they are limited.
fn selector(selector: &TrafficSelector) -> String {
    let (first, last) = selector.addresses;
    let bits = if first.is_ipv4() { 32 } else { 128 };
    let prefix = (0..=bits)
        .filter_map(|length| ipnet::IpNet::new(first, length).ok())
        .find(|prefix| prefix.network() == first && prefix.broadcast() == last);
    let mut text = match prefix {
        Some(prefix) => prefix.to_string(),
        None => format!("{first}-{last}"),
    };
    if selector.protocol != 0 {
        text.push_str(&format!(" protocol {}", selector.protocol));
    }
    if selector.ports != (0, u16::MAX) {
        text.push_str(&format!(" ports {}-{}", selector.ports.0, selector.ports.1));
    }
    text
}

fn identity(identity: &Identity) -> String {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    match identity {
        Identity::Ip(address) => address.to_string(),
        Identity::Fqdn(name) => name.clone(),
        Identity::KeyId(bytes) => format!("key-id {}", hex(bytes)),
        Identity::Other { kind, data } => format!("type {kind}: {}", hex(data)),
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_prefixes_where_they_are() {
        let any = |first: &str, last: &str| TrafficSelector {
            protocol: 0,
            ports: (0, u16::MAX),
            addresses: (first.parse().unwrap(), last.parse().unwrap()),
        };
        for (one, text) in [
            (any("0.0.0.0", "255.255.255.255"), "0.0.0.0/0"),
            (any("10.1.0.0", "10.1.255.255"), "10.1.0.0/16"),
            (any("10.1.0.4", "10.1.0.4"), "10.1.0.4/32"),
            (any("10.1.0.1", "10.1.0.9"), "10.1.0.1-10.1.0.9"),
            (any("fd00::", "fd00::ffff:ffff:ffff:ffff"), "fd00::/64"),
        ] {
            assert_eq!(selector(&one), text);
        }
        let web = TrafficSelector {
            protocol: 6,
            ports: (80, 81),
            ..any("10.1.0.4", "10.1.0.4")
        };
        assert_eq!(selector(&web), "10.1.0.4/32 protocol 6 ports 80-81");
    }

    #[test]
    fn only_what_was_dropped_is_listed() {
        let counters = TunnelCounters {
            replayed: 3,
            ..TunnelCounters::default()
        };
        assert_eq!(
            drops(&tunnel_drops(&counters)),
            [DropCount {
                reason: "replayed".into(),
                packets: 3
            }]
        );
    }
}
