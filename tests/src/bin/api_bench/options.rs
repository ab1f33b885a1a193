//! The command line.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;

/// Measures the API of a daemon, in a namespace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench api", disable_version_flag = true)]
pub(crate) struct Options {
    /// Rounds; everything is measured once in each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) rounds: u8,
    /// Seconds of writing in each measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Resources that are there
    #[arg(long, default_value_t = 10_000)]
    pub(crate) resources: usize,
    /// Clients that write at the same time
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: usize,
    /// vnet-gw
    #[arg(long, value_name = "PATH")]
    pub(crate) daemon: PathBuf,
    /// Write rows and ratios there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.max(0.1))
    }

    /// One line on a terminal, rewritten; an empty one ends it.
    pub(crate) fn progress(&self, text: &str) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // Progress that cannot be shown is no failure.
            let _ = write!(stderr, "\r\x1b[K{text}");
            let _ = stderr.flush();
        }
    }
}
