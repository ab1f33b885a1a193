//! A virtual machine without KVM, followed by its serial console.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};

use super::initramfs::Archive;

/// How the guest begins the lines that are for us.
pub(super) const UP: &str = "vnet-gw-guest up";
pub(super) const GOOD: &str = "vnet-gw-guest ok: ";
pub(super) const BAD: &str = "vnet-gw-guest failed: ";
/// MiB: the maps of one instance take about 60.
const MEMORY: &str = "1024";

/// QEMU 7.2 leaves garbage in the flags when an interrupt follows `cmpxchg16b`, which is how the
/// kernel allocates memory where it can: about every third boot crashed.
const CPU: &str = "max,-cx16";

/// What the guest says of itself.
pub(super) enum Verdict {
    Good(String),
    Bad(String),
}

/// QEMU, ended when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots, passes on what the guest says, and returns its verdict.
pub(super) fn boot(kernel: &Path, archive: &Archive, patience: Duration) -> Result<Verdict> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-machine",
            "q35,accel=tcg",
            "-cpu",
            CPU,
            "-smp",
            "1",
            "-m",
            MEMORY,
        ])
        .args([
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            "stdio",
        ])
        .arg("-kernel")
        .arg(kernel)
        .args(["-initrd", &archive.path()])
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
    }
    let mut machine = Machine(command.spawn().context("starting qemu-system-x86_64")?);
    let console = machine.0.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + patience;
    let mut up = false;
    let mut verdict = None;
    let mut early = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            // The console's own lines may stand before ours where the firmware has cleared it.
            Ok(line) if line.ends_with(UP) => up = true,
            Ok(line) if !up => early.push(line),
            Ok(line) => {
                if let Some(summary) = line.strip_prefix(GOOD) {
                    verdict = Some(Verdict::Good(summary.to_owned()));
                } else if let Some(why) = line.strip_prefix(BAD) {
                    verdict = Some(Verdict::Bad(why.to_owned()));
                } else {
                    eprintln!("  {line}");
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!(
                    "the guest is not done after {} s: ended",
                    patience.as_secs()
                )
            }
        }
    }
    if !up {
        bail!(
            "the kernel started no process; it said:\n{}",
            early.join("\n")
        );
    }
    verdict.context("the guest ended without a verdict; what it said stands above")
}
