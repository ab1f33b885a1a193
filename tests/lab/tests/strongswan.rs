//! The underlay, the NAT, the capture and strongSwan, proved on strongSwan alone: what fails with
//! our daemon later is then not the lab.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::IpAddr, thread, time::Duration};

use vnet_gw_lab::{
    Lab, Nat, Netns, StrongSwan, Underlay,
    probe::{Capture, Flow, Outcome, Ping, tcp},
    strongswan::{Child, Connection},
    underlay::{Link, lan},
};

const PATIENCE: Duration = Duration::from_secs(10);
const KEY: &str = "made up \" for { this } test";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn answers(from: &Netns, to: &str) -> bool {
    matches!(Ping::new(ip(to)).send(from).unwrap(), Outcome::Reply { .. })
}

fn hosts(lab: &Lab, underlay: &Underlay) -> (Link, Link) {
    let addresses = |last: u8| -> Vec<IpAddr> {
        vec![
            ip(&format!("203.0.113.{last}")),
            ip(&format!("203.0.113.{}", last + 1)),
            ip(&format!("2001:db8::{last}")),
        ]
    };
    let [a, b] = [("left", 11), ("right", 21)].map(|(name, last)| {
        let host = lab.namespace(name).unwrap();
        underlay.attach(lab, &host, &addresses(last)).unwrap()
    });
    (a, b)
}

#[test]
fn an_underlay_loses_what_it_is_told_to_lose() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let (left, right) = hosts(&lab, &underlay);
    for to in ["203.0.113.21", "203.0.113.22", "2001:db8::21"] {
        assert!(answers(left.host(), to), "{to}");
    }

    right.silence(ip("203.0.113.21")).unwrap();
    assert!(!answers(left.host(), "203.0.113.21"));
    assert!(answers(left.host(), "203.0.113.22"));
    right.unsilence(ip("203.0.113.21")).unwrap();
    assert!(answers(left.host(), "203.0.113.21"));

    right.remove_address(ip("203.0.113.22")).unwrap();
    assert!(!answers(left.host(), "203.0.113.22"));
    assert!(answers(left.host(), "203.0.113.21"));
    right.add_address(ip("203.0.113.22")).unwrap();
    assert!(answers(left.host(), "203.0.113.22"));

    left.cut().unwrap();
    let cut = Ping::new(ip("203.0.113.21")).send(left.host());
    assert!(!matches!(cut, Ok(Outcome::Reply { .. })));
    left.mend().unwrap();
    for to in ["203.0.113.21", "2001:db8::21"] {
        assert!(answers(left.host(), to), "{to} after the link is back");
    }

    right.set_mtu(1280).unwrap();
    for to in ["203.0.113.21", "2001:db8::21"] {
        let ping = Ping {
            size: 1300,
            dont_fragment: true,
            ..Ping::new(ip(to))
        };
        let outcome = ping.send(left.host()).unwrap();
        assert!(
            matches!(outcome, Outcome::TooBig { mtu: 1280, .. }),
            "{to}: {outcome}"
        );
    }
}

#[test]
fn a_capture_finds_what_can_be_read() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let (left, right) = hosts(&lab, &underlay);
    let capture = Capture::start(&underlay).unwrap();
    let to = ip("203.0.113.21");
    let flow = Flow::start(left.host(), right.host(), to, 100).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(flow.finish().unwrap().is_whole());
    assert!(answers(right.host(), "2001:db8::11"));
    tcp::transfer(left.host(), right.host(), to, 1000)
        .unwrap()
        .unwrap();
    let captured = capture.finish().unwrap();
    // Each packet once; each of the flow's, both echoes and the transfer's data are marked.
    assert!(captured.clear_text >= 15, "{captured}");
    assert!(captured.marked >= 13, "{captured}");
    assert_eq!(captured.missed, 0, "{captured}");
    assert!(!captured.is_clean());
    assert!(!captured.examples.is_empty());
}

/// left's LAN 10.101.0.0/16 and fd00:101::/48, right's 10.102.0.0/16 and fd00:102::/48.
fn lans(lab: &Lab, left: &Netns, right: &Netns) -> (Netns, Netns) {
    let [near, far] = [(left, "near", 101), (right, "far", 102)].map(|(gateway, name, site)| {
        let wires = [
            (
                ip(&format!("10.{site}.0.1")),
                ip(&format!("10.{site}.0.4")),
                24,
            ),
            (
                ip(&format!("fd00:{site}::1")),
                ip(&format!("fd00:{site}::4")),
                64,
            ),
        ];
        lan(lab, gateway, name, &wires).unwrap()
    });
    (near, far)
}

fn connection(local: &str, remote: Option<&str>, ours: u8, theirs: u8) -> Connection {
    let prefixes = |site: u8| [format!("10.{site}.0.0/16"), format!("fd00:{site}::/48")];
    let (ours, theirs) = (prefixes(ours), prefixes(theirs));
    let child = Child {
        rekey: Some(Duration::from_secs(3600)),
        ..Child::new(
            "net",
            &ours.each_ref().map(String::as_str),
            &theirs.each_ref().map(String::as_str),
        )
    };
    Connection {
        remote: remote.map(ip),
        // Without one strongSwan never sends INITIAL_CONTACT.
        remote_id: remote.map(str::to_owned),
        proposals: vec!["aes256-sha256-modp2048".to_owned()],
        ..Connection::new("gw", ip(local), ip("0.0.0.0"), KEY)
    }
    .child(child)
}

#[test]
fn strongswan_joins_two_sites_and_nothing_is_readable() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let (left, right) = hosts(&lab, &underlay);
    let (near, far) = lans(&lab, left.host(), right.host());
    let mut a = StrongSwan::start(&lab, left.host()).unwrap();
    let b = StrongSwan::start(&lab, right.host()).unwrap();
    a.load(&[connection("203.0.113.11", Some("203.0.113.21"), 101, 102)])
        .unwrap();
    b.load(&[connection("203.0.113.21", Some("203.0.113.11"), 102, 101)])
        .unwrap();

    let capture = Capture::start(&underlay).unwrap();
    a.initiate("net", PATIENCE).unwrap();
    for (from, to) in [
        (&near, "10.102.0.4"),
        (&far, "10.101.0.4"),
        (&near, "fd00:102::4"),
    ] {
        assert!(answers(from, to), "{to}");
    }
    tcp::transfer(&near, &far, ip("10.102.0.4"), 1 << 20)
        .unwrap()
        .unwrap();
    let flow = Flow::start(&near, &far, ip("10.102.0.4"), 200).unwrap();
    thread::sleep(Duration::from_millis(200));
    let first = a.sas().unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(
        first[0].suite,
        "AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"
    );
    let child = first[0].installed().next().unwrap().clone();
    assert!(
        child.encap && child.bytes_out > 1 << 20,
        "ESP did not carry it: {child:?}"
    );
    // Both rekeys, and both are seen.
    a.rekey_child("net").unwrap();
    a.wait(PATIENCE, |sas| {
        sas.iter()
            .flat_map(|sa| sa.installed())
            .any(|new| new.spi_in != child.spi_in)
    })
    .unwrap();
    b.rekey_ike("gw").unwrap();
    b.wait(PATIENCE, |sas| {
        sas.len() == 1 && sas[0].is_established() && sas[0].id > 1
    })
    .unwrap();
    thread::sleep(Duration::from_millis(200));
    let report = flow.finish().unwrap();
    assert!(report.is_whole(), "{report}");

    let captured = capture.finish().unwrap();
    assert!(captured.is_clean(), "{captured}: {:#?}", captured.examples);
    assert!(
        captured.esp_in_udp > 1000 && captured.ike >= 8,
        "{captured}"
    );

    // Killed, it comes back with what it had.
    a.kill().unwrap();
    a.launch().unwrap();
    a.initiate("net", PATIENCE).unwrap();
    assert!(answers(&near, "10.102.0.4"));
    a.terminate("gw").unwrap();
    b.wait(PATIENCE, |sas| sas.is_empty()).unwrap();
    assert!(!answers(&near, "10.102.0.4"));
    let log = a.log();
    assert!(log.contains("deleting IKE_SA"), "{log}");
    a.stop().unwrap();
}

#[test]
fn strongswan_behind_a_nat_that_forgets() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let right = lab.namespace("right").unwrap();
    underlay
        .attach(&lab, &right, &[ip("203.0.113.21")])
        .unwrap();
    let nat = Nat::new(&lab, &underlay, "nat", "203.0.113.99".parse().unwrap()).unwrap();
    let left = lab.namespace("left").unwrap();
    nat.inside()
        .attach(&lab, &left, &[ip("192.168.7.2")])
        .unwrap();
    let (near, far) = lans(&lab, &left, &right);
    let a = StrongSwan::start(&lab, &left).unwrap();
    let b = StrongSwan::start(&lab, &right).unwrap();
    a.load(&[connection("192.168.7.2", Some("203.0.113.21"), 101, 102)])
        .unwrap();
    b.load(&[connection("203.0.113.21", None, 102, 101)])
        .unwrap();
    if let Err(error) = a.initiate("net", PATIENCE) {
        panic!("{error:#}; the responder:\n{}", b.log());
    }
    assert!(answers(&near, "10.102.0.4"));
    let before = b.sas().unwrap();
    assert_eq!(before[0].remote_host, "203.0.113.99");
    assert!((20_000..30_000).contains(&before[0].remote_port));
    nat.rebind().unwrap();
    assert!(
        !answers(&near, "10.102.0.4"),
        "the NAT has forgotten nothing"
    );
    // strongSwan follows an IKE message to its new port, and ESP not.
    a.rekey_child("net").unwrap();
    b.wait(PATIENCE, |sas| sas[0].remote_port >= 30_000)
        .unwrap();
    let again = (0..5).any(|_| answers(&far, "10.101.0.4"));
    assert!(again, "right did not follow left");
}
