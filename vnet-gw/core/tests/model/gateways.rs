//! Public addresses and VPN gateways: what is read, and each rule broken with its code.

use serde_json::{Value, json};
use vnet_gw_core::model::GatewaySku;

use crate::{
    support::{good, id, nic, refused, resource, with},
    vpn::{
        GW1, PUBLIC1, VNET1, accepts, base, gateway, network, plus, property, public, refuses, set,
    },
};

const FIRST: &str = "ipConfigurations/0/properties";

#[test]
fn a_gateway_gets_its_addresses() {
    let topology = good(&plus(&[
        network("VNet5", "10.5.0.0/16", "10.5.255.0/29"),
        public("pip5a", "203.0.113.5"),
        public("pip5b", "203.0.113.6"),
        gateway("GW5", "VNet5", &["pip5a", "pip5b"]),
    ]));
    let gateway = &topology.virtual_network_gateways[&id("virtualNetworkGateways/GW5")];
    assert_eq!(gateway.virtual_network, id("virtualNetworks/VNet5"));
    assert_eq!(
        gateway.subnet,
        id("virtualNetworks/VNet5/subnets/GatewaySubnet")
    );
    assert_eq!(
        topology
            .gateway_of_vnet(&id("virtualNetworks/VNET5"))
            .map(|gateway| &gateway.id),
        Some(&gateway.id)
    );
    let addresses: Vec<String> = gateway
        .ip_configurations
        .iter()
        .map(|c| format!("{} {}", c.private_ip_address, c.public_ip_address.name()))
        .collect();
    assert_eq!(addresses, ["10.5.255.4 pip5a", "10.5.255.5 pip5b"]);
    let public: Vec<String> = gateway
        .public_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(public, ["203.0.113.5", "203.0.113.6"]);
    assert_eq!(gateway.host, None);
    // An address that an export shows is kept, one that is asked for is given.
    for method in ["Dynamic", "Static"] {
        let mut resources = property(
            GW1,
            &format!("{FIRST}/privateIPAddress"),
            json!("10.1.255.9"),
        );
        resources[GW1] = with(
            resources[GW1].clone(),
            &format!("/properties/{FIRST}/privateIPAllocationMethod"),
            json!(method),
        );
        let gateway = &good(&resources).virtual_network_gateways[&id("virtualNetworkGateways/GW1")];
        let given = gateway.ip_configurations[0].private_ip_address;
        assert_eq!(given.to_string(), "10.1.255.9", "{method}");
    }
}

#[test]
fn skus_have_their_bandwidth_and_tunnels() {
    for (name, generation, sku, megabits, tunnels) in [
        ("Basic", None, GatewaySku::Basic, 100, 10),
        ("VpnGw1", None, GatewaySku::VpnGw1, 650, 30),
        ("VpnGw1AZ", Some("Generation1"), GatewaySku::VpnGw1, 650, 30),
        ("VpnGw2", None, GatewaySku::VpnGw2, 1_000, 30),
        ("VpnGw2AZ", Some("None"), GatewaySku::VpnGw2, 1_000, 30),
        ("VpnGw3", Some("Generation1"), GatewaySku::VpnGw3, 1_250, 30),
        (
            "VpnGw2",
            Some("Generation2"),
            GatewaySku::VpnGw2Generation2,
            1_250,
            30,
        ),
        (
            "VpnGw3AZ",
            Some("Generation2"),
            GatewaySku::VpnGw3Generation2,
            2_500,
            30,
        ),
        ("VpnGw4", None, GatewaySku::VpnGw4, 5_000, 100),
        (
            "VpnGw4AZ",
            Some("Generation2"),
            GatewaySku::VpnGw4,
            5_000,
            100,
        ),
        (
            "vpngw5",
            Some("Generation2"),
            GatewaySku::VpnGw5,
            10_000,
            100,
        ),
    ] {
        let mut resources = property(GW1, "sku", json!({"name": name, "tier": name}));
        if let Some(generation) = generation {
            let pointer = "/properties/vpnGatewayGeneration";
            resources[GW1] = with(resources[GW1].clone(), pointer, json!(generation));
        }
        let gateway = &good(&resources).virtual_network_gateways[&id("virtualNetworkGateways/GW1")];
        assert_eq!(gateway.sku, sku, "{name} {generation:?}");
        assert!(gateway.sku_name.eq_ignore_ascii_case(name));
        assert_eq!(gateway.bandwidth, Some(megabits * 1_000_000), "{name}");
        assert_eq!(gateway.sku.tunnels(), tunnels, "{name}");
    }
    for (name, generation) in [("VpnGw1", 2), ("Basic", 2), ("VpnGw4", 1), ("VpnGw5AZ", 1)] {
        let resources = property(GW1, "sku", json!({ "name": name }));
        let written = json!(format!("Generation{generation}"));
        let resources = with(
            Value::Array(resources),
            &format!("/{GW1}/properties/vpnGatewayGeneration"),
            written,
        );
        let resources = resources.as_array().expect("resources");
        refused(
            resources,
            "InvalidVpnGatewayGeneration",
            "vpnGatewayGeneration",
        );
    }
    for name in ["Standard", "HighPerformance", "ErGw1AZ", "ErGwScale"] {
        refuses(
            GW1,
            "sku/name",
            json!(name),
            "NotSupported",
            "use Basic or VpnGw1",
        );
    }
    refuses(
        GW1,
        "sku/name",
        json!("VpnGw9"),
        "InvalidRequestFormat",
        "VpnGw5AZ",
    );
    refuses(
        GW1,
        "sku/tier",
        json!("VpnGw2"),
        "InvalidRequestFormat",
        "is VpnGw1",
    );
    let error = property(GW1, "sku", Value::Null);
    refused(&error, "InvalidRequestFormat", "properties");
}

#[test]
fn only_route_based_vpn_gateways() {
    let code = "PolicyBasedVpnTypeNotSupported";
    refuses(GW1, "vpnType", json!("PolicyBased"), code, "use RouteBased");
    refuses(
        GW1,
        "gatewayType",
        json!("ExpressRoute"),
        "NotSupported",
        "use Vpn",
    );
    accepts(GW1, "vpnType", Value::Null);
    accepts(GW1, "gatewayType", Value::Null);
}

#[test]
fn active_active_needs_two_of_everything() {
    let code = "InvalidGatewayIpConfigurationCount";
    refused(
        &property(GW1, "activeActive", json!(true)),
        code,
        "ipConfigurations",
    );
    let two = gateway("GW1", "VNet1", &["pip1", "pip1b"]);
    let mut resources = plus(&[public("pip1b", "203.0.113.2")]);
    resources[GW1] = two.clone();
    let topology = good(&resources);
    let there = &topology.connections[&id("connections/VNet4-VNet1")];
    assert_eq!(there.remote_addresses.len(), 2);
    resources[GW1] = with(two.clone(), "/properties/activeActive", json!(false));
    refused(&resources, code, "ipConfigurations");
    resources[GW1] = with(two.clone(), "/properties/sku/name", json!("Basic"));
    refused(
        &resources,
        "ActiveActiveNotSupportedForBasicSku",
        "activeActive",
    );
    let same = "/properties/ipConfigurations/1/properties/publicIPAddress/id";
    resources[GW1] = with(two.clone(), same, json!("pip1"));
    refused(
        &resources,
        "PublicIPAddressInUse",
        "virtualNetworkGateways/GW1",
    );
    resources[GW1] = with(two, "/properties/ipConfigurations/1/name", json!("OF-PIP1"));
    refused(
        &resources,
        "DuplicateResourceName",
        "virtualNetworkGateways/GW1",
    );
    let none = property(GW1, "ipConfigurations", json!([]));
    refused(&none, "InvalidRequestFormat", "ipConfigurations");
}

#[test]
fn a_gateway_is_in_the_gateway_subnet_of_its_network_alone() {
    let subnet = format!("{FIRST}/subnet");
    let at = "virtualNetworkGateways/GW1";
    let pointer = "/properties/subnets/1";
    let mut resources = base();
    let front = json!({"name": "FrontEnd", "properties": {"addressPrefix": "10.1.0.0/24"}});
    resources[VNET1] = with(
        resources[VNET1].clone(),
        &pointer.replace("/1", "/-"),
        front,
    );
    let other = format!("/properties/{subnet}/id");
    resources[GW1] = with(resources[GW1].clone(), &other, json!("VNet1/FrontEnd"));
    // Of its connections nothing is said: they are right.
    refused(&resources, "GatewaySubnetRequired", at);

    let missing = property(GW1, &subnet, json!({"id": "VNet1/Nowhere"}));
    refused(&missing, "InvalidResourceReference", at);

    let second = plus(&[
        public("pip9", "203.0.113.9"),
        gateway("GW9", "VNet1", &["pip9"]),
    ]);
    refused(
        &second,
        "VirtualNetworkGatewayAlreadyExists",
        "virtualNetworkGateways/GW9",
    );

    let in_the_way = plus(&[nic("nic1", "VNet1/GatewaySubnet", "10.1.255.9")]);
    let code = "GatewaySubnetCannotBeUsedForOtherResources";
    refused(&in_the_way, code, "networkInterfaces/nic1");

    for (address, code) in [
        ("10.1.0.9", "PrivateIPAddressNotInSubnet"),
        ("10.1.255.3", "PrivateIPAddressInReservedRange"),
    ] {
        let fixed = json!({"subnet": {"id": "VNet1/GatewaySubnet"}, "publicIPAddress": {"id": "pip1"},
            "privateIPAllocationMethod": "Static", "privateIPAddress": address});
        refused(&property(GW1, FIRST, fixed), code, at);
    }
}

#[test]
fn public_addresses_are_static_standard_and_used_once() {
    let at = PUBLIC1;
    let method = "publicIPAllocationMethod";
    refuses(
        at,
        method,
        json!("Dynamic"),
        "StaticPublicIPAddressRequired",
        "use Static",
    );
    let sku = set(at, "/sku", json!({"name": "Basic"}));
    refused(&sku, "BasicSkuPublicIPAddressNotSupported", "sku.name");
    let sku = set(at, "/sku", json!({"name": "Standard", "tier": "Global"}));
    refused(&sku, "NotSupported", "sku.tier");
    good(&set(
        at,
        "/sku",
        json!({"name": "Standard", "tier": "Regional"}),
    ));
    good(&set(at, "/sku", Value::Null));
    good(&set(at, "/zones", json!(["1", "2", "3"])));
    refuses(
        at,
        "ipAddress",
        json!("203.0.113"),
        "InvalidIPAddressFormat",
        "not an IP address",
    );
    for bad in [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
    ] {
        refuses(
            at,
            "ipAddress",
            json!(bad),
            "InvalidPublicIPAddress",
            "correct it",
        );
    }
    refused(
        &property(at, "ipAddress", Value::Null),
        "InvalidRequestFormat",
        "properties",
    );
    let wrong = property(at, "publicIPAddressVersion", json!("IPv6"));
    refused(&wrong, "InvalidRequestFormat", "ipAddress");
    let twice = plus(&[public("other", "203.0.113.1")]);
    refused(&twice, "PublicIPAddressDuplicate", "publicIPAddresses/pip1");
    let missing = property(
        GW1,
        &format!("{FIRST}/publicIPAddress"),
        json!({"id": "nobody"}),
    );
    refused(
        &missing,
        "InvalidResourceReference",
        "virtualNetworkGateways/GW1",
    );
    // What a host does not do for its addresses is refused, what it need not do is not.
    for (name, value) in [
        ("ipTags", json!([{"ipTagType": "x", "tag": "y"}])),
        ("natGateway", json!({"id": "x"})),
        ("ddosSettings/protectionMode", json!("Enabled")),
    ] {
        let resources = property(at, "ddosSettings", json!({}));
        let resources = with(
            Value::Array(resources),
            &format!("/{at}/properties/{name}"),
            value,
        );
        let last = name.rsplit('/').next().expect("a name");
        refused(
            resources.as_array().expect("resources"),
            "NotSupported",
            last,
        );
    }
    accepts(
        at,
        "ddosSettings",
        json!({"protectionMode": "VirtualNetworkInherited"}),
    );
    accepts(at, "dnsSettings", json!({"domainNameLabel": "x"}));
    accepts(at, "idleTimeoutInMinutes", json!(4));
}

#[test]
fn what_a_gateway_would_do_otherwise_is_refused_by_name() {
    for (name, value) in [
        ("enableBgp", json!(true)),
        ("natRules", json!([{"name": "x"}])),
        (
            "vpnClientConfiguration",
            json!({"vpnClientProtocols": ["OpenVPN"]}),
        ),
        ("gatewayDefaultSite", json!({"id": "Site"})),
        ("enablePrivateIpAddress", json!(true)),
        ("disableIPSecReplayProtection", json!(true)),
        ("enableHighBandwidthVpnGateway", json!(true)),
        ("enableBgpRouteTranslationForNat", json!(true)),
        ("virtualNetworkGatewayPolicyGroups", json!([{}])),
        ("enableDnsForwarding", json!(true)),
        ("adminState", json!("Disabled")),
        ("autoScaleConfiguration", json!({"bounds": {"min": 1}})),
        ("vNetExtendedLocationResourceId", json!("x")),
    ] {
        refuses(GW1, name, value, "NotSupported", name);
    }
    let routes = property(
        GW1,
        "customRoutes",
        json!({"addressPrefixes": ["10.9.0.0/16"]}),
    );
    refused(&routes, "NotSupported", "customRoutes.addressPrefixes");
    let error = property(GW1, "activActive", json!(true));
    refused(&error, "InvalidRequestFormat", "activActive");
    for (name, value) in [
        ("enableBgp", json!(false)),
        ("customRoutes", json!({"addressPrefixes": []})),
        (
            "bgpSettings",
            json!({"asn": 65_515, "bgpPeeringAddress": "10.1.255.30", "peerWeight": 0}),
        ),
        ("natRules", json!([])),
        ("provisioningState", json!("Succeeded")),
        ("adminState", json!("Enabled")),
        ("allowRemoteVnetTraffic", json!(false)),
    ] {
        accepts(GW1, name, value);
    }
}

#[test]
fn tags_say_where_it_runs_and_lift_the_bandwidth() {
    let tags = |tags: Value| set(GW1, "/tags", tags);
    let topology = good(&tags(
        json!({"VNET-GW:Host": "west", "vnet-gw:bandwidth": "Unlimited"}),
    ));
    let gateway = &topology.virtual_network_gateways[&id("virtualNetworkGateways/GW1")];
    assert_eq!(
        (gateway.host.as_deref(), gateway.bandwidth),
        (Some("west"), None)
    );
    for (tag, value) in [
        ("vnet-gw:host", " "),
        ("vnet-gw:bandwidth", "1 Gb/s"),
        ("vnet-gw:device", "tap1"),
        ("vnet-gw:hots", "west"),
    ] {
        refused(&tags(json!({ tag: value })), "InvalidTag", tag);
    }
    let site = set(crate::vpn::SITE, "/tags", json!({"vnet-gw:host": "x"}));
    refused(&site, "InvalidTag", "vnet-gw:host");
}

#[test]
fn locations_agree() {
    let at = |index: usize, location: &str| {
        let mut resources = base();
        for (number, resource) in resources.iter_mut().enumerate() {
            let location = if number == index {
                location
            } else {
                "westeurope"
            };
            *resource = with(resource.clone(), "/location", json!(location));
        }
        resources
    };
    good(&at(GW1, "West Europe"));
    good(&at(crate::vpn::SITE, "eastus"));
    refused(
        &at(PUBLIC1, "eastus"),
        "InvalidResourceReference",
        "publicIPAddresses/pip1",
    );
    refused(
        &at(crate::vpn::THERE, "eastus"),
        "InvalidResourceReference",
        "connections/VNet1-VNet4",
    );
    let error = crate::support::parse(&at(GW1, "eastus")).expect_err("the VNet is elsewhere");
    assert!(error.has_code("InvalidResourceReference"), "{error}");
}

#[test]
fn names_of_the_new_types_are_checked() {
    for kind in [
        "publicIPAddresses",
        "virtualNetworkGateways",
        "localNetworkGateways",
        "connections",
    ] {
        let error = crate::support::parse(&[resource(kind, "-x", json!({}))]);
        assert!(
            error.expect_err(kind).has_code("InvalidResourceName"),
            "{kind}"
        );
        let wrong = crate::support::parse(&[resource(kind, "x", json!("text"))]);
        assert!(
            wrong.expect_err(kind).has_code("InvalidRequestFormat"),
            "{kind}"
        );
    }
}
