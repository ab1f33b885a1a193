//! Effective routes, their explanation and the compiled tables against a reference that reads the
//! rules once more: no order, no search, no index, every pair looked at.

mod held;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use proptest::prelude::*;

use self::held::check;
use super::random::{build, specs};
use crate::{
    compile::{
        ActionImage, CompileOptions, Compiled, EndpointImage, Image, SubnetImage, compile,
        compile_again, diff_routes,
    },
    effective::{Delivery, OtherState, effective_routes, explain},
    model::{
        NetworkInterface, PeeringState, ResourceId, Route, RouteNextHop, Subnet, Topology,
        VirtualNetwork, VirtualNetworkGateway,
    },
};

/// A row of the reference.
#[derive(Clone, Debug, PartialEq, PartialOrd, Eq, Ord)]
struct Row {
    prefix: IpNet,
    source: &'static str,
    state: &'static str,
    hop: &'static str,
    address: Option<IpAddr>,
    action: ActionImage,
}

struct Reference<'a> {
    t: &'a Topology,
    vnet: &'a VirtualNetwork,
    subnet: &'a Subnet,
}

impl<'a> Reference<'a> {
    fn peers(&self) -> Vec<(&'a VirtualNetwork, &'a [IpNet], bool)> {
        let mut peers = Vec::new();
        for peering in self.vnet.peerings.values() {
            if peering.peering_state != PeeringState::Connected {
                continue;
            }
            let remote = &self.t.virtual_networks[&peering.remote_virtual_network];
            let mut accepts = false;
            for back in remote.peerings.values() {
                if back.remote_virtual_network == self.vnet.id {
                    accepts = back.allow_forwarded_traffic;
                }
            }
            peers.push((&**remote, &peering.remote_address_space[..], accepts));
        }
        peers
    }

    fn nic(&self, vnet: &VirtualNetwork, address: IpAddr) -> Option<&'a NetworkInterface> {
        let mut found = None;
        for nic in self.t.network_interfaces.values() {
            for config in &nic.ip_configurations {
                if config.private_ip_address == address
                    && vnet.subnets.keys().any(|subnet| *subnet == config.subnet)
                {
                    found = Some(&**nic);
                }
            }
        }
        found
    }

    /// Whether the subnet is no part of the peering, which is of subnets.
    fn shut(&self, remote: &VirtualNetwork) -> bool {
        for peering in self.vnet.peerings.values() {
            if peering.remote_virtual_network == remote.id
                && let Some(subnets) = &peering.subnets
                && !subnets.local.contains(&self.subnet.id)
            {
                return !(self.in_gateway_subnet() && self.serves(remote));
            }
        }
        false
    }

    fn peering(&self, remote: &VirtualNetwork, accepts_forwarded: bool) -> ActionImage {
        if self.shut(remote) {
            return ActionImage::None;
        }
        ActionImage::Peering {
            vnet: remote.id.clone(),
            accepts_forwarded: accepts_forwarded
                || (self.in_gateway_subnet() && self.serves(remote)),
        }
    }

    fn local(&self) -> ActionImage {
        ActionImage::Local {
            vnet: self.vnet.id.clone(),
        }
    }

    fn appliance(&self, address: IpAddr, prefix: IpNet) -> ActionImage {
        let nobody = ActionImage::Appliance {
            vnet: None,
            address,
            peered: false,
            accepts_forwarded: false,
        };
        if address.is_ipv4() != prefix.addr().is_ipv4() {
            return nobody;
        }
        if let Some(nic) = self.nic(self.vnet, address) {
            if !nic.enable_ip_forwarding {
                return nobody;
            }
            let vnet = Some(self.vnet.id.clone());
            return ActionImage::Appliance {
                vnet,
                address,
                peered: false,
                accepts_forwarded: false,
            };
        }
        for (remote, spaces, accepts_forwarded) in self.peers() {
            let Some(nic) = self.nic(remote, address) else {
                continue;
            };
            if nic.enable_ip_forwarding
                && !self.shut(remote)
                && spaces.iter().any(|space| space.contains(&address))
            {
                let vnet = Some(remote.id.clone());
                return ActionImage::Appliance {
                    vnet,
                    address,
                    peered: true,
                    accepts_forwarded,
                };
            }
        }
        nobody
    }

    fn gateway_in(&self, vnet: &ResourceId) -> Option<&'a VirtualNetworkGateway> {
        let mut all = self.t.virtual_network_gateways.values();
        all.find(|gateway| gateway.virtual_network == *vnet)
            .map(|gateway| &**gateway)
    }

    /// The gateway the VNet has, or the one that it uses, and for that whether the hub admits
    /// forwarded traffic.
    fn used(&self) -> Option<(&'a VirtualNetworkGateway, Option<bool>)> {
        if let Some(own) = self.gateway_in(&self.vnet.id) {
            return Some((own, None));
        }
        for side in self.vnet.peerings.values() {
            let hub = &self.t.virtual_networks[&side.remote_virtual_network];
            for back in hub.peerings.values() {
                if back.remote_virtual_network == self.vnet.id
                    && side.use_remote_gateways
                    && back.allow_gateway_transit
                    && side.peering_state == PeeringState::Connected
                    && back.peering_state == PeeringState::Connected
                    && let Some(gateway) = self.gateway_in(&hub.id)
                {
                    return Some((gateway, Some(back.allow_forwarded_traffic)));
                }
            }
        }
        None
    }

    fn gateway(&self) -> Option<&'a VirtualNetworkGateway> {
        Some(self.used()?.0)
    }

    fn reaches(&self, gateway: &VirtualNetworkGateway) -> bool {
        let hub = &self.t.virtual_networks[&gateway.virtual_network];
        !self.in_gateway_subnet() && !self.shut(hub)
    }

    fn in_gateway_subnet(&self) -> bool {
        self.subnet.id.name() == "GatewaySubnet"
    }

    /// Whether packets of this VNet's gateway go to `spoke` as its own do.
    fn serves(&self, spoke: &VirtualNetwork) -> bool {
        let mut of_spoke = spoke.peerings.values();
        let side = of_spoke.find(|side| side.remote_virtual_network == self.vnet.id);
        let mut own = self.vnet.peerings.values();
        let back = own.find(|back| back.remote_virtual_network == spoke.id);
        side.zip(back).is_some_and(|(side, back)| {
            side.use_remote_gateways
                && back.allow_gateway_transit
                && side.peering_state == PeeringState::Connected
                && back.peering_state == PeeringState::Connected
        })
    }

    /// What is on the own side of the gateway that is used.
    fn behind(&self) -> Vec<IpNet> {
        let hub = &self.t.virtual_networks[&self.gateway().unwrap().virtual_network];
        let of_hub = Reference { vnet: hub, ..*self };
        let mut behind = hub.address_space.clone();
        for (spoke, spaces, _) in of_hub.peers() {
            if of_hub.serves(spoke) {
                behind.extend(spaces);
            }
        }
        behind
    }

    /// Packets in GatewaySubnet came out of a tunnel.
    fn to_gateway(&self) -> ActionImage {
        match self.used() {
            Some((gateway, accepts)) if self.reaches(gateway) => ActionImage::Gateway {
                vnet: Some(gateway.virtual_network.clone()),
                peered: accepts.is_some(),
                accepts_forwarded: accepts.unwrap_or(false),
            },
            _ => ActionImage::gateway(None),
        }
    }

    /// Prefixes of connections with the ids of these, in no order.
    fn remote(&self) -> Vec<(IpNet, &'a ResourceId)> {
        let Some(gateway) = self.gateway() else {
            return Vec::new();
        };
        let mut remote = Vec::new();
        for connection in self.t.connections.values() {
            if connection.gateway == gateway.id {
                remote.extend(
                    connection
                        .remote_prefixes
                        .iter()
                        .map(|p| (*p, &connection.id)),
                );
            }
        }
        remote
    }

    /// Gateway routes: all that are listed, with their state.
    fn gateway_rows(&self, user: &[Row]) -> Vec<Row> {
        let Some(gateway) = self.gateway() else {
            return Vec::new();
        };
        let table = self.subnet.route_table.as_ref();
        if table.is_some_and(|table| self.t.route_tables[table].disable_bgp_route_propagation) {
            return Vec::new();
        }
        let mut rows: Vec<Row> = Vec::new();
        for (prefix, _) in self.remote() {
            let own = self
                .vnet
                .address_space
                .iter()
                .any(|space| space.contains(&prefix));
            let peered = self
                .peers()
                .iter()
                .any(|(_, spaces, _)| spaces.iter().any(|space| space.contains(&prefix)));
            let overridden = user.iter().any(|row| row.prefix == prefix);
            let again = rows.iter().any(|row| row.prefix == prefix);
            let beaten = own || peered || overridden || again;
            rows.push(Row {
                prefix,
                source: "VirtualNetworkGateway",
                state: if beaten { "Invalid" } else { "Active" },
                hop: "VirtualNetworkGateway",
                address: gateway.public_addresses.first().copied(),
                action: self.to_gateway(),
            });
        }
        rows
    }

    fn user(&self) -> Vec<Row> {
        let Some(table) = &self.subnet.route_table else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        for route in &self.t.route_tables[table].routes {
            let prefix = route.address_prefix;
            let (hop, address, action) = match route.next_hop {
                RouteNextHop::VirtualNetworkGateway => {
                    ("VirtualNetworkGateway", None, self.to_gateway())
                }
                RouteNextHop::Internet => ("Internet", None, ActionImage::Internet),
                RouteNextHop::None => ("None", None, ActionImage::None),
                RouteNextHop::VirtualAppliance(address) => (
                    "VirtualAppliance",
                    Some(address),
                    self.appliance(address, prefix),
                ),
                RouteNextHop::VnetLocal => {
                    let mut action = self.local();
                    for (remote, spaces, accepts) in self.peers() {
                        if spaces.iter().any(|space| space.contains(&prefix)) {
                            action = self.peering(remote, accepts);
                        }
                    }
                    ("VnetLocal", None, action)
                }
            };
            rows.push(Row {
                prefix,
                source: "User",
                state: "Active",
                hop,
                address,
                action,
            });
        }
        rows
    }

    fn rows(&self) -> Vec<Row> {
        let user = self.user();
        let gateway = self.gateway_rows(&user);
        let mut defaults = Vec::new();
        for prefix in &self.vnet.address_space {
            defaults.push((*prefix, "VnetLocal", self.local()));
        }
        for (remote, spaces, accepts) in self.peers() {
            let same_region = remote.location == self.vnet.location;
            let hop = if same_region {
                "VNetPeering"
            } else {
                "VNetGlobalPeering"
            };
            for prefix in spaces {
                defaults.push((*prefix, hop, self.peering(remote, accepts)));
            }
        }
        for reserved in [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
        ] {
            let reserved: IpNet = reserved.parse().unwrap();
            let covered = defaults.iter().any(|(space, ..)| space.contains(&reserved));
            let user_default = user.iter().any(|row| row.prefix.to_string() == "0.0.0.0/0");
            if !covered && !user_default {
                defaults.push((reserved, "None", ActionImage::None));
            }
        }
        defaults.push((
            "0.0.0.0/0".parse().unwrap(),
            "Internet",
            ActionImage::Internet,
        ));
        if self
            .vnet
            .address_space
            .iter()
            .any(|space| space.addr().is_ipv6())
        {
            defaults.push(("::/0".parse().unwrap(), "Internet", ActionImage::Internet));
        }
        let mut rows = Vec::new();
        for (prefix, hop, action) in defaults {
            // A gateway route with the prefix of the VNet or a peering loses, and is no winner here.
            let weak = matches!(action, ActionImage::Internet | ActionImage::None);
            let beaten = user.iter().any(|row| row.prefix == prefix)
                || weak && gateway.iter().any(|row| row.prefix == prefix);
            let state = if beaten { "Invalid" } else { "Active" };
            rows.push(Row {
                prefix,
                source: "Default",
                state,
                hop,
                address: None,
                action,
            });
        }
        rows.extend(gateway);
        rows.extend(user);
        rows
    }
}

/// A small change of something: what, which one, and how.
pub(super) fn alter(t: &mut Topology, (what, which, how): (u8, usize, u8)) {
    fn pick<V>(map: &crate::model::ById<V>, which: usize) -> Option<ResourceId> {
        let at = which.checked_rem(map.len())?;
        map.keys().nth(at).cloned()
    }
    match what {
        0..=2 => {
            let Some(nic) = pick(&t.network_interfaces, which) else {
                return;
            };
            let nic = t.network_interfaces.get_mut(&nic).unwrap();
            match what {
                0 => nic.tags = [("a".to_owned(), how.to_string())].into(),
                _ => nic.enable_ip_forwarding = how.is_multiple_of(2),
            }
        }
        3..=5 => {
            let address = pick(&t.network_interfaces, how.into())
                .map(|nic| t.network_interfaces[&nic].ip_configurations[0].private_ip_address);
            let Some(table) = pick(&t.route_tables, which) else {
                return;
            };
            let table = Arc::make_mut(t.route_tables.get_mut(&table).unwrap());
            match (what, address) {
                (3, _) => table.disable_bgp_route_propagation ^= true,
                (4, Some(address)) => {
                    let address_prefix = IpNet::new([203, 0, 113, how].into(), 32).unwrap();
                    table
                        .routes
                        .retain(|route| route.address_prefix != address_prefix);
                    table.routes.push(Route {
                        name: "appliance".into(),
                        address_prefix,
                        next_hop: RouteNextHop::VirtualAppliance(address),
                    });
                    table.routes.sort_by_key(|route| route.address_prefix);
                }
                _ => drop(table.routes.pop()),
            }
        }
        6 | 7 => {
            let Some(vnet) = pick(&t.virtual_networks, which) else {
                return;
            };
            let vnet = t.virtual_networks.get_mut(&vnet).unwrap();
            match what {
                6 => vnet.tags = [("a".to_owned(), how.to_string())].into(),
                _ => vnet
                    .peerings
                    .values_mut()
                    .for_each(|p| p.allow_forwarded_traffic ^= true),
            }
        }
        8 => {
            let Some(nic) = pick(&t.network_interfaces, which) else {
                return;
            };
            t.network_interfaces.get_mut(&nic).unwrap().mac_address[5] ^= how;
        }
        _ => {
            let Some(gateway) = pick(&t.virtual_network_gateways, which) else {
                return;
            };
            t.virtual_network_gateways.remove(&gateway);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_rules_as_written(spec in specs()) {
        let t = build(&spec);
        let image = compile(&t, &CompileOptions::default(), None).unwrap();
        check(&t, &image)?;
    }

    #[test]
    fn a_previous_image_changes_nothing(first in specs(), second in specs()) {
        let old = compile(&build(&first), &CompileOptions::default(), None).unwrap();
        let t = build(&second);
        let fresh = compile(&t, &CompileOptions::default(), None).unwrap();
        let shared = compile(&t, &CompileOptions::default(), Some(&old)).unwrap();
        prop_assert_eq!(&fresh, &shared);
        for (id, subnet) in &shared.subnets {
            let Some(before) = old.subnets.get(id) else { continue };
            let changes = diff_routes(&before.v4, &subnet.v4).len()
                + diff_routes(&before.v6, &subnet.v6).len();
            if before == subnet {
                prop_assert!(Arc::ptr_eq(before, subnet));
            }
            if before.v4 == subnet.v4 && before.v6 == subnet.v6 {
                prop_assert_eq!(changes, 0);
            }
        }
    }

    #[test]
    fn compiling_again_comes_to_the_same(
        spec in specs(),
        steps in prop::collection::vec(
            prop::collection::vec((0u8..10, 0usize..64, any::<u8>()), 0..4),
            1..8,
        ),
    ) {
        let options = CompileOptions::default();
        let mut t = build(&spec);
        let mut image = Arc::new(compile(&t, &options, None).unwrap());
        for step in steps {
            let old = t.clone();
            step.into_iter().for_each(|one| alter(&mut t, one));
            let before = Compiled { topology: &old, shared_keys: options.shared_keys, image: &image };
            let again = compile_again(before, &t, &options).unwrap();
            prop_assert_eq!(&*again, &compile(&t, &options, None).unwrap());
            for (id, subnet) in &again.subnets {
                if let Some(before) = image.subnets.get(id).filter(|before| *before == subnet) {
                    prop_assert!(Arc::ptr_eq(before, subnet));
                }
            }
            image = again;
        }
    }
}
