//! What is shown of a small network, kind by kind, held against files of what a GET answers.

mod applied;
mod ike_sas;
mod lists;
mod security;
mod shapes;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::*;
use crate::{
    arm::{GroupId, Origin, ResourceGroup},
    model::{ById, DeployOptions, parse_template},
    secret::Secret,
};

const GROUP: &str = "/subscriptions/s/resourceGroups/g";

/// VNets, security groups, gateways and connections as a template has them.
fn network() -> State {
    let text = include_str!("network.json");
    let options = DeployOptions {
        subscription_id: "s".into(),
        resource_group: "g".into(),
        ..DeployOptions::default()
    };
    let topology = parse_template(text, &options).unwrap();
    let template: Value = serde_json::from_str(text).unwrap();
    let resources = template["resources"].as_array().unwrap();
    let documents = resources.iter().map(document);
    State {
        topology: Arc::new(topology),
        documents: documents
            .map(|one| (one.id.clone(), Arc::new(one)))
            .collect(),
        keys: Arc::new(BTreeMap::from([(
            id("connections/ToSite"),
            Secret::new(*b"neverShown1"),
        )])),
        ..State::default()
    }
}

fn document(resource: &Value) -> Document {
    let mut body = resource.as_object().unwrap().clone();
    let kind = body.shift_remove("type").unwrap();
    let kind = Kind::from_type(kind.as_str().unwrap()).unwrap();
    let name = body.shift_remove("name").unwrap();
    Document {
        id: kind.id(GROUP, &[name.as_str().unwrap()]),
        kind,
        body,
        etag: "2cc1b732-7a9d-44c7-b021-8d46265d5afd".into(),
        origin: Origin::Api,
    }
}

fn id(path: &str) -> ResourceId {
    ResourceId::new(&format!("{GROUP}/providers/Microsoft.Network/{path}"))
}

fn target(path: &str) -> Target {
    Target::parse(id(path).as_str()).unwrap()
}

fn shown(state: &State, path: &str) -> Value {
    show(state, &target(path), &Running).unwrap()
}

/// Two tunnels, of which one was up.
struct Running;

impl Live for Running {
    fn connection(&self, connection: &ResourceId) -> Option<ConnectionLive> {
        let tunnel = |local: &str, up: bool| TunnelLive {
            local: local.parse().unwrap(),
            remote: "198.51.100.7".parse().unwrap(),
            status: if up { "Connected" } else { "NotConnected" }.into(),
            ingress_bytes: if up { 10_500 } else { 0 },
            egress_bytes: if up { 9_600 } else { 0 },
            last_established: up.then(|| "2026-03-01T08:00:00Z".into()),
        };
        (connection.name() == "ToSite").then(|| ConnectionLive {
            status: "Connected".into(),
            ingress_bytes: 10_500,
            egress_bytes: 9_600,
            tunnels: vec![tunnel("203.0.113.1", true), tunnel("203.0.113.2", false)],
        })
    }
}

macro_rules! shown {
    ($($test:ident: $path:literal is $file:literal,)*) => {$(
        #[test]
        fn $test() {
            let expected: Value = serde_json::from_str(include_str!(concat!("shown/", $file))).unwrap();
            let shown = shown(&network(), $path);
            assert_eq!(shown, expected, "{shown:#}");
        }
    )*};
}

shown! {
    a_virtual_network: "virtualNetworks/vnet1" is "virtual_network.json",
    a_subnet: "virtualNetworks/VNet1/subnets/frontend" is "subnet.json",
    a_peering: "virtualNetworks/VNet1/virtualNetworkPeerings/ToVNet4" is "peering.json",
    a_network_interface: "networkInterfaces/Web1" is "network_interface.json",
    a_route_table: "routeTables/RT1" is "route_table.json",
    a_route: "routeTables/RT1/routes/through-the-appliance" is "route.json",
    a_security_group: "networkSecurityGroups/NSG1" is "security_group.json",
    a_security_rule: "networkSecurityGroups/NSG1/securityRules/web" is "security_rule.json",
    an_application_security_group: "applicationSecurityGroups/asg1" is "application_security_group.json",
    a_public_address: "publicIPAddresses/PIP1" is "public_ip_address.json",
    a_gateway: "virtualNetworkGateways/GW1" is "gateway.json",
    a_local_network_gateway: "localNetworkGateways/Site" is "local_network_gateway.json",
    a_connection: "connections/ToSite" is "connection.json",
    a_network_watcher: "networkWatchers/Watcher" is "network_watcher.json",
}

#[test]
fn what_is_not_there_is_not_shown() {
    let state = network();
    for path in [
        "virtualNetworks/VNet9",
        "virtualNetworks/VNet1/subnets/BackEnd",
        "virtualNetworks/VNet9/subnets/FrontEnd",
        "routeTables/RT1/routes/none",
    ] {
        assert_eq!(show(&state, &target(path), &NoLive), None, "{path}");
    }
}

#[test]
fn a_connection_of_another_host_is_unknown() {
    let shown = shown(&network(), "connections/ToVNet4");
    let properties = &shown["properties"];
    assert_eq!(properties["connectionStatus"], "Unknown");
    assert_eq!(properties["tunnelConnectionStatus"], json!([]));
    assert_eq!(
        properties["virtualNetworkGateway2"],
        json!({"id": id("virtualNetworkGateways/GW4").as_str()})
    );
}

#[test]
fn provisioning_states_reach_the_parts() {
    let mut state = network();
    let vnet = id("virtualNetworks/VNet1");
    state.unsettled = Arc::new(BTreeMap::from([(vnet, ProvisioningState::Updating)]));
    let whole = shown(&state, "virtualNetworks/VNet1");
    let subnet = shown(&state, "virtualNetworks/VNet1/subnets/FrontEnd");
    for shown in [&whole, &subnet, &whole["properties"]["subnets"][1]] {
        assert_eq!(shown["properties"]["provisioningState"], "Updating");
    }
    let other = shown(&state, "virtualNetworks/VNet4");
    assert_eq!(other["properties"]["provisioningState"], "Succeeded");
}

#[test]
fn no_document_shows_a_key() {
    let state = network();
    let mut body = Map::new();
    // Even one that should not be there, in any case.
    body.insert(
        "Properties".into(),
        json!({"SHAREDKEY": "neverShown2", "connectionType": "IPsec"}),
    );
    let stray = Document {
        id: id("connections/Stray"),
        kind: Kind::Connection,
        body,
        etag: "e".into(),
        origin: Origin::Api,
    };
    let mut documents = state.documents.clone();
    documents.insert(stray.id.clone(), Arc::new(stray));
    let state = State { documents, ..state };
    for path in ["connections/ToSite", "connections/Stray"] {
        let shown = shown(&state, path).to_string();
        assert!(!shown.contains("neverShown"), "{shown}");
    }
    let key = shared_key(&state, &id("connections/tosite")).unwrap();
    let id = format!("{}/sharedkey", id("connections/ToSite"));
    assert_eq!(key, json!({"id": id, "value": "neverShown1"}));
    assert_eq!(
        shared_key(&state, &super::tests::id("connections/None")),
        None
    );
}

#[test]
fn unknown_properties_are_shown_as_written() {
    let mut resource = json!({
        "type": "Microsoft.Network/localNetworkGateways", "name": "L", "location": "here",
        "managedBy": "somebody", "TAGS": {"a": "b"},
        "properties": {"gatewayIpAddress": "198.51.100.9", "futureOption": {"on": true, "off": null, "list": [null, {"a": null}]}},
    });
    let document = document(&resource.take());
    let state = State {
        documents: ById::unit(document.id.clone(), Arc::new(document)),
        ..State::default()
    };
    let shown = shown(&state, "localNetworkGateways/L");
    assert_eq!(shown["managedBy"], "somebody");
    assert_eq!(shown["tags"]["a"], "b");
    assert_eq!(
        shown["properties"]["futureOption"],
        json!({"on": true, "list": [null, {}]})
    );
}

/// Clients crash on a text where a boolean belongs.
#[test]
fn values_are_spelt_as_azure_spells_them() {
    let kind = "Microsoft.Network/routeTables";
    let table = document(
        &json!({"type": kind, "name": "T", "tags": {"access": "allow", "ID": "true"}, "properties": {
        "disableBgpRoutePropagation": "True",
        "routes": [{"name": "r", "properties": {
            "addressPrefix": "10.0.0.0/8", "nextHopType": "virtualappliance", "nextHopIpAddress": "10.11.0.9"}}]}}),
    );
    let state = State {
        documents: ById::unit(table.id.clone(), Arc::new(table)),
        ..State::default()
    };
    let shown = shown(&state, "routeTables/T");
    assert_eq!(shown["properties"]["disableBgpRoutePropagation"], true);
    let route = &shown["properties"]["routes"][0]["properties"];
    assert_eq!(route["nextHopType"], "VirtualAppliance");
    assert_eq!(shown["tags"], json!({"access": "allow", "ID": "true"}));
}

#[test]
fn a_resource_is_where_it_says_or_where_its_group_is() {
    let state = network();
    let id = GroupId::new("s", "G").unwrap();
    let group = ResourceGroup {
        id: id.clone(),
        location: "eastus".into(),
        tags: BTreeMap::new(),
    };
    let mut documents = ById::new();
    for (name, location) in [("A", json!("West Europe")), ("B", Value::Null)] {
        let kind = "Microsoft.Network/routeTables";
        let one = document(&json!({"type": kind, "name": name, "location": location}));
        documents.insert(one.id.clone(), Arc::new(one));
    }
    let state = State {
        groups: Arc::new(BTreeMap::from([(id, group)])),
        documents,
        ..state
    };
    assert_eq!(shown(&state, "routeTables/A")["location"], "westeurope");
    assert_eq!(shown(&state, "routeTables/B")["location"], "eastus");
}

#[test]
fn resource_groups() {
    let shown = group(&ResourceGroup {
        id: GroupId::new("s", "g").unwrap(),
        location: "westeurope".into(),
        tags: BTreeMap::from([("a".into(), "b".into())]),
    });
    assert_eq!(
        shown,
        json!({
            "id": GROUP, "name": "g", "type": "Microsoft.Resources/resourceGroups",
            "location": "westeurope", "tags": {"a": "b"},
            "properties": {"provisioningState": "Succeeded"},
        })
    );
}

#[test]
fn effective_routes_have_azures_shape() {
    let table = effective_routes(&network(), &id("networkInterfaces/web1")).unwrap();
    let shown = serde_json::to_value(table).unwrap();
    let rows = shown["value"].as_array().unwrap();
    let user = rows.iter().find(|row| row["source"] == "User").unwrap();
    assert_eq!(
        *user,
        json!({
            "name": "through-the-appliance", "disableBgpRoutePropagation": false,
            "source": "User", "state": "Active", "addressPrefix": ["192.168.0.0/16"],
            "nextHopIpAddress": ["10.11.0.9"], "nextHopType": "VirtualAppliance",
        })
    );
    assert!(effective_routes(&network(), &id("networkInterfaces/none")).is_err());
}
