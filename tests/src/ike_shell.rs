//! IKE alone on real sockets: core's endpoint in a namespace, without ESP and without the daemon.
//!
//! Reaches what no template can ask for, such as ciphers that Azure's enums do not name.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use vnet_gw_core::crypto::SystemRandom;
use vnet_gw_core::{
    ike::{
        Endpoint, EndpointCounters, EndpointOptions, Event, IkeSaStatus, Report, TunnelConfig,
        TunnelState,
    },
    sa::TunnelId,
};
use vnet_gw_lab::Netns;

/// In front of an IKE message on port 4500 (RFC 3948, 2.2).
const MARKER: [u8; 4] = [0; 4];

/// An endpoint that runs.
pub struct IkeShell {
    input: Sender<Input>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    status: Vec<IkeSaStatus>,
    counters: EndpointCounters,
    /// Every event so far, in words.
    events: Vec<String>,
}

enum Input {
    Configure(Vec<TunnelConfig>),
    Report(Report),
    Datagram {
        local: SocketAddr,
        remote: SocketAddr,
        data: Vec<u8>,
    },
    Stop,
}

impl IkeShell {
    /// Binds ports 500 and 4500 of `addresses` in `host`.
    pub fn start(host: &Netns, addresses: &[IpAddr], options: EndpointOptions) -> Result<Self> {
        let (input, inputs) = channel();
        let mut sockets = Vec::new();
        for &address in addresses {
            for port in [500, 4500] {
                let local = SocketAddr::new(address, port);
                let socket = host
                    .enter(|| UdpSocket::bind(local))?
                    .with_context(|| format!("binding {local} in {}", host.name()))?;
                listen(local, socket.try_clone()?, input.clone())?;
                sockets.push((local, socket));
            }
        }
        let state = Arc::new(Mutex::new(State::default()));
        let thread = thread::spawn({
            let state = state.clone();
            move || {
                run(
                    Endpoint::new(options, Box::new(SystemRandom)),
                    &inputs,
                    &sockets,
                    &state,
                )
            }
        });
        Ok(Self {
            input,
            state,
            thread: Some(thread),
        })
    }

    /// The tunnels from now on.
    pub fn configure(&self, tunnels: Vec<TunnelConfig>) {
        // Fails only where the thread has panicked, which shows at the next wait.
        let _ = self.input.send(Input::Configure(tunnels));
    }

    /// Says what a crypto worker would have seen.
    pub fn report(&self, report: Report) {
        let _ = self.input.send(Input::Report(report));
    }

    pub fn status(&self) -> Vec<IkeSaStatus> {
        self.state().status.clone()
    }

    pub fn counters(&self) -> EndpointCounters {
        self.state().counters
    }

    pub fn events(&self) -> Vec<String> {
        self.state().events.clone()
    }

    /// Waits until `done` of the SAs of a tunnel.
    pub fn wait(
        &self,
        tunnel: TunnelId,
        patience: Duration,
        done: impl Fn(&[IkeSaStatus]) -> bool,
    ) -> Result<Vec<IkeSaStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            let mut status = self.status();
            status.retain(|sa| sa.tunnel == tunnel);
            if done(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "after {patience:?} our side has {status:#?}\n{:#?}\nevents: {:#?}",
                    self.counters(),
                    self.events()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the tunnel has an IKE SA with a CHILD SA.
    pub fn wait_connected(&self, tunnel: TunnelId, patience: Duration) -> Result<IkeSaStatus> {
        let connected =
            |sa: &IkeSaStatus| sa.state == TunnelState::Connected && !sa.children.is_empty();
        let all = self.wait(tunnel, patience, |all| all.iter().any(connected))?;
        all.into_iter().find(connected).context("no SA")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IkeShell {
    fn drop(&mut self) {
        let _ = self.input.send(Input::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the endpoint has been printed; the test fails by what it waited for.
            let _ = thread.join();
        }
    }
}

/// Reads a socket until nobody listens.
fn listen(local: SocketAddr, socket: UdpSocket, input: Sender<Input>) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (length, remote) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // Also an ICMP error for what was sent before.
                Err(error) if error.kind() != ErrorKind::InvalidInput => {
                    // A closed channel shows only by sending: nothing is no message.
                    let nothing = Input::Datagram {
                        local,
                        remote: local,
                        data: Vec::new(),
                    };
                    if input.send(nothing).is_err() {
                        return;
                    }
                    continue;
                }
                Err(_) => return,
            };
            let data = &buffer[..length];
            let message = match local.port() {
                4500 => data.strip_prefix(&MARKER),
                _ => Some(data),
            };
            // ESP and keepalives are not for IKE.
            let Some(message) = message else { continue };
            let datagram = Input::Datagram {
                local,
                remote,
                data: message.to_vec(),
            };
            if input.send(datagram).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn run(
    mut endpoint: Endpoint,
    inputs: &Receiver<Input>,
    sockets: &[(SocketAddr, UdpSocket)],
    state: &Mutex<State>,
) {
    loop {
        let timeout = endpoint
            .poll_timeout()
            .map_or(Duration::from_secs(1), |at| {
                at.saturating_duration_since(Instant::now())
            });
        match inputs.recv_timeout(timeout) {
            Ok(Input::Configure(tunnels)) => endpoint.configure(Instant::now(), tunnels),
            Ok(Input::Report(report)) => endpoint.handle_report(Instant::now(), &report),
            Ok(Input::Datagram { data, .. }) if data.is_empty() => continue,
            Ok(Input::Datagram {
                local,
                remote,
                data,
            }) => endpoint.handle_datagram(Instant::now(), local, remote, &data),
            Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => {
                endpoint.shutdown(Instant::now());
                send(&mut endpoint, sockets);
                return;
            }
            Err(RecvTimeoutError::Timeout) => endpoint.handle_timeout(Instant::now()),
        }
        let mut events = Vec::new();
        while let Some(event) = endpoint.poll_event() {
            events.push(in_words(&event));
        }
        send(&mut endpoint, sockets);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events.extend(events);
        state.status = endpoint.status(Instant::now());
        state.counters = endpoint.counters();
    }
}

fn send(endpoint: &mut Endpoint, sockets: &[(SocketAddr, UdpSocket)]) {
    while let Some(transmit) = endpoint.poll_transmit() {
        let socket = sockets.iter().find(|(local, _)| *local == transmit.local);
        if let Some((_, socket)) = socket {
            // Lost on the way or here: it will be sent again.
            let _ = socket.send_to(&transmit.data, transmit.remote);
        }
    }
}

fn in_words(event: &Event) -> String {
    match event {
        Event::ChildUp(child) => format!(
            "child up {}/{} {:?} {:?}",
            child.inbound.spi, child.outbound.spi, child.inbound.suite, child.encapsulation
        ),
        Event::ChildReady { inbound, .. } => format!("child ready {inbound}"),
        Event::ChildDown { inbound, .. } => format!("child down {inbound}"),
        Event::PeerMoved { encapsulation, .. } => format!("peer moved {encapsulation:?}"),
        Event::State { state, reason, .. } => format!("{state:?}: {}", reason.0),
        Event::Path { usable, .. } => format!("path usable: {usable}"),
    }
}
