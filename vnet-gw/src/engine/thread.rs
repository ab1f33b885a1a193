//! The thread that the writer works on.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Engine, EngineError,
    activity::Activity,
    delivery::{Deliveries, Delivery},
    handle::Asked,
    queue::{Queue, WAITING},
    writer::Writer,
};

/// Submissions that wait in front of the queue; whoever has more waits to hand them in.
const ASKED: usize = 1024;
/// Deliveries that the data path has not taken up.
const DELIVERIES: usize = 4;
/// A batch waits for the data path to be through with the one before, and then a little for those
/// who are answered to ask again: many in one batch cost hardly more than a few. No longer than
/// this, though.
const PATH: Duration = Duration::from_millis(10);
const GATHER: Duration = Duration::from_millis(1);
/// How many make it worth while.
const MANY: usize = 4;
/// How long a refusal may wait to be in the audit log.
const NOTED: Duration = Duration::from_millis(200);

/// A running engine. Dropped, it ends by itself when the last [`Engine`] goes.
#[derive(Debug)]
pub struct Running {
    pub engine: Engine,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Takes nothing more, answers what waits, and closes the audit log.
    pub fn end(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            log::error!("the engine's thread panicked");
        }
    }
}

impl Writer {
    /// Begins to take submissions. What is to be carried out comes out of the [`Deliveries`], which
    /// somebody must empty.
    ///
    /// # Errors
    ///
    /// Where the system has no thread for it.
    pub fn start(mut self) -> io::Result<(Running, Deliveries)> {
        let (ask, asked) = mpsc::channel(ASKED);
        let (deliver, deliveries) = mpsc::channel(DELIVERIES);
        let (stop, stopped) = oneshot::channel();
        let engine = Engine {
            state: self.board.watch(),
            ask,
            store: Arc::clone(&self.store),
            addresses: Arc::new(self.options.assign.public_addresses()),
            metrics: self.metrics.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let noted = self.noted.take();
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let work = Work {
                    writer: self,
                    queue: Queue::default(),
                    asked,
                    noted,
                    deliver,
                    due: None,
                };
                runtime.block_on(work.run(stopped));
            })?;
        let running = Running {
            engine,
            stop,
            thread,
        };
        Ok((running, Deliveries(deliveries)))
    }
}

struct Work {
    writer: Writer,
    queue: Queue,
    asked: mpsc::Receiver<Asked>,
    noted: Option<mpsc::UnboundedReceiver<Activity>>,
    deliver: mpsc::Sender<Delivery>,
    /// When the audit log is to be written.
    due: Option<Instant>,
}

impl Work {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        // A handle that was dropped instead of ended: the engine lives as long as it is asked.
        let mut stoppable = true;
        loop {
            if self.queue.is_empty() {
                tokio::select! {
                    asked = self.asked.recv() => match asked {
                        Some(asked) => self.push(asked),
                        None => break,
                    },
                    Some(activity) = noted(&mut self.noted) => self.writer.add(activity),
                    () = until(self.due) => self.flush(),
                    stop = &mut stopped, if stoppable => match stop {
                        Ok(()) => break,
                        Err(_) => stoppable = false,
                    },
                }
            }
            if self.writer.last() > MANY && !self.queue.is_empty() {
                let _ = timeout(PATH, self.writer.board.idle()).await;
                sleep(GATHER).await;
            }
            while let Ok(asked) = self.asked.try_recv() {
                self.push(asked);
            }
            self.writer.metrics.queued(self.queue.len());
            if let Some(delivery) = self.writer.turn(&mut self.queue) {
                // Without a data path nothing is carried; what is durable stays so.
                let _ = self.deliver.send(delivery).await;
            }
            match self.due {
                _ if !self.writer.has_notes() => self.due = None,
                None => self.due = Some(Instant::now() + NOTED),
                Some(due) if due <= Instant::now() => self.flush(),
                Some(_) => {}
            }
            if stoppable && stopped.try_recv() == Ok(()) {
                break;
            }
        }
        self.asked.close();
        while let Ok(asked) = self.asked.try_recv() {
            let _ = asked.answer.send(Err(EngineError::Ending));
        }
        if self.writer.has_notes() {
            self.flush();
        }
    }

    fn push(&mut self, asked: Asked) {
        if let Some(asked) = self.queue.push(asked) {
            let busy = EngineError::Busy(WAITING);
            self.writer.refuse(&mut self.queue, asked, busy);
        }
    }

    fn flush(&mut self) {
        self.due = None;
        self.writer.flush();
    }
}

async fn noted(noted: &mut Option<mpsc::UnboundedReceiver<Activity>>) -> Option<Activity> {
    match noted {
        Some(noted) => noted.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
