//! One probe: tries at their times, and what became of each.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use vnet_gw_core::{
    capture::{self as filter, Addresses, Filter, Limits, Ports},
    model::ResourceId,
    probe::{Answer, Outcome, Probe, Protocol, Statistics, frame},
};

use super::{
    Inject,
    sink::{Seen, Watch, What},
};
use crate::capture::{Interface, Spec};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// Of this host.
    pub from: ResourceId,
    /// One of its own; else the first of the target's family.
    pub source: Option<IpAddr>,
    pub to: IpAddr,
    pub protocol: Protocol,
    pub count: u16,
    pub interval: Duration,
    /// How long the answer to a try is waited for.
    pub patience: Duration,
}

impl ProbeSpec {
    pub const MOST: u16 = 100;
    pub const LEAST_INTERVAL: Duration = Duration::from_millis(10);
    pub const MOST_INTERVAL: Duration = Duration::from_secs(60);
    pub const MOST_PATIENCE: Duration = Duration::from_secs(30);
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// By try.
    pub outcomes: Vec<Outcome>,
    pub statistics: Statistics,
}

type Way = Arc<Mutex<Option<Box<dyn Inject>>>>;

/// Sends probes. All of a daemon's go by one device, one frame at a time.
#[derive(Clone, Default)]
pub struct Prober {
    way: Way,
    /// Each has local ports of its own.
    next: u16,
}

/// Local ports of probes: above those that Linux gives to connections.
const FIRST_PORT: u16 = 61_000;
const PORTS: u16 = 4_000;

/// One that is ready to begin.
pub struct Ready {
    way: Way,
    port: u32,
    frames: Vec<Vec<u8>>,
    interval: Duration,
    patience: Duration,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Prober {
    /// Whether the device is there.
    pub fn has_way(&self) -> bool {
        self.way().is_some()
    }

    pub fn set_way(&mut self, way: Box<dyn Inject>) {
        *self.way() = Some(way);
    }

    /// Takes the device away.
    pub fn end(&mut self) {
        *self.way() = None;
    }

    /// A probe, and the session that sees its answers; `address` is the port's own, of the target's
    /// family. `None` where it is not.
    pub fn prepare(
        &mut self,
        spec: &ProbeSpec,
        interface: Interface,
        address: IpAddr,
    ) -> Option<(Ready, Spec)> {
        let id = FIRST_PORT + self.next;
        self.next = (self.next + 1) % PORTS;
        let probe = Probe {
            from: address,
            to: spec.to,
            protocol: spec.protocol,
            id,
        };
        let frames = (1..=spec.count)
            .map(|sequence| frame(&probe, interface.mac, sequence))
            .collect::<Option<Vec<_>>>()?;
        let (feed, seen) = mpsc::unbounded_channel();
        let ready = Ready {
            way: Arc::clone(&self.way),
            port: interface.port,
            frames: frames.clone(),
            interval: spec.interval,
            patience: spec.patience,
            seen,
        };
        let time = spec.interval * u32::from(spec.count) + spec.patience + Duration::from_secs(5);
        let session = Spec {
            interfaces: vec![interface],
            filters: filters(&probe),
            limits: Limits {
                bytes_per_packet: 0,
                total_bytes: u64::MAX,
                time,
            },
            sink: Box::new(Watch {
                probe,
                frames,
                feed,
            }),
        };
        Some((ready, session))
    }

    fn way(&self) -> std::sync::MutexGuard<'_, Option<Box<dyn Inject>>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The probe's own packets and their answers, and errors about them from anybody.
fn filters(probe: &Probe) -> Vec<Filter> {
    let local = Addresses::one(probe.from);
    let errors = Filter {
        protocol: filter::Protocol::Icmp,
        local: local.clone(),
        ..Filter::default()
    };
    match probe.protocol {
        Protocol::Icmp => vec![errors],
        Protocol::Tcp { port } => {
            let own = Filter {
                protocol: filter::Protocol::Tcp,
                local,
                remote: Addresses::one(probe.to),
                local_ports: Ports::one(probe.id),
                remote_ports: Ports::one(port),
            };
            vec![own, errors]
        }
    }
}

/// What is known of one try. It may be seen in any order: the CPUs tell each by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Try {
    sent: Option<u64>,
    refused: Option<u32>,
    answered: Option<(u64, Answer)>,
}

impl Try {
    fn is_known(&self) -> bool {
        self.refused.is_some() || (self.sent.is_some() && self.answered.is_some())
    }

    fn outcome(&self, patience: Duration) -> Outcome {
        match (self.refused, self.sent, self.answered) {
            (Some(reason), ..) => Outcome::Dropped { reason },
            (None, Some(sent), Some((at, answer))) => {
                let after = Duration::from_nanos(at.saturating_sub(sent));
                match after <= patience {
                    true => Outcome::Answered { answer, after },
                    false => Outcome::Lost,
                }
            }
            _ => Outcome::Lost,
        }
    }
}

impl Ready {
    /// Sends every try at its time, and waits for the answers.
    ///
    /// # Errors
    /// The device does not take a frame.
    pub async fn run(mut self) -> io::Result<ProbeReport> {
        let mut tries = vec![Try::default(); self.frames.len()];
        let mut next = Instant::now();
        for at in 0..self.frames.len() {
            self.take_until(&mut tries, next, false).await;
            self.send(at)?;
            next = Instant::now() + self.interval;
        }
        let end = Instant::now() + self.patience;
        self.take_until(&mut tries, end, true).await;
        let outcomes: Vec<Outcome> = tries.iter().map(|one| one.outcome(self.patience)).collect();
        let statistics = Statistics::of(&outcomes);
        Ok(ProbeReport {
            outcomes,
            statistics,
        })
    }

    fn send(&self, at: usize) -> io::Result<()> {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(way), Some(frame)) = (way.as_mut(), self.frames.get(at)) else {
            return Err(io::Error::other("the daemon ends"));
        };
        way.send(self.port, frame)
    }

    /// Takes what is seen until then, or until all is known.
    async fn take_until(&mut self, tries: &mut [Try], until: Instant, last: bool) {
        loop {
            if last && tries.iter().all(Try::is_known) {
                return;
            }
            match timeout_at(until, self.seen.recv()).await {
                Ok(Some(seen)) => Self::note(tries, seen),
                // The session is over, and with it everything that could be seen.
                Ok(None) if last => return,
                Ok(None) => return sleep_until(until).await,
                Err(_) => return,
            }
        }
    }

    fn note(tries: &mut [Try], seen: Seen) {
        let Some(one) = tries.get_mut(usize::from(seen.sequence).wrapping_sub(1)) else {
            return;
        };
        match seen.what {
            What::Sent => one.sent = Some(seen.at),
            What::Refused { reason } => {
                one.refused.get_or_insert(reason);
            }
            // What is repeated counts once.
            What::Answered(answer) => {
                one.answered.get_or_insert((seen.at, answer));
            }
        }
    }
}
