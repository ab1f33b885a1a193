//! `cargo xtask run`: the built-in example, or the daemon itself.

mod example;
mod live;
mod once;
mod page;
mod resources;
mod screen;
mod site;
mod table;
mod traffic;

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::atomic::{AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::{Hook, ebpf, packages, tree};

pub(crate) use screen::terminal_size;

/// Builds the daemon and becomes it.
pub(crate) fn daemon(args: &[OsString]) -> Result<ExitCode> {
    ebpf::build(None)?;
    let binary = tree::build("vnet-gw", "vnet-gw")?;
    Err(Command::new(&binary).args(args).exec())
        .with_context(|| format!("starting {}", binary.display()))
}

/// The example: its paths proved and listed, or live until a signal.
pub(crate) fn start(once: bool, hook: Hook, daemon: Option<PathBuf>) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the example loads eBPF programs and makes network namespaces: run as root (nothing \
             was changed)"
        );
    }
    packages::ensure(packages::LAB)?;
    packages::ensure(&packages::vpn())?;
    let binary = match daemon {
        Some(path) => path,
        None => {
            ebpf::build(None)?;
            tree::build("vnet-gw", "vnet-gw")?
        }
    };
    catch_signals()?;
    if once {
        once::run(&binary, hook)
    } else {
        live::run(&binary, hook)
    }
}

/// The signal that asked us to end; 0 for none yet.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    CAUGHT.store(signal, Ordering::SeqCst);
}

/// From here on these end the example in order. Without it they would end it as well, but the
/// prompt would be back before the guardian has cleaned up.
fn catch_signals() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler does one atomic store, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }
            .with_context(|| format!("installing a handler for {signal}"))?;
    }
    Ok(())
}

/// The signal that asked us to end.
fn caught() -> Option<Signal> {
    Signal::try_from(CAUGHT.load(Ordering::SeqCst)).ok()
}

/// Sleeps, unless a signal asks us to end.
fn nap(time: Duration) {
    let until = Instant::now() + time;
    while caught().is_none() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
}
