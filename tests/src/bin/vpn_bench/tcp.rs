//! TCP from A to B by `iperf3`, and what it costs in CPU time.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vnet_gw_lab::netns::run as run_command;
use vnet_gw_tests::report::Report;

use crate::{subject::Subject, wire::B};

/// What a peer may need: boringtun resets a connection of four streams now and then. Ours has one.
const ATTEMPTS_OF_PEERS: usize = 3;
/// Seconds before the rate counts.
const OMITTED: u32 = 1;
/// What a server says, or its kernel, that has not done with the last client.
const NOT_YET: [&str; 2] = ["server is busy", "Connection refused"];
const PATIENCE: Duration = Duration::from_secs(5);

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
        let gigabits = rate / 1e9 * f64::from(seconds + OMITTED);
        report.add(
            &format!("cpu_{name}"),
            subject.kind.name(),
            "core-s/Gbit",
            spent / gigabits,
        );
    }
    Ok(())
}

/// Bits a second that arrived. The server takes one client at a time, and a moment to be there for the
/// next one.
fn transfer(subject: &Subject, streams: u32, seconds: u32) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match transfer_once(subject, streams, seconds)? {
            Transfer::Rate(rate) => return Ok(rate),
            Transfer::NotYet(why) if Instant::now() > deadline => {
                bail!("iperf3 reports no transfer: {why}")
            }
            Transfer::NotYet(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

enum Transfer {
    Rate(f64),
    /// The server is not there yet; its words.
    NotYet(String),
}

fn transfer_once(subject: &Subject, streams: u32, seconds: u32) -> Result<Transfer> {
    let mut command = subject.wire.workloads[0].command("iperf3");
    command.args(["--json", "--client", &B.to_string()]);
    command.args(["--parallel", &streams.to_string()]);
    command.args(["--time", &seconds.to_string()]);
    command.args(["--omit", &OMITTED.to_string()]);
    let output = run_command(&mut command)?;
    let report: Value = serde_json::from_str(&output).context("reading iperf3's report")?;
    let rate = report.pointer("/end/sum_received/bits_per_second");
    let error = || report["error"].to_string();
    match rate.and_then(Value::as_f64).filter(|rate| *rate > 0.0) {
        Some(rate) => Ok(Transfer::Rate(rate)),
        None if NOT_YET.iter().any(|words| error().contains(words)) => {
            Ok(Transfer::NotYet(error()))
        }
        None => bail!("iperf3 reports no transfer: {}", error()),
    }
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
