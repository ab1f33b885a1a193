//! `cargo xtask test --kernels`: the release daemon on kernels of Debian's, in QEMU.
//!
//! Each kernel boots with a file system in memory that holds this program, the daemon and what both
//! need; [`guest`] is what runs there. No KVM is used, so it works in any virtual machine.

mod bench;
mod debian;
mod guest;
mod initramfs;
mod machine;
mod modules;
mod pktgen;

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use self::{debian::Kernel, initramfs::Initramfs, machine::Verdict};
use crate::{ebpf, packages, tree};

pub(crate) use guest::run as guest;

/// The Debian releases whose kernels are tested: 6.1, which has no TCX, and 6.12.
const SUITES: &[&str] = &["bookworm", "trixie"];
const PROGRAMS: &[packages::Program] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
];
/// A guest is done in under a minute on two idle cores.
const PATIENCE: Duration = Duration::from_secs(600);

/// Tests the kernels of `suites`, or of [`SUITES`] where there are none.
pub(crate) fn run(suites: &[OsString]) -> Result<ExitCode> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels are x86-64 ones, and so must this machine be, whose binaries they run"
    );
    let suites: Vec<&str> = suites
        .iter()
        .map(|suite| suite.to_str().context("a suite's name is no UTF-8"))
        .collect::<Result<_>>()?;
    let suites = if suites.is_empty() { SUITES } else { &suites };
    packages::ensure(packages::LAB)?;
    packages::ensure(PROGRAMS)?;
    let kernels: Vec<Kernel> = suites
        .iter()
        .map(|suite| debian::kernel(suite).with_context(|| format!("the kernel of {suite}")))
        .collect::<Result<_>>()?;
    ebpf::build(None)?;
    let binaries = [
        (guest::DAEMON, tree::build("vnet-gw", "vnet-gw")?),
        (
            bench::BENCH,
            tree::build("vnet-gw-tests", "fastpath-bench")?,
        ),
    ];
    let mut failed = 0;
    for kernel in &kernels {
        let started = Instant::now();
        eprintln!("booting {} of {}", kernel.release, kernel.suite);
        let verdict = boot(kernel, &binaries)
            .with_context(|| format!("kernel {} of {}", kernel.release, kernel.suite))?;
        let said = match &verdict {
            Verdict::Good(summary) => format!("ok, {summary}"),
            Verdict::Bad(why) => format!("FAILED, {why}"),
        };
        println!(
            "KERNEL {} ({}, {}): {said}, {} s",
            kernel.version,
            kernel.suite,
            kernel.release,
            started.elapsed().as_secs()
        );
        failed += usize::from(matches!(verdict, Verdict::Bad(_)));
    }
    println!("{} passed, {failed} failed", kernels.len() - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn boot(kernel: &Kernel, binaries: &[(&str, PathBuf)]) -> Result<Verdict> {
    let mut image = Initramfs::new()?;
    image.file("/init", &tree::root().join("tests/kernels/init"), true)?;
    // All of it on one host, and nothing but the data path.
    let template = tree::root().join("vnet-gw/examples/two-regions.json");
    image.file(guest::TEMPLATE, &template, false)?;
    image.bytes("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", false)?;
    image.bytes("/etc/group", b"root:x:0:\n", false)?;
    let own = env::current_exe().context("finding this program")?;
    let mut programs = vec![("/bin/xtask", own)];
    programs.extend_from_slice(binaries);
    for (at, name) in [
        ("/bin/busybox", "busybox"),
        // busybox's own shell takes its `ip` for the real one.
        ("/bin/sh", "sh"),
        ("/usr/sbin/ip", "ip"),
        ("/usr/sbin/ethtool", "ethtool"),
    ] {
        let Some(path) = tree::find(name) else {
            bail!("{name} is not there any more")
        };
        programs.push((at, path));
    }
    for (at, path) in &programs {
        image.program(at, path)?;
    }
    modules::add(&mut image, kernel)?;
    machine::boot(&kernel.image, &image.finish()?, PATIENCE)
}
