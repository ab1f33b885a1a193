//! Packet captures, connection monitors and connectivity checks through the API of a whole daemon.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connectivity;

use std::{fs, io::Write, path::PathBuf, process::Stdio, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vnet_gw_lab::probe::{Outcome, Ping};
use vnet_gw_tests::{
    bed::{Bed, Hook},
    regions::template,
    tshark,
};

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups";

fn watcher(rest: &str) -> String {
    format!(
        "{GROUP}/NetworkWatcherRG/providers/Microsoft.Network/networkWatchers/\
         NetworkWatcher_eastus/{rest}"
    )
}

fn nic(name: &str) -> String {
    format!("{GROUP}/vnet-gw/providers/Microsoft.Network/networkInterfaces/{name}")
}

fn machine(name: &str) -> String {
    format!("{GROUP}/vnet-gw/providers/Microsoft.Compute/virtualMachines/{name}")
}

/// What the API answers, and whether it went well.
fn rest(bed: &Bed, method: &str, path: &str, body: Option<&Value>) -> (bool, Value) {
    let mut args = vec!["rest", method, path];
    if body.is_some() {
        args.extend(["--body", "-"]);
    }
    let mut child = bed
        .daemon
        .command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let Some(body) = body {
        stdin.write_all(body.to_string().as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| {
        // What is no answer of the API's.
        String::from_utf8_lossy(&output.stderr).into()
    });
    (output.status.success(), value)
}

#[track_caller]
fn good(bed: &Bed, method: &str, path: &str, body: Option<&Value>) -> Value {
    let (good, value) = rest(bed, method, path, body);
    assert!(good, "{method} {path}: {value:#}");
    value
}

#[track_caller]
fn refused(bed: &Bed, method: &str, path: &str, body: Option<&Value>) -> (String, String) {
    let (good, value) = rest(bed, method, path, body);
    assert!(!good, "{method} {path}: {value:#}");
    let text = |name: &str| value["error"][name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}

struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vnet-gw-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("captures")).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(files: &Files) -> Bed {
    let captures = files.path("captures");
    let args = ["--capture-dir", &captures];
    Bed::start_with(&template(), Hook::Tcx, &args, |_, _| Ok(())).unwrap()
}

#[test]
fn captures_are_resources_that_outlive_the_daemon() {
    let files = Files::new("api-captures");
    let mut bed = start(&files);
    let file = files.path("captures/one.pcapng");
    let body = |target: &str, file: &str| {
        json!({ "properties": {
            "target": target,
            "storageLocation": { "filePath": file },
            "filters": [{ "protocol": "ICMP", "remoteIPAddress": "10.4.0.4" }],
            "timeLimitInSeconds": 600,
        }})
    };
    let one = watcher("packetCaptures/one");
    for (bad, code, why) in [
        (
            body(&nic("nobody"), &file),
            "ResourceNotFound",
            "properties.target: there is no",
        ),
        (
            body(&nic("one"), "/etc/x.pcapng"),
            "InvalidParameter",
            "kept below",
        ),
        (
            body(&nic("one"), &files.path("captures/../x")),
            "InvalidParameter",
            "without `..`",
        ),
        (
            json!({ "properties": { "target": nic("one") } }),
            "InvalidRequestFormat",
            "filePath",
        ),
        (
            json!({ "properties": { "target": nic("one"), "storageLocation": { "storageId": "/x" } } }),
            "NotSupported",
            "storageId",
        ),
    ] {
        let (found, message) = refused(&bed, "put", &one, Some(&bad));
        assert_eq!(found, code, "{message}");
        assert!(message.contains(why), "{message}");
        assert_eq!(refused(&bed, "get", &one, None).0, "NotFound");
    }
    assert_eq!(fs::read_dir(files.0.join("captures")).unwrap().count(), 0);

    // The virtual machine is known by its network interface.
    let made = good(&bed, "put", &one, Some(&body(&machine("one"), &file)));
    assert_eq!(
        made["properties"]["provisioningState"], "Succeeded",
        "{made:#}"
    );
    assert_eq!(made["properties"]["filters"][0]["protocol"], "ICMP");
    assert_eq!(made["properties"]["totalBytesPerSession"], 1_073_741_824);
    let (code, _) = refused(
        &bed,
        "put",
        &one,
        Some(&body(&nic("one"), &files.path("captures/b"))),
    );
    assert_eq!(code, "Conflict");

    let outcome = Ping::new("10.4.0.4".parse().unwrap())
        .send(&bed.workload("one").netns)
        .unwrap();
    assert!(matches!(outcome, Outcome::Reply { .. }));
    let status = |bed: &Bed| {
        good(
            bed,
            "post",
            &watcher("packetCaptures/ONE/queryStatus"),
            None,
        )
    };
    assert_eq!(status(&bed)["packetCaptureStatus"], "Running");
    good(&bed, "post", &watcher("packetCaptures/one/stop"), None);
    let stopped = status(&bed);
    assert_eq!(stopped["packetCaptureStatus"], "Stopped", "{stopped:#}");
    assert_eq!(
        (&stopped["packets"], &stopped["stopReason"]),
        (&2.into(), &"Manual".into())
    );
    assert!(stopped["captureStartTime"].is_string());
    let rows = tshark::read(&files.0.join("captures/one.pcapng")).unwrap();
    assert_eq!(rows.len(), 2);
    let list = good(&bed, "get", &watcher("packetCaptures"), None);
    assert_eq!(list["value"].as_array().unwrap().len(), 1);
    // The command line has the same.
    let list = bed.daemon.json(&["packet-capture", "list"]).unwrap();
    assert_eq!(list["value"][0]["name"], "one");

    // It is kept, and does not run again.
    let second = files.path("captures/two.pcapng");
    let two = watcher("packetCaptures/two");
    good(&bed, "put", &two, Some(&body(&nic("one"), &second)));
    assert!(bed.daemon.terminate(Signal::SIGTERM).unwrap().success());
    assert!(
        tshark::read(&files.0.join("captures/two.pcapng"))
            .unwrap()
            .is_empty()
    );
    bed.daemon.launch().unwrap();
    assert_eq!(status(&bed)["packetCaptureStatus"], "Stopped");
    let shown = good(&bed, "get", &two, None);
    assert_eq!(shown["properties"]["target"], nic("one"));
    for name in ["one", "two"] {
        let path = watcher(&format!("packetCaptures/{name}"));
        good(&bed, "delete", &path, None);
        assert_eq!(refused(&bed, "get", &path, None).0, "NotFound");
        good(&bed, "delete", &path, None);
    }
    assert!(files.0.join("captures/one.pcapng").exists());
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    bed.daemon.launch().unwrap();
    let list = good(&bed, "get", &watcher("packetCaptures"), None);
    assert_eq!(list["value"], json!([]));
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    let down = bed.daemon.command(&["down"]).output().unwrap();
    assert!(
        down.status.success(),
        "{}",
        String::from_utf8_lossy(&down.stderr)
    );
    assert!(bed.pins().is_empty());
}

#[test]
fn connection_monitors_probe_on_a_schedule() {
    let files = Files::new("api-monitors");
    let mut bed = start(&files);
    let path = watcher("connectionMonitors/paths");
    let body = json!({ "location": "eastus", "tags": { "a": "b" }, "properties": {
        "endpoints": [
            { "name": "one", "type": "AzureVM", "resourceId": machine("one") },
            { "name": "far", "resourceId": nic("other-region") },
            { "name": "nobody", "type": "ExternalAddress", "address": "10.4.0.99" },
        ],
        "testConfigurations": [
            { "name": "ping", "protocol": "Icmp", "testFrequencySec": 10 },
            {
                "name": "closed", "protocol": "Tcp", "testFrequencySec": 10,
                "tcpConfiguration": { "port": 7009 },
            },
        ],
        "testGroups": [{
            "name": "all", "sources": ["one"], "destinations": ["far", "nobody"],
            "testConfigurations": ["ping", "closed"],
        }],
    }});
    for (pointer, value, code) in [
        (
            "/properties/endpoints/0/resourceId",
            json!(nic("no")),
            "ResourceNotFound",
        ),
        (
            "/properties/testConfigurations/0/protocol",
            json!("Http"),
            "NotSupported",
        ),
        (
            "/properties/testConfigurations/0/testFrequencySec",
            json!(1),
            "InvalidParameter",
        ),
    ] {
        let mut bad = body.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_eq!(refused(&bed, "put", &path, Some(&bad)).0, code, "{pointer}");
    }
    let made = good(&bed, "put", &path, Some(&body));
    assert_eq!(
        made["properties"]["monitoringStatus"], "Running",
        "{made:#}"
    );
    assert_eq!(made["properties"]["connectionMonitorType"], "MultiEndpoint");
    assert_eq!(made["tags"]["a"], "b");

    let query = |bed: &Bed| {
        good(
            bed,
            "post",
            &watcher("connectionMonitors/paths/query"),
            None,
        )
    };
    // Twice each: the second turn comes by itself.
    bed.wait(|| {
        let states = query(&bed)["states"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let turns = states
            .iter()
            .filter(|one| one["probesSent"].as_u64() >= Some(8));
        Ok(turns.count() == 4)
    })
    .unwrap();
    let found = query(&bed);
    assert_eq!(found["sourceStatus"], "Active");
    for state in found["states"].as_array().unwrap() {
        let good = state["destinationName"] == "far" && state["testConfigurationName"] == "ping";
        let wanted = if good { "Reachable" } else { "Unreachable" };
        assert_eq!(state["connectionState"], wanted, "{state:#}");
        assert_eq!(state["avgLatencyInMs"].is_number(), good, "{state:#}");
        let failed = if good {
            json!(0)
        } else {
            state["probesSent"].clone()
        };
        assert_eq!(state["probesFailed"], failed);
    }
    let list = bed.daemon.json(&["connection-monitor", "list"]).unwrap();
    assert_eq!(list["value"][0]["tests"].as_array().unwrap().len(), 4);
    let text = bed
        .daemon
        .command(&["connection-monitor", "query", "PATHS"])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("Reachable") && text.contains("nobody"),
        "{text}"
    );

    // A change of the network shows: another snapshot begins.
    bed.workload("other-region")
        .netns
        .ip("link set eth0 down")
        .unwrap();
    bed.wait(|| {
        let states = query(&bed)["states"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let pings = states.iter().filter(|one| {
            one["destinationName"] == "far" && one["testConfigurationName"] == "ping"
        });
        let names: Vec<&Value> = pings.map(|one| &one["connectionState"]).collect();
        Ok(names == ["Reachable", "Unreachable"])
    })
    .unwrap();

    good(
        &bed,
        "post",
        &watcher("connectionMonitors/paths/stop"),
        None,
    );
    let stopped = good(&bed, "get", &path, None);
    assert_eq!(stopped["properties"]["monitoringStatus"], "Stopped");
    assert_eq!(query(&bed)["sourceStatus"], "Inactive");

    // It begins anew with the daemon.
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    bed.daemon.launch().unwrap();
    let shown = good(&bed, "get", &path, None);
    assert_eq!(shown["properties"]["monitoringStatus"], "Running");
    good(&bed, "delete", &path, None);
    let list = good(&bed, "get", &watcher("connectionMonitors"), None);
    assert_eq!(list["value"], json!([]));
    bed.wait(|| {
        let ports = bed.daemon.json(&["ports"])?;
        Ok(ports["value"].is_array())
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
}
