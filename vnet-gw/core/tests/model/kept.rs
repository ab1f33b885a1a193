//! Whatever is changed, one document at a time: what is refused changes nothing, and what is left is
//! what reading all of it anew makes.

use proptest::prelude::*;
use serde_json::{Value, json};

use vnet_gw_core::model::{Kind, read_document, settle};

use crate::{
    documents::tutorial,
    store::Store,
    support::{GROUP, id, nic, resource, vnet},
};

const NETWORKS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A network with so many prefixes, a subnet of this length, peered with others.
    Network(usize, usize, u8, Vec<usize>),
    NoNetwork(usize),
    /// An interface in a network, with this last byte of its address, or a dynamic one.
    Interface(usize, usize, Option<u8>),
    NoInterface(usize),
    /// With a route to this network.
    Table(usize),
    NoTable,
    /// A peering of a network is put itself.
    Peering(usize, usize),
    Synchronise(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let network = || 0..NETWORKS;
    let peers = prop::collection::btree_set(network(), 0..3);
    prop_oneof![
        6 => (network(), 1usize..3, 27u8..30, peers)
            .prop_map(|(n, prefixes, length, peers)| {
                Step::Network(n, prefixes, length, peers.into_iter().filter(|p| *p != n).collect())
            }),
        1 => network().prop_map(Step::NoNetwork),
        6 => (0usize..12, network(), prop::option::of(0u8..12))
            .prop_map(|(nic, network, address)| Step::Interface(nic, network, address)),
        2 => (0usize..12).prop_map(Step::NoInterface),
        1 => network().prop_map(Step::Table),
        1 => Just(Step::NoTable),
        1 => (network(), 0usize..3).prop_map(|(n, peering)| Step::Peering(n, peering)),
        1 => (network(), 0usize..3).prop_map(|(n, peering)| Step::Synchronise(n, peering)),
    ]
}

fn network(number: usize, prefixes: usize, length: u8, peers: &[usize]) -> Value {
    let space: Vec<String> = (0..prefixes)
        .map(|prefix| format!("10.{}{prefix}.0.0/16", number + 1))
        .collect();
    let space: Vec<&str> = space.iter().map(String::as_str).collect();
    let subnet = format!("10.{}0.0.0/{length}", number + 1);
    let peers: Vec<String> = peers.iter().map(|peer| format!("VNet{peer}")).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let mut network = vnet(&format!("VNet{number}"), &space, &[("a", &subnet)], &peers);
    if length == 28 {
        let properties = &mut network["properties"]["subnets"][0]["properties"];
        properties["routeTable"] = json!({"id": "T"});
    }
    network
}

fn carry_out(store: &mut Store, step: &Step) -> bool {
    let done = store.change(|store| match step {
        Step::Network(n, prefixes, length, peers) => {
            store.put(&network(*n, *prefixes, *length, peers))
        }
        Step::NoNetwork(n) => {
            store.delete(&id(&format!("virtualNetworks/VNet{n}")));
            Ok(())
        }
        Step::Interface(interface, network, address) => {
            let address = address.map(|last| format!("10.{}0.0.{last}", network + 1));
            store.put(&nic(
                &format!("nic{interface}"),
                &format!("VNet{network}/a"),
                &address.unwrap_or_default(),
            ))
        }
        Step::NoInterface(interface) => {
            store.delete(&id(&format!("networkInterfaces/nic{interface}")));
            Ok(())
        }
        Step::Table(network) => {
            let route = json!({"name": "r", "properties": {
                "addressPrefix": format!("10.{}0.0.0/16", network + 1), "nextHopType": "None"}});
            store.put(&resource("routeTables", "T", json!({"routes": [route]})))
        }
        Step::NoTable => {
            store.delete(&id("routeTables/T"));
            Ok(())
        }
        Step::Peering(network, peering) => store.forget(
            &id(&format!("virtualNetworks/VNet{network}")),
            *peering,
            &["peeringState", "remoteAddressSpace"],
        ),
        Step::Synchronise(network, peering) => store.forget(
            &id(&format!("virtualNetworks/VNet{network}")),
            *peering,
            &["remoteAddressSpace"],
        ),
    });
    done.is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_left_is_what_reading_it_anew_makes(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut store = Store::default();
        // So that most of what follows is good.
        prop_assert!(carry_out(&mut store, &Step::Table(0)));
        for step in &steps {
            let before = store.topology.clone();
            if !carry_out(&mut store, step) {
                prop_assert_eq!(&store.topology, &before, "refused: {:?}", step);
            }
            prop_assert_eq!(&store.topology, &store.anew(), "{:?}", step);
            invariants(&store)?;
        }
    }
}

/// Any value: what a client that is broken, or hostile, may send in any place.
fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "(10\\.[0-9]{1,3}\\.0\\.[0-9]{1,3}(/[0-9]{1,3})?|\\*|::/0|[0-9]{1,5}-[0-9]{1,5}|VNet1/a)"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = "(name|id|properties|addressPrefix|sharedKey|[a-z]{1,4})";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// The pointers to every value in another.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pointers(value, &format!("{at}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever stands wherever: an error that is told in one line each, or a document that settles
    /// or does not; never a panic.
    #[test]
    fn junk_anywhere_is_an_error_or_a_document(
        chosen in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        junk in junk(),
    ) {
        let mut bodies = tutorial();
        let rule = json!({"name": "r", "properties": {
            "access": "Allow", "direction": "Inbound", "priority": 100, "protocol": "Tcp",
            "sourceAddressPrefixes": ["10.1.0.0/16"], "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRanges": ["22", "80-90"]}});
        bodies.push(resource("networkSecurityGroups", "N", json!({"securityRules": [rule]})));
        let resource = chosen.get(&bodies);
        let kind = Kind::from_type(resource["type"].as_str().expect("a type")).expect("a kind");
        let mut body = json!({"location": "local", "tags": {}, "properties": resource["properties"]});
        let mut places = Vec::new();
        pointers(&body, "", &mut places);
        let place = place.get(&places[1..]);
        *body.pointer_mut(place).expect("a place") = junk;
        let id = kind.id(GROUP, &[resource["name"].as_str().expect("a name")]);
        let body = body.as_object().expect("an object");
        match read_document(&id, kind, body, "local", None) {
            Ok(read) => drop(settle(std::iter::once(&read))),
            Err(error) => prop_assert!(error.lines().iter().all(|line| !line.contains('\n'))),
        }
    }
}

/// What two sides of a peering know of one another agrees.
fn invariants(store: &Store) -> Result<(), TestCaseError> {
    let topology = &store.topology;
    for network in topology.virtual_networks.values() {
        for peering in network.peerings.values() {
            let back = topology.peering(&peering.remote_virtual_network, &network.id);
            let state = peering.peering_state.as_str();
            let other = back.map(|back| back.peering_state.as_str());
            match state {
                "Connected" => prop_assert_eq!(other, Some("Connected")),
                "Initiated" => prop_assert_eq!(other, None),
                _ => prop_assert_ne!(other, Some("Connected")),
            }
            let (Some(back), "Connected") = (back, state) else {
                continue;
            };
            // One side's "local" is the other's "remote".
            let local =
                |level: &str| level == "LocalNotInSync" || level == "LocalAndRemoteNotInSync";
            let remote =
                |level: &str| level == "RemoteNotInSync" || level == "LocalAndRemoteNotInSync";
            let levels = [peering, back].map(|peering| peering.peering_sync_level.as_str());
            prop_assert_eq!(local(levels[0]), remote(levels[1]));
            let there = &topology.virtual_networks[&peering.remote_virtual_network];
            let mut known = peering.remote_address_space.clone();
            let mut space = there.address_space.clone();
            known.sort_unstable();
            space.sort_unstable();
            prop_assert_eq!(local(levels[0]), known != space);
        }
    }
    Ok(())
}
