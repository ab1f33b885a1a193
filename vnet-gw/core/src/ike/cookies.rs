//! Cookies of a responder under load (RFC 7296, 2.6): their secret, and when it changes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Random,
    keys::{COOKIE_LEN, cookie_version, make_cookie, verify_cookie},
};
use crate::secret::Secret;

/// A cookie is good for this long at least, and for twice as long at most.
const LIFETIME: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Generation {
    version: u32,
    secret: Secret,
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Cookies {
    current: Option<Generation>,
    previous: Option<Generation>,
}

impl Cookies {
    pub(super) fn make(
        &mut self,
        random: &mut dyn Random,
        now: Instant,
        nonce: &[u8],
        peer: SocketAddr,
        spi: u64,
    ) -> [u8; COOKIE_LEN] {
        let old = self.current.take();
        let age = |old: &Generation| now.saturating_duration_since(old.since);
        let generation = match old {
            Some(old) if age(&old) < LIFETIME => old,
            old => {
                let version = old.as_ref().map_or(0, |old| old.version.wrapping_add(1));
                self.previous = old;
                let mut secret = [0; 32];
                random.fill(&mut secret);
                Generation {
                    version,
                    secret: Secret::new(secret),
                    since: now,
                }
            }
        };
        let cookie = make_cookie(generation.version, &generation.secret, nonce, peer, spi);
        self.current = Some(generation);
        cookie
    }

    pub(super) fn verify(
        &self,
        now: Instant,
        cookie: &[u8],
        nonce: &[u8],
        peer: SocketAddr,
        spi: u64,
    ) -> bool {
        let version = cookie_version(cookie);
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .any(|generation| {
                version == Some(generation.version)
                    && now.saturating_duration_since(generation.since) < LIFETIME * 2
                    && verify_cookie(cookie, &generation.secret, nonce, peer, spi)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_cookie_is_good_for_one_asker_and_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let peer = "192.0.2.1:500".parse().unwrap();
        let other = "192.0.2.2:500".parse().unwrap();
        let mut random = Counting(0);
        let mut cookies = Cookies::default();
        let first = cookies.make(&mut random, start, &[1; 32], peer, 7);
        assert!(cookies.verify(at(1), &first, &[1; 32], peer, 7));
        assert!(!cookies.verify(at(1), &first, &[2; 32], peer, 7));
        assert!(!cookies.verify(at(1), &first, &[1; 32], other, 7));
        assert!(!cookies.verify(at(1), &first, &[1; 32], peer, 8));
        let second = cookies.make(&mut random, at(70), &[1; 32], peer, 7);
        assert_ne!(first, second);
        assert!(cookies.verify(at(80), &first, &[1; 32], peer, 7));
        assert!(cookies.verify(at(80), &second, &[1; 32], peer, 7));
        assert!(!cookies.verify(at(121), &first, &[1; 32], peer, 7));
        cookies.make(&mut random, at(140), &[1; 32], peer, 7);
        cookies.make(&mut random, at(210), &[1; 32], peer, 7);
        assert!(!cookies.verify(at(180), &second, &[1; 32], peer, 7));
    }
}
