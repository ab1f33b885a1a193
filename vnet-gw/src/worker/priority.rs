//! How soon the thread gets a CPU that others want, too.

use std::{
    io,
    time::{Duration, Instant},
};

/// How many levels of `nice` bulk traffic is worth.
const LEVELS: libc::c_int = 10;
/// Without bulk traffic for so long, the thread is one like others again.
const CALM: Duration = Duration::from_millis(10);

/// While TCP's super-packets pass, the thread goes before programs that want the same CPU: these are
/// most often the ends of the connection, which have nothing to do until it has worked, and each
/// time one of them takes its place in the middle of a batch costs two changes of context. Single
/// packets want the opposite: whoever makes them has to run for a batch to come together.
pub(super) struct Priority {
    /// `nice` of the thread when it began.
    usual: libc::c_int,
    raised: bool,
    /// When bulk traffic was seen.
    seen: Instant,
}

impl Priority {
    pub(super) fn new(now: Instant) -> Self {
        // SAFETY: no memory is involved. Linux has a priority for each thread, and 0 is the caller.
        let usual = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        Self {
            usual,
            raised: false,
            seen: now,
        }
    }

    /// Whether super-packets passed just now.
    pub(super) fn is_raised(&self) -> bool {
        self.raised
    }

    /// Once a turn; `bulk`: super-packets of TCP passed in it. A system call only where something
    /// changes.
    pub(super) fn turn(&mut self, bulk: bool, now: Instant) {
        if bulk {
            self.seen = now;
            if !self.raised {
                self.raised = true;
                self.set(self.usual - LEVELS);
            }
        } else if self.raised && now.saturating_duration_since(self.seen) >= CALM {
            self.raised = false;
            self.set(self.usual);
        }
    }

    fn set(&self, nice: libc::c_int) {
        // SAFETY: as in `new`.
        if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
            // Without the capability it stays as it is.
            log::debug!(
                "setting the worker's priority: {}",
                io::Error::last_os_error()
            );
        }
    }
}
