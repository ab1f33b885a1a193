//! A tunnel: what the configuration wants, and how far it is from having it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ConnectionMode, EndpointOptions, Event, Reason, Report, TunnelConfig, TunnelState,
    context::{Context, earlier},
};
use crate::sa::Spi;

/// Between two unproven reasons.
const NOTED: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) config: Arc<TunnelConfig>,
    pub(super) state: TunnelState,
    pub(super) reason: Reason,
    /// Established IKE SAs, by our SPI; more than one while one takes the place of another.
    pub(super) sas: BTreeSet<u64>,
    /// The one of them that carries the tunnel.
    pub(super) current: Option<u64>,
    /// The SA that we are establishing as initiator.
    pub(super) attempt: Option<u64>,
    /// When to try next, as initiator.
    pub(super) retry: Option<Instant>,
    failures: u32,
    /// The local address is there.
    pub(super) present: bool,
    pub(super) watch: PathWatch,
    /// The last INVALID_SPI hint that was acted on.
    pub(super) hinted: Option<Instant>,
    /// Our SPI of the pair of SAs when there is one, and whether there are several.
    pub(super) sole: Option<Spi>,
    pub(super) several: bool,
    /// When an unproven refusal was last told of.
    noted: Option<Instant>,
}

impl Tunnel {
    pub(super) fn new(config: TunnelConfig, present: bool) -> Self {
        Self {
            config: Arc::new(config),
            state: TunnelState::Unknown,
            reason: Reason(String::new()),
            sas: BTreeSet::new(),
            current: None,
            attempt: None,
            retry: None,
            failures: 0,
            present,
            watch: PathWatch::default(),
            hinted: None,
            sole: None,
            several: false,
            noted: None,
        }
    }

    pub(super) fn initiates(&self) -> bool {
        self.config.mode != ConnectionMode::ResponderOnly && self.present
    }

    pub(super) fn set_state(&mut self, cx: &mut Context, state: TunnelState, reason: String) {
        if self.state == state && self.reason.0 == reason {
            return;
        }
        self.state = state;
        self.reason = Reason(reason);
        cx.events.push_back(Event::State {
            tunnel: self.config.id,
            state,
            reason: self.reason.clone(),
        });
    }

    /// Why the peer, or somebody in its name, does not come in. It is told of as long as there is
    /// nothing better to tell, and not for each of a flood.
    pub(super) fn note(&mut self, cx: &mut Context, now: Instant, reason: String) {
        let recent = |at: Instant| now.saturating_duration_since(at) < NOTED;
        if self.current.is_none() && !self.noted.is_some_and(recent) {
            self.noted = Some(now);
            self.set_state(cx, TunnelState::NotConnected, reason);
        }
    }

    /// It is established: what failed before does not count any more.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.retry = None;
    }

    /// Tries again after a while, longer each time.
    pub(super) fn try_later(&mut self, cx: &mut Context, now: Instant) {
        if !self.initiates() {
            self.retry = None;
            return;
        }
        let EndpointOptions {
            retry, retry_max, ..
        } = cx.options;
        let wait = retry
            .saturating_mul(1 << self.failures.min(16))
            .min(retry_max);
        self.failures = self.failures.saturating_add(1);
        let wait = wait.saturating_sub(cx.jitter(wait / 2));
        self.retry = Some(now + wait);
    }

    pub(super) fn deadline(&self, options: &EndpointOptions) -> Option<Instant> {
        earlier(self.retry, self.watch.deadline(options))
    }
}

/// How many times a liveness check is sent before its time is over: a lost packet is no dead path.
const TRIES: u32 = 3;

/// Whether the path of a tunnel works, found out much sooner than IKE gives up.
#[derive(Debug, Default)]
pub(super) struct PathWatch {
    /// Since when we send and hear nothing.
    quiet: Option<Instant>,
    asked: Option<Asked>,
    unusable: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    sent: u32,
}

/// What the watch wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    Nothing,
    /// Ask the peer whether it is there.
    Ask,
    /// Ask it again.
    AskAgain,
    /// It did not answer: the path is not usable.
    Unusable,
}

impl PathWatch {
    /// The tunnel has another IKE SA, or none: what was seen before does not count.
    pub(super) fn reset(&mut self) -> bool {
        std::mem::take(self).unusable
    }

    pub(super) fn report(&mut self, now: Instant, report: &Report) {
        if report.sent && !report.received {
            self.quiet.get_or_insert(now);
        }
    }

    /// The peer proved to be there. True when the path was not usable until now.
    pub(super) fn heard(&mut self) -> bool {
        self.reset()
    }

    /// True when it was usable until now.
    pub(super) fn lost(&mut self) -> bool {
        self.quiet = None;
        self.asked = None;
        !std::mem::replace(&mut self.unusable, true)
    }

    pub(super) fn deadline(&self, options: &EndpointOptions) -> Option<Instant> {
        if self.unusable {
            return None;
        }
        match self.asked {
            Some(asked) => Some(asked.at + step(options) * asked.sent),
            None => self.quiet.map(|quiet| quiet + options.path_quiet),
        }
    }

    /// The check begins now, whether or not anything was sent: true unless it has begun, or the path
    /// is not usable already.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        let begins = self.asked.is_none() && !self.unusable;
        if begins {
            self.asked = Some(Asked { at: now, sent: 1 });
        }
        begins
    }

    pub(super) fn on_timeout(&mut self, options: &EndpointOptions, now: Instant) -> Watch {
        if self.deadline(options).is_none_or(|deadline| now < deadline) {
            return Watch::Nothing;
        }
        match &mut self.asked {
            None => {
                self.asked = Some(Asked { at: now, sent: 1 });
                Watch::Ask
            }
            Some(asked) if asked.sent < TRIES => {
                asked.sent += 1;
                Watch::AskAgain
            }
            Some(_) => Watch::Unusable,
        }
    }
}

fn step(options: &EndpointOptions) -> Duration {
    options.path_answer / TRIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sa::TunnelId;

    fn report(sent: bool, received: bool) -> Report {
        Report {
            tunnel: TunnelId(1),
            received,
            sent,
            rekey: None,
            moved_to: None,
        }
    }

    #[test]
    fn a_path_that_does_not_answer_is_told_within_two_seconds() {
        let options = EndpointOptions::default();
        let start = Instant::now();
        let mut watch = PathWatch::default();
        watch.report(start, &report(false, false));
        assert_eq!(watch.deadline(&options), None);
        watch.report(start, &report(true, false));
        let mut asked = 0;
        let lost = loop {
            let now = watch.deadline(&options).unwrap();
            match watch.on_timeout(&options, now) {
                Watch::Nothing => panic!("due at its deadline"),
                Watch::Ask => {
                    assert_eq!(asked, 0);
                    asked += 1;
                }
                Watch::AskAgain => asked += 1,
                Watch::Unusable => break now,
            }
        };
        assert_eq!(asked, TRIES);
        assert!(lost - start <= options.path_quiet + options.path_answer);
        assert!(watch.lost());
        assert!(!watch.lost());
        assert_eq!(watch.deadline(&options), None);
        assert!(watch.heard());
        assert!(!watch.heard());
    }

    #[test]
    fn a_doubted_path_is_decided_without_traffic() {
        let options = EndpointOptions::default();
        let start = Instant::now();
        let mut watch = PathWatch::default();
        assert!(watch.doubt(start));
        assert!(!watch.doubt(start), "one check at a time");
        let lost = loop {
            let now = watch.deadline(&options).unwrap();
            if watch.on_timeout(&options, now) == Watch::Unusable {
                break now;
            }
        };
        assert!(lost - start <= options.path_answer);
        assert!(watch.lost());
        assert!(!watch.doubt(lost), "known to be dead");
    }

    #[test]
    fn an_answer_ends_the_check() {
        let options = EndpointOptions::default();
        let start = Instant::now();
        let mut watch = PathWatch::default();
        watch.report(start, &report(true, false));
        let now = start + options.path_quiet;
        assert_eq!(watch.on_timeout(&options, now), Watch::Ask);
        assert!(!watch.heard());
        assert_eq!(
            watch.on_timeout(&options, now + options.path_answer),
            Watch::Nothing
        );
    }
}
