//! Topologies for tests, by short names.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use crate::model::{
    Connection, ConnectionRemote, GatewayIpConfiguration, GatewaySku, IpConfiguration,
    NetworkInterface, PeeringState, PeeringSyncLevel, ResourceId, Route, RouteNextHop, RouteTable,
    Subnet, Topology, VirtualNetwork, VirtualNetworkGateway, VirtualNetworkPeering,
};

const BASE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network";

pub(crate) fn vnet_id(vnet: &str) -> ResourceId {
    ResourceId::new(&format!("{BASE}/virtualNetworks/{vnet}"))
}

pub(crate) fn subnet_id(vnet: &str, subnet: &str) -> ResourceId {
    ResourceId::new(&format!("{}/subnets/{subnet}", vnet_id(vnet)))
}

pub(crate) fn peering_id(vnet: &str, peering: &str) -> ResourceId {
    ResourceId::new(&format!(
        "{}/virtualNetworkPeerings/{peering}",
        vnet_id(vnet)
    ))
}

pub(crate) fn nic_id(nic: &str) -> ResourceId {
    ResourceId::new(&format!("{BASE}/networkInterfaces/{nic}"))
}

pub(crate) fn table_id(table: &str) -> ResourceId {
    ResourceId::new(&format!("{BASE}/routeTables/{table}"))
}

pub(crate) fn gateway_id(gateway: &str) -> ResourceId {
    ResourceId::new(&format!("{BASE}/virtualNetworkGateways/{gateway}"))
}

pub(crate) fn connection_id(connection: &str) -> ResourceId {
    ResourceId::new(&format!("{BASE}/connections/{connection}"))
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn appliance(address: &str) -> RouteNextHop {
    RouteNextHop::VirtualAppliance(ip(address))
}

pub(crate) fn route(name: &str, prefix: &str, next_hop: RouteNextHop) -> Route {
    Route {
        name: name.into(),
        address_prefix: net(prefix),
        next_hop,
    }
}

/// Only what the tests here need of a topology being built.
pub(crate) trait Build {
    fn vnet(&mut self, name: &str, location: &str, spaces: &[&str]);
    fn subnet(&mut self, vnet: &str, name: &str, prefixes: &[&str]);
    /// One side of a peering, named after the remote VNet; `Initiated`.
    fn peer_one_way(&mut self, vnet: &str, remote: &str) -> &mut VirtualNetworkPeering;
    /// Both sides, `Connected`.
    fn peer(&mut self, a: &str, b: &str);
    fn side(&mut self, vnet: &str, remote: &str) -> &mut VirtualNetworkPeering;
    /// Has the spoke use the gateway of the hub that it is peered with.
    fn transit(&mut self, hub: &str, spoke: &str);
    fn table(&mut self, name: &str, routes: Vec<Route>) -> &mut RouteTable;
    fn attach(&mut self, vnet: &str, subnet: &str, table: &str);
    fn nic(
        &mut self,
        name: &str,
        vnet: &str,
        subnet: &str,
        addresses: &[&str],
    ) -> &mut NetworkInterface;
    /// A gateway in the VNet's GatewaySubnet, which is made, too.
    fn gateway(&mut self, name: &str, vnet: &str, subnet: &[&str], public: &str);
    /// A connection to a site with those prefixes.
    fn connect(&mut self, name: &str, gateway: &str, prefixes: &[IpNet]);
}

impl Build for Topology {
    fn vnet(&mut self, name: &str, location: &str, spaces: &[&str]) {
        let id = vnet_id(name);
        let vnet = VirtualNetwork {
            id: id.clone(),
            location: location.to_owned(),
            address_space: spaces.iter().map(|space| net(space)).collect(),
            dns_servers: Vec::new(),
            flow_timeout: VirtualNetwork::FLOW_TIMEOUT,
            subnets: Default::default(),
            peerings: Default::default(),
            tags: Default::default(),
        };
        self.virtual_networks.insert(id, vnet.into());
    }

    fn subnet(&mut self, vnet: &str, name: &str, prefixes: &[&str]) {
        let id = subnet_id(vnet, name);
        let subnet = Subnet {
            id: id.clone(),
            address_prefixes: prefixes.iter().map(|prefix| net(prefix)).collect(),
            route_table: None,
            network_security_group: None,
        };
        let vnet = self.virtual_networks.get_mut(&vnet_id(vnet)).unwrap();
        vnet.subnets.insert(id, subnet);
    }

    fn peer_one_way(&mut self, vnet: &str, remote: &str) -> &mut VirtualNetworkPeering {
        let remote_address_space = self
            .virtual_networks
            .get(&vnet_id(remote))
            .map(|r| r.address_space.clone());
        let id = peering_id(vnet, remote);
        let peering = VirtualNetworkPeering {
            id: id.clone(),
            remote_virtual_network: vnet_id(remote),
            allow_virtual_network_access: true,
            allow_forwarded_traffic: false,
            allow_gateway_transit: false,
            use_remote_gateways: false,
            subnets: None,
            peering_state: PeeringState::Initiated,
            peering_sync_level: PeeringSyncLevel::FullyInSync,
            remote_address_space: remote_address_space.unwrap_or_default(),
        };
        let vnet = self.virtual_networks.get_mut(&vnet_id(vnet)).unwrap();
        vnet.peerings.entry(id).or_insert(peering)
    }

    fn peer(&mut self, a: &str, b: &str) {
        self.peer_one_way(a, b).peering_state = PeeringState::Connected;
        self.peer_one_way(b, a).peering_state = PeeringState::Connected;
    }

    fn side(&mut self, vnet: &str, remote: &str) -> &mut VirtualNetworkPeering {
        let vnet_of = self.virtual_networks.get_mut(&vnet_id(vnet)).unwrap();
        vnet_of.peerings.get_mut(&peering_id(vnet, remote)).unwrap()
    }

    fn transit(&mut self, hub: &str, spoke: &str) {
        self.side(hub, spoke).allow_gateway_transit = true;
        self.side(spoke, hub).use_remote_gateways = true;
    }

    fn table(&mut self, name: &str, mut routes: Vec<Route>) -> &mut RouteTable {
        routes.sort_by_key(|route| route.address_prefix);
        let table = RouteTable {
            id: table_id(name),
            disable_bgp_route_propagation: false,
            routes,
            tags: Default::default(),
        };
        let slot = self
            .route_tables
            .entry(table_id(name))
            .or_insert(Arc::new(table));
        Arc::make_mut(slot)
    }

    fn attach(&mut self, vnet: &str, subnet: &str, table: &str) {
        let vnet_of = self.virtual_networks.get_mut(&vnet_id(vnet)).unwrap();
        let subnet = vnet_of.subnets.get_mut(&subnet_id(vnet, subnet)).unwrap();
        subnet.route_table = Some(table_id(table));
    }

    fn nic(
        &mut self,
        name: &str,
        vnet: &str,
        subnet: &str,
        addresses: &[&str],
    ) -> &mut NetworkInterface {
        let configs = addresses
            .iter()
            .enumerate()
            .map(|(at, address)| IpConfiguration {
                name: format!("ipconfig{at}"),
                subnet: subnet_id(vnet, subnet),
                private_ip_address: ip(address),
                primary: at == 0,
            });
        let number = self.network_interfaces.len() as u16;
        let [high, low] = number.to_be_bytes();
        let nic = NetworkInterface {
            id: nic_id(name),
            mac_address: [0x00, 0x0d, 0x3a, 0, high, low],
            enable_ip_forwarding: false,
            network_security_group: None,
            application_security_groups: Vec::new(),
            ip_configurations: configs.collect(),
            device: Some(format!("dev-{name}")),
            host: None,
            tags: Default::default(),
        };
        self.network_interfaces
            .entry(nic_id(name))
            .or_insert_with(|| nic.into())
    }

    fn gateway(&mut self, name: &str, vnet: &str, subnet: &[&str], public: &str) {
        self.subnet(vnet, Subnet::GATEWAY_SUBNET, subnet);
        let gateway = VirtualNetworkGateway {
            id: gateway_id(name),
            virtual_network: vnet_id(vnet),
            subnet: subnet_id(vnet, Subnet::GATEWAY_SUBNET),
            sku_name: "VpnGw1",
            sku: GatewaySku::VpnGw1,
            bandwidth: Some(GatewaySku::VpnGw1.bandwidth()),
            ip_configurations: vec![GatewayIpConfiguration {
                name: "ipconfig1".to_owned(),
                private_ip_address: net(subnet[0]).hosts().nth(3).unwrap(),
                public_ip_address: ResourceId::new(&format!("{BASE}/publicIPAddresses/{name}")),
            }],
            public_addresses: vec![ip(public)],
            host: None,
            tags: Default::default(),
        };
        self.virtual_network_gateways
            .insert(gateway_id(name), gateway.into());
    }

    fn connect(&mut self, name: &str, gateway: &str, prefixes: &[IpNet]) {
        let site = ResourceId::new(&format!("{BASE}/localNetworkGateways/{name}"));
        let number = self.connections.len() as u8;
        let connection = Connection {
            id: connection_id(name),
            gateway: gateway_id(gateway),
            remote: ConnectionRemote::LocalNetworkGateway(site),
            remote_prefixes: prefixes.to_vec(),
            remote_addresses: vec![IpAddr::from([198, 51, 100, number])],
            mode: Default::default(),
            dpd_timeout: Duration::from_secs(45),
            ipsec_policy: None,
            use_policy_based_traffic_selectors: false,
            traffic_selector_policies: Vec::new(),
            shared_key: Some(crate::secret::Secret::new(*b"MadeUp")),
            routing_weight: 0,
            local_id: None,
            remote_id: None,
            encapsulation: Default::default(),
            post_quantum: true,
            tags: Default::default(),
        };
        self.connections
            .insert(connection_id(name), connection.into());
    }
}

/// Hub 10.1.0.0/16 (with IPv6), peered with a spoke of its region 10.2.0.0/16 and one of another
/// region, 10.3.0.0/16, which are not peered with each other. An appliance in the hub.
pub(crate) fn hub_and_spokes() -> Topology {
    let mut t = Topology::default();
    t.vnet("Hub", "westeurope", &["10.1.0.0/16", "fd00:1::/48"]);
    t.vnet("Near", "westeurope", &["10.2.0.0/16", "fd00:2::/48"]);
    t.vnet("Far", "eastus", &["10.3.0.0/16"]);
    t.subnet("Hub", "FrontEnd", &["10.1.0.0/24", "fd00:1::/64"]);
    t.subnet("Hub", "Nva", &["10.1.9.0/24"]);
    t.subnet("Near", "FrontEnd", &["10.2.0.0/24", "fd00:2::/64"]);
    t.subnet("Far", "FrontEnd", &["10.3.0.0/24"]);
    t.peer("Hub", "Near");
    t.peer("Hub", "Far");
    t.nic("hub", "Hub", "FrontEnd", &["10.1.0.4", "fd00:1::4"]);
    t.nic("nva", "Hub", "Nva", &["10.1.9.4"])
        .enable_ip_forwarding = true;
    t.nic("near", "Near", "FrontEnd", &["10.2.0.4", "fd00:2::4"]);
    t.nic("far", "Far", "FrontEnd", &["10.3.0.4"]);
    t
}
