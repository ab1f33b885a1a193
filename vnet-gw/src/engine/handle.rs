//! The engine as those see it who ask it for changes.

use std::{fmt, net::IpAddr, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;
use vnet_gw_core::{
    arm::{Assign, Change, Outcome, State},
    model::{ArmError, Warning},
    secret::Secret,
};

use super::{Caller, EngineMetrics, activity::ActivityStatus};
use crate::{
    daemon::keys,
    store::{Store, StoreError, Write},
};

/// A set of changes that is carried out as a whole or not at all.
#[derive(Debug)]
pub struct Submission {
    /// None where there are only records to write.
    pub changes: Vec<Change>,
    pub caller: Caller,
    /// As the audit log names it: `Microsoft.Network/virtualNetworks/write`.
    pub operation: String,
    /// The id of what it is about.
    pub resource: String,
    /// Records that are written in the same transaction (a deployment).
    pub records: Vec<Write>,
    pub noted: Noted,
}

/// What the audit log says of a submission that holds. One that does not is always noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Noted {
    /// What its changes did; of several, each one that did something has a record of its own.
    #[default]
    Outcomes,
    /// What whoever submits it knows.
    As(ActivityStatus, String),
    /// Nothing: an earlier submission was noted.
    Not,
}

/// Whether the data path carries it, once that is known.
pub type Carried = oneshot::Receiver<Result<(), ArmError>>;

/// A submission is valid and durable.
#[derive(Debug)]
pub struct Receipt {
    /// One for each change.
    pub outcomes: Vec<Outcome>,
    pub warnings: Vec<Warning>,
    /// With the batch that it was part of.
    pub state: Arc<State>,
    pub carried: Carried,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not hold; nothing was changed.
    #[error("{0}")]
    Invalid(#[from] ArmError),
    /// It may hold, but could not be made durable; nothing was changed.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// Too much of the same caller waits already.
    #[error("{0} changes of the same caller wait already; ask again later")]
    Busy(usize),
    #[error("the daemon ends; ask again when it is back")]
    Ending,
}

/// A submission on its way, and where its answer goes.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) submission: Submission,
    pub(super) answer: oneshot::Sender<Result<Receipt, EngineError>>,
}

/// A handle; clones are of one engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) state: watch::Receiver<Arc<State>>,
    pub(super) ask: mpsc::Sender<Asked>,
    pub(super) store: Arc<dyn Store>,
    /// Public addresses that may be given.
    pub(super) addresses: Arc<Vec<IpAddr>>,
    pub(super) metrics: EngineMetrics,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// What is durable and valid now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// What makes up GUIDs and keys for what is only tried, with the addresses of the engine's own.
    pub fn assign(&self) -> impl Assign + Send + use<> {
        Trying(Arc::clone(&self.addresses))
    }

    /// For reading records. Writing is [`submit`](Self::submit)'s, also of records alone.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// How the engine fares.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    /// Submissions that wait in front of the queue.
    pub fn waiting(&self) -> usize {
        self.ask.max_capacity() - self.ask.capacity()
    }

    /// Notes in the audit log what was done, or refused, without a submission. Written with the next
    /// batch; while too much waits it is only told in the log.
    pub fn note(
        &self,
        caller: Caller,
        operation: &str,
        resource: &str,
        status: ActivityStatus,
        code: &str,
    ) {
        let submission = Submission {
            changes: Vec::new(),
            caller,
            operation: operation.to_owned(),
            resource: resource.to_owned(),
            records: Vec::new(),
            noted: Noted::As(status, code.to_owned()),
        };
        let (answer, _) = oneshot::channel();
        if let Err(error) = self.ask.try_send(Asked { submission, answer }) {
            log::warn!("audit log: {operation} at {resource}, {code}: not noted: {error}");
        }
    }

    /// Submits a set of changes; returns when it is durable (or refused). `carried` of the receipt
    /// tells when the data path has it.
    ///
    /// A submission goes its way even where nobody waits for the answer any more.
    pub async fn submit(&self, submission: Submission) -> Result<Receipt, EngineError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { submission, answer };
        let sent = self.ask.send(asked).await;
        sent.map_err(|_| EngineError::Ending)?;
        answered.await.map_err(|_| EngineError::Ending)?
    }
}

/// For changes that are not submitted.
struct Trying(Arc<Vec<IpAddr>>);

impl Assign for Trying {
    fn guid(&mut self) -> String {
        Uuid::new_v4().to_string()
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        keys::generate(length)
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        self.0.to_vec()
    }
}
