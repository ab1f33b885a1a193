//! Packet captures of a whole daemon, its files read by Wireshark's own reader.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use vnet_gw_lab::probe::{Outcome, Ping, tcp};
use vnet_gw_tests::{
    bed::{Bed, Hook, SILENCE},
    regions::template,
    tshark::{self, Row},
    vpn_bed::{self, VpnBed},
};

const ONE: &str = "10.1.0.4";
const FAR: &str = "10.4.0.4";

/// A directory of a test's own.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vnet-gw-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> Vec<Row> {
        tshark::read(&self.0.join(name)).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ping(bed: &Bed, from: &str, to: &str) -> bool {
    let ping = Ping {
        patience: Duration::from_secs(2),
        ..Ping::new(to.parse().unwrap())
    };
    let outcome = ping.send(&bed.workload(from).netns).unwrap();
    matches!(outcome, Outcome::Reply { .. })
}

fn show(bed: &Bed, name: &str) -> Value {
    bed.daemon.json(&["packet-capture", "show", name]).unwrap()
}

fn between<'a>(rows: &'a [Row], from: &str, to: &str) -> Vec<&'a Row> {
    let fits = |row: &&Row| row.source == from && row.destination == to;
    rows.iter().filter(fits).collect()
}

fn both_directions_with_verdicts(hook: Hook) {
    let bed = Bed::start(&template(), hook).unwrap();
    let files = Files::new(&format!("both-{}", hook.name()));
    let since = SystemTime::now();
    let begun = bed
        .daemon
        .json(&[
            "packet-capture",
            "start",
            "all",
            "--nic",
            "one",
            "--file",
            &files.path("all.pcapng"),
        ])
        .unwrap();
    assert_eq!(begun["status"]["packetCaptureStatus"], "Running", "{begun}");
    assert!(ping(&bed, "one", FAR));
    assert!(ping(&bed, "one", "fd00:4::4"));
    // Nobody has this address: dropped, and answered with an error.
    assert!(!ping(&bed, "one", "10.4.0.99"));
    // Another port's packets are not in it.
    assert!(ping(&bed, "peered", "10.1.0.5"));
    let ended = bed.daemon.json(&["packet-capture", "stop", "all"]).unwrap();
    let until = SystemTime::now();
    assert!(ping(&bed, "one", FAR));

    assert_eq!(ended["status"]["packetCaptureStatus"], "Stopped");
    assert_eq!(ended["status"]["stopReason"], "Manual");
    assert_eq!(ended["status"]["lost"], 0);
    let rows = files.read("all.pcapng");
    assert_eq!(ended["status"]["packets"], rows.len());
    let size = fs::metadata(files.0.join("all.pcapng")).unwrap();
    assert_eq!(ended["status"]["bytesWritten"], size.len());
    assert_eq!(size.permissions().mode() & 0o777, 0o600);

    for (from, to) in [(ONE, FAR), ("fd00:1::4", "fd00:4::4")] {
        let (there, back) = (between(&rows, from, to), between(&rows, to, from));
        let echoes = |rows: &[&Row]| {
            rows.iter()
                .filter(|row| row.protocol.starts_with("ICMP"))
                .count()
        };
        assert_eq!((echoes(&there), echoes(&back)), (1, 1), "{rows:#?}");
        assert!(
            there
                .iter()
                .all(|row| row.outbound && row.comment.is_empty())
        );
        assert!(back.iter().all(|row| !row.outbound));
        assert!(there[0].time < back[0].time);
    }
    let refused = between(&rows, ONE, "10.4.0.99");
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0]
            .comment
            .starts_with("dropped: endpoint_unreachable: "),
        "{refused:?}"
    );
    let errors = between(&rows, "10.1.0.1", ONE);
    assert!(
        errors
            .iter()
            .any(|row| row.protocol == "ICMP" && !row.outbound)
    );
    assert!(rows.iter().all(|row| row.source != "10.2.0.4"));
    for row in &rows {
        assert_eq!(row.interface, "one");
        assert!(
            row.description.ends_with("/networkInterfaces/one"),
            "{row:?}"
        );
        let (_, fraction) = row.time.split_once('.').unwrap();
        assert_eq!(fraction.len(), 9, "nanoseconds: {}", row.time);
        let time: f64 = row.time.parse().unwrap();
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(
            time >= seconds(since) && time <= seconds(until),
            "{}",
            row.time
        );
    }
    // ARP and neighbour discovery are answered by the fabric, into the port.
    assert!(
        rows.iter()
            .any(|row| row.protocol == "ICMPv6" || row.protocol == "ARP")
    );

    // It is kept until it is deleted, and its file stays.
    assert_eq!(show(&bed, "ALL")["status"]["packets"], rows.len());
    bed.daemon
        .output(&["packet-capture", "delete", "all"])
        .unwrap();
    let list = bed.daemon.json(&["packet-capture", "list"]).unwrap();
    assert_eq!(list["value"].as_array().unwrap().len(), 0);
    assert!(files.0.join("all.pcapng").exists());
}

#[test]
fn both_directions_with_verdicts_at_tcx() {
    both_directions_with_verdicts(Hook::Tcx);
}

#[test]
fn both_directions_with_verdicts_at_xdp() {
    both_directions_with_verdicts(Hook::Xdp);
}

#[test]
fn filters_and_limits_are_kept() {
    let bed = Bed::start(&template(), Hook::Tcx).unwrap();
    let files = Files::new("limits");
    let start = |name: &str, more: &[&str]| {
        let file = files.path(name);
        let mut args = vec![
            "packet-capture",
            "start",
            name,
            "--nic",
            "one",
            "--file",
            &file,
        ];
        args.extend(more);
        bed.daemon.json(&args).unwrap()
    };
    // Four at one port at once, each with what it asked for.
    start(
        "tcp",
        &[
            "--protocol",
            "tcp",
            "--remote-address",
            "10.4.0.0-10.4.0.9;10.9.9.9",
        ],
    );
    start("cut", &["--packet-bytes", "64", "--protocol", "ICMP"]);
    start("small", &["--total-bytes", "3000", "--protocol", "tcp"]);
    start(
        "short",
        &["--time-limit", "1s", "--local-address", "10.1.0.77"],
    );
    assert!(ping(&bed, "one", FAR));
    let (one, far) = (bed.workload("one"), bed.workload("other-region"));
    for address in [FAR, "fd00:4::4"] {
        let address = address.parse().unwrap();
        assert!(
            tcp::transfer(&one.netns, &far.netns, address, 1 << 20)
                .unwrap()
                .is_some()
        );
    }
    bed.wait(|| Ok(show(&bed, "short")["status"]["packetCaptureStatus"] == "Stopped"))
        .unwrap();
    assert_eq!(show(&bed, "short")["status"]["stopReason"], "TimeExceeded");
    assert_eq!(files.read("short").len(), 0);

    bed.wait(|| Ok(show(&bed, "small")["status"]["packetCaptureStatus"] == "Stopped"))
        .unwrap();
    assert_eq!(
        show(&bed, "small")["status"]["stopReason"],
        "MaxBytesExceeded"
    );
    let rows = files.read("small");
    assert!(!rows.is_empty() && rows.iter().all(|row| row.protocol != "ICMP"));
    let size = fs::metadata(files.0.join("small")).unwrap().len();
    // Its end comes on top.
    assert!((300..=3000 + 200).contains(&size), "{size}");

    for name in ["tcp", "cut"] {
        bed.daemon.json(&["packet-capture", "stop", name]).unwrap();
    }
    let rows = files.read("tcp");
    assert!(rows.len() > 4);
    for row in &rows {
        assert!(row.protocol == "TCP" || !row.port.is_empty(), "{row:?}");
        assert!(row.source == FAR || row.destination == FAR, "{row:?}");
    }
    assert!(rows.iter().any(|row| row.outbound) && rows.iter().any(|row| !row.outbound));
    let rows = files.read("cut");
    assert!(
        rows.iter().filter(|row| row.protocol == "ICMP").count() == 2,
        "{rows:#?}"
    );
    for row in &rows {
        assert!(row.protocol.starts_with("ICMP"), "{row:?}");
        assert_eq!(row.captured, 64);
        assert!(row.length > 64);
    }
}

#[test]
fn a_mistake_is_one_line_and_leaves_nothing() {
    let bed = Bed::start(&template(), Hook::Tcx).unwrap();
    let files = Files::new("mistakes");
    fs::write(files.0.join("there"), "precious").unwrap();
    let good = files.path("good");
    for (args, why) in [
        (vec!["--nic", "nobody", "--file", &good], "nobody"),
        (
            vec!["--nic", "one", "--file", &files.path("no/such")],
            "make it first",
        ),
        (
            vec!["--nic", "one", "--file", &files.path("there")],
            "is there already",
        ),
        (
            vec!["--nic", "one", "--file", &files.path("../x")],
            "without `..`",
        ),
        (
            vec!["--nic", "one", "--file", &good, "--protocol", "sctp"],
            "none of Any, TCP, UDP",
        ),
        (
            vec!["--nic", "one", "--file", &good, "--local-port", "70000"],
            "is no port",
        ),
        (
            vec!["--nic", "one", "--file", &good, "--filters", "{"],
            "--filters",
        ),
        (
            vec!["--nic", "one", "--file", &good, "--time-limit", "6h"],
            "from 1s to 5h",
        ),
        (vec!["--gateway", "vpn", "--file", &good], "vpn"),
    ] {
        let mut all = vec!["packet-capture", "start", "x"];
        all.extend(args);
        let output = bed.daemon.command(&all).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{all:?}");
        assert!(said.contains(why), "{all:?}: {said}");
        if output.status.code() == Some(1) {
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        }
    }
    for command in ["stop", "delete", "show"] {
        let output = bed
            .daemon
            .command(&["packet-capture", command, "x"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("there is none"), "{said}");
    }
    let left: Vec<_> = fs::read_dir(&files.0).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(
        fs::read_to_string(files.0.join("there")).unwrap(),
        "precious"
    );
    // The name is free, and is not free twice.
    let start = [
        "packet-capture",
        "start",
        "x",
        "--nic",
        "one",
        "--file",
        &good,
    ];
    bed.daemon.json(&start).unwrap();
    let output = bed.daemon.command(&start).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is one of that name"), "{said}");
}

#[test]
fn a_stream_goes_to_standard_output_until_its_reader_goes() {
    let bed = Bed::start(&template(), Hook::Tcx).unwrap();
    let mut child = bed
        .daemon
        .command(&[
            "packet-capture",
            "stream",
            "--nic",
            "one",
            "--protocol",
            "icmp",
            "--write",
            "-",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let flagged = || -> anyhow::Result<bool> {
        // Of the daemon's threads, the one that reads is there as long as a capture is.
        let tasks = PathBuf::from(format!("/proc/{}/task", bed.daemon.pid().unwrap_or(0)));
        let mut names = fs::read_dir(tasks)?
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        Ok(names.any(|name| name.trim() == "capture"))
    };
    bed.wait(flagged).unwrap();
    for _ in 0..3 {
        assert!(ping(&bed, "one", FAR));
    }
    sleep(Duration::from_millis(400));
    child.kill().unwrap();
    child.wait().unwrap();
    let bytes = reader.join().unwrap().unwrap();
    let rows = tshark::read_bytes(&bytes).unwrap();
    assert_eq!(between(&rows, ONE, FAR).len(), 3, "{rows:#?}");
    assert_eq!(between(&rows, FAR, ONE).len(), 3);
    // Nobody reads: nothing is copied any more.
    bed.wait(|| Ok(!flagged()?)).unwrap();
    let list = bed.daemon.json(&["packet-capture", "list"]).unwrap();
    assert_eq!(list["value"].as_array().unwrap().len(), 0);
}

#[test]
fn a_capture_ends_with_the_daemon_and_its_file_is_whole() {
    let mut bed = Bed::start(&template(), Hook::Tcx).unwrap();
    let files = Files::new("ends");
    let file = files.path("one");
    bed.daemon
        .json(&[
            "packet-capture",
            "start",
            "one",
            "--nic",
            "one",
            "--file",
            &file,
        ])
        .unwrap();
    assert!(ping(&bed, "one", FAR));
    sleep(Duration::from_millis(300));
    let ended = bed.daemon.terminate(Signal::SIGTERM).unwrap();
    assert!(ended.success());
    let rows = files.read("one");
    assert_eq!(between(&rows, ONE, FAR).len(), 1, "{rows:#?}");
    // What was forwarded is, and is not copied.
    bed.daemon.launch().unwrap();
    assert!(ping(&bed, "one", FAR));
    assert_eq!(files.read("one").len(), rows.len());
    let output = bed
        .daemon
        .command(&["packet-capture", "list"])
        .output()
        .unwrap();
    assert!(output.status.success());
    sleep(SILENCE);
}

#[test]
fn a_gateways_capture_shows_what_is_inside_its_tunnels() {
    let template = vpn_bed::template().unwrap();
    let bed = VpnBed::start(&template, &template).unwrap();
    bed.connected().unwrap();
    let files = Files::new("gateway");
    let file = files.path("inside");
    let (west, east) = (&bed.west, &bed.east);
    let daemon = &west.daemon;
    let begun = Instant::now();
    daemon
        .json(&[
            "packet-capture",
            "start",
            "inside",
            "--gateway",
            "VNet1GW",
            "--protocol",
            "ICMP",
            "--file",
            &file,
        ])
        .unwrap();
    let (near, far) = (west.workload.ipv4().unwrap(), east.workload.ipv4().unwrap());
    for (from, to) in [(west, far), (east, near)] {
        let outcome = Ping::new(to).send(&from.workload.netns).unwrap();
        assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
    }
    let ended = daemon.json(&["packet-capture", "stop", "inside"]).unwrap();
    let rows = files.read("inside");
    let (near, far) = (near.to_string(), far.to_string());
    // Two pings: a request and a reply each way, in the clear. What goes into the tunnel is
    // delivered to the gateway's port; what comes out of it is sent by it.
    assert_eq!(between(&rows, &near, &far).len(), 2, "{rows:#?}");
    assert_eq!(between(&rows, &far, &near).len(), 2);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!(row.outbound, row.source == far, "{row:?}");
        assert_eq!(row.protocol, "ICMP");
    }
    assert_eq!(ended["status"]["packets"], 4);
    assert!(begun.elapsed() < Duration::from_secs(60));
}
