//! What is shown of the groups that hold for an interface.

use super::*;
use crate::{
    effective::tests::build::Build,
    security::{Association, effective_security_groups},
};

fn topology() -> Topology {
    let mut topology = Topology::default();
    topology.vnet("VNet1", "westeurope", &["10.1.0.0/16"]);
    topology.subnet("VNet1", "Front", &["10.1.1.0/24"]);
    topology.nic("a", "VNet1", "Front", &["10.1.1.4"]);
    let tagged = with_tag(&["192.0.2.0/24"], Some(ServiceTag::VirtualNetwork));
    topology.group(
        "One",
        vec![rule(100, Access::Deny, tagged, prefixes(&["10.1.1.4/32"]))],
    );
    topology.group("Two", Vec::new());
    topology
}

/// Groups and by what they hold.
fn associations(topology: &Topology) -> Vec<(String, String)> {
    let groups = effective_security_groups(topology, &nic_id("a")).unwrap();
    let groups = groups.value.into_iter().map(|group| {
        let by = match group.association {
            Association::Subnet(subnet) => subnet.id,
            Association::NetworkInterface(nic) => nic.id,
        };
        let last = |id: &str| ResourceId::new(id).name().to_owned();
        (last(&group.network_security_group.id), last(&by))
    });
    groups.collect()
}

#[test]
fn each_group_says_by_what_it_holds() {
    let pair = |group: &str, by: &str| (group.to_owned(), by.to_owned());
    let mut topology = topology();
    assert_eq!(associations(&topology), []);
    topology.secure_nic("a", "One");
    assert_eq!(associations(&topology), [pair("One", "a")]);
    topology.secure_subnet("VNet1", "Front", "Two");
    let both = [pair("Two", "Front"), pair("One", "a")];
    assert_eq!(associations(&topology), both);
    topology.secure_subnet("VNet1", "Front", "One");
    let same = [pair("One", "Front"), pair("One", "a")];
    assert_eq!(associations(&topology), same);
    let nic = topology.network_interfaces.get_mut(&nic_id("a")).unwrap();
    nic.network_security_group = None;
    assert_eq!(associations(&topology), [pair("One", "Front")]);
}

#[test]
fn tags_are_shown_as_written_and_expanded() {
    let mut topology = topology();
    topology.secure_nic("a", "One");
    let groups = effective_security_groups(&topology, &nic_id("a")).unwrap();
    let rule = &groups.value[0].effective_security_rules[0];
    assert_eq!(rule.name, "securityRules/r100");
    assert_eq!(
        rule.source_address_prefix.as_deref(),
        Some("VirtualNetwork")
    );
    assert_eq!(
        rule.source_address_prefixes,
        ["VirtualNetwork", "192.0.2.0/24"]
    );
    let expanded = ["10.1.0.0/16", "168.63.129.16/32", "192.0.2.0/24"].map(net);
    assert_eq!(rule.expanded_source_address_prefix, expanded);
    assert_eq!(rule.destination_address_prefixes, ["10.1.1.4/32"]);
    assert_eq!(rule.expanded_destination_address_prefix, []);
    let order = groups.value[0].effective_security_rules.iter();
    let order: Vec<_> = order.map(|rule| (rule.direction, rule.priority)).collect();
    let expected = [
        (Direction::Inbound, [100, 65000, 65001, 65500].as_slice()),
        (Direction::Outbound, &[65000, 65001, 65500]),
    ];
    let expected = expected.into_iter();
    let expected = expected.flat_map(|(direction, all)| all.iter().map(move |p| (direction, *p)));
    assert_eq!(order, expected.collect::<Vec<_>>());
}
