//! Live probes of a whole daemon: sent by the port of a workload, answered by others.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use vnet_gw_tests::{
    bed::{Bed, Hook},
    regions::template,
};

fn probe(bed: &Bed, args: &[&str]) -> Value {
    let mut all = vec!["--output", "json", "probe", "--from", "one", "--to"];
    all.extend(args);
    let output = bed.daemon.command(&all).output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
    let unreachable = reply["connectionStatus"] == "Unreachable";
    assert_eq!(
        output.status.code(),
        Some(i32::from(unreachable)),
        "{reply}"
    );
    reply
}

fn outcomes(reply: &Value) -> Vec<&str> {
    let tries = reply["tries"].as_array().unwrap();
    tries
        .iter()
        .map(|one| one["outcome"].as_str().unwrap())
        .collect()
}

/// Devices of the host whose names begin so.
fn devices(bed: &Bed, start: &str) -> usize {
    let output = bed
        .host
        .command("ip")
        .args(["-o", "link"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| line.contains(&format!(": {start}")))
        .count()
}

fn probes(hook: Hook) {
    let mut bed = Bed::start(&template(), hook).unwrap();
    assert_eq!(devices(&bed, "vgp"), 0);
    for address in ["10.4.0.4", "fd00:4::4", "10.1.0.5"] {
        let reply = probe(&bed, &[address, "--count", "3", "--interval", "20ms"]);
        assert_eq!(reply["connectionStatus"], "Reachable", "{reply}");
        assert_eq!(outcomes(&reply), ["reply"; 3]);
        assert_eq!(
            (&reply["probesSent"], &reply["probesFailed"]),
            (&3.into(), &0.into())
        );
        let of = |name: &str| reply[name].as_f64().unwrap();
        let (least, average, most) = (
            of("minLatencyInMs"),
            of("avgLatencyInMs"),
            of("maxLatencyInMs"),
        );
        assert!(
            0.0 < least && least <= average && average <= most && most < 2000.0,
            "{reply}"
        );
    }
    assert_eq!(devices(&bed, "vgp"), 1);

    // TCP: somebody listens, nobody listens.
    let far = &bed.workload("other-region").netns;
    let listeners = far
        .enter(|| ["10.4.0.4:7007", "[fd00:4::4]:7007"].map(|at| TcpListener::bind(at).unwrap()))
        .unwrap();
    for address in ["10.4.0.4", "fd00:4::4"] {
        let reply = probe(&bed, &[address, "--port", "7007", "--count", "2"]);
        assert_eq!(outcomes(&reply), ["reply"; 2], "{reply}");
        let reply = probe(&bed, &[address, "--port", "7008", "--count", "2"]);
        assert_eq!(outcomes(&reply), ["refused"; 2], "{reply}");
        assert_eq!(reply["connectionStatus"], "Unreachable");
        assert_eq!(reply["minLatencyInMs"], Value::Null);
    }
    // The workload's own stack resets what it did not ask for: the listener has no connection.
    for listener in &listeners {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
    }

    // Refused by the data path: at once, by name.
    let begun = Instant::now();
    for (address, reason) in [
        ("10.4.0.99", "endpoint_unreachable"),
        ("10.99.0.1", "next_hop_none"),
        ("10.98.0.1", "appliance_unreachable"),
    ] {
        let reply = probe(&bed, &[address, "--count", "2", "--interval", "10ms"]);
        assert_eq!(outcomes(&reply), ["dropped"; 2], "{reply}");
        assert_eq!(reply["tries"][0]["reason"], reason, "{reply}");
    }
    assert!(begun.elapsed() < Duration::from_secs(6));

    // Lost on the far side: nobody there answers.
    far.ip("link set eth0 down").unwrap();
    let reply = probe(
        &bed,
        &[
            "10.4.0.4",
            "--count",
            "2",
            "--interval",
            "10ms",
            "--timeout",
            "500ms",
        ],
    );
    assert!(
        matches!(
            outcomes(&reply).as_slice(),
            ["lost" | "dropped", "lost" | "dropped"]
        ),
        "{reply}"
    );
    assert_eq!(reply["connectionStatus"], "Unreachable");

    let ports = bed.daemon.json(&["ports"]).unwrap();
    assert!(ports["value"].as_array().unwrap().len() >= 8);
    assert!(bed.daemon.terminate(Signal::SIGTERM).unwrap().success());
    assert_eq!(devices(&bed, "vgp"), 0);
    assert!(!bed.daemon.log().contains("orphan"), "{}", bed.daemon.log());
    assert!(!bed.daemon.log().contains("drift"), "{}", bed.daemon.log());
}

#[test]
fn probes_at_tcx() {
    probes(Hook::Tcx);
}

#[test]
fn probes_at_xdp() {
    probes(Hook::Xdp);
}

#[test]
fn what_cannot_be_probed_is_told_in_one_line() {
    let bed = Bed::start(&template(), Hook::Tcx).unwrap();
    for (args, why) in [
        (vec!["--from", "nobody", "--to", "10.1.0.5"], "nobody"),
        (
            vec!["--from", "one", "--to", "224.0.0.1"],
            "no address of a host",
        ),
        (
            vec!["--from", "one", "--to", "10.1.0.5", "--protocol", "tcp"],
            "give a --port",
        ),
        (
            vec!["--from", "one", "--to", "10.1.0.5", "--interval", "1ms"],
            "interval: 10 ms",
        ),
        (
            vec!["--from", "one", "--to", "10.1.0.5", "--timeout", "5m"],
            "timeout: up to 30 s",
        ),
    ] {
        let mut all = vec!["probe"];
        all.extend(args);
        let output = bed.daemon.command(&all).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(why) && said.trim_end().lines().count() == 1,
            "{said}"
        );
    }
    assert_eq!(devices(&bed, "vgp"), 0);
}
