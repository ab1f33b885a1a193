//! The IKE thread: a runtime of its own around the [`Hub`], so that neither a long reload nor a
//! busy control client keeps a peer waiting.

use std::{
    io,
    sync::mpsc as std_mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    sync::mpsc,
    time::{sleep, sleep_until},
};
use vnet_gw_core::{
    compile::GatewayImage,
    crypto::SystemRandom,
    ike::{Endpoint, EndpointOptions},
};

use super::{
    Question, Tunnels,
    addresses::{AddressWatch, local_addresses},
    hub::Hub,
    port500::Sockets,
    workers::{Crypto, Said},
};
use crate::worker::EngineChoice;

/// How long the end may take: peers are told, and not waited for.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a change of the data path waits for the taps that it is to attach to.
const PREPARATION: Duration = Duration::from_secs(1);
/// Messages of workers that are taken in one turn, before timers and ports have theirs.
const TURN: usize = 64;
/// How often the addresses are read where the kernel does not tell of their changes.
const UNTOLD: Duration = Duration::from_secs(1);

enum Input {
    Prepare(Vec<GatewayImage>, std_mpsc::Sender<()>),
    Configure(Vec<GatewayImage>),
    Ask(Question),
    End,
}

/// The VPN gateways of this host. Dropped, they end.
#[derive(Debug)]
pub struct Vpn {
    inputs: mpsc::UnboundedSender<Input>,
    ended: std_mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Vpn {
    /// Starts the thread, in the network namespace of the calling one.
    pub fn start(engine: EngineChoice) -> Result<Self> {
        let (inputs, receiver) = mpsc::unbounded_channel();
        let (end, ended) = std_mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the runtime of the IKE thread")?;
        let thread = thread::Builder::new()
            .name("ike".to_owned())
            .spawn(move || {
                runtime.block_on(run(engine, receiver));
                // Nobody waits for it where the daemon went first.
                let _ = end.send(());
            })
            .context("starting the IKE thread")?;
        Ok(Self {
            inputs,
            ended,
            thread: Some(thread),
        })
    }

    fn tell(&self, input: Input) {
        // A thread that is gone has panicked, and has said so; its questions' answers never come,
        // which those who asked are told by their channel.
        let _ = self.inputs.send(input);
    }
}

impl Tunnels for Vpn {
    fn prepare(&mut self, gateways: &[GatewayImage]) {
        if gateways.is_empty() {
            return;
        }
        let (done, prepared) = std_mpsc::channel();
        self.tell(Input::Prepare(gateways.to_vec(), done));
        // One that comes later is attached when it comes.
        let _ = prepared.recv_timeout(PREPARATION);
    }

    fn apply(&mut self, gateways: Vec<GatewayImage>) {
        self.tell(Input::Configure(gateways));
    }

    fn ask(&self, question: Question) {
        self.tell(Input::Ask(question));
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.tell(Input::End);
        match self.ended.recv_timeout(FAREWELL) {
            Err(std_mpsc::RecvTimeoutError::Timeout) => {
                log::warn!("the VPN gateways take too long to end; not waited for");
            }
            // A panic of the thread has been told by the thread.
            _ => drop(thread.join()),
        }
    }
}

impl Drop for Vpn {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(engine: EngineChoice, mut inputs: mpsc::UnboundedReceiver<Input>) {
    let mut watch = AddressWatch::open().inspect_err(untold).ok();
    let present = local_addresses().inspect_err(unread).unwrap_or_default();
    let endpoint = Endpoint::new(EndpointOptions::default(), Box::new(SystemRandom));
    let (crypto, mut said) = Crypto::new();
    let mut hub = Hub::new(endpoint, crypto, engine, present);
    let mut sockets = Sockets::new();
    loop {
        // First of all what is due: a flood of messages must not put it off.
        let now = Instant::now();
        hub.timeout(now);
        follow_ports(&mut hub, &mut sockets, now);
        send(&mut hub, &sockets);
        let next = hub.next_timeout();
        tokio::select! {
            input = inputs.recv() => match input {
                Some(Input::Prepare(gateways, done)) => {
                    hub.prepare(Instant::now(), gateways);
                    let _ = done.send(());
                }
                Some(Input::Configure(gateways)) => hub.configure(Instant::now(), gateways),
                Some(Input::Ask(question)) => answer(&mut hub, question),
                Some(Input::End) | None => break,
            },
            changed = addresses_changed(&watch) => {
                if let Err(error) = changed {
                    untold(&error);
                    watch = None;
                }
                if let Ok(present) = local_addresses().inspect_err(unread) {
                    hub.addresses(Instant::now(), present);
                }
            }
            Some(first) = said.recv() => {
                let hear = |hub: &mut Hub<_, _>, (gateway, number, word): Said| {
                    hub.heard(Instant::now(), &gateway, number, word);
                };
                hear(&mut hub, first);
                for _ in 1..TURN {
                    let Ok(next) = said.try_recv() else { break };
                    hear(&mut hub, next);
                }
            }
            () = sockets.readable() => {
                let now = Instant::now();
                sockets.receive(|local, remote, data| hub.datagram(now, local, remote, data));
            }
            () = until(next) => {}
        }
    }
    hub.end(Instant::now());
    send(&mut hub, &sockets);
}

fn untold(error: &io::Error) {
    log::warn!("addresses: {error}; they are read every second instead");
}

fn unread(error: &io::Error) {
    log::warn!("reading the addresses of this host: {error}");
}

async fn addresses_changed(watch: &Option<AddressWatch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await,
        None => {
            sleep(UNTOLD).await;
            Ok(())
        }
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

type Wired = Hub<Endpoint, Crypto>;

/// Opens and closes port 500 as the hub wants it.
fn follow_ports(hub: &mut Wired, sockets: &mut Sockets, now: Instant) {
    sockets.close_all_but(|address| hub.wants_port(address));
    for address in hub.ports_to_open(now, |address| sockets.has(address)) {
        let result = sockets.open(address);
        hub.port_opened(now, address, result);
    }
}

fn send(hub: &mut Wired, sockets: &Sockets) {
    for transmit in hub.outbox() {
        let (local, remote) = (transmit.local.ip(), transmit.remote);
        if let Err(error) = sockets.send(local, remote, &transmit.data) {
            log::debug!("from {local} to {remote}: {error}");
        }
    }
}

fn answer(hub: &mut Wired, question: Question) {
    // A client that does not wait for its answer any more is no concern of ours.
    match question {
        Question::Status(answer) => drop(answer.send(hub.status())),
        Question::IkeSas { connection, answer } => {
            drop(answer.send(hub.ike_sas(Instant::now(), &connection)));
        }
        Question::Reset { connection, answer } => {
            let _ = answer.send(hub.reset(Instant::now(), &connection));
        }
    }
}
