//! Peerings of kept resources, which remember what they were (rule C "Peering").

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, Kind, VirtualNetworkPeering, read_document, settle};

use crate::{
    store::Store,
    support::{id, vnet},
};

/// State, sync level and remote address space of the one peering of a network.
fn peering(store: &Store, network: &str) -> (String, String, String) {
    let network = &store.topology.virtual_networks[&id(&format!("virtualNetworks/{network}"))];
    let VirtualNetworkPeering {
        peering_state,
        peering_sync_level,
        remote_address_space,
        ..
    } = network.peerings.values().next().expect("a peering");
    let space: Vec<String> = remote_address_space
        .iter()
        .map(ToString::to_string)
        .collect();
    (
        peering_state.as_str().to_owned(),
        peering_sync_level.as_str().to_owned(),
        space.join(" "),
    )
}

fn is(state: &str, level: &str, space: &str) -> (String, String, String) {
    (state.to_owned(), level.to_owned(), space.to_owned())
}

fn one(space: &[&str], peers: &[&str]) -> Value {
    vnet("VNet1", space, &[], peers)
}

fn four(space: &[&str], peers: &[&str]) -> Value {
    vnet("VNet4", space, &[], peers)
}

const ONE: &[&str] = &["10.1.0.0/16"];
const FOUR: &[&str] = &["10.41.0.0/16"];

fn connected() -> Store {
    Store::of(&[one(ONE, &["VNet4"]), four(FOUR, &["VNet1"])])
}

/// The first peering of a network is put itself: it is new, or synchronised.
fn forget(store: &mut Store, network: &str, names: &[&str]) -> Result<(), ArmError> {
    store.forget(&id(&format!("virtualNetworks/{network}")), 0, names)
}

const SYNC: &[&str] = &["remoteAddressSpace"];
const PUT: &[&str] = &["peeringState", "remoteAddressSpace"];

#[test]
fn one_side_is_initiated_and_two_are_connected() {
    let mut store = Store::of(&[one(ONE, &["VNet4"]), four(FOUR, &[])]);
    assert_eq!(
        peering(&store, "VNet1"),
        is("Initiated", "RemoteNotInSync", "10.41.0.0/16")
    );
    // What the other network has by then counts.
    store
        .change(|store| store.put(&four(&["10.42.0.0/16"], &[])))
        .expect("a larger network");
    store
        .change(|store| store.put(&four(&["10.42.0.0/16"], &["VNet1"])))
        .expect("the other side");
    assert_eq!(
        peering(&store, "VNet1"),
        is("Connected", "FullyInSync", "10.42.0.0/16")
    );
    assert_eq!(
        peering(&store, "VNet4"),
        is("Connected", "FullyInSync", "10.1.0.0/16")
    );
    assert_eq!(store.topology, store.anew());
}

#[test]
fn a_side_whose_other_side_goes_is_disconnected() {
    let mut store = connected();
    store
        .change(|store| store.put(&four(FOUR, &[])))
        .expect("a deletion");
    assert_eq!(
        peering(&store, "VNet1"),
        is("Disconnected", "RemoteNotInSync", "10.41.0.0/16")
    );
    // The other side cannot come back while this one is so.
    let again = four(FOUR, &["VNet1"]);
    let error = store
        .change(|store| store.put(&again))
        .expect_err("a disconnected peering");
    assert_eq!(error.code, "RemotePeeringIsDisconnected", "{error}");
    let target = error.target.unwrap_or_default();
    assert!(
        target.ends_with("VNet4/virtualNetworkPeerings/to-VNet1"),
        "{target}"
    );
    // A PUT of its network changes nothing of that.
    store
        .change(|store| store.put(&one(ONE, &["VNet4"])))
        .expect("the same");
    assert_eq!(peering(&store, "VNet1").0, "Disconnected");
    // A PUT of the peering itself does.
    store
        .change(|store| forget(store, "VNet1", PUT))
        .expect("a peering");
    assert_eq!(peering(&store, "VNet1").0, "Initiated");
    store
        .change(|store| store.put(&again))
        .expect("the other side");
    for network in ["VNet1", "VNet4"] {
        assert_eq!(peering(&store, network).0, "Connected");
        assert_eq!(peering(&store, network).1, "FullyInSync");
    }
}

#[test]
fn a_side_whose_network_goes_is_disconnected_also_when_it_comes_back() {
    let mut store = connected();
    let gone = id("virtualNetworks/VNet4");
    store
        .change(|store| {
            store.delete(&gone);
            Ok(())
        })
        .expect("a deletion");
    assert_eq!(
        peering(&store, "VNet1"),
        is("Disconnected", "RemoteNotInSync", "10.41.0.0/16")
    );
    store
        .change(|store| store.put(&four(FOUR, &[])))
        .expect("the network");
    assert_eq!(peering(&store, "VNet1").0, "Disconnected");
    let error = store
        .change(|store| store.put(&four(FOUR, &["VNet1"])))
        .expect_err("a disconnected peering");
    assert_eq!(error.code, "RemotePeeringIsDisconnected", "{error}");
    // Both anew, in one set.
    store
        .change(|store| {
            forget(store, "VNet1", PUT)?;
            store.put(&four(FOUR, &["VNet1"]))
        })
        .expect("both sides");
    assert_eq!(peering(&store, "VNet1").0, "Connected");
    assert_eq!(store.topology, store.anew());
}

#[test]
fn a_new_peering_needs_its_network_and_an_old_one_does_not() {
    let mut store = Store::of(&[four(FOUR, &[])]);
    let error = store
        .change(|store| store.put(&one(ONE, &["VNet9"])))
        .expect_err("no such network");
    assert_eq!(error.code, "InvalidResourceReference", "{error}");
    // Of another resource group of the same store, too.
    let elsewhere = "/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/VNet4";
    let error = store
        .change(|store| store.put(&one(ONE, &[elsewhere])))
        .expect_err("no such network");
    assert_eq!(error.code, "InvalidResourceReference", "{error}");
    store
        .change(|store| store.put(&one(ONE, &["VNet4"])))
        .expect("a peering");
    store
        .change(|store| {
            store.delete(&id("virtualNetworks/VNet4"));
            Ok(())
        })
        .expect("a deletion");
    assert_eq!(peering(&store, "VNet1").0, "Disconnected");
}

#[test]
fn a_resized_network_is_synchronised_by_its_peer() {
    let mut store = connected();
    let larger: &[&str] = &["10.1.0.0/16", "10.2.0.0/16"];
    store
        .change(|store| store.put(&one(larger, &["VNet4"])))
        .expect("a larger network");
    let four_knows = "10.1.0.0/16";
    assert_eq!(
        peering(&store, "VNet1"),
        is("Connected", "RemoteNotInSync", "10.41.0.0/16")
    );
    assert_eq!(
        peering(&store, "VNet4"),
        is("Connected", "LocalNotInSync", four_knows)
    );
    // The other one, too.
    store
        .change(|store| store.put(&four(&["10.41.0.0/16", "10.42.0.0/16"], &["VNet1"])))
        .expect("a larger network");
    for network in ["VNet1", "VNet4"] {
        assert_eq!(peering(&store, network).1, "LocalAndRemoteNotInSync");
    }
    store
        .change(|store| forget(store, "VNet4", SYNC))
        .expect("a synchronisation");
    assert_eq!(
        peering(&store, "VNet4"),
        is("Connected", "RemoteNotInSync", "10.1.0.0/16 10.2.0.0/16")
    );
    assert_eq!(
        peering(&store, "VNet1"),
        is("Connected", "LocalNotInSync", "10.41.0.0/16")
    );
    store
        .change(|store| forget(store, "VNet1", SYNC))
        .expect("a synchronisation");
    for network in ["VNet1", "VNet4"] {
        assert_eq!(peering(&store, network).1, "FullyInSync");
    }
    // The order of the prefixes is no difference.
    store
        .change(|store| store.put(&one(&["10.2.0.0/16", "10.1.0.0/16"], &["VNet4"])))
        .expect("the same");
    assert_eq!(
        peering(&store, "VNet4"),
        is("Connected", "FullyInSync", "10.1.0.0/16 10.2.0.0/16")
    );
}

#[test]
fn what_a_peering_still_leads_to_overlaps_with_nothing() {
    let five = |peers: &[&str]| vnet("VNet5", &["10.41.128.0/17"], &[], peers);
    let mut store = connected();
    store
        .change(|store| {
            store.put(&four(&["10.41.0.0/17"], &["VNet1"]))?;
            store.put(&five(&[]))
        })
        .expect("a smaller network");
    // VNet1 would lead to both with its route to 10.41.0.0/16.
    let both = |store: &mut Store| {
        store.put(&one(ONE, &["VNet4", "VNet5"]))?;
        store.put(&five(&["VNet1"]))
    };
    let error = store.change(both).expect_err("an overlap");
    assert!(
        error.has_code("VnetAddressSpaceOverlapsWithAlreadyPeeredVnet"),
        "{error}"
    );
    store
        .change(|store| forget(store, "VNet1", SYNC))
        .expect("a synchronisation");
    store.change(both).expect("no overlap any more");
}

#[test]
fn a_resized_network_still_overlaps_with_no_peer() {
    let mut store = connected();
    let error = store
        .change(|store| store.put(&one(&["10.1.0.0/16", "10.41.3.0/24"], &["VNet4"])))
        .expect_err("an overlap");
    assert_eq!(error.code, "VnetAddressSpacesOverlap", "{error}");
}

#[test]
fn a_template_remembers_nothing() {
    let mut alone = one(ONE, &["VNet4"]);
    let properties = &mut alone["properties"]["virtualNetworkPeerings"][0]["properties"];
    properties["peeringState"] = json!("Connected");
    properties["remoteAddressSpace"] = json!({"addressPrefixes": ["10.99.0.0/16"]});
    let topology = crate::support::good(&[alone, four(FOUR, &[])]);
    let network = &topology.virtual_networks[&id("virtualNetworks/VNet1")];
    let peering = network.peerings.values().next().expect("a peering");
    assert_eq!(peering.peering_state.as_str(), "Initiated");
    assert_eq!(peering.remote_address_space[0].to_string(), "10.41.0.0/16");
}

/// A file is all there is of its resource group alone.
#[test]
fn a_peering_of_a_file_waits_for_a_network_of_another_group() {
    let elsewhere = "/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/VNet4";
    for (peer, memory, expected) in [
        (elsewhere, Value::Null, Some("Initiated")),
        (elsewhere, json!("Initiated"), Some("Initiated")),
        (elsewhere, json!("Connected"), Some("Disconnected")),
        ("VNet4", json!("Initiated"), Some("Disconnected")),
        ("VNet4", Value::Null, None),
    ] {
        let mut body = one(ONE, &[peer]);
        let properties = &mut body["properties"]["virtualNetworkPeerings"][0]["properties"];
        properties["peeringState"] = memory.clone();
        let body = json!({"properties": body["properties"]});
        let id = id("virtualNetworks/VNet1");
        let body = body.as_object().expect("a body");
        let read = read_document(&id, Kind::VirtualNetwork, body, "local", None);
        let read = read.expect("a network").of_file();
        let topology = settle(std::iter::once(&read)).ok();
        let network = topology
            .as_ref()
            .map(|topology| &topology.virtual_networks[&id]);
        let peering = network.and_then(|network| network.peerings.values().next());
        let state = peering.map(|peering| peering.peering_state.as_str());
        assert_eq!(state, expected, "{peer} {memory}");
    }
}
