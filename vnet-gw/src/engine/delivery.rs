//! From the engine's thread to whoever carries it out.

use std::{fmt, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use vnet_gw_core::{
    compile::Image,
    model::{ArmError, Topology},
};

use super::{
    activity::Activity,
    board::{Board, Number},
};

/// A durable state for the data path. Whoever takes it says [`done`](Self::done).
pub struct Delivery {
    pub topology: Arc<Topology>,
    pub image: Arc<Image>,
    /// The configuration's file is among those who asked for it.
    pub from_file: bool,
    pub(super) number: Number,
    pub(super) board: Arc<Board>,
    pub(super) notes: mpsc::UnboundedSender<Activity>,
    pub(super) answers: Vec<Answer>,
}

/// Who waits for it, and what the audit log says where it fails.
pub(super) struct Answer {
    pub(super) answer: oneshot::Sender<Result<(), ArmError>>,
    pub(super) activity: Activity,
}

impl Delivery {
    /// The data path carries it, or why it does not. One that follows, or that is tried again and
    /// carried, mends what failed.
    pub fn done(mut self, outcome: &Result<(), ArmError>) {
        self.tell(outcome);
    }

    /// The same, for one that is tried again after a failure.
    pub fn tell(&mut self, outcome: &Result<(), ArmError>) {
        // Who is answered looks at the state next.
        self.board.done(self.number, outcome.is_ok());
        for Answer { answer, activity } in self.answers.drain(..) {
            if let Err(error) = outcome {
                // Without an engine there is no log any more.
                let _ = self.notes.send(activity.failed(&error.code));
            }
            let _ = answer.send(outcome.clone());
        }
    }

    /// The later one stands for both.
    fn followed_by(mut self, mut later: Self) -> Self {
        self.answers.append(&mut later.answers);
        Self {
            answers: self.answers,
            from_file: self.from_file || later.from_file,
            ..later
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What the engine hands on.
#[derive(Debug)]
pub struct Deliveries(pub(super) mpsc::Receiver<Delivery>);

impl Deliveries {
    /// Says of everything that it is carried, on a thread of its own: an engine without a data path,
    /// for tests.
    pub fn carry_all(mut self) {
        std::thread::spawn(move || {
            while let Some(delivery) = self.0.blocking_recv() {
                delivery.done(&Ok(()));
            }
        });
    }

    /// The next one, which stands for all that wait; nothing when the engine is gone.
    pub async fn next(&mut self) -> Option<Delivery> {
        let mut next = self.0.recv().await?;
        while let Ok(later) = self.0.try_recv() {
            next = next.followed_by(later);
        }
        Some(next)
    }
}
