//! What strangers may cost us: half-open SAs and their rate, in all and by source.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::EndpointOptions;

/// Sources remembered at once. Spoofed ones are without number; the oldest go first, which costs an
/// attacker nothing but gains it nothing either: above the threshold each needs a cookie anyway.
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

#[derive(Debug, Default)]
pub(super) struct Limits {
    half_open: BTreeMap<Source, usize>,
    total: usize,
    /// Tokens left of each source, in thousandths, and since when.
    buckets: HashMap<Source, (u64, Instant)>,
    order: VecDeque<Source>,
    /// Answers to what belongs to nobody.
    replies: Option<(u32, Instant)>,
}

impl Limits {
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Of a source that proved its address with a cookie the rate counts; of one that did not, a
    /// rate would only let an attacker spend it in another's name.
    pub(super) fn admit(
        &mut self,
        options: &EndpointOptions,
        now: Instant,
        source: IpAddr,
        proven: bool,
    ) -> Admission {
        let source = Source::of(source);
        if self.total >= options.cookie_threshold && !proven {
            return Admission::Cookie;
        }
        let of_source = self.half_open.get(&source).copied().unwrap_or(0);
        if self.total >= options.half_open || of_source >= options.half_open_per_source {
            return Admission::Drop;
        }
        if self.take(options, now, source) {
            Admission::Admit
        } else if proven {
            Admission::Drop
        } else {
            Admission::Cookie
        }
    }

    fn take(&mut self, options: &EndpointOptions, now: Instant, source: Source) -> bool {
        const TOKEN: u64 = 1000;
        let full = u64::from(options.source_burst) * TOKEN;
        if !self.buckets.contains_key(&source) {
            if self.order.len() >= SOURCES
                && let Some(oldest) = self.order.pop_front()
            {
                self.buckets.remove(&oldest);
            }
            self.order.push_back(source);
        }
        let (tokens, since) = self.buckets.entry(source).or_insert((full, now));
        let passed = now.saturating_duration_since(*since).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let earned = passed.saturating_mul(u64::from(options.source_rate));
        *tokens = tokens.saturating_add(earned).min(full);
        *since = now;
        if *tokens < TOKEN {
            return false;
        }
        *tokens -= TOKEN;
        true
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
            assert_eq!(limits.admit(&options, now, source, false), Admission::Admit);
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
    fn what_is_remembered_of_sources_is_bounded() {
        let options = EndpointOptions::default();
        let now = Instant::now();
        let mut limits = Limits::default();
        for n in 0..20_000_u32 {
            let _ = limits.admit(&options, now, IpAddr::from(n.to_be_bytes()), false);
        }
        assert_eq!(limits.buckets.len(), SOURCES);
        assert_eq!(limits.order.len(), SOURCES);
    }
}
