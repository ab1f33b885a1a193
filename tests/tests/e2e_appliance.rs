//! Service chaining: user routes through an appliance, and `allowForwardedTraffic`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use vnet_gw_lab::{
    probe::{Outcome, Ping},
    template::{Allow, Nic, Template},
};
use vnet_gw_tests::bed::{Bed, Hook};

/// A hub with an appliance between two spokes that are not peered with each other.
fn template(forwarded_traffic: bool, enable_ip_forwarding: bool) -> Template {
    let mut template = Template::new();
    let appliance = |prefix4: &'static str, prefix6: &'static str| {
        [
            (prefix4, "VirtualAppliance", Some("10.1.9.4")),
            (prefix6, "VirtualAppliance", Some("fd00:1:0:9::4")),
        ]
    };
    template
        .route_table(
            "to-three",
            "eastus",
            &appliance("10.3.0.0/16", "fd00:3::/48"),
        )
        .route_table("to-two", "westus", &appliance("10.2.0.0/16", "fd00:2::/48"))
        .route_table(
            "to-back-end",
            "eastus",
            &appliance("10.1.1.0/24", "fd00:1:0:1::/64"),
        )
        .route_table(
            "to-front-end",
            "eastus",
            &appliance("10.1.0.0/24", "fd00:1::/64"),
        );
    let to_spokes = Allow {
        forwarded_traffic,
        ..Allow::default()
    };
    template
        .vnet("Hub", "eastus", &["10.1.0.0/16", "fd00:1::/48"])
        .subnet(
            "Hub",
            "FrontEnd",
            &["10.1.0.0/24", "fd00:1::/64"],
            Some("to-back-end"),
        )
        .subnet(
            "Hub",
            "BackEnd",
            &["10.1.1.0/24", "fd00:1:0:1::/64"],
            Some("to-front-end"),
        )
        .subnet(
            "Hub",
            "Appliances",
            &["10.1.9.0/24", "fd00:1:0:9::/64"],
            None,
        )
        .vnet("Spoke2", "eastus", &["10.2.0.0/16", "fd00:2::/48"])
        .subnet(
            "Spoke2",
            "FrontEnd",
            &["10.2.0.0/24", "fd00:2::/64"],
            Some("to-three"),
        )
        .vnet("Spoke3", "westus", &["10.3.0.0/16", "fd00:3::/48"])
        .subnet(
            "Spoke3",
            "FrontEnd",
            &["10.3.0.0/24", "fd00:3::/64"],
            Some("to-two"),
        )
        .peering("Hub", "Spoke2", Allow::default())
        .peering("Spoke2", "Hub", to_spokes)
        .peering("Hub", "Spoke3", Allow::default())
        .peering("Spoke3", "Hub", to_spokes);
    for (name, subnet, addresses, forwarding) in [
        ("front", "Hub/FrontEnd", ["10.1.0.4", "fd00:1::4"], false),
        ("back", "Hub/BackEnd", ["10.1.1.4", "fd00:1:0:1::4"], false),
        (
            "nva",
            "Hub/Appliances",
            ["10.1.9.4", "fd00:1:0:9::4"],
            enable_ip_forwarding,
        ),
        ("two", "Spoke2/FrontEnd", ["10.2.0.4", "fd00:2::4"], false),
        ("three", "Spoke3/FrontEnd", ["10.3.0.4", "fd00:3::4"], false),
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
    Bed::start_with(
        &template(true, true),
        hook,
        &["--ephemeral"],
        |_, workloads| {
            let nva = workloads
                .iter()
                .find(|workload| workload.name == "nva")
                .unwrap();
            nva.netns.sysctl("net.ipv4.ip_forward", "1")?;
            nva.netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
            // It is asked for errors below; its redirects, which nothing turns off, count on the same
            // limit.
            nva.netns.sysctl("net.ipv6.icmp.ratelimit", "0")
        },
    )
    .unwrap()
}

/// Routers on the way, by what a TTL of two gets told: the appliance's own address shows that
/// packets went through it.
fn assert_through_appliance(bed: &Bed, from: &str, to: &str) {
    let (near, far) = (bed.workload(from), bed.workload(to));
    for (address, nva) in far.addresses.iter().zip(&bed.workload("nva").addresses) {
        let ping = Ping {
            ttl: 2,
            ..Ping::new(*address)
        };
        let outcome = ping.send(&near.netns).unwrap();
        assert_eq!(
            outcome,
            Outcome::TimeExceeded { from: *nva },
            "{from} → {address}"
        );
    }
}

fn chains_through_an_appliance(hook: Hook) {
    let bed = start(hook);
    // Spoke to spoke, across two peerings; and within a VNet.
    for (from, to) in [
        ("two", "three"),
        ("three", "two"),
        ("front", "back"),
        ("back", "front"),
    ] {
        bed.assert_reachable(from, to).unwrap();
        assert_through_appliance(&bed, from, to);
    }
    // The appliance itself needs no detour.
    bed.assert_reachable("two", "nva").unwrap();
    bed.assert_reachable("nva", "three").unwrap();

    // Without allowForwardedTraffic the spokes take only what originated in the hub.
    let before = bed.counted("forwarded_refused").unwrap();
    bed.apply(&template(false, true)).unwrap();
    bed.assert_unreachable("two", "three").unwrap();
    assert!(bed.counted("forwarded_refused").unwrap() > before);
    bed.assert_unreachable("three", "two").unwrap();
    bed.assert_reachable("nva", "three").unwrap();
    bed.assert_reachable("front", "back").unwrap();

    // Without enableIPForwarding the appliance is none.
    let before = bed.counted("appliance_unreachable").unwrap();
    bed.apply(&template(true, false)).unwrap();
    bed.assert_unreachable("two", "three").unwrap();
    bed.assert_unreachable("front", "back").unwrap();
    assert!(bed.counted("appliance_unreachable").unwrap() > before);

    bed.apply(&template(true, true)).unwrap();
    bed.assert_reachable("two", "three").unwrap();
}

#[test]
fn xdp() {
    chains_through_an_appliance(Hook::Xdp);
}

#[test]
fn tcx() {
    chains_through_an_appliance(Hook::Tcx);
}
