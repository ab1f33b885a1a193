//! The command line.

use std::{
    env,
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

use crate::{
    subject::Kind,
    traffic::{Generator, Window},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// 64-byte IPv4, 16 routes, 4,096 destinations
    Fwd64,
    /// The same with IPv6
    Fwd64v6,
    /// 64-byte IPv4, 1,000,000 routes, 65,536 destinations
    Fwd1m,
    /// 64-byte IPv4 of 4,096 and 32,768 flows, with security groups and without
    Nsg,
    /// New flows: first packets among more and more rules, and how many come about
    NsgNew,
    /// iperf3, one stream and four
    Tcp,
    /// The lookup alone, against an LPM trie
    Lookup,
    /// Time to load tables and to add a peering, and memory
    Load,
}

/// Measures the fast path against the kernel's forwarding and a bare XDP redirect, in namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench fastpath", disable_version_flag = true)]
pub(crate) struct Options {
    /// Rounds; every subject is measured once in each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Seconds that one measurement lasts (TCP: rounded up, at least 2)
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Section>,
    /// Only these subjects, where there are several
    #[arg(long, value_delimiter = ',', value_name = "SUBJECTS")]
    subjects: Vec<Kind>,
    /// What sends the packets
    #[arg(long, default_value = "auto")]
    pub(crate) generator: Generator,
    /// The CPU that generates, and so forwards; the others only time it [default: the last one]
    #[arg(long)]
    cpu: Option<usize>,
    /// Write rows and ratios there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the plot there [default: target/bench/fastpath.svg]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number from 0.05 to 60".to_owned()),
    }
}

impl Options {
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.subjects.is_empty() || self.subjects.contains(&kind)
    }

    pub(crate) fn section(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.into()
    }

    /// Loading is steady, and a million routes take a while to make.
    pub(crate) fn load_rounds(&self) -> usize {
        self.rounds().min(3)
    }

    /// What comes about in them stays in memory: at 144 bytes and more a flow, some hundred megabytes
    /// each.
    pub(crate) fn new_rounds(&self) -> usize {
        self.rounds().min(5)
    }

    pub(crate) fn window(&self) -> Window {
        Window {
            warm_up: Duration::from_millis(300),
            length: Duration::from_secs_f64(self.seconds),
        }
    }

    pub(crate) fn tcp_seconds(&self) -> u32 {
        (self.seconds.ceil() as u32).max(2)
    }

    /// Interrupts of devices tend to come to the first.
    pub(crate) fn cpu(&self) -> usize {
        self.cpu.unwrap_or_else(|| {
            let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
            let usable = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
            (0..CpuSet::count()).rev().find(usable).unwrap_or(0)
        })
    }

    pub(crate) fn svg(&self) -> PathBuf {
        self.svg.clone().unwrap_or_else(|| {
            let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
            let target = target.unwrap_or_else(|| "target".into());
            target.join("bench/fastpath.svg")
        })
    }

    /// Says what is going on, in one line of the terminal that the next one overwrites.
    pub(crate) fn progress(&self, what: &str) {
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            // A terminal that is gone need not know.
            let _ = write!(terminal, "\r\x1b[K{what}");
            let _ = terminal.flush();
        }
    }
}
