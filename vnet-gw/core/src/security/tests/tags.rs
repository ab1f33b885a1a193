//! What each tag, and an application security group, stands for.

use ipnet::IpNet;

use super::*;
use crate::{
    effective::tests::build::{Build, appliance, route},
    model::RouteNextHop,
};

const HOST: &str = "168.63.129.16/32";

fn one_vnet() -> Topology {
    let mut topology = Topology::default();
    topology.vnet("VNet1", "westeurope", &["10.1.0.0/16", "fd00:1::/48"]);
    topology.subnet("VNet1", "Front", &["10.1.1.0/24", "fd00:1:0:1::/64"]);
    topology.subnet("VNet1", "Back", &["10.1.2.0/24"]);
    topology.nic("a", "VNet1", "Front", &["10.1.1.4", "fd00:1:0:1::4"]);
    topology.group("NSG", Vec::new());
    topology.secure_subnet("VNet1", "Front", "NSG");
    topology.secure_subnet("VNet1", "Back", "NSG");
    topology
}

fn virtual_network(topology: &Topology, nic: &str) -> Vec<String> {
    shown(&named(&inbound(topology, nic), "AllowVnetInBound").source)
}

#[test]
fn default_rules_stand_at_the_end() {
    let topology = one_vnet();
    let mut sets = RuleSets::new(&topology, None);
    let security = sets.of_nic(&topology.network_interfaces[&nic_id("a")]);
    let rules = |id| {
        let set = sets.get(id).unwrap();
        let rules = set.rules.iter();
        let shown = rules.map(|rule| {
            let ends = [&rule.source, &rule.destination].map(|end| shown(end).concat());
            (rule.priority, rule.access, rule.name.to_string(), ends)
        });
        shown.collect::<Vec<_>>()
    };
    let vnet = format!("10.1.0.0/16{HOST}fd00:1::/48");
    let inbound = rules(&security.inbound[0]);
    let expected = [
        (65000, Access::Allow, "AllowVnetInBound", [&*vnet, &*vnet]),
        (
            65001,
            Access::Allow,
            "AllowAzureLoadBalancerInBound",
            [HOST, "*"],
        ),
        (65500, Access::Deny, "DenyAllInBound", ["*", "*"]),
    ];
    let expected = expected.map(|(priority, access, name, ends)| {
        (priority, access, name.to_owned(), ends.map(str::to_owned))
    });
    assert_eq!(inbound, expected);
    let outbound = rules(&security.outbound[0]);
    let names: Vec<_> = outbound
        .iter()
        .map(|(_, _, name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "AllowVnetOutBound",
            "AllowInternetOutBound",
            "DenyAllOutBound"
        ]
    );
    assert_eq!(outbound[1].3[0], "*");
}

#[test]
fn virtual_network_has_peers_as_they_allow_it() {
    let mut topology = one_vnet();
    topology.vnet("VNet2", "westeurope", &["10.2.0.0/16"]);
    topology.vnet("VNet3", "westeurope", &["10.3.0.0/16"]);
    topology.vnet("VNet4", "westeurope", &["10.4.0.0/16"]);
    topology.peer("VNet1", "VNet2");
    topology.peer("VNet1", "VNet3");
    topology.side("VNet1", "VNet3").allow_virtual_network_access = false;
    topology.peer_one_way("VNet1", "VNet4");
    let expected = ["10.1.0.0/16", "10.2.0.0/16", HOST, "fd00:1::/48"];
    assert_eq!(virtual_network(&topology, "a"), expected);
    // What the other side allows is about the other side's groups.
    topology.side("VNet2", "VNet1").allow_virtual_network_access = false;
    assert_eq!(virtual_network(&topology, "a"), expected);
}

#[test]
fn virtual_network_has_what_is_behind_the_gateway() {
    let mut topology = one_vnet();
    topology.gateway("GW", "VNet1", &["10.1.255.0/27"], "192.0.2.1");
    topology.connect("site", "GW", &[net("172.16.0.0/24"), net("10.1.9.0/24")]);
    // Inside the VNet's own prefix it adds nothing.
    let expected = ["10.1.0.0/16", HOST, "172.16.0.0/24", "fd00:1::/48"];
    assert_eq!(virtual_network(&topology, "a"), expected);
}

#[test]
fn virtual_network_has_the_prefixes_of_the_subnets_own_user_routes() {
    let mut topology = one_vnet();
    topology.nic("b", "VNet1", "Back", &["10.1.2.4"]);
    let routes = vec![
        route("a", "198.51.100.0/24", appliance("10.1.2.4")),
        route("b", "198.51.100.128/25", RouteNextHop::None),
    ];
    topology.table("T", routes);
    topology.attach("VNet1", "Front", "T");
    let with = ["10.1.0.0/16", HOST, "198.51.100.0/24", "fd00:1::/48"];
    assert_eq!(virtual_network(&topology, "a"), with);
    let without = ["10.1.0.0/16", HOST, "fd00:1::/48"];
    assert_eq!(virtual_network(&topology, "b"), without);
    let everything = vec![route("all", "0.0.0.0/0", appliance("10.1.2.4"))];
    topology.table("All", everything);
    topology.attach("VNet1", "Front", "All");
    assert_eq!(
        virtual_network(&topology, "a"),
        ["0.0.0.0/0", "fd00:1::/48"]
    );
}

/// Addresses of IPv4, and of the first two bits of IPv6.
fn size(prefixes: &RuleAddresses) -> [u128; 2] {
    let RuleAddresses::Prefixes(prefixes) = prefixes else {
        panic!("{prefixes:?}");
    };
    let mut sizes = [0; 2];
    for prefix in prefixes.iter() {
        match prefix {
            IpNet::V4(prefix) => sizes[0] += 1 << (32 - prefix.prefix_len()),
            IpNet::V6(prefix) => sizes[1] += 1 << (127 - prefix.prefix_len()),
        }
    }
    sizes
}

#[test]
fn internet_is_everything_else() {
    let mut topology = one_vnet();
    let rules = vec![rule(100, Access::Deny, tag(ServiceTag::Internet), any())];
    topology.group("NSG", rules);
    let set = inbound(&topology, "a");
    let internet = &named(&set, "r100").source;
    for (address, is_in) in [
        ("10.1.0.0", false),
        ("10.1.255.255", false),
        ("10.0.255.255", true),
        ("10.2.0.0", true),
        ("168.63.129.16", false),
        ("168.63.129.15", true),
        ("168.63.129.17", true),
        ("0.0.0.0", true),
        ("255.255.255.255", true),
        ("fd00:1::1", false),
        ("fd00:1:0:ffff::", false),
        ("fd00:0:ffff::", true),
        ("fd00:2::", true),
        ("::", true),
        ("ffff::", true),
    ] {
        assert_eq!(internet.contains(ip(address)), is_in, "{address}");
    }
    // Each address once: 2^32 less a /16 and a /32; 2^128 less a /48, halved.
    let expected = [(1 << 32) - (1 << 16) - 1, (1 << 127) - (1 << 79)];
    assert_eq!(size(internet), expected);
}

#[test]
fn a_tag_and_prefixes_are_one_list() {
    let mut topology = one_vnet();
    let both = with_tag(
        &["10.1.5.0/24", "10.9.0.0/16", "10.9.9.0/24"],
        Some(ServiceTag::VirtualNetwork),
    );
    let balancer = tag(ServiceTag::AzureLoadBalancer);
    topology.group("NSG", vec![rule(100, Access::Allow, both, balancer)]);
    let set = inbound(&topology, "a");
    let expected = ["10.1.0.0/16", "10.9.0.0/16", HOST, "fd00:1::/48"];
    assert_eq!(shown(&named(&set, "r100").source), expected);
    assert_eq!(shown(&named(&set, "r100").destination), [HOST]);
}

#[test]
fn an_application_security_group_is_its_members_in_the_vnet() {
    let mut topology = one_vnet();
    topology.asg("Web");
    topology.asg("Empty");
    topology.nic("b", "VNet1", "Back", &["10.1.2.5"]);
    topology.nic("c", "VNet1", "Back", &["10.1.2.6"]);
    topology.vnet("VNet2", "westeurope", &["10.1.0.0/16"]);
    topology.subnet("VNet2", "Front", &["10.1.1.0/24"]);
    topology.nic("elsewhere", "VNet2", "Front", &["10.1.1.9"]);
    for nic in ["a", "b", "elsewhere"] {
        topology.join(nic, &["Web"]);
    }
    let rules = vec![
        rule(100, Access::Allow, members_of(&["Web", "Empty"]), any()),
        rule(200, Access::Deny, members_of(&["Empty"]), any()),
    ];
    topology.group("NSG", rules);
    let set = inbound(&topology, "c");
    let expected = ["10.1.1.4/32", "10.1.2.5/32", "fd00:1:0:1::4/128"];
    assert_eq!(shown(&named(&set, "r100").source), expected);
    assert!(shown(&named(&set, "r200").source).is_empty());
}
