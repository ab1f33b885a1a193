//! TCP from A to B by `iperf3`, and what it costs in CPU time.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;
use vnet_gw_lab::netns::run as run_command;
use vnet_gw_tests::report::Report;

use crate::{subject::Subject, wire::B};

/// What a peer may need: boringtun resets a connection of four streams now and then. Ours has one.
const ATTEMPTS_OF_PEERS: usize = 3;

pub(crate) fn measure(
    subject: &Subject,
    segmentation: bool,
    seconds: u32,
    report: &mut Report,
) -> Result<()> {
    let suffix = if segmentation { "" } else { "_nouso" };
    for streams in [1, 4] {
        let mut attempts = if subject.kind.is_peer() {
            ATTEMPTS_OF_PEERS
        } else {
            1
        };
        let (rate, spent) = loop {
            let before = busy()?;
            attempts -= 1;
            match transfer(subject, streams, seconds)
                .with_context(|| format!("TCP, {streams} streams, {}", subject.kind))
            {
                Ok(rate) => break (rate, busy()? - before),
                Err(error) if attempts > 0 => eprintln!("\ronce more: {error:#}"),
                Err(error) => return Err(error),
            }
        };
        let name = format!("tcp{streams}{suffix}");
        report.add(&name, subject.kind.name(), "Gbit/s", rate / 1e9);
        let gigabits = rate / 1e9 * f64::from(seconds);
        report.add(
            &format!("cpu_{name}"),
            subject.kind.name(),
            "core-s/Gbit",
            spent / gigabits,
        );
    }
    Ok(())
}

/// Bits a second that arrived.
fn transfer(subject: &Subject, streams: u32, seconds: u32) -> Result<f64> {
    let mut command = subject.wire.workloads[0].command("iperf3");
    command.args(["--json", "--client", &B.to_string()]);
    command.args(["--parallel", &streams.to_string()]);
    command.args(["--time", &seconds.to_string(), "--omit", "1"]);
    let output = run_command(&mut command)?;
    let report: Value = serde_json::from_str(&output).context("reading iperf3's report")?;
    report
        .pointer("/end/sum_received/bits_per_second")
        .and_then(Value::as_f64)
        .filter(|rate| *rate > 0.0)
        .with_context(|| format!("iperf3 reports no transfer: {}", report["error"]))
}

/// Seconds that all CPUs were not idle since the machine started: what ran besides, the load
/// generator included, is the same for all subjects.
fn busy() -> Result<f64> {
    const PATH: &str = "/proc/stat";
    let text = fs::read_to_string(PATH).with_context(|| format!("reading {PATH}"))?;
    let line = text.lines().next().context("an empty /proc/stat")?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .flat_map(str::parse)
        .collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    // USER_HZ is 100 wherever Linux runs.
    Ok((ticks.iter().sum::<f64>() - idle) / 100.0)
}
