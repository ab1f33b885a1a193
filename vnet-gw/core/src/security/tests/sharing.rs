//! Thousands of ports, few sets; and what does not change is not made again.

use super::*;
use crate::{
    compile::{CompileOptions, Image, compile},
    effective::tests::build::{Build, appliance, route},
};

/// Two VNets with two subnets each, all with one group that has a rule of its own.
fn topology(nics: usize) -> Topology {
    let mut topology = Topology::default();
    let many: Vec<String> = (0..100).map(|n| format!("192.0.2.{n}/32")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    topology.group(
        "NSG",
        vec![rule(100, Access::Allow, prefixes(&many), any())],
    );
    for vnet in [1, 2] {
        let name = format!("VNet{vnet}");
        topology.vnet(&name, "westeurope", &[&format!("10.{vnet}.0.0/16")]);
        for subnet in [1, 2] {
            let subnet_name = format!("s{subnet}");
            topology.subnet(&name, &subnet_name, &[&format!("10.{vnet}.{subnet}.0/24")]);
            topology.secure_subnet(&name, &subnet_name, "NSG");
            for n in 0..nics {
                let address = format!("10.{vnet}.{subnet}.{}", n + 4);
                let nic = format!("nic-{vnet}-{subnet}-{n}");
                topology.nic(&nic, &name, &subnet_name, &[&address]);
            }
        }
    }
    topology
}

fn image(topology: &Topology, previous: Option<&Image>) -> Image {
    compile(topology, &CompileOptions::default(), previous).unwrap()
}

#[test]
fn ports_of_one_vnet_share_their_sets_and_vnets_the_rules_without_tags() {
    let image = image(&topology(50), None);
    assert_eq!(image.ports.len(), 200);
    // A direction and a VNet each.
    assert_eq!(image.rule_sets.len(), 4);
    for (nic, port) in &image.ports {
        let ids = port.security.inbound.iter().chain(&port.security.outbound);
        assert_eq!(
            ids.filter(|id| image.rule_sets.contains_key(id)).count(),
            2,
            "{nic}"
        );
    }
    let inbound = image.rule_sets.values();
    let inbound = inbound.filter(|set| set.id.direction == Direction::Inbound);
    let [one, other] = *inbound.collect::<Vec<_>>() else {
        panic!("two VNets");
    };
    assert!(Arc::ptr_eq(&one.rules[0], &other.rules[0]));
    assert_ne!(one.rules[1], other.rules[1]);
}

#[test]
fn a_route_table_makes_a_place_of_its_own_if_it_adds_anything() {
    let mut topology = topology(1);
    topology.table("Empty", Vec::new());
    topology.attach("VNet1", "s1", "Empty");
    assert_eq!(image(&topology, None).rule_sets.len(), 4);
    topology.table(
        "T",
        vec![route("r", "198.51.100.0/24", appliance("10.1.2.4"))],
    );
    topology.attach("VNet1", "s2", "T");
    assert_eq!(image(&topology, None).rule_sets.len(), 6);
}

#[test]
fn what_is_equal_stays_where_it_is() {
    let mut topology = topology(2);
    let before = image(&topology, None);
    let same = image(&topology, Some(&before));
    assert_eq!(before, same);
    for (id, set) in &before.rule_sets {
        assert!(Arc::ptr_eq(set, &same.rule_sets[id]), "{id:?}");
    }
    // Another rule: the name stays, and so do the rules that were there.
    let mut rules = topology.network_security_groups[&group_id("NSG")]
        .rules
        .clone();
    rules.push(rule(200, Access::Deny, any(), any()));
    topology.group("NSG", rules);
    let edited = image(&topology, Some(&before));
    assert_eq!(edited, image(&topology, None));
    let ids = |image: &Image| image.rule_sets.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&edited));
    for (id, set) in &before.rule_sets {
        let new = &edited.rule_sets[id];
        let inbound = id.direction == Direction::Inbound;
        assert_eq!(Arc::ptr_eq(set, new), !inbound);
        assert!(Arc::ptr_eq(&set.rules[0], &new.rules[0]));
    }
    // A peering changes what the tag stands for in its two VNets, and no name.
    topology.peer("VNet1", "VNet2");
    let peered = image(&topology, Some(&edited));
    assert_eq!(ids(&edited), ids(&peered));
    assert_eq!(peered, image(&topology, None));
    assert_ne!(peered.rule_sets, edited.rule_sets);
}

#[test]
fn ports_have_the_flow_timeout_of_their_vnet() {
    let mut topology = topology(1);
    let vnet = topology
        .virtual_networks
        .get_mut(&vnet_id("VNet2"))
        .unwrap();
    vnet.flow_timeout = 30;
    let image = image(&topology, None);
    let timeout = |nic: &str| image.ports[&nic_id(nic)].flow_timeout;
    assert_eq!((timeout("nic-1-1-0"), timeout("nic-2-1-0")), (4, 30));
}

#[test]
fn what_the_data_path_does_not_take_is_told_before() {
    let mut topology = topology(1);
    let addresses = |count: u128| -> Vec<ipnet::IpNet> {
        // Each alone, or they were fewer.
        let bits = (0..count).map(|n| std::net::Ipv6Addr::from_bits((0xfd << 120) | (2 * n)));
        bits.map(|address| std::net::IpAddr::V6(address).into())
            .collect()
    };
    let mut with = |count| {
        let many = SecurityRuleAddresses::Some {
            prefixes: addresses(count),
            tag: None,
        };
        topology.group("NSG", vec![rule(100, Access::Allow, many, any())]);
        compile(&topology, &CompileOptions::default(), None)
    };
    assert!(with(65_000).is_ok());
    let error = with(66_000).unwrap_err();
    assert!(
        matches!(&error, crate::compile::CompileError::TooManyRules { group, .. } if *group == group_id("NSG")),
        "{error}"
    );
}
