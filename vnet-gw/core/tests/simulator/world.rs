//! Hosts on one clock, and the network between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use vnet_gw_core::{
    esp::OpenError,
    ike::{Endpoint, Report, TunnelConfig, TunnelState},
    sa::TunnelId,
};

use crate::{
    ledger::Ledger,
    network::{Datagram, Network, Transport},
    rng::Rng,
    scenario::{Action, End, Scenario},
    worker::{Opened, Worker},
};

const MARKER: [u8; 4] = [0; 4];
const NAT_PORT: u16 = 4500;

pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    pub(crate) worker: Worker,
    pub(crate) configs: BTreeMap<TunnelId, TunnelConfig>,
    /// `handle_timeout`s, in all and at the instant it is.
    timeouts: u64,
    at_once: (Instant, u32),
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    pub(crate) scenario: Scenario,
    rng: Rng,
    script: BTreeMap<(Instant, usize), Action>,
    /// The next packet of each end of each tunnel.
    traffic: BTreeMap<(Instant, usize, End), ()>,
    /// Nothing may be lost.
    pub(crate) strict: bool,
    trace: bool,
    steps: u64,
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut rng = Rng::new(!scenario.seed);
        let start = Instant::now();
        let mut network = Network::new(rng.fork(), scenario.calm, scenario.mtu);
        if let Some(nat) = scenario.nat {
            let inside = scenario.hosts[0].iter().copied().collect();
            network.translate(inside, nat.outside, nat.idle);
        }
        let hosts = (0..scenario.hosts.len())
            .map(|host| Host {
                endpoint: Endpoint::new(scenario.options.clone(), Box::new(rng.fork())),
                worker: Worker::new(host as u64),
                configs: BTreeMap::new(),
                timeouts: 0,
                at_once: (start, 0),
            })
            .collect();
        let mut traffic = BTreeMap::new();
        for link in 0..scenario.links.len() {
            for end in (0..2).filter(|end| scenario.sends[*end]) {
                let at = start + rng.millis(0, 1000);
                traffic.insert((at, link, end), ());
            }
        }
        Self {
            start,
            now: start,
            hosts,
            network,
            ledger: Ledger::default(),
            scenario,
            rng,
            script: BTreeMap::new(),
            traffic,
            strict: false,
            trace: std::env::var_os("SIMULATOR_TRACE").is_some(),
            steps: 0,
        }
    }

    pub(crate) fn schedule(&mut self, actions: &[(Duration, Action)]) {
        for &(after, action) in actions {
            let order = self.script.len();
            self.script.insert((self.now + after, order), action);
        }
    }

    /// What the configuration files say from now on.
    pub(crate) fn configure(&mut self, host: usize, id: TunnelId, config: Option<TunnelConfig>) {
        let host_state = &mut self.hosts[host];
        match config {
            Some(config) => host_state.configs.insert(id, config),
            None => host_state.configs.remove(&id),
        };
        // It begins anew, and is told of anew.
        if let Some(tunnel) = host_state.worker.tunnels.get_mut(&id) {
            tunnel.state = TunnelState::Unknown;
            tunnel.reason.clear();
        }
        self.reconfigure(host);
    }

    fn reconfigure(&mut self, host: usize) {
        let now = self.now;
        let host_state = &mut self.hosts[host];
        let configs = host_state.configs.values().cloned().collect();
        host_state.endpoint.configure(now, configs);
        self.flush(host);
    }

    /// Carries on until then.
    pub(crate) fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// Carries on until `done`, which is asked a few times a second; false if that does not come.
    pub(crate) fn run_until(&mut self, most: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + most;
        while self.now < until {
            if done(self) {
                return true;
            }
            self.run(Duration::from_millis(500));
        }
        done(self)
    }

    fn step(&mut self, until: Instant) -> bool {
        let mut next = until;
        let mut what = None;
        let mut consider = |at: Option<Instant>, kind: Step| {
            if let Some(at) = at.filter(|at| *at < next) {
                next = at;
                what = Some(kind);
            }
        };
        consider(self.network.next_arrival(), Step::Arrival);
        consider(first(&self.script).map(|key| key.0), Step::Script);
        consider(first(&self.traffic).map(|key| key.0), Step::Traffic);
        for (number, host) in self.hosts.iter().enumerate() {
            consider(host.endpoint.poll_timeout(), Step::Timeout(number));
            consider(host.worker.report_due(self.now), Step::Report(number));
        }
        let Some(what) = what else {
            return false;
        };
        self.now = self.now.max(next);
        self.steps += 1;
        let seconds = self.now.saturating_duration_since(self.start).as_secs();
        assert!(
            self.steps < 20_000 + 1_000 * seconds,
            "it goes round in circles"
        );
        match what {
            Step::Arrival => {
                if let Some(datagram) = self.network.receive(self.now) {
                    self.deliver(datagram);
                }
            }
            Step::Script => {
                if let Some((_, action)) = self.script.pop_first() {
                    self.act(action);
                }
            }
            Step::Traffic => {
                if let Some(((_, link, end), ())) = self.traffic.pop_first() {
                    self.send_packet(link, end);
                    let at = self.now + self.scenario.interval;
                    self.traffic.insert((at, link, end), ());
                }
            }
            Step::Timeout(host) => self.timeout(host),
            Step::Report(host) => {
                for report in self.hosts[host].worker.reports(self.now) {
                    self.report(host, &report);
                }
            }
        }
        true
    }

    fn timeout(&mut self, number: usize) {
        let now = self.now;
        let host = &mut self.hosts[number];
        host.endpoint.handle_timeout(now);
        self.ledger.tally.timeouts += 1;
        host.timeouts += 1;
        host.at_once = match host.at_once {
            (at, count) if at == now => (at, count + 1),
            _ => (now, 1),
        };
        let next = host.endpoint.poll_timeout();
        assert!(next.is_none_or(|next| next > now), "a timer that stays due");
        assert!(
            host.at_once.1 <= 16,
            "timers at one instant, again and again"
        );
        let seconds = now.saturating_duration_since(self.start).as_secs();
        assert!(
            host.timeouts <= 500 + 40 * seconds,
            "{} timeouts in {seconds} s",
            host.timeouts
        );
        self.flush(number);
    }

    fn report(&mut self, host: usize, report: &Report) {
        let now = self.now;
        self.hosts[host].endpoint.handle_report(now, report);
        self.flush(host);
    }

    /// Events, then transmits; and a packet of each tunnel that something happened to goes out
    /// right between them, for that is when one is most likely to be lost.
    fn flush(&mut self, number: usize) {
        let now = self.now;
        let mut touched = BTreeSet::new();
        let host = &mut self.hosts[number];
        while let Some(event) = host.endpoint.poll_event() {
            if self.trace {
                let at = now.saturating_duration_since(self.start);
                eprintln!("{:9.3} {number} {}", at.as_secs_f64(), brief(&event));
            }
            touched.insert(host.worker.apply(now, event, &mut self.ledger));
        }
        for id in touched {
            self.packet_of(number, id);
        }
        let host = &mut self.hosts[number];
        let counters = host.endpoint.counters();
        assert!(counters.half_open <= self.scenario.options.half_open as u64);
        let mut count = 0;
        while let Some(transmit) = host.endpoint.poll_transmit() {
            count += 1;
            assert!(count < 200, "a flood of our own");
            let floated = transmit.local.port() == NAT_PORT;
            let marked = transmit.data.starts_with(&MARKER) || transmit.data == [0xff];
            assert!(!floated || marked, "no non-ESP marker");
            if self.trace {
                let at = now.saturating_duration_since(self.start).as_secs_f64();
                let length = transmit.data.len();
                let data = transmit
                    .data
                    .strip_prefix(&MARKER)
                    .unwrap_or(&transmit.data);
                let header: Vec<_> = data.iter().skip(18).take(6).collect();
                eprintln!(
                    "{at:9.3} {number} sends {length} to {}: {header:?}",
                    transmit.remote
                );
            }
            self.network.send(
                now,
                Datagram {
                    from: transmit.local,
                    to: transmit.remote,
                    transport: Transport::Udp,
                    data: transmit.data,
                },
            );
        }
    }

    fn packet_of(&mut self, host: usize, id: TunnelId) {
        let links = self.scenario.links.iter();
        let found = links.enumerate().find(|(_, link)| link.id == id);
        let Some((link, ends)) = found.map(|(number, link)| (number, link.hosts)) else {
            return;
        };
        let end = usize::from(ends[1] == host);
        if self.scenario.sends[end] {
            self.send_packet(link, end);
        }
    }

    fn send_packet(&mut self, link: usize, end: End) {
        let (id, hosts) = (
            self.scenario.links[link].id,
            self.scenario.links[link].hosts,
        );
        let peer = hosts[1 - end] as u64;
        match self.hosts[hosts[end]].worker.seal(id, peer) {
            Some(datagram) => {
                let dropped = self.network.dropped;
                self.network.send(self.now, datagram);
                assert!(
                    !self.strict || self.network.dropped == dropped,
                    "sent where nothing arrives"
                );
            }
            None => assert!(
                !self.strict || !self.scenario.links[link].can_connect(),
                "a packet finds no SA at host {}",
                hosts[end]
            ),
        }
    }

    fn deliver(&mut self, mut datagram: Datagram) {
        let holds = |addresses: &Vec<_>| addresses.contains(&datagram.to.ip());
        let Some(number) = self.scenario.hosts.iter().position(holds) else {
            return;
        };
        let (local, remote) = (datagram.to, datagram.from);
        let message = match datagram.transport {
            Transport::Udp if local.port() == NAT_PORT => {
                if datagram.data == [0xff] {
                    return;
                }
                datagram.data.strip_prefix(&MARKER)
            }
            Transport::Udp => Some(datagram.data.as_slice()),
            Transport::Esp => None,
        };
        if let Some(message) = message {
            return self.message(number, local, remote, message);
        }
        match self.hosts[number].worker.open(self.now, &mut datagram) {
            Opened::Packet { tunnel, sender, .. } => {
                self.ledger.tally.delivered += 1;
                let links = &self.scenario.links;
                let between = links
                    .iter()
                    .find(|link| link.id == tunnel)
                    .map(|link| link.hosts);
                let hosts = between.expect("a tunnel that is known");
                assert!(hosts.contains(&number) && hosts.contains(&(sender as usize)));
                assert_ne!(sender as usize, number);
            }
            Opened::UnknownSpi(spi) => {
                assert!(
                    !self.strict,
                    "{spi} is sent on, and not known to host {number}"
                );
                self.ledger.tally.strayed += 1;
            }
            Opened::Refused(error @ (OpenError::Replayed | OpenError::Expired)) => {
                assert!(!self.strict, "host {number}: {error}");
            }
            Opened::Refused(error) => panic!("host {number}: {error}"),
        }
    }

    fn message(&mut self, host: usize, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        let now = self.now;
        let endpoint = &mut self.hosts[host].endpoint;
        endpoint.handle_datagram(now, local, remote, data);
        self.flush(host);
    }

    pub(crate) fn act(&mut self, action: Action) {
        if self.trace {
            let at = self.now.saturating_duration_since(self.start);
            eprintln!("{:9.3} {action:?}", at.as_secs_f64());
        }
        let now = self.now;
        match action {
            Action::Leave(host) => {
                self.hosts[host].endpoint.shutdown(now);
                self.flush(host);
                self.restart(host);
            }
            Action::Restart(host) => self.restart(host),
            Action::AddressGone(host, address) => {
                self.network.absent.insert(address);
                self.hosts[host].endpoint.local_address(now, address, false);
                self.flush(host);
            }
            Action::AddressBack(host, address) => {
                self.network.absent.remove(&address);
                self.hosts[host].endpoint.local_address(now, address, true);
                self.flush(host);
            }
            Action::Reset(link, end) => {
                let (host, id) = self.end(link, end);
                let config = self.hosts[host].configs.get(&id).cloned();
                if let Some(mut config) = config {
                    config.generation += 1;
                    self.configure(host, id, Some(config));
                }
            }
            Action::Remove(link, end) => {
                let (host, id) = self.end(link, end);
                self.configure(host, id, None);
            }
            Action::PutBack(link, end) => {
                let (host, id) = self.end(link, end);
                let config = self.scenario.links[link].configs[end].clone();
                if !self.hosts[host].configs.contains_key(&id) {
                    self.configure(host, id, Some(config));
                }
            }
            Action::Partition(partitioned) => self.network.partitioned = partitioned,
            Action::Rebind => self.network.rebind(),
            Action::RekeyBoth(link) => {
                for end in 0..2 {
                    self.rekey(link, end);
                }
            }
            Action::Rekey(link, end) => self.rekey(link, end),
        }
    }

    fn end(&self, link: usize, end: End) -> (usize, TunnelId) {
        let link = &self.scenario.links[link];
        (link.hosts[end], link.id)
    }

    /// The pair that is sent on says that it is used up.
    fn rekey(&mut self, link: usize, end: End) {
        let (host, tunnel) = self.end(link, end);
        let report = Report {
            tunnel,
            received: false,
            sent: false,
            rekey: self.hosts[host].worker.current(tunnel),
            moved_to: None,
        };
        self.report(host, &report);
    }

    fn restart(&mut self, number: usize) {
        let now = self.now;
        let random = Box::new(self.rng.fork());
        let host = &mut self.hosts[number];
        host.endpoint = Endpoint::new(self.scenario.options.clone(), random);
        host.worker = Worker::new(number as u64);
        for &address in &self.scenario.hosts[number] {
            if self.network.absent.contains(&address) {
                host.endpoint.local_address(now, address, false);
            }
        }
        self.reconfigure(number);
    }
}

#[derive(Clone, Copy)]
enum Step {
    Arrival,
    Script,
    Traffic,
    Timeout(usize),
    Report(usize),
}

fn first<K: Copy + Ord, V>(map: &BTreeMap<K, V>) -> Option<K> {
    map.first_key_value().map(|(key, _)| *key)
}

fn brief(event: &vnet_gw_core::ike::Event) -> String {
    match event {
        vnet_gw_core::ike::Event::ChildUp(child) => format!(
            "ChildUp {} {} send_at_once={}",
            child.inbound.spi, child.outbound.spi, child.send_at_once
        ),
        other => format!("{other:?}"),
    }
}
