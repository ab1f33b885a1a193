//! Which rule decides.

use super::*;
use crate::{
    effective::tests::build::Build,
    security::{Verdict, decide, evaluate},
};

/// A set of one rule that allows, and the last one.
fn set_of(protocol: SecurityRuleProtocol, ports: &[(u16, u16)]) -> RuleSet {
    let ranges = |ports: &[(u16, u16)]| {
        let ranges = ports.iter();
        ranges
            .map(|&(first, last)| PortRange { first, last })
            .collect()
    };
    let rule = |name: &str, access, protocol, ports| Rule {
        name: name.into(),
        priority: 100,
        access,
        protocol,
        source: RuleAddresses::Any,
        source_ports: vec![PortRange::ANY],
        destination: RuleAddresses::Any,
        destination_ports: ports,
    };
    let last = vec![PortRange::ANY];
    RuleSet {
        id: super::super::RuleSetId {
            group: group_id("NSG"),
            direction: Direction::Inbound,
            context: 1,
        },
        rules: vec![
            rule("it", Access::Allow, protocol, ranges(ports)).into(),
            rule("last", Access::Deny, SecurityRuleProtocol::Any, last).into(),
        ],
        flush_connection: false,
    }
}

fn decides(set: &RuleSet, protocol: u8, port: u16) -> bool {
    let packet = packet(protocol, "10.0.0.1", "10.0.0.2", port);
    &*evaluate(set, &packet).unwrap().name == "it"
}

#[test]
fn protocols_are_those_of_the_ip_header() {
    for (protocol, numbers) in [
        (SecurityRuleProtocol::Tcp, &[6][..]),
        (SecurityRuleProtocol::Udp, &[17]),
        (SecurityRuleProtocol::Icmp, &[1, 58]),
        (SecurityRuleProtocol::Esp, &[50]),
        (SecurityRuleProtocol::Ah, &[51]),
    ] {
        let set = set_of(protocol, &[(0, u16::MAX)]);
        for number in 0..=u8::MAX {
            assert_eq!(
                decides(&set, number, 80),
                numbers.contains(&number),
                "{number}"
            );
        }
    }
    let set = set_of(SecurityRuleProtocol::Any, &[(0, u16::MAX)]);
    assert!((0..=u8::MAX).all(|number| decides(&set, number, 80)));
}

#[test]
fn ports_are_asked_of_tcp_and_udp_alone() {
    let set = set_of(SecurityRuleProtocol::Any, &[(22, 22), (80, 90)]);
    for (port, is_in) in [
        (21, false),
        (22, true),
        (23, false),
        (79, false),
        (80, true),
        (90, true),
        (91, false),
    ] {
        for protocol in [Packet::TCP, Packet::UDP] {
            assert_eq!(decides(&set, protocol, port), is_in, "{protocol} {port}");
        }
    }
    for protocol in [Packet::ICMP, Packet::ICMPV6, Packet::ESP, Packet::AH, 132] {
        assert!(decides(&set, protocol, 0), "{protocol}");
    }
}

/// 10.1.1.4 with a group on its subnet and one of its own.
fn guarded(of_subnet: Vec<SecurityRule>, of_nic: Vec<SecurityRule>) -> Topology {
    let mut topology = Topology::default();
    topology.vnet("VNet1", "westeurope", &["10.1.0.0/16"]);
    topology.subnet("VNet1", "Front", &["10.1.1.0/24"]);
    topology.nic("a", "VNet1", "Front", &["10.1.1.4"]);
    topology.group("OfSubnet", of_subnet);
    topology.group("OfNic", of_nic);
    topology.secure_subnet("VNet1", "Front", "OfSubnet");
    topology.secure_nic("a", "OfNic");
    topology
}

/// Group and rule that decide about an inbound packet.
fn inbound_verdict(topology: &Topology, source: &str, port: u16) -> (bool, String, String) {
    let mut sets = RuleSets::new(topology, None);
    let security = sets.of_nic(&topology.network_interfaces[&nic_id("a")]);
    let all = security.inbound.iter().map(|id| &**sets.get(id).unwrap());
    let verdict = decide(all, &packet(Packet::TCP, source, "10.1.1.4", port));
    let (set, rule) = match verdict {
        Verdict::Allowed { set, rule } => (set, rule),
        Verdict::Denied { set, rule } => (set, rule.unwrap()),
        Verdict::NoGroup => panic!("no group"),
    };
    (
        verdict.is_allowed(),
        set.id.group.name().to_owned(),
        rule.name.to_string(),
    )
}

#[test]
fn the_first_that_matches_decides_and_each_group_must_allow() {
    let site = || prefixes(&["192.0.2.0/24"]);
    let mut deny = rule(150, Access::Deny, site(), any());
    deny.destination.ports = vec![PortRange {
        first: 23,
        last: 23,
    }];
    let topology = guarded(
        vec![deny, rule(200, Access::Allow, site(), any())],
        vec![rule(300, Access::Allow, prefixes(&["192.0.2.0/25"]), any())],
    );
    let decided = |source, port| {
        let (allowed, group, rule) = inbound_verdict(&topology, source, port);
        format!("{allowed} {group}/{rule}")
    };
    assert_eq!(decided("192.0.2.1", 22), "true OfNic/r300");
    assert_eq!(decided("192.0.2.1", 23), "false OfSubnet/r150");
    assert_eq!(decided("192.0.2.200", 22), "false OfNic/DenyAllInBound");
    assert_eq!(decided("198.51.100.1", 22), "false OfSubnet/DenyAllInBound");
    assert_eq!(decided("10.1.9.9", 22), "true OfNic/AllowVnetInBound");
    assert_eq!(decided("168.63.129.16", 22), "true OfNic/AllowVnetInBound");
}

#[test]
fn outbound_the_groups_are_asked_in_the_other_order() {
    let topology = guarded(Vec::new(), Vec::new());
    let mut sets = RuleSets::new(&topology, None);
    let security = sets.of_nic(&topology.network_interfaces[&nic_id("a")]);
    let names = |ids: &[super::super::RuleSetId]| {
        let names = ids.iter().map(|id| id.group.name().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&security.inbound), ["OfSubnet", "OfNic"]);
    assert_eq!(names(&security.outbound), ["OfNic", "OfSubnet"]);
    assert!(
        security
            .outbound
            .iter()
            .all(|id| id.direction == Direction::Outbound)
    );
}

#[test]
fn without_a_group_everything_is_allowed() {
    let mut topology = guarded(Vec::new(), Vec::new());
    let bare = topology.network_interfaces.get_mut(&nic_id("a")).unwrap();
    bare.network_security_group = None;
    let vnet = topology
        .virtual_networks
        .get_mut(&vnet_id("VNet1"))
        .unwrap();
    for subnet in vnet.subnets.values_mut() {
        subnet.network_security_group = None;
    }
    let mut sets = RuleSets::new(&topology, None);
    let security = sets.of_nic(&topology.network_interfaces[&nic_id("a")]);
    assert_eq!(security, Default::default());
    assert!(sets.into_sets().is_empty());
    let packet = packet(Packet::UDP, "192.0.2.1", "10.1.1.4", 1);
    assert_eq!(decide([], &packet), Verdict::NoGroup);
    assert!(decide([], &packet).is_allowed());
}
