//! Reading and keeping, beside the daemon's loop.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use vnet_gw_core::{
    metering::{Metered, Period},
    model::Topology,
};

use super::{Count, Ledger, UsageList, seconds, view};
use crate::{
    control::{Asked, Snapshot},
    datapath::{DatapathError, Instance, left_meters},
    store::{FileStore, Store, StoreError},
    vpn::{Question, VpnStatus},
};

/// How much is lost at most with the host.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("the daemon ends; ask again when it is back")]
    Ending,
    #[error("{0}")]
    Datapath(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The ledger of a daemon; clones are of one.
#[derive(Clone, Debug)]
pub struct Metering {
    questions: mpsc::Sender<Asked>,
    snapshot: watch::Receiver<Snapshot>,
    /// Held from reading to keeping: what was read later must be kept later.
    turn: Arc<tokio::sync::Mutex<()>>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Metering {
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub fn open(
        store: Arc<dyn Store>,
        questions: mpsc::Sender<Asked>,
        snapshot: watch::Receiver<Snapshot>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            questions,
            snapshot,
            turn: Arc::default(),
            ledger: Arc::new(Mutex::new(Ledger::open(store)?)),
        })
    }

    /// Keeps what was counted, again and again, until the loop ends.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<String> = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.questions.closed() => return,
            }
            let failed = match self.fold().await {
                Ok(()) => None,
                Err(UsageError::Ending) => return,
                Err(error) => Some(error.to_string()),
            };
            // Told once, not with every turn.
            if let Some(error) = failed.as_ref().filter(|_| told != failed) {
                log::error!("metering: {error}; nothing is lost yet, it is tried again");
            }
            told = failed;
        }
    }

    /// Reads everything and keeps what came since.
    ///
    /// # Errors
    ///
    /// Where the loop ends, or the data path cannot be read, or the store not written.
    pub async fn fold(&self) -> Result<(), UsageError> {
        let _turn = self.turn.lock().await;
        let readings = self.ask(Asked::Meters).await?;
        let readings = readings.map_err(|error| UsageError::Datapath(error.message))?;
        let vpn = self
            .ask(|answer| Asked::Vpn(Question::Status(answer)))
            .await?;
        let topology = Arc::clone(&self.snapshot.borrow().topology);
        let ledger = Arc::clone(&self.ledger);
        let kept = spawn_blocking(move || {
            let now = seconds(SystemTime::now());
            locked(&ledger).fold(now, &readings, &vpn, &topology)
        });
        let over = kept.await.map_err(|_| UsageError::Ending)??;
        if !over.is_empty() {
            // Only a loop that is gone does not take it; then the next one is told.
            let _ = self.questions.send(Asked::MetersSettled(over)).await;
        }
        Ok(())
    }

    /// What was counted up to now: all there ever was, or from one moment to another (seconds since
    /// 1970).
    ///
    /// # Errors
    ///
    /// As for [`Self::fold`].
    pub async fn usage(&self, period: Option<(u64, u64)>) -> Result<UsageList, UsageError> {
        self.fold().await?;
        let ledger = Arc::clone(&self.ledger);
        let list = spawn_blocking(move || list(&locked(&ledger), period, SystemTime::now()));
        Ok(list.await.map_err(|_| UsageError::Ending)??)
    }

    /// As it was last kept.
    pub fn totals(&self) -> Vec<(Metered, Count)> {
        let ledger = locked(&self.ledger);
        let totals = ledger.totals();
        totals.map(|(of, count, _)| (of.clone(), count)).collect()
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Asked,
    ) -> Result<T, UsageError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.questions.send(question(answer)).await;
        sent.map_err(|_| UsageError::Ending)?;
        answered.await.map_err(|_| UsageError::Ending)
    }
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    // Whatever panicked, the ledger changes only after a commit.
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn list(
    ledger: &Ledger,
    period: Option<(u64, u64)>,
    now: SystemTime,
) -> Result<UsageList, StoreError> {
    let time = |at: u64| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        humantime::format_rfc3339_seconds(at).to_string()
    };
    let Some((from, to)) = period else {
        let totals = ledger.totals();
        return Ok(UsageList {
            from: None,
            to: time(seconds(now)),
            granularity: None,
            value: view::rows(totals.map(|(of, count, _)| (of, count))),
        });
    };
    // Nothing is counted in the future; and a year of five digits is none that can be told.
    let day = 86_400;
    let to = to.min(seconds(now) + day);
    let period = Period::of(from, to, seconds(now));
    Ok(UsageList {
        from: Some(time(period.from)),
        to: time(period.to),
        granularity: Some(period.tier.name.to_owned()),
        value: view::rows(ledger.within(period)?),
    })
}

/// Keeps what the meters of an instance have counted since its daemon ended, before it is taken
/// down. Nothing where there is no store, or nothing to read.
///
/// # Errors
///
/// Where it cannot be read or kept.
pub fn note_left(instance: &Instance, state_dir: &Path) -> Result<(), LeftError> {
    let path = state_dir.join(FileStore::NAME);
    if !path.exists() {
        return Ok(());
    }
    let readings = left_meters(instance)?;
    if readings.is_empty() {
        return Ok(());
    }
    let mut ledger = Ledger::open(Arc::new(FileStore::open(&path)?))?;
    ledger.fold(
        seconds(SystemTime::now()),
        &readings,
        &VpnStatus::default(),
        &Topology::default(),
    )?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum LeftError {
    #[error("{0}")]
    Datapath(#[from] DatapathError),
    #[error("{0}")]
    Store(#[from] StoreError),
}
