//! Each rule that holds resources against one another, with its code and its target.

use serde_json::{Value, json};
use vnet_gw_core::model::{PeeringState, PeeringSyncLevel};

use crate::support::{configuration, good, id, nic, parse, refused, resource, vnet, with};

const FRONT_END: &str = "VNet1/FrontEnd";

fn vnet1() -> Value {
    vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    )
}

fn dual_stack() -> Value {
    let subnet = json!({"addressPrefixes": ["10.1.0.0/24", "fd00:1::/64"]});
    let network = vnet(
        "VNet1",
        &["10.1.0.0/16", "fd00:1::/48"],
        &[("FrontEnd", "")],
        &[],
    );
    with(network, "/properties/subnets/0/properties", subnet)
}

fn table(routes: &[(&str, &str, &str, &str)]) -> Value {
    let routes: Vec<Value> = routes
        .iter()
        .map(|(name, prefix, kind, address)| {
            json!({"name": name, "properties": {
                "addressPrefix": prefix, "nextHopType": kind, "nextHopIpAddress": address}})
        })
        .collect();
    resource("routeTables", "Table", json!({ "routes": routes }))
}

#[test]
fn address_spaces_and_subnets() {
    let space = "virtualNetworks/VNet1";
    let sub = "virtualNetworks/VNet1/subnets/B";
    // Address space, subnet A, subnet B, code, target.
    type Case<'a> = (&'a [&'a str], &'a str, &'a str, &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (
            &["10.1.0.0/16", "10.1.128.0/17"],
            "10.1.0.0/24",
            "10.1.1.0/24",
            "VnetAddressSpacesOverlap",
            space,
        ),
        (
            &["10.1.0.0/16", "10.1.0.0/16"],
            "10.1.0.0/24",
            "10.1.1.0/24",
            "VnetAddressSpacesOverlap",
            space,
        ),
        (
            &["10.1.0.0/16", "224.0.0.0/8"],
            "10.1.0.0/24",
            "10.1.1.0/24",
            "NetcfgInvalidIPAddressPrefix",
            space,
        ),
        (
            &["10.1.0.0/16", "10.2.0.0/30"],
            "10.1.0.0/24",
            "10.1.1.0/24",
            "NetcfgInvalidIPAddressPrefix",
            space,
        ),
        (
            &["10.1.0.0/16"],
            "10.1.0.0/24",
            "10.2.0.0/24",
            "NetcfgInvalidSubnet",
            sub,
        ),
        (
            &["10.1.0.0/24"],
            "10.1.0.0/25",
            "10.1.0.0/16",
            "MultipleErrorsOccurred",
            "",
        ),
        (
            &["10.1.0.0/24", "10.1.1.0/24"],
            "10.1.0.0/25",
            "10.1.1.0/23",
            "InvalidCIDRNotation",
            "addressPrefix",
        ),
        (
            &["10.1.0.0/16"],
            "10.1.0.0/24",
            "10.1.0.128/25",
            "NetcfgSubnetRangesOverlap",
            sub,
        ),
        (
            &["10.1.0.0/16"],
            "10.1.0.0/24",
            "10.1.0.0/24",
            "NetcfgSubnetRangesOverlap",
            sub,
        ),
        (
            &["10.1.0.0/16"],
            "10.1.0.0/24",
            "10.1.1.0/30",
            "NetcfgInvalidIPAddressPrefix",
            sub,
        ),
        (
            &["10.1.0.0/16", "fd00::/48"],
            "10.1.0.0/24",
            "fd00::/65",
            "NetcfgInvalidIPAddressPrefix",
            sub,
        ),
        (
            &["10.1.0.0/16", "fd00::/48"],
            "10.1.0.0/24",
            "fd00::/56",
            "NetcfgInvalidIPAddressPrefix",
            sub,
        ),
        (
            &["10.1.0.0/16", "fd00::/48"],
            "10.1.0.0/24",
            "fd01::/64",
            "NetcfgInvalidSubnet",
            sub,
        ),
    ];
    for (space, a, b, code, target) in cases {
        refused(
            &[vnet("VNet1", space, &[("A", a), ("B", b)], &[])],
            code,
            target,
        );
    }
    good(&[vnet(
        "VNet1",
        &["10.1.0.0/24", "10.1.1.0/24", "fd00::/64"],
        &[
            ("A", "10.1.0.0/29"),
            ("B", "10.1.0.8/29"),
            ("C", "10.1.1.0/24"),
            ("D", "fd00::/64"),
        ],
        &[],
    )]);
    // Adjacent spaces do not add up to one.
    let spanning = vnet(
        "VNet1",
        &["10.1.0.0/24", "10.1.1.0/24"],
        &[("B", "10.1.0.0/23")],
        &[],
    );
    refused(&[spanning], "NetcfgInvalidSubnet", sub);
}

#[test]
fn host_bits_are_corrected() {
    let error = refused(
        &[vnet("VNet1", &["10.1.0.1/16"], &[], &[])],
        "InvalidCIDRNotation",
        "resources[0].properties.addressSpace.addressPrefixes[0]",
    );
    assert!(error.message.contains("write 10.1.0.0/16"), "{error}");
}

#[test]
fn peered_networks_do_not_overlap() {
    let two = |space: &str| {
        [
            vnet("VNet1", &["10.1.0.0/16"], &[], &["VNet4"]),
            vnet("VNet4", &[space], &[], &["VNet1"]),
        ]
    };
    good(&two("10.41.0.0/16"));
    // Once, though both sides say it.
    let error = refused(
        &two("10.0.0.0/8"),
        "VnetAddressSpacesOverlap",
        "VNet1/virtualNetworkPeerings/to-VNet4",
    );
    assert!(
        error.message.contains("10.0.0.0/8 and 10.1.0.0/16"),
        "{error}"
    );
    refused(&two("10.1.0.0/16"), "VnetAddressSpacesOverlap", "to-VNet4");
    // Also where one side alone has begun.
    let mut one_sided = two("10.1.2.0/24");
    one_sided[0] = vnet("VNet1", &["10.1.0.0/16"], &[], &[]);
    refused(
        &one_sided,
        "VnetAddressSpacesOverlap",
        "VNet4/virtualNetworkPeerings/to-VNet1",
    );
    // Without a peering, overlap is nobody's concern.
    good(&[
        vnet("VNet1", &["10.1.0.0/16"], &[], &[]),
        vnet("VNet4", &["10.1.0.0/16"], &[], &[]),
    ]);
}

#[test]
fn peers_of_one_network_do_not_overlap() {
    let three = |b: &str, c: &str, of_b: &[&str]| {
        [
            vnet("hub", &["10.0.0.0/16"], &[], &["spoke-b", "spoke-c"]),
            vnet("spoke-b", &[b], &[], of_b),
            vnet("spoke-c", &[c], &[], &["hub"]),
        ]
    };
    good(&three("10.1.0.0/16", "10.2.0.0/16", &["hub"]));
    let code = "VnetAddressSpaceOverlapsWithAlreadyPeeredVnet";
    refused(
        &three("10.1.0.0/16", "10.1.128.0/17", &["hub"]),
        code,
        "virtualNetworks/hub/virtualNetworkPeerings/to-spoke-c",
    );
    refused(
        &three("fd00::/48", "fd00::/56", &["hub"]),
        code,
        "to-spoke-c",
    );
}

#[test]
fn a_remote_network_is_there_is_another_and_is_referenced_once() {
    refused(
        &[vnet("VNet1", &["10.1.0.0/16"], &[], &["vnet1"])],
        "VnetCannotBePeeredWithItself",
        "to-vnet1",
    );
    refused(
        &[vnet("VNet1", &["10.1.0.0/16"], &[], &["VNet4"])],
        "InvalidResourceReference",
        "to-VNet4",
    );
    let twice = [
        vnet(
            "VNet1",
            &["10.1.0.0/16"],
            &[],
            &["VNet4", "virtualNetworks/vnet4"],
        ),
        vnet("VNet4", &["10.4.0.0/16"], &[], &[]),
    ];
    refused(&twice, "AnotherPeeringAlreadyReferencesRemoteVnet", "");
    // Of another resource group: somebody else describes it.
    let elsewhere = "/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/VNet4";
    let topology = good(&[vnet("VNet1", &["10.1.0.0/16"], &[], &[elsewhere])]);
    let vnet1 = &topology.virtual_networks[&id("virtualNetworks/VNet1")];
    let peering = vnet1.peerings.values().next().expect("a peering");
    assert_eq!(peering.peering_state, PeeringState::Initiated);
    assert!(
        peering
            .remote_virtual_network
            .key()
            .contains("/resourcegroups/other/")
    );
}

#[test]
fn a_peering_is_connected_by_its_counterpart_alone() {
    let state = |resources: &[Value]| {
        let topology = good(resources);
        let peering = topology.peering(&id("virtualNetworks/VNet1"), &id("virtualNetworks/VNet4"));
        let peering = peering.expect("a peering").clone();
        let spaces: Vec<String> = peering
            .remote_address_space
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(spaces, ["10.4.0.0/16"]);
        (peering.peering_state, peering.peering_sync_level)
    };
    let one = vnet("VNet1", &["10.1.0.0/16"], &[], &["VNet4"]);
    let connected = (PeeringState::Connected, PeeringSyncLevel::FullyInSync);
    let initiated = (PeeringState::Initiated, PeeringSyncLevel::RemoteNotInSync);
    assert_eq!(
        state(&[
            one.clone(),
            vnet("VNet4", &["10.4.0.0/16"], &[], &["VNET1"])
        ]),
        connected
    );
    let four = vnet("VNet4", &["10.4.0.0/16"], &[], &["VNet5"]);
    let five = vnet("VNet5", &["10.5.0.0/16"], &[], &["VNet1"]);
    assert_eq!(state(&[one, four, five]), initiated);
}

#[test]
fn no_network_has_gateways() {
    let both = |properties: Value| {
        let mut one = vnet("VNet1", &["10.1.0.0/16"], &[], &["VNet4"]);
        let all = one["properties"]["virtualNetworkPeerings"][0]["properties"].as_object_mut();
        all.expect("properties")
            .extend(properties.as_object().expect("an object").clone());
        [one, vnet("VNet4", &["10.4.0.0/16"], &[], &["VNet1"])]
    };
    refused(
        &both(json!({"useRemoteGateways": true})),
        "RemoteVnetHasNoGateways",
        "to-VNet4",
    );
    good(&both(json!({"allowGatewayTransit": true})));
    let unverified = json!({"useRemoteGateways": true, "doNotVerifyRemoteGateways": true});
    let topology = good(&both(unverified));
    let peering = topology.peering(&id("virtualNetworks/VNet1"), &id("virtualNetworks/VNet4"));
    assert!(peering.expect("a peering").use_remote_gateways);
}

#[test]
fn one_peering_at_most_uses_remote_gateways() {
    let mut hub = vnet("VNet1", &["10.1.0.0/16"], &[], &["VNet4", "VNet5"]);
    for peering in hub["properties"]["virtualNetworkPeerings"]
        .as_array_mut()
        .expect("peerings")
    {
        peering["properties"]["useRemoteGateways"] = json!(true);
        peering["properties"]["doNotVerifyRemoteGateways"] = json!(true);
    }
    let others = [
        vnet("VNet4", &["10.4.0.0/16"], &[], &[]),
        vnet("VNet5", &["10.5.0.0/16"], &[], &[]),
    ];
    let [four, five] = others;
    refused(
        &[hub, four, five],
        "OnlyOnePeeringCanUseRemoteGateways",
        "to-VNet5",
    );
}

#[test]
fn five_hundred_peerings_are_the_most() {
    let network = |count: usize| {
        let peers: Vec<String> = (0..count)
            .map(|n| format!("/resourceGroups/g{n}/providers/Microsoft.Network/virtualNetworks/v1"))
            .collect();
        vnet(
            "VNet1",
            &["10.1.0.0/16"],
            &[],
            &peers.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    let mut named = network(501);
    let peerings = named["properties"]["virtualNetworkPeerings"]
        .as_array_mut()
        .expect("peerings");
    for (number, peering) in peerings.iter_mut().enumerate() {
        peering["name"] = json!(format!("p{number}"));
    }
    refused(
        std::slice::from_ref(&named),
        "VnetPeeringLimitExceeded",
        "virtualNetworks/VNet1",
    );
    named["properties"]["virtualNetworkPeerings"]
        .as_array_mut()
        .expect("peerings")
        .pop();
    good(&[named]);
}

#[test]
fn gateway_subnets() {
    let network =
        |name: &str, prefix: &str| vnet("VNet1", &["10.1.0.0/16"], &[(name, prefix)], &[]);
    good(&[network("GatewaySubnet", "10.1.0.0/29")]);
    refused(
        &[network("gatewaySubnet", "10.1.0.0/27")],
        "InvalidResourceName",
        "subnets/gatewaySubnet",
    );
    refused(
        &[network("GatewaySubnet", "10.1.0.0/30")],
        "NetcfgInvalidIPAddressPrefix",
        "GatewaySubnet",
    );
    let gateway = network("GatewaySubnet", "10.1.0.0/27");
    let code = "GatewaySubnetCannotBeUsedForOtherResources";
    refused(
        &[
            gateway.clone(),
            nic("nic1", "VNet1/GatewaySubnet", "10.1.0.4"),
        ],
        code,
        "networkInterfaces/nic1",
    );
    let routed = with(
        gateway,
        "/properties/subnets/0/properties/routeTable",
        json!({"id": "Table"}),
    );
    let code = "RouteTableCannotBeAttachedForGatewaySubnet";
    good(&[routed.clone(), table(&[("r", "10.0.0.0/8", "None", "")])]);
    refused(
        &[routed.clone(), table(&[("r", "0.0.0.0/0", "None", "")])],
        code,
        "GatewaySubnet",
    );
    refused(
        &[routed.clone(), table(&[("r", "::/0", "None", "")])],
        code,
        "GatewaySubnet",
    );
    let no_propagation = with(
        table(&[]),
        "/properties/disableBgpRoutePropagation",
        json!(true),
    );
    refused(&[routed, no_propagation.clone()], code, "GatewaySubnet");
    good(&[vnet1(), no_propagation]);
}

#[test]
fn static_addresses() {
    for (address, code) in [
        ("10.1.1.4", "PrivateIPAddressNotInSubnet"),
        ("10.1.0.0", "PrivateIPAddressInReservedRange"),
        ("10.1.0.3", "PrivateIPAddressInReservedRange"),
        ("10.1.0.255", "PrivateIPAddressInReservedRange"),
    ] {
        refused(
            &[vnet1(), nic("nic1", FRONT_END, address)],
            code,
            "networkInterfaces/nic1",
        );
    }
    good(&[
        vnet1(),
        nic("nic1", FRONT_END, "10.1.0.4"),
        nic("nic2", FRONT_END, "10.1.0.254"),
    ]);
    let error = refused(
        &[
            vnet1(),
            nic("nic1", FRONT_END, "10.1.0.4"),
            nic("nic2", FRONT_END, "10.1.0.4"),
        ],
        "PrivateIPAddressInUse",
        "networkInterfaces/nic2",
    );
    assert!(error.message.contains("networkInterfaces/nic1"), "{error}");
    // The same address in two networks is two addresses.
    let other = vnet(
        "VNet2",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    );
    good(&[
        vnet1(),
        other,
        nic("a", FRONT_END, "10.1.0.4"),
        nic("b", "VNet2/FrontEnd", "10.1.0.4"),
    ]);
}

#[test]
fn dynamic_addresses_are_the_lowest_free_ones_after_the_static() {
    let network = vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/29")],
        &[],
    );
    let kept = with(
        nic("kept", FRONT_END, "10.1.0.6"),
        "/properties/ipConfigurations/0/properties/privateIPAllocationMethod",
        json!("Dynamic"),
    );
    let lost = with(
        nic("a-lost", FRONT_END, "10.1.0.4"),
        "/properties/ipConfigurations/0/properties/privateIPAllocationMethod",
        json!("dynamic"),
    );
    let static_one = nic("static", FRONT_END, "10.1.0.4");
    let resources = [network, lost, static_one, kept];
    let topology = good(&resources);
    let address = |name: &str| {
        let interface = &topology.network_interfaces[&id(&format!("networkInterfaces/{name}"))];
        interface.ip_configurations[0]
            .private_ip_address
            .to_string()
    };
    assert_eq!(
        [address("static"), address("kept"), address("a-lost")],
        ["10.1.0.4", "10.1.0.6", "10.1.0.5"]
    );
    let mut full = resources.to_vec();
    full.push(nic("late", FRONT_END, ""));
    refused(&full, "SubnetIsFull", "networkInterfaces/late");
}

#[test]
fn ip_configurations_of_an_interface() {
    let interface = |configurations: Value| {
        resource(
            "networkInterfaces",
            "nic1",
            json!({ "ipConfigurations": configurations }),
        )
    };
    let four = configuration("four", FRONT_END, "10.1.0.4");
    let six = configuration("six", FRONT_END, "fd00:1::4");
    let primary = |value: &Value| with(value.clone(), "/properties/primary", json!(true));
    let topology = good(&[dual_stack(), interface(json!([six, four]))]);
    let names: Vec<_> = topology.network_interfaces[&id("networkInterfaces/nic1")]
        .ip_configurations
        .iter()
        .map(|c| (c.name.as_str(), c.primary))
        .collect();
    assert_eq!(names, [("four", true), ("six", false)]);
    let second = configuration("second", FRONT_END, "10.1.0.5");
    let topology = good(&[
        dual_stack(),
        interface(json!([four, six, primary(&second)])),
    ]);
    let nic1 = &topology.network_interfaces[&id("networkInterfaces/nic1")];
    assert_eq!(nic1.ip_configurations[0].name, "second");

    let nic1 = "networkInterfaces/nic1";
    for (configurations, code) in [
        (json!([six]), "NetworkInterfaceMustHaveIPv4IpConfiguration"),
        (
            json!([four, primary(&six)]),
            "IPv6IpConfigurationCannotBePrimary",
        ),
        (
            json!([primary(&four), primary(&second)]),
            "MultiplePrimaryIpConfigurations",
        ),
        (
            json!([four, configuration("FOUR", FRONT_END, "10.1.0.5")]),
            "DuplicateResourceName",
        ),
        (
            json!([configuration("a", "VNet1/Missing", "")]),
            "InvalidResourceReference",
        ),
        (
            json!([configuration("a", "VNet9/FrontEnd", "")]),
            "InvalidResourceReference",
        ),
    ] {
        refused(&[dual_stack(), interface(configurations)], code, nic1);
    }
    refused(
        &[vnet1(), interface(json!([four, six]))],
        "SubnetHasNoPrefixOfAddressFamily",
        nic1,
    );
    let elsewhere = configuration("b", "VNet2/FrontEnd", "10.2.0.4");
    let other = vnet(
        "VNet2",
        &["10.2.0.0/16"],
        &[("FrontEnd", "10.2.0.0/24")],
        &[],
    );
    let code = "IpConfigurationsOnSameNicCannotUseDifferentSubnets";
    refused(
        &[vnet1(), other, interface(json!([four, elsewhere]))],
        code,
        nic1,
    );
}

#[test]
fn mac_addresses() {
    let mac = |nic: Value, mac: &str| with(nic, "/properties/macAddress", json!(mac));
    let (a, b) = (nic("a", FRONT_END, ""), nic("b", FRONT_END, ""));
    let same = [
        vnet1(),
        mac(a.clone(), "00-0D-3A-00-00-01"),
        mac(b.clone(), "00:0d:3a:00:00:01"),
    ];
    refused(&same, "MacAddressInUse", "networkInterfaces/b");
    for bad in [
        "01-00-5e-00-00-01",
        "00-00-00-00-00-00",
        "12-34-56-78-9A-BC",
        "nonsense",
    ] {
        refused(
            &[vnet1(), mac(a.clone(), bad)],
            "InvalidMacAddress",
            "macAddress",
        );
    }
    // What is made keeps clear of what is given, and does not depend on the others.
    let made =
        good(&[vnet1(), a.clone()]).network_interfaces[&id("networkInterfaces/a")].mac_address;
    assert_eq!(made[..3], [0x00, 0x0d, 0x3a]);
    let text: Vec<String> = made.iter().map(|byte| format!("{byte:02x}")).collect();
    let topology = good(&[vnet1(), a, mac(b, &text.join(":"))]);
    assert_ne!(
        topology.network_interfaces[&id("networkInterfaces/a")].mac_address,
        made
    );
}

#[test]
fn devices() {
    let plugged = |name: &str, tags: Value| with(nic(name, FRONT_END, ""), "/tags", tags);
    let device = json!({"vnet-gw:device": "tap0"});
    let there = json!({"vnet-gw:device": "tap0", "VNET-GW:Host": "b"});
    let topology = good(&[
        vnet1(),
        plugged("a", device.clone()),
        plugged("b", there.clone()),
    ]);
    assert_eq!(
        topology.network_interfaces[&id("networkInterfaces/b")]
            .host
            .as_deref(),
        Some("b")
    );
    refused(
        &[vnet1(), plugged("a", device.clone()), plugged("b", device)],
        "DeviceInUse",
        "networkInterfaces/b",
    );
    refused(
        &[vnet1(), plugged("a", there.clone()), plugged("b", there)],
        "DeviceInUse",
        "networkInterfaces/b",
    );
    for bad in ["", "..", "a/b", "a b", "longer-than-15-bytes"] {
        let tags = json!({ "vnet-gw:device": bad });
        refused(
            &[vnet1(), plugged("a", tags)],
            "InvalidTag",
            "tags.vnet-gw:device",
        );
    }
    refused(
        &[vnet1(), plugged("a", json!({"vnet-gw:devise": "x"}))],
        "InvalidTag",
        "tags.vnet-gw:devise",
    );
    refused(
        &[with(vnet1(), "/tags", json!({"vnet-gw:device": "x"}))],
        "InvalidTag",
        "tags.vnet-gw:device",
    );
}

#[test]
fn routes() {
    for (prefix, kind, address, code, target) in [
        (
            "10.0.0.0/8",
            "VirtualAppliance",
            "",
            "InvalidNextHopIpAddress",
            "nextHopIpAddress",
        ),
        (
            "10.0.0.0/8",
            "VirtualAppliance",
            "fd00::4",
            "InvalidNextHopIpAddress",
            "nextHopIpAddress",
        ),
        (
            "fd00::/8",
            "VirtualAppliance",
            "10.0.0.4",
            "InvalidNextHopIpAddress",
            "nextHopIpAddress",
        ),
        (
            "10.0.0.0/8",
            "VirtualAppliance",
            "0.0.0.0",
            "InvalidNextHopIpAddress",
            "nextHopIpAddress",
        ),
        (
            "10.0.0.0/8",
            "Internet",
            "10.0.0.4",
            "InvalidNextHopIpAddress",
            "nextHopIpAddress",
        ),
        (
            "10.0.0.0/8",
            "VNetPeering",
            "",
            "InvalidRequestFormat",
            "nextHopType",
        ),
        (
            "10.0.0.0/8",
            "VirtualApplianceEcmp",
            "",
            "NotSupported",
            "nextHopIpAddress",
        ),
        (
            "10.0.0.0/8",
            "VirtualAppliance",
            "10.0.0",
            "InvalidIPAddressFormat",
            "nextHopIpAddress",
        ),
        (
            "10.0.0.1/8",
            "None",
            "",
            "InvalidCIDRNotation",
            "addressPrefix",
        ),
        (
            "10.0.0.0",
            "None",
            "",
            "InvalidAddressPrefixFormat",
            "addressPrefix",
        ),
        (
            "Storage.WestEurope",
            "Internet",
            "",
            "NotSupported",
            "addressPrefix",
        ),
        (
            "",
            "None",
            "",
            "InvalidRequestFormat",
            "routes[0].properties",
        ),
        (
            "10.0.0.0/8",
            "",
            "",
            "InvalidRequestFormat",
            "routes[0].properties",
        ),
    ] {
        refused(&[table(&[("r", prefix, kind, address)])], code, target);
    }
    let twice = table(&[
        ("a", "10.0.0.0/8", "None", ""),
        ("A", "11.0.0.0/8", "None", ""),
    ]);
    refused(&[twice], "DuplicateResourceName", "routes[1]");
    let same = table(&[
        ("a", "10.0.0.0/8", "None", ""),
        ("b", "10.0.0.0/8", "Internet", ""),
    ]);
    refused(&[same], "RouteAddressPrefixInUse", "routeTables/Table");
    let topology = good(&[table(&[
        ("six", "fd00::/8", "None", ""),
        ("longer", "10.0.0.0/16", "VnetLocal", ""),
        ("shorter", "10.0.0.0/8", "virtualnetworkgateway", ""),
        ("default", "0.0.0.0/0", "VirtualAppliance", "10.0.0.4"),
    ])]);
    let order: Vec<&str> = topology.route_tables[&id("routeTables/Table")]
        .routes
        .iter()
        .map(|route| &*route.name)
        .collect();
    assert_eq!(order, ["default", "shorter", "longer", "six"]);
}

#[test]
fn a_subnets_route_table_is_there() {
    let network = with(
        vnet1(),
        "/properties/subnets/0/properties/routeTable",
        json!({"id": "Table"}),
    );
    good(&[network.clone(), table(&[])]);
    let error = refused(
        std::slice::from_ref(&network),
        "InvalidResourceReference",
        "subnets/FrontEnd",
    );
    assert!(error.message.contains("add it"), "{error}");
    // The id of another resource group is no match, and the message says what would be.
    let elsewhere = "/resourceGroups/x/providers/Microsoft.Network/routeTables/Table";
    let network = with(
        network,
        "/properties/subnets/0/properties/routeTable/id",
        json!(elsewhere),
    );
    let error = refused(
        &[network, table(&[])],
        "InvalidResourceReference",
        "subnets/FrontEnd",
    );
    assert!(error.message.contains("resourceGroups/vnet-gw/"), "{error}");
}

#[test]
fn locations_agree() {
    let at = |value: Value, location: &str| with(value, "/location", json!(location));
    let interface = nic("nic1", FRONT_END, "");
    good(&[
        at(vnet1(), "West Europe"),
        at(interface.clone(), "westeurope"),
    ]);
    good(&[at(vnet1(), "westeurope"), interface.clone()]);
    refused(
        &[at(vnet1(), "westeurope"), at(interface, "eastus")],
        "InvalidResourceReference",
        "networkInterfaces/nic1",
    );
    let routed = with(
        vnet1(),
        "/properties/subnets/0/properties/routeTable",
        json!({"id": "Table"}),
    );
    refused(
        &[at(routed, "westeurope"), at(table(&[]), "eastus")],
        "InvalidResourceReference",
        "routeTables/Table",
    );
}

#[test]
fn everything_that_is_wrong_is_told() {
    let mut resources = vec![vnet1()];
    resources.extend((0..60).map(|n| nic(&format!("nic{n}"), FRONT_END, "10.9.9.9")));
    let error = parse(&resources).expect_err("60 errors");
    assert_eq!(error.code, "MultipleErrorsOccurred");
    assert_eq!(error.details.len(), 50);
    assert!(error.has_code("PrivateIPAddressNotInSubnet"));
    assert!(error.to_string().contains("60 things are wrong"), "{error}");
}
