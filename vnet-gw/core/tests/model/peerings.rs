//! The rules of peerings, each with its code and its target.

use serde_json::{Value, json};
use vnet_gw_core::model::{PeeringState, PeeringSyncLevel};

use crate::support::{good, id, refused, vnet};

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
        let mut four = vnet("VNet4", &["10.4.0.0/16"], &[], &["VNet1"]);
        four["properties"]["virtualNetworkPeerings"][0]["properties"]["allowGatewayTransit"] =
            json!(true);
        [one, four]
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
