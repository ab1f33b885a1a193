//! Gateways and connections: their keys, their addresses, and what they hold on to.

use serde_json::{Value, json};

use super::support::*;
use crate::{
    arm::{Change, Outcome, SharedKeyChange},
    secret::Secret,
};

pub(super) fn network(name: &str, number: u8) -> Change {
    let subnet = |name: &str, third: u8| json!({"name": name, "properties": {"addressPrefix": format!("10.{number}.{third}.0/24")}});
    of(
        &format!("virtualNetworks/{name}"),
        json!({
            "addressSpace": {"addressPrefixes": [format!("10.{number}.0.0/16")]},
            "subnets": [subnet("a", 0), subnet("GatewaySubnet", 255)],
        }),
    )
}

fn reference(path: &str) -> Value {
    json!({"id": id(path).as_str()})
}

pub(super) fn gateway(name: &str, network: &str, address: &str) -> Change {
    let subnet = format!("virtualNetworks/{network}/subnets/GatewaySubnet");
    let properties = json!({
        "subnet": reference(&subnet),
        "publicIPAddress": reference(&format!("publicIPAddresses/{address}")),
    });
    of(
        &format!("virtualNetworkGateways/{name}"),
        json!({
            "gatewayType": "Vpn", "vpnType": "RouteBased", "sku": {"name": "VpnGw1", "tier": "VpnGw1"},
            "ipConfigurations": [{"name": "default", "properties": properties}],
        }),
    )
}

fn public(name: &str, address: Option<&str>) -> Change {
    let mut properties = json!({"publicIPAllocationMethod": "Static"});
    if let Some(address) = address {
        properties["ipAddress"] = address.into();
    }
    put(
        &format!("publicIPAddresses/{name}"),
        json!({"sku": {"name": "Standard"}, "properties": properties}),
    )
}

fn connection(name: &str, from: &str, to: &str, key: Option<&str>) -> Change {
    let mut properties = json!({
        "connectionType": "Vnet2Vnet",
        "virtualNetworkGateway1": reference(&format!("virtualNetworkGateways/{from}")),
        "virtualNetworkGateway2": reference(&format!("virtualNetworkGateways/{to}")),
    });
    if let Some(key) = key {
        properties["sharedKey"] = key.into();
    }
    of(&format!("connections/{name}"), properties)
}

/// Two networks with a gateway each.
fn two(world: &mut World) {
    world.does(&[
        network("v1", 1),
        network("v2", 2),
        public("p1", Some("203.0.113.1")),
        public("p2", Some("203.0.113.2")),
        gateway("g1", "v1", "p1"),
        gateway("g2", "v2", "p2"),
    ]);
}

/// And a connection each way.
pub(super) fn two_connected(world: &mut World) {
    two(world);
    world.does(&[
        connection("c12", "g1", "g2", None),
        connection("c21", "g2", "g1", None),
    ]);
}

fn key(world: &World, name: &str) -> Option<String> {
    let key = world.state.keys.get(&id(&format!("connections/{name}")))?;
    Some(String::from_utf8_lossy(key.expose()).into_owned())
}

#[test]
fn a_pair_without_keys_gets_one_in_any_order() {
    let mut at_once = World::new();
    two_connected(&mut at_once);
    let made = key(&at_once, "c12").unwrap();
    assert_eq!(made.len(), 32);
    assert_eq!(key(&at_once, "c21"), Some(made.clone()));

    let mut singly = World::new();
    two(&mut singly);
    let applied = singly.does(&[connection("c21", "g2", "g1", None)]);
    assert_eq!(applied.keys, [id("connections/c21")]);
    let applied = singly.does(&[connection("c12", "g1", "g2", None)]);
    assert_eq!(applied.keys, [id("connections/c12")]);
    assert_eq!(key(&singly, "c12"), key(&singly, "c21"));
    let topology = &singly.state.topology;
    for connection in topology.connections.values() {
        assert!(connection.shared_key.is_some());
    }
}

#[test]
fn a_key_is_kept_beside_the_document() {
    let mut world = World::new();
    two(&mut world);
    let applied = world.does(&[connection("c12", "g1", "g2", Some("Abc123"))]);
    assert_eq!(applied.keys, [id("connections/c12")]);
    assert_eq!(key(&world, "c12").as_deref(), Some("Abc123"));
    let shown = world.properties("connections/c12").to_string();
    assert!(
        !shown.contains("Abc123") && !shown.contains("haredKey"),
        "{shown}"
    );
    // The connection back takes it over; a PUT without a key keeps it.
    world.does(&[connection("c21", "g2", "g1", None)]);
    assert_eq!(key(&world, "c21").as_deref(), Some("Abc123"));
    let etag = world.etag("connections/c12").to_owned();
    let applied = world.does(&[
        connection("c12", "g1", "g2", None),
        connection("c12", "g1", "g2", Some("Abc123")),
    ]);
    assert_eq!(applied.outcomes, [Outcome::Unchanged; 2]);
    assert!(applied.keys.is_empty());
    let applied = world.does(&[connection("c12", "g1", "g2", Some("Def456"))]);
    assert_eq!(applied.outcomes, [Outcome::Updated]);
    assert_ne!(world.etag("connections/c12"), etag);

    let set = |change| Change::SharedKey {
        connection: id("connections/C12"),
        change,
    };
    let same = set(SharedKeyChange::Set(Secret::new(*b"Def456")));
    assert_eq!(world.does(&[same]).outcomes, [Outcome::Unchanged]);
    let applied = world.does(&[set(SharedKeyChange::Reset(64))]);
    assert_eq!(applied.outcomes, [Outcome::Updated]);
    assert!(
        applied.written.is_empty(),
        "the key is no part of the document"
    );
    assert_eq!(key(&world, "c12").unwrap().len(), 64);
    let connections = &world.state.topology.connections;
    let used = connections[&id("connections/c12")].shared_key.as_ref();
    assert_eq!(used, world.state.keys.get(&id("connections/c12")));
    for bad in [SharedKeyChange::Reset(0), SharedKeyChange::Reset(129)] {
        let error = world.apply(&[set(bad)]).unwrap_err();
        assert_eq!(error.code, "InvalidSharedKeyLength");
    }
    for bad in ["a b", "a-b", ""] {
        let bad = set(SharedKeyChange::Set(Secret::new(bad)));
        assert_eq!(world.apply(&[bad]).unwrap_err().code, "InvalidSharedKey");
    }
    let applied = world.does(&[delete("connections/c12")]);
    assert_eq!(applied.keys, [id("connections/c12")]);
    assert_eq!(key(&world, "c12"), None);
    assert_eq!(key(&world, "c21").as_deref(), Some("Abc123"));
}

#[test]
fn what_is_in_use_does_not_go() {
    let mut world = World::new();
    two_connected(&mut world);
    world.does(&[
        of(
            "localNetworkGateways/site",
            json!({
                "gatewayIpAddress": "198.51.100.1",
                "localNetworkAddressSpace": {"addressPrefixes": ["192.168.0.0/24"]},
            }),
        ),
        of(
            "connections/site",
            json!({
                "connectionType": "IPsec",
                "virtualNetworkGateway1": reference("virtualNetworkGateways/g1"),
                "localNetworkGateway2": reference("localNetworkGateways/site"),
            }),
        ),
    ]);
    let without_gateway_subnet = of(
        "virtualNetworks/v1",
        json!({"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}, "subnets": []}),
    );
    for (change, code) in [
        (delete("virtualNetworks/v1"), "InUseSubnetCannotBeDeleted"),
        (
            delete("virtualNetworks/v1/subnets/gatewaysubnet"),
            "InUseSubnetCannotBeDeleted",
        ),
        (without_gateway_subnet, "InUseSubnetCannotBeDeleted"),
        (
            delete("publicIPAddresses/p1"),
            "PublicIPAddressCannotBeDeleted",
        ),
        (
            delete("virtualNetworkGateways/g2"),
            "InUseVirtualNetworkGatewayCannotBeDeleted",
        ),
        (
            delete("localNetworkGateways/site"),
            "InUseLocalNetworkGatewayCannotBeDeleted",
        ),
    ] {
        let error = world.apply(&[change]).unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }
    // In one set, everything goes; so does all of the group.
    let before = world.state.clone();
    world.does(&[
        delete("virtualNetworks/v1"),
        delete("virtualNetworkGateways/g1"),
        delete("publicIPAddresses/p1"),
        delete("connections/c12"),
        delete("connections/c21"),
        delete("connections/site"),
    ]);
    world.state = before;
    let applied = world.does(&[Change::DeleteGroup(group("g"))]);
    assert_eq!(applied.removed.len(), 10);
    assert!(world.state.keys.is_empty() && world.state.read.is_empty());
}

#[test]
fn public_addresses_come_from_the_pool() {
    let mut world = World::new();
    let at = |last: u8| std::net::IpAddr::from([203, 0, 113, last]);
    world.assign.pool = vec![at(1), at(2), at(3), "2001:db8::1".parse().unwrap()];
    let address = |world: &World, name: &str| {
        let properties = world.properties(&format!("publicIPAddresses/{name}"));
        properties["ipAddress"].as_str().map(str::to_owned)
    };
    world.does(&[
        public("a", None),
        public("b", Some("203.0.113.2")),
        public("c", None),
    ]);
    assert_eq!(address(&world, "a").as_deref(), Some("203.0.113.1"));
    assert_eq!(address(&world, "c").as_deref(), Some("203.0.113.3"));
    let error = world.apply(&[public("d", None)]).unwrap_err();
    assert_eq!(error.code, "PublicIPAddressPoolExhausted");
    assert!(error.message.contains("--public-ip-pool"), "{error}");
    let six = put(
        "publicIPAddresses/six",
        json!({
            "sku": {"name": "Standard"},
            "properties": {"publicIPAddressVersion": "IPv6", "publicIPAllocationMethod": "Static"},
        }),
    );
    world.does(&[six]);
    assert_eq!(address(&world, "six").as_deref(), Some("2001:db8::1"));
    // It stays while the resource does.
    for none in [None, Some("")] {
        let applied = world.does(&[public("c", none)]);
        assert_eq!(applied.outcomes, [Outcome::Unchanged]);
    }
    world.does(&[delete("publicIPAddresses/a"), public("d", None)]);
    assert_eq!(address(&world, "d").as_deref(), Some("203.0.113.1"));
}

#[test]
fn a_gateway_keeps_its_address() {
    let mut world = World::new();
    two(&mut world);
    let configuration = |world: &World| {
        world.properties("virtualNetworkGateways/g1")["ipConfigurations"][0]["properties"].clone()
    };
    let before = configuration(&world);
    assert_eq!(before["privateIPAddress"], "10.1.255.4");
    assert_eq!(before["privateIPAllocationMethod"], "Dynamic");
    let applied = world.does(&[gateway("g1", "v1", "p1")]);
    assert_eq!(applied.outcomes, [Outcome::Unchanged]);
    assert_eq!(configuration(&world), before);
}

/// Gateway transit: the spoke's side of the peering holds on to the hub's gateway.
#[test]
fn a_gateway_that_a_peering_uses_does_not_go() {
    let peering = |from: &str, to: &str, transit: bool, uses: bool| {
        of(
            &format!("virtualNetworks/{from}/virtualNetworkPeerings/to-{to}"),
            json!({
                "remoteVirtualNetwork": reference(&format!("virtualNetworks/{to}")),
                "allowGatewayTransit": transit,
                "useRemoteGateways": uses,
            }),
        )
    };
    let mut world = World::new();
    world.does(&[
        network("hub", 1),
        network("spoke", 2),
        public("p1", Some("203.0.113.1")),
        gateway("g1", "hub", "p1"),
        peering("hub", "spoke", true, false),
        peering("spoke", "hub", false, true),
    ]);
    let spoke = id("virtualNetworks/spoke");
    let uses = |world: &World| {
        let topology = &world.state.topology;
        let spoke = &topology.virtual_networks[&spoke];
        topology.gateway_used_by(spoke).is_some()
    };
    assert!(uses(&world));
    for (change, code) in [
        (
            delete("virtualNetworkGateways/g1"),
            "InUseVirtualNetworkGatewayCannotBeDeleted",
        ),
        (
            peering("hub", "spoke", false, false),
            "RemotePeeringDoesNotAllowGatewayTransit",
        ),
    ] {
        let error = world.apply(std::slice::from_ref(&change)).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(
            error.message.contains("virtualNetworkPeerings/to-hub"),
            "{error}"
        );
        assert!(uses(&world));
    }
    // Another in its place is as good.
    world.does(&[
        delete("virtualNetworkGateways/g1"),
        gateway("g9", "hub", "p1"),
    ]);
    assert!(uses(&world));
    // The spoke lets go of it first.
    world.does(&[peering("spoke", "hub", false, false)]);
    assert!(!uses(&world));
    world.does(&[
        peering("hub", "spoke", false, false),
        delete("virtualNetworkGateways/g9"),
    ]);
    let late = world.apply(&[peering("spoke", "hub", false, true)]);
    let late = late.unwrap_err();
    assert!(late.has_code("RemoteVnetHasNoGateways"), "{late}");
    assert!(
        late.has_code("RemotePeeringDoesNotAllowGatewayTransit"),
        "{late}"
    );
}
