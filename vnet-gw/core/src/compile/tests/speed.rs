//! How long a change takes beside a large route table.

use std::time::Duration;

use ipnet::IpNet;

use crate::{
    compile::{CompileOptions, RouteChange, compile, diff_routes},
    effective::tests::build::{Build, appliance, hub_and_spokes, net, route, subnet_id, vnet_id},
    model::{Route, RouteNextHop},
};

/// Time this thread has been on a CPU: on an idle machine the time that passes, and on one that
/// runs other tests not theirs.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// A million prefixes, scattered over 128.0.0.0/1 or 2001:db8::/32.
fn million(v6: bool, next_hop: impl Fn(u32) -> RouteNextHop) -> Vec<Route> {
    let template = route("r", "0.0.0.0/0", RouteNextHop::None);
    let routes = (0..1_000_000u32).map(|at| {
        // Odd multiples are a permutation of the numbers below 2^23.
        let scattered = at.wrapping_mul(0x9e37_79b1) & 0x7f_ffff;
        let address_prefix = if v6 {
            let bits = 0x2001_0db8_u128 << 96 | u128::from(scattered) << 64;
            IpNet::new(std::net::Ipv6Addr::from_bits(bits).into(), 64).unwrap()
        } else {
            let bits = 1 << 31 | scattered << 8;
            IpNet::new(std::net::Ipv4Addr::from_bits(bits).into(), 24).unwrap()
        };
        Route {
            address_prefix,
            next_hop: next_hop(at),
            ..template.clone()
        }
    });
    routes.collect()
}

#[test]
#[ignore = "measures; run it alone, with --release"]
fn a_peering_beside_a_million_routes() {
    for (v6, appliances) in [(false, 1u32), (false, 2000), (true, 1), (true, 2000)] {
        let mut t = hub_and_spokes();
        t.vnet("New", "westeurope", &["10.77.0.0/16", "fd00:77::/48"]);
        // 64,000 endpoints, none of them on this host.
        for at in 0..64_000u32 {
            let (high, low) = (at / 250 + 16, at % 250 + 4);
            let address = if v6 {
                format!("fd00:2::{high:x}:{low:x}")
            } else {
                format!("10.2.{}.{}", high & 255, low)
            };
            t.nic(&format!("n{at}"), "Near", "FrontEnd", &[&address])
                .device = None;
        }
        let hop = |at: u32| {
            let number = (at.wrapping_mul(0x85eb_ca6b) >> 16) % appliances + 4;
            if v6 {
                appliance(&format!("fd00:1::{number:x}"))
            } else {
                appliance(&format!("10.1.{}.{}", number >> 8, number & 255))
            }
        };
        t.table("rt", million(v6, hop));
        t.attach("Hub", "FrontEnd", "rt");
        let case = format!("IPv{}, {appliances} appliances", if v6 { 6 } else { 4 });
        let options = CompileOptions::default();
        let start = on_cpu();
        let first = compile(&t, &options, None).unwrap();
        println!("{case}: first {:?}", on_cpu() - start);
        let start = on_cpu();
        let same = compile(&t, &options, Some(&first)).unwrap();
        println!("{case}: unchanged {:?}", on_cpu() - start);
        assert_eq!(same, first);
        let (mut times, mut diffs) = (Vec::new(), Vec::new());
        t.peer("Hub", "New");
        let id = subnet_id("Hub", "FrontEnd");
        for _ in 0..20 {
            let start = on_cpu();
            let next = compile(&t, &options, Some(&first)).unwrap();
            times.push(on_cpu() - start);
            let (old, new) = (&first.subnets[&id], &next.subnets[&id]);
            assert!(old.v4.routes.len() + old.v6.routes.len() > 1_000_000);
            let start = on_cpu();
            let v4 = diff_routes(&old.v4, &new.v4);
            let v6 = diff_routes(&old.v6, &new.v6);
            diffs.push(on_cpu() - start);
            let [RouteChange::Added { prefix, .. }] = v4[..] else {
                panic!("{v4:?}")
            };
            assert_eq!(IpNet::V4(prefix), net("10.77.0.0/16"));
            assert_eq!(v6.len(), 1);
        }
        // Means: some kernels count in ticks of 4 ms.
        let mean = |all: &[Duration]| all.iter().sum::<Duration>() / all.len() as u32;
        let (time, diff) = (mean(&times), mean(&diffs));
        println!("{case}: add a peering {time:?}, diff {diff:?}");
        assert!(time.as_millis() < 30, "{times:?}");
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
    let start = on_cpu();
    let first = compile(&t, &options, None).unwrap();
    println!(
        "4000 VNets, 16000 ports, 499 peerings: {:?}",
        (on_cpu() - start)
    );
    t.virtual_networks
        .get_mut(&vnet_id("V3999"))
        .unwrap()
        .location = "eastus".to_owned();
    let start = on_cpu();
    let next = compile(&t, &options, Some(&first)).unwrap();
    println!("again: {:?}", on_cpu() - start);
    assert_eq!(next, first);
}
