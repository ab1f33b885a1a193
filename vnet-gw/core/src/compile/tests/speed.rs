//! How long a change takes beside a large route table.

use std::time::Instant;

use crate::{
    compile::{CompileOptions, RouteChange, compile, diff_routes},
    effective::tests::build::{Build, appliance, hub_and_spokes, net, route, subnet_id, vnet_id},
    model::{Route, RouteNextHop},
};

/// Scattered distinct prefixes outside of 10.0.0.0/8.
fn million(next_hop: impl Fn(u32) -> RouteNextHop) -> Vec<Route> {
    let template = route("r", "0.0.0.0/0", RouteNextHop::None);
    let routes = (0..1_000_000u32).map(|at| {
        // Odd multiples are a permutation of the upper 24 bits.
        let high = at.wrapping_mul(0x9e37_79b1) & 0xff_ffff;
        let address = std::net::Ipv4Addr::from_bits(high << 8 | 0x8000_0000);
        let address_prefix = ipnet::Ipv4Net::new(address, 24).unwrap().into();
        Route {
            address_prefix,
            next_hop: next_hop(at),
            ..template.clone()
        }
    });
    let mut routes: Vec<_> = routes.collect();
    routes.sort_by_key(|route| route.address_prefix);
    routes.dedup_by_key(|route| route.address_prefix);
    routes
}

#[test]
#[ignore = "measures; run it alone, with --release"]
fn a_peering_beside_a_million_routes() {
    for appliances in [1u32, 2000] {
        let mut t = hub_and_spokes();
        t.vnet("New", "westeurope", &["10.77.0.0/16"]);
        let hop = |at: u32| {
            let number = at.wrapping_mul(0x85eb_ca6b) >> 16;
            let number = number % appliances + 4;
            appliance(&format!("10.1.{}.{}", number >> 8, number & 255))
        };
        t.table("rt", million(hop));
        t.attach("Hub", "FrontEnd", "rt");
        let options = CompileOptions::default();
        let start = Instant::now();
        let first = compile(&t, &options, None).unwrap();
        println!("{appliances} appliances: first {:?}", start.elapsed());
        let start = Instant::now();
        let same = compile(&t, &options, Some(&first)).unwrap();
        println!("{appliances} appliances: unchanged {:?}", start.elapsed());
        assert_eq!(same, first);
        let mut times = Vec::new();
        let mut diffs = Vec::new();
        t.peer("Hub", "New");
        let id = subnet_id("Hub", "FrontEnd");
        for _ in 0..9 {
            let start = Instant::now();
            let next = compile(&t, &options, Some(&first)).unwrap();
            times.push(start.elapsed());
            let start = Instant::now();
            let changes = diff_routes(&first.subnets[&id].v4, &next.subnets[&id].v4);
            diffs.push(start.elapsed());
            let [RouteChange::Added { prefix, .. }] = changes[..] else {
                panic!("{changes:?}")
            };
            assert_eq!(ipnet::IpNet::V4(prefix), net("10.77.0.0/16"));
        }
        times.sort();
        diffs.sort();
        println!(
            "{appliances} appliances: add a peering {:?}, diff {:?}",
            times[4], diffs[4]
        );
        assert!(times[4].as_millis() < 30, "{times:?}");
    }
}

#[test]
#[ignore = "measures; run it alone, with --release"]
fn thousands_of_vnets() {
    let mut t = crate::model::Topology::default();
    for at in 0..4000u32 {
        let (name, space) = (
            format!("V{at}"),
            format!("10.{}.{}.0/24", at >> 8, at & 255),
        );
        t.vnet(&name, "westeurope", &[&space]);
        t.subnet(&name, "S", &[&space]);
        for host in 4..8 {
            let address = format!("10.{}.{}.{host}", at >> 8, at & 255);
            t.nic(&format!("n{at}-{host}"), &name, "S", &[&address]);
        }
    }
    for spoke in 1..500u32 {
        t.peer("V0", &format!("V{spoke}"));
    }
    let options = CompileOptions::default();
    let start = Instant::now();
    let first = compile(&t, &options, None).unwrap();
    println!(
        "4000 VNets, 16000 ports, 499 peerings: {:?}",
        start.elapsed()
    );
    t.virtual_networks
        .get_mut(&vnet_id("V3999"))
        .unwrap()
        .location = "eastus".to_owned();
    let start = Instant::now();
    let next = compile(&t, &options, Some(&first)).unwrap();
    println!("again: {:?}", start.elapsed());
    assert_eq!(next, first);
}
