//! What strangers may cost us: half-open SAs and their rate, in all and by source.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::EndpointOptions;

/// Sources remembered at once; the oldest go first. Only those that proved their address are.
const SOURCES: usize = 4096;
const SECOND: Duration = Duration::from_secs(1);

/// An IPv6 source has a /64 for itself; it is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self(address),
            IpAddr::V6(v6) => {
                let prefix = u128::from(v6) & !u128::from(u64::MAX);
                Self(IpAddr::V6(prefix.into()))
            }
        }
    }
}

/// What to do with an IKE_SA_INIT request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admit,
    /// Ask for a cookie first, unless it brought a good one.
    Cookie,
    Drop,
}

/// So many a second, and so many at once.
#[derive(Debug)]
struct Bucket {
    /// In thousandths.
    tokens: u64,
    since: Instant,
}

impl Bucket {
    const TOKEN: u64 = 1000;

    fn full(now: Instant, burst: u32) -> Self {
        Self {
            tokens: u64::from(burst) * Self::TOKEN,
            since: now,
        }
    }

    fn take(&mut self, now: Instant, rate: u32, burst: u32) -> bool {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        if passed > 0 {
            let earned = passed.saturating_mul(u64::from(rate));
            let most = u64::from(burst) * Self::TOKEN;
            self.tokens = self.tokens.saturating_add(earned).min(most);
            self.since = now;
        }
        if self.tokens < Self::TOKEN {
            return false;
        }
        self.tokens -= Self::TOKEN;
        true
    }
}

#[derive(Debug, Default)]
pub(super) struct Limits {
    half_open: BTreeMap<Source, usize>,
    total: usize,
    /// Of all that did not prove their address, together.
    unproven: Option<Bucket>,
    /// Of each source that did.
    proven: HashMap<Source, Bucket>,
    order: VecDeque<Source>,
    /// Answers to what belongs to nobody.
    replies: Option<(u32, Instant)>,
}

impl Limits {
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Of a source that proved its address with a cookie the rate counts. One that did not takes
    /// from what all such share, for a rate of its own would let an attacker spend it in another's
    /// name; when that is used up, there still is the cookie.
    pub(super) fn admit(
        &mut self,
        options: &EndpointOptions,
        now: Instant,
        source: IpAddr,
        proven: bool,
    ) -> Admission {
        let source = Source::of(source);
        if !proven {
            return self.admit_unproven(options, now);
        }
        let of_source = self.half_open.get(&source).copied().unwrap_or(0);
        let room = self.total < options.half_open && of_source < options.half_open_per_source;
        if room && self.take(options, now, source) {
            Admission::Admit
        } else {
            Admission::Drop
        }
    }

    fn admit_unproven(&mut self, options: &EndpointOptions, now: Instant) -> Admission {
        let (rate, burst) = (options.unproven_rate, options.unproven_burst);
        if self.total >= options.cookie_threshold.min(options.half_open) {
            return Admission::Cookie;
        }
        let bucket = self
            .unproven
            .get_or_insert_with(|| Bucket::full(now, burst));
        if bucket.take(now, rate, burst) {
            Admission::Admit
        } else {
            Admission::Cookie
        }
    }

    fn take(&mut self, options: &EndpointOptions, now: Instant, source: Source) -> bool {
        let (rate, burst) = (options.source_rate, options.source_burst);
        if !self.proven.contains_key(&source) {
            if self.order.len() >= SOURCES
                && let Some(oldest) = self.order.pop_front()
            {
                self.proven.remove(&oldest);
            }
            self.order.push_back(source);
        }
        self.proven
            .entry(source)
            .or_insert_with(|| Bucket::full(now, burst))
            .take(now, rate, burst)
    }

    pub(super) fn opened(&mut self, source: IpAddr) {
        *self.half_open.entry(Source::of(source)).or_insert(0) += 1;
        self.total += 1;
    }

    /// It was established, or forgotten.
    pub(super) fn closed(&mut self, source: IpAddr) {
        let source = Source::of(source);
        let Some(count) = self.half_open.get_mut(&source) else {
            return;
        };
        *count -= 1;
        self.total -= 1;
        if *count == 0 {
            self.half_open.remove(&source);
        }
    }

    /// Whether a message of an unknown SA may be answered: ten a second, for all the world.
    pub(super) fn reply(&mut self, now: Instant) -> bool {
        let (count, since) = self.replies.get_or_insert((0, now));
        if now.saturating_duration_since(*since) >= SECOND {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_threshold_only_cookies_help_and_above_the_limit_nothing() {
        let options = EndpointOptions {
            cookie_threshold: 2,
            half_open: 3,
            ..EndpointOptions::default()
        };
        let now = Instant::now();
        let mut limits = Limits::default();
        let source = |n: u8| IpAddr::from([192, 0, 2, n]);
        for n in 0..2 {
            assert_eq!(
                limits.admit(&options, now, source(n), false),
                Admission::Admit
            );
            limits.opened(source(n));
        }
        assert_eq!(
            limits.admit(&options, now, source(9), false),
            Admission::Cookie
        );
        assert_eq!(
            limits.admit(&options, now, source(9), true),
            Admission::Admit
        );
        limits.opened(source(9));
        assert_eq!(
            limits.admit(&options, now, source(8), true),
            Admission::Drop
        );
        limits.closed(source(9));
        limits.closed(source(9));
        assert_eq!(limits.total(), 2);
        assert_eq!(
            limits.admit(&options, now, source(8), true),
            Admission::Admit
        );
    }

    #[test]
    fn a_source_has_a_rate_and_a_share() {
        let options = EndpointOptions {
            source_rate: 2,
            source_burst: 3,
            half_open_per_source: 1,
            ..EndpointOptions::default()
        };
        let now = Instant::now();
        let mut limits = Limits::default();
        let source = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(limits.admit(&options, now, source, true), Admission::Admit);
        }
        assert_eq!(
            limits.admit(&options, now, neighbour, true),
            Admission::Drop
        );
        let later = now + SECOND;
        assert_eq!(
            limits.admit(&options, later, source, true),
            Admission::Admit
        );
        limits.opened(source);
        assert_eq!(
            limits.admit(&options, later, neighbour, true),
            Admission::Drop
        );
    }

    #[test]
    fn what_proves_nothing_takes_from_nobody() {
        let options = EndpointOptions {
            unproven_rate: 1,
            unproven_burst: 2,
            ..EndpointOptions::default()
        };
        let now = Instant::now();
        let mut limits = Limits::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut ask = |now, proven| limits.admit(&options, now, source, proven);
        assert_eq!(ask(now, false), Admission::Admit);
        assert_eq!(ask(now, false), Admission::Admit);
        for _ in 0..1_000 {
            assert_eq!(ask(now, false), Admission::Cookie);
        }
        for _ in 0..options.source_burst {
            assert_eq!(ask(now, true), Admission::Admit);
        }
        assert_eq!(ask(now, true), Admission::Drop);
        // It is asked more often than once in a thousandth of a token, and earns one all the same.
        for micros in (0..1_000_000).step_by(100) {
            let at = now + Duration::from_micros(micros);
            assert_eq!(ask(at, false), Admission::Cookie);
        }
        assert_eq!(ask(now + SECOND, false), Admission::Admit);
    }

    #[test]
    fn what_is_remembered_of_sources_is_bounded() {
        let options = EndpointOptions::default();
        let now = Instant::now();
        let mut limits = Limits::default();
        for n in 0..20_000_u32 {
            let _ = limits.admit(&options, now, IpAddr::from(n.to_be_bytes()), true);
        }
        assert_eq!(limits.proven.len(), SOURCES);
        assert_eq!(limits.order.len(), SOURCES);
    }
}
