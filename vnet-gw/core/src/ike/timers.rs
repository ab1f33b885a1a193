//! One deadline for each thing that waits, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::sa::TunnelId;

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Tunnel(TunnelId),
    /// By our SPI.
    Sa(u64),
}

/// Setting, moving and taking a deadline costs the logarithm of how many there are, and the next
/// one is at hand.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    by_timer: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Replaces the deadline there was; `None` takes it away.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(old) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.by_timer.insert(timer, at);
            self.by_time.insert((at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes one that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.remove(&(at, timer));
        self.by_timer.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timer_has_one_deadline_and_they_come_in_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(Timer::Sa(1), Some(at(5)));
        timers.set(Timer::Sa(2), Some(at(3)));
        timers.set(Timer::Sa(1), Some(at(1)));
        timers.set(Timer::Tunnel(TunnelId(7)), Some(at(2)));
        timers.set(Timer::Tunnel(TunnelId(7)), None);
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop(start), None);
        assert_eq!(timers.pop(at(4)), Some(Timer::Sa(1)));
        assert_eq!(timers.pop(at(4)), Some(Timer::Sa(2)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.next(), None);
    }
}
