//! The rules of network interfaces, each with its code and its target.

use serde_json::{Value, json};

use crate::support::{configuration, good, id, nic, parse, refused, resource, vnet, with};

const FRONT_END: &str = "VNet1/FrontEnd";

fn vnet1() -> Value {
    vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    )
}

fn dual_stack() -> Value {
    let subnet = json!({"addressPrefixes": ["10.1.0.0/24", "fd00:1::/64"]});
    let network = vnet(
        "VNet1",
        &["10.1.0.0/16", "fd00:1::/48"],
        &[("FrontEnd", "")],
        &[],
    );
    with(network, "/properties/subnets/0/properties", subnet)
}

#[test]
fn static_addresses() {
    for (address, code) in [
        ("10.1.1.4", "PrivateIPAddressNotInSubnet"),
        ("10.1.0.0", "PrivateIPAddressInReservedRange"),
        ("10.1.0.3", "PrivateIPAddressInReservedRange"),
        ("10.1.0.255", "PrivateIPAddressInReservedRange"),
    ] {
        refused(
            &[vnet1(), nic("nic1", FRONT_END, address)],
            code,
            "networkInterfaces/nic1",
        );
    }
    good(&[
        vnet1(),
        nic("nic1", FRONT_END, "10.1.0.4"),
        nic("nic2", FRONT_END, "10.1.0.254"),
    ]);
    let error = refused(
        &[
            vnet1(),
            nic("nic1", FRONT_END, "10.1.0.4"),
            nic("nic2", FRONT_END, "10.1.0.4"),
        ],
        "PrivateIPAddressInUse",
        "networkInterfaces/nic2",
    );
    assert!(error.message.contains("networkInterfaces/nic1"), "{error}");
    // The same address in two networks is two addresses.
    let other = vnet(
        "VNet2",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/24")],
        &[],
    );
    good(&[
        vnet1(),
        other,
        nic("a", FRONT_END, "10.1.0.4"),
        nic("b", "VNet2/FrontEnd", "10.1.0.4"),
    ]);
}

#[test]
fn dynamic_addresses_are_the_lowest_free_ones_after_the_static() {
    let network = vnet(
        "VNet1",
        &["10.1.0.0/16"],
        &[("FrontEnd", "10.1.0.0/29")],
        &[],
    );
    let kept = with(
        nic("kept", FRONT_END, "10.1.0.6"),
        "/properties/ipConfigurations/0/properties/privateIPAllocationMethod",
        json!("Dynamic"),
    );
    let lost = with(
        nic("a-lost", FRONT_END, "10.1.0.4"),
        "/properties/ipConfigurations/0/properties/privateIPAllocationMethod",
        json!("dynamic"),
    );
    let static_one = nic("static", FRONT_END, "10.1.0.4");
    let resources = [network, lost, static_one, kept];
    let topology = good(&resources);
    let address = |name: &str| {
        let interface = &topology.network_interfaces[&id(&format!("networkInterfaces/{name}"))];
        interface.ip_configurations[0]
            .private_ip_address
            .to_string()
    };
    assert_eq!(
        [address("static"), address("kept"), address("a-lost")],
        ["10.1.0.4", "10.1.0.6", "10.1.0.5"]
    );
    let mut full = resources.to_vec();
    full.push(nic("late", FRONT_END, ""));
    refused(&full, "SubnetIsFull", "networkInterfaces/late");
}

#[test]
fn ip_configurations_of_an_interface() {
    let interface = |configurations: Value| {
        resource(
            "networkInterfaces",
            "nic1",
            json!({ "ipConfigurations": configurations }),
        )
    };
    let four = configuration("four", FRONT_END, "10.1.0.4");
    let six = configuration("six", FRONT_END, "fd00:1::4");
    let primary = |value: &Value| with(value.clone(), "/properties/primary", json!(true));
    let topology = good(&[dual_stack(), interface(json!([six, four]))]);
    let names: Vec<_> = topology.network_interfaces[&id("networkInterfaces/nic1")]
        .ip_configurations
        .iter()
        .map(|c| (c.name.as_str(), c.primary))
        .collect();
    assert_eq!(names, [("four", true), ("six", false)]);
    let second = configuration("second", FRONT_END, "10.1.0.5");
    let topology = good(&[
        dual_stack(),
        interface(json!([four, six, primary(&second)])),
    ]);
    let nic1 = &topology.network_interfaces[&id("networkInterfaces/nic1")];
    assert_eq!(nic1.ip_configurations[0].name, "second");

    let nic1 = "networkInterfaces/nic1";
    for (configurations, code) in [
        (json!([six]), "NetworkInterfaceMustHaveIPv4IpConfiguration"),
        (
            json!([four, primary(&six)]),
            "IPv6IpConfigurationCannotBePrimary",
        ),
        (
            json!([primary(&four), primary(&second)]),
            "MultiplePrimaryIpConfigurations",
        ),
        (
            json!([four, configuration("FOUR", FRONT_END, "10.1.0.5")]),
            "DuplicateResourceName",
        ),
        (
            json!([configuration("a", "VNet1/Missing", "")]),
            "InvalidResourceReference",
        ),
        (
            json!([configuration("a", "VNet9/FrontEnd", "")]),
            "InvalidResourceReference",
        ),
    ] {
        refused(&[dual_stack(), interface(configurations)], code, nic1);
    }
    refused(
        &[vnet1(), interface(json!([four, six]))],
        "SubnetHasNoPrefixOfAddressFamily",
        nic1,
    );
    let elsewhere = configuration("b", "VNet2/FrontEnd", "10.2.0.4");
    let other = vnet(
        "VNet2",
        &["10.2.0.0/16"],
        &[("FrontEnd", "10.2.0.0/24")],
        &[],
    );
    let code = "IpConfigurationsOnSameNicCannotUseDifferentSubnets";
    refused(
        &[vnet1(), other, interface(json!([four, elsewhere]))],
        code,
        nic1,
    );
}

#[test]
fn mac_addresses() {
    let mac = |nic: Value, mac: &str| with(nic, "/properties/macAddress", json!(mac));
    let (a, b) = (nic("a", FRONT_END, ""), nic("b", FRONT_END, ""));
    let same = [
        vnet1(),
        mac(a.clone(), "00-0D-3A-00-00-01"),
        mac(b.clone(), "00:0d:3a:00:00:01"),
    ];
    refused(&same, "MacAddressInUse", "networkInterfaces/b");
    for bad in [
        "01-00-5e-00-00-01",
        "00-00-00-00-00-00",
        "12-34-56-78-9A-BC",
        "nonsense",
    ] {
        refused(
            &[vnet1(), mac(a.clone(), bad)],
            "InvalidMacAddress",
            "macAddress",
        );
    }
    // What is made keeps clear of what is given, and does not depend on the others.
    let made =
        good(&[vnet1(), a.clone()]).network_interfaces[&id("networkInterfaces/a")].mac_address;
    assert_eq!(made[..3], [0x00, 0x0d, 0x3a]);
    let text: Vec<String> = made.iter().map(|byte| format!("{byte:02x}")).collect();
    let topology = good(&[vnet1(), a, mac(b, &text.join(":"))]);
    assert_ne!(
        topology.network_interfaces[&id("networkInterfaces/a")].mac_address,
        made
    );
}

#[test]
fn devices() {
    let plugged = |name: &str, tags: Value| with(nic(name, FRONT_END, ""), "/tags", tags);
    let device = json!({"vnet-gw:device": "tap0"});
    let there = json!({"vnet-gw:device": "tap0", "VNET-GW:Host": "b"});
    let topology = good(&[
        vnet1(),
        plugged("a", device.clone()),
        plugged("b", there.clone()),
    ]);
    assert_eq!(
        topology.network_interfaces[&id("networkInterfaces/b")]
            .host
            .as_deref(),
        Some("b")
    );
    refused(
        &[vnet1(), plugged("a", device.clone()), plugged("b", device)],
        "DeviceInUse",
        "networkInterfaces/b",
    );
    refused(
        &[vnet1(), plugged("a", there.clone()), plugged("b", there)],
        "DeviceInUse",
        "networkInterfaces/b",
    );
    for bad in ["", "..", "lo", "a/b", "a b", "longer-than-15-bytes"] {
        let tags = json!({ "vnet-gw:device": bad });
        refused(
            &[vnet1(), plugged("a", tags)],
            "InvalidTag",
            "tags.vnet-gw:device",
        );
    }
    refused(
        &[vnet1(), plugged("a", json!({"vnet-gw:devise": "x"}))],
        "InvalidTag",
        "tags.vnet-gw:devise",
    );
    refused(
        &[with(vnet1(), "/tags", json!({"vnet-gw:device": "x"}))],
        "InvalidTag",
        "tags.vnet-gw:device",
    );
}

#[test]
fn virtual_machines() {
    let in_machine = |name: &str| {
        with(
            nic("a", FRONT_END, ""),
            "/tags",
            json!({"vnet-gw:vm": name}),
        )
    };
    let group = "/subscriptions/s/resourceGroups/g/providers";
    let id = format!("{group}/Microsoft.Compute/virtualMachines/box");
    for name in ["box", "b.o-x_1", &id] {
        good(&[vnet1(), in_machine(name)]);
    }
    let network = format!("{group}/Microsoft.Network/virtualMachines/box");
    let longer = format!("{id}/extensions/x");
    for bad in ["", " ", "a b", "/box", "-box", &network, &longer] {
        refused(&[vnet1(), in_machine(bad)], "InvalidTag", "tags.vnet-gw:vm");
    }
}

#[test]
fn everything_that_is_wrong_is_told() {
    let mut resources = vec![vnet1()];
    resources.extend((0..60).map(|n| nic(&format!("nic{n}"), FRONT_END, "10.9.9.9")));
    let error = parse(&resources).expect_err("60 errors");
    assert_eq!(error.code, "MultipleErrorsOccurred");
    assert_eq!(error.details.len(), 50);
    assert!(error.has_code("PrivateIPAddressNotInSubnet"));
    assert!(error.to_string().contains("60 things are wrong"), "{error}");
}
