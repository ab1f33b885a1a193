//! Everything that can happen to the daemon.

use nix::sys::signal::Signal;

use super::{LoadError, Loaded};
use crate::control::Asked;

/// One turn of the loop.
#[derive(Debug)]
pub enum Event {
    /// The configuration's files are not what they were when last read.
    ConfigurationChanged,
    /// SIGHUP: read them again, changed or not.
    Hangup,
    /// They were read, validated and compiled, or refused.
    Loaded(Result<Box<Loaded>, LoadError>),
    /// SIGTERM or SIGINT.
    Terminate(Signal),
    /// It is time to compare the kernel with the image.
    ReconcileDue,
    /// Devices came, went or changed.
    LinksChanged,
    /// A control client wants to know something.
    Asked(Asked),
}
