//! `cargo xtask bench`: packages and objects here, the measuring in `vnet-gw-tests`.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{debian, ebpf, packages, step, tree};

/// The suite whose wireguard-go has segmentation offloads (20231211), and where its package has it. It
/// needs nothing else of that suite.
const WIREGUARD_GO: (&str, &str, &str) = ("trixie", "wireguard-go", "usr/bin/wireguard-go");
const BORINGTUN_VERSION: &str = "0.7.1";

/// Hands over to the bench, which is a program of its own.
pub(crate) fn fastpath(args: &[OsString]) -> Result<ExitCode> {
    packages::ensure(packages::LAB)?;
    packages::ensure(&[("iperf3", "iperf3")])?;
    ebpf::build(None)?;
    let binary = tree::build("vnet-gw-tests", "fastpath-bench")?;
    Err(Command::new(&binary).args(args).exec())
        .with_context(|| format!("starting {}", binary.display()))
}

/// The same, with the peers that ours is measured against.
pub(crate) fn vpn(args: &[OsString]) -> Result<ExitCode> {
    packages::ensure(packages::LAB)?;
    packages::ensure(&packages::vpn())?;
    packages::ensure(&[("iperf3", "iperf3"), ("wg", "wireguard-tools")])?;
    let (suite, package, path) = WIREGUARD_GO;
    let wireguard_go = debian::program(suite, package, path)?;
    let boringtun = boringtun()?;
    ebpf::build(None)?;
    let daemon = tree::build("vnet-gw", "vnet-gw")?;
    let binary = tree::build("vnet-gw-tests", "vpn-bench")?;
    Err(Command::new(&binary)
        .arg("--daemon")
        .arg(daemon)
        .arg("--wireguard-go")
        .arg(wireguard_go)
        .arg("--boringtun")
        .arg(boringtun)
        .args(args)
        .exec())
    .with_context(|| format!("starting {}", binary.display()))
}

/// The API, on its own.
pub(crate) fn api(args: &[OsString]) -> Result<ExitCode> {
    packages::ensure(packages::LAB)?;
    ebpf::build(None)?;
    let daemon = tree::build("vnet-gw", "vnet-gw")?;
    let binary = tree::build("vnet-gw-tests", "api-bench")?;
    Err(Command::new(&binary)
        .arg("--daemon")
        .arg(daemon)
        .args(args)
        .exec())
    .with_context(|| format!("starting {}", binary.display()))
}

/// Installs `boringtun-cli` below `target/tools`, once: where it is.
fn boringtun() -> Result<PathBuf> {
    let tools = tree::target().join("tools").join("boringtun");
    let binary = tools.join("bin/boringtun-cli");
    let mut version = Command::new(&binary);
    if tree::output(version.arg("--version")).is_some_and(|text| text.contains(BORINGTUN_VERSION)) {
        return Ok(binary);
    }
    let build = tools.join("build");
    let mut command = Command::new("cargo");
    command
        .args(["install", "boringtun-cli", "--version", BORINGTUN_VERSION])
        .args(["--locked", "--force", "--root"])
        .arg(&tools)
        .current_dir(tree::root())
        .env("CARGO_TARGET_DIR", &build);
    let what = format!("building boringtun-cli {BORINGTUN_VERSION} (once, half a minute)");
    step::run(&what, &mut command)?;
    // Nobody needs it again; leaving it would do no harm.
    let _ = fs::remove_dir_all(&build);
    Ok(binary)
}
