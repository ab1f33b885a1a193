//! Sign-ins that fail are limited: by who asks for whom, and by where they come from.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// So many may fail before anybody has to wait; a person mistypes.
const FREE: u32 = 5;
/// The same for one address and all clients, tried one after the other.
const FREE_ADDRESS: u32 = 20;
/// The first wait.
const FIRST: Duration = Duration::from_secs(10);
/// The longest wait, and how long failures are remembered.
const LONGEST: Duration = Duration::from_secs(300);
/// Entries kept; beyond that the oldest go, whose wait is over first.
const MOST: usize = 10_000;

/// Nothing for an address is a client on this host's Unix socket; no name is all clients of an
/// address.
type Key = (Option<IpAddr>, Option<String>);

#[derive(Debug, Default)]
pub(super) struct Limiter {
    failures: BTreeMap<Key, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// From the last one on: twice as long with every further one.
    fn wait(self, free: u32) -> Duration {
        match self.count.checked_sub(free) {
            None => Duration::ZERO,
            Some(more) => (FIRST * (1 << more.min(16))).min(LONGEST),
        }
    }

    fn left(self, free: u32, now: Instant) -> Option<Duration> {
        (self.last + self.wait(free))
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

impl Limiter {
    /// How long this one has to wait; nothing where it may try.
    pub(super) fn wait(
        &self,
        address: Option<IpAddr>,
        client: &str,
        now: Instant,
    ) -> Option<Duration> {
        keys(address, client)
            .into_iter()
            .filter_map(|(key, free)| self.failures.get(&key)?.left(free, now))
            .max()
    }

    pub(super) fn failed(&mut self, address: Option<IpAddr>, client: &str, now: Instant) {
        if self.failures.len() >= MOST {
            self.forget(now);
        }
        for (key, _) in keys(address, client) {
            let entry = self.failures.entry(key).or_insert(Failures {
                count: 0,
                last: now,
            });
            if now.saturating_duration_since(entry.last) > LONGEST {
                entry.count = 0;
            }
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
        }
    }

    /// The address stays known: one good client does not cover for the others there.
    pub(super) fn succeeded(&mut self, address: Option<IpAddr>, client: &str) {
        self.failures.remove(&(address, Some(name(client))));
    }

    fn forget(&mut self, now: Instant) {
        self.failures
            .retain(|_, failures| now.saturating_duration_since(failures.last) <= LONGEST);
        while self.failures.len() >= MOST {
            let oldest = self.failures.iter().min_by_key(|(_, entry)| entry.last);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.failures.remove(&key);
        }
    }
}

fn keys(address: Option<IpAddr>, client: &str) -> [(Key, u32); 2] {
    [
        ((address, Some(name(client))), FREE),
        ((address, None), FREE_ADDRESS),
    ]
}

/// Ids compare without case, and no longer than any is.
fn name(client: &str) -> String {
    client.chars().take(64).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn after_five_failures_the_wait_doubles_and_a_success_ends_it() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        for n in 0..FREE {
            assert_eq!(limiter.wait(HERE, "a", now), None, "{n}");
            limiter.failed(HERE, "A", now);
        }
        assert_eq!(limiter.wait(HERE, "a", now), Some(FIRST));
        assert_eq!(limiter.wait(HERE, "b", now), None);
        assert_eq!(limiter.wait(None, "a", now), None);
        limiter.failed(HERE, "a", now);
        assert_eq!(limiter.wait(HERE, "a", now), Some(2 * FIRST));
        assert_eq!(limiter.wait(HERE, "a", now + 2 * FIRST), None);
        limiter.succeeded(HERE, "a");
        assert_eq!(limiter.wait(HERE, "a", now), None);
    }

    #[test]
    fn many_clients_of_one_address_wait_together() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        for n in 0..FREE_ADDRESS {
            limiter.failed(HERE, &n.to_string(), now);
        }
        assert!(limiter.wait(HERE, "new", now).is_some());
        let later = now + LONGEST + Duration::from_secs(1);
        limiter.failed(HERE, "new", later);
        assert_eq!(limiter.wait(HERE, "new", later), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        for n in 0..MOST + 100 {
            limiter.failed(None, &n.to_string(), now);
        }
        assert!(limiter.failures.len() <= MOST + 2);
    }
}
