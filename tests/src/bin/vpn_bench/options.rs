//! The command line.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, ValueEnum};

use crate::subject::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// iperf3, one stream and four, with the underlay's segmentation on and off
    Tcp,
    /// The highest rate of 1300-byte datagrams with less than 1% lost
    Udp1300,
    /// The same with 64 bytes
    Udp64,
    /// Round trip of a small datagram on an idle path
    Rtt,
    /// ESP against the bare AEAD, on one core
    Seal,
    /// Handshakes a minute, and memory with 1,000 tunnels
    Handshakes,
}

/// Measures VPN gateways side by side, in namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench vpn", disable_version_flag = true)]
pub(crate) struct Options {
    /// Rounds; every subject is measured once in each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Seconds of one measurement (UDP: of each step of the search)
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Section>,
    /// Only these subjects
    #[arg(long, value_delimiter = ',', value_name = "SUBJECTS")]
    subjects: Vec<Kind>,
    /// Our I/O engine
    #[arg(long, default_value = "auto", value_parser = ["auto", "gso", "xsk"])]
    pub(crate) engine: String,
    /// Tunnels of the handshake bench
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=4000))]
    pub(crate) tunnels: u16,
    /// vnet-gw
    #[arg(long, value_name = "PATH")]
    pub(crate) daemon: PathBuf,
    /// wireguard-go 20231211 or newer
    #[arg(long, value_name = "PATH", default_value = "wireguard-go")]
    pub(crate) wireguard_go: PathBuf,
    /// boringtun-cli
    #[arg(long, value_name = "PATH", default_value = "boringtun-cli")]
    pub(crate) boringtun: PathBuf,
    /// Write rows and ratios there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number from 0.2 to 60".to_owned()),
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

    pub(crate) fn tcp_seconds(&self) -> u32 {
        (self.seconds.ceil() as u32).max(2)
    }

    /// A search has several steps.
    pub(crate) fn udp_seconds(&self) -> Duration {
        Duration::from_secs_f64(self.seconds / 3.0)
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
