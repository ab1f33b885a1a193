//! Into a tunnel, and out of one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Stop;
use crate::{
    model::{Connection, ConnectionRemote, VirtualNetworkGateway},
    watcher::{
        packet::Packet,
        path::{Because, DropReason, Element},
        predictor::Predictor,
    },
};

pub(super) enum Tunnel<'a> {
    Into(&'a Connection),
    /// Into none: to the gateway's own side, by the routes of GatewaySubnet.
    Back,
    /// It ends at another gateway of this host, as this connection of that.
    Through(&'a VirtualNetworkGateway, &'a Connection),
}

impl<'a> Predictor<'a> {
    /// The gateway chooses the connection by the longest remote prefix, whichever route led to it.
    /// What is for none, and on the gateway's own side, it turns back.
    pub(super) fn tunnel(
        &self,
        gateway: &'a VirtualNetworkGateway,
        packet: &Packet,
    ) -> Result<Tunnel<'a>, Stop<'a>> {
        let Some(connection) = self.connection(gateway, packet.destination) else {
            let behind = self.behind(gateway);
            return if behind.iter().any(|p| p.contains(&packet.destination)) {
                Ok(Tunnel::Back)
            } else {
                Err((DropReason::NoTunnel, Because::NoConnection(gateway)))
            };
        };
        if !self.selected(gateway, connection, packet.source, packet.destination) {
            return Err((DropReason::NoTunnel, Because::Selectors(connection)));
        }
        let ConnectionRemote::VirtualNetworkGateway(remote) = &connection.remote else {
            return Ok(Tunnel::Into(connection));
        };
        let remote = self.topology.virtual_network_gateways.get(remote);
        let back = self.topology.connection_back(connection);
        Ok(match remote.zip(back) {
            Some((remote, back)) if self.is_here(Element::Gateway(remote)) => {
                Tunnel::Through(remote, back)
            }
            _ => Tunnel::Into(connection),
        })
    }

    /// The prefixes on the gateway's own side.
    fn behind(&self, gateway: &VirtualNetworkGateway) -> Vec<IpNet> {
        let vnet = self.topology.virtual_networks.get(&gateway.virtual_network);
        let behind = vnet
            .into_iter()
            .flat_map(|vnet| self.topology.behind_gateway(vnet));
        behind.flat_map(|(_, prefixes)| prefixes).copied().collect()
    }

    /// The connection of the gateway that the address is behind.
    fn connection(
        &self,
        gateway: &VirtualNetworkGateway,
        address: IpAddr,
    ) -> Option<&'a Connection> {
        let connections = self.topology.connections_of(&gateway.id);
        let prefixes = connections.flat_map(|connection| {
            let prefixes = connection.remote_prefixes.iter();
            prefixes.map(move |prefix| (prefix, connection))
        });
        prefixes
            .filter(|(prefix, _)| prefix.contains(&address))
            .min_by_key(|(prefix, _)| std::cmp::Reverse(prefix.prefix_len()))
            .map(|(_, connection)| connection)
    }

    fn selected(
        &self,
        gateway: &VirtualNetworkGateway,
        connection: &Connection,
        local: IpAddr,
        remote: IpAddr,
    ) -> bool {
        let [locals, remotes] = connection.selectors(&self.behind(gateway));
        let within = |prefixes: &[IpNet], address| prefixes.iter().any(|p| p.contains(&address));
        within(&locals, local) && within(&remotes, remote)
    }

    /// An inner packet leaves a tunnel only if its source routes back into the same connection, and
    /// fits the traffic selectors.
    pub(super) fn leaves_tunnel(
        &self,
        gateway: &'a VirtualNetworkGateway,
        connection: &'a Connection,
        packet: &Packet,
    ) -> Result<(), Stop<'a>> {
        if !self.selected(gateway, connection, packet.destination, packet.source) {
            return Err((DropReason::OutsideSelectors, Because::Selectors(connection)));
        }
        match self.connection(gateway, packet.source) {
            Some(found) if found.id == connection.id => Ok(()),
            _ => Err((DropReason::OutsideSelectors, Because::NotBehind(connection))),
        }
    }
}
