//! Looking again for a moment before the thread sleeps.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::sched::sched_yield;

use crate::io::{Poll, Ready};

/// Looked for so long: in a steady stream of super-packets the next one comes sooner.
const MOMENT: Duration = Duration::from_micros(50);
/// To give way to others takes longer than this only where there are some.
const ALONE: Duration = Duration::from_micros(5);

/// Who wakes a thread pays for it: with an interrupt of another CPU, which on a virtual machine goes
/// by way of its host. So while TCP's super-packets pass, the thread looks for a moment before it
/// sleeps: only where what it waited for came within that moment lately, and only as long as nobody
/// else wants the CPU.
#[derive(Default)]
pub(super) struct Spin {
    /// What the last wait was for came within a moment.
    worth: bool,
}

impl Spin {
    /// As [`Poll::wait`].
    pub(super) fn wait(
        &mut self,
        poll: &Poll,
        ready: &mut Ready,
        patience: Option<Duration>,
    ) -> io::Result<()> {
        let begin = Instant::now();
        if !self.worth || !look(poll, ready, begin)? {
            poll.wait(ready, patience)?;
        }
        self.worth = !ready.is_empty() && begin.elapsed() < MOMENT;
        Ok(())
    }
}

/// Whether something became ready before the moment was over or somebody else wanted the CPU.
fn look(poll: &Poll, ready: &mut Ready, begin: Instant) -> io::Result<bool> {
    let mut before = begin;
    loop {
        poll.wait(ready, Some(Duration::ZERO))?;
        if !ready.is_empty() {
            return Ok(true);
        }
        sched_yield()?;
        let now = Instant::now();
        if now - before > ALONE || now - begin > MOMENT {
            return Ok(false);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd, thread};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;
    use crate::io::token;

    #[test]
    fn it_looks_only_where_that_was_worth_it() {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let poll = Poll::new().unwrap();
        poll.watch(event.as_fd()).unwrap();
        let (mut spin, mut ready) = (Spin::default(), Ready::new());
        let second = Some(Duration::from_secs(1));

        event.write(1).unwrap();
        // It is there: worth it, however slow this machine is.
        for _ in 0..1000 {
            spin.wait(&poll, &mut ready, second).unwrap();
            assert!(ready.contains(token(&event)));
            if spin.worth {
                break;
            }
            event.read().unwrap();
            event.write(1).unwrap();
        }
        assert!(spin.worth);
        // Nothing comes: it sleeps as long as it may, and the next time at once.
        let begin = Instant::now();
        let patience = Duration::from_millis(20);
        spin.wait(&poll, &mut ready, Some(patience)).unwrap();
        assert!(ready.is_empty() && begin.elapsed() >= patience);
        assert!(!spin.worth);
        // It wakes up for what comes late, which does not make it worth it.
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(patience);
                event.write(1).unwrap();
            });
            spin.wait(&poll, &mut ready, second).unwrap();
        });
        assert!(ready.contains(token(&event)) && !spin.worth);
    }
}
