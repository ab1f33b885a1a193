//! Between both ends: a NAT, and an underlay of 1280 bytes.

use std::{net::IpAddr, thread, time::Duration};

use serde_json::json;
use vnet_gw_lab::{
    Lab, Nat, Underlay,
    probe::{Capture, Flow, Outcome, Ping, tcp},
    strongswan::{Child, Connection},
    workload::DEVICE,
};
use vnet_gw_tests::site::{
    CHILD, MACHINE, OURS, PATIENCE, SiteBed, THEIRS, WORKLOAD, peer, template, usual,
};

fn good<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const SITE_PREFIXES: [&str; 2] = ["10.102.0.0/16", "fd00:102::/48"];
const INSIDE: &str = "192.168.7.2";

/// strongSwan behind a NAT: as initiator, through a NAT that forgets its mapping during traffic, and
/// as responder, with its ports forwarded.
#[test]
fn a_site_behind_a_nat() {
    let lab = good(Lab::new());
    let underlay = good(Underlay::new(&lab, "underlay"));
    let mut nat = good(Nat::new(&lab, &underlay, "nat", THEIRS.parse().unwrap()));
    let site = good(lab.namespace("site"));
    good(nat.inside().attach(&lab, &site, &[ip(INSIDE)]));
    let first = template(THEIRS, &SITE_PREFIXES, json!({}));
    let bed = good(SiteBed::start_with(lab, underlay, site, &first));
    let their = Connection {
        local: ip(INSIDE),
        ..peer()
    };

    let responder = template(
        THEIRS,
        &SITE_PREFIXES,
        json!({"connectionMode": "ResponderOnly"}),
    );
    good(bed.set(&responder, std::slice::from_ref(&their)));
    good(bed.swan.initiate(CHILD, PATIENCE));
    good(bed.connected());
    good(bed.assert_reachable());
    let flow = good(Flow::start(
        &bed.machine,
        &bed.workload.netns,
        ip(WORKLOAD[0]),
        200,
    ));
    thread::sleep(Duration::from_millis(200));
    good(nat.rebind());
    thread::sleep(Duration::from_millis(800));
    let report = good(flow.finish());
    assert!(
        report.is_whole(),
        "ESP from a new port of the NAT must be taken: {report}"
    );
    // And we answer to the new one.
    let back = good(Ping::new(ip(MACHINE[0])).send(&bed.workload.netns));
    assert!(matches!(back, Outcome::Reply { .. }), "{back}");

    good(nat.forward_ike(INSIDE.parse().unwrap()));
    let initiator = template(
        THEIRS,
        &SITE_PREFIXES,
        json!({"connectionMode": "InitiatorOnly"}),
    );
    good(bed.set(&initiator, &[their]));
    good(bed.connected());
    good(bed.assert_reachable());
}

/// IKE messages that do not fit are fragmented (RFC 7383), and what is inside is told of the
/// narrow path.
#[test]
fn an_underlay_of_1280_bytes() {
    let bed = good(SiteBed::start());
    good(bed.ours.set_mtu(1280));
    // So many selectors that either side's part of IKE_AUTH takes two packets: ours are those of the
    // site, theirs are those of the VNet.
    let many = |net: &str| -> Vec<String> { (0..90).map(|i| format!("{net}.{i}.0/24")).collect() };
    let (sites, vnets) = (many("10.102"), many("10.1"));
    for we_initiate in [true, false] {
        let more = json!({
            "usePolicyBasedTrafficSelectors": true,
            "connectionMode": if we_initiate { "InitiatorOnly" } else { "ResponderOnly" },
        });
        let ours = template(THEIRS, &texts(&sites), more);
        let mut their = peer();
        their.children = vec![Child::new(CHILD, &["10.102.0.0/24"], &texts(&vnets))];
        let capture = good(Capture::start(&bed.underlay));
        let before = bed.swan.log().len();
        good(bed.set(&ours, &[their]));
        if !we_initiate {
            good(bed.swan.initiate(CHILD, PATIENCE));
        }
        good(bed.connected());
        let captured = good(capture.finish());
        assert_eq!(
            captured.fragments, 0,
            "IKE must do the fragmenting, not IP: {captured}"
        );
        let log = bed.swan.log()[before..].to_owned();
        for words in ["received fragment #2 of", "splitting IKE message"] {
            assert!(log.contains(words), "no {words:?} in\n{log}");
        }
        for (from, to, address) in [
            (&bed.workload.netns, &bed.machine, MACHINE[0]),
            (&bed.machine, &bed.workload.netns, WORKLOAD[0]),
        ] {
            let address = ip(address);
            let small = good(Ping::new(address).send(from));
            assert!(
                matches!(small, Outcome::Reply { .. }),
                "{small}; {:#}\n{:#}\nthe daemon:\n{}\n{:#?}\n{log}",
                good(bed.connection()),
                good(bed.daemon.json(&["gateways"])),
                bed.daemon.log(),
                good(bed.swan.sas())
            );
            let transfer = tcp::transfer(from, to, address, 1 << 20);
            assert!(good(transfer).is_some(), "TCP to {address}");
        }
    }
    // The workload is told what fits.
    let large = Ping {
        size: 1300,
        dont_fragment: true,
        ..Ping::new(ip(MACHINE[0]))
    };
    let outcome = good(large.send(&bed.workload.netns));
    let Outcome::TooBig { mtu, .. } = outcome else {
        panic!("a packet too large for the tunnel: {outcome}; {DEVICE}");
    };
    assert!((1100..1280).contains(&mtu), "{mtu}");
    // What fits goes through.
    let fits = Ping {
        size: mtu as usize - 28,
        ..large
    };
    let outcome = good(fits.send(&bed.workload.netns));
    assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
    // Put right, all of it fits again.
    good(bed.ours.set_mtu(1500));
    good(bed.set(&usual(json!({})), &[peer()]));
    good(bed.connected());
    good(bed.assert_reachable());
}

fn texts(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// The host loses the gateway's address, and has it again.
#[test]
fn an_address_that_goes_and_comes_back() {
    let bed = good(SiteBed::start());
    let more = json!({"connectionMode": "InitiatorOnly"});
    good(bed.set(&usual(more), &[peer()]));
    good(bed.connected());
    for _ in 0..2 {
        good(bed.ours.remove_address(ip(OURS)));
        let row = good(bed.wait(PATIENCE, |row| row["connectionStatus"] == "NotConnected"));
        let reason = row["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(OURS), "{row:#}");
        good(bed.assert_unreachable());
        good(bed.ours.add_address(ip(OURS)));
        good(bed.connected());
        good(bed.assert_reachable());
    }
}
