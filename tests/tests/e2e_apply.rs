//! Templates from the command line: applied, tried out, exported, pruned.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, process::Output};

use serde_json::{Value, json};
use vnet_gw_lab::{Daemon, Lab};
use vnet_gw_tests::bed::binary;

const KEY: &str = "SuperSecretPsk42";

fn resource(kind: &str, name: &str, properties: Value) -> Value {
    json!({"type": format!("Microsoft.Network/{kind}"), "apiVersion": "2024-05-01", "name": name,
        "location": "[resourceGroup().location]", "properties": properties})
}

fn id(kind: &str, names: &str) -> Value {
    json!({"id": format!("[resourceId('Microsoft.Network/{kind}', {names})]")})
}

/// Two peered networks, a route table and a security group; a site behind a gateway.
fn template() -> Value {
    let peering = |name: &str, remote: &str| {
        let remote = format!("'{remote}'");
        resource(
            "virtualNetworks/virtualNetworkPeerings",
            name,
            json!({"remoteVirtualNetwork": id("virtualNetworks", &remote), "allowForwardedTraffic": true}),
        )
    };
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "psk": {"type": "securestring"},
            "third": {"type": "int", "defaultValue": 3},
        },
        "resources": [
            resource("routeTables", "ToSite", json!({"routes": [{"name": "none", "properties": {
                "addressPrefix": "192.0.2.0/24", "nextHopType": "None"}}]})),
            resource("networkSecurityGroups", "Rules", json!({"securityRules": []})),
            resource("virtualNetworks", "VNet1", json!({
                "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
                "subnets": [
                    {"name": "FrontEnd", "properties": {
                        "addressPrefix": "[format('10.1.{0}.0/24', parameters('third'))]",
                        "routeTable": id("routeTables", "'ToSite'")}},
                    {"name": "GatewaySubnet", "properties": {"addressPrefix": "10.1.255.0/27"}},
                ]})),
            resource("virtualNetworks", "VNet4", json!({"addressSpace": {"addressPrefixes": ["10.4.0.0/16"]},
                "subnets": [{"name": "FrontEnd", "properties": {"addressPrefix": "10.4.0.0/24"}}]})),
            peering("VNet1/to-4", "VNet4"),
            peering("VNet4/to-1", "VNet1"),
            resource("publicIPAddresses", "GwIp", json!({"publicIPAllocationMethod": "Static"})),
            resource("virtualNetworkGateways", "Gw", json!({
                "gatewayType": "Vpn", "vpnType": "RouteBased", "sku": {"name": "VpnGw1", "tier": "VpnGw1"},
                "ipConfigurations": [{"name": "one", "properties": {
                    "subnet": id("virtualNetworks/subnets", "'VNet1', 'GatewaySubnet'"),
                    "publicIPAddress": id("publicIPAddresses", "'GwIp'")}}]})),
            resource("localNetworkGateways", "Site", json!({"gatewayIpAddress": "198.51.100.1",
                "localNetworkAddressSpace": {"addressPrefixes": ["192.168.0.0/16"]}})),
            resource("connections", "ToSite", json!({
                "connectionType": "IPsec", "sharedKey": "[parameters('psk')]",
                "virtualNetworkGateway1": id("virtualNetworkGateways", "'Gw'"),
                "localNetworkGateway2": id("localNetworkGateways", "'Site'")})),
        ],
        "outputs": {"address": {"type": "string", "value": "[reference('GwIp').ipAddress]"}},
    })
}

struct Bed {
    daemon: Daemon,
    lab: Lab,
}

impl Bed {
    fn new(name: &str) -> Self {
        let lab = Lab::new().unwrap();
        let host = lab.namespace("host").unwrap();
        let instance = lab.instance(name).unwrap();
        let binary = binary("vnet-gw").unwrap();
        let nothing = json!({"resources": []});
        let pool = ["--public-ip-pool", "203.0.113.8/30"];
        let daemon = Daemon::start(&lab, &binary, &host, instance, &nothing, &pool).unwrap();
        Self { daemon, lab }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.lab.dir().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, line: &[&str]) -> Output {
        self.daemon.output(line).unwrap()
    }

    /// What it prints, where it succeeds.
    #[track_caller]
    fn good(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line:?}: {said}");
        hides(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says, where it fails.
    #[track_caller]
    fn bad(&self, line: &[&str]) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        hides(&output);
        String::from_utf8(output.stderr).unwrap()
    }

    /// How many resources are to be changed in which way.
    #[track_caller]
    fn changes(&self, line: &[&str]) -> Vec<(String, usize)> {
        let told = self.daemon.json(line).unwrap();
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for change in told["changes"].as_array().unwrap() {
            let kind = change["changeType"].as_str().unwrap();
            match kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, number)) => *number += 1,
                None => kinds.push((kind.to_owned(), 1)),
            }
        }
        kinds.sort();
        kinds
    }

    fn end(mut self) {
        let ended = self.daemon.terminate(nix::sys::signal::Signal::SIGTERM);
        assert!(ended.unwrap().success());
        hides_text(&self.daemon.log());
        self.daemon.output(&["down"]).unwrap();
    }
}

#[track_caller]
fn hides_text(text: &str) {
    assert!(!text.contains(KEY), "{text}");
}

#[track_caller]
fn hides(output: &Output) {
    hides_text(&String::from_utf8_lossy(&output.stdout));
    hides_text(&String::from_utf8_lossy(&output.stderr));
}

fn kinds(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    let owned = expected.iter();
    owned
        .map(|(kind, number)| ((*kind).to_owned(), *number))
        .collect()
}

#[test]
fn a_template_is_tried_applied_exported_and_pruned() {
    let bed = Bed::new("apply");
    let file = bed.file("site.json", &format!("// The site.\n{:#}", template()));
    let file = file.to_str().unwrap();
    let psk = format!("psk=@{}", bed.file("psk", &format!("{KEY}\n")).display());
    let first = ["apply", file, "-g", "site", "-p", &psk];

    // Tried out, also where the group is not there yet; nothing changes.
    let mut trying = first.to_vec();
    trying.push("--what-if");
    let told = bed.good(&trying);
    assert!(told.contains("group site is yet to be made"), "{told}");
    assert!(
        told.contains("+ Microsoft.Network/virtualNetworks/VNet1\n"),
        "{told}"
    );
    assert!(
        told.contains("8 would be created, 0 would be changed"),
        "{told}"
    );
    assert!(
        bed.bad(&["export", "-g", "site"])
            .contains("ResourceGroupNotFound")
    );

    // Applied, and again.
    let told = bed.good(&first);
    assert!(told.contains("8 created, 0 changed, 0 deleted"), "{told}");
    assert!(told.contains("address = 203.0.113."), "{told}");
    let subnet = ["effective-routes", "--subnet", "site/VNet1/FrontEnd"];
    let routes = bed.daemon.json(&subnet).unwrap().to_string();
    assert!(
        routes.contains("192.0.2.0/24") && routes.contains("10.4.0.0/16"),
        "{routes}"
    );
    assert_eq!(bed.changes(&trying), kinds(&[("NoChange", 8)]));
    let told = bed.good(&first);
    assert!(
        told.contains("0 created, 0 changed, 0 deleted; 8 resources unchanged"),
        "{told}"
    );

    // A parameter changes one property.
    let mut changed = first.to_vec();
    changed.extend(["-p", "third=5"]);
    let mut what_if = vec!["what-if"];
    what_if.extend(&changed[1..]);
    let told = bed.good(&what_if);
    assert!(
        told.contains("\"10.1.3.0/24\" => \"10.1.5.0/24\""),
        "{told}"
    );
    bed.good(&changed);

    // The export changes nothing, and has no key; a connection keeps its own.
    let export = bed.lab.dir().join("export.json");
    let export = export.to_str().unwrap();
    bed.good(&["export", "-g", "site", "--out", export]);
    let exported = fs::read_to_string(export).unwrap();
    hides_text(&exported);
    let again = ["what-if", export, "-g", "site", "--prune"];
    assert_eq!(bed.changes(&again), kinds(&[("NoChange", 8)]));

    // Without a resource: it stays, or goes.
    let mut fewer = template();
    let resources = fewer["resources"].as_array_mut().unwrap();
    resources.retain(|one| one["name"] != "Rules");
    let fewer = bed.file("fewer.json", &fewer.to_string());
    let fewer = fewer.to_str().unwrap();
    let plain = ["apply", fewer, "-g", "site", "-p", &psk, "-p", "third=5"];
    let mut prune = plain.to_vec();
    prune.push("--prune");
    let mut trying = prune.clone();
    trying.push("--what-if");
    assert_eq!(
        bed.changes(&trying),
        kinds(&[("Delete", 1), ("NoChange", 7)])
    );
    bed.good(&plain);
    assert!(
        bed.good(&["export", "-g", "site"])
            .contains("networkSecurityGroups")
    );
    let told = bed.good(&prune);
    assert!(
        told.contains("- Microsoft.Network/networkSecurityGroups/Rules\n"),
        "{told}"
    );
    assert!(
        !bed.good(&["export", "-g", "site"])
            .contains("networkSecurityGroups")
    );

    // All of it gone, and made anew of the export: it exports as before.
    let empty = bed.file("empty.json", r#"{"resources": []}"#);
    bed.good(&["apply", empty.to_str().unwrap(), "-g", "site", "--prune"]);
    assert_eq!(
        bed.good(&["export", "-g", "site"])
            .matches("apiVersion")
            .count(),
        0
    );
    let key = psk.replace("psk=", "key_ToSite=");
    bed.good(&["apply", export, "-g", "site", "-p", &key]);
    assert_eq!(bed.good(&["export", "-g", "site"]), exported);
    let shown = bed.run(&["connection", "shared-key", "show", "site/ToSite"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), KEY);
    bed.end();
}

#[test]
fn what_does_not_hold_is_told_and_changes_nothing() {
    let bed = Bed::new("applybad");
    let file = bed.file("t.json", &template().to_string());
    let file = file.to_str().unwrap();
    let inline = format!("psk={}", "not-for-here");
    assert!(
        bed.bad(&["apply", file, "-p", &inline])
            .contains("psk=@FILE")
    );
    assert!(bed.bad(&["apply", file]).contains("'psk'"));
    assert!(
        bed.bad(&["apply", "/nowhere.json"])
            .contains("/nowhere.json")
    );
    let text = bed.file("text.json", "{\n  \"resources\": [}\n");
    assert!(
        bed.bad(&["apply", text.to_str().unwrap()])
            .contains("line 2, column 17")
    );
    let circle = |name: &str, on: &str| {
        let mut one = resource("routeTables", name, json!({}));
        one["dependsOn"] = json!([on]);
        one
    };
    let circle = json!({"resources": [circle("A", "B"), circle("B", "A")]});
    let circle = bed.file("circle.json", &circle.to_string());
    assert!(
        bed.bad(&["apply", circle.to_str().unwrap()])
            .contains("Circular dependency")
    );
    // One of two is good.
    let two = json!({"resources": [
        resource("routeTables", "Good", json!({})),
        resource("virtualNetworks/subnets", "None/S", json!({"addressPrefix": "10.0.0.0/24"})),
    ]});
    let two = bed.file("two.json", &two.to_string());
    assert!(
        bed.bad(&["apply", two.to_str().unwrap()])
            .contains("ParentResourceNotFound")
    );
    assert!(bed.bad(&["export"]).contains("ResourceGroupNotFound"));
    bed.end();
}
