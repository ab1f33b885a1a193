//! A classic network configuration, imported into a running daemon from the command line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::{Daemon, Lab};
use vnet_gw_tests::bed::binary;

/// Two VNets that were joined through local network sites with a placeholder address.
fn netcfg() -> PathBuf {
    let core = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vnet-gw/core");
    core.join("src/netcfg/tests/vnet-to-vnet.xml")
}

fn statuses(daemon: &Daemon) -> Vec<String> {
    let shown = daemon.json(&["connections"]).unwrap();
    let rows = shown["value"].as_array().unwrap().iter();
    rows.map(|row| format!("{} {}", row["name"], row["connectionStatus"]))
        .collect()
}

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/classic";

fn get(daemon: &Daemon, path: &str) -> Value {
    let path = format!("{GROUP}/providers/Microsoft.Network/{path}");
    daemon.json(&["rest", "get", &path]).unwrap()
}

#[test]
fn networks_of_the_classic_model_come_up_connected() {
    let lab = Lab::new().unwrap();
    let host = lab.namespace("host").unwrap();
    for address in ["203.0.113.1", "203.0.113.2"] {
        host.ip(&format!("addr add {address}/32 dev lo")).unwrap();
    }
    let daemon = Daemon::start(
        &lab,
        &binary("vnet-gw").unwrap(),
        &host,
        lab.instance("import").unwrap(),
        &json!({"resources": []}),
        &[
            "--ephemeral",
            "--public-ip-pool",
            "203.0.113.1/32",
            "--public-ip-pool",
            "203.0.113.2/32",
        ],
    )
    .unwrap();
    let file = netcfg();
    let import = [
        "import-netcfg",
        file.to_str().unwrap(),
        "--apply",
        "--resource-group",
        "classic",
    ];
    let report = daemon.json(&import).unwrap();
    let changes = report["deployment"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 8, "{report:#}");

    // Gateways, addresses and a key that the file does not have: both tunnels come up.
    let wanted = [
        r#""VNet1-to-VNet2" "Connected""#,
        r#""VNet2-to-VNet1" "Connected""#,
    ];
    let deadline = Instant::now() + Duration::from_secs(30);
    while statuses(&daemon) != wanted {
        assert!(
            Instant::now() < deadline,
            "{:?}\n{}",
            statuses(&daemon),
            daemon.log()
        );
        thread::sleep(Duration::from_millis(50));
    }
    let connection = get(&daemon, "connections/VNet1-to-VNet2");
    assert_eq!(connection["properties"]["connectionStatus"], "Connected");
    assert_eq!(connection["properties"]["connectionType"], "Vnet2Vnet");
    assert_eq!(connection["properties"].get("sharedKey"), None);
    assert_eq!(get(&daemon, "localNetworkGateways")["value"], json!([]));

    // Once more changes nothing: no address moves, no tunnel goes down.
    let all = [
        "virtualNetworks",
        "publicIPAddresses",
        "virtualNetworkGateways",
    ];
    let before = all.map(|list| get(&daemon, list));
    let report = daemon.json(&import).unwrap();
    for change in report["deployment"]["changes"].as_array().unwrap() {
        assert_eq!(change["changeType"], "NoChange", "{report:#}");
    }
    assert_eq!(all.map(|list| get(&daemon, list)), before);
    assert_eq!(statuses(&daemon), wanted);

    // The template by itself is what was deployed.
    let template = lab.dir().join("template.json");
    let report = daemon
        .json(&[
            "import-netcfg",
            file.to_str().unwrap(),
            "--out",
            template.to_str().unwrap(),
        ])
        .unwrap();
    assert_eq!(report.get("deployment"), None);
    let template: Value = serde_json::from_slice(&fs::read(template).unwrap()).unwrap();
    assert_eq!(template["resources"].as_array().unwrap().len(), 8);
}

#[test]
fn what_is_no_network_configuration_is_refused_in_one_line() {
    let lab = Lab::new().unwrap();
    let file = lab.dir().join("bomb.xml");
    fs::write(&file, "<!DOCTYPE b [<!ENTITY a \"b\">]><b>&a;</b>").unwrap();
    let host = lab.namespace("host").unwrap();
    let output = host
        .command(binary("vnet-gw").unwrap())
        .arg("import-netcfg")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: ") && said.lines().count() == 1,
        "{said}"
    );
}
