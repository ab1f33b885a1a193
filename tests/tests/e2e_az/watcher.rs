//! What `az` says becomes of packets, what `vnet-gw` predicts, and what the wire does: one answer.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::{Lab, Underlay, Workload};

use super::host::{GROUP, Host, id};

/// For a connection that nobody answers.
const PATIENCE: Duration = Duration::from_millis(700);

/// Two peered networks; what `web` sends to 10.9.0.0/16 goes nowhere.
fn template() -> Value {
    let location = "eastus";
    let network = |name: &str, space: &str, prefix: &str, other: &str, more: Value| {
        let mut subnet = json!({"addressPrefix": prefix});
        if let (Some(subnet), Value::Object(more)) = (subnet.as_object_mut(), more) {
            subnet.extend(more);
        }
        let remote = id(&format!("virtualNetworks/{other}"));
        json!({
            "type": "Microsoft.Network/virtualNetworks", "apiVersion": "2024-05-01",
            "name": name, "location": location,
            "properties": {
                "addressSpace": {"addressPrefixes": [space]},
                "subnets": [{"name": "a", "properties": subnet}],
                "virtualNetworkPeerings": [{"name": "p", "properties": {
                    "remoteVirtualNetwork": {"id": remote}, "allowVirtualNetworkAccess": true,
                }}],
            },
        })
    };
    let interface = |name: &str, vnet: &str, address: &str| {
        json!({
            "type": "Microsoft.Network/networkInterfaces", "apiVersion": "2024-05-01",
            "name": name, "location": location, "tags": {"vnet-gw:device": name},
            "properties": {"ipConfigurations": [{"name": "one", "properties": {
                "subnet": {"id": id(&format!("virtualNetworks/{vnet}/subnets/a"))},
                "privateIPAllocationMethod": "Static", "privateIPAddress": address,
            }}]},
        })
    };
    let table = json!({"routeTable": {"id": id("routeTables/rt")}});
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [
            {"type": "Microsoft.Network/routeTables", "apiVersion": "2024-05-01", "name": "rt",
                "location": location, "properties": {"routes": [{"name": "black", "properties": {
                    "addressPrefix": "10.9.0.0/16", "nextHopType": "None"}}]}},
            network("V1", "10.1.0.0/16", "10.1.0.0/24", "V2", table),
            network("V2", "10.2.0.0/16", "10.2.0.0/24", "V1", json!({})),
            interface("web", "V1", "10.1.0.4"),
            interface("db", "V2", "10.2.0.4"),
        ],
    })
}

/// Whether the other end's kernel answers, be it with a refusal.
fn reached(from: &Workload, to: &str, port: u16) -> bool {
    let to = SocketAddr::new(to.parse().unwrap(), port);
    let connected = from
        .netns
        .enter(|| TcpStream::connect_timeout(&to, PATIENCE));
    match connected.unwrap() {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

#[test]
fn az_the_prediction_and_the_wire_agree() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let host = Host::start(
        &lab,
        &underlay,
        "watched",
        &["203.0.113.1"],
        &["--internet", "off"],
    );
    let host = host.unwrap();
    let group = ["group", "create", "--name", GROUP, "--location", "eastus"];
    host.az.run(&group).unwrap();
    let file = lab.dir().join("watched.json");
    std::fs::write(&file, template().to_string()).unwrap();
    let file = file.to_str().unwrap();
    let deploy = [
        "deployment",
        "group",
        "create",
        "-g",
        GROUP,
        "--template-file",
        file,
    ];
    host.az.run(&deploy).unwrap();
    let web = host.plug(&lab, "V1", "web").unwrap();
    let _db = host.plug(&lab, "V2", "db").unwrap();
    // Ports take a moment to come up.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached(&web, "10.2.0.4", 80) {
        assert!(Instant::now() < deadline, "web never reached db");
        thread::sleep(Duration::from_millis(100));
    }
    flows(&host);
    next_hops(&host, &web);
    hops(&host);
    rules(&host);
}

/// No group holds for it: everything is allowed, and no rule says so.
fn flows(host: &Host) {
    let told = host
        .az
        .json(&[
            "network",
            "watcher",
            "test-ip-flow",
            "-g",
            GROUP,
            "--vm",
            "db",
            "--direction",
            "Inbound",
            "--protocol",
            "TCP",
            "--local",
            "10.2.0.4:22",
            "--remote",
            "10.1.0.4:*",
        ])
        .unwrap();
    assert_eq!(told, json!({"access": "Allow"}));
    let near = [
        "ip-flow-verify",
        "--nic",
        "db",
        "--direction",
        "inbound",
        "--local",
        "10.2.0.4:22",
    ];
    let near = [&near[..], &["--remote", "10.1.0.4"]].concat();
    assert_eq!(host.daemon.json(&near).unwrap(), told);
}

/// `vnet-gw why --from web`, and whether its exit code is that of what arrives.
fn why(host: &Host, more: &[&str]) -> (bool, Value) {
    let mut all = vec!["why", "--from", "web", "--output", "json"];
    all.extend(more);
    let output = host.daemon.command(&all).output().unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.success(), told)
}

fn next_hops(host: &Host, web: &Workload) {
    let table = host
        .az
        .json(&[
            "network",
            "nic",
            "show-effective-route-table",
            "-g",
            GROUP,
            "--name",
            "web",
        ])
        .unwrap();
    for (destination, prefix, kind, table_id, arrives) in [
        (
            "10.2.0.4",
            "10.2.0.0/16",
            "VNetPeering",
            "System Route".to_owned(),
            true,
        ),
        (
            "10.9.0.1",
            "10.9.0.0/16",
            "None",
            id("routeTables/rt"),
            false,
        ),
        (
            "192.0.2.1",
            "0.0.0.0/0",
            "Internet",
            "System Route".to_owned(),
            false,
        ),
    ] {
        let told = host
            .az
            .json(&[
                "network",
                "watcher",
                "show-next-hop",
                "-g",
                GROUP,
                "--vm",
                "web",
                "--source-ip",
                "10.1.0.4",
                "--dest-ip",
                destination,
            ])
            .unwrap();
        assert_eq!(told["nextHopType"], kind, "{destination}");
        assert_eq!(told["routeTableId"], json!(table_id), "{destination}");
        let mut rows = table["value"].as_array().unwrap().iter();
        let row = rows
            .find(|row| row["addressPrefix"] == json!([prefix]))
            .unwrap();
        assert_eq!(row["nextHopType"], kind);
        let (good, predicted) = why(host, &["--to", destination, "--port", "80"]);
        assert_eq!(good, arrives, "{predicted:#}");
        assert_eq!(reached(web, destination, 80), arrives, "{destination}");
    }
}

fn hops(host: &Host) {
    let check = |port: &str| {
        host.az
            .json(&[
                "network",
                "watcher",
                "test-connectivity",
                "-g",
                GROUP,
                "--source-resource",
                "web",
                "--dest-resource",
                "db",
                "--dest-port",
                port,
                "--protocol",
                "Tcp",
            ])
            .unwrap()
    };
    let open = check("80");
    assert_eq!(open["connectionStatus"], "Connected", "{open:#}");
    let kinds: Vec<&Value> = open["hops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| &hop["type"])
        .collect();
    assert_eq!(kinds, ["Source", "VirtualMachine"]);
}

fn rules(host: &Host) {
    let view = host
        .az
        .json(&[
            "network",
            "watcher",
            "show-security-group-view",
            "-g",
            GROUP,
            "--vm",
            "db",
        ])
        .unwrap();
    assert_eq!(
        view["networkInterfaces"][0]["id"],
        json!(id("networkInterfaces/db"))
    );
    let resources = host
        .az
        .json(&["network", "watcher", "show-topology", "-g", GROUP])
        .unwrap();
    let resources = resources["resources"].as_array().unwrap();
    let names: Vec<&str> = resources
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["V1", "a", "V2", "a", "db", "web", "db", "web"]);
}
