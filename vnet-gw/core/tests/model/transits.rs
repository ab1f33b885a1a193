//! Gateway transit: its rules, each with its code, and what follows from it for connections.

use ipnet::IpNet;
use serde_json::{Value, json};
use vnet_gw_core::model::{PeeringState, Topology};

use crate::{
    connections::connection,
    store::Store,
    support::{good, id, parse, refused, with},
    vpn::{base, gateway, network, public},
};

/// Where things stand in [`hub_and_spoke`].
const SPOKE: usize = 10;
/// The two sides of the peering: the hub is VNet1 of [`base`].
const HUB_SIDE: &str = "VNet1/virtualNetworkPeerings/to-Spoke";
const SPOKE_SIDE: &str = "Spoke/virtualNetworkPeerings/to-VNet1";

fn peering(name: &str, remote: &str, transit: bool, uses: bool) -> Value {
    json!({"name": name, "properties": {
        "remoteVirtualNetwork": {"id": remote},
        "allowGatewayTransit": transit,
        "useRemoteGateways": uses,
    }})
}

fn peered(mut network: Value, peering: Value) -> Value {
    let list = &mut network["properties"]["virtualNetworkPeerings"];
    list.as_array_mut().expect("peerings").push(peering);
    network
}

/// The base, with a spoke that uses VNet1's gateway where `transit` and `uses` are true.
fn hub_and_spoke(transit: bool, uses: bool) -> Vec<Value> {
    let mut resources = base();
    let hub = resources.remove(0);
    resources.insert(0, peered(hub, peering("to-Spoke", "Spoke", transit, false)));
    let spoke = network("Spoke", "10.2.0.0/16", "10.2.255.0/27");
    resources.push(peered(spoke, peering("to-VNet1", "VNet1", false, uses)));
    resources
}

fn side(topology: &Topology, from: &str, to: &str) -> PeeringState {
    let [from, to] = [from, to].map(|name| id(&format!("virtualNetworks/{name}")));
    topology
        .peering(&from, &to)
        .expect("a peering")
        .peering_state
}

fn prefixes(topology: &Topology, name: &str) -> Vec<String> {
    let all = connection(topology, name).remote_prefixes;
    all.iter().map(IpNet::to_string).collect()
}

#[test]
fn who_uses_a_remote_gateway_is_behind_it_for_the_other_side() {
    let topology = good(&hub_and_spoke(true, true));
    let vnet = |name: &str| &*topology.virtual_networks[&id(&format!("virtualNetworks/{name}"))];
    let used = topology.gateway_used_by(vnet("Spoke")).expect("a gateway");
    assert_eq!(used.gateway.id.name(), "GW1");
    assert_eq!(used.transit.expect("transit").id.name(), "to-Spoke");
    let own = topology.gateway_used_by(vnet("VNet1")).expect("a gateway");
    assert_eq!((own.gateway.id.name(), own.transit), ("GW1", None));
    // VNet4 learns of the spoke by itself, as it does of VNet1's prefixes.
    assert_eq!(
        prefixes(&topology, "VNet4-VNet1"),
        ["10.1.0.0/16", "10.2.0.0/16"]
    );
    assert_eq!(prefixes(&topology, "VNet1-VNet4"), ["10.4.0.0/16"]);
    assert_eq!(prefixes(&topology, "VNet1-Site"), ["192.168.0.0/24"]);
    for (transit, uses) in [(true, false), (false, false)] {
        let topology = good(&hub_and_spoke(transit, uses));
        assert_eq!(prefixes(&topology, "VNet4-VNet1"), ["10.1.0.0/16"]);
        let spoke = &topology.virtual_networks[&id("virtualNetworks/Spoke")];
        assert_eq!(topology.gateway_used_by(spoke), None);
    }
}

#[test]
fn the_hub_allows_it_first() {
    let code = "RemotePeeringDoesNotAllowGatewayTransit";
    let error = refused(&hub_and_spoke(false, true), code, SPOKE_SIDE);
    assert!(error.message.contains(HUB_SIDE), "{error}");
    // Before the hub has its side, nothing is wrong yet, and nothing works.
    let mut alone = hub_and_spoke(false, true);
    let hub = alone[0].clone();
    alone[0] = with(hub, "/properties/virtualNetworkPeerings", json!([]));
    let topology = good(&alone);
    assert_eq!(side(&topology, "Spoke", "VNet1"), PeeringState::Initiated);
    assert_eq!(prefixes(&topology, "VNet4-VNet1"), ["10.1.0.0/16"]);
}

#[test]
fn the_hub_has_a_gateway_of_a_sku_that_can() {
    let mut without = hub_and_spoke(true, true);
    without.retain(|one| one["type"] != "Microsoft.Network/connections" && one["name"] != "GW1");
    refused(&without, "RemoteVnetHasNoGateways", SPOKE_SIDE);
    // Nor does a gateway of the hub's hub count: transit is for one step.
    let mut chain = hub_and_spoke(true, true);
    chain.push(peered(
        network("Leaf", "10.3.0.0/16", "10.3.255.0/27"),
        peering("to-Spoke", "Spoke", false, true),
    ));
    let spoke = chain[SPOKE].clone();
    chain[SPOKE] = peered(spoke, peering("to-Leaf", "Leaf", true, false));
    let leaf = "Leaf/virtualNetworkPeerings/to-Spoke";
    refused(&chain, "RemoteVnetHasNoGateways", leaf);
    // A client may say that it knows better.
    let unverified = "/properties/virtualNetworkPeerings/0/properties/doNotVerifyRemoteGateways";
    let spoke = without.len() - 1;
    without[spoke] = with(without[spoke].clone(), unverified, json!(true));
    let topology = good(&without);
    let spoke = &topology.virtual_networks[&id("virtualNetworks/Spoke")];
    assert_eq!(topology.gateway_used_by(spoke), None);
    let mut basic = hub_and_spoke(true, true);
    basic[4] = with(
        basic[4].clone(),
        "/properties/sku",
        json!({"name": "Basic"}),
    );
    let code = "GatewaySkuDoesNotSupportGatewayTransit";
    let error = refused(&basic, code, SPOKE_SIDE);
    assert!(error.message.contains("GW1"), "{error}");
}

#[test]
fn a_spoke_has_no_gateway_of_its_own() {
    let mut resources = hub_and_spoke(true, true);
    resources.push(public("pip2", "203.0.113.2"));
    resources.push(gateway("GW2", "Spoke", &["pip2"]));
    let error = refused(&resources, "LocalVnetHasGateways", SPOKE_SIDE);
    assert!(error.message.contains("GW2"), "{error}");
    // Two networks with gateways may be peered and share nothing.
    resources[SPOKE] = hub_and_spoke(true, false)[SPOKE].clone();
    good(&resources);
}

#[test]
fn a_hub_that_somebody_else_describes_is_not_looked_at() {
    let elsewhere = "/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/Hub";
    let spoke = network("Spoke", "10.2.0.0/16", "10.2.255.0/27");
    let topology = good(&[peered(spoke, peering("to-Hub", elsewhere, false, true))]);
    let spoke = &topology.virtual_networks[&id("virtualNetworks/Spoke")];
    assert_eq!(topology.gateway_used_by(spoke), None);
}

/// A12, of all that one gateway leads to.
#[test]
fn a_spoke_overlaps_with_nothing_behind_the_gateway() {
    let code = "ConnectionOverlappingAddressSpaces";
    // With a site of the hub.
    let mut site = hub_and_spoke(true, true);
    let space = "/properties/localNetworkAddressSpace/addressPrefixes";
    site[6] = with(site[6].clone(), space, json!(["10.2.7.0/24"]));
    let error = refused(&site, code, "connections/VNet1-Site");
    assert!(error.message.contains("virtualNetworks/Spoke"), "{error}");
    // With a site of the other side: VNet4 would not know whom it sends to.
    let mut far = hub_and_spoke(true, true);
    far.push(crate::vpn::site("Branch", "198.51.100.8", &["10.2.7.0/24"]));
    far.push(crate::vpn::to_site("VNet4-Branch", "GW4", "Branch"));
    let error = parse(&far).expect_err("an overlap");
    assert!(error.has_code(code), "{error}");
    assert!(
        error.message.contains("virtualNetworks/Spoke, which uses"),
        "{error}"
    );
    // Who does not use the gateway is nobody's concern there.
    for transit in [true, false] {
        far[0] = hub_and_spoke(transit, false)[0].clone();
        far[SPOKE] = hub_and_spoke(transit, false)[SPOKE].clone();
        good(&far);
    }
    // A spoke that is peered with the other side, too, takes the peering (A25).
    let mut both = hub_and_spoke(true, true);
    both[1] = peered(both[1].clone(), peering("to-Spoke", "Spoke", false, false));
    both[SPOKE] = peered(
        both[SPOKE].clone(),
        peering("to-VNet4", "VNet4", false, false),
    );
    let topology = good(&both);
    assert_eq!(
        prefixes(&topology, "VNet4-VNet1"),
        ["10.1.0.0/16", "10.2.0.0/16"]
    );
}

#[test]
fn what_a_hub_knows_of_a_spoke_is_behind_its_gateway() {
    let mut store = Store::of(&hub_and_spoke(true, true));
    assert_eq!(
        prefixes(&store.topology, "VNet4-VNet1"),
        ["10.1.0.0/16", "10.2.0.0/16"]
    );
    let space = "/properties/addressSpace/addressPrefixes";
    let spoke = hub_and_spoke(true, true)[SPOKE].clone();
    let grown = with(spoke, space, json!(["10.2.0.0/16", "10.22.0.0/16"]));
    store
        .change(|store| store.put(&grown))
        .expect("a larger spoke");
    assert_eq!(
        prefixes(&store.topology, "VNet4-VNet1"),
        ["10.1.0.0/16", "10.2.0.0/16"]
    );
    let hub = id("virtualNetworks/VNet1");
    store
        .change(|store| store.forget(&hub, 0, &["remoteAddressSpace"]))
        .expect("a synchronisation");
    let known = ["10.1.0.0/16", "10.2.0.0/16", "10.22.0.0/16"];
    assert_eq!(prefixes(&store.topology, "VNet4-VNet1"), known);
    assert_eq!(store.topology, store.anew());

    // The hub does not take it away while it is used.
    let error = store
        .change(|store| store.put(&hub_and_spoke(false, true)[0]))
        .expect_err("transit that is used");
    assert_eq!(
        error.code, "RemotePeeringDoesNotAllowGatewayTransit",
        "{error}"
    );
    assert!(error.message.contains(HUB_SIDE), "{error}");
    // A peering that ends ends it.
    let lonely = with(
        hub_and_spoke(true, true)[0].clone(),
        "/properties/virtualNetworkPeerings",
        json!([]),
    );
    store
        .change(|store| store.put(&lonely))
        .expect("a hub without a spoke");
    assert_eq!(
        side(&store.topology, "Spoke", "VNet1"),
        PeeringState::Disconnected
    );
    assert_eq!(prefixes(&store.topology, "VNet4-VNet1"), ["10.1.0.0/16"]);
}
