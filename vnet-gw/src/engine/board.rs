//! What everybody sees: the state, and which of its documents the data path carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
};

use tokio::sync::{Notify, watch};
use vnet_gw_core::{
    arm::{ProvisioningState, State},
    model::ResourceId,
};

/// Numbers what is handed to the data path.
pub(super) type Number = u64;

/// The engine's thread publishes states, and the daemon's loop says what became of them: both at
/// any time.
#[derive(Debug)]
pub(super) struct Board {
    state: watch::Sender<Arc<State>>,
    progress: Mutex<Progress>,
    /// The data path is through with something.
    went_on: Notify,
}

#[derive(Debug, Default)]
struct Progress {
    published: Number,
    carried: Number,
    /// Carried or refused.
    tried: Number,
    /// What is written and not carried, under which number. What was removed is not among it.
    unsettled: BTreeMap<ResourceId, (Number, ProvisioningState)>,
}

impl Board {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: watch::Sender::new(Arc::new(state)),
            progress: Mutex::default(),
            went_on: Notify::new(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// A state is durable; the data path gets it under that number.
    pub(super) fn publish(
        &self,
        mut state: State,
        number: Number,
        written: &BTreeSet<ResourceId>,
    ) -> Arc<State> {
        let mut progress = self.progress();
        progress.published = number;
        let unsettled = &mut progress.unsettled;
        unsettled.retain(|id, _| state.documents.contains_key(id));
        for id in written
            .iter()
            .filter(|id| state.documents.contains_key(*id))
        {
            unsettled.insert(id.clone(), (number, ProvisioningState::Updating));
        }
        state.unsettled = progress.shown();
        let state = Arc::new(state);
        let before = self.state.send_replace(Arc::clone(&state));
        drop(progress);
        forget(before);
        state
    }

    /// Waits until the data path has looked at everything that was published.
    pub(super) async fn idle(&self) {
        loop {
            // First, so that nothing is missed between looking and waiting.
            let went_on = self.went_on.notified();
            {
                let progress = self.progress();
                if progress.tried >= progress.published {
                    return;
                }
            }
            went_on.await;
        }
    }

    /// Whether everything is carried.
    pub(super) fn is_settled(&self) -> bool {
        let progress = self.progress();
        progress.carried == progress.published
    }

    /// What became of everything up to that number.
    pub(super) fn done(&self, number: Number, carried: bool) {
        let mut progress = self.progress();
        progress.tried = progress.tried.max(number);
        match carried {
            true => {
                progress.carried = progress.carried.max(number);
                progress.unsettled.retain(|_, (of, _)| *of > number);
            }
            false => {
                for (of, state) in progress.unsettled.values_mut() {
                    if *of <= number {
                        *state = ProvisioningState::Failed;
                    }
                }
            }
        }
        let shown = progress.shown();
        self.state.send_modify(|state| {
            // Whoever has it in their hands keeps what they have.
            let mut new = State::clone(state);
            new.unsettled = shown;
            *state = Arc::new(new);
        });
        drop(progress);
        self.went_on.notify_waiters();
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes apart what nobody needs any more, beside those who wait for the next answer: of a large
/// instance it has a hundred thousand parts.
pub(crate) fn forget<T: Send + 'static>(what: T) {
    static GRAVE: OnceLock<Option<mpsc::Sender<Box<dyn Send>>>> = OnceLock::new();
    let grave = GRAVE.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Box<dyn Send>>();
        let thread = std::thread::Builder::new().name("forget".to_owned());
        let thread = thread.spawn(move || receiver.into_iter().for_each(drop));
        thread.is_ok().then_some(sender)
    });
    if let Some(grave) = grave {
        let _ = grave.send(Box::new(what));
    }
}

impl Progress {
    fn shown(&self) -> Arc<BTreeMap<ResourceId, ProvisioningState>> {
        let unsettled = self.unsettled.iter();
        Arc::new(
            unsettled
                .map(|(id, (_, state))| (id.clone(), *state))
                .collect(),
        )
    }
}
