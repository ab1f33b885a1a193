//! Peerings of subnets: what is read, each rule with its code, and what is synchronised.

use ipnet::IpNet;
use serde_json::{Value, json};
use vnet_gw_core::model::{PeeringSyncLevel, Topology, VirtualNetworkPeering};

use crate::{
    store::Store,
    support::{good, id, parse, refused, vnet, with},
};

/// A network with subnets `s0` to `s2` in its first prefix, `s3` in the second, and `s4` of both
/// families.
fn network(name: &str, number: u8, second: &str) -> Value {
    let prefix = |third: u8| format!("10.{number}.{third}.0/24");
    let spaces = [
        format!("10.{number}.0.0/16"),
        second.to_owned(),
        format!("fd00:{number}::/48"),
    ];
    let subnets = [
        prefix(0),
        prefix(1),
        prefix(2),
        second.replace("0.0/16", "3.0/24"),
    ];
    let names = ["s0", "s1", "s2", "s3"];
    let subnets: Vec<(&str, &str)> = names
        .into_iter()
        .zip(subnets.iter().map(|s| &**s))
        .collect();
    let spaces = spaces.each_ref().map(String::as_str);
    let both = json!({"name": "s4", "properties": {
        "addressPrefixes": [prefix(4), format!("fd00:{number}::/64")],
    }});
    with(
        vnet(name, &spaces, &subnets, &[]),
        "/properties/subnets/-",
        both,
    )
}

fn peered(network: Value, to: &str, local: &[&str], remote: &[&str]) -> Value {
    let peering = json!({"name": format!("to-{to}"), "properties": {
        "remoteVirtualNetwork": {"id": to},
        "peerCompleteVnets": false,
        "localSubnetNames": local,
        "remoteSubnetNames": remote,
    }});
    with(network, "/properties/virtualNetworkPeerings/-", peering)
}

fn left(local: &[&str], remote: &[&str]) -> Value {
    peered(network("left", 1, "172.16.0.0/16"), "right", local, remote)
}

fn right(local: &[&str], remote: &[&str]) -> Value {
    peered(network("right", 2, "172.16.0.0/16"), "left", local, remote)
}

/// The first peering's property of that name.
fn set(network: Value, name: &str, value: Value) -> Value {
    let pointer = format!("/properties/virtualNetworkPeerings/0/properties/{name}");
    with(network, &pointer, value)
}

fn peering(topology: &Topology, network: &str) -> VirtualNetworkPeering {
    let network = &topology.virtual_networks[&id(&format!("virtualNetworks/{network}"))];
    network.peerings.values().next().expect("a peering").clone()
}

fn space(topology: &Topology, network: &str) -> Vec<String> {
    let space = peering(topology, network).remote_address_space;
    space.iter().map(IpNet::to_string).collect()
}

#[test]
fn each_side_leads_to_the_subnets_that_both_name() {
    let topology = good(&[left(&["s1"], &["s0", "s2"]), right(&["S0", "s2"], &["s1"])]);
    assert_eq!(space(&topology, "left"), ["10.2.0.0/24", "10.2.2.0/24"]);
    assert_eq!(space(&topology, "right"), ["10.1.1.0/24"]);
    let subnets = peering(&topology, "left").subnets.expect("of subnets");
    assert_eq!(subnets.local, [id("virtualNetworks/left/subnets/s1")]);
    assert!(!subnets.only_ipv6);
    // What one side alone names is peered with nobody.
    let topology = good(&[
        left(&["s1", "s2"], &["s0", "s1"]),
        right(&["s0", "s2"], &["s1"]),
    ]);
    assert_eq!(space(&topology, "left"), ["10.2.0.0/24"]);
    assert_eq!(space(&topology, "right"), ["10.1.1.0/24"]);
    // Both families, or one.
    let both = [left(&["s4"], &["s4"]), right(&["s4"], &["s4"])];
    assert_eq!(space(&good(&both), "left"), ["10.2.4.0/24", "fd00:2::/64"]);
    let v6 = both.map(|one| set(one, "enableOnlyIPv6Peering", json!(true)));
    assert_eq!(space(&good(&v6), "left"), ["fd00:2::/64"]);
}

#[test]
fn networks_may_overlap_where_they_are_not_peered() {
    // 172.16.0.0/16 is in both.
    good(&[left(&["s1"], &["s0"]), right(&["s0"], &["s1"])]);
    let error = parse(&[left(&["s1", "s3"], &["s0"]), right(&["s0"], &["s1", "s3"])]);
    let error = error.expect_err("an overlap");
    assert_eq!(error.code, "VnetAddressSpacesOverlap", "{error}");
    assert!(
        error.message.contains("172.16.0.0/16 and 172.16.0.0/16"),
        "{error}"
    );
    // So may two peers of one network, as far as they are peered.
    let hub = |of_b: &str| {
        let hub = peered(
            network("hub", 9, "192.168.0.0/16"),
            "left",
            &["s0"],
            &["s1"],
        );
        let hub = peered(hub, "right", &["s0"], &[of_b]);
        let left = peered(network("left", 1, "172.16.0.0/16"), "hub", &["s1"], &["s0"]);
        let right = peered(
            network("right", 2, "172.16.0.0/16"),
            "hub",
            &[of_b],
            &["s0"],
        );
        [hub, left, right]
    };
    good(&hub("s1"));
    let mut twice = hub("s3");
    twice[0] = with(
        twice[0].clone(),
        "/properties/virtualNetworkPeerings/0/properties/remoteSubnetNames",
        json!(["s3"]),
    );
    twice[1] = set(twice[1].clone(), "localSubnetNames", json!(["s3"]));
    let error = parse(&twice).expect_err("an overlap");
    let code = "VnetAddressSpaceOverlapsWithAlreadyPeeredVnet";
    assert_eq!(error.code, code, "{error}");
}

#[test]
fn the_names_are_of_subnets_that_are_there() {
    let at = "left/virtualNetworkPeerings/to-right";
    let code = "InvalidResourceReference";
    refused(&[left(&["s9"], &["s0"]), right(&["s0"], &["s1"])], code, at);
    refused(&[left(&["s1"], &["s9"]), right(&["s0"], &["s1"])], code, at);
    let good_right = right(&["s0"], &["s1"]);
    for (local, remote) in [(&[][..], &["s0"][..]), (&["s1"], &[])] {
        let error = refused(
            &[left(local, remote), good_right.clone()],
            "InvalidRequestFormat",
            "",
        );
        assert!(error.message.contains("localSubnetNames"), "{error}");
    }
    // Of complete networks there is nothing to name.
    for (name, value) in [
        ("localSubnetNames", json!(["s1"])),
        ("enableOnlyIPv6Peering", json!(true)),
    ] {
        let complete = vnet(
            "left",
            &["10.1.0.0/16"],
            &[("s1", "10.1.1.0/24")],
            &["right"],
        );
        let complete = set(complete, name, value);
        let error = refused(&[complete, good_right.clone()], "InvalidRequestFormat", "");
        assert!(error.message.contains("peerCompleteVnets"), "{error}");
    }
    let many: Vec<String> = (0..201).map(|number| format!("s{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = parse(&[left(&["s1"], &many), good_right]).expect_err("too many");
    assert!(error.has_code("PeeringSubnetLimitExceeded"), "{error}");
}

#[test]
fn both_sides_are_of_one_kind() {
    let complete = vnet(
        "right",
        &["10.2.0.0/16"],
        &[("s0", "10.2.0.0/24")],
        &["left"],
    );
    let code = "PeerCompleteVnetsDiffers";
    refused(&[left(&["s1"], &["s0"]), complete], code, "to-right");
}

#[test]
fn a_change_of_the_subnets_is_synchronised() {
    let mut store = Store::of(&[left(&["s1"], &["s0"]), right(&["s0"], &["s1"])]);
    let level = |store: &Store, network: &str| peering(&store.topology, network).peering_sync_level;
    assert_eq!(level(&store, "left"), PeeringSyncLevel::FullyInSync);
    let put = |store: &mut Store, network: Value| {
        store
            .change(|store| store.put(&network))
            .expect("a good network");
    };
    put(&mut store, right(&["s0", "s2"], &["s1"]));
    assert_eq!(space(&store.topology, "left"), ["10.2.0.0/24"]);
    assert_eq!(level(&store, "left"), PeeringSyncLevel::FullyInSync);
    put(&mut store, left(&["s1"], &["s0", "s2"]));
    // Both name it now, and it takes a synchronisation.
    assert_eq!(space(&store.topology, "left"), ["10.2.0.0/24"]);
    assert_eq!(level(&store, "left"), PeeringSyncLevel::LocalNotInSync);
    assert_eq!(level(&store, "right"), PeeringSyncLevel::RemoteNotInSync);
    let left_id = id("virtualNetworks/left");
    store
        .change(|store| store.forget(&left_id, 0, &["remoteAddressSpace"]))
        .expect("a synchronisation");
    assert_eq!(
        space(&store.topology, "left"),
        ["10.2.0.0/24", "10.2.2.0/24"]
    );
    assert_eq!(level(&store, "right"), PeeringSyncLevel::FullyInSync);
    assert_eq!(store.topology, store.anew());
}
