//! What the owner of a worker holds.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc;
use vnet_gw_core::compile::{ConnectionImage, GatewayImage};

use super::{
    Command, EngineChoice, FromWorker, WorkerStats,
    counters::Counters,
    thread::{Shared, run},
};
use crate::io::{self as engine, IkeSockets, OpenError};

/// Commands that may wait for the worker: more than IKE makes in the time of one batch.
const COMMANDS: usize = 4096;
/// IKE messages that may wait for IKE. A flood fills it, and is then dropped and counted.
pub(super) const MESSAGES: usize = 1024;
/// Room that only reports use, so that such a flood does not keep from IKE which paths work.
pub(super) const REPORTS: usize = 256;
/// How long a command waits for a thread that takes none: the commands that wait are thousands, and
/// a batch takes milliseconds, so it hangs. The thread of IKE serves all gateways and cannot wait.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a thread may take to end: on a busy machine, and with as much to close as there is.
const ENDING: Duration = Duration::from_secs(3);

/// How a worker is to run.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    pub engine: EngineChoice,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Io(#[from] OpenError),
    #[error("starting the worker's thread: {0}")]
    Thread(io::Error),
}

/// A running worker. Dropping it stops the thread and removes the gateway port.
pub struct Worker {
    device: String,
    /// Only senders take it: the thread reads the other end without a lock.
    messages: Mutex<rtrb::Producer<Message>>,
    wake: Arc<EventFd>,
    stop: Arc<AtomicBool>,
    /// A command found no room in [`PATIENCE`].
    hangs: AtomicBool,
    ike: Arc<IkeSockets>,
    counters: Arc<Counters>,
    /// The worker's end of what it says, to see how much waits there.
    said: mpsc::WeakSender<FromWorker>,
    thread: Option<JoinHandle<()>>,
}

/// Into the thread.
pub(super) enum Message {
    Command(Command),
    Configure(Box<Configuration>),
}

/// What of the gateway's image concerns the worker.
pub(super) struct Configuration {
    pub(super) addresses: Vec<IpAddr>,
    /// The source of ICMP errors.
    pub(super) private_addresses: Vec<IpAddr>,
    pub(super) bandwidth: Option<u64>,
    /// The gateway's own side: what is for there goes back into the port.
    pub(super) local_prefixes: Vec<IpNet>,
    pub(super) connections: Vec<ConnectionImage>,
}

impl Configuration {
    fn of(gateway: &GatewayImage) -> Self {
        Self {
            addresses: gateway.instances.iter().map(|i| i.public_address).collect(),
            private_addresses: gateway
                .instances
                .iter()
                .map(|i| i.private_address)
                .collect(),
            bandwidth: gateway.bandwidth,
            local_prefixes: gateway.local_prefixes.clone(),
            connections: gateway.connections.clone(),
        }
    }
}

impl Worker {
    /// Makes the gateway port, binds the sockets of the instances' public addresses and starts the
    /// thread, all in the network namespace of the calling thread. Without instances there is the
    /// port alone.
    ///
    /// The receiver is bounded: IKE messages that find it full are dropped and counted, reports
    /// wait for their next turn.
    pub fn start(
        gateway: &GatewayImage,
        options: WorkerOptions,
    ) -> Result<(Self, mpsc::Receiver<FromWorker>), WorkerError> {
        let (messages, commands) = rtrb::RingBuffer::new(COMMANDS);
        let (out, from_worker) = mpsc::channel(MESSAGES + REPORTS);
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| WorkerError::Thread(errno.into()))?;
        let wake = Arc::new(wake);
        let stop = Arc::new(AtomicBool::new(false));
        let engine = engine::open(gateway, options.engine)?;
        let ike = engine.underlay.ike_sockets().clone();
        let counters = Arc::new(Counters::new(engine.name, engine.reason));
        let said = out.downgrade();
        let shared = Shared {
            commands,
            wake: wake.clone(),
            stop: stop.clone(),
            out,
            counters: counters.clone(),
        };
        let configuration = Configuration::of(gateway);
        let thread = std::thread::Builder::new()
            .name(gateway.device.clone())
            .spawn(move || run(engine.port, engine.underlay, shared, &configuration))
            .map_err(WorkerError::Thread)?;
        let worker = Self {
            device: gateway.device.clone(),
            messages: Mutex::new(messages),
            wake,
            stop,
            hangs: AtomicBool::new(false),
            ike,
            counters,
            said,
            thread: Some(thread),
        };
        Ok((worker, from_worker))
    }

    /// The gateway's image changed: instances came or went, connections, their prefixes, the
    /// bandwidth. Tunnels that are still in it keep their SAs.
    pub fn configure(&self, gateway: &GatewayImage) {
        self.tell(Message::Configure(Box::new(Configuration::of(gateway))));
    }

    /// Hands over what IKE decided. In order.
    pub fn command(&self, command: Command) {
        self.tell(Message::Command(command));
    }

    /// Sends through the socket of port 4500 of a public address: a message of IKE that has its
    /// non-ESP marker, or a keepalive. At once, from the calling thread.
    pub fn send_ike(&self, local: SocketAddr, remote: SocketAddr, data: &[u8]) -> io::Result<()> {
        self.ike.send(local, remote, data)
    }

    /// Counters since the start; cheap.
    pub fn stats(&self) -> WorkerStats {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let said = self.said.upgrade();
        WorkerStats {
            commands_waiting: COMMANDS.saturating_sub(messages.slots()),
            messages_waiting: said.map_or(0, |said| said.max_capacity() - said.capacity()),
            ..self.counters.read()
        }
    }

    /// Of the gateway port.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Whether the thread stopped taking commands: one is lost then, so it must be started anew.
    pub fn hangs(&self) -> bool {
        self.hangs.load(Ordering::Relaxed)
    }

    fn tell(&self, mut message: Message) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begun = None;
        while let Err(rtrb::PushError::Full(back)) = messages.push(message) {
            let begun = *begun.get_or_insert_with(Instant::now);
            // One that ended has said why.
            if messages.is_abandoned() || self.hangs() {
                return;
            }
            if begun.elapsed() >= PATIENCE {
                self.hangs.store(true, Ordering::Relaxed);
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        self.wake();
    }

    fn wake(&self) {
        // Fails only when the counter is full: then the thread has been woken 2^64 times already.
        let _ = self.wake.write(1);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let begun = Instant::now();
        while !thread.is_finished() {
            if begun.elapsed() >= ENDING {
                // It ends as soon as it looks up; until then it holds the port.
                log::error!("the thread of {} hangs, and is left behind", self.device);
                return;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        // One that panicked has said so.
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use vnet_gw_core::sa::TunnelId;

    use super::*;

    #[test]
    fn a_thread_that_hangs_holds_nobody_up() {
        let (messages, commands) = rtrb::RingBuffer::new(1);
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let worker = Worker {
            device: "none".to_owned(),
            messages: Mutex::new(messages),
            wake: wake.clone(),
            stop: stop.clone(),
            hangs: AtomicBool::new(false),
            ike: Arc::default(),
            counters: Arc::new(Counters::new("none", String::new())),
            said: mpsc::channel(1).0.downgrade(),
            thread: Some(std::thread::spawn(move || {
                let _ = ended.recv();
                drop(commands);
            })),
        };
        let path = || Command::Path {
            tunnel: TunnelId(1),
            usable: true,
        };
        worker.command(path());
        assert!(!worker.hangs());
        let begun = Instant::now();
        for _ in 0..1000 {
            worker.command(path());
        }
        // The first of them waited, the others know.
        assert!(worker.hangs());
        let took = begun.elapsed();
        assert!((PATIENCE..10 * PATIENCE).contains(&took), "{took:?}");
        let begun = Instant::now();
        drop(worker);
        let took = begun.elapsed();
        assert!((ENDING..2 * ENDING).contains(&took), "{took:?}");
        assert!(stop.load(Ordering::Acquire));
        assert_eq!(wake.read().unwrap(), 2);
        end.send(()).unwrap();
    }
}
