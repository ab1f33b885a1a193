//! What `az` says becomes of packets, what `vnet-gw` predicts, and what the wire does: one answer.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::{Lab, Underlay, Workload};

use super::{
    effective,
    host::{GROUP, Host, id},
    watched,
};

/// For a connection that nobody answers.
const PATIENCE: Duration = Duration::from_millis(700);

/// Two peered networks; `db` takes no SSH, and what `web` sends to 10.9.0.0/16 goes nowhere.
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
            {"type": "Microsoft.Network/networkSecurityGroups", "apiVersion": "2024-05-01",
                "name": "guard", "location": location, "properties": {"securityRules": [
                    {"name": "no-ssh", "properties": {
                        "priority": 300, "direction": "Inbound", "access": "Deny",
                        "protocol": "Tcp", "sourceAddressPrefix": "VirtualNetwork",
                        "sourcePortRange": "*", "destinationAddressPrefix": "*",
                        "destinationPortRange": "22"}}]}},
            network("V1", "10.1.0.0/16", "10.1.0.0/24", "V2", table),
            network("V2", "10.2.0.0/16", "10.2.0.0/24", "V1", json!({})),
            interface("web", "V1", "10.1.0.4"),
            interface("db", "V2", "10.2.0.4"),
        ],
    })
}

/// Whether the other end's kernel answers, be it with a refusal.
pub(crate) fn reached(from: &Workload, to: &str, port: u16) -> bool {
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
    let captures = lab.dir().join("captures");
    std::fs::create_dir(&captures).unwrap();
    let directory = captures.display().to_string();
    let args = ["--internet", "off", "--capture-dir", &directory];
    let host = Host::start(&lab, &underlay, "watched", &["203.0.113.1"], &args).unwrap();
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
    let mut guard = vec!["network", "nic", "update", "-g", GROUP, "--name", "db"];
    guard.extend(["--network-security-group", "guard"]);
    host.az.run(&guard).unwrap();
    let web = host.plug(&lab, "V1", "web").unwrap();
    let db = host.plug(&lab, "V2", "db").unwrap();
    // Ports take a moment to come up.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached(&web, "10.2.0.4", 80) {
        assert!(Instant::now() < deadline, "web never reached db");
        thread::sleep(Duration::from_millis(100));
    }
    flows(&host, &web);
    next_hops(&host, &web);
    hops(&host, &db);
    what_there_is(&host);
    effective::rules(&host, &web, &db);
    watched::captures(&host, &web, &captures);
    watched::monitors(&host);
}

fn flows(host: &Host, web: &Workload) {
    for (port, access, rule) in [
        ("22", "Deny", "securityRules/no-ssh"),
        ("80", "Allow", "defaultSecurityRules/AllowVnetInBound"),
    ] {
        let ends = [format!("10.2.0.4:{port}"), "10.1.0.4:*".to_owned()];
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
                &ends[0],
                "--remote",
                &ends[1],
            ])
            .unwrap();
        assert_eq!(told, json!({"access": access, "ruleName": rule}));
        let near = [
            "ip-flow-verify",
            "--nic",
            "db",
            "--direction",
            "inbound",
            "--local",
            &ends[0],
        ];
        let near = [&near[..], &["--remote", "10.1.0.4"]].concat();
        let own = host.daemon.json(&near).unwrap();
        assert_eq!(
            (&own["access"], &own["ruleName"]),
            (&told["access"], &told["ruleName"])
        );
        let allowed = access == "Allow";
        assert_eq!(
            reached(web, "10.2.0.4", port.parse().unwrap()),
            allowed,
            "{port}"
        );
        let (good, why) = why(host, &["--to", "10.2.0.4", "--port", port]);
        assert_eq!(good, allowed, "{why:#}");
        if !allowed {
            assert_eq!(why["there"]["reason"], "nsg_inbound");
            let advice = why["toDo"][0].as_str().unwrap();
            assert!(advice.contains("priority below 300"), "{advice}");
        }
    }
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

fn hops(host: &Host, db: &Workload) {
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
    // Live: the guest that listens, and the same guest that does not.
    let listening = db
        .netns
        .enter(|| TcpListener::bind("10.2.0.4:80"))
        .unwrap()
        .unwrap();
    let open = check("80");
    assert_eq!(open["connectionStatus"], "Connected", "{open:#}");
    assert_eq!(
        (&open["probesSent"], &open["probesFailed"]),
        (&json!(10), &json!(0))
    );
    for latency in ["minLatencyInMs", "avgLatencyInMs", "maxLatencyInMs"] {
        assert!(open[latency].is_u64(), "{latency}: {open:#}");
    }
    drop(listening);
    let closed = check("80");
    assert_eq!(closed["connectionStatus"], "Disconnected", "{closed:#}");
    assert_eq!(closed["probesFailed"], 10);
    assert_eq!(closed["avgLatencyInMs"], Value::Null);
    assert_eq!(closed["hops"][1]["issues"][0]["type"], "GuestFirewall");
    let kinds: Vec<&Value> = open["hops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| &hop["type"])
        .collect();
    assert_eq!(kinds, ["Source", "VirtualMachine"]);
    let shut = check("22");
    assert_eq!(shut["connectionStatus"], "Disconnected", "{shut:#}");
    let issue = &shut["hops"][1]["issues"][0];
    assert_eq!(issue["type"], "NetworkSecurityRule", "{shut:#}");
    assert_eq!(issue["origin"], "Inbound");
    // They were sent, and the rule is why they failed.
    assert_eq!(
        (&shut["probesSent"], &shut["probesFailed"]),
        (&json!(10), &json!(10))
    );
}

fn what_there_is(host: &Host) {
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
