//! System packages, installed by apt where they are missing.

use std::process::Command;

use anyhow::{Result, bail};
use vnet_gw_lab::{Clients, clients, strongswan};

use crate::{step, tree};

/// A program (or, with its whole path, any file) and the Debian package that has it.
pub(crate) type Program = (&'static str, &'static str);

/// What every network namespace lab needs.
pub(crate) const LAB: &[Program] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
];

/// What the VPN's peers and underlays need besides.
pub(crate) fn vpn() -> Vec<Program> {
    strongswan::NEEDED.to_vec()
}

/// Has the packages of those programs installed that are not there.
pub(crate) fn ensure(programs: &[Program]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| tree::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        install(&missing)
    }
}

/// The Azure CLI and SDKs, which the tests drive the API with.
pub(crate) fn azure_clients() -> Result<()> {
    if clients::python().is_none() {
        install(&[clients::PACKAGE])?;
    }
    let started = std::time::Instant::now();
    Clients::ensure(&tree::target())?;
    if started.elapsed().as_secs() > 1 {
        eprintln!(
            "installed the Azure CLI and SDKs: {} s",
            started.elapsed().as_secs()
        );
    }
    Ok(())
}

/// `apt-get install`, after `apt-get update` where the lists do not know the packages. Where it
/// cannot be done from here, the error holds the commands.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand =
        format!("run as root: apt-get update && apt-get install -y --no-install-recommends {list}");
    if tree::find("apt-get").is_none() {
        bail!("{list} missing and no apt-get here: install what your system calls them");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("{list} missing: {by_hand}");
    }
    eprintln!("installing {list} by apt-get");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    let what = "apt-get install";
    if step::run(what, &mut apt(&arguments)).is_ok() {
        return Ok(());
    }
    step::run("apt-get update", &mut apt(&["update"]))?;
    step::run(what, &mut apt(&arguments)).map_err(|error| error.context(by_hand))
}
