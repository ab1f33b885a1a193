//! No property is skipped in silence: it is read, known to be harmless, or refused.

use serde_json::{Value, json};
use vnet_gw_core::model::ArmError;

use crate::support::{good, id, nic, parse, refused, resource, vnet, with};

/// A topology with one resource of each kind, in a fixed order.
fn all() -> Vec<Value> {
    let route =
        json!({"name": "r", "properties": {"addressPrefix": "10.9.0.0/16", "nextHopType": "None"}});
    vec![
        vnet(
            "VNet1",
            &["10.1.0.0/16"],
            &[("FrontEnd", "10.1.0.0/24")],
            &["VNet4"],
        ),
        vnet("VNet4", &["10.4.0.0/16"], &[], &["VNet1"]),
        nic("nic1", "VNet1/FrontEnd", "10.1.0.4"),
        resource("routeTables", "Table", json!({ "routes": [route] })),
    ]
}

const VNET: &str = "/0/properties";
const SUBNET: &str = "/0/properties/subnets/0/properties";
const PEERING: &str = "/0/properties/virtualNetworkPeerings/0/properties";
const NIC: &str = "/2/properties";
const CONFIGURATION: &str = "/2/properties/ipConfigurations/0/properties";
const TABLE: &str = "/3/properties";
const ROUTE: &str = "/3/properties/routes/0/properties";

fn set(place: &str, name: &str, value: &Value) -> Result<(), ArmError> {
    let resources = with(
        Value::Array(all()),
        &format!("{place}/{name}"),
        value.clone(),
    );
    parse(resources.as_array().expect("resources")).map(|_| ())
}

#[test]
fn what_would_change_forwarding_is_refused_by_name() {
    let some = json!({"id": "x"});
    for (place, name, value) in [
        (
            VNET,
            "encryption",
            json!({"enabled": true, "enforcement": "AllowUnencrypted"}),
        ),
        (VNET, "enableDdosProtection", json!(true)),
        (VNET, "ipAllocations", json!([some])),
        (
            "/0/properties/addressSpace",
            "ipamPoolPrefixAllocations",
            json!([some]),
        ),
        (SUBNET, "natGateway", some.clone()),
        (
            SUBNET,
            "serviceEndpoints",
            json!([{"service": "Microsoft.Storage"}]),
        ),
        (SUBNET, "ipamPoolPrefixAllocations", json!([some])),
        (NIC, "dscpConfiguration", some.clone()),
        (NIC, "tapConfigurations", json!([some])),
        (CONFIGURATION, "publicIPAddress", some.clone()),
        (
            CONFIGURATION,
            "loadBalancerBackendAddressPools",
            json!([some]),
        ),
        (CONFIGURATION, "privateIPAddressPrefixLength", json!(28)),
        (TABLE, "disablePeeringRoute", json!("All")),
        (
            ROUTE,
            "nextHop",
            json!({"nextHopIpAddresses": ["10.0.0.4"]}),
        ),
    ] {
        let error = set(place, name, &value).expect_err(name);
        assert_eq!(error.code, "NotSupported", "{name}: {error}");
        let target = error.target.expect("a target");
        assert!(
            target.starts_with("resources[") && target.ends_with(name),
            "{target}"
        );
    }
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    for (place, name, value) in [
        (
            VNET,
            "encryption",
            json!({"enabled": false, "enforcement": "AllowUnencrypted"}),
        ),
        (VNET, "enableDdosProtection", json!(false)),
        (VNET, "provisioningState", json!("Succeeded")),
        (VNET, "resourceGuid", json!("x")),
        (VNET, "ddosProtectionPlan", Value::Null),
        (SUBNET, "networkSecurityGroup", Value::Null),
        (SUBNET, "serviceEndpoints", json!([])),
        (SUBNET, "delegations", json!([])),
        (SUBNET, "privateEndpointNetworkPolicies", json!("Disabled")),
        (PEERING, "enableOnlyIPv6Peering", json!(false)),
        (PEERING, "peerCompleteVnets", json!(true)),
        (PEERING, "peeringState", json!("Connected")),
        (NIC, "enableAcceleratedNetworking", json!(true)),
        (NIC, "dnsSettings", json!({"dnsServers": []})),
        (CONFIGURATION, "publicIPAddress", json!({})),
        (CONFIGURATION, "applicationSecurityGroups", json!([])),
        (CONFIGURATION, "provisioningState", json!("Succeeded")),
        (TABLE, "disablePeeringRoute", json!("None")),
        (ROUTE, "hasBgpOverride", json!(false)),
        ("/0", "etag", json!("W/1")),
        ("/0", "apiVersion", json!("2024-05-01")),
        ("/0", "dependsOn", json!([])),
    ] {
        set(place, name, &value).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_azure_does_not_have_is_an_error_with_its_path() {
    for (place, name, path) in [
        ("/0", "propertys", "resources[0].propertys"),
        (VNET, "adressSpace", "resources[0].properties.adressSpace"),
        (
            SUBNET,
            "x",
            "resources[0].properties.subnets[0].properties.x",
        ),
        (
            PEERING,
            "x",
            "resources[0].properties.virtualNetworkPeerings[0].properties.x",
        ),
        (
            NIC,
            "enableIPForwarded",
            "resources[2].properties.enableIPForwarded",
        ),
        (
            CONFIGURATION,
            "x",
            "resources[2].properties.ipConfigurations[0].properties.x",
        ),
        (ROUTE, "x", "resources[3].properties.routes[0].properties.x"),
    ] {
        let error = set(place, name, &json!(1)).expect_err(name);
        assert_eq!(
            (error.code.as_str(), error.target.as_deref()),
            ("InvalidRequestFormat", Some(path))
        );
    }
    let error = set(VNET, "adressSpace", &json!(1)).expect_err("a typo");
    assert!(
        error.message.contains("did you mean 'addressSpace'"),
        "{error}"
    );
}

#[test]
fn names_of_properties_compare_without_case_but_stand_once() {
    let resources = with(
        Value::Array(all()),
        "/2/properties/ENABLEipforwarding",
        json!("True"),
    );
    let topology = good(resources.as_array().expect("resources"));
    assert!(topology.network_interfaces[&id("networkInterfaces/nic1")].enable_ip_forwarding);
    let error = set(NIC, "IPConfigurations", &json!([])).expect_err("twice");
    assert_eq!(error.code, "InvalidTemplate");
    // Made by an expression, it is seen where it is read.
    let made =
        "[createObject('ipConfigurations', createArray(), 'IPConfigurations', createArray())]";
    let made =
        json!({"type": "Microsoft.Network/networkInterfaces", "name": "n", "properties": made});
    let error = parse(&[made]).expect_err("twice");
    assert!(error.has_code("InvalidRequestFormat"), "{error}");
    assert!(error.lines().join("").contains("there twice"), "{error}");
}

#[test]
fn what_is_written_wrong_is_told_once() {
    for (list, place) in [
        (
            json!({"addressPrefixes": "10.0.0.0/16"}),
            "addressSpace.addressPrefixes",
        ),
        (
            json!({"addressPrefixes": ""}),
            "addressSpace.addressPrefixes",
        ),
        (json!("10.0.0.0/16"), "addressSpace"),
    ] {
        let network = resource("virtualNetworks", "VNet1", json!({"addressSpace": list}));
        refused(&[network], "InvalidRequestFormat", place);
    }
    for (name, value) in [
        ("addressPrefixes", json!("10.0.0.0/24")),
        ("addressPrefix", json!(1)),
    ] {
        let mut subnet = json!({"name": "s", "properties": {}});
        subnet["properties"][name] = value;
        let properties =
            json!({"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [subnet]});
        let network = resource("virtualNetworks", "VNet1", properties);
        refused(&[network], "InvalidRequestFormat", name);
    }
    for kind in ["virtualNetworks", "networkInterfaces"] {
        refused(
            &[resource(kind, "name", json!("text"))],
            "InvalidRequestFormat",
            "properties",
        );
    }
    let nic = resource(
        "networkInterfaces",
        "nic1",
        json!({"ipConfigurations": "x"}),
    );
    refused(&[nic], "InvalidRequestFormat", "ipConfigurations");
}

#[test]
fn values_have_their_types() {
    for (place, name, value) in [
        ("/0", "properties", json!([])),
        ("/0", "tags", json!([])),
        ("/0", "location", json!(1)),
        (
            "/0/properties/addressSpace",
            "addressPrefixes",
            json!("10.1.0.0/16"),
        ),
        ("/0/properties/addressSpace", "addressPrefixes", json!([1])),
        (VNET, "subnets", json!({})),
        (VNET, "addressSpace", Value::Null),
        (VNET, "dhcpOptions", json!({"dnsServers": [1]})),
        (SUBNET, "routeTable", json!("Table")),
        (SUBNET, "addressPrefix", Value::Null),
        (PEERING, "allowForwardedTraffic", json!(1)),
        (PEERING, "remoteVirtualNetwork", json!({"name": "VNet4"})),
        (PEERING, "remoteVirtualNetwork", Value::Null),
        (NIC, "enableIPForwarding", json!("yes")),
        (NIC, "ipConfigurations", json!([])),
        (CONFIGURATION, "privateIPAllocationMethod", json!("Fixed")),
        (CONFIGURATION, "privateIPAddressVersion", json!("IPv6")),
        (CONFIGURATION, "privateIPAddress", Value::Null),
        (CONFIGURATION, "subnet", Value::Null),
        (TABLE, "routes", json!([7])),
        (ROUTE, "nextHopType", json!(7)),
    ] {
        let error = set(place, name, &value).expect_err(name);
        assert!(error.has_code("InvalidRequestFormat"), "{name}: {error}");
    }
}

#[test]
fn other_types_are_named() {
    for (kind, code) in [
        ("Microsoft.Network/natGateways", "InvalidResourceType"),
        (
            "Microsoft.Network/applicationGateways",
            "InvalidResourceType",
        ),
        (
            "Microsoft.Compute/virtualMachines",
            "InvalidResourceNamespace",
        ),
        (
            "Microsoft.Resources/deployments",
            "InvalidResourceNamespace",
        ),
    ] {
        let error = refused(
            &[json!({"type": kind, "name": "it", "properties": {}})],
            code,
            "resources[0].type",
        );
        assert!(
            error.message.contains("'it'") && error.message.contains(kind),
            "{error}"
        );
    }
}

#[test]
fn names_and_ids_are_checked() {
    let bad = vnet("-VNet", &["10.1.0.0/16"], &[], &[]);
    refused(&[bad], "InvalidResourceName", "resources[0].name");
    let bad = vnet("VNet1", &["10.1.0.0/16"], &[("a b", "10.1.0.0/24")], &[]);
    refused(&[bad], "InvalidResourceName", "subnets[0].name");
    let twice = [all()[1].clone(), vnet("vnet4", &["10.5.0.0/16"], &[], &[])];
    refused(&[&twice[..], &all()].concat(), "MultipleErrorsOccurred", "");
    let nested = [("A", "10.1.0.0/24"), ("a", "10.1.1.0/24")];
    refused(
        &[vnet("VNet1", &["10.1.0.0/16"], &nested, &[])],
        "DuplicateResourceName",
        "subnets[1]",
    );
    // Resources as a REST client shows them say their id, which then counts.
    let full =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/VNet1";
    let shown = with(
        vnet("VNet1", &["10.1.0.0/16"], &[], &[]),
        "/id",
        json!(full),
    );
    let topology = good(std::slice::from_ref(&shown));
    assert_eq!(
        topology
            .virtual_networks
            .keys()
            .next()
            .map(|id| id.as_str()),
        Some(full)
    );
    refused(
        &[with(shown, "/name", json!("VNet2"))],
        "InvalidTemplate",
        "resources[0].id",
    );
}

#[test]
fn children_at_the_top_are_those_of_their_parent() {
    let network = vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    );
    let child = |name: &str, prefix: &str| {
        resource(
            "virtualNetworks/subnets",
            name,
            json!({ "addressPrefix": prefix }),
        )
    };
    // The child is a PUT of its own, after that of its parent: it replaces.
    let topology = good(&[
        child("vnet1/FrontEnd", "10.1.7.0/24"),
        network.clone(),
        child("VNet1/BackEnd", "10.1.0.0/24"),
    ]);
    let subnets: Vec<_> = topology.virtual_networks[&id("virtualNetworks/VNet1")]
        .subnets
        .values()
        .map(|subnet| (subnet.id.name(), subnet.address_prefixes[0].to_string()))
        .collect();
    assert_eq!(
        subnets,
        [
            ("BackEnd", "10.1.0.0/24".to_owned()),
            ("FrontEnd", "10.1.7.0/24".to_owned())
        ]
    );
    refused(
        &[child("VNet9/A", "10.1.0.0/24"), network.clone()],
        "ParentResourceNotFound",
        "resources[0]",
    );
    let same = [
        network.clone(),
        child("VNet1/A", "10.1.1.0/24"),
        child("VNet1/a", "10.1.2.0/24"),
    ];
    refused(&same, "InvalidTemplate", "resources[2]");
    refused(
        &[network, child("FrontEnd", "10.1.0.0/24")],
        "InvalidTemplate",
        "resources[1].name",
    );
}

#[test]
fn children_in_a_resources_array_have_short_names() {
    let mut network = vnet("VNet1", &["10.1.0.0/16"], &[], &[]);
    network["resources"] = json!([
        {"type": "subnets", "name": "A", "properties": {"addressPrefix": "10.1.0.0/24"}},
        {"type": "Microsoft.Network/virtualNetworks/subnets", "name": "VNet1/B",
         "properties": {"addressPrefix": "10.1.1.0/24"}},
        {"type": "virtualNetworkPeerings", "name": "p", "properties": {"remoteVirtualNetwork": {"id": "VNet4"}}},
    ]);
    let mut table = resource("routeTables", "T", json!({}));
    table["resources"] = json!([
        {"type": "routes", "name": "r", "properties": {"addressPrefix": "10.0.0.0/8", "nextHopType": "None"}},
    ]);
    let topology = good(&[network, table, vnet("VNet4", &["10.4.0.0/16"], &[], &[])]);
    let vnet1 = &topology.virtual_networks[&id("virtualNetworks/VNet1")];
    assert_eq!((vnet1.subnets.len(), vnet1.peerings.len()), (2, 1));
    assert_eq!(topology.route_tables[&id("routeTables/T")].routes.len(), 1);
}
