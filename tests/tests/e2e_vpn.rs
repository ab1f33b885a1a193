//! VPN gateways of two hosts: what a person who runs them would look at.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::{
    probe::{Capture, Flow, Outcome, Ping, tcp},
    workload::{Offloads, plug_nic},
};
use vnet_gw_tests::{
    site::policy,
    vpn_bed::{CONNECT, Site, VpnBed, properties, template},
};

/// What a busy machine may add to a time.
const SLACK: Duration = Duration::from_secs(1);

fn start() -> VpnBed {
    let template = template().unwrap();
    VpnBed::start(&template, &template).unwrap()
}

/// Flows enough that each of four tunnels has some.
fn flows(from: &Site, to: &Site) -> Vec<Flow> {
    let address = to.workload.ipv4().unwrap();
    (0..16)
        .map(|_| Flow::start(&from.workload.netns, &to.workload.netns, address, 100).unwrap())
        .collect()
}

/// The longest time in which a flow brought nothing, while `act` is done and until all have brought
/// something again for a while.
fn longest_gap(flows: &[Flow], act: impl FnOnce()) -> Duration {
    const STEP: Duration = Duration::from_millis(10);
    let mut last: Vec<(u64, Instant)> = flows
        .iter()
        .map(|flow| (flow.so_far().1, Instant::now()))
        .collect();
    let mut longest = Duration::ZERO;
    act();
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        thread::sleep(STEP);
        for (flow, (count, at)) in flows.iter().zip(&mut last) {
            let now = Instant::now();
            longest = longest.max(now - *at);
            let received = flow.so_far().1;
            if received > *count {
                (*count, *at) = (received, now);
            }
        }
    }
    longest
}

#[test]
fn four_tunnels_connect_and_carry_traffic_that_nobody_reads() {
    let template = template().unwrap();
    let bed = VpnBed::start(&template, &template).unwrap();
    let capture = Capture::start(&bed.underlay).unwrap();
    let took = bed.connected().unwrap();
    assert!(took < CONNECT + SLACK, "{took:?}");
    bed.assert_reachable().unwrap();
    let seen = capture.finish().unwrap();
    assert!(seen.is_clean() && seen.esp_in_udp > 0, "{seen:?}");

    for site in bed.sites() {
        let row = site.row().unwrap();
        assert_eq!(row.status(), "Connected");
        let (inward, outward) = row.bytes();
        assert!(inward > 8 << 20 && outward > 8 << 20, "{:#}", row.0);
        assert!(row.0["lastConnectionEstablishedUtcTime"].is_string());

        let sas = site.daemon.json(&["ike-sas", site.connection]).unwrap();
        for sa in sas["value"].as_array().unwrap() {
            assert_eq!(sa["postQuantum"], true, "{sa:#}");
            assert_eq!(sa["children"][0]["extendedSequenceNumbers"], true, "{sa:#}");
        }
        let status = site.daemon.json(&["status"]).unwrap();
        assert_eq!(status["vpn"]["gatewaysUp"], 1);
        assert_eq!(status["vpn"]["tunnelsConnected"], 4);
        let gateways = site.daemon.json(&["gateways"]).unwrap();
        let own = gateways["value"].as_array().unwrap();
        let own = own.iter().find(|one| one["state"] == "up").unwrap();
        assert_eq!(own["engine"], "gso");
        let log = site.daemon.log();
        assert_eq!(log.matches(" Connected (").count(), 4, "{log}");
        assert!(!log.contains("MadeUpForTheExample"), "{log}");
    }
}

#[test]
fn a_reload_leaves_tunnels_alone_and_follows_the_other_vnet() {
    let mut template = template().unwrap();
    let bed = VpnBed::start(&template, &template).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    let before = bed.west.spis().unwrap();
    let flow = flows(&bed.west, &bed.east);
    // VNet4 grows, which west's routes follow by themselves.
    let space = properties(&mut template, "VNet4").unwrap();
    let prefixes = space["addressSpace"]["addressPrefixes"].as_array_mut();
    prefixes.unwrap().push("10.42.0.0/16".into());
    for site in bed.sites() {
        let log = site.daemon.log();
        site.daemon.write(&template).unwrap();
        site.daemon.wait_for_log(&log, "reload: ").unwrap();
    }
    thread::sleep(Duration::from_millis(500));
    for flow in flow {
        let report = flow.finish().unwrap();
        assert!(report.is_whole(), "{report}");
    }
    assert_eq!(bed.west.spis().unwrap(), before);
    let row = bed.west.row().unwrap();
    let prefixes = row.0["remoteAddressPrefixes"].as_array().unwrap();
    assert!(prefixes.contains(&"10.42.0.0/16".into()), "{:#}", row.0);
}

/// The least that Azure takes, used up every three seconds or so: with both ends asking for rekeys,
/// often at once.
#[test]
fn rekeys_by_bytes_lose_nothing() {
    let mut template = template().unwrap();
    let (ike, esp) = (
        ("GCMAES256", "SHA384", "ECP384"),
        ("GCMAES256", "GCMAES256"),
    );
    for connection in ["VNet1-to-VNet4", "VNet4-to-VNet1"] {
        properties(&mut template, connection).unwrap()["ipsecPolicies"] =
            policy(ike, esp, "ECP256", 27_000, 1_024);
    }
    let bed = VpnBed::start(&template, &template).unwrap();
    bed.connected().unwrap();
    let before = bed.west.spis().unwrap();
    let address = bed.east.workload.ipv4().unwrap();
    let flows: Vec<_> = (0..16)
        .map(|_| {
            let (from, to) = (&bed.west.workload.netns, &bed.east.workload.netns);
            Flow::start(from, to, address, 800).unwrap()
        })
        .collect();
    bed.west
        .wait("rekeyed", |_| {
            // Some 2 MiB for each tunnel.
            let sent: u64 = flows.iter().map(|flow| flow.so_far().0).sum();
            let spis = bed.west.spis()?;
            let rekeyed = spis.iter().all(|spi| !before.contains(spi));
            Ok(rekeyed && sent > 100_000)
        })
        .unwrap();
    for flow in flows {
        let report = flow.finish().unwrap();
        assert!(report.is_whole(), "{report}\n{}", bed.west.daemon.log());
    }
}

#[test]
fn a_reset_makes_tunnels_anew() {
    let bed = start();
    bed.connected().unwrap();
    let before = bed.west.spis().unwrap();
    bed.west
        .tell(&["connection", "reset", bed.west.connection], "")
        .unwrap();
    bed.west
        .wait("made anew", |row| {
            let spis = bed.west.spis()?;
            let kept = spis.iter().any(|spi| before.contains(spi));
            Ok(row.tunnels_up() == 4 && spis.len() >= 4 && !kept)
        })
        .unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
}

#[test]
fn keys_are_made_shown_set_and_changed() {
    // Each host knows its own connection only, so each makes a key of its own.
    let only = |connection: &str, other: &str| -> Value {
        let mut template = template().unwrap();
        let resources = template["resources"].as_array_mut().unwrap();
        resources.retain(|one| one["name"] != other);
        let properties = properties(&mut template, connection).unwrap();
        properties.as_object_mut().unwrap().remove("sharedKey");
        template
    };
    let bed = VpnBed::start(
        &only("VNet1-to-VNet4", "VNet4-to-VNet1"),
        &only("VNet4-to-VNet1", "VNet1-to-VNet4"),
    )
    .unwrap();
    let (west, east) = (&bed.west, &bed.east);
    let mismatch = "the shared key does not match";
    west.wait(mismatch, |row| Ok(row.reason().contains(mismatch)))
        .unwrap();
    let show = ["connection", "shared-key", "show", west.connection];
    let key = west.tell(&show, "").unwrap();
    assert_eq!(key.trim().len(), 32);
    let set = ["connection", "shared-key", "set", east.connection];
    east.tell(&set, &key).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();

    let reset = ["connection", "shared-key", "reset", east.connection];
    let new = east.tell(&reset, "").unwrap();
    assert_ne!(new, key);
    east.wait(mismatch, |row| Ok(row.reason().contains(mismatch)))
        .unwrap();
    let set = ["connection", "shared-key", "set", west.connection];
    west.tell(&set, &new).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    for site in bed.sites() {
        for secret in [&key, &new] {
            assert!(!site.daemon.log().contains(secret.trim()));
        }
    }
}

#[test]
fn a_daemon_that_was_killed_comes_back_with_its_tunnels() {
    let mut bed = start();
    bed.connected().unwrap();
    bed.east.daemon.kill().unwrap();
    bed.east.daemon.launch().unwrap();
    let begun = Instant::now();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    assert!(
        begun.elapsed() < 2 * CONNECT + SLACK,
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_daemon_that_ends_says_goodbye() {
    let mut bed = start();
    bed.connected().unwrap();
    let begun = Instant::now();
    bed.east
        .daemon
        .terminate(nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
    // Long before anybody would miss it.
    bed.west
        .wait("all tunnels down", |row| Ok(row.tunnels_up() == 0))
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3) + SLACK);
    bed.east.daemon.launch().unwrap();
    bed.connected().unwrap();
}

#[test]
fn traffic_leaves_an_address_that_falls_silent() {
    let bed = start();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    let flows = flows(&bed.west, &bed.east);
    thread::sleep(Duration::from_millis(500));
    let silent: IpAddr = bed.east.link.addresses()[1];
    let gap = longest_gap(&flows, || bed.east.link.silence(silent).unwrap());
    assert!(gap < Duration::from_secs(3), "{gap:?}");
    bed.east.link.unsilence(silent).unwrap();
    bed.connected().unwrap();
}

#[test]
fn traffic_leaves_an_address_that_goes_and_takes_it_again() {
    let bed = start();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    let flows = flows(&bed.west, &bed.east);
    thread::sleep(Duration::from_millis(500));
    let address: IpAddr = bed.west.link.addresses()[1];
    let gap = longest_gap(&flows, || bed.west.link.remove_address(address).unwrap());
    assert!(gap < Duration::from_secs(3), "{gap:?}");
    let row = bed.west.row().unwrap();
    assert_eq!((row.status(), row.tunnels_up()), ("Connected", 2));
    assert_eq!(
        row.reason(),
        format!("this host does not have the address {address}")
    );
    bed.west.link.add_address(address).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    let mut template = template().unwrap();
    let gateway = properties(&mut template, "VNet1GW").unwrap();
    gateway["vpnType"] = json!("PolicyBased");
    let bed = start();
    let (log, west) = (bed.west.daemon.log(), &bed.west);
    west.daemon.write(&template).unwrap();
    west.daemon.wait_for_log(&log, "refused").unwrap();
    // The last good configuration stays in force.
    bed.connected().unwrap();
    for (args, told) in [
        (
            &["connection", "show", "none"][..],
            "there is none; there are VNet1-to-VNet4",
        ),
        (
            &["ike-sas", "VNet4-to-VNet1"],
            "lives on host east; ask there",
        ),
        (
            &["connection", "shared-key", "show", "none"],
            "there is none; there are VNet1-to-VNet4",
        ),
    ] {
        let output = west.daemon.output(args).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(told), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

/// A gateway's routes give way to those of a peering of the same prefixes.
#[test]
fn a_peering_is_preferred_to_the_tunnels() {
    let without = template().unwrap();
    let mut with = without.clone();
    let resources = with["resources"].as_array_mut().unwrap();
    // Another interface of VNet4, which its peer finds on its own host: what goes into the tunnels
    // ends at the other one, where nobody has this address.
    let mut near = resources
        .iter()
        .find(|one| one["name"] == "vm-east")
        .unwrap()
        .clone();
    near["name"] = "vm-near".into();
    near["tags"] = json!({"vnet-gw:device": "vm-near", "vnet-gw:host": "west"});
    near["properties"]["macAddress"] = "00-0D-3A-00-00-05".into();
    let configurations = near["properties"]["ipConfigurations"].as_array_mut();
    for (configuration, address) in configurations
        .unwrap()
        .iter_mut()
        .zip(["10.41.0.5", "fd00:41::5"])
    {
        configuration["properties"]["privateIPAddress"] = address.into();
    }
    resources.push(near);
    for (vnet, remote) in [("VNet1", "VNet4"), ("VNet4", "VNet1")] {
        let id = format!("[resourceId('Microsoft.Network/virtualNetworks', '{remote}')]");
        properties(&mut with, vnet).unwrap()["virtualNetworkPeerings"] =
            json!([{"name": remote, "properties": {"remoteVirtualNetwork": {"id": id}}}]);
    }
    let bed = VpnBed::start(&without, &without).unwrap();
    bed.connected().unwrap();
    bed.assert_reachable().unwrap();
    let carried = bed.west.row().unwrap().bytes();
    assert!(carried.0 > 0 && carried.1 > 0);

    let near = plug_nic(
        &bed.lab,
        &bed.west.host,
        &with,
        "vm-near",
        Offloads::Default,
    )
    .unwrap();
    for site in bed.sites() {
        let log = site.daemon.log();
        site.daemon.write(&with).unwrap();
        site.daemon.wait_for_log(&log, "reload: ").unwrap();
    }
    let routes = ["effective-routes", "--subnet", "VNet1/FrontEnd"];
    let routes = bed.west.daemon.json(&routes).unwrap();
    let of = |kind: &str, state: &str| {
        let mut rows = routes["value"].as_array().unwrap().iter();
        rows.any(|row| {
            row["nextHopType"] == kind
                && row["state"] == state
                && row["addressPrefix"].to_string().contains("10.41.0.0/16")
        })
    };
    assert!(of("VNetGlobalPeering", "Active"), "{routes:#}");
    assert!(of("VirtualNetworkGateway", "Invalid"), "{routes:#}");
    let before = bed.west.row().unwrap();
    assert_eq!((before.status(), before.tunnels_up()), ("Connected", 4));
    for &address in &near.addresses {
        let outcome = Ping::new(address).send(&bed.west.workload.netns).unwrap();
        assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
        let (from, to) = (&bed.west.workload.netns, &near.netns);
        assert!(tcp::transfer(from, to, address, 1 << 20).unwrap().is_some());
    }
    // Neither to whom the tunnels would have led.
    let far = Ping {
        patience: Duration::from_millis(300),
        ..Ping::new(bed.east.workload.ipv4().unwrap())
    };
    let outcome = far.send(&bed.west.workload.netns).unwrap();
    assert!(!matches!(outcome, Outcome::Reply { .. }), "{outcome}");
    let after = bed.west.row().unwrap();
    assert_eq!(after.bytes(), before.bytes());
    assert_eq!(after.tunnels_up(), 4);
}
