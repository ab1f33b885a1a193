//! Large templates: the checks grow no faster than what they check.

use std::{fmt::Write, time::Instant};

use vnet_gw_core::model::{DeployOptions, Topology, parse_template};

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
