//! `cargo xtask test --kernels`.

use std::process::ExitCode;

use anyhow::{Result, bail};

pub(crate) fn run() -> Result<ExitCode> {
    bail!("the kernel matrix is not there yet")
}
