//! Large templates: the checks grow no faster than what they check.

use std::{fmt::Write, time::Instant};

use serde_json::{Map, Value, json};
use vnet_gw_core::model::{
    DeployOptions, Kind, ReadDocument, Topology, parse_template, read_document, settle,
};

use crate::support::{GROUP, id};

fn timed(text: &str) -> (Topology, f64) {
    let start = Instant::now();
    let topology = parse_template(text, &DeployOptions::default());
    let seconds = start.elapsed().as_secs_f64();
    (topology.unwrap_or_else(|error| panic!("{error}")), seconds)
}

fn routes(count: u32) -> String {
    let mut text = String::from(
        r#"{"resources":[{"type":"Microsoft.Network/routeTables","name":"T","properties":{"routes":["#,
    );
    for n in 0..count {
        let [a, b, c, _] = (n << 8).to_be_bytes();
        let comma = if n == 0 { "" } else { "," };
        let prefix = format!("{}.{b}.{c}.0/24", a + 11);
        let properties = format!(
            r#"{{"addressPrefix":"{prefix}","nextHopType":"VirtualAppliance","nextHopIpAddress":"10.0.0.4"}}"#
        );
        let _ = write!(
            text,
            r#"{comma}{{"name":"Route-{n}","properties":{properties}}}"#
        );
    }
    text + "]}}]}"
}

fn interfaces(count: u32) -> String {
    let mut text = String::from(
        r#"{"resources":[{"type":"Microsoft.Network/virtualNetworks","name":"VNet1","properties":{
            "addressSpace":{"addressPrefixes":["10.0.0.0/8"]},
            "subnets":[{"name":"FrontEnd","properties":{"addressPrefix":"10.0.0.0/16"}}]}}"#,
    );
    for n in 0..count {
        let _ = write!(
            text,
            r#",{{"type":"Microsoft.Network/networkInterfaces","name":"nic-{n}",
                "tags":{{"vnet-gw:device":"tap{n}"}},"properties":{{"ipConfigurations":[
                {{"name":"ipconfig1","properties":{{"privateIPAllocationMethod":"Dynamic","subnet":
                {{"id":"[resourceId('Microsoft.Network/virtualNetworks/subnets','VNet1','FrontEnd')]"}}}}}}]}}}}"#
        );
    }
    text + "]}"
}

/// One template of twenty times the size takes about as long as twenty: a quadratic check would
/// take twenty times as long. Both stretches of time are equally long, so that whatever else the
/// machine does falls on both alike; only where none of many rounds is good is it the check.
#[test]
fn time_grows_with_size_alone() {
    for (name, make) in [
        ("routes", routes as fn(u32) -> String),
        ("interfaces", interfaces),
    ] {
        let (small, large) = (make(500), make(10_000));
        let mut rounds = Vec::new();
        let good = (0..20).any(|_| {
            let twenty: f64 = (0..20).map(|_| timed(&small).1).sum();
            let one = timed(&large).1;
            rounds.push((twenty, one));
            one < twenty * 6.0
        });
        assert!(good, "{name}: seconds for twenty, for one: {rounds:.3?}");
    }
}

#[test]
fn large_templates_are_read_whole() {
    let (topology, seconds) = timed(&routes(100_000));
    eprintln!("100,000 routes: {seconds:.3} s");
    let table = topology.route_tables.values().next().expect("a table");
    assert_eq!(table.routes.len(), 100_000);
    assert!(
        table
            .routes
            .is_sorted_by(|a, b| a.address_prefix < b.address_prefix)
    );
    let (topology, seconds) = timed(&interfaces(10_000));
    eprintln!("10,000 network interfaces: {seconds:.3} s");
    let mut addresses: Vec<_> = topology
        .network_interfaces
        .values()
        .map(|nic| nic.ip_configurations[0].private_ip_address)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 10_000);
    assert_eq!(
        addresses.last().map(ToString::to_string).as_deref(),
        Some("10.0.39.19")
    );
    let mut macs: Vec<_> = topology
        .network_interfaces
        .values()
        .map(|nic| nic.mac_address)
        .collect();
    macs.sort_unstable();
    macs.dedup();
    assert_eq!(macs.len(), 10_000);
}

/// Of `interfaces` documents and as many again of other kinds in all: hubs with spokes, route
/// tables and security groups.
fn documents(interfaces: usize) -> Vec<ReadDocument> {
    let networks = interfaces / 20;
    let mut all: Vec<(Kind, String, Value)> = Vec::new();
    let peering = |to: usize, space: &str| {
        json!({"name": format!("to-{to}"), "properties": {
            "remoteVirtualNetwork": {"id": id(&format!("virtualNetworks/v{to:05}")).as_str()},
            "peeringState": "Connected", "remoteAddressSpace": {"addressPrefixes": [space]}}})
    };
    let space = |n: usize| format!("10.{}.{}.0/24", n / 250, n % 250);
    for n in 0..networks {
        let hub = n - n % 50;
        let peers: Vec<Value> = if n == hub {
            let spokes = hub + 1..networks.min(hub + 50);
            spokes.map(|spoke| peering(spoke, &space(spoke))).collect()
        } else {
            vec![peering(hub, &space(hub))]
        };
        let body = json!({"location": "westeurope", "properties": {
            "addressSpace": {"addressPrefixes": [space(n)]},
            "subnets": [{"name": "a", "properties": {"addressPrefix": space(n),
                "routeTable": {"id": id(&format!("routeTables/t{n:05}")).as_str()}}}],
            "virtualNetworkPeerings": peers}});
        all.push((Kind::VirtualNetwork, format!("v{n:05}"), body));
        let hop = json!({"addressPrefix": "172.16.0.0/12", "nextHopType": "None"});
        let body = json!({"location": "westeurope", "properties": {
            "routes": [{"name": "r", "properties": hop}]}});
        all.push((Kind::RouteTable, format!("t{n:05}"), body));
    }
    for n in 0..interfaces {
        let network = n / 20;
        let subnet = id(&format!("virtualNetworks/v{network:05}/subnets/a"));
        let address = format!("10.{}.{}.{}", network / 250, network % 250, 4 + n % 20);
        let [_, _, b, c] = u32::try_from(n).expect("a number").to_be_bytes();
        let body = json!({"location": "westeurope", "tags": {"vnet-gw:device": format!("tap{n}")},
            "properties": {"macAddress": format!("00-0D-3A-00-{b:02X}-{c:02X}"),
            "ipConfigurations": [{"name": "ipconfig1", "properties": {
                "privateIPAllocationMethod": "Dynamic", "privateIPAddress": address,
                "subnet": {"id": subnet.as_str()}}}]}});
        all.push((Kind::NetworkInterface, format!("nic{n:05}"), body));
    }
    let read = |(kind, name, body): &(Kind, String, Value)| {
        let body: &Map<String, Value> = body.as_object().expect("an object");
        let id = kind.id(GROUP, &[name]);
        read_document(&id, *kind, body, "local", None).unwrap_or_else(|error| panic!("{error}"))
    };
    all.iter().map(read).collect()
}

/// One change settles all documents: each step is linear, or nearly so.
#[test]
fn ten_thousand_documents_settle_at_once() {
    let documents = documents(10_000);
    let mut times = Vec::new();
    let mut before = settle(documents.iter()).expect("a topology");
    for _ in 0..20 {
        let start = Instant::now();
        let topology = settle(documents.iter()).expect("a topology");
        times.push(start.elapsed());
        let start = Instant::now();
        assert!(topology == before);
        before = topology;
        times.push(start.elapsed());
    }
    let settled = times.iter().step_by(2).min();
    let compared = times.iter().skip(1).step_by(2).min();
    eprintln!(
        "{} documents: settled in {settled:?}, compared and the old ones dropped in {compared:?}",
        documents.len()
    );
    let start = Instant::now();
    let read = self::documents(1_000);
    eprintln!(
        "{} documents written and read: {:?}",
        read.len(),
        start.elapsed()
    );
    let mut all = before.network_interfaces.values();
    assert!(all.all(|nic| nic.is_same(&before.network_interfaces[&nic.id])));
    for (id, network) in &before.virtual_networks {
        let mut peerings = network.peerings.values();
        assert!(
            peerings.all(|peering| peering.peering_state.as_str() == "Connected"),
            "{id}"
        );
    }
}
