//! `cargo xtask bench`: packages and objects here, the measuring in `vnet-gw-tests`.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{ebpf, packages, tree};

/// Hands over to the bench, which is a program of its own.
pub(crate) fn fastpath(args: &[OsString]) -> Result<ExitCode> {
    packages::ensure(packages::LAB)?;
    packages::ensure(&[("iperf3", "iperf3")])?;
    ebpf::build(None)?;
    let binary = tree::build("vnet-gw-tests", "fastpath-bench")?;
    Err(Command::new(&binary).args(args).exec())
        .with_context(|| format!("starting {}", binary.display()))
}
