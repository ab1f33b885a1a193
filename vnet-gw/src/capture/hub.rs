//! Who captures what.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, oneshot};
use vnet_gw_common::capture::Capture;
use vnet_gw_core::model::ResourceId;

use super::{
    Packet, Progress, Session, SessionId, Spec, Why,
    batch::Copied,
    reader::{self, Copies},
};

/// What is to be copied of each port that was captured: nothing any more, where it is `None`.
pub type Wanted = BTreeMap<ResourceId, Option<Capture>>;

/// Sessions at once; each costs the thread a look at every copy.
const MAX_SESSIONS: usize = 256;

/// The sessions, and the thread that feeds them.
#[derive(Default)]
pub struct Hub {
    inner: Mutex<Inner>,
    /// A session ended by itself: flags are to be lifted.
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    next: SessionId,
    sessions: BTreeMap<SessionId, Session>,
    /// Ports whose flag may be set.
    flagged: BTreeMap<ResourceId, u32>,
    reading: bool,
}

impl Hub {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Begins a session. `open` opens the rings, where nobody reads them yet; `lost` is what the
    /// session's ports have lost so far. What is to be copied ([`Self::wanted`]) is the caller's to
    /// set afterwards.
    ///
    /// # Errors
    /// The rings cannot be opened; too many sessions.
    pub fn add(
        self: &Arc<Self>,
        spec: Spec,
        lost: u64,
        open: impl FnOnce() -> std::io::Result<Box<dyn Copies>>,
    ) -> std::io::Result<(SessionId, Arc<Mutex<Progress>>)> {
        let mut inner = self.inner();
        if inner.sessions.len() >= MAX_SESSIONS {
            return Err(std::io::Error::other(format!(
                "{MAX_SESSIONS} captures and probes run already; stop one first"
            )));
        }
        if !inner.reading {
            reader::start(Arc::clone(self), open()?)?;
            inner.reading = true;
        }
        let id = inner.next;
        inner.next += 1;
        for interface in &spec.interfaces {
            inner.flagged.insert(interface.nic.clone(), interface.port);
        }
        let session = Session::new(spec, lost);
        let progress = session.progress();
        inner.sessions.insert(id, session);
        Ok((id, progress))
    }

    /// Ends a session once what was copied for it so far is with it; `told` hears how far it got.
    pub fn stop(&self, id: SessionId, why: Why, told: Option<oneshot::Sender<Progress>>) {
        if let Some(session) = self.inner().sessions.get_mut(&id) {
            session.ending.get_or_insert(why);
            session.told.extend(told);
        }
    }

    /// What is to be copied now. A port without a wish is forgotten with that.
    pub fn wanted(&self) -> Wanted {
        let mut inner = self.inner();
        let Inner {
            sessions, flagged, ..
        } = &mut *inner;
        let mut wanted: Wanted = flagged.keys().map(|nic| (nic.clone(), None)).collect();
        let live = sessions.values().filter(|one| one.ending.is_none());
        for session in live {
            for interface in &session.interfaces {
                session.widen(wanted.entry(interface.nic.clone()).or_default());
            }
        }
        flagged.retain(|nic, _| wanted.get(nic).is_some_and(Option::is_some));
        wanted
    }

    /// Ports that sessions are about.
    pub fn ports(&self) -> BTreeMap<ResourceId, u32> {
        self.inner().flagged.clone()
    }

    /// Before a port's flag is lifted: what it has lost.
    pub fn note_lost(&self, port: u32, lost: u64) {
        for session in self.inner().sessions.values() {
            if session.interfaces.iter().any(|one| one.port == port) {
                session.note_lost(lost);
            }
        }
    }

    /// Ends the sessions that have none of their ports left.
    pub fn keep_ports(&self, here: impl Fn(&ResourceId, u32) -> bool) {
        for session in self.inner().sessions.values_mut() {
            let any = session
                .interfaces
                .iter()
                .any(|one| here(&one.nic, one.port));
            if !any {
                session.ending.get_or_insert(Why::PortGone);
            }
        }
    }

    /// Ends all of them, at once: nobody reads any more.
    pub fn end(&self) {
        let sessions = std::mem::take(&mut self.inner().sessions);
        for session in sessions.into_values() {
            session.end(Why::DaemonEnded);
        }
    }

    pub fn is_idle(&self) -> bool {
        let inner = self.inner();
        inner.sessions.is_empty() && inner.flagged.is_empty()
    }

    /// Resolves when a session ended by itself.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Sessions that are to end when what is in the rings now was delivered.
    pub(super) fn ending(&self) -> Vec<SessionId> {
        let now = Instant::now();
        let mut inner = self.inner();
        for session in inner.sessions.values_mut() {
            if session.until <= now {
                session.ending.get_or_insert(Why::TimeExceeded);
            }
        }
        let ending = inner.sessions.iter();
        let ending = ending.filter(|(_, one)| one.ending.is_some());
        ending.map(|(id, _)| *id).collect()
    }

    pub(super) fn deliver(&self, copies: &[Copied], lost: impl Fn(u32) -> Option<u64>) {
        let since = boot();
        let mut inner = self.inner();
        for copy in copies {
            let packet = Packet {
                time: since.saturating_add(copy.time),
                monotonic: copy.time,
                interface: 0,
                direction: copy.direction,
                length: copy.length,
                bytes: &copy.bytes,
                refused: copy.refused,
            };
            for session in inner.sessions.values_mut() {
                session.offer(copy.port, &packet);
            }
        }
        for session in inner.sessions.values_mut() {
            session.flush();
            let lost: Option<u64> = session.interfaces.iter().map(|one| lost(one.port)).sum();
            if let Some(lost) = lost {
                session.note_lost(lost);
            }
        }
    }

    /// Ends those sessions; whether the thread is to go on.
    pub(super) fn finish(&self, ending: &[SessionId]) -> bool {
        let mut inner = self.inner();
        for id in ending {
            if let Some(session) = inner.sessions.remove(id) {
                let why = session.ending.clone().unwrap_or(Why::Stopped);
                session.end(why);
            }
        }
        inner.reading = !inner.sessions.is_empty();
        let go_on = inner.reading;
        drop(inner);
        if !ending.is_empty() {
            self.changed.notify_one();
        }
        go_on
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment of 0 on the monotonic clock, in nanoseconds since 1970; anew each time, since the
/// wall clock is set now and then.
fn boot() -> u64 {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(std::time::Duration::from)
        .unwrap_or_default();
    let nanoseconds = wall.saturating_sub(monotonic).as_nanos();
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
