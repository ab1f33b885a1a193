//! Networks, their peerings, and the interfaces in them: what is remembered.

use serde_json::{Value, json};

use super::{gateways::network, support::*};
use crate::{
    arm::{Change, Origin, Outcome, Put},
    model::{PeeringState, PeeringSyncLevel, ResourceId},
};

fn peering(from: &str, to: &str) -> Change {
    let remote = id(&format!("virtualNetworks/{to}"));
    of(
        &format!("virtualNetworks/{from}/virtualNetworkPeerings/to-{to}"),
        json!({"remoteVirtualNetwork": {"id": remote.as_str()}, "allowVirtualNetworkAccess": true}),
    )
}

fn delete_peering(from: &str, to: &str) -> Change {
    delete(&format!(
        "virtualNetworks/{from}/virtualNetworkPeerings/to-{to}"
    ))
}

fn resize(name: &str, prefixes: &[&str]) -> Change {
    of(
        &format!("virtualNetworks/{name}"),
        json!({"addressSpace": {"addressPrefixes": prefixes}}),
    )
}

fn state(world: &World, from: &str, to: &str) -> (PeeringState, PeeringSyncLevel) {
    let network = &world.state.topology.virtual_networks[&id(&format!("virtualNetworks/{from}"))];
    let peering = id(&format!(
        "virtualNetworks/{from}/virtualNetworkPeerings/to-{to}"
    ));
    let peering = &network.peerings[&peering];
    (peering.peering_state, peering.peering_sync_level)
}

fn interface(name: &str, address: Option<&str>) -> Change {
    let subnet = id("virtualNetworks/v1/subnets/a");
    let mut properties = json!({"subnet": {"id": subnet.as_str()}});
    if let Some(address) = address {
        properties["privateIPAddress"] = address.into();
        properties["privateIPAllocationMethod"] = "Static".into();
    }
    of(
        &format!("networkInterfaces/{name}"),
        json!({"ipConfigurations": [{"name": "one", "properties": properties}]}),
    )
}

fn address(world: &World, name: &str) -> Value {
    let properties = world.properties(&format!("networkInterfaces/{name}"));
    properties["ipConfigurations"][0]["properties"]["privateIPAddress"].clone()
}

#[test]
fn a_peering_remembers_that_it_was_connected() {
    let mut world = World::new();
    world.does(&[network("v1", 1), network("v2", 2), peering("v1", "v2")]);
    assert_eq!(state(&world, "v1", "v2").0, PeeringState::Initiated);
    let etag = world.etag("virtualNetworks/v1").to_owned();
    let applied = world.does(&[peering("v2", "v1")]);
    let both = [id("virtualNetworks/v1"), id("virtualNetworks/v2")];
    assert_eq!(
        applied.written, both,
        "the other side is connected now, too"
    );
    assert_ne!(world.etag("virtualNetworks/v1"), etag);
    assert_eq!(state(&world, "v1", "v2").0, PeeringState::Connected);
    assert_eq!(
        state(&world, "v2", "v1"),
        (PeeringState::Connected, PeeringSyncLevel::FullyInSync)
    );
    // A second time changes nothing, nor does the network with them.
    let applied = world.does(&[peering("v2", "v1"), network("v1", 1), peering("v1", "v2")]);
    assert_eq!(applied.outcomes, [Outcome::Unchanged; 3]);

    let applied = world.does(&[delete_peering("v1", "v2")]);
    assert_eq!(applied.written, both);
    assert_eq!(state(&world, "v2", "v1").0, PeeringState::Disconnected);
    let error = world.apply(&[peering("v1", "v2")]).unwrap_err();
    assert_eq!(error.code, "RemotePeeringIsDisconnected");
    world.does(&[delete_peering("v2", "v1")]);
    world.does(&[peering("v1", "v2")]);
    world.does(&[peering("v2", "v1")]);
    assert_eq!(state(&world, "v1", "v2").0, PeeringState::Connected);
    // The network at the other end goes.
    world.does(&[delete("virtualNetworks/v2")]);
    assert_eq!(state(&world, "v1", "v2").0, PeeringState::Disconnected);
}

#[test]
fn a_resized_network_is_synchronised_when_asked() {
    let mut world = World::new();
    world.does(&[
        network("v1", 1),
        network("v2", 2),
        peering("v1", "v2"),
        peering("v2", "v1"),
    ]);
    let wider = ["10.1.0.0/16", "10.11.0.0/16"];
    world.does(&[resize("v1", &wider)]);
    assert_eq!(
        state(&world, "v1", "v2").1,
        PeeringSyncLevel::RemoteNotInSync
    );
    assert_eq!(
        state(&world, "v2", "v1").1,
        PeeringSyncLevel::LocalNotInSync
    );
    // A plain PUT does not; a client's own idea of it neither.
    let Change::Put(plain) = peering("v2", "v1") else {
        unreachable!("peering makes a PUT");
    };
    let mut echoed = plain.clone();
    echoed.body["properties"]["remoteAddressSpace"] = json!({"addressPrefixes": wider});
    echoed.body["properties"]["peeringState"] = "Disconnected".into();
    let applied = world.does(&[Change::Put(plain.clone()), Change::Put(echoed)]);
    assert_eq!(applied.outcomes, [Outcome::Unchanged; 2]);
    let applied = world.does(&[Change::Put(Put {
        sync_remote_address_space: true,
        ..plain
    })]);
    assert_eq!(applied.outcomes, [Outcome::Updated]);
    assert_eq!(state(&world, "v1", "v2").1, PeeringSyncLevel::FullyInSync);
    assert_eq!(state(&world, "v2", "v1").1, PeeringSyncLevel::FullyInSync);
}

#[test]
fn a_peering_does_not_lead_elsewhere() {
    let mut world = World::new();
    world.does(&[
        network("v1", 1),
        network("v2", 2),
        network("v3", 3),
        peering("v1", "v2"),
    ]);
    let Change::Put(mut moved) = peering("v1", "v2") else {
        unreachable!("peering makes a PUT");
    };
    moved.body["properties"]["remoteVirtualNetwork"]["id"] =
        id("virtualNetworks/v3").as_str().into();
    let error = world.apply(&[Change::Put(moved.clone())]).unwrap_err();
    assert_eq!(error.code, "ChangingRemoteVirtualNetworkNotAllowed");
    // The whole truth of a file says what it wants.
    world.does(&[Change::Put(Put {
        origin: Origin::File,
        ..moved
    })]);
    let network = &world.state.topology.virtual_networks[&id("virtualNetworks/v1")];
    let remotes: Vec<&ResourceId> = network
        .peerings
        .values()
        .map(|p| &p.remote_virtual_network)
        .collect();
    assert_eq!(remotes, [&id("virtualNetworks/v3")]);
}

#[test]
fn a_file_starts_peerings_anew_and_changes_nothing_twice() {
    let whole = |from: &str, number: u8, to: &str| {
        let Change::Put(mut put) = network(from, number) else {
            unreachable!("network makes a PUT");
        };
        let remote = id(&format!("virtualNetworks/{to}"));
        put.body["properties"]["virtualNetworkPeerings"] = json!([{
            "name": format!("to-{to}"), "properties": {"remoteVirtualNetwork": {"id": remote.as_str()}},
        }]);
        put.origin = Origin::File;
        Change::Put(put)
    };
    let file = [whole("v1", 1, "v2"), whole("v2", 2, "v1")];
    let mut world = World::new();
    world.does(&file);
    assert_eq!(state(&world, "v1", "v2").0, PeeringState::Connected);
    let applied = world.does(&file);
    assert_eq!(applied.outcomes, [Outcome::Unchanged; 2]);
    assert!(applied.written.is_empty());
    world.does(&[delete_peering("v1", "v2")]);
    assert_eq!(state(&world, "v2", "v1").0, PeeringState::Disconnected);
    world.does(&file);
    assert_eq!(state(&world, "v1", "v2").0, PeeringState::Connected);
    assert_eq!(state(&world, "v2", "v1").0, PeeringState::Connected);
}

#[test]
fn dynamic_addresses_stay() {
    let mut world = World::new();
    world.does(&[
        network("v1", 1),
        interface("one", None),
        interface("two", None),
    ]);
    assert_eq!(address(&world, "one"), "10.1.0.4");
    assert_eq!(address(&world, "two"), "10.1.0.5");
    let mac = world.properties("networkInterfaces/one")["macAddress"].clone();
    assert!(
        mac.as_str().is_some_and(|mac| mac.starts_with("00-0D-3A-")),
        "{mac}"
    );
    let applied = world.does(&[interface("one", None)]);
    assert_eq!(applied.outcomes, [Outcome::Unchanged]);
    // Nobody takes one away, and nobody gets one of somebody else's.
    let error = world
        .apply(&[interface("three", Some("10.1.0.5"))])
        .unwrap_err();
    assert_eq!(error.code, "PrivateIPAddressInUse", "{error}");
    assert_eq!(
        error.target.as_deref(),
        Some(id("networkInterfaces/three").as_str())
    );
    world.does(&[delete("networkInterfaces/one")]);
    world.does(&[interface("zero", None)]);
    assert_eq!(address(&world, "two"), "10.1.0.5");
    assert_eq!(address(&world, "zero"), "10.1.0.4");
    // Its subnet cannot move away from it.
    let moved = of(
        "virtualNetworks/v1/subnets/a",
        json!({"addressPrefix": "10.1.7.0/24"}),
    );
    let error = world.apply(&[moved]).unwrap_err();
    assert!(error.has_code("InUsePrefixCannotBeDeleted"), "{error}");
    let error = world
        .apply(&[delete("virtualNetworks/v1/subnets/a")])
        .unwrap_err();
    assert_eq!(error.code, "InUseSubnetCannotBeDeleted");
}

#[test]
fn what_does_not_read_or_hold_is_told_at_its_resource() {
    let mut world = World::new();
    world.does(&[network("v1", 1)]);
    let wrong = of(
        "virtualNetworks/v2",
        json!({"addressSpace": {"addressPrefixes": ["10.2.0.0"]}}),
    );
    let overlapping = of(
        "virtualNetworks/v1/subnets/b",
        json!({"addressPrefix": "10.1.0.0/25"}),
    );
    let lost = of(
        "virtualNetworks/v1/subnets/b",
        json!({"addressPrefix": "10.1.1.0/24", "routeTable": {"id": id("routeTables/none").as_str()}}),
    );
    for (change, code, target) in [
        (wrong, "InvalidAddressPrefixFormat", "virtualNetworks/v2"),
        (
            overlapping,
            "NetcfgSubnetRangesOverlap",
            "virtualNetworks/v1",
        ),
        (
            lost,
            "InvalidResourceReference",
            "virtualNetworks/v1/subnets/b",
        ),
    ] {
        let before = world.state.clone();
        let error = world
            .apply(&[put("routeTables/t", json!({})), change])
            .unwrap_err();
        assert_eq!(error.code, code, "{error}");
        let at = error.target.as_deref().unwrap_or_default();
        assert!(at.starts_with(id(target).as_str()), "{at}");
        assert_eq!(world.state.documents, before.documents);
    }
    let unknown = of("routeTables/t", json!({"colour": "red", "routes": []}));
    let applied = world.does(&[unknown]);
    assert_eq!(applied.warnings.len(), 1, "{:?}", applied.warnings);
    assert!(
        applied.warnings[0]
            .target
            .starts_with(id("routeTables/t").as_str())
    );
    assert_eq!(world.properties("routeTables/t")["colour"], "red");
}
