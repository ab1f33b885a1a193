//! What a number of tries came to.

use std::time::Duration;

use super::Answer;

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        answer: Answer,
        after: Duration,
    },
    /// The data path refused it; the number of a `Reason`.
    Dropped {
        reason: u32,
    },
    Lost,
}

impl Outcome {
    /// Whether the other side can be talked to.
    pub fn is_good(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                answer: Answer::Reply,
                ..
            }
        )
    }
}

/// As Azure's `ConnectivityInformation` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub sent: u32,
    pub failed: u32,
    /// Of the answers that were good.
    pub least: Option<Duration>,
    pub most: Option<Duration>,
    total: Duration,
}

impl Statistics {
    pub fn add(&mut self, outcome: &Outcome) {
        self.sent += 1;
        match outcome {
            Outcome::Answered {
                answer: Answer::Reply,
                after,
            } => {
                self.least = Some(self.least.map_or(*after, |least| least.min(*after)));
                self.most = Some(self.most.map_or(*after, |most| most.max(*after)));
                self.total = self.total.saturating_add(*after);
            }
            _ => self.failed += 1,
        }
    }

    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut statistics = Self::default();
        for outcome in outcomes {
            statistics.add(outcome);
        }
        statistics
    }

    pub fn average(&self) -> Option<Duration> {
        match self.sent - self.failed {
            0 => None,
            good => Some(self.total / good),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_answers_have_a_latency() {
        let good = |milliseconds| Outcome::Answered {
            answer: Answer::Reply,
            after: Duration::from_millis(milliseconds),
        };
        let refused = Outcome::Answered {
            answer: Answer::Refused,
            after: Duration::from_millis(1),
        };
        let all = [
            good(4),
            Outcome::Lost,
            good(8),
            refused,
            Outcome::Dropped { reason: 1 },
        ];
        let statistics = Statistics::of(&all);
        assert_eq!((statistics.sent, statistics.failed), (5, 3));
        assert_eq!(statistics.least, Some(Duration::from_millis(4)));
        assert_eq!(statistics.most, Some(Duration::from_millis(8)));
        assert_eq!(statistics.average(), Some(Duration::from_millis(6)));
        assert_eq!(Statistics::of(&[Outcome::Lost]).average(), None);
    }
}
