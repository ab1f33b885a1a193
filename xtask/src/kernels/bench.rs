//! The bench with the kernel's packet generator, which the kernels that we develop on may lack. Its
//! figures mean nothing in an emulated machine; that it has them does.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where the guest has it.
pub(super) const BENCH: &str = "/bin/fastpath-bench";
const REPORT: &str = "/tmp/bench.json";
const SUBJECTS: &[&str] = &["kernel", "bare", "xdp", "tcx"];
const ROWS: &[&str] = &["64b_ipv4", "64b_ipv6"];

/// Measures every subject once with pktgen; an error where one has no figure.
pub(super) fn prove() -> Result<String> {
    let output = Command::new(BENCH)
        .args(["--generator", "pktgen", "--only", "fwd64,fwd64v6"])
        .args(["--subjects", &SUBJECTS.join(",")])
        .args(["--rounds", "1", "--seconds", "1"])
        .args(["--json", REPORT, "--svg", "/tmp/bench.svg"])
        .output()
        .with_context(|| format!("starting {BENCH}"))?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = fs::read_to_string(REPORT).with_context(|| format!("reading {REPORT}"))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{REPORT} is no JSON"))?;
    let rows = report["rows"]
        .as_array()
        .context("the bench's report has no rows")?;
    for name in ROWS {
        for subject in SUBJECTS {
            let row = rows
                .iter()
                .find(|row| row["name"] == *name && row["subject"] == *subject);
            let median = row.and_then(|row| row["median"].as_f64());
            ensure!(
                median.is_some_and(|median| median > 0.0),
                "no packets of pktgen's through {subject}, {name}: {}",
                row.unwrap_or(&Value::Null)
            );
        }
    }
    Ok(format!(
        "the bench by pktgen through {}",
        SUBJECTS.join(", ")
    ))
}
