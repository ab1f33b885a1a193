//! Peerings of subnets, and what `allowVirtualNetworkAccess` does and does not do.

use vnet_gw_lab::template::{Allow, Nic, Template};
use vnet_gw_tests::bed::{Bed, Hook};

/// `left` 10.0.0.0/16 and `right` 10.1.0.0/16, with subnets 0 to 2, each with a workload `left0` …
/// `right2`; both have 172.16.0.0/16, too, with a workload `left3` and `right3` of equal addresses.
fn template(only_ipv6: bool) -> Template {
    let mut template = Template::new();
    for (vnet, number) in [("left", 0), ("right", 1)] {
        let spaces = [format!("10.{number}.0.0/16"), format!("fd00:{number}::/48")];
        let spaces = [spaces[0].as_str(), spaces[1].as_str(), "172.16.0.0/16"];
        template.vnet(vnet, "eastus", &spaces);
        for subnet in 0..3 {
            let prefixes = [
                format!("10.{number}.{subnet}.0/24"),
                format!("fd00:{number}:0:{subnet}::/64"),
            ];
            let prefixes = prefixes.each_ref().map(String::as_str);
            template.subnet(vnet, &format!("subnet{subnet}"), &prefixes, None);
            let addresses = [
                format!("10.{number}.{subnet}.4"),
                format!("fd00:{number}:0:{subnet}::4"),
            ];
            nic(
                &mut template,
                vnet,
                subnet,
                &addresses.each_ref().map(String::as_str),
            );
        }
        template.subnet(vnet, "subnet3", &["172.16.3.0/24"], None);
        nic(&mut template, vnet, 3, &["172.16.3.4"]);
    }
    template.peer("left", "right").peer_subnets(
        ("left", &["subnet1"]),
        ("right", &["subnet0", "subnet2"]),
        only_ipv6,
    );
    template
}

fn nic(template: &mut Template, vnet: &str, subnet: usize, addresses: &[&str]) {
    let name = format!("{vnet}{subnet}");
    template.nic(&Nic {
        name: &name,
        subnet: &format!("{vnet}/subnet{subnet}"),
        addresses,
        device: &name,
        forwarding: false,
    });
}

#[test]
fn only_the_subnets_that_are_named_reach_one_another() {
    let bed = Bed::start(&template(false), Hook::Tcx).unwrap();
    for right in ["right0", "right2"] {
        bed.assert_reachable("left1", right).unwrap();
        bed.assert_reachable(right, "left1").unwrap();
        // The others have the routes, and nothing arrives.
        for left in ["left0", "left2"] {
            bed.assert_unreachable(left, right).unwrap();
            bed.assert_unreachable(right, left).unwrap();
        }
    }
    bed.assert_unreachable("left1", "right1").unwrap();
    bed.assert_unreachable("right1", "left1").unwrap();
    bed.assert_reachable("left0", "left1").unwrap();
    // Each has its own of what both have.
    bed.assert_reachable("left3", "left1").unwrap();
    bed.assert_reachable("right3", "right0").unwrap();
    bed.assert_unreachable("left3", "right0").unwrap();

    let routes = ["effective-routes", "--subnet", "left/subnet0"];
    let routes = bed.daemon.json(&routes).unwrap();
    let rows = routes["value"].as_array().unwrap();
    let peered = rows
        .iter()
        .filter(|row| row["nextHopType"] == "VNetPeering");
    let peered: Vec<_> = peered
        .map(|row| row["addressPrefix"][0].as_str().unwrap())
        .collect();
    assert_eq!(
        peered,
        [
            "10.1.0.0/24",
            "10.1.2.0/24",
            "fd00:1::/64",
            "fd00:1:0:2::/64"
        ]
    );
    let hop = ["next-hop", "--nic", "left0", "--dest", "10.1.0.4"];
    let hop = bed.daemon.json(&hop).unwrap();
    let outcome = hop["outcome"].as_str().unwrap();
    assert!(
        outcome.contains("no part of the peering leftToright"),
        "{outcome}"
    );
}

#[test]
fn only_ipv6_where_that_is_asked_for() {
    let bed = Bed::start(&template(true), Hook::Tcx).unwrap();
    let reply = |to: std::net::IpAddr| {
        use vnet_gw_lab::probe::{Outcome, Ping};
        let ping = Ping {
            patience: std::time::Duration::from_secs(1),
            ..Ping::new(to)
        };
        let outcome = ping.send(&bed.workload("left1").netns).unwrap();
        matches!(outcome, Outcome::Reply { .. })
    };
    let right = bed.workload("right0");
    assert!(reply(right.ipv6().unwrap()));
    assert!(!reply(right.ipv4().unwrap()));
}

/// Without a security group everything between peers is allowed: the flag takes prefixes out of the
/// tag `VirtualNetwork`, and nothing else.
#[test]
fn access_is_a_matter_of_security_groups() {
    let mut template = Template::new();
    let allow = Allow {
        virtual_network_access: false,
        ..Allow::default()
    };
    for (vnet, number) in [("left", 0), ("right", 1)] {
        let (space, subnet) = (format!("10.{number}.0.0/16"), format!("10.{number}.0.0/24"));
        template.vnet(vnet, "eastus", &[&space]);
        template.subnet(vnet, "subnet0", &[&subnet], None);
        nic(&mut template, vnet, 0, &[&format!("10.{number}.0.4")]);
    }
    template
        .peering("left", "right", allow)
        .peering("right", "left", allow);
    let bed = Bed::start(&template, Hook::Tcx).unwrap();
    bed.assert_reachable("left0", "right0").unwrap();
    bed.assert_reachable("right0", "left0").unwrap();
}
