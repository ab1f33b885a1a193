//! How many connections there may be, and who goes where there are as many: whoever only waits must
//! not keep out who asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// Connections of one listener's kind.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: usize,
    taken: Mutex<Taken>,
    /// Somebody went.
    left: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// Grows with everything that happens, so that a lower number is longer ago.
    clock: u64,
    by_number: BTreeMap<u64, Connected>,
}

#[derive(Debug)]
struct Connected {
    /// An address, or a user.
    from: String,
    /// Since when nothing is asked; nothing while a request is under way.
    waits_since: Option<u64>,
    leave: Arc<Notify>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
    leave: Arc<Notify>,
}

/// A request is under way, until it is dropped.
pub(super) struct Busy<'a>(&'a Place);

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self(Arc::new(Shared {
            all,
            taken: Mutex::default(),
            left: Notify::new(),
        }))
    }

    /// A place for a connection. Where all are taken, the one that waits longest goes, of those from
    /// where most come; nothing where every one is being served.
    pub(super) fn take(&self, from: &str) -> Option<Place> {
        let mut taken = self.0.taken();
        if taken.by_number.len() >= self.0.all {
            let number = taken.longest()?;
            if let Some(gone) = taken.by_number.remove(&number) {
                gone.leave.notify_one();
            }
        }
        taken.clock += 1;
        let number = taken.clock;
        let leave = Arc::new(Notify::new());
        let connected = Connected {
            from: from.to_owned(),
            waits_since: Some(number),
            leave: Arc::clone(&leave),
        };
        taken.by_number.insert(number, connected);
        Some(Place {
            shared: Arc::clone(&self.0),
            number,
            leave,
        })
    }

    /// Until nobody is connected.
    pub(super) async fn all_free(&self) {
        loop {
            let left = self.0.left.notified();
            if self.0.taken().by_number.is_empty() {
                return;
            }
            left.await;
        }
    }
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Who is to go.
    fn longest(&self) -> Option<u64> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for connected in self.by_number.values() {
            *counts.entry(&connected.from).or_default() += 1;
        }
        let count = |connected: &Connected| counts.get(connected.from.as_str()).copied();
        self.by_number
            .iter()
            .filter_map(|(number, connected)| Some((number, connected, connected.waits_since?)))
            .max_by(|(_, a, a_since), (_, b, b_since)| {
                count(a).cmp(&count(b)).then(b_since.cmp(a_since))
            })
            .map(|(number, ..)| *number)
    }
}

impl Place {
    /// When the place is needed for another.
    pub(super) fn needed(&self) -> OwnedNotified {
        Arc::clone(&self.leave).notified_owned()
    }

    pub(super) fn busy(&self) -> Busy<'_> {
        let mut taken = self.shared.taken();
        if let Some(connected) = taken.by_number.get_mut(&self.number) {
            connected.waits_since = None;
        }
        Busy(self)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.shared.taken();
        taken.clock += 1;
        let now = taken.clock;
        if let Some(connected) = taken.by_number.get_mut(&self.0.number) {
            connected.waits_since = Some(now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.taken().by_number.remove(&self.number);
        self.shared.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_needed(place: &Place) -> bool {
        let mut needed = std::pin::pin!(place.needed());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::future::Future::poll(needed.as_mut(), &mut context).is_ready()
    }

    #[test]
    fn who_waits_longest_of_the_many_goes() {
        let places = Places::new(4);
        let alone = places.take("a").unwrap();
        let crowd: Vec<Place> = (0..3).map(|_| places.take("b").unwrap()).collect();
        let busy = crowd[0].busy();
        let _c = places.take("c").unwrap();
        assert!(is_needed(&crowd[1]));
        assert!(!is_needed(&alone) && !is_needed(&crowd[0]));
        drop(busy);
        // It has just begun to wait, the other one of them has waited since it came.
        let _d = places.take("d").unwrap();
        assert!(is_needed(&crowd[2]) && !is_needed(&crowd[0]));
    }

    #[tokio::test]
    async fn nobody_is_cut_off_and_all_can_go() {
        let places = Places::new(1);
        let one = places.take("a").unwrap();
        let busy = one.busy();
        assert!(places.take("b").is_none());
        drop(busy);
        let two = places.take("b").unwrap();
        assert!(is_needed(&one));
        drop(one);
        drop(two);
        places.all_free().await;
    }
}
