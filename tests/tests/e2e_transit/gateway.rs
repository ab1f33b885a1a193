//! Through the hub's gateway: to the site, to another region, and from spoke to spoke.

use serde_json::Value;
use vnet_gw_tests::transit_bed::{BACK, Plan, TO_FAR, TO_SITE, TransitBed};

/// The prefixes that `daemon` sends to the far end of a connection.
fn remote_prefixes(row: &Value) -> Vec<&str> {
    let prefixes = row["remoteAddressPrefixes"].as_array().unwrap();
    prefixes.iter().map(|one| one.as_str().unwrap()).collect()
}

#[test]
fn spokes_reach_what_is_behind_the_hubs_gateway() {
    let bed = TransitBed::start(Plan::default()).unwrap();
    // The hub itself, a spoke of its region and one of another; on-premises, and the other region's
    // hub and spoke. Each way.
    for near in ["hub", "one", "two"] {
        for far in ["machine", "far", "leaf"] {
            bed.assert_reaches(near, far).unwrap();
            bed.assert_reaches(far, near).unwrap();
        }
        if near != "hub" {
            bed.assert_reaches(near, "hub").unwrap();
        }
    }
    // Peerings are not transitive, and a peer that does not use the gateway is not behind it.
    bed.assert_silent("one", "two").unwrap();
    bed.assert_silent("far", "loner").unwrap();
    bed.assert_silent("loner", "far").unwrap();

    let row = bed.gateway(&bed.near, "HubGW").unwrap();
    let users = row["usedBy"].as_array().unwrap();
    let users: Vec<_> = users
        .iter()
        .map(|vnet| vnet["id"].as_str().unwrap())
        .collect();
    assert!(users[0].ends_with("Spoke1") && users[1].ends_with("Spoke2") && users.len() == 2);
    assert_eq!(row["turnedBack"], 0);
    let back = bed.far.json(&["connection", "show", BACK]).unwrap();
    let known = remote_prefixes(&back);
    for prefix in ["10.100.0.0/16", "10.1.0.0/16", "fd00:2::/48"] {
        assert!(known.contains(&prefix), "{known:?}");
    }
    assert!(!known.contains(&"10.3.0.0/16"), "{known:?}");
    let there = bed.near.json(&["connection", "show", TO_FAR]).unwrap();
    assert!(remote_prefixes(&there).contains(&"10.9.0.0/16"));

    let routes = bed
        .near
        .json(&["effective-routes", "--subnet", "Spoke1/FrontEnd"]);
    let routes = routes.unwrap();
    let rows = routes["value"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["addressPrefix"][0] == "10.102.0.0/16");
    let row = row.unwrap();
    assert_eq!(row["nextHopType"], "VirtualNetworkGateway");
    assert_eq!(row["source"], "VirtualNetworkGateway");
    assert_eq!(row["nextHopIpAddress"][0], "203.0.113.11");
    let hop = bed
        .near
        .json(&["next-hop", "--nic", "one", "--dest", "10.102.0.4"])
        .unwrap();
    assert!(
        hop["outcome"].as_str().unwrap().contains("HubGW"),
        "{hop:#}"
    );
}

#[test]
fn spoke_to_spoke_by_way_of_the_gateway() {
    let plan = Plan {
        spoke_to_spoke: true,
        ..Plan::default()
    };
    let bed = TransitBed::start(plan).unwrap();
    bed.assert_reaches("one", "two").unwrap();
    bed.assert_reaches("two", "one").unwrap();
    let turned = |bed: &TransitBed| {
        let row = bed.gateway(&bed.near, "HubGW").unwrap();
        row["turnedBack"].as_u64().unwrap()
    };
    assert!(turned(&bed) > 8);
    let hop = bed
        .near
        .json(&["next-hop", "--nic", "one", "--dest", "10.2.0.4"])
        .unwrap();
    let outcome = hop["outcome"].as_str().unwrap();
    assert!(
        outcome.contains("turned back by the gateway HubGW"),
        "{outcome}"
    );
    assert!(outcome.contains("two"), "{outcome}");
    // Only to those that use the gateway.
    let plan = Plan {
        spoke2: false,
        ..plan
    };
    bed.apply(plan).unwrap();
    bed.assert_silent("one", "two").unwrap();
    bed.assert_reaches("one", "machine").unwrap();
    bed.assert_silent("two", "machine").unwrap();
}

#[test]
fn transit_comes_and_goes_with_the_flags() {
    let bed = TransitBed::start(Plan::default()).unwrap();
    bed.assert_reaches("one", "far").unwrap();
    bed.apply(Plan {
        spoke1: false,
        ..Plan::default()
    })
    .unwrap();
    bed.assert_silent("one", "far").unwrap();
    bed.assert_silent("one", "machine").unwrap();
    bed.assert_reaches("two", "far").unwrap();
    let back = bed.far.json(&["connection", "show", BACK]).unwrap();
    assert!(!remote_prefixes(&back).contains(&"10.1.0.0/16"), "{back:#}");
    // Which takes the routes of a spoke away, and leaves the other's alone.
    bed.apply(Plan {
        no_propagation: true,
        ..Plan::default()
    })
    .unwrap();
    bed.assert_silent("one", "machine").unwrap();
    bed.assert_reaches("two", "machine").unwrap();
    bed.apply(Plan::default()).unwrap();
    bed.assert_reaches("one", "machine").unwrap();
}

/// `allowForwardedTraffic` of the hub's side is asked for what a spoke's appliance forwards into the
/// hub's gateway.
#[test]
fn a_spokes_appliance_needs_leave_to_forward_into_the_gateway() {
    let bed = TransitBed::start(Plan::default()).unwrap();
    let before = bed.dropped("forwarded_refused").unwrap();
    bed.assert_silent("loner", "machine").unwrap();
    let after = bed.dropped("forwarded_refused").unwrap();
    assert!(after > before, "{before} {after}");
    bed.apply(Plan {
        forwarded: true,
        ..Plan::default()
    })
    .unwrap();
    bed.assert_reaches("loner", "machine").unwrap();
}

/// The spokes' prefixes are in the selectors, and follow.
#[test]
fn spokes_are_in_the_traffic_selectors() {
    let plan = Plan {
        selectors: true,
        ..Plan::default()
    };
    let bed = TransitBed::start(plan).unwrap();
    let selectors = |bed: &TransitBed| {
        let sas = bed.near.json(&["ike-sas", TO_SITE]).unwrap();
        sas["value"][0]["children"][0]["localSelectors"].to_string()
    };
    let all = selectors(&bed);
    for prefix in ["10.100.0.0/16", "10.1.0.0/16", "10.2.0.0/16", "fd00:1::/48"] {
        assert!(all.contains(prefix), "{all}");
    }
    assert!(!all.contains("10.3.0.0/16"), "{all}");
    bed.assert_reaches("one", "machine").unwrap();
    bed.assert_reaches("machine", "two").unwrap();
    bed.apply(Plan {
        spoke1: false,
        ..plan
    })
    .unwrap();
    bed.wait(&bed.near, TO_SITE, |row| {
        let all = selectors(&bed);
        row["connectionStatus"] == "Connected"
            && all.contains("10.2.0.0/16")
            && !all.contains("10.1.0.0/16")
    })
    .unwrap();
    bed.assert_reaches("two", "machine").unwrap();
    bed.assert_silent("machine", "one").unwrap();
}
