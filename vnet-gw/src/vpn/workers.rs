//! The crypto workers, as the hub sees them.

use tokio::{sync::mpsc, task::JoinHandle};
use vnet_gw_core::{compile::GatewayImage, ike::Transmit, model::ResourceId};

use super::hub::{WorkerHandle, Workers};
use crate::worker::{Command, EngineChoice, FromWorker, Worker, WorkerOptions, WorkerStats};

/// What a worker said: its gateway, its number, its words.
pub(super) type Said = (ResourceId, u64, FromWorker);

/// What waits for the hub; a worker with more keeps it, and drops what it cannot keep.
const WAITING: usize = 256;

/// Starts workers, and brings together what they say.
pub(super) struct Crypto {
    said: mpsc::Sender<Said>,
    started: u64,
}

impl Crypto {
    pub(super) fn new() -> (Self, mpsc::Receiver<Said>) {
        let (said, receiver) = mpsc::channel(WAITING);
        (Self { said, started: 0 }, receiver)
    }
}

impl Workers for Crypto {
    type Worker = Running;

    /// Must be called within a runtime.
    fn start(&mut self, image: &GatewayImage, engine: EngineChoice) -> Result<Running, String> {
        let (worker, receiver) =
            Worker::start(image, WorkerOptions { engine }).map_err(|error| error.to_string())?;
        self.started += 1;
        let (said, id, number) = (self.said.clone(), image.id.clone(), self.started);
        // One task each, so that a worker that says much waits for itself only.
        let relay = tokio::spawn(relay(receiver, said, id, number));
        Ok(Running {
            worker,
            id: image.id.clone(),
            number,
            relay,
            said: Some(self.said.clone()),
        })
    }
}

/// Hands on what a worker says. One whose thread ends without a last word (it panicked) is said to
/// have failed; of one that is stopped the relay is aborted before.
async fn relay(
    mut receiver: mpsc::Receiver<FromWorker>,
    said: mpsc::Sender<Said>,
    id: ResourceId,
    number: u64,
) {
    loop {
        let word = receiver.recv().await.unwrap_or_else(|| {
            FromWorker::Failed("the worker's thread ended without a word".to_owned())
        });
        let last = matches!(word, FromWorker::Failed(_));
        if said.send((id.clone(), number, word)).await.is_err() || last {
            return;
        }
    }
}

pub(super) struct Running {
    worker: Worker,
    id: ResourceId,
    number: u64,
    relay: JoinHandle<()>,
    /// Until it was said that the worker hangs.
    said: Option<mpsc::Sender<Said>>,
}

impl Running {
    /// A worker that hangs cannot say so.
    fn look_after(&mut self) {
        if self.worker.hangs()
            && let Some(said) = self.said.take()
        {
            let why = FromWorker::Failed("the worker hangs: it takes no commands".to_owned());
            let word = (self.id.clone(), self.number, why);
            // Later, and not from here, where the hub is about to do something. It fails where the
            // hub has ended.
            tokio::spawn(async move { said.send(word).await.is_ok() });
        }
    }
}

impl WorkerHandle for Running {
    fn number(&self) -> u64 {
        self.number
    }

    fn configure(&mut self, image: &GatewayImage) {
        self.worker.configure(image);
        self.look_after();
    }

    fn command(&mut self, command: Command) {
        self.worker.command(command);
        self.look_after();
    }

    fn send_ike(&mut self, transmit: &Transmit) {
        let Transmit {
            local,
            remote,
            data,
        } = transmit;
        if let Err(error) = self.worker.send_ike(*local, *remote, data) {
            log::debug!("from {local} to {remote}: {error}");
        }
    }

    fn stats(&self) -> WorkerStats {
        self.worker.stats()
    }

    fn stop(self) {
        self.relay.abort();
        drop(self.worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_ends_without_a_word_has_failed() {
        let (out, receiver) = mpsc::channel(4);
        let (said, mut heard) = mpsc::channel(4);
        let id = ResourceId::new("/a");
        let relay = tokio::spawn(relay(receiver, said, id.clone(), 7));
        drop(out);
        let Some((gateway, 7, FromWorker::Failed(why))) = heard.recv().await else {
            panic!("nothing is said of its end")
        };
        assert_eq!(gateway, id);
        assert!(why.contains("ended"), "{why}");
        relay.await.unwrap();
    }

    #[tokio::test]
    async fn a_last_word_is_said_once() {
        let (out, receiver) = mpsc::channel(4);
        let (said, mut heard) = mpsc::channel(4);
        let relay = tokio::spawn(relay(receiver, said, ResourceId::new("/a"), 1));
        out.send(FromWorker::Failed("gone".into())).await.unwrap();
        drop(out);
        relay.await.unwrap();
        let mut words = Vec::new();
        while let Some((_, _, word)) = heard.recv().await {
            words.push(word);
        }
        assert!(
            matches!(&words[..], [FromWorker::Failed(why)] if why == "gone"),
            "{words:?}"
        );
    }
}
