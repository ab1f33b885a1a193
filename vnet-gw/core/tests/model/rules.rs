//! The rules of networks, subnets and route tables, each with its code and its target.

use serde_json::{Value, json};

use crate::support::{good, id, nic, refused, resource, vnet, with};

const FRONT_END: &str = "VNet1/FrontEnd";

fn vnet1() -> Value {
    vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    )
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
