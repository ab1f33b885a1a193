//! Who reaches whom, at every hook, in both families.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use vnet_gw_lab::{
    probe::Ping,
    template::{Nic, Template},
    workload::DEVICE,
};
use vnet_gw_tests::{
    bed::{Bed, Hook},
    regions::bed,
};

fn attaches_where_it_is_told(hook: Hook) {
    let bed = bed(hook);
    let ports = bed.daemon.json(&["ports"]).unwrap();
    let ports = ports["value"].as_array().unwrap();
    assert_eq!(ports.len(), bed.workloads.len());
    for port in ports {
        assert_eq!(port["state"], "up", "{port}");
        let at = port["hook"].as_str().unwrap();
        // Kernels before 6.6 have no TCX; clsact stands in.
        let expected = if hook == Hook::Xdp {
            ["xdp"; 2]
        } else {
            ["tcx", "clsact"]
        };
        assert!(expected.contains(&at), "{port}");
    }
}

fn forwards_within_a_vnet_and_across_peerings(hook: Hook) {
    let bed = bed(hook);
    for to in [
        "same-subnet",
        "other-subnet",
        "peered",
        "narrow",
        "other-region",
    ] {
        bed.assert_reachable("one", to).unwrap();
        bed.assert_reachable(to, "one").unwrap();
    }
}

fn forwards_nothing_else(hook: Hook) {
    let bed = bed(hook);
    for (from, to) in [
        ("one", "stranger"),
        ("stranger", "one"),
        // Peerings are not transitive.
        ("peered", "other-region"),
        ("other-region", "peered"),
        // One side of a peering is none.
        ("one-sided", "one"),
        ("one", "one-sided"),
    ] {
        bed.assert_unreachable(from, to).unwrap();
    }
}

fn user_routes_decide(hook: Hook) {
    let bed = bed(hook);
    for (to, reason) in [
        ("10.99.0.1", "next_hop_none"),
        ("10.98.0.1", "appliance_unreachable"),
        ("10.97.0.1", "next_hop_gateway"),
        ("8.8.8.8", "next_hop_internet"),
        ("192.168.3.3", "next_hop_none"),
        ("2001:db8::1", "next_hop_internet"),
    ] {
        let before = bed.counted(reason).unwrap();
        let ping = Ping {
            patience: Duration::from_millis(50),
            ..Ping::new(to.parse().unwrap())
        };
        ping.send(&bed.workload("one").netns).unwrap();
        assert!(
            bed.counted(reason).unwrap() > before,
            "{to}: {reason} did not count"
        );
    }
}

macro_rules! at_both_hooks {
    ($($test:ident)+) => {
        mod xdp { $(#[test] fn $test() { super::$test(super::Hook::Xdp) })+ }
        mod tcx { $(#[test] fn $test() { super::$test(super::Hook::Tcx) })+ }
    };
}

at_both_hooks! {
    attaches_where_it_is_told
    forwards_within_a_vnet_and_across_peerings
    forwards_nothing_else
    user_routes_decide
}

/// A veth of 9000 bytes takes no native XDP program that sees one buffer a packet: the daemon falls
/// back to the generic hook, says what that costs, and forwards.
#[test]
fn generic_mode_where_native_is_refused() {
    let mut template = Template::new();
    template
        .vnet("VNet1", "eastus", &["10.1.0.0/16", "fd00:1::/48"])
        .subnet("VNet1", "FrontEnd", &["10.1.0.0/24", "fd00:1::/64"], None);
    for (name, addresses) in [
        ("one", ["10.1.0.4", "fd00:1::4"]),
        ("two", ["10.1.0.5", "fd00:1::5"]),
    ] {
        let subnet = "VNet1/FrontEnd";
        let nic = Nic {
            name,
            subnet,
            addresses: &addresses,
            device: name,
            forwarding: false,
        };
        template.nic(&nic);
    }
    let bed = Bed::start_with(&template, Hook::Xdp, &["--ephemeral"], |host, workloads| {
        for workload in workloads {
            host.ip(&format!("link set {} mtu 9000", workload.device))?;
            workload.netns.ip(&format!("link set {DEVICE} mtu 9000"))?;
        }
        Ok(())
    })
    .unwrap();
    let ports = bed.daemon.json(&["ports"]).unwrap();
    for port in ports["value"].as_array().unwrap() {
        assert_eq!(port["hook"], "xdp-generic", "{port}");
        assert!(
            port["warnings"]
                .as_array()
                .is_some_and(|list| !list.is_empty()),
            "{port}"
        );
    }
    bed.assert_reachable("one", "two").unwrap();
    bed.assert_reachable("two", "one").unwrap();
}
