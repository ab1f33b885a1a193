//! What everybody sees: the state, and which of its documents the data path carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
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
    unsettled: Mutex<BTreeMap<ResourceId, (Number, ProvisioningState)>>,
}

impl Board {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: watch::Sender::new(Arc::new(state)),
            unsettled: Mutex::default(),
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
        let mut unsettled = self.unsettled();
        unsettled.retain(|id, _| state.documents.contains_key(id));
        for id in written.iter().filter(|id| state.documents.contains_key(id)) {
            unsettled.insert(id.clone(), (number, ProvisioningState::Updating));
        }
        state.unsettled = shown(&unsettled);
        let state = Arc::new(state);
        self.state.send_replace(Arc::clone(&state));
        state
    }

    /// Whether everything is carried.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled().is_empty()
    }

    /// What became of everything up to that number.
    pub(super) fn done(&self, number: Number, carried: bool) {
        let mut unsettled = self.unsettled();
        match carried {
            true => unsettled.retain(|_, (of, _)| *of > number),
            false => {
                for (of, state) in unsettled.values_mut() {
                    if *of <= number {
                        *state = ProvisioningState::Failed;
                    }
                }
            }
        }
        let shown = shown(&unsettled);
        self.state.send_modify(|state| {
            // Whoever has it in their hands keeps what they have.
            let mut new = State::clone(state);
            new.unsettled = shown;
            *state = Arc::new(new);
        });
    }

    fn unsettled(&self) -> MutexGuard<'_, BTreeMap<ResourceId, (Number, ProvisioningState)>> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(
    unsettled: &BTreeMap<ResourceId, (Number, ProvisioningState)>,
) -> Arc<BTreeMap<ResourceId, ProvisioningState>> {
    let states = unsettled
        .iter()
        .map(|(id, (_, state))| (id.clone(), *state));
    Arc::new(states.collect())
}
