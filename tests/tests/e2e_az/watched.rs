//! Packet captures and connection monitors, as `az` asks for them.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::Workload;
use vnet_gw_tests::tshark;

use super::{
    host::{GROUP, Host, SUBSCRIPTION},
    watcher::reached,
};

const HERE: [&str; 2] = ["--location", "eastus"];

fn machine(name: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/\
         virtualMachines/{name}"
    )
}

fn ask(host: &Host, command: &[&str], rest: &[&str]) -> Value {
    let all = [&["network", "watcher"], command, rest].concat();
    let text = host.az.run(&all).unwrap();
    match text.trim() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| panic!("{all:?}: {text}")),
    }
}

/// A capture of what `web` says to `db`'s port 80, into a file below `--capture-dir`.
pub(crate) fn captures(host: &Host, web: &Workload, directory: &Path) {
    let file = directory.join("web.cap");
    let path = file.display().to_string();
    let capture = |verb: &str, rest: &[&str]| {
        let rest = [&["--name", "web"][..], rest].concat();
        ask(host, &["packet-capture", verb], &rest)
    };
    let filters = r#"[{"protocol": "TCP", "remote-ip-address": "10.2.0.4", "remote-port": "80"}]"#;
    let more = ["-g", GROUP, "--vm", "web", "--file-path", &path];
    let made = capture(
        "create",
        &[&more[..], &["--filters", filters, "--time-limit", "600"]].concat(),
    );
    assert_eq!(made["provisioningState"], "Succeeded", "{made:#}");
    assert_eq!(made["target"], machine("web"));
    assert_eq!(made["filters"][0]["protocol"], "TCP");
    let status = || capture("show-status", &HERE)["packetCaptureStatus"].clone();
    assert_eq!(status(), "Running");
    assert!(reached(web, "10.2.0.4", 80));
    // Not what the filter is for.
    assert!(reached(web, "10.2.0.4", 81));
    let stopped = capture("stop", &HERE);
    assert_eq!(stopped, Value::Null);
    assert_eq!(status(), "Stopped");
    let list = ask(host, &["packet-capture", "list"], &HERE);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
    let shown = capture("show", &HERE);
    assert_eq!(shown, list[0]);
    assert_eq!(shown["storageLocation"]["filePath"], path);
    // A SYN there, a reset back.
    assert_eq!(tshark::read(&file).unwrap().len(), 2);
    capture("delete", &HERE);
    let list = ask(host, &["packet-capture", "list"], &HERE);
    assert_eq!(list, json!([]));
    assert!(file.exists(), "a capture's file is its owner's");
}

/// Probes on a schedule; `db` takes no SSH.
pub(crate) fn monitors(host: &Host) {
    let monitor = |verb: &str, name: &str, rest: &[&str]| {
        let rest = [&["--name", name][..], &HERE, rest].concat();
        ask(host, &["connection-monitor", verb], &rest)
    };
    let source = machine("web");
    let ends = [
        "--endpoint-source-name",
        "web",
        "--endpoint-source-resource-id",
        &source,
    ];
    let to = [
        "--endpoint-dest-name",
        "db",
        "--endpoint-dest-address",
        "10.2.0.4",
    ];
    for (name, test) in [
        ("ping", &["--protocol", "Icmp"][..]),
        ("ssh", &["--protocol", "Tcp", "--tcp-port", "22"]),
    ] {
        let test = [test, &["--test-config-name", name, "--frequency", "10"]].concat();
        let made = monitor("create", name, &[&ends[..], &to, &test].concat());
        assert_eq!(made["monitoringStatus"], "Running", "{made:#}");
        assert_eq!(made["provisioningState"], "Succeeded");
    }
    let list = ask(host, &["connection-monitor", "list"], &HERE);
    assert_eq!(list.as_array().unwrap().len(), 2, "{list:#}");
    for (name, state) in [("ping", "Reachable"), ("ssh", "Unreachable")] {
        let deadline = Instant::now() + Duration::from_secs(30);
        let found = loop {
            let found = monitor("query", name, &[]);
            if found["states"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
            {
                break found;
            }
            assert!(Instant::now() < deadline, "{name}: {found:#}");
            thread::sleep(Duration::from_millis(500));
        };
        let found = &found["states"][0];
        assert_eq!(found["connectionState"], state, "{found:#}");
        assert!(found["probesSent"].as_u64() >= Some(4), "{found:#}");
        let good = state == "Reachable";
        assert_eq!(found["avgLatencyInMs"].is_u64(), good, "{found:#}");
    }
    monitor("stop", "ping", &[]);
    assert_eq!(monitor("show", "ping", &[])["monitoringStatus"], "Stopped");
    monitor("start", "ping", &[]);
    assert_eq!(monitor("show", "ping", &[])["monitoringStatus"], "Running");
    for name in ["ping", "ssh"] {
        monitor("delete", name, &[]);
    }
    let list = ask(host, &["connection-monitor", "list"], &HERE);
    assert_eq!(list, json!([]));
}
