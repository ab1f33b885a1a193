//! Each path of the example with real traffic: what was expected, and what was seen.

mod paths;
mod tunnels;

use std::{
    io::{self, IsTerminal},
    net::IpAddr,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use vnet_gw_lab::Workload;

use super::{
    caught,
    example::{Example, Node},
    table::table,
};
use crate::Hook;

const TRANSFER: u64 = 16 << 20;
/// Packets of a probe that is counted where it arrives.
const PROBES: u32 = 10;
/// How long a packet that must not arrive is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) fn run(binary: &Path, hook: Hook) -> Result<ExitCode> {
    let started = Instant::now();
    let example = Example::start(binary, hook)?;
    let mut proof = Proof {
        example: &example,
        rows: Vec::new(),
        progress: io::stderr().is_terminal(),
    };
    let proved = proof.all();
    if proof.progress {
        eprint!("\r\x1b[K");
    }
    proved?;
    let rows = proof.rows;
    let ports = example.host_of("vnet1-web1")?.daemon.json(&["ports"])?;
    // A gateway's port and the way to the internet are always at TCX.
    let rows_of_ports = ports["value"].as_array();
    let at = rows_of_ports
        .into_iter()
        .flatten()
        .find(|port| port["gateway"] != true && port["internet"] != true)
        .and_then(|port| port["hook"].as_str())
        .unwrap_or("?")
        .to_owned();
    drop(example);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let verdict = if row.good { "ok" } else { "NOT OK" };
            vec![
                row.what.clone(),
                row.expected.clone(),
                row.seen.clone(),
                verdict.to_owned(),
            ]
        })
        .collect();
    println!(
        "{}",
        table(&["what", "expected", "seen", "verdict"], &cells).trim_end()
    );
    let bad = rows.iter().filter(|row| !row.good).count();
    println!(
        "\n{} of {} as expected, attached at {at}, {} s; everything is removed",
        rows.len() - bad,
        rows.len(),
        started.elapsed().as_secs()
    );
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Row {
    what: String,
    expected: String,
    seen: String,
    good: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn of(self, workload: &Workload) -> Result<IpAddr> {
        self.one(&workload.addresses, &workload.name)
    }

    fn among(self, node: &Node) -> Result<IpAddr> {
        self.one(node.addresses, node.name)
    }

    fn one(self, addresses: &[IpAddr], name: &str) -> Result<IpAddr> {
        let found = addresses
            .iter()
            .find(|address| address.is_ipv4() == (self == Self::V4));
        found
            .copied()
            .with_context(|| format!("{name} has no {} address", self.name()))
    }
}

struct Proof<'a> {
    example: &'a Example,
    rows: Vec<Row>,
    /// On a terminal, what was proved last; the table at the end covers it.
    progress: bool,
}

impl Proof<'_> {
    fn all(&mut self) -> Result<()> {
        // While the tunnels come up, what needs none.
        self.local_paths()?;
        self.tunnels()
    }

    fn row(&mut self, what: String, expected: &str, seen: String, good: bool) -> Result<()> {
        if let Some(signal) = caught() {
            bail!("{signal}: stopped before the end");
        }
        if self.progress {
            eprint!("\r\x1b[K{}: {what}", self.rows.len() + 1);
        }
        self.rows.push(Row {
            what,
            expected: expected.to_owned(),
            seen,
            good,
        });
        Ok(())
    }
}

/// Different for each probe, so that no late packet of another is counted.
fn mark() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut mark = *b"vnet-gw ........";
    mark[8..].copy_from_slice(&number.to_be_bytes());
    mark
}
