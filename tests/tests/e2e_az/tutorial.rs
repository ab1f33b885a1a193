//! One host built by the CLI, the other by the SDK: what they built must fit together, or no packet
//! gets through.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::{
    Lab, Underlay, Workload,
    probe::{Outcome, Ping, tcp},
};

use super::{
    build::{PUBLIC, by_az, for_sdk, to_delete},
    host::{GROUP, Host},
    shapes,
};

/// For tunnels and ports on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const TRANSFER: u64 = 1 << 20;

#[test]
fn the_cli_and_the_sdk_build_the_tutorial_and_packets_cross() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let west = Host::start(&lab, &underlay, "west", &PUBLIC[0], &[]).unwrap();
    let east = Host::start(&lab, &underlay, "east", &PUBLIC[1], &[]).unwrap();
    by_az(&west).unwrap();
    let built = east.az.python("build.py", &for_sdk()).unwrap();
    for resource in built.as_array().unwrap() {
        assert_eq!(
            resource["properties"]["provisioningState"], "Succeeded",
            "{resource:#}"
        );
    }

    let one = west.plug(&lab, "VNet1", "vm1").unwrap();
    let five = west.plug(&lab, "VNet5", "vm5").unwrap();
    let four = east.plug(&lab, "VNet4", "vm4").unwrap();
    reach(&one, &five);
    let show = [
        "network",
        "vpn-connection",
        "show",
        "-g",
        GROUP,
        "--name",
        "VNet1-to-VNet4",
    ];
    let connection = until(
        || west.az.json(&show).unwrap(),
        |shown| {
            let up = |one: &&Value| one["connectionStatus"] == "Connected";
            let tunnels = shown["tunnelConnectionStatus"].as_array();
            tunnels.into_iter().flatten().filter(up).count() == 4
        },
    );
    let gateways = ["VNet1-GW", "VNet4-GW"];
    let pattern = shapes::connection("VNet1-to-VNet4", "eastus", gateways, "Connected");
    west.look("az network vpn-connection show", &connection, &pattern);
    reach(&one, &four);
    reach(&four, &one);
    // A peering is not transitive: VNet5 does not come to VNet4 by VNet1's gateway.
    let ping = Ping {
        patience: Duration::from_millis(300),
        ..Ping::new(four.ipv4().unwrap())
    };
    let outcome = ping.send(&five.netns).unwrap();
    assert!(!matches!(outcome, Outcome::Reply { .. }), "{outcome}");

    let after = until(
        || west.az.json(&show).unwrap(),
        |shown| {
            let bytes = |name: &str| shown[name].as_u64().unwrap_or(0);
            let least = TRANSFER;
            bytes("ingressBytesTransferred") > least && bytes("egressBytesTransferred") > least
        },
    );
    west.look("az network vpn-connection show", &after, &pattern);
    routes(&west);
    groups(&west);
    reach(&one, &five);
    ike_sas(&west);
    for host in [&west, &east] {
        survey(host);
    }
    west.assert_like_azure();
    remove(&west, &east);
    let ping = Ping {
        patience: Duration::from_millis(300),
        ..Ping::new(five.ipv4().unwrap())
    };
    let outcome = ping.send(&one.netns).unwrap();
    assert!(!matches!(outcome, Outcome::Reply { .. }), "{outcome}");
}

/// Ping (a port may take a moment to come up) and TCP.
fn reach(from: &Workload, to: &Workload) {
    let address = to.ipv4().unwrap();
    until(
        || Ping::new(address).send(&from.netns).unwrap(),
        |outcome| matches!(outcome, Outcome::Reply { .. }),
    );
    let transfer = tcp::transfer(&from.netns, &to.netns, address, TRANSFER * 2).unwrap();
    assert!(transfer.is_some(), "TCP {} → {}", from.name, to.name);
}

fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, done: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if done(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {answer:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The effective routes of a NIC, as `az` shows them.
fn routes(host: &Host) {
    let ask = |nic: &str, more: &[&str]| {
        let mut args = vec!["network", "nic", "show-effective-route-table", "-g", GROUP];
        args.extend(["--name", nic]);
        args.extend(more);
        host.az.run(&args).unwrap()
    };
    let of = |nic: &str| -> Value { serde_json::from_str(&ask(nic, &[])).unwrap() };
    let gateway: Vec<&str> = PUBLIC[0].to_vec();
    let expected = [
        (
            "vm1",
            shapes::row("Default", "10.1.0.0/16", "VnetLocal", &[]),
        ),
        (
            "vm1",
            shapes::row("Default", "10.5.0.0/16", "VNetPeering", &[]),
        ),
        ("vm1", shapes::row("Default", "0.0.0.0/0", "Internet", &[])),
        ("vm1", shapes::row("Default", "192.168.0.0/16", "None", &[])),
        (
            "vm1",
            shapes::row(
                "VirtualNetworkGateway",
                "10.4.0.0/16",
                "VirtualNetworkGateway",
                &gateway,
            ),
        ),
        ("vm5", shapes::row("User", "10.9.0.0/16", "None", &[])),
    ];
    let tables = [("vm1", of("vm1")), ("vm5", of("vm5"))];
    for (nic, pattern) in expected {
        let table = &tables.iter().find(|(name, _)| *name == nic).unwrap().1;
        let mut rows = table["value"].as_array().unwrap().iter();
        let row = rows.find(|row| row["addressPrefix"] == pattern["addressPrefix"]);
        let row = row.unwrap_or_else(|| panic!("{pattern} in {table:#}"));
        host.look(nic, row, &pattern);
    }
    let table = ask("vm1", &["--output", "table"]);
    assert!(
        table.contains("VNetPeering") && table.contains("Next Hop Type"),
        "{table}"
    );
}

/// A group comes to a subnet, and is shown with what its rules come to for a NIC there.
fn groups(host: &Host) {
    let ask = |nic: &str| -> Value {
        let ask = [
            "network",
            "nic",
            "list-effective-nsg",
            "-g",
            GROUP,
            "--name",
            nic,
        ];
        host.az.json(&ask).unwrap()
    };
    let mut update = vec!["network", "vnet", "subnet", "update", "-g", GROUP];
    update.extend(["--vnet-name", "VNet5", "--name", "FrontEnd"]);
    update.extend(["--network-security-group", "nsg"]);
    host.az.run(&update).unwrap();
    assert_eq!(ask("vm1"), json!({"value": []}));
    let groups = ask("vm5");
    let [group] = groups["value"].as_array().unwrap().as_slice() else {
        panic!("{groups:#}");
    };
    let pattern = shapes::effective_group("nsg", "virtualNetworks/VNet5/subnets/FrontEnd");
    host.look("az network nic list-effective-nsg", group, &pattern);
    let rules = group["effectiveSecurityRules"].as_array().unwrap();
    let rule = |name: &str| rules.iter().find(|rule| rule["name"] == name).unwrap();
    let web = rule("securityRules/web");
    assert_eq!(web["destinationPortRanges"], json!(["22-22", "80-80"]));
    // Its members are in another VNet.
    let grouped = rule("securityRules/grouped");
    assert_eq!(grouped["sourceAddressPrefixes"], json!([]));
    let vnet = &rule("defaultSecurityRules/AllowVnetInBound")["expandedSourceAddressPrefix"];
    // Its own, that of the peering, and the user route's.
    let expected = [
        "10.1.0.0/16",
        "10.5.0.0/16",
        "10.9.0.0/16",
        "168.63.129.16/32",
    ];
    assert_eq!(*vnet, json!(expected));
    assert_eq!(group["tagMap"]["VirtualNetwork"], *vnet);
    let delete = ["network", "nsg", "delete", "-g", GROUP, "--name", "nsg"];
    let said = host.az.refused(&delete).unwrap();
    assert!(
        said.contains("InUseNetworkSecurityGroupCannotBeDeleted"),
        "{said}"
    );
}

fn ike_sas(host: &Host) {
    let args = ["network", "vpn-connection", "list-ike-sas", "-g", GROUP];
    let mut args = args.to_vec();
    args.extend(["--name", "VNet1-to-VNet4"]);
    let text = host.az.json(&args).unwrap();
    let sas: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    let sas = sas.as_array().unwrap();
    assert_eq!(sas.len(), 4, "{sas:#?}");
    for sa in sas {
        for part in [
            "localEndpoint",
            "remoteEndpoint",
            "encryption",
            "dhGroup",
            "quickModeSa",
        ] {
            assert!(!sa[part].is_null(), "{part}: {sa:#}");
        }
    }
    // Both clients gave the same key.
    let args = [
        "network",
        "vpn-connection",
        "shared-key",
        "show",
        "-g",
        GROUP,
    ];
    let mut args = args.to_vec();
    args.extend(["--connection-name", "VNet1-to-VNet4"]);
    let key = host.az.json(&args).unwrap();
    assert_eq!(key["value"], super::build::KEY, "{key:#}");
}

/// Everything there is, by the SDK's models.
fn survey(host: &Host) {
    let seen = host
        .az
        .python("survey.py", &json!({"group": GROUP}))
        .unwrap();
    let lines: Vec<&str> = seen["deviations"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(lines.is_empty(), "{}:\n{}", host.name, lines.join("\n"));
    let count = |of: &str| seen["resources"][of].as_array().map_or(0, Vec::len);
    for (of, number) in [
        ("virtual_networks", 3),
        ("subnets", 5),
        ("virtual_network_peerings", 2),
        ("public_ip_addresses", 4),
        ("virtual_network_gateways", 2),
        ("virtual_network_gateway_connections", 2),
        ("network_interfaces", 3),
        ("route_tables", 1),
        ("routes", 1),
        ("security_rules", 2),
        ("default_security_rules", 6),
    ] {
        assert_eq!(count(of), number, "{}: {of}", host.name);
    }
    let connections = seen["resources"]["virtual_network_gateway_connections"].as_array();
    let own = connections.unwrap().iter().filter(|one| {
        one["properties"]["connectionStatus"] == "Connected"
            && one["properties"]["ingressBytesTransferred"].as_u64() > Some(TRANSFER)
    });
    assert_eq!(own.count(), 1, "{}: {connections:#?}", host.name);
}

/// What is in use stays; then one after the other, and what is left with its group.
fn remove(west: &Host, east: &Host) {
    let args = ["network", "vnet", "delete", "-g", GROUP, "--name", "VNet1"];
    let said = west.az.refused(&args).unwrap();
    assert!(said.contains("InUseSubnetCannotBeDeleted"), "{said}");
    for (kind, _, names) in to_delete() {
        let mut args = vec!["network"];
        args.extend(kind.split(' '));
        args.extend(["delete", "-g", GROUP, "--name"]);
        args.push(names[names.len() - 1]);
        let parent = match kind {
            "vnet peering" | "vnet subnet" => Some("--vnet-name"),
            "route-table route" => Some("--route-table-name"),
            "nsg rule" => Some("--nsg-name"),
            _ => None,
        };
        if let Some(parent) = parent {
            args.extend([parent, names[0]]);
        }
        west.az.run(&args).unwrap();
    }
    assert_eq!(
        west.az.json(&["resource", "list", "-g", GROUP]).unwrap(),
        json!([])
    );
    west.az
        .run(&["group", "delete", "--name", GROUP, "--yes"])
        .unwrap();
    assert_eq!(
        west.az
            .run(&["group", "exists", "--name", GROUP])
            .unwrap()
            .trim(),
        "false"
    );
    let ports = west.daemon.json(&["ports"]).unwrap();
    let mut ports = ports["value"].as_array().unwrap().iter();
    // What is left leads to the internet.
    assert!(ports.all(|port| port["networkInterface"] == "internet"));

    let resources: Vec<Value> = to_delete()
        .into_iter()
        .map(|(_, operations, names)| json!([operations, names]))
        .collect();
    let left = json!({"group": GROUP, "resources": resources});
    assert_eq!(east.az.python("remove.py", &left).unwrap(), json!([]));
    let gone = east.raw("virtualNetworks/VNet4").unwrap_err().to_string();
    assert!(gone.contains("ResourceGroupNotFound"), "{gone}");
}
