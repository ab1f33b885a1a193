//! Network security groups and application security groups: read, checked, kept, and associated.

use serde_json::{Value, json};
use vnet_gw_core::model::{
    Access, Direction, Kind, NetworkSecurityGroup, PortRange, SecurityRuleAddresses,
    SecurityRuleProtocol, ServiceTag, VirtualNetwork,
};

use crate::{
    store::Store,
    support::{good, id, nic, refused, resource, vnet, with},
};

fn rule(name: &str, direction: &str, priority: u32) -> Value {
    json!({"name": name, "properties": {
        "access": "Allow", "direction": direction, "priority": priority, "protocol": "Tcp",
        "sourceAddressPrefix": "*", "sourcePortRange": "*",
        "destinationAddressPrefix": "10.1.0.0/16", "destinationPortRange": "22"}})
}

fn group(rules: &[Value]) -> Value {
    resource(
        "networkSecurityGroups",
        "NSG",
        json!({"securityRules": rules}),
    )
}

fn read(resource: &Value) -> NetworkSecurityGroup {
    let topology = good(std::slice::from_ref(resource));
    let kept = Store::of(std::slice::from_ref(resource)).topology;
    assert_eq!(kept, topology);
    NetworkSecurityGroup::clone(&topology.network_security_groups[&id("networkSecurityGroups/NSG")])
}

#[test]
fn rules_stand_in_the_order_in_which_they_are_asked() {
    let group = read(&group(&[
        rule("out", "outbound", 100),
        rule("late", "Inbound", 4096),
        rule("early", "Inbound", 100),
    ]));
    let order: Vec<_> = group
        .rules
        .iter()
        .map(|rule| (&*rule.name, rule.priority))
        .collect();
    assert_eq!(order, [("early", 100), ("late", 4096), ("out", 100)]);
    assert_eq!(group.rules[2].direction, Direction::Outbound);
}

#[test]
fn a_rule_holds_many_prefixes_and_ports_and_one_tag() {
    let mut many = rule("many", "Inbound", 200);
    many["properties"] = json!({
        "access": "deny", "direction": "Inbound", "priority": 200, "protocol": "*",
        "description": "d",
        "sourceAddressPrefix": "",
        "sourceAddressPrefixes": ["10.2.0.0/16", "internet", "10.1.0.4", "fd00::/48"],
        "sourcePortRanges": [],
        "sourcePortRange": "*",
        "destinationAddressPrefix": "VIRTUALNETWORK",
        "destinationAddressPrefixes": [],
        "destinationPortRanges": ["443", "80-90", "85-100"],
    });
    let group = read(&group(&[many]));
    let rule = &group.rules[0];
    assert_eq!(
        (rule.access, rule.protocol),
        (Access::Deny, SecurityRuleProtocol::Any)
    );
    let prefixes = ["10.1.0.4/32", "10.2.0.0/16", "fd00::/48"];
    assert_eq!(
        rule.source.addresses,
        SecurityRuleAddresses::Some {
            prefixes: prefixes.map(|p| p.parse().expect("a prefix")).into(),
            tag: Some(ServiceTag::Internet),
        }
    );
    assert_eq!(rule.source.ports, [PortRange::ANY]);
    assert_eq!(
        rule.destination.addresses,
        SecurityRuleAddresses::Some {
            prefixes: Vec::new(),
            tag: Some(ServiceTag::VirtualNetwork),
        }
    );
    let range = |first, last| PortRange { first, last };
    assert_eq!(rule.destination.ports, [range(80, 100), range(443, 443)]);
}

#[test]
fn a_rule_is_checked_with_azures_codes() {
    let wrong = |name: &str, value: Value| {
        group(&[with(
            rule("a", "Inbound", 100),
            &format!("/properties/{name}"),
            value,
        )])
    };
    for (name, value, code) in [
        ("priority", json!(99), "SecurityRuleInvalidPriority"),
        ("priority", json!(4097), "SecurityRuleInvalidPriority"),
        ("priority", json!("100"), "InvalidRequestFormat"),
        ("priority", Value::Null, "InvalidRequestFormat"),
        ("protocol", json!("Sctp"), "InvalidRequestFormat"),
        ("protocol", Value::Null, "InvalidRequestFormat"),
        ("direction", json!("Both"), "InvalidRequestFormat"),
        ("access", json!("Log"), "InvalidRequestFormat"),
        (
            "sourceAddressPrefix",
            json!("10.0.0.0/33"),
            "SecurityRuleInvalidAddressPrefix",
        ),
        (
            "sourceAddressPrefix",
            json!("10.0.0.1/24"),
            "SecurityRuleInvalidAddressPrefix",
        ),
        ("sourceAddressPrefix", json!("Storage"), "NotSupported"),
        ("sourceAddressPrefix", Value::Null, "InvalidRequestFormat"),
        (
            "sourceAddressPrefixes",
            json!(["10.0.0.0/8"]),
            "InvalidRequestFormat",
        ),
        (
            "destinationPortRange",
            json!("80-70"),
            "SecurityRuleInvalidPortRange",
        ),
        (
            "destinationPortRange",
            json!("65536"),
            "SecurityRuleInvalidPortRange",
        ),
        ("destinationPortRange", json!(80), "InvalidRequestFormat"),
        (
            "sourceApplicationSecurityGroups",
            json!([{"id": "ASG"}]),
            "InvalidRequestFormat",
        ),
        (
            "description",
            json!("d".repeat(141)),
            "InvalidRequestFormat",
        ),
    ] {
        let error = refused(&[wrong(name, value.clone())], code, "");
        let target = error.target.unwrap_or_default();
        assert!(
            target.starts_with("resources[0].properties.securityRules[0].properties"),
            "{name} {value}: {target}"
        );
    }
    let mut tags = rule("a", "Inbound", 100);
    tags["properties"]["sourceAddressPrefix"] = Value::Null;
    tags["properties"]["sourceAddressPrefixes"] = json!(["Internet", "VirtualNetwork"]);
    refused(
        &[group(&[tags])],
        "SecurityRuleInvalidAddressPrefix",
        "sourceAddressPrefixes[1]",
    );
}

#[test]
fn priorities_and_names_are_unique() {
    refused(
        &[group(&[
            rule("a", "Inbound", 100),
            rule("b", "Inbound", 100),
        ])],
        "SecurityRuleConflict",
        "networkSecurityGroups/NSG",
    );
    refused(
        &[group(&[
            rule("a", "Inbound", 100),
            rule("A", "Inbound", 101),
        ])],
        "DuplicateResourceName",
        "securityRules[1]",
    );
    refused(
        &[group(&[rule("a b", "Inbound", 100)])],
        "InvalidResourceName",
        "securityRules[0].name",
    );
}

#[test]
fn a_rule_at_the_top_of_a_template_replaces_that_of_its_group() {
    let child = json!({
        "type": "Microsoft.Network/networkSecurityGroups/securityRules",
        "name": "NSG/A",
        "properties": rule("a", "Inbound", 300)["properties"],
    });
    let topology = good(&[group(&[rule("a", "Inbound", 100)]), child.clone()]);
    let rules = &topology.network_security_groups[&id("networkSecurityGroups/NSG")].rules;
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].priority, 300);
    refused(&[child], "ParentResourceNotFound", "resources[0]");
}

/// A group in a region.
fn located(kind: &str, name: &str, location: &str) -> Value {
    let mut group = resource(kind, name, json!({}));
    group["location"] = json!(location);
    group
}

fn network(subnet: &str) -> Value {
    let network = vnet("VNet1", &["10.1.0.0/16"], &[(subnet, "10.1.0.0/24")], &[]);
    let pointer = "/properties/subnets/0/properties/networkSecurityGroup";
    with(network, pointer, json!({"id": "NSG"}))
}

fn interface(name: &str, vnet: &str, groups: &[&str]) -> Value {
    let groups: Vec<Value> = groups.iter().map(|id| json!({"id": id})).collect();
    with(
        nic(name, &format!("{vnet}/FrontEnd"), ""),
        "/properties/ipConfigurations/0/properties/applicationSecurityGroups",
        json!(groups),
    )
}

fn asg(name: &str) -> Value {
    resource("applicationSecurityGroups", name, json!({}))
}

#[test]
fn a_group_is_associated_with_subnets_and_interfaces() {
    let nic = with(
        nic("nic1", "VNet1/FrontEnd", ""),
        "/properties/networkSecurityGroup",
        json!({"id": "nsg"}),
    );
    let resources = [group(&[]), network("FrontEnd"), nic.clone()];
    let topology = good(&resources);
    let nsg = Some(id("networkSecurityGroups/NSG"));
    let subnet = topology.vnet_of_subnet(&id("virtualNetworks/VNet1/subnets/FrontEnd"));
    let subnet = subnet.and_then(|vnet| vnet.subnets.values().next());
    assert_eq!(
        subnet.and_then(|one| one.network_security_group.clone()),
        nsg
    );
    let interface = &topology.network_interfaces[&id("networkInterfaces/nic1")];
    assert_eq!(interface.network_security_group, nsg);
    let kept = Store::of(&resources);
    assert_eq!(
        kept.topology.network_interfaces,
        topology.network_interfaces
    );
    assert_eq!(kept.topology.virtual_networks, topology.virtual_networks);
    refused(
        &[group(&[]), network("GatewaySubnet")],
        "NetworkSecurityGroupCannotBeAttachedToGatewaySubnet",
        "networkSecurityGroup",
    );
    let plain = vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    );
    refused(
        &[plain, nic],
        "InvalidResourceReference",
        "networkInterfaces/nic1",
    );
    refused(
        &[network("FrontEnd")],
        "InvalidResourceReference",
        "subnets/FrontEnd",
    );
    let mut west = network("FrontEnd");
    west["location"] = json!("westeurope");
    refused(
        &[located("networkSecurityGroups", "NSG", "eastus"), west],
        "InvalidResourceReference",
        "networkSecurityGroups/NSG",
    );
}

#[test]
fn flows_are_flushed_and_forgotten_as_written() {
    let flushed = with(group(&[]), "/properties/flushConnection", json!(true));
    assert!(read(&flushed).flush_connection);
    assert!(!read(&group(&[])).flush_connection);
    let network = vnet("VNet1", &["10.1.0.0/16"], &[], &[]);
    let timeout = |value: Value| with(network.clone(), "/properties/flowTimeoutInMinutes", value);
    for (value, expected) in [
        (Value::Null, VirtualNetwork::FLOW_TIMEOUT),
        (json!(4), 4),
        (json!(30), 30),
    ] {
        let topology = good(&[timeout(value)]);
        let vnet = &topology.virtual_networks[&id("virtualNetworks/VNet1")];
        assert_eq!(vnet.flow_timeout, expected);
    }
    for value in [json!(3), json!(31), json!("10")] {
        refused(
            &[timeout(value)],
            "InvalidRequestFormat",
            "flowTimeoutInMinutes",
        );
    }
}

/// A rule between application security groups.
fn between(sources: &[&str], destinations: &[&str]) -> Value {
    let ids = |names: &[&str]| names.iter().map(|id| json!({"id": id})).collect::<Vec<_>>();
    json!({"name": "between", "properties": {
        "access": "Deny", "direction": "Inbound", "priority": 100, "protocol": "*",
        "sourceApplicationSecurityGroups": ids(sources), "sourcePortRange": "*",
        "sourceAddressPrefix": "", "destinationAddressPrefixes": [],
        "destinationApplicationSecurityGroups": ids(destinations), "destinationPortRange": "*"}})
}

#[test]
fn rules_and_interfaces_name_application_security_groups() {
    let network = vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    );
    let resources = [
        asg("Web"),
        asg("Data"),
        network,
        interface("nic1", "VNet1", &["web", "Data", "Web"]),
        group(&[between(&["Web", "Data"], &["Web"])]),
    ];
    let topology = good(&resources);
    let [data, web] = ["Data", "Web"].map(|name| id(&format!("applicationSecurityGroups/{name}")));
    let nic = &topology.network_interfaces[&id("networkInterfaces/nic1")];
    assert_eq!(nic.application_security_groups, [data.clone(), web.clone()]);
    let rule = &topology.network_security_groups[&id("networkSecurityGroups/NSG")].rules[0];
    let named = SecurityRuleAddresses::ApplicationSecurityGroups;
    assert_eq!(
        rule.source.addresses,
        named(vec![data.clone(), web.clone()])
    );
    assert_eq!(rule.destination.addresses, named(vec![web.clone()]));
    let kept = Store::of(&resources);
    assert_eq!(kept.topology.application_security_groups.len(), 2);
    let read = |name: &str| kept.read[&id(name)].references();
    let group = read("networkSecurityGroups/NSG");
    let named = |reference: &&vnet_gw_core::model::Reference<'_>| {
        reference.kind == Kind::ApplicationSecurityGroup && *reference.to == data
    };
    assert!(group.iter().any(|reference| named(&reference)));
    let interface = read("networkInterfaces/nic1");
    assert!(interface.iter().any(|reference| named(&reference)));
}

#[test]
fn application_security_groups_are_of_one_network_and_region() {
    let network = |name: &str, second: u8| {
        let space = format!("10.{second}.0.0/16");
        let subnet = format!("10.{second}.0.0/24");
        vnet(name, &[&space], &[("FrontEnd", &subnet)], &[])
    };
    let networks = [network("VNet1", 1), network("VNet2", 2)];
    let with_networks = |more: &[Value]| [&networks[..], more].concat();
    refused(
        &with_networks(&[
            asg("Web"),
            interface("nic1", "VNet1", &["Web"]),
            interface("nic2", "VNet2", &["Web"]),
        ]),
        "ApplicationSecurityGroupsNotInSameVirtualNetwork",
        "networkInterfaces/nic2",
    );
    let two = with_networks(&[
        asg("Web"),
        asg("Data"),
        interface("nic1", "VNet1", &["Web"]),
        interface("nic2", "VNet2", &["Data"]),
    ]);
    good(&[&two[..], &[group(&[between(&["Web"], &["Web"])])]].concat());
    refused(
        &[&two[..], &[group(&[between(&["Web"], &["Data"])])]].concat(),
        "ApplicationSecurityGroupsNotInSameVirtualNetwork",
        "networkSecurityGroups/NSG",
    );
    refused(
        &with_networks(&[interface("nic1", "VNet1", &["Web"])]),
        "InvalidResourceReference",
        "networkInterfaces/nic1",
    );
    refused(
        &[group(&[between(&["Web"], &["Web"])])],
        "InvalidResourceReference",
        "networkSecurityGroups/NSG",
    );
    let mut west = interface("nic1", "VNet1", &["Web"]);
    west["location"] = json!("westeurope");
    let mut here = network("VNet1", 1);
    here["location"] = json!("westeurope");
    refused(
        &[
            located("applicationSecurityGroups", "Web", "eastus"),
            here,
            west,
        ],
        "InvalidResourceReference",
        "networkInterfaces/nic1",
    );
    let mut two = interface("nic1", "VNet1", &["Web"]);
    let second = crate::support::configuration("second", "VNet1/FrontEnd", "10.1.0.9");
    two["properties"]["ipConfigurations"]
        .as_array_mut()
        .expect("a list")
        .push(second);
    refused(
        &with_networks(&[asg("Web"), two]),
        "AllIpConfigurationsOnANicMustBelongToTheSameApplicationSecurityGroups",
        "networkInterfaces/nic1",
    );
}
