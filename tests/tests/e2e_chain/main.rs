//! Chains of appliances, and what becomes of packets that go round or nowhere.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::IpAddr, time::Duration};

use vnet_gw_lab::{
    Workload,
    probe::{Outcome, Ping},
    template::{Allow, Nic, Template},
};
use vnet_gw_tests::bed::{Bed, Hook};

/// Two appliances in the hub, each in a subnet of its own, and two spokes. What goes from spoke to
/// spoke passes `outer`, then `inner`; back it passes them the other way round. What is for 198.51.100.0/24
/// goes to `outer` and from there in a circle; what is for 203.0.113.0/24 goes nowhere.
fn template() -> Template {
    let mut template = Template::new();
    let (outer, inner) = ("10.1.8.4", "10.1.9.4");
    let (outer6, inner6) = ("fd00:1:0:8::4", "fd00:1:0:9::4");
    let to = "VirtualAppliance";
    template
        .route_table(
            "of-two",
            "eastus",
            &[
                ("10.3.0.0/16", to, Some(outer)),
                ("fd00:3::/48", to, Some(outer6)),
                ("198.51.100.0/24", to, Some(outer)),
                ("2001:db8:51::/48", to, Some(outer6)),
                ("203.0.113.0/24", "None", None),
                ("2001:db8:113::/48", "None", None),
            ],
        )
        .route_table(
            "of-three",
            "eastus",
            &[
                ("10.2.0.0/16", to, Some(inner)),
                ("fd00:2::/48", to, Some(inner6)),
            ],
        )
        .route_table(
            "of-outer",
            "eastus",
            &[
                ("10.3.0.0/16", to, Some(inner)),
                ("fd00:3::/48", to, Some(inner6)),
                ("198.51.100.0/24", to, Some(inner)),
                ("2001:db8:51::/48", to, Some(inner6)),
            ],
        )
        .route_table(
            "of-inner",
            "eastus",
            &[
                ("10.2.0.0/16", to, Some(outer)),
                ("fd00:2::/48", to, Some(outer6)),
                ("198.51.100.0/24", to, Some(outer)),
                ("2001:db8:51::/48", to, Some(outer6)),
            ],
        );
    let forwarded = Allow {
        forwarded_traffic: true,
        ..Allow::default()
    };
    template.vnet("Hub", "eastus", &["10.1.0.0/16", "fd00:1::/48"]);
    for (name, prefixes) in [
        ("outer", ["10.1.8.0/24", "fd00:1:0:8::/64"]),
        ("inner", ["10.1.9.0/24", "fd00:1:0:9::/64"]),
    ] {
        template.subnet("Hub", name, &prefixes, Some(&format!("of-{name}")));
    }
    for (name, spaces, prefixes, table) in [
        (
            "Two",
            ["10.2.0.0/16", "fd00:2::/48"],
            ["10.2.0.0/24", "fd00:2::/64"],
            "of-two",
        ),
        (
            "Three",
            ["10.3.0.0/16", "fd00:3::/48"],
            ["10.3.0.0/24", "fd00:3::/64"],
            "of-three",
        ),
    ] {
        template
            .vnet(name, "eastus", &spaces)
            .subnet(name, "Default", &prefixes, Some(table))
            .peering("Hub", name, forwarded)
            .peering(name, "Hub", forwarded);
    }
    for (name, subnet, addresses, forwarding) in [
        ("outer", "Hub/outer", [outer, outer6], true),
        ("inner", "Hub/inner", [inner, inner6], true),
        ("two", "Two/Default", ["10.2.0.4", "fd00:2::4"], false),
        ("three", "Three/Default", ["10.3.0.4", "fd00:3::4"], false),
    ] {
        template.nic(&Nic {
            name,
            subnet,
            addresses: &addresses,
            device: name,
            forwarding,
        });
    }
    template
}

fn start(hook: Hook) -> Bed {
    let args = ["--ephemeral", "--internet", "off"];
    Bed::start_with(&template(), hook, &args, |_, workloads| {
        let appliances = |one: &&Workload| ["outer", "inner"].contains(&one.name.as_str());
        for appliance in workloads.iter().filter(appliances) {
            appliance.netns.sysctl("net.ipv4.ip_forward", "1")?;
            appliance
                .netns
                .sysctl("net.ipv6.conf.all.forwarding", "1")?;
            appliance.netns.sysctl("net.ipv6.icmp.ratelimit", "0")?;
            appliance.netns.sysctl("net.ipv4.icmp_ratelimit", "0")?;
        }
        Ok(())
    })
    .unwrap()
}

fn probe(bed: &Bed, from: &str, to: IpAddr, ttl: u8) -> Outcome {
    let ping = Ping {
        ttl,
        ..Ping::new(to)
    };
    ping.send(&bed.workload(from).netns).unwrap()
}

/// Who is on the way, by what a growing TTL gets told: fabric and appliance take turns.
fn passes_two_appliances(hook: Hook) {
    let bed = start(hook);
    for (from, to, through) in [
        ("two", "three", ["outer", "inner"]),
        ("three", "two", ["inner", "outer"]),
    ] {
        bed.assert_reachable(from, to).unwrap();
        for &address in &bed.workload(to).addresses {
            for (name, ttl) in through.into_iter().zip([2, 4]) {
                let from_it = bed.workload(name).address(address).unwrap();
                assert_eq!(
                    probe(&bed, from, address, ttl),
                    Outcome::TimeExceeded { from: from_it },
                    "{from} → {address}, TTL {ttl}"
                );
            }
            let through = probe(&bed, from, address, 6);
            assert!(matches!(through, Outcome::Reply { .. }), "{through}");
        }
    }
}

fn counts_what_goes_nowhere(hook: Hook) {
    let bed = start(hook);
    for to in ["203.0.113.9", "2001:db8:113::9"] {
        let before = bed.counted("next_hop_none").unwrap();
        let ping = Ping {
            patience: Duration::from_millis(100),
            ..Ping::new(to.parse().unwrap())
        };
        let outcome = ping.send(&bed.workload("two").netns).unwrap();
        assert_eq!(outcome, Outcome::Silence);
        assert_eq!(bed.counted("next_hop_none").unwrap(), before + 1);
    }
}

/// A circle is told at the start, and its packets end with their TTL: one packet passes each
/// appliance no more often than that, and its sender hears of it.
fn ends_what_goes_round(hook: Hook) {
    let bed = start(hook);
    let log = bed.daemon.log();
    assert!(
        log.contains("198.51.100.0/24") && log.contains("leads in a circle"),
        "{log}"
    );
    for to in ["198.51.100.9", "2001:db8:51::9"] {
        let before = bed.host.packets("outer").unwrap();
        let outcome = probe(&bed, "two", to.parse().unwrap(), 64);
        assert!(matches!(outcome, Outcome::TimeExceeded { .. }), "{outcome}");
        let after = bed.host.packets("outer").unwrap();
        let passed = (after.0 - before.0).max(after.1 - before.1);
        // 64 in steps of four, and a few of the kernel's own.
        assert!((16..40).contains(&passed), "{passed} packets at outer");
    }
}

macro_rules! at_both_hooks {
    ($($test:ident)+) => {
        mod xdp { $(#[test] fn $test() { super::$test(super::Hook::Xdp) })+ }
        mod tcx { $(#[test] fn $test() { super::$test(super::Hook::Tcx) })+ }
    };
}

at_both_hooks! {
    passes_two_appliances
    counts_what_goes_nowhere
    ends_what_goes_round
}
