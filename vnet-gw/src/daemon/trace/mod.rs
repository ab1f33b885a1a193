//! Tracing: from records of the programs to packets for the clients that asked.
//!
//! The records are read on a thread of their own: a traced flood must not keep the loop. What a
//! client does not take in time is counted and left out.

mod line;

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use ipnet::IpNet;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::error::TrySendError;
use vnet_gw_core::{
    compile::{ActionImage, TableImage},
    model::ResourceId,
};

use self::line::{Line, Step};
use super::fabric::TraceLog;
use crate::control::{
    PacketOutcome, Snapshot, TraceEnd, TraceFeed, TraceStep, TracedPacket, next_hop_of,
};

/// Milliseconds between two looks at whether the daemon is still there.
const PATIENCE: u16 = 1000;

/// Who traces what.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    hub: Arc<Mutex<Hub>>,
    /// The log is read. Once begun that goes on, since a log has one reader, and an idle one costs
    /// nothing.
    listening: bool,
}

impl Tracer {
    /// Opens the log through `open`, unless it is being read already.
    pub(super) fn listen(
        &mut self,
        open: impl FnOnce(Box<dyn log::Log>) -> io::Result<Box<dyn TraceLog>>,
    ) -> io::Result<()> {
        if self.listening {
            return Ok(());
        }
        let hub = Arc::downgrade(&self.hub);
        let mut log = open(Box::new(Sink(hub.clone())))?;
        thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || {
                while hub.strong_count() > 0 {
                    let mut fds = [PollFd::new(log.as_fd(), PollFlags::POLLIN)];
                    // An interruption or a time out is a reason to look again, no more.
                    let _ = poll(&mut fds, PollTimeout::from(PATIENCE));
                    log.flush();
                }
            })?;
        self.listening = true;
        Ok(())
    }

    pub(super) fn subscribe(&mut self, nic: ResourceId, every: u32, feed: TraceFeed) {
        let subscriber = Subscriber {
            nic,
            every,
            feed,
            seen: 0,
            lost: 0,
        };
        self.hub().subscribers.push(subscriber);
    }

    /// Drops clients that are gone. Returns the networkInterfaces that were traced, each with the
    /// sampling that is wanted now.
    pub(super) fn sweep(&mut self) -> BTreeMap<ResourceId, Option<u32>> {
        let mut hub = self.hub();
        let mut wanted: BTreeMap<ResourceId, Option<u32>> = hub
            .subscribers
            .iter()
            .map(|one| (one.nic.clone(), None))
            .collect();
        hub.subscribers.retain(|one| !one.feed.is_closed());
        for one in &hub.subscribers {
            let every = wanted.entry(one.nic.clone()).or_default();
            *every = Some(every.map_or(one.every, |least| least.min(one.every)));
        }
        wanted
    }

    /// Ends the traces of networkInterfaces that are no ports any more, and of all when the daemon
    /// ends.
    pub(super) fn end(&mut self, why: &str, ended: impl Fn(&ResourceId) -> bool) {
        self.hub().subscribers.retain(|one| {
            let ended = ended(&one.nic);
            if ended {
                // A client that does not read learns it from the closed feed.
                let _ = one.feed.try_send(Err(TraceEnd::Over(why.to_owned())));
            }
            !ended
        });
    }

    /// Tells what ports and routes are now called.
    pub(super) fn describe(&mut self, snapshot: Snapshot, ports: BTreeMap<u32, TracedPort>) {
        let mut hub = self.hub();
        hub.snapshot = snapshot;
        hub.ports = ports;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.hub().subscribers.is_empty()
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        lock(&self.hub)
    }
}

/// What is in the hub stays whole at every point where it could panic.
fn lock(hub: &Mutex<Hub>) -> MutexGuard<'_, Hub> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where [`aya_log`] puts the records.
struct Sink(Weak<Mutex<Hub>>);

impl log::Log for Sink {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(hub) = self.0.upgrade() {
            lock(&hub).take(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TracedPort {
    pub(super) nic: ResourceId,
    pub(super) device: String,
    /// Whose routes it uses; nothing where the image does not have the port.
    pub(super) subnet: Option<ResourceId>,
}

#[derive(Debug)]
struct Subscriber {
    nic: ResourceId,
    every: u32,
    feed: TraceFeed,
    /// Packets of its networkInterface.
    seen: u64,
    /// Left out since it was last told.
    lost: u64,
}

#[derive(Debug, Default)]
struct Hub {
    snapshot: Snapshot,
    ports: BTreeMap<u32, TracedPort>,
    subscribers: Vec<Subscriber>,
    /// Packets whose verdict has not come yet. Each CPU logs one packet after the other.
    begun: BTreeMap<(u32, u32), Vec<Step>>,
}

impl Hub {
    fn take(&mut self, text: &str) {
        let Some(Line { port, cpu, step }) = line::parse(text) else {
            log::debug!("trace: a record that is not understood: {text}");
            return;
        };
        let last = matches!(step, Step::Verdict { .. });
        let steps = self.begun.entry((port, cpu)).or_default();
        if matches!(step, Step::Ethernet) {
            // The end of the packet before was lost in a full ring.
            steps.clear();
        }
        steps.push(step);
        if !last {
            return;
        }
        let steps = self.begun.remove(&(port, cpu)).unwrap_or_default();
        if !matches!(steps.first(), Some(Step::Ethernet)) {
            return;
        }
        let Some(from) = self.ports.get(&port) else {
            return;
        };
        let nic = from.nic.clone();
        let packet = TracedPacket {
            number: 0,
            network_interface: nic.to_string(),
            steps: self.describe(from, &steps),
        };
        self.tell(&nic, &packet);
    }

    fn tell(&mut self, nic: &ResourceId, packet: &TracedPacket) {
        let ones = || self.subscribers.iter().filter(|one| one.nic == *nic);
        let least = ones().map(|one| one.every).min().unwrap_or(1).max(1);
        for one in self.subscribers.iter_mut().filter(|one| one.nic == *nic) {
            // The data path samples for the most curious; the others get a part of that.
            let stride = u64::from(one.every / least).max(1);
            one.seen += 1;
            if (one.seen - 1) % stride != 0 {
                continue;
            }
            if one.lost > 0 && one.feed.try_send(Err(TraceEnd::Lost(one.lost))).is_ok() {
                one.lost = 0;
            }
            match one.feed.try_send(Ok(packet.clone())) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(_)) => one.lost += 1,
            }
        }
    }

    fn describe(&self, from: &TracedPort, steps: &[Step]) -> Vec<TraceStep> {
        let mut to = None;
        let routed = steps.iter().any(|step| matches!(step, Step::Route { .. }));
        let mut told = Vec::with_capacity(steps.len());
        for step in steps {
            told.push(match step {
                Step::Ethernet => TraceStep::Ethernet,
                &Step::Parse {
                    source,
                    destination,
                    protocol,
                    ttl,
                    length,
                } => {
                    to = Some(destination);
                    TraceStep::Parse {
                        source,
                        destination,
                        protocol,
                        ttl,
                        length,
                    }
                }
                &Step::Route { route, kind } => {
                    let expected = to.and_then(|to| self.expected(from, to, kind));
                    expected.map_or_else(
                        || TraceStep::Route {
                            route_id: route,
                            next_hop_type: line::next_hop_type(kind),
                            address_prefix: None,
                            next_hop_ip_address: None,
                            virtual_network: None,
                        },
                        |(prefix, vnet, action)| {
                            let hop = next_hop_of(&self.snapshot.topology, vnet, action);
                            TraceStep::Route {
                                route_id: route,
                                next_hop_type: Some(hop.kind),
                                address_prefix: Some(prefix),
                                next_hop_ip_address: hop.address,
                                virtual_network: hop.vnet,
                            }
                        },
                    )
                }
                Step::Endpoint { port, mac } => {
                    let port_here = self.ports.get(port);
                    TraceStep::Endpoint {
                        port_id: *port,
                        network_interface: port_here.map(|port| port.nic.to_string()),
                        device: port_here.map(|port| port.device.clone()),
                        mac_address: mac.text(),
                    }
                }
                &Step::Verdict { refused } => {
                    let reason = line::reason(refused);
                    TraceStep::Verdict {
                        outcome: match reason {
                            None if refused != 0 => PacketOutcome::Dropped,
                            // Only routed packets are forwarded; the rest was sent back.
                            None if !routed => PacketOutcome::Answered,
                            None => PacketOutcome::Forwarded,
                            Some(reason) if reason.is_drop() => PacketOutcome::Dropped,
                            Some(_) => PacketOutcome::Answered,
                        },
                        reason: reason.map(|reason| reason.name().to_owned()),
                        help: reason.map(|reason| reason.help().trim().to_owned()),
                    }
                }
            });
        }
        told
    }

    /// The route of the image that has the destination, if its kind is the one that was taken.
    fn expected(
        &self,
        from: &TracedPort,
        to: std::net::IpAddr,
        kind: u32,
    ) -> Option<(IpNet, &ResourceId, &ActionImage)> {
        let subnet = self.snapshot.image.subnets.get(from.subnet.as_ref()?)?;
        let (prefix, action) = match to {
            std::net::IpAddr::V4(_) => longest(&subnet.v4, IpNet::from(to), |net| match net {
                IpNet::V4(net) => Some(net),
                IpNet::V6(_) => None,
            }),
            std::net::IpAddr::V6(_) => longest(&subnet.v6, IpNet::from(to), |net| match net {
                IpNet::V6(net) => Some(net),
                IpNet::V4(_) => None,
            }),
        }?;
        (line::kind_of(action) == kind).then_some((prefix, &subnet.vnet, action))
    }
}

fn longest<P: Copy + Ord>(
    table: &TableImage<P>,
    host: IpNet,
    family: impl Fn(IpNet) -> Option<P>,
) -> Option<(IpNet, &ActionImage)> {
    (0..=host.prefix_len()).rev().find_map(|length| {
        let outer = IpNet::new(host.addr(), length).ok()?.trunc();
        let wanted = family(outer)?;
        let at = table
            .routes
            .binary_search_by(|(prefix, _)| prefix.cmp(&wanted))
            .ok()?;
        Some((outer, table.actions.get(table.routes.get(at)?.1 as usize)?))
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn port(name: &str) -> TracedPort {
        TracedPort {
            nic: ResourceId::new(name),
            device: format!("d-{name}"),
            subnet: None,
        }
    }

    fn hub(every: u32, room: usize) -> (Hub, mpsc::Receiver<Result<TracedPacket, TraceEnd>>) {
        let (feed, packets) = mpsc::channel(room);
        let nic = ResourceId::new("web");
        let hub = Hub {
            ports: BTreeMap::from([(3, port("web")), (4, port("app"))]),
            subscribers: vec![Subscriber {
                nic,
                every,
                feed,
                seen: 0,
                lost: 0,
            }],
            ..Hub::default()
        };
        (hub, packets)
    }

    fn dropped(hub: &mut Hub, port: &str) {
        hub.take(&format!("trace port={port} step=ethernet"));
        hub.take(&format!("trace port={port} step=verdict refused=1"));
    }

    #[test]
    fn steps_of_two_cpus_are_told_apart() {
        let (mut hub, mut packets) = hub(1, 8);
        for text in [
            "trace port=3 cpu=0 step=ethernet",
            "trace port=3 cpu=1 step=ethernet",
            "trace port=3 cpu=0 step=parse source=10.1.0.4 destination=10.2.0.4 protocol=1 ttl=64 length=84",
            "trace port=3 cpu=1 step=verdict refused=1",
            "trace port=3 cpu=0 step=route table=1 route=7 action=2 kind=2 scope=5",
            "trace port=3 cpu=0 step=endpoint port=4 mac=00:0D:3A:00:00:04",
            "trace port=3 cpu=0 step=verdict refused=0",
        ] {
            hub.take(text);
        }
        let first = packets.try_recv().unwrap().unwrap();
        assert_eq!(first.steps.len(), 2);
        let second = packets.try_recv().unwrap().unwrap();
        assert_eq!(second.steps.len(), 5);
        assert!(
            matches!(&second.steps[3], TraceStep::Endpoint { device: Some(device), .. } if device == "d-app")
        );
        assert!(matches!(
            second.steps[4],
            TraceStep::Verdict {
                outcome: PacketOutcome::Forwarded,
                ..
            }
        ));
    }

    #[test]
    fn only_whole_packets_of_the_networkinterface_are_told() {
        let (mut hub, mut packets) = hub(1, 8);
        dropped(&mut hub, "4");
        dropped(&mut hub, "9");
        // Lost in a full ring: the end of one packet, the beginning of another.
        hub.take("trace port=3 step=ethernet");
        dropped(&mut hub, "3");
        hub.take("trace port=3 step=verdict refused=0");
        let packet = packets.try_recv().unwrap().unwrap();
        assert_eq!(packet.steps.len(), 2);
        assert!(packets.try_recv().is_err());
    }

    #[test]
    fn who_does_not_keep_up_learns_how_much_was_left_out() {
        let (mut hub, mut packets) = hub(1, 2);
        for _ in 0..5 {
            dropped(&mut hub, "3");
        }
        assert!(packets.try_recv().unwrap().is_ok());
        assert!(packets.try_recv().unwrap().is_ok());
        dropped(&mut hub, "3");
        assert_eq!(packets.try_recv().unwrap(), Err(TraceEnd::Lost(3)));
        assert!(packets.try_recv().unwrap().is_ok());
    }

    #[test]
    fn the_less_curious_get_a_part() {
        let (mut hub, _packets) = hub(2, 64);
        let (feed, mut rare) = mpsc::channel(64);
        let nic = ResourceId::new("web");
        hub.subscribers.push(Subscriber {
            nic,
            every: 6,
            feed,
            seen: 0,
            lost: 0,
        });
        for _ in 0..9 {
            dropped(&mut hub, "3");
        }
        assert_eq!(std::iter::from_fn(|| rare.try_recv().ok()).count(), 3);
    }

    #[test]
    fn sampling_follows_who_is_there() {
        let mut tracer = Tracer::default();
        let (often, first) = mpsc::channel(1);
        let (rarely, second) = mpsc::channel(1);
        let web = ResourceId::new("web");
        tracer.subscribe(web.clone(), 10, often);
        tracer.subscribe(web.clone(), 1000, rarely);
        assert_eq!(tracer.sweep(), BTreeMap::from([(web.clone(), Some(10))]));
        drop(first);
        assert_eq!(tracer.sweep(), BTreeMap::from([(web.clone(), Some(1000))]));
        drop(second);
        assert_eq!(tracer.sweep(), BTreeMap::from([(web, None)]));
        assert!(tracer.sweep().is_empty() && tracer.is_idle());
    }
}
