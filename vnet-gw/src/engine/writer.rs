//! The one writer: a batch at a time.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::{mpsc, oneshot};
use vnet_gw_core::{
    arm::{Assign, State},
    compile::{CompileError, CompileOptions, Compiled, Image, compile, compile_again},
    model::{ArmError, Topology},
};

use super::{
    EngineError, EngineMetrics, Receipt, Submission,
    activity::{self, Activity, ActivityStatus},
    assign::SystemAssign,
    audit,
    batch::{Batch, Changes, decide},
    board::{Board, Number, forget},
    delivery::{Answer, Delivery},
    handle::Asked,
    queue::{Queue, Taken},
    records::{self, LoadError},
};
use crate::store::{Revision, Store, StoreError};

/// How often a batch is tried again after somebody else wrote to the store.
const CONFLICTS: usize = 8;

/// What an engine depends on besides its store.
pub struct EngineOptions {
    /// Compared with the tag `vnet-gw:host`.
    pub host_name: Option<String>,
    pub assign: Box<dyn Assign + Send>,
    /// How many records the audit log keeps.
    pub activities: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            host_name: None,
            assign: Box::new(SystemAssign::default()),
            activities: activity::KEPT,
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("host_name", &self.host_name)
            .finish_non_exhaustive()
    }
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the store's resources do not fit the data path: {0}")]
    DoesNotFit(#[from] CompileError),
}

/// An engine that does not run yet, or its thread's insides.
pub struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) options: EngineOptions,
    pub(super) board: Arc<Board>,
    image: Arc<Image>,
    /// Of the store, which the state is that of.
    revision: Revision,
    number: Number,
    last: usize,
    log: activity::Log,
    /// Not in the store yet.
    activities: Vec<Activity>,
    notes: mpsc::UnboundedSender<Activity>,
    pub(super) noted: Option<mpsc::UnboundedReceiver<Activity>>,
    pub(super) metrics: EngineMetrics,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Reads what the store has.
    ///
    /// # Errors
    ///
    /// Where that cannot be read, or does not hold together.
    pub fn open(store: Arc<dyn Store>, options: EngineOptions) -> Result<Self, OpenError> {
        let revision = store.revision()?;
        let state = records::load(&*store)?;
        let image = image(&state, &options, None)?;
        let log = activity::Log::open(&*store, options.activities)?;
        let (notes, noted) = mpsc::unbounded_channel();
        Ok(Self {
            store,
            options,
            board: Arc::new(Board::new(state)),
            image: Arc::new(image),
            revision,
            number: 0,
            last: 0,
            log,
            activities: Vec::new(),
            notes,
            noted: Some(noted),
            metrics: EngineMetrics::default(),
        })
    }

    pub fn state(&self) -> Arc<State> {
        self.board.state()
    }

    /// What the data path is to carry.
    pub fn desired(&self) -> (Arc<Topology>, Arc<Image>) {
        (Arc::clone(&self.state().topology), Arc::clone(&self.image))
    }

    /// Carries out a submission before anything runs: what comes of it is in
    /// [`desired`](Self::desired), and counts as carried.
    pub fn submit(&mut self, submission: Submission) -> Result<Receipt, EngineError> {
        let (answer, mut answered) = oneshot::channel();
        let mut queue = Queue::default();
        queue.push(Asked { submission, answer });
        if let Some(delivery) = self.turn(&mut queue) {
            delivery.done(&Ok(()));
        }
        answered.try_recv().unwrap_or(Err(EngineError::Ending))
    }

    /// Takes a batch from the queue and sees it through: valid, durable, published, answered. What
    /// is left to do is the data path's.
    pub(super) fn turn(&mut self, queue: &mut Queue) -> Option<Delivery> {
        let taken = queue.take();
        if taken.is_empty() {
            return None;
        }
        let (mut asked, changes, groups) = lay_out(taken);
        self.last = asked.len();
        self.metrics.batch(self.last);
        let mut conflicts = 0;
        let (batch, image, committed) = loop {
            let base = self.board.state();
            let (batch, image) = self.evaluate(&base, &changes, groups.clone());
            let committed = self.commit(&base, &asked, &changes, &batch);
            forget(base);
            match committed {
                Err(StoreError::Conflict(_)) if conflicts < CONFLICTS => {
                    conflicts += 1;
                    if let Err(error) = self.reload() {
                        log::error!("reading the store again: {error}");
                    }
                }
                committed => break (batch, image, committed.map_err(Arc::new)),
            }
        };
        for (which, error) in &batch.refused {
            if let Some(asked) = asked.get_mut(*which).and_then(Option::take) {
                self.refuse(queue, asked, error.clone().into());
            }
        }
        let again = batch.deferred.iter();
        let again = again.filter_map(|which| {
            let asked = asked.get_mut(*which)?.take()?;
            let changes = changes.of(*which).to_vec();
            let submission = Submission {
                changes,
                ..asked.submission
            };
            Some(Asked {
                submission,
                ..asked
            })
        });
        queue.put_back(again.collect());
        if let Err(error) = committed {
            log::error!("{error}; nothing was changed");
            for held in &batch.held {
                if let Some(asked) = asked.get_mut(held.which).and_then(Option::take) {
                    self.note(&asked.submission, ActivityStatus::Refused, "StoreFailed");
                    let error = EngineError::Store(Arc::clone(&error));
                    let _ = asked.answer.send(Err(error));
                }
            }
            return None;
        }
        forget(std::mem::replace(&mut self.image, image));
        if batch.held.is_empty() && conflicts == 0 {
            return None;
        }
        self.publish(queue, batch, asked)
    }

    fn publish(
        &mut self,
        queue: &mut Queue,
        batch: Batch,
        mut asked: Vec<Option<Asked>>,
    ) -> Option<Delivery> {
        let nothing = batch.changed.is_empty();
        let state = match nothing {
            true => self.board.state(),
            false => {
                self.number += 1;
                self.board
                    .publish(batch.state, self.number, &batch.changed.documents)
            }
        };
        let mut delivery = Delivery {
            topology: Arc::clone(&state.topology),
            image: Arc::clone(&self.image),
            from_file: false,
            number: self.number,
            board: Arc::clone(&self.board),
            notes: self.notes.clone(),
            answers: Vec::new(),
        };
        for held in batch.held {
            let Some(asked) = asked.get_mut(held.which).and_then(Option::take) else {
                continue;
            };
            let caller = &asked.submission.caller;
            queue.judge(caller, true);
            delivery.from_file |= caller.who == super::Who::File;
            for warning in &held.warnings {
                log::warn!("{}: {}", warning.target, warning.message);
            }
            let (answer, carried) = oneshot::channel();
            let activity = activity(&asked.submission, ActivityStatus::Failed, "");
            delivery.answers.push(Answer { answer, activity });
            // Whoever asked may be gone.
            let _ = asked.answer.send(Ok(Receipt {
                outcomes: held.outcomes,
                warnings: held.warnings,
                state: Arc::clone(&state),
                carried,
            }));
        }
        // What was there before is carried, unless something still is not. Who reads the file again
        // wants it put into force again.
        if nothing && self.board.is_settled() && !delivery.from_file {
            delivery.done(&Ok(()));
            return None;
        }
        Some(delivery)
    }

    /// What holds of the batch, and the image of it.
    fn evaluate(
        &mut self,
        base: &State,
        changes: &Changes,
        groups: Vec<Vec<usize>>,
    ) -> (Batch, Arc<Image>) {
        let Self {
            options,
            image: previous,
            ..
        } = self;
        let mut batch = decide(base, changes, groups, &mut |state, changes| {
            state.apply(changes, &mut *options.assign)
        });
        if batch.changed.is_empty() {
            return (batch, Arc::clone(previous));
        }
        let before = Compiled {
            topology: &base.topology,
            shared_keys: &base.keys,
            image: previous,
        };
        match image_again(before, &batch.state, options) {
            Ok(image) => return (batch, image),
            Err(error) => log::debug!("a batch does not fit the data path: {error}"),
        }
        // One of them asks for too much: each attempt is compiled now.
        let held = batch.held.iter().map(|held| held.which).collect();
        let mut last = Arc::clone(previous);
        let mut again = decide(base, changes, vec![held], &mut |state, changes| {
            let applied = state.apply(changes, &mut *options.assign)?;
            last = image_again(before, &applied.state, options).map_err(does_not_fit)?;
            Ok(applied)
        });
        again.refused.append(&mut batch.refused);
        again.deferred.append(&mut batch.deferred);
        (again, last)
    }

    /// One transaction for all of it. Refusals alone are not worth one.
    fn commit(
        &mut self,
        base: &State,
        asked: &[Option<Asked>],
        changes: &Changes,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        if batch.held.is_empty() {
            // A refusal, too, rests on what is in the store.
            let now = self.store.revision()?;
            return match now == self.revision {
                true => Ok(()),
                false => Err(StoreError::Conflict(now)),
            };
        }
        let mut writes = batch.changed.writes(&batch.state);
        let mut activities = self.activities.clone();
        for held in &batch.held {
            let Some(Some(asked)) = asked.get(held.which) else {
                continue;
            };
            writes.extend(asked.submission.records.iter().cloned());
            let submission = &asked.submission;
            let changes = changes.of(held.which);
            activities.extend(audit::records(base, submission, changes, &held.outcomes));
        }
        writes.extend(
            self.log
                .writes(&*self.store, &activities, SystemTime::now())?,
        );
        let begun = Instant::now();
        self.revision = self.store.commit(Some(self.revision), &writes)?;
        self.metrics.committed(begun.elapsed());
        self.log.written(&writes);
        self.activities.clear();
        Ok(())
    }

    /// Somebody else wrote to the store: what is in there counts.
    fn reload(&mut self) -> Result<(), OpenError> {
        let revision = self.store.revision()?;
        let state = records::load(&*self.store)?;
        let image = image(&state, &self.options, Some(&self.image))?;
        self.log = activity::Log::open(&*self.store, self.options.activities)?;
        let base = self.board.state();
        let other = |id: &&_| state.documents.get(*id) != base.documents.get(*id);
        let changed: BTreeSet<_> = state.documents.keys().filter(other).cloned().collect();
        self.number += 1;
        self.board.publish(state, self.number, &changed);
        self.image = Arc::new(image);
        self.revision = revision;
        Ok(())
    }

    pub(super) fn refuse(&mut self, queue: &mut Queue, asked: Asked, error: EngineError) {
        let code = match &error {
            EngineError::Invalid(error) => error.code.as_str(),
            EngineError::Store(_) => "StoreFailed",
            EngineError::Busy(_) => "TooManyRequests",
            EngineError::Ending => "ServiceUnavailable",
        };
        queue.judge(&asked.submission.caller, false);
        self.metrics.refused();
        self.note(&asked.submission, ActivityStatus::Refused, code);
        let _ = asked.answer.send(Err(error));
    }

    fn note(&mut self, submission: &Submission, status: ActivityStatus, code: &str) {
        self.activities.push(activity(submission, status, code));
    }

    /// How many submissions the last batch was of.
    pub(super) fn last(&self) -> usize {
        self.last
    }

    pub(super) fn add(&mut self, activity: Activity) {
        self.activities.push(activity);
    }

    pub(super) fn has_notes(&self) -> bool {
        !self.activities.is_empty()
    }

    /// Writes what was refused and not written yet.
    pub(super) fn flush(&mut self) {
        let activities = std::mem::take(&mut self.activities);
        let writes = self
            .log
            .writes(&*self.store, &activities, SystemTime::now());
        let written = writes.and_then(|writes| {
            self.store.commit(None, &writes)?;
            self.log.written(&writes);
            Ok(())
        });
        if let Err(error) = written {
            let lost = activities.len();
            log::error!("the audit log: {error}; {lost} records are lost");
        }
    }
}

/// The submissions, their changes, and the groups in which they are tried.
fn lay_out(taken: Taken) -> (Vec<Option<Asked>>, Changes, Vec<Vec<usize>>) {
    let trusted = taken.trusted.len();
    let mut changes = Changes::default();
    let mut asked: Vec<Asked> = taken.trusted;
    asked.extend(taken.doubted);
    for one in &mut asked {
        changes.push(std::mem::take(&mut one.submission.changes));
    }
    let groups = vec![(0..trusted).collect(), (trusted..asked.len()).collect()];
    (asked.into_iter().map(Some).collect(), changes, groups)
}

fn image(
    state: &State,
    options: &EngineOptions,
    previous: Option<&Image>,
) -> Result<Image, CompileError> {
    compile(&state.topology, &compile_options(state, options), previous)
}

/// The same, from an image of the state before.
fn image_again(
    before: Compiled<'_>,
    state: &State,
    options: &EngineOptions,
) -> Result<Arc<Image>, CompileError> {
    compile_again(before, &state.topology, &compile_options(state, options))
}

fn compile_options<'a>(state: &'a State, options: &'a EngineOptions) -> CompileOptions<'a> {
    CompileOptions {
        host_name: options.host_name.as_deref(),
        shared_keys: &state.keys,
    }
}

/// As a client is told that asked for it.
fn does_not_fit(error: CompileError) -> ArmError {
    let code = match &error {
        CompileError::DuplicateDevice { .. } => "DeviceInUse",
        CompileError::TooManyRoutes { .. }
        | CompileError::TooManyActions { .. }
        | CompileError::TooManyRules { .. }
        | CompileError::TooMany { .. } => "ResourceLimitExceeded",
        _ => "NetworkingInternalOperationError",
    };
    ArmError::new(code, error.to_string())
}

pub(super) fn activity(submission: &Submission, status: ActivityStatus, code: &str) -> Activity {
    Activity::new(
        SystemTime::now(),
        &submission.caller,
        &submission.operation,
        &submission.resource,
        status,
        code,
    )
}
