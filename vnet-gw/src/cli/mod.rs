//! The command line: one file a command, all definitions in [`args`].
//!
//! Exit codes: 0 for done, 1 for failed, 2 for a command line that is not understood. An error is
//! one line on stderr, `error: what: why; what to do`.

mod activity_log;
mod apply;
pub mod args;
mod connection;
mod connection_monitor;
mod connections;
mod counters;
mod doctor;
mod down;
mod effective_nsg;
mod effective_routes;
mod export;
mod gateways;
mod generate;
mod ike_sas;
mod import_netcfg;
mod next_hop;
mod nsg;
mod output;
mod packet_capture;
mod peerings;
mod ports;
mod principal;
mod probe;
mod rest;
mod run;
mod source;
mod status;
mod table;
mod trace;
mod usage;
mod validate;
mod watcher;
mod why;

use std::{io, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use self::args::{Cli, Command};

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It worked, and its answer is no: told already.
    Bad,
}

/// Parses the command line, and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes. Most errors tell their cause themselves; such a cause is left out.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error
        .chain()
        .map(|cause| cause.to_string().trim().replace('\n', "; "))
    {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line.extend([": ", &cause]);
        }
    }
    line
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn dispatch(cli: &Cli) -> Result<Verdict> {
    match &cli.command {
        Command::Run(args) => run::run(cli, args),
        Command::Validate(args) => validate::run(cli, args),
        Command::Down(args) => down::run(cli, args),
        Command::Status => status::run(cli),
        Command::EffectiveRoutes(args) => effective_routes::run(cli, args),
        Command::EffectiveNsg(args) => effective_nsg::run(cli, args),
        Command::NextHop(args) => next_hop::run(cli, args),
        Command::Why(args) => why::run(cli, args),
        Command::IpFlowVerify(args) => watcher::flow(cli, args),
        Command::ConnectivityCheck(args) => watcher::check(cli, args),
        Command::Topology(args) => watcher::show(cli, args),
        Command::Ports => ports::run(cli),
        Command::Peerings(args) => peerings::run(cli, args),
        Command::Counters(args) => counters::run(cli, args),
        Command::Usage(args) => usage::run(cli, args),
        Command::Nsg(args) => nsg::run(cli, args),
        Command::Trace(args) => trace::run(cli, args),
        Command::PacketCapture(args) => packet_capture::run(cli, args),
        Command::Probe(args) => probe::run(cli, args),
        Command::ConnectionMonitor(args) => connection_monitor::run(cli, args),
        Command::Gateways => gateways::run(cli),
        Command::Connections(args) => connections::run(cli, args),
        Command::Connection(args) => connection::run(cli, args),
        Command::IkeSas(args) => ike_sas::run(cli, args),
        Command::Rest(args) => rest::run(cli, args),
        Command::Apply(args) => apply::run(cli, args),
        Command::WhatIf(args) => apply::what_if(cli, args),
        Command::Export(args) => export::run(cli, args),
        Command::Principal(args) => principal::run(cli, args),
        Command::ActivityLog(args) => activity_log::run(cli, args),
        Command::ImportNetcfg(args) => import_netcfg::run(cli, args),
        Command::Doctor(args) => doctor::run(cli, args),
        Command::Completions(args) => generate::completions(args),
        Command::Man(args) => generate::man(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_everything_once() {
        let cause = || io::Error::other("no space");
        let error = anyhow::Error::new(cause()).context("writing x: no space; make some");
        assert_eq!(one_line(&error), "writing x: no space; make some");
        let error = anyhow::Error::new(cause()).context("writing\nx");
        assert_eq!(one_line(&error), "writing; x: no space");
    }
}
