//! Documents: read one by one, leniently, and settled together.

use serde_json::{Map, Value, json};
use vnet_gw_core::{
    model::{ArmError, Kind, ReadDocument, Reference, ResourceId, read_document, settle},
    secret::Secret,
};

use crate::{
    store::Store,
    support::{GROUP, good, id, nic, resource, vnet, with},
};

fn read(kind: Kind, name: &str, body: &Value) -> Result<ReadDocument, ArmError> {
    let body: &Map<String, Value> = body.as_object().expect("an object");
    read_document(&kind.id(GROUP, &[name]), kind, body, "westeurope", None)
}

fn warned(kind: Kind, body: &Value) -> Vec<String> {
    let read = read(kind, "it", body).unwrap_or_else(|error| panic!("{error}"));
    let start = format!("{}: ", kind.id(GROUP, &["it"]));
    let paths = read.warnings.iter().map(|warning| {
        assert!(
            warning.message.contains("has no effect"),
            "{}",
            warning.message
        );
        let path = warning.target.strip_prefix(&start);
        path.unwrap_or_else(|| panic!("{}", warning.target))
            .to_owned()
    });
    paths.collect()
}

fn network() -> Value {
    json!({"properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}}})
}

#[test]
fn what_has_no_effect_is_told_and_what_says_nothing_is_not() {
    let body = json!({
        "location": "westeurope",
        "unheard": 1,
        "tags": {"a": "b"},
        "zones": [],
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.1.0.0/16"], "new": "x"},
            "adressSpace": {"x": 1},
            "bgpCommunities": {"virtualNetworkCommunity": "12076:20000"},
            "flowTimeoutInMinutes": 10,
            "privateEndpointVNetPolicies": "Disabled",
            "enableDdosProtection": false,
            "encryption": {"enabled": false, "enforcement": "AllowUnencrypted"},
            "provisioningState": "Succeeded",
            "resourceGuid": "3f",
            "future": null,
            "subnets": [{
                "name": "a",
                "id": "x",
                "etag": "W/\"1\"",
                "type": "Microsoft.Network/virtualNetworks/subnets",
                "properties": {
                    "addressPrefix": "10.1.0.0/24",
                    "privateEndpointNetworkPolicies": "Disabled",
                    "privateLinkServiceNetworkPolicies": "Enabled",
                    "ipConfigurations": [{"id": "x"}],
                    "delegations": [{"name": "d", "properties": {"serviceName": "s"}}],
                    "serviceEndpoints": [],
                    "networkSecurityGroup": null,
                },
            }],
        },
    });
    assert_eq!(
        warned(Kind::VirtualNetwork, &body),
        [
            "unheard",
            "properties.adressSpace",
            "properties.bgpCommunities",
            "properties.addressSpace.new",
            "properties.subnets[0].properties.delegations",
        ]
    );
    let near = read(Kind::VirtualNetwork, "it", &body).expect("a network");
    let near = &near.warnings[1].message;
    assert!(near.contains("did you mean 'addressSpace'?"), "{near}");
}

/// What `az` sends when nothing is asked of it, and what Azure shows of a resource that is read and
/// written back.
#[test]
fn what_clients_send_unasked_warns_of_nothing() {
    let subnet =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/V/subnets/S";
    for (kind, body) in [
        (Kind::RouteTable, json!({"location": "eastus"})),
        (Kind::NetworkSecurityGroup, json!({"location": "eastus"})),
        (
            Kind::PublicIpAddress,
            json!({"location": "eastus", "sku": {"name": "Standard", "tier": "Regional"},
                "properties": {"idleTimeoutInMinutes": 4, "publicIPAllocationMethod": "Static",
                    "publicIPAddressVersion": "IPv4", "ipTags": [], "ipAddress": "192.0.2.1",
                    "ddosSettings": {"protectionMode": "VirtualNetworkInherited"},
                    "ipConfiguration": {"id": "x"}}}),
        ),
        (
            Kind::NetworkInterface,
            json!({"location": "eastus", "properties": {
                "enableAcceleratedNetworking": false, "enableIPForwarding": true,
                "dnsSettings": {"dnsServers": [], "appliedDnsServers": []},
                "nicType": "Standard", "auxiliaryMode": "None", "auxiliarySku": "None",
                "primary": true, "virtualMachine": {"id": "x"}, "tapConfigurations": [],
                "ipConfigurations": [{"name": "ipconfig1", "id": "x", "etag": "y", "properties": {
                    "privateIPAddress": "10.1.0.4", "privateIPAddressVersion": "IPv4",
                    "privateIPAllocationMethod": "Dynamic", "primary": true,
                    "subnet": {"id": subnet}}}]}}),
        ),
        (
            Kind::VirtualNetworkGateway,
            json!({"properties": {"gatewayType": "Vpn", "vpnType": "RouteBased",
                "enableBgp": false, "activeActive": false, "vpnGatewayGeneration": "Generation1",
                "sku": {"name": "VpnGw1", "tier": "VpnGw1", "capacity": 2},
                "bgpSettings": {"asn": 65515, "bgpPeeringAddress": "10.1.255.4", "peerWeight": 0},
                "ipConfigurations": [{"name": "default", "properties": {
                    "privateIPAllocationMethod": "Dynamic", "publicIPAddress": {"id": "PIP1"},
                    "subnet": {"id": "VNet1/GatewaySubnet"}}}]}}),
        ),
        (
            Kind::Connection,
            json!({"properties": {"connectionType": "IPSec", "routingWeight": 10,
                "expressRouteGatewayBypass": null, "enableBgp": false,
                "virtualNetworkGateway1": {"id": "GW1", "properties": {}},
                "localNetworkGateway2": {"id": "site"},
                "connectionStatus": "Connected", "egressBytesTransferred": 12}}),
        ),
    ] {
        assert_eq!(warned(kind, &body), [""; 0], "{kind:?}");
    }
    let peered = with(
        network(),
        "/properties/virtualNetworkPeerings",
        json!([{"name": "p12", "properties": {"allowForwardedTraffic": true,
            "allowGatewayTransit": false, "allowVirtualNetworkAccess": true,
            "peerCompleteVnets": true, "remoteVirtualNetwork": {"id": "VNet4"},
            "useRemoteGateways": false}}]),
    );
    assert_eq!(warned(Kind::VirtualNetwork, &peered), [""; 0]);
}

#[test]
fn what_would_change_forwarding_and_wrong_types_are_refused_as_in_templates() {
    let subnet = |properties: Value| {
        with(
            network(),
            "/properties/subnets",
            json!([{"name": "a", "properties": properties}]),
        )
    };
    for (body, code, target) in [
        (
            subnet(json!({"addressPrefix": "10.1.0.0/24", "natGateway": {"id": "x"}})),
            "NotSupported",
            "properties.subnets[0].properties.natGateway",
        ),
        (
            subnet(json!({"addressPrefix": "10.1.0.0/24", "networkSecurityGroup": {"id": 7}})),
            "InvalidRequestFormat",
            "properties.subnets[0].properties.networkSecurityGroup",
        ),
        (
            subnet(json!({"addressPrefix": 7})),
            "InvalidRequestFormat",
            "properties.subnets[0].properties.addressPrefix",
        ),
        (
            with(network(), "/tags", json!([])),
            "InvalidRequestFormat",
            "tags",
        ),
        (
            with(network(), "/location", json!(7)),
            "InvalidRequestFormat",
            "location",
        ),
        (
            json!({"properties": []}),
            "InvalidRequestFormat",
            "properties",
        ),
        (json!({}), "InvalidRequestFormat", "properties.addressSpace"),
        (
            subnet(json!({"addressPrefix": "10.2.0.0/24"})),
            "NetcfgInvalidSubnet",
            "/virtualNetworks/it/subnets/a",
        ),
    ] {
        let error = read(Kind::VirtualNetwork, "it", &body).expect_err(code);
        assert_eq!(error.code, code, "{error}");
        let at = error.target.clone().unwrap_or_default();
        assert!(at.ends_with(target), "{error}");
    }
}

#[test]
fn no_error_and_no_warning_of_a_document_shows_a_key() {
    let connection = json!({"properties": {"connectionType": "IPsec",
        "virtualNetworkGateway1": {"id": "GW1"}, "localNetworkGateway2": {"id": "site"}}});
    let body = connection.as_object().expect("an object");
    let id = Kind::Connection.id(GROUP, &["c"]);
    let read = |body: &Map<String, Value>, key: &str| {
        read_document(
            &id,
            Kind::Connection,
            body,
            "local",
            Some(&Secret::new(key)),
        )
    };
    assert!(read(body, "Abc123").is_ok());
    for key in ["not-allowed-Key", "two words", &"k".repeat(129)] {
        let error = read(body, key).expect_err(key);
        assert_eq!(error.code, "InvalidSharedKey");
        assert_eq!(error.target.as_deref(), Some("properties.sharedKey"));
        assert!(!error.to_string().contains(key), "{error}");
    }
    let mut misplaced = body.clone();
    misplaced.insert("sharedKey".into(), json!("Sup3rSecret"));
    misplaced.insert("Sup3rSecret".into(), json!(1));
    let shown = format!("{:?}", read(&misplaced, "Abc123").expect("a connection"));
    assert!(shown.contains("securestring"), "{shown}");
    for key in ["Sup3rSecret", "Abc123"] {
        assert!(!shown.contains(key), "{shown}");
    }
}

/// Two networks that are connected, a third that is peered, a site.
pub(crate) fn tutorial() -> Vec<Value> {
    let mut resources = vec![
        vnet(
            "VNet1",
            &["10.1.0.0/16"],
            &[
                ("FrontEnd", "10.1.0.0/24"),
                ("GatewaySubnet", "10.1.255.0/27"),
            ],
            &["VNet5"],
        ),
        vnet(
            "VNet4",
            &["10.41.0.0/16"],
            &[("GatewaySubnet", "10.41.255.0/27")],
            &[],
        ),
        vnet(
            "VNet5",
            &["10.51.0.0/16"],
            &[("FrontEnd", "10.51.0.0/24")],
            &["VNet1"],
        ),
        resource(
            "routeTables",
            "RT",
            json!({"routes": [{"name": "r", "properties": {
                "addressPrefix": "10.99.0.0/16", "nextHopType": "None"}}]}),
        ),
        resource(
            "localNetworkGateways",
            "site",
            json!({"gatewayIpAddress": "192.0.2.200",
                "localNetworkAddressSpace": {"addressPrefixes": ["172.16.0.0/16"]}}),
        ),
        nic("nic1", "VNet1/FrontEnd", "10.1.0.9"),
        nic("nic2", "VNet1/FrontEnd", ""),
    ];
    resources[0]["properties"]["subnets"][0]["properties"]["routeTable"] = json!({"id": "RT"});
    for (number, network) in [(1, "VNet1"), (4, "VNet4")] {
        resources.push(resource(
            "publicIPAddresses",
            &format!("PIP{number}"),
            json!({"ipAddress": format!("192.0.2.{number}")}),
        ));
        resources.push(resource(
            "virtualNetworkGateways",
            &format!("GW{number}"),
            json!({"sku": {"name": "VpnGw1"}, "ipConfigurations": [{"name": "default",
                "properties": {"subnet": {"id": format!("{network}/GatewaySubnet")},
                    "publicIPAddress": {"id": format!("PIP{number}")}}}]}),
        ));
    }
    for (name, properties) in [
        (
            "c14",
            json!({"connectionType": "Vnet2Vnet", "sharedKey": "Abc123",
                "virtualNetworkGateway1": {"id": "GW1"}, "virtualNetworkGateway2": {"id": "GW4"}}),
        ),
        (
            "c41",
            json!({"connectionType": "Vnet2Vnet",
                "virtualNetworkGateway1": {"id": "GW4"}, "virtualNetworkGateway2": {"id": "GW1"}}),
        ),
        (
            "csite",
            json!({"connectionType": "IPsec", "sharedKey": "Other1",
                "virtualNetworkGateway1": {"id": "GW4"}, "localNetworkGateway2": {"id": "site"}}),
        ),
    ] {
        resources.push(resource("connections", name, properties));
    }
    resources
}

#[test]
fn documents_make_the_topology_that_their_template_makes() {
    let resources = tutorial();
    let store = Store::of(&resources);
    assert_eq!(store.topology, good(&resources));
    assert_eq!(store.warnings(), [""; 0]);
}

/// A VNet2VNet connection follows the address space of the network at its other end (A2, A3).
#[test]
fn a_connection_follows_the_remote_address_space_by_itself() {
    let mut store = Store::of(&tutorial());
    let reads = store.reads;
    let larger = vnet(
        "VNet4",
        &["10.41.0.0/16", "10.42.0.0/16"],
        &[("GatewaySubnet", "10.41.255.0/27")],
        &[],
    );
    store.change(|store| store.put(&larger)).expect("a change");
    let prefixes = &store.topology.connections[&id("connections/c14")].remote_prefixes;
    let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, ["10.41.0.0/16", "10.42.0.0/16"]);
    assert_eq!(store.reads, reads + 1, "one document changed");
}

#[test]
fn what_did_not_change_is_shared() {
    let mut store = Store::of(&tutorial());
    let before = store.topology.clone();
    store
        .change(|store| store.put(&nic("nic3", "VNet1/FrontEnd", "")))
        .expect("a change");
    let after = &store.topology;
    for (id, interface) in &before.network_interfaces {
        assert!(interface.is_same(&after.network_interfaces[id]), "{id}");
    }
    for (id, network) in &before.virtual_networks {
        assert!(network.is_same(&after.virtual_networks[id]), "{id}");
    }
    let address = |name: &str| {
        let interface = &after.network_interfaces[&id(&format!("networkInterfaces/{name}"))];
        interface.ip_configurations[0]
            .private_ip_address
            .to_string()
    };
    assert_eq!(
        (address("nic2"), address("nic3")),
        ("10.1.0.4".into(), "10.1.0.5".into())
    );
}

/// A dynamic address stays with its interface, whoever comes and goes.
#[test]
fn a_dynamic_address_once_given_stays() {
    let mut store = Store::of(&tutorial());
    let given = |store: &Store, name: &str| {
        let id = id(&format!("networkInterfaces/{name}"));
        store.topology.network_interfaces[&id].ip_configurations[0]
            .private_ip_address
            .to_string()
    };
    assert_eq!(given(&store, "nic2"), "10.1.0.4");
    // Before it in the order of names, and free to take the lowest address.
    store
        .change(|store| store.put(&nic("a", "VNet1/FrontEnd", "")))
        .expect("a change");
    assert_eq!(
        (given(&store, "a"), given(&store, "nic2")),
        ("10.1.0.5".into(), "10.1.0.4".into())
    );
    store
        .change(|store| {
            store.delete(&id("networkInterfaces/a"));
            store.put(&nic("nic2", "VNet1/FrontEnd", ""))
        })
        .expect("a change");
    assert_eq!(given(&store, "nic2"), "10.1.0.4");
    // Where it moves to another subnet, it is given one there.
    store
        .change(|store| store.put(&nic("nic2", "VNet5/FrontEnd", "")))
        .expect("a change");
    assert_eq!(given(&store, "nic2"), "10.51.0.4");
}

#[test]
fn what_is_referred_to_is_there() {
    let mut store = Store::of(&tutorial());
    for (gone, from) in [
        ("routeTables/RT", "subnets/FrontEnd"),
        ("virtualNetworks/VNet5", ""),
        ("publicIPAddresses/PIP1", "GW1"),
        ("localNetworkGateways/site", "csite"),
        ("virtualNetworkGateways/GW4", "c14"),
    ] {
        let result = store.clone().change(|store| {
            store.delete(&id(gone));
            Ok(())
        });
        if from.is_empty() {
            result.expect("peerings outlive their other side");
            continue;
        }
        let error = result.expect_err(gone);
        assert!(error.has_code("InvalidResourceReference"), "{error}");
        let line = error.lines().join("\n");
        assert!(line.contains(gone) && line.contains(from), "{line}");
        assert!(!line.contains("template"), "{line}");
    }
    let new = nic("nic9", "VNet9/FrontEnd", "");
    let error = store
        .change(|store| store.put(&new))
        .expect_err("no network");
    assert_eq!(error.code, "InvalidResourceReference", "{error}");
}

#[test]
fn references_say_who_needs_what() {
    let resources = tutorial();
    let find = |name: &str| {
        let mut all = resources.iter();
        let resource = all.find(|resource| resource["name"] == name).expect(name);
        let kind = Kind::from_type(resource["type"].as_str().expect("a type")).expect("a kind");
        let mut body = resource.as_object().expect("an object").clone();
        if let Some(properties) = body["properties"].as_object_mut() {
            properties.remove("sharedKey");
        }
        read(kind, name, &Value::Object(body)).expect("a document")
    };
    let shown = |document: &ReadDocument| -> Vec<String> {
        let short = |id: &ResourceId| id.as_str().rsplit("Network/").next().map(str::to_owned);
        let references = document.references();
        let show = |Reference { from, kind, to }: &Reference<'_>| {
            let (from, to) = (
                short(from).unwrap_or_default(),
                short(to).unwrap_or_default(),
            );
            format!("{from} {kind:?} {to}")
        };
        references.iter().map(show).collect()
    };
    assert_eq!(
        shown(&find("VNet1")),
        ["virtualNetworks/VNet1/subnets/FrontEnd RouteTable routeTables/RT"]
    );
    assert_eq!(
        shown(&find("nic1")),
        ["networkInterfaces/nic1 Subnet virtualNetworks/VNet1/subnets/FrontEnd"]
    );
    assert_eq!(
        shown(&find("GW1")),
        [
            "virtualNetworkGateways/GW1 Subnet virtualNetworks/VNet1/subnets/GatewaySubnet",
            "virtualNetworkGateways/GW1 PublicIpAddress publicIPAddresses/PIP1",
        ]
    );
    assert_eq!(
        shown(&find("c41")),
        [
            "connections/c41 VirtualNetworkGateway virtualNetworkGateways/GW4",
            "connections/c41 VirtualNetworkGateway virtualNetworkGateways/GW1",
        ]
    );
    assert_eq!(shown(&find("VNet5")), [""; 0]);
}

#[test]
fn nothing_is_a_topology_of_nothing() {
    let nothing: [ReadDocument; 2] = Default::default();
    assert_eq!(
        settle(nothing.iter()).expect("a topology"),
        Default::default()
    );
}
