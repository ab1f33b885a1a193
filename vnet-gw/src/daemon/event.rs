//! Everything that can happen to the daemon.

use nix::sys::signal::Signal;

use super::LoadError;
use crate::{control::Asked, engine::Delivery};

/// One turn of the loop.
#[derive(Debug)]
pub enum Event {
    /// The configuration's files are not what they were when last read.
    ConfigurationChanged,
    /// SIGHUP: read them again, changed or not.
    Hangup,
    /// They were read, and are in the store, or refused.
    Loaded(Result<(), LoadError>),
    /// What is in the store, for the data path.
    Apply(Delivery),
    /// SIGTERM or SIGINT.
    Terminate(Signal),
    /// It is time to compare the kernel with the image.
    ReconcileDue,
    /// Devices came, went or changed.
    LinksChanged,
    /// A packet capture or a probe ended by itself.
    CapturesChanged,
    /// A control client wants to know something.
    Asked(Asked),
}
