//! When a request is sent again, and when its sender gives up (RFC 7296, 2.4).

use std::time::{Duration, Instant};

use super::EndpointOptions;

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Retransmit {
    first: Instant,
    next: Instant,
    interval: Duration,
    sent: u32,
}

/// What a request's deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    NotYet,
    Again,
    GiveUp(NoAnswer),
}

/// How much was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer {
    pub(super) sent: u32,
    pub(super) after: Duration,
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.after.as_secs_f64().round();
        write!(
            f,
            "no answer from the peer (sent {} times in {seconds} s)",
            self.sent
        )
    }
}

impl Retransmit {
    /// The request goes out for the first time now.
    pub(super) fn new(options: &EndpointOptions, now: Instant) -> Self {
        Self {
            first: now,
            next: now + options.retransmit,
            interval: options.retransmit,
            sent: 1,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    pub(super) fn due(&mut self, options: &EndpointOptions, now: Instant) -> Due {
        if now < self.next {
            return Due::NotYet;
        }
        if self.sent >= options.attempts {
            return Due::GiveUp(NoAnswer {
                sent: self.sent,
                after: now.saturating_duration_since(self.first),
            });
        }
        self.sent += 1;
        self.interval = self.interval.saturating_mul(2);
        self.next = now + self.interval;
        Due::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_times_in_31_seconds() {
        let options = EndpointOptions::default();
        let start = Instant::now();
        let mut retransmit = Retransmit::new(&options, start);
        let mut at = Vec::new();
        loop {
            let now = retransmit.deadline();
            match retransmit.due(&options, now) {
                Due::NotYet => panic!("due at its deadline"),
                Due::Again => at.push((now - start).as_secs()),
                Due::GiveUp(no_answer) => {
                    assert_eq!(
                        no_answer.to_string(),
                        "no answer from the peer (sent 5 times in 31 s)"
                    );
                    break;
                }
            }
        }
        assert_eq!(at, [1, 3, 7, 15]);
    }
}
