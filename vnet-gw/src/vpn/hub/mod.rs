//! What the IKE thread decides, without its sockets and clocks.
//!
//! Something is put in ([`Hub::configure`], [`Hub::datagram`], …) and carried through at once: IKE's
//! events to the workers, then its messages to the workers (port 4500) or into the outbox (port
//! 500). The thread empties the outbox, opens the ports that [`Hub::ports_to_open`] names, and comes
//! back at [`Hub::next_timeout`].

mod edges;
mod gateway;
mod ports;
#[cfg(test)]
mod tests;
mod tunnels;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use vnet_gw_core::{
    compile::GatewayImage,
    ike::{Event, IkeSaStatus, Transmit, TunnelConfig},
    model::ResourceId,
    sa::TunnelId,
};

pub(super) use self::edges::{Ike, WorkerHandle, Workers};
use self::{gateway::Gateway, ports::Trouble, tunnels::Tunnels};
use super::{
    port500::PORT,
    status::{VpnStatus, sum},
};
use crate::worker::{Command, EngineChoice, FromWorker};

/// Everything the IKE thread knows.
pub(super) struct Hub<I, W: Workers> {
    ike: I,
    workers: W,
    engine: EngineChoice,
    /// As configured, by id.
    gateways: BTreeMap<ResourceId, Gateway<W::Worker>>,
    tunnels: Tunnels,
    /// How often the administrator had a connection's tunnels made anew.
    resets: BTreeMap<ResourceId, u32>,
    /// Of this host.
    present: BTreeSet<IpAddr>,
    /// Public addresses of our gateways that nothing can come or go at, and why.
    trouble: BTreeMap<IpAddr, Trouble>,
    outbox: Vec<Transmit>,
}

impl<I: Ike, W: Workers> Hub<I, W> {
    pub(super) fn new(ike: I, workers: W, engine: EngineChoice, present: BTreeSet<IpAddr>) -> Self {
        Self {
            ike,
            workers,
            engine,
            gateways: BTreeMap::new(),
            tunnels: Tunnels::default(),
            resets: BTreeMap::new(),
            present,
            trouble: BTreeMap::new(),
            outbox: Vec::new(),
        }
    }

    /// Starts the workers of gateways that are new, without connections.
    pub(super) fn prepare(&mut self, now: Instant, images: Vec<GatewayImage>) {
        let known: Vec<GatewayImage> = self
            .gateways
            .values()
            .map(|one| one.image.clone())
            .collect();
        let new = images
            .into_iter()
            .filter(|image| !self.gateways.contains_key(&image.id))
            .map(|image| GatewayImage {
                connections: Vec::new(),
                ..image
            });
        let images = new.chain(known).collect();
        self.configure(now, images);
    }

    /// The gateways from now on. What did not change is not touched.
    pub(super) fn configure(&mut self, now: Instant, images: Vec<GatewayImage>) {
        let wanted: BTreeMap<ResourceId, GatewayImage> = images
            .into_iter()
            .map(|image| (image.id.clone(), image))
            .collect();
        self.say_goodbye(now, &wanted);
        let gone: Vec<ResourceId> = self
            .gateways
            .iter()
            .filter(|(id, gateway)| {
                !wanted
                    .get(*id)
                    .is_some_and(|image| gateway.can_become(image))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.keep_counters(&id);
            if let Some(gateway) = self.gateways.remove(&id) {
                gateway.stop();
            }
        }
        for (id, image) in wanted {
            match self.gateways.get_mut(&id) {
                Some(gateway) => gateway.image = image,
                None => {
                    self.gateways.insert(id, Gateway::new(image, now));
                }
            }
        }
        let connections: BTreeSet<&ResourceId> = self
            .gateways
            .values()
            .flat_map(|gateway| gateway.image.connections.iter().map(|one| &one.id))
            .collect();
        self.resets.retain(|id, _| connections.contains(id));
        self.tunnels
            .follow(self.gateways.values().map(|gateway| &gateway.image));
        self.look_at_addresses(now);
        self.run_workers(now);
    }

    /// Tells peers of tunnels that go, while the sockets that can tell them are still there.
    fn say_goodbye(&mut self, now: Instant, wanted: &BTreeMap<ResourceId, GatewayImage>) {
        let staying: BTreeSet<TunnelId> = wanted
            .iter()
            .filter(|(id, image)| {
                let gateway = self.gateways.get(*id);
                gateway.is_some_and(|gateway| gateway.can_become(image))
            })
            .flat_map(|(_, image)| &image.connections)
            .flat_map(|connection| connection.tunnels.iter().map(|tunnel| tunnel.id))
            .collect();
        let mut tunnels = self.running_tunnels();
        let before = tunnels.len();
        tunnels.retain(|tunnel| staying.contains(&tunnel.id));
        if tunnels.len() < before {
            self.ike.configure(now, tunnels);
            self.settle();
        }
    }

    /// Those that IKE is to work on: of gateways whose worker runs.
    fn running_tunnels(&self) -> Vec<TunnelConfig> {
        let connections = self
            .gateways
            .values()
            .filter(|gateway| gateway.worker().is_some())
            .flat_map(|gateway| &gateway.image.connections);
        let mut tunnels = Vec::new();
        for connection in connections {
            let resets = self.resets.get(&connection.id).copied().unwrap_or(0);
            tunnels.extend(connection.tunnels.iter().cloned().map(|mut tunnel| {
                tunnel.generation = tunnel.generation.wrapping_add(resets);
                tunnel
            }));
        }
        tunnels
    }

    /// Starts workers that are due, tells the running ones what is new, then IKE.
    fn run_workers(&mut self, now: Instant) {
        for gateway in self.gateways.values_mut() {
            let troubled = |address| !self.present.contains(&address);
            gateway.run(now, &mut self.workers, self.engine, troubled);
        }
        self.tell_troubles();
        let tunnels = self.running_tunnels();
        self.ike.configure(now, tunnels);
        self.settle();
    }

    /// Before IKE's own word about the same.
    fn tell_troubles(&mut self) {
        for gateway in self.gateways.values() {
            for connection in &gateway.image.connections {
                for tunnel in &connection.tunnels {
                    let trouble = gateway.trouble().or_else(|| {
                        let trouble = self.trouble.get(&tunnel.local)?;
                        Some(trouble.reason.as_str())
                    });
                    self.tunnels.trouble(tunnel.id, trouble);
                }
            }
        }
    }

    /// A message that came in on port 500.
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        local: IpAddr,
        remote: SocketAddr,
        data: &[u8],
    ) {
        self.ike
            .handle_datagram(now, SocketAddr::new(local, PORT), remote, data);
        self.settle();
    }

    /// What the worker `number` of a gateway said.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        gateway: &ResourceId,
        number: u64,
        said: FromWorker,
    ) {
        let worker = self.gateways.get(gateway).and_then(Gateway::worker);
        // One that was stopped meanwhile has no say.
        if worker.is_none_or(|worker| worker.number() != number) {
            return;
        }
        match said {
            FromWorker::Ike {
                local,
                remote,
                data,
            } => self.ike.handle_datagram(now, local, remote, &data),
            FromWorker::Report(report) => self.ike.handle_report(now, &report),
            FromWorker::Failed(reason) => {
                self.keep_counters(gateway);
                if let Some(gateway) = self.gateways.get_mut(gateway) {
                    gateway.failed(now, reason);
                    self.run_workers(now);
                }
            }
        }
        self.settle();
    }

    /// [`Self::next_timeout`]'s instant has come.
    pub(super) fn timeout(&mut self, now: Instant) {
        if self.ike.poll_timeout().is_some_and(|at| at <= now) {
            self.ike.handle_timeout(now);
            self.settle();
        }
        if self.gateways.values().any(|gateway| gateway.is_due(now)) {
            self.run_workers(now);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let gateways = self.gateways.values().filter_map(Gateway::retry_at);
        let ports = self.trouble.values().filter_map(|trouble| trouble.retry);
        gateways.chain(ports).chain(self.ike.poll_timeout()).min()
    }

    /// Has the tunnels of a connection made anew. False where there is no such connection here.
    pub(super) fn reset(&mut self, now: Instant, connection: &ResourceId) -> bool {
        let mut connections = self
            .gateways
            .values()
            .flat_map(|gateway| &gateway.image.connections);
        if !connections.any(|one| one.id == *connection) {
            return false;
        }
        let resets = self.resets.entry(connection.clone()).or_default();
        *resets = resets.wrapping_add(1);
        log::info!(
            "connection {}: reset, its tunnels are made anew",
            connection.name()
        );
        let tunnels = self.running_tunnels();
        self.ike.configure(now, tunnels);
        self.settle();
        true
    }

    /// Tells every peer and stops every worker; the outbox has what is to be sent from port 500.
    pub(super) fn end(&mut self, now: Instant) {
        self.ike.shutdown(now);
        self.settle();
        for gateway in take(&mut self.gateways).into_values() {
            gateway.stop();
        }
    }

    /// Messages to send from port 500.
    pub(super) fn outbox(&mut self) -> Vec<Transmit> {
        take(&mut self.outbox)
    }

    /// Carries out what IKE decided: events first, so that an SA is in place before the peer hears
    /// of it.
    fn settle(&mut self) {
        while let Some(event) = self.ike.poll_event() {
            self.carry_out(event);
        }
        while let Some(transmit) = self.ike.poll_transmit() {
            if transmit.local.port() == PORT {
                self.outbox.push(transmit);
                continue;
            }
            let mut gateways = self.gateways.values_mut();
            let sender = gateways.find(|gateway| gateway.has_address(transmit.local.ip()));
            if let Some(worker) = sender.and_then(Gateway::worker_mut) {
                worker.send_ike(&transmit);
            }
        }
    }

    fn carry_out(&mut self, event: Event) {
        let (tunnel, command) = match event {
            Event::State {
                tunnel,
                state,
                reason,
            } => return self.tunnels.state(tunnel, state, reason.0),
            Event::ChildUp(pair) => {
                self.tunnels.child_up(pair.tunnel);
                (pair.tunnel, Command::Install(pair))
            }
            Event::ChildReady { tunnel, inbound } => (tunnel, Command::SendOn { tunnel, inbound }),
            Event::ChildDown {
                tunnel,
                inbound,
                linger,
            } => {
                self.tunnels.child_down(tunnel);
                let command = Command::Remove {
                    tunnel,
                    inbound,
                    linger,
                };
                (tunnel, command)
            }
            Event::PeerMoved {
                tunnel,
                encapsulation,
            } => {
                let command = Command::Move {
                    tunnel,
                    encapsulation,
                };
                (tunnel, command)
            }
            Event::Path { tunnel, usable } => {
                self.tunnels.path(tunnel, usable);
                (tunnel, Command::Path { tunnel, usable })
            }
        };
        let Some(gateway) = self.tunnels.gateway(tunnel) else {
            return;
        };
        if let Some(worker) = self.gateways.get_mut(gateway).and_then(Gateway::worker_mut) {
            worker.command(command);
        }
    }

    /// What a worker counted outlives it.
    fn keep_counters(&mut self, id: &ResourceId) {
        let worker = self.gateways.get(id).and_then(Gateway::worker);
        for (tunnel, counters) in worker.map(|one| one.stats().tunnels).unwrap_or_default() {
            self.tunnels.keep(tunnel, counters);
        }
    }

    pub(super) fn status(&self) -> VpnStatus {
        let gateways = self.gateways.values().map(|gateway| {
            let mut status = gateway.status(|address| {
                let trouble = self.trouble.get(&address)?;
                Some(trouble.reason.clone())
            });
            let counted: BTreeMap<TunnelId, _> = status
                .worker
                .iter()
                .flat_map(|stats| stats.tunnels.iter().copied())
                .collect();
            for connection in &mut status.connections {
                for tunnel in &mut connection.tunnels {
                    self.tunnels.fill(tunnel);
                    if let Some(now) = counted.get(&tunnel.id) {
                        tunnel.counters = sum(tunnel.counters, *now);
                    }
                }
            }
            status
        });
        VpnStatus {
            gateways: gateways.collect(),
            ike: self.ike.counters(),
        }
    }

    /// The IKE SAs of one connection.
    pub(super) fn ike_sas(&self, now: Instant, connection: &ResourceId) -> Vec<IkeSaStatus> {
        let mut sas = self.ike.status(now);
        sas.retain(|sa| self.tunnels.connection(sa.tunnel) == Some(connection));
        sas
    }
}
