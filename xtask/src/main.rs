//! Everything a person does with this repository: set up, run, test, measure.
//!
//! Quick to compile on purpose: it is what a bare machine builds first.

mod bench;
mod btf;
mod debian;
mod ebpf;
mod fuzz;
mod kernels;
mod packages;
mod run;
mod step;
mod test;
mod tree;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Sets up, runs, tests and measures vnet-gw.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the eBPF programs into target/ebpf, installing what that needs
    Ebpf {
        /// Compile this way instead of the one that is found to work
        #[arg(long)]
        route: Option<ebpf::Route>,
    },
    /// Run the built-in example until Ctrl-C, or the daemon with arguments of yours
    #[command(
        after_help = "cargo xtask run                              the example, live\n\
        cargo xtask run --once                       the example's paths, proved and listed\n\
        cargo xtask run -- run --config FILE         vnet-gw run --config FILE"
    )]
    Run(Run),
    /// Run every test: unit, property, datapath fixtures, namespaces end to end
    Test {
        /// Load and forward on Debian's kernels in QEMU instead
        #[arg(long)]
        kernels: bool,
        /// For `cargo test`, such as a test's name; with --kernels, Debian suites
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
    /// Fuzz what reads bytes from outside, guided by coverage
    Fuzz(fuzz::Options),
    /// Inside a kernel under test, what `test --kernels` starts there
    #[command(hide = true)]
    Guest,
}

#[derive(Args)]
struct Run {
    /// Prove each expected path with real traffic, print one table, and end
    #[arg(long)]
    once: bool,
    /// Where the program attaches
    #[arg(long, value_enum, default_value_t = Hook::Auto)]
    hook: Hook,
    /// Run this vnet-gw instead of building one
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// Instead of the example: the daemon's own arguments
    #[arg(last = true, conflicts_with_all = ["once", "hook", "daemon"])]
    args: Vec<OsString>,
}

/// Where the program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hook {
    Xdp,
    Tcx,
    Auto,
}

#[derive(Subcommand)]
enum Bench {
    /// Packets per second and TCP through our hooks, the kernel and a bare redirect
    Fastpath {
        /// For the bench: see `cargo xtask bench fastpath -- --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// The API: list pages and PUTs while many clients write
    Api {
        /// For the bench: see `cargo xtask bench api -- --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// VPN gateways side by side: ours, strongSwan, wireguard-go, boringtun, and none at all
    Vpn {
        /// For the bench: see `cargo xtask bench vpn -- --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match work(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Ebpf { route } => ebpf::build(route).map(|()| ExitCode::SUCCESS),
        Command::Run(Run { args, .. }) if !args.is_empty() => run::daemon(&args),
        Command::Run(Run {
            once, hook, daemon, ..
        }) => run::start(once, hook, daemon),
        Command::Test {
            kernels: true,
            args,
        } => kernels::run(&args),
        Command::Test { args, .. } => test::run(&args),
        Command::Bench(Bench::Fastpath { args }) => bench::fastpath(&args),
        Command::Bench(Bench::Api { args }) => bench::api(&args),
        Command::Bench(Bench::Vpn { args }) => bench::vpn(&args),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Guest => Ok(kernels::guest()),
    }
}
