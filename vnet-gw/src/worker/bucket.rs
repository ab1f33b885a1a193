//! Token buckets: the bandwidth of a gateway's SKU, one for each direction, and its ICMP errors.

use std::time::{Duration, Instant};

/// What may go out above the rate after a pause. Longer than the shortest retransmission timeout of
/// TCP (200 ms): a sender that the bucket refused, and that waits for it, then still finds all
/// that the rate gave it meanwhile. With 100 ms, one at a short distance came to half the rate.
const DEPTH: Duration = Duration::from_millis(300);
/// No less than a few super-packets.
const MIN_DEPTH: i64 = 512 << 10;

/// ICMP errors a second, and at once, of a gateway (RFC 4443, 2.4 (f): they must have a limit):
/// every sender of every workload finds its MTU anew in less, and a flood of long packets is not
/// answered with one of errors.
pub(super) const ERRORS: u64 = 1000;
const ERRORS_AT_ONCE: i64 = 100;

/// Bytes that may pass, or errors.
#[derive(Debug)]
pub(super) struct Bucket {
    /// A second; `None`: no limit.
    rate: Option<u64>,
    tokens: i64,
    depth: i64,
    filled: Instant,
}

impl Bucket {
    /// Of `rate` bits a second, full.
    pub(super) fn new(rate: Option<u64>, now: Instant) -> Self {
        let rate = rate.map(|bits| bits / 8);
        let depth = (rate.unwrap_or(0) as f64 * DEPTH.as_secs_f64()) as i64;
        let depth = depth.max(MIN_DEPTH);
        Self {
            rate,
            tokens: depth,
            depth,
            filled: now,
        }
    }

    /// Of ICMP errors, full.
    pub(super) fn of_errors(now: Instant) -> Self {
        Self {
            rate: Some(ERRORS),
            tokens: ERRORS_AT_ONCE,
            depth: ERRORS_AT_ONCE,
            filled: now,
        }
    }

    /// Adds what time brought: once a batch.
    pub(super) fn fill(&mut self, now: Instant) {
        let Some(rate) = self.rate else {
            return;
        };
        let nanos = now.saturating_duration_since(self.filled).as_nanos();
        let tokens = nanos * u128::from(rate) / 1_000_000_000;
        // What is not a whole byte yet stays in the time.
        if tokens == 0 {
            return;
        }
        self.filled = now;
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(tokens).min(self.depth);
    }

    /// Whether a packet of that length may pass; it is counted if so. A packet passes whole as
    /// long as anything is left, so that large ones are not at a disadvantage.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.rate.is_none() {
            return true;
        }
        let passes = self.tokens > 0;
        if passes {
            self.tokens -= bytes as i64;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(80_000_000), start);
        // Twice the rate of 10 MB a second, in steps of a millisecond, for ten seconds.
        let mut passed = 0;
        for millis in 0..10_000u64 {
            bucket.fill(start + Duration::from_millis(millis));
            for _ in 0..20 {
                passed += if bucket.take(1000) { 1000 } else { 0 };
            }
        }
        let burst = bucket.depth;
        assert!(
            (100_000_000..100_000_000 + burst + 2000).contains(&passed),
            "{passed}"
        );
    }

    #[test]
    fn small_steps_of_time_are_not_lost() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(8000), start);
        while bucket.take(1000) {}
        for micros in 0..2_000_000u64 {
            bucket.fill(start + Duration::from_micros(micros));
        }
        // 1,000 bytes a second, for two seconds.
        assert!((1000..=2000).contains(&bucket.tokens), "{}", bucket.tokens);
    }

    #[test]
    fn errors_are_few_however_often_they_are_wanted() {
        let start = Instant::now();
        let mut bucket = Bucket::of_errors(start);
        let mut passed = 0;
        for micros in (0..10_000_000u64).step_by(10) {
            bucket.fill(start + Duration::from_micros(micros));
            passed += u64::from(bucket.take(1));
        }
        let all = 10 * ERRORS + ERRORS_AT_ONCE as u64;
        assert!((all - 10..=all).contains(&passed), "{passed}");
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let now = Instant::now();
        let mut bucket = Bucket::new(None, now);
        assert!((0..1000).all(|_| bucket.take(65_535)));
    }
}
