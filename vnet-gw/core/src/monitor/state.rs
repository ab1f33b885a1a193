//! What a test came to, turn by turn: Azure's `ConnectionStateSnapshot`s.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::Test;
use crate::probe::Statistics;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    Reachable,
    Unreachable,
    /// It could not be tried.
    Unknown,
}

impl ConnectionState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reachable => "Reachable",
            Self::Unreachable => "Unreachable",
            Self::Unknown => "Unknown",
        }
    }

    /// Of one turn, by what the test allows; without a threshold, one answer is enough.
    pub fn of(test: &Test, statistics: &Statistics) -> Self {
        if statistics.sent == 0 {
            return Self::Unknown;
        }
        let failed = statistics.failed.saturating_mul(100);
        let too_many = match test.failed_allowed {
            Some(allowed) => failed > allowed.saturating_mul(statistics.sent),
            None => statistics.failed == statistics.sent,
        };
        let too_slow = match (test.round_trip_allowed, statistics.average()) {
            (Some(allowed), Some(average)) => average > allowed,
            _ => false,
        };
        match too_many || too_slow {
            true => Self::Unreachable,
            false => Self::Reachable,
        }
    }
}

/// A time in which the state stayed the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub state: ConnectionState,
    pub start: SystemTime,
    pub end: SystemTime,
    pub sent: u64,
    pub failed: u64,
    pub least: Option<Duration>,
    pub most: Option<Duration>,
    total: Duration,
    /// Why it could not be tried.
    pub why: Option<String>,
}

impl Snapshot {
    pub fn average(&self) -> Option<Duration> {
        let good = u32::try_from(self.sent - self.failed).unwrap_or(u32::MAX);
        (good > 0).then(|| self.total / good)
    }
}

/// How many are kept; the oldest goes.
const KEPT: usize = 100;

/// The snapshots of a test, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    snapshots: VecDeque<Snapshot>,
    /// Of all turns, kept or not.
    pub sent: u64,
    pub failed: u64,
    /// Of the last turn that had any.
    pub last_round_trip: Option<Duration>,
}

impl History {
    pub fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter()
    }

    pub fn state(&self) -> Option<ConnectionState> {
        self.snapshots.back().map(|last| last.state)
    }

    /// Takes a turn that was tried, or one that could not be: why.
    pub fn add(
        &mut self,
        test: &Test,
        begun: SystemTime,
        ended: SystemTime,
        turn: Result<&Statistics, &str>,
    ) {
        let nothing = Statistics::default();
        let (statistics, why) = match turn {
            Ok(statistics) => (statistics, None),
            Err(why) => (&nothing, Some(why.to_owned())),
        };
        let state = ConnectionState::of(test, statistics);
        let (sent, failed) = (u64::from(statistics.sent), u64::from(statistics.failed));
        self.sent += sent;
        self.failed += failed;
        self.last_round_trip = statistics.average().or(self.last_round_trip);
        let total =
            statistics.average().unwrap_or_default() * (statistics.sent - statistics.failed);
        if let Some(last) = self.snapshots.back_mut()
            && last.state == state
            && last.why == why
        {
            last.end = ended;
            last.sent += sent;
            last.failed += failed;
            last.total = last.total.saturating_add(total);
            last.least = [last.least, statistics.least].into_iter().flatten().min();
            last.most = last.most.max(statistics.most);
            return;
        }
        if self.snapshots.len() >= KEPT {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(Snapshot {
            state,
            start: begun,
            end: ended,
            sent,
            failed,
            least: statistics.least,
            most: statistics.most,
            total,
            why,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::ResourceId,
        monitor::Destination,
        probe::{Answer, Outcome, Protocol},
    };

    fn test() -> Test {
        Test {
            group: "g".into(),
            source_name: "s".into(),
            destination_name: "d".into(),
            configuration: "c".into(),
            source: ResourceId::new("/s"),
            destination: Destination::Resource(ResourceId::new("/d")),
            protocol: Protocol::Icmp,
            every: Duration::from_secs(60),
            failed_allowed: None,
            round_trip_allowed: None,
        }
    }

    fn turn(good: &[u64], lost: usize) -> Statistics {
        let good = good.iter().map(|milliseconds| Outcome::Answered {
            answer: Answer::Reply,
            after: Duration::from_millis(*milliseconds),
        });
        let all: Vec<_> = good
            .chain(std::iter::repeat_n(Outcome::Lost, lost))
            .collect();
        Statistics::of(&all)
    }

    #[test]
    fn thresholds_decide() {
        let state = |test: &Test, turn: &Statistics| ConnectionState::of(test, turn);
        let plain = test();
        assert_eq!(state(&plain, &turn(&[1], 3)), ConnectionState::Reachable);
        assert_eq!(state(&plain, &turn(&[], 3)), ConnectionState::Unreachable);
        assert_eq!(state(&plain, &turn(&[], 0)), ConnectionState::Unknown);
        let strict = Test {
            failed_allowed: Some(25),
            round_trip_allowed: Some(Duration::from_millis(10)),
            ..test()
        };
        assert_eq!(
            state(&strict, &turn(&[1, 1, 1], 1)),
            ConnectionState::Reachable
        );
        assert_eq!(
            state(&strict, &turn(&[1, 1], 1)),
            ConnectionState::Unreachable
        );
        assert_eq!(
            state(&strict, &turn(&[11], 0)),
            ConnectionState::Unreachable
        );
    }

    #[test]
    fn a_state_that_stays_is_one_snapshot() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut history = History::default();
        let test = test();
        history.add(&test, at(0), at(1), Ok(&turn(&[4, 6], 0)));
        history.add(&test, at(60), at(61), Ok(&turn(&[8], 1)));
        history.add(&test, at(120), at(121), Ok(&turn(&[], 2)));
        history.add(&test, at(180), at(181), Err("the port is down"));
        let all: Vec<_> = history.snapshots().collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].sent, all[0].failed), (4, 1));
        assert_eq!((all[0].start, all[0].end), (at(0), at(61)));
        assert_eq!(all[0].average(), Some(Duration::from_millis(6)));
        assert_eq!(all[0].most, Some(Duration::from_millis(8)));
        assert_eq!(all[1].average(), None);
        assert_eq!(history.state(), Some(ConnectionState::Unknown));
        assert_eq!((history.sent, history.failed), (6, 3));
        for second in 0..1000 {
            let lost = usize::from(second % 2 == 0);
            history.add(&test, at(second), at(second), Ok(&turn(&[], lost)));
        }
        assert_eq!(history.snapshots().count(), KEPT);
    }
}
