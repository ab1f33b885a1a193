//! Sites and connections (rules A1 to A4, A7 to A12, C "Connection").

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Locations, Networks, check_location, error, not_found};
use crate::model::{
    ById, Connection, ConnectionRemote, LocalNetworkGateway, ResourceId, Shared, VirtualNetwork,
    VirtualNetworkGateway,
    error::Errors,
    prefix::{not_allowed, overlaps},
    transit,
};

/// What connections are held against.
pub(super) struct Ends<'a> {
    pub(super) networks: &'a Networks,
    pub(super) gateways: &'a ById<Shared<VirtualNetworkGateway>>,
    pub(super) sites: &'a ById<Shared<LocalNetworkGateway>>,
    pub(super) locations: &'a Locations<'a>,
    /// Gateways that are there and break a rule, which is told already.
    pub(super) refused: &'a [&'a ResourceId],
}

/// The prefixes of a site can be routed to, and are apart.
pub(super) fn check_site(site: &LocalNetworkGateway, errors: &mut Errors) {
    for prefix in &site.address_prefixes {
        if let Some((range, what)) = not_allowed(prefix) {
            let message = format!(
                "The prefix {prefix} of the site touches {range} ({what}): use another one."
            );
            errors.push(error("NetcfgInvalidIPAddressPrefix", &site.id, message));
        }
    }
    let prefixes = site.address_prefixes.iter().enumerate();
    for ((wider, _), (narrower, _)) in overlaps(prefixes.map(|(at, prefix)| (*prefix, at))) {
        let message =
            format!("The prefixes {wider} and {narrower} of the site overlap: remove {narrower}.");
        errors.push(error(
            "LocalNetworkGatewayAddressSpacesOverlap",
            &site.id,
            message,
        ));
    }
}

/// Checks the connections and fills in what follows from their other end. Those whose ends are
/// missing are told and left out.
pub(super) fn settle(
    connections: Vec<&Shared<Connection>>,
    ends: &Ends<'_>,
    errors: &mut Errors,
) -> ById<Shared<Connection>> {
    let resolved = connections.into_iter().filter_map(|connection| {
        let connection = resolve(connection, ends, errors)?;
        Some((connection.id.clone(), connection))
    });
    let connections: ById<Shared<Connection>> = resolved.collect();
    let mut of_gateway: BTreeMap<&ResourceId, Vec<&Connection>> = BTreeMap::new();
    for connection in connections.values() {
        of_gateway
            .entry(&connection.gateway)
            .or_default()
            .push(connection);
    }
    for (gateway, connections) in of_gateway {
        if let Some(gateway) = ends.gateways.get(gateway) {
            distinct(gateway, &connections, errors);
            limit(gateway, &connections, errors);
            apart(gateway, &connections, ends, errors);
            selectors(gateway, &connections, ends, errors);
        }
    }
    connections
}

/// Finds both ends; fills in the remote prefixes and addresses.
fn resolve(
    connection: &Shared<Connection>,
    ends: &Ends<'_>,
    errors: &mut Errors,
) -> Option<Shared<Connection>> {
    let id = &connection.id;
    let both = [&connection.gateway, connection.remote.id()];
    if both.iter().any(|end| ends.refused.contains(end)) {
        return None;
    }
    let Some(gateway) = ends.gateways.get(&connection.gateway) else {
        let known = ends.gateways.keys();
        let missing = &connection.gateway;
        not_found("virtual network gateway", missing, id, known, errors);
        return None;
    };
    check_location(id, &gateway.id, ends.locations, errors);
    let (prefixes, addresses) = match &connection.remote {
        ConnectionRemote::LocalNetworkGateway(remote) => {
            let Some(site) = ends.sites.get(remote) else {
                let known = ends.sites.keys();
                not_found("local network gateway", remote, id, known, errors);
                return None;
            };
            (site.address_prefixes.clone(), vec![site.gateway_ip_address])
        }
        ConnectionRemote::VirtualNetworkGateway(remote) if *remote == gateway.id => {
            let message = "A gateway cannot be connected with itself: correct \
                           virtualNetworkGateway2.";
            errors.push(error("ConnectionToSameGateway", id, message.to_owned()));
            return None;
        }
        ConnectionRemote::VirtualNetworkGateway(remote) => {
            let Some(other) = ends.gateways.get(remote) else {
                let known = ends.gateways.keys();
                not_found("virtual network gateway", remote, id, known, errors);
                return None;
            };
            let prefixes = behind(other, ends).flat_map(|(_, prefixes)| prefixes);
            (prefixes.copied().collect(), other.public_addresses.clone())
        }
    };
    if tunnels(gateway, &addresses) == 0 {
        let message = format!(
            "No public address of {} is of the family of the remote end's ({}): give both ends IPv4 \
             or both IPv6 addresses.",
            gateway.id,
            list(&addresses)
        );
        errors.push(error("ConnectionAddressFamiliesDiffer", id, message));
        return None;
    }
    let mut resolved = connection.clone();
    resolved.remote_prefixes = prefixes;
    resolved.remote_addresses = addresses;
    Some(resolved)
}

/// What is behind a gateway, by VNet: that of its own and of those that use it (A3, A24).
fn behind<'a>(
    gateway: &VirtualNetworkGateway,
    ends: &Ends<'a>,
) -> impl Iterator<Item = (&'a ResourceId, &'a [IpNet])> {
    let network = ends.networks.get(&gateway.virtual_network);
    let networks = ends.networks;
    let behind = move |network: &'a VirtualNetwork| transit::behind(networks, network);
    network
        .map(|network| &**network)
        .into_iter()
        .flat_map(behind)
}

/// Each instance has one tunnel to each remote address of its family (A10).
fn tunnels(gateway: &VirtualNetworkGateway, remote: &[IpAddr]) -> usize {
    let of = |ours: &&IpAddr| {
        remote
            .iter()
            .filter(|a| a.is_ipv4() == ours.is_ipv4())
            .count()
    };
    gateway.public_addresses.iter().map(|ours| of(&ours)).sum()
}

/// Two tunnels of a gateway never end at the same address: it could not tell one peer from the
/// other when it answers.
fn distinct(gateway: &VirtualNetworkGateway, connections: &[&Connection], errors: &mut Errors) {
    let mut seen: HashMap<IpAddr, &ResourceId> = HashMap::new();
    for connection in connections {
        for address in &connection.remote_addresses {
            if gateway.public_addresses.contains(address) {
                let message = format!(
                    "The remote end {address} is an address of the gateway {} itself: correct it.",
                    gateway.id
                );
                errors.push(error("ConnectionToSameGateway", &connection.id, message));
            } else if let Some(other) = seen.insert(*address, &connection.id) {
                let message = format!(
                    "The connection {other} of the same gateway ends at {address} too: remove one."
                );
                errors.push(error(
                    "ConnectionRemoteAddressInUse",
                    &connection.id,
                    message,
                ));
                break;
            }
        }
    }
}

/// The SKU's limit of tunnels (A8).
fn limit(gateway: &VirtualNetworkGateway, connections: &[&Connection], errors: &mut Errors) {
    let count: usize = connections
        .iter()
        .map(|connection| tunnels(gateway, &connection.remote_addresses))
        .sum();
    let most = gateway.sku.tunnels();
    if gateway.bandwidth.is_some() && count > most {
        let message = format!(
            "The connections of the gateway make {count} tunnels, and {} has {most}: remove some, \
             or use a larger SKU (the tag vnet-gw:bandwidth: unlimited lifts the limit).",
            gateway.sku_name
        );
        errors.push(error(
            "VirtualNetworkGatewayTunnelLimitExceeded",
            &gateway.id,
            message,
        ));
    }
}

/// IKE carries all traffic selectors: what it left out would be dropped by a tunnel that is up.
fn selectors(
    gateway: &VirtualNetworkGateway,
    connections: &[&Connection],
    ends: &Ends<'_>,
    errors: &mut Errors,
) {
    let own = behind(gateway, ends).flat_map(|(_, prefixes)| prefixes);
    let own: Vec<IpNet> = own.copied().collect();
    for connection in connections {
        let sides = connection.selectors(&own);
        for (side, prefixes) in ["local", "remote"].iter().zip(sides) {
            let count = prefixes.len();
            if count <= Connection::MOST_SELECTORS {
                continue;
            }
            let message = format!(
                "The connection has {count} traffic selectors of the {side} side, with neighbours \
                 merged, and IKEv2 carries {} (RFC 7296, 3.13): use fewer or wider prefixes, or no \
                 policy-based traffic selectors.",
                Connection::MOST_SELECTORS
            );
            errors.push(error("TooManyTrafficSelectors", &connection.id, message));
        }
    }
}

/// Who owns a prefix that a gateway's VNet routes to.
#[derive(Clone, Copy, PartialEq)]
enum Owner<'a> {
    Network(&'a ResourceId),
    Site(&'a ResourceId),
}

/// The address spaces of a gateway's VNet, of those peered with it and of all its connections are
/// apart (A12), but for a VNet that is both peered and behind a connection (A25).
fn apart(
    gateway: &VirtualNetworkGateway,
    connections: &[&Connection],
    ends: &Ends<'_>,
    errors: &mut Errors,
) {
    let Some(own) = ends.networks.get(&gateway.virtual_network) else {
        return;
    };
    let mut parties: Vec<(Owner<'_>, Option<&Connection>, &[IpNet])> =
        vec![(Owner::Network(&own.id), None, &own.address_space)];
    for peering in own.peerings.values() {
        let Some(peer) = ends.networks.get(&peering.remote_virtual_network) else {
            continue;
        };
        let prefixes = match &peering.subnets {
            None => &peer.address_space,
            Some(_) => &peering.remote_address_space,
        };
        parties.push((Owner::Network(&peer.id), None, prefixes));
    }
    for connection in connections {
        match &connection.remote {
            ConnectionRemote::LocalNetworkGateway(site) => {
                let prefixes = &connection.remote_prefixes;
                parties.push((Owner::Site(site), Some(connection), prefixes));
            }
            ConnectionRemote::VirtualNetworkGateway(remote) => {
                let remote = ends.gateways.get(remote).into_iter();
                let behind = remote.flat_map(|remote| behind(remote, ends));
                parties.extend(
                    behind.map(|(id, prefixes)| (Owner::Network(id), Some(*connection), prefixes)),
                );
            }
        }
    }
    let prefixes = parties
        .iter()
        .enumerate()
        .flat_map(|(at, (_, _, prefixes))| prefixes.iter().map(move |prefix| (*prefix, at)));
    let mut told: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    for ((wider, a), (narrower, b)) in overlaps(prefixes) {
        let (a, b) = (a.min(b), a.max(b));
        let connections = [parties[a].1, parties[b].1].map(|c| c.map(|c| &c.id));
        // Pairs without a connection, or behind the same one, are for the rules of peerings.
        if a == b
            || connections[1].is_none()
            || connections[0] == connections[1]
            || parties[a].0 == parties[b].0
        {
            continue;
        }
        let both = if wider == narrower {
            wider.to_string()
        } else {
            format!("{wider} and {narrower}")
        };
        told.entry((a, b)).or_default().push(both);
    }
    for ((a, b), prefixes) in told {
        let Some(connection) = parties[b].1 else {
            continue;
        };
        let other = match parties[a] {
            (_, Some(other), _) => format!("the connection {}", other.id),
            (Owner::Network(id), None, _) if *id == own.id => {
                "the gateway's own virtual network".to_owned()
            }
            (Owner::Network(id) | Owner::Site(id), None, _) => {
                format!("the peered virtual network {id}")
            }
        };
        let end = connection.remote.id();
        let whose = match (parties[b].0, ends.gateways.get(end)) {
            (Owner::Network(spoke), Some(gateway)) if *spoke != gateway.virtual_network => {
                format!("{spoke}, which uses the gateway {end} of the remote end,")
            }
            _ => format!("the remote end {end}"),
        };
        let message = format!(
            "The address space of {whose} overlaps with that of {other} ({}): change one.",
            prefixes.join(", ")
        );
        errors.push(error(
            "ConnectionOverlappingAddressSpaces",
            &connection.id,
            message,
        ));
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
