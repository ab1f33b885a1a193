//! Network security groups: read and checked, kept, and associated with nothing.

use serde_json::{Value, json};
use vnet_gw_core::model::{
    Access, Direction, NetworkSecurityGroup, PortRange, SecurityRuleAddresses,
    SecurityRuleProtocol, ServiceTag,
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
            json!([{"id": "x"}]),
            "NotSupported",
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

#[test]
fn a_group_is_associated_with_nothing() {
    let network = |subnet: &str| {
        let network = vnet("VNet1", &["10.1.0.0/16"], &[(subnet, "10.1.0.0/24")], &[]);
        let pointer = "/properties/subnets/0/properties/networkSecurityGroup";
        with(network, pointer, json!({"id": "NSG"}))
    };
    let error = refused(
        &[group(&[]), network("FrontEnd")],
        "NotSupported",
        "networkSecurityGroup",
    );
    assert!(error.message.contains("not enforced"), "{error}");
    refused(
        &[group(&[]), network("GatewaySubnet")],
        "NetworkSecurityGroupCannotBeAttachedToGatewaySubnet",
        "networkSecurityGroup",
    );
    let interface = with(
        nic("nic1", "VNet1/FrontEnd", ""),
        "/properties/networkSecurityGroup",
        json!({"id": "NSG"}),
    );
    refused(
        &[interface],
        "NotSupported",
        "properties.networkSecurityGroup",
    );
}
