//! Resources of the VPN for tests: VNet1 and VNet4 connected both ways, and VNet1 with a site.

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, Topology};

use crate::support::{parse, refused, resource, vnet, with};

pub(crate) fn network(name: &str, space: &str, gateway_subnet: &str) -> Value {
    vnet(name, &[space], &[("GatewaySubnet", gateway_subnet)], &[])
}

pub(crate) fn public(name: &str, address: &str) -> Value {
    let properties = json!({"publicIPAllocationMethod": "Static", "ipAddress": address});
    with(
        resource("publicIPAddresses", name, properties),
        "/sku",
        json!({"name": "Standard"}),
    )
}

/// A gateway with an ipConfiguration for each public address.
pub(crate) fn gateway(name: &str, network: &str, addresses: &[&str]) -> Value {
    let configurations: Vec<Value> = addresses
        .iter()
        .map(|address| {
            json!({"name": format!("of-{address}"), "properties": {
                "privateIPAllocationMethod": "Dynamic",
                "subnet": {"id": format!("{network}/GatewaySubnet")},
                "publicIPAddress": {"id": address}}})
        })
        .collect();
    let properties = json!({
        "gatewayType": "Vpn",
        "vpnType": "RouteBased",
        "sku": {"name": "VpnGw1"},
        "activeActive": addresses.len() == 2,
        "ipConfigurations": configurations,
    });
    resource("virtualNetworkGateways", name, properties)
}

pub(crate) fn site(name: &str, address: &str, prefixes: &[&str]) -> Value {
    let space = json!({"addressPrefixes": prefixes});
    resource(
        "localNetworkGateways",
        name,
        json!({"gatewayIpAddress": address, "localNetworkAddressSpace": space}),
    )
}

pub(crate) fn to_gateway(name: &str, from: &str, to: &str) -> Value {
    let properties = json!({
        "connectionType": "Vnet2Vnet",
        "virtualNetworkGateway1": {"id": from, "properties": {}},
        "virtualNetworkGateway2": {"id": to, "properties": {}},
        "sharedKey": "MadeUp1",
    });
    resource("connections", name, properties)
}

pub(crate) fn to_site(name: &str, from: &str, to: &str) -> Value {
    let properties = json!({
        "connectionType": "IPsec",
        "virtualNetworkGateway1": {"id": from},
        "localNetworkGateway2": {"id": to},
    });
    resource("connections", name, properties)
}

/// Where things stand in [`base`].
pub(crate) const VNET1: usize = 0;
pub(crate) const PUBLIC1: usize = 2;
pub(crate) const GW1: usize = 4;
pub(crate) const GW4: usize = 5;
pub(crate) const SITE: usize = 6;
pub(crate) const THERE: usize = 7;
pub(crate) const TO_SITE: usize = 9;

pub(crate) fn base() -> Vec<Value> {
    vec![
        network("VNet1", "10.1.0.0/16", "10.1.255.0/27"),
        network("VNet4", "10.4.0.0/16", "10.4.255.0/29"),
        public("pip1", "203.0.113.1"),
        public("pip4", "203.0.113.4"),
        gateway("GW1", "VNet1", &["pip1"]),
        gateway("GW4", "VNet4", &["pip4"]),
        site("Site", "198.51.100.7", &["192.168.0.0/24"]),
        to_gateway("VNet1-VNet4", "GW1", "GW4"),
        to_gateway("VNet4-VNet1", "GW4", "GW1"),
        to_site("VNet1-Site", "GW1", "Site"),
    ]
}

/// The base with a field of one of its resources set.
pub(crate) fn set(at: usize, pointer: &str, value: Value) -> Vec<Value> {
    let mut resources = base();
    resources[at] = with(resources[at].clone(), pointer, value);
    resources
}

pub(crate) fn property(at: usize, name: &str, value: Value) -> Vec<Value> {
    set(at, &format!("/properties/{name}"), value)
}

pub(crate) fn plus(resources: &[Value]) -> Vec<Value> {
    [&base()[..], resources].concat()
}

/// Setting the property is refused, and the message says so.
#[track_caller]
pub(crate) fn refuses(at: usize, name: &str, value: Value, code: &str, says: &str) -> ArmError {
    let last = name.rsplit('/').next().expect("a name");
    let error = refused(&property(at, name, value), code, last);
    assert!(error.message.contains(says), "{error}");
    error
}

#[track_caller]
pub(crate) fn accepts(at: usize, name: &str, value: Value) -> Topology {
    parse(&property(at, name, value)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
