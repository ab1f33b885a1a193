//! The hub between an IKE and workers that do as the test says, and write down what they are told.

mod troubles;

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, time::Duration};

use vnet_gw_core::{
    compile::{ConnectionImage, GatewayInstance},
    ike::{
        ConnectionMode, EncapsulationChoice, EndpointCounters, Identity, Lifetimes, Reason, Report,
        TunnelState,
    },
    sa::Spi,
    secret::Secret,
};

use super::*;
use crate::worker::{TunnelCounters, WorkerStats};

type Log = Rc<RefCell<Vec<String>>>;

#[derive(Default)]
struct FakeIke {
    log: Log,
    events: Rc<RefCell<VecDeque<Event>>>,
    transmits: Rc<RefCell<VecDeque<Transmit>>>,
    known: Vec<TunnelConfig>,
}

impl Ike for FakeIke {
    fn configure(&mut self, _: Instant, tunnels: Vec<TunnelConfig>) {
        if tunnels == self.known {
            return;
        }
        let one = |tunnel: &TunnelConfig| format!("{}g{}", tunnel.id.0, tunnel.generation);
        let list: Vec<String> = tunnels.iter().map(one).collect();
        self.log
            .borrow_mut()
            .push(format!("ike {}", list.join(" ")));
        self.known = tunnels;
    }

    fn handle_datagram(&mut self, _: Instant, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        let line = format!("datagram {local} {remote} {}", data.len());
        self.log.borrow_mut().push(line);
    }

    fn handle_report(&mut self, _: Instant, report: &Report) {
        self.log
            .borrow_mut()
            .push(format!("report {}", report.tunnel.0));
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn local_address(&mut self, _: Instant, address: IpAddr, present: bool) {
        self.log
            .borrow_mut()
            .push(format!("address {address} {present}"));
    }

    fn shutdown(&mut self, _: Instant) {
        self.log.borrow_mut().push("shutdown".into());
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.borrow_mut().pop_front()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.borrow_mut().pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn status(&self, _: Instant) -> Vec<IkeSaStatus> {
        Vec::new()
    }

    fn counters(&self) -> EndpointCounters {
        EndpointCounters::default()
    }
}

#[derive(Default)]
struct FakeWorkers {
    log: Log,
    /// Devices that cannot be made.
    broken: Rc<RefCell<Vec<String>>>,
    started: u64,
}

struct FakeWorker {
    log: Log,
    device: String,
    number: u64,
}

impl FakeWorker {
    fn note(&self, what: &str) {
        self.log
            .borrow_mut()
            .push(format!("{} {what}", self.device));
    }
}

fn addresses(image: &GatewayImage) -> String {
    let instances = image.instances.iter();
    let list: Vec<String> = instances
        .map(|one| one.public_address.to_string())
        .collect();
    list.join(" ")
}

impl Workers for FakeWorkers {
    type Worker = FakeWorker;

    fn start(&mut self, image: &GatewayImage, _: EngineChoice) -> Result<FakeWorker, String> {
        if self.broken.borrow().contains(&image.device) {
            return Err(format!("the gateway port {}: no", image.device));
        }
        self.started += 1;
        let worker = FakeWorker {
            log: Rc::clone(&self.log),
            device: image.device.clone(),
            number: self.started,
        };
        worker.note(&format!("starts with {}", addresses(image)));
        Ok(worker)
    }
}

impl WorkerHandle for FakeWorker {
    fn number(&self) -> u64 {
        self.number
    }

    fn configure(&mut self, image: &GatewayImage) {
        let connections = image.connections.len();
        self.note(&format!("has {} and {connections}", addresses(image)));
    }

    fn command(&mut self, command: Command) {
        let name = match command {
            Command::Install(_) => "install",
            Command::SendOn { .. } => "send on",
            Command::Remove { .. } => "remove",
            Command::Move { .. } => "move",
            Command::Path { .. } => "path",
        };
        self.note(name);
    }

    fn send_ike(&mut self, transmit: &Transmit) {
        self.note(&format!("sends {}", transmit.data.len()));
    }

    fn stats(&self) -> WorkerStats {
        let counters = TunnelCounters {
            bytes_in: 10,
            bytes_out: 100,
            ..TunnelCounters::default()
        };
        WorkerStats {
            tunnels: vec![(TunnelId(1), counters)],
            ..WorkerStats::default()
        }
    }

    fn stop(self) {
        self.note("stops");
    }
}

struct Bench {
    hub: Hub<FakeIke, FakeWorkers>,
    log: Log,
    events: Rc<RefCell<VecDeque<Event>>>,
    transmits: Rc<RefCell<VecDeque<Transmit>>>,
    broken: Rc<RefCell<Vec<String>>>,
    now: Instant,
}

const HERE: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|one| one.parse().unwrap()).collect()
}

impl Bench {
    fn new() -> Self {
        let log = Log::default();
        let ike = FakeIke {
            log: Rc::clone(&log),
            ..FakeIke::default()
        };
        let workers = FakeWorkers {
            log: Rc::clone(&log),
            ..FakeWorkers::default()
        };
        let (events, transmits) = (Rc::clone(&ike.events), Rc::clone(&ike.transmits));
        let broken = Rc::clone(&workers.broken);
        Self {
            hub: Hub::new(ike, workers, EngineChoice::Auto, set(&HERE)),
            log,
            events,
            transmits,
            broken,
            now: Instant::now(),
        }
    }

    /// Opens ports as the thread does; those in `taken` are another program's.
    fn ports(&mut self, open: &mut BTreeSet<IpAddr>, taken: &BTreeSet<IpAddr>) {
        open.retain(|address| self.hub.wants_port(*address));
        for address in self.hub.ports_to_open(self.now, |one| open.contains(&one)) {
            let result = if taken.contains(&address) {
                Err(io::ErrorKind::AddrInUse.into())
            } else {
                open.insert(address);
                Ok(())
            };
            self.hub.port_opened(self.now, address, result);
        }
    }

    fn said(&self) -> Vec<String> {
        take(&mut self.log.borrow_mut())
    }

    fn tunnel(&self, id: u64) -> (TunnelState, String) {
        let status = self.hub.status();
        let mut tunnels = status
            .gateways
            .iter()
            .flat_map(|gateway| &gateway.connections)
            .flat_map(|connection| &connection.tunnels);
        let tunnel = tunnels.find(|tunnel| tunnel.id == TunnelId(id)).unwrap();
        (tunnel.state, tunnel.reason.clone())
    }
}

/// Tunnels `first` and, at the second address, `first + 1`.
fn gateway(device: &str, addresses: &[&str], first: u64) -> GatewayImage {
    let id = |kind: &str| {
        ResourceId::new(&format!(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/{kind}/{device}"
        ))
    };
    let tunnel = |(at, address): (usize, &&str)| TunnelConfig {
        id: TunnelId(first + at as u64),
        name: "t".into(),
        local: address.parse().unwrap(),
        remote: "198.51.100.1".parse().unwrap(),
        local_id: Identity::Fqdn("a".into()),
        remote_ids: Vec::new(),
        key: Secret::new(*b"abc"),
        mode: ConnectionMode::Default,
        ike: Vec::new(),
        esp: Vec::new(),
        local_selectors: Vec::new(),
        remote_selectors: Vec::new(),
        lifetimes: Lifetimes {
            ike: Duration::from_secs(1),
            child: Duration::from_secs(1),
            child_bytes: None,
        },
        dpd: Duration::from_secs(45),
        encapsulation: EncapsulationChoice::Udp,
        post_quantum: true,
        generation: 0,
    };
    GatewayImage {
        id: id("virtualNetworkGateways"),
        vnet: id("virtualNetworks"),
        device: device.to_owned(),
        mac: [0; 6],
        instances: addresses
            .iter()
            .map(|address| GatewayInstance {
                name: (*address).to_owned(),
                private_address: "10.0.255.4".parse().unwrap(),
                public_address: address.parse().unwrap(),
            })
            .collect(),
        bandwidth: None,
        local_prefixes: Vec::new(),
        connections: vec![ConnectionImage {
            id: id("connections"),
            vnet_to_vnet: true,
            remote_prefixes: Vec::new(),
            tunnels: addresses.iter().enumerate().map(tunnel).collect(),
        }],
    }
}

fn connected(tunnel: u64) -> Event {
    Event::State {
        tunnel: TunnelId(tunnel),
        state: TunnelState::Connected,
        reason: Reason("AES".into()),
    }
}

#[test]
fn an_sa_is_in_place_before_the_message_leaves() {
    let mut bench = Bench::new();
    bench
        .hub
        .configure(bench.now, vec![gateway("a", &["192.0.2.1"], 1)]);
    assert_eq!(bench.said(), ["a starts with 192.0.2.1", "ike 1g0"]);
    for port in [500, 4500] {
        bench.transmits.borrow_mut().push_back(Transmit {
            local: format!("192.0.2.1:{port}").parse().unwrap(),
            remote: "198.51.100.1:500".parse().unwrap(),
            data: vec![0; port],
        });
    }
    bench.events.borrow_mut().extend([
        Event::ChildReady {
            tunnel: TunnelId(1),
            inbound: Spi(7),
        },
        connected(1),
        Event::Path {
            tunnel: TunnelId(1),
            usable: false,
        },
        // Of a tunnel that is not ours any more.
        Event::Path {
            tunnel: TunnelId(9),
            usable: false,
        },
    ]);
    let remote = "198.51.100.1:500".parse().unwrap();
    let local = "192.0.2.1".parse().unwrap();
    bench.hub.datagram(bench.now, local, remote, b"hello");
    assert_eq!(
        bench.said(),
        [
            "datagram 192.0.2.1:500 198.51.100.1:500 5",
            "a send on",
            "a path",
            "a sends 4500"
        ]
    );
    let outbox = bench.hub.outbox();
    assert_eq!((outbox.len(), outbox[0].data.len()), (1, 500));
    let (state, reason) = bench.tunnel(1);
    assert_eq!(state, TunnelState::Connected);
    assert_eq!(reason, "AES; does not answer at the moment");
}

#[test]
fn what_did_not_change_is_not_touched() {
    let mut bench = Bench::new();
    let (a, b) = (
        gateway("a", &["192.0.2.1"], 1),
        gateway("b", &["192.0.2.3"], 5),
    );
    bench.hub.configure(bench.now, vec![a.clone(), b.clone()]);
    bench.said();
    bench.hub.configure(bench.now, vec![a.clone(), b.clone()]);
    assert!(bench.said().is_empty());

    let mut less = a.clone();
    less.connections.clear();
    bench.hub.configure(bench.now, vec![less, b.clone()]);
    // IKE first, so that the peer is told.
    assert_eq!(bench.said(), ["ike 5g0", "a has 192.0.2.1 and 0"]);
    bench.hub.configure(bench.now, vec![a, b.clone()]);
    assert_eq!(bench.said(), ["a has 192.0.2.1 and 1", "ike 1g0 5g0"]);

    // Another device is another worker.
    let mut renamed = b;
    renamed.device = "c".into();
    bench.hub.configure(bench.now, vec![renamed]);
    assert_eq!(
        bench.said(),
        [
            "ike ",
            "a stops",
            "b stops",
            "c starts with 192.0.2.3",
            "ike 5g0"
        ]
    );
}

#[test]
fn a_gateway_is_prepared_without_tunnels() {
    let mut bench = Bench::new();
    let (a, b) = (
        gateway("a", &["192.0.2.1"], 1),
        gateway("b", &["192.0.2.3"], 5),
    );
    bench.hub.configure(bench.now, vec![a.clone()]);
    bench.said();
    bench.hub.prepare(bench.now, vec![a.clone(), b.clone()]);
    assert_eq!(bench.said(), ["b starts with 192.0.2.3"]);
    bench.hub.configure(bench.now, vec![a, b]);
    assert_eq!(bench.said(), ["b has 192.0.2.3 and 1", "ike 1g0 5g0"]);
}

#[test]
fn a_reset_makes_the_tunnels_anew_and_lasts() {
    let mut bench = Bench::new();
    let a = gateway("a", &["192.0.2.1"], 1);
    bench.hub.configure(bench.now, vec![a.clone()]);
    bench.said();
    assert!(!bench.hub.reset(bench.now, &a.id));
    assert!(bench.hub.reset(bench.now, &a.connections[0].id));
    assert_eq!(bench.said(), ["ike 1g1"]);
    bench.hub.configure(bench.now, vec![a]);
    assert!(bench.said().is_empty());
}

#[test]
fn at_the_end_peers_are_told_before_the_workers_go() {
    let mut bench = Bench::new();
    bench
        .hub
        .configure(bench.now, vec![gateway("a", &["192.0.2.1"], 1)]);
    bench.said();
    bench.transmits.borrow_mut().push_back(Transmit {
        local: "192.0.2.1:4500".parse().unwrap(),
        remote: "198.51.100.1:4500".parse().unwrap(),
        data: vec![0; 80],
    });
    bench.hub.end(bench.now);
    assert_eq!(bench.said(), ["shutdown", "a sends 80", "a stops"]);
}
