//! TCP from A to B by `iperf3`, with one and with four streams.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vnet_gw_lab::{Lab, Process, netns::run as run_command};
use vnet_gw_tests::report::Report;

use crate::{
    Options, routes,
    subject::{Kind, Subject},
    wire::{B4, DEV_A, DEV_B},
};

const STREAMS: [(u32, &str); 2] = [(1, "tcp1"), (4, "tcp4")];

/// Measures every subject in every round, each round beginning with another one.
///
/// The workloads' offloads stay as the kernel makes them, except for XDP: a frame that is
/// redirected there has no partial checksum, so `tx` is off, and with it segmentation.
pub(crate) fn run(lab: &Lab, options: &Options, report: &mut Report) -> Result<()> {
    let set = routes::pair();
    let mut subjects = Vec::new();
    for kind in [Kind::Kernel, Kind::Xdp, Kind::Tcx] {
        if !options.wants(kind) {
            continue;
        }
        let mut subject =
            Subject::new(lab, "tcp", kind, &set).with_context(|| format!("setting up {kind}"))?;
        let wire = subject.wire.clone();
        if kind == Kind::Xdp {
            for (netns, device) in [(&wire.a, DEV_A), (&wire.b, DEV_B)] {
                netns.ethtool(&format!("-K {device} tx off"))?;
                subject.object.attach_xdp("bench_pass", netns, device)?;
            }
        }
        let log = lab.dir().join(format!("iperf3-{kind}.log"));
        let server = Process::spawn(
            wire.b.command("iperf3").args(["--server", "--forceflush"]),
            &log,
        )?;
        await_server(&server)?;
        subjects.push((subject, server));
    }
    for (streams, name) in STREAMS {
        for round in 0..options.rounds() {
            for i in 0..subjects.len() {
                let (subject, _server) = &subjects[(i + round) % subjects.len()];
                let kind = subject.kind;
                options.progress(&format!("{name}, round {}: {kind}", round + 1));
                let rate = transfer(subject, streams, options.tcp_seconds())
                    .with_context(|| format!("{name}, {kind}, round {}", round + 1))?;
                report.add(name, kind.name(), "Gbit/s", rate / 1e9);
            }
        }
    }
    Ok(())
}

fn await_server(server: &Process) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !server.log().contains("Server listening") {
        if Instant::now() > deadline {
            bail!("iperf3 does not listen: {}", server.log().trim());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Bits a second that arrived.
fn transfer(subject: &Subject, streams: u32, seconds: u32) -> Result<f64> {
    let mut command = subject.wire.a.command("iperf3");
    command.args(["--json", "--client", &IpAddr::V4(B4).to_string()]);
    command.args([
        "--parallel",
        &streams.to_string(),
        "--time",
        &seconds.to_string(),
    ]);
    let output = run_command(&mut command)?;
    let report: Value = serde_json::from_str(&output).context("reading iperf3's report")?;
    report
        .pointer("/end/sum_received/bits_per_second")
        .and_then(Value::as_f64)
        .filter(|rate| *rate > 0.0)
        .with_context(|| format!("iperf3 reports no transfer: {}", report["error"]))
}
