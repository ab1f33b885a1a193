//! Where a gateway stands among routes and ports, and what keeps its number.

use super::*;

fn actions(subnet: &SubnetImage) -> BTreeMap<String, &ActionImage> {
    let v4 = subnet.v4.routes.iter();
    let v4 = v4.map(|(prefix, at)| (prefix.to_string(), &subnet.v4.actions[*at as usize]));
    let v6 = subnet.v6.routes.iter();
    let v6 = v6.map(|(prefix, at)| (prefix.to_string(), &subnet.v6.actions[*at as usize]));
    v4.chain(v6).collect()
}

#[test]
fn routes_lead_to_the_gateway_but_not_out_of_its_own_subnet() {
    let mut t = topology();
    let table = RouteTable {
        id: id("routeTables/T"),
        disable_bgp_route_propagation: false,
        routes: vec![Route {
            name: "hand".into(),
            address_prefix: net("198.51.100.0/24"),
            next_hop: RouteNextHop::VirtualNetworkGateway,
        }],
        tags: BTreeMap::new(),
    };
    t.route_tables.insert(table.id.clone(), table.into());
    let network = t.virtual_networks.get_mut(&vnet("VNet1")).unwrap();
    for subnet in network.subnets.values_mut() {
        subnet.route_table = Some(id("routeTables/T"));
    }
    let nic = crate::model::NetworkInterface {
        id: id("networkInterfaces/nic1"),
        mac_address: [0, 0x0d, 0x3a, 0, 0, 1],
        enable_ip_forwarding: false,
        network_security_group: None,
        application_security_groups: Vec::new(),
        ip_configurations: vec![crate::model::IpConfiguration {
            name: "ipconfig1".to_owned(),
            subnet: id("virtualNetworks/VNet1/subnets/FrontEnd"),
            private_ip_address: ip("10.11.0.4"),
            primary: true,
        }],
        device: Some("tap1".to_owned()),
        host: None,
        tags: BTreeMap::new(),
    };
    t.network_interfaces.insert(nic.id.clone(), nic.into());
    let west = image_on(&t, "west");
    let remote = [
        "10.41.0.0/16",
        "fd00:41::/48",
        "192.168.10.0/24",
        "fd00:aa::/48",
        "198.51.100.0/24",
    ];
    let subnet = |image: &Image, name: &str| {
        std::sync::Arc::clone(&image.subnets[&id(&format!("virtualNetworks/VNet1/subnets/{name}"))])
    };
    for (name, vnet) in [("FrontEnd", Some(vnet("VNet1"))), ("GatewaySubnet", None)] {
        let subnet = subnet(&west, name);
        let actions = actions(&subnet);
        for prefix in remote {
            let wanted = ActionImage::gateway(vnet.clone());
            assert_eq!(actions[prefix], &wanted, "{name} {prefix}");
        }
        let own = actions["10.11.0.0/16"];
        assert!(matches!(own, ActionImage::Local { .. }), "{own:?}");
    }
    // On another host the routes are the same: the gateway's endpoint is there without its port.
    let elsewhere = image_on(&t, "north");
    assert!(elsewhere.gateways.is_empty());
    assert_eq!(subnet(&elsewhere, "FrontEnd"), subnet(&west, "FrontEnd"));
    assert_eq!(elsewhere.endpoints, west.endpoints);
    assert_eq!(elsewhere.ports.len(), 1);
    assert_eq!(elsewhere.subnets.len(), 1);
}

#[test]
fn the_gateways_port_stands_in_gateway_subnet() {
    let t = topology();
    let west = image_on(&t, "WEST");
    let made = &west.gateways[0];
    let port = &west.ports[&gateway("VNet1GW")];
    assert_eq!((&port.device, port.mac), (&made.device, made.mac));
    assert!(
        port.device.starts_with("vgw") && port.device.len() == 15,
        "{}",
        port.device
    );
    assert_eq!(port.mac[0] & 3, 2, "unicast, locally administered");
    assert!(port.gateway && port.ip_forwarding);
    assert_eq!(port.vnet, vnet("VNet1"));
    assert_eq!(
        port.subnet,
        id("virtualNetworks/VNet1/subnets/GatewaySubnet")
    );
    assert_eq!(port.addresses, [ip("10.11.255.4"), ip("10.11.255.5")]);
    assert_eq!(west.ports.len(), 1);
    // Both gateways' endpoints, each in the scope of its VNet.
    let endpoints: Vec<_> = west
        .endpoints
        .iter()
        .map(|e| (e.vnet.name(), e.address, e.nic.name()))
        .collect();
    let (v4, v6) = (GATEWAY_ENDPOINT4.into(), GATEWAY_ENDPOINT6.into());
    assert_eq!(
        endpoints,
        [
            ("VNet1", v4, "VNet1GW"),
            ("VNet1", v6, "VNet1GW"),
            ("VNet4", v4, "VNet4GW"),
            ("VNet4", v6, "VNet4GW"),
        ]
    );
    let east = image_on(&t, "east");
    assert_ne!(east.gateways[0].mac, made.mac);
    assert_ne!(east.gateways[0].device, made.device);
    // Nobody's but the two: with no name, this host runs neither.
    assert!(
        compile(&t, &CompileOptions::default(), None)
            .unwrap()
            .gateways
            .is_empty()
    );
}

#[test]
fn tunnels_keep_their_numbers() {
    let before = only_gateway(&topology(), "west");
    let mut t = topology();
    t.connections
        .get_mut(&connection("VNet1-to-VNet4"))
        .unwrap()
        .dpd_timeout = Duration::from_secs(10);
    let after = only_gateway(&t, "west");
    let numbers = |gateway: &GatewayImage| -> Vec<_> {
        let connections = gateway.connections.iter();
        connections
            .flat_map(|c| c.tunnels.iter().map(|t| t.id))
            .collect()
    };
    assert_eq!(numbers(&before), numbers(&after));
    assert_ne!(before, after);
    // The number itself is part of what a restart relies on.
    let first = &find(&before, "VNet1-to-VNet4").tunnels[0];
    let text = format!(
        "{}|203.0.113.1|203.0.113.9",
        connection("VNet1-to-VNet4").key()
    );
    assert_eq!(first.id.0, ResourceId::new(&text).stable_hash());
}
