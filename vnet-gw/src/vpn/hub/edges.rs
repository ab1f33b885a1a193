//! What the hub stands between: IKE, which is pure, and the workers. Tests have their own.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use vnet_gw_core::{
    compile::GatewayImage,
    ike::{Endpoint, EndpointCounters, Event, IkeSaStatus, Report, Transmit, TunnelConfig},
};

use crate::worker::{Command, EngineChoice, WorkerStats};

/// [`Endpoint`], as the hub uses it.
pub(in crate::vpn) trait Ike {
    fn configure(&mut self, now: Instant, tunnels: Vec<TunnelConfig>);
    fn handle_datagram(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, data: &[u8]);
    fn handle_report(&mut self, now: Instant, report: &Report);
    fn handle_timeout(&mut self, now: Instant);
    fn local_address(&mut self, now: Instant, address: IpAddr, present: bool);
    fn shutdown(&mut self, now: Instant);
    fn poll_event(&mut self) -> Option<Event>;
    fn poll_transmit(&mut self) -> Option<Transmit>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn status(&self, now: Instant) -> Vec<IkeSaStatus>;
    fn counters(&self) -> EndpointCounters;
}

impl Ike for Endpoint {
    fn configure(&mut self, now: Instant, tunnels: Vec<TunnelConfig>) {
        Self::configure(self, now, tunnels);
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) {
        Self::handle_datagram(self, now, local, remote, data);
    }

    fn handle_report(&mut self, now: Instant, report: &Report) {
        Self::handle_report(self, now, report);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }

    fn local_address(&mut self, now: Instant, address: IpAddr, present: bool) {
        Self::local_address(self, now, address, present);
    }

    fn shutdown(&mut self, now: Instant) {
        Self::shutdown(self, now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        Self::poll_event(self)
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        Self::poll_transmit(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn status(&self, now: Instant) -> Vec<IkeSaStatus> {
        Self::status(self, now)
    }

    fn counters(&self) -> EndpointCounters {
        Self::counters(self)
    }
}

/// Starts workers.
pub(in crate::vpn) trait Workers {
    type Worker: WorkerHandle;

    /// With the instances of the image that this host has the address of, perhaps none. The error
    /// says in words why it cannot be.
    fn start(&mut self, image: &GatewayImage, engine: EngineChoice)
    -> Result<Self::Worker, String>;
}

/// A worker that runs.
pub(in crate::vpn) trait WorkerHandle {
    /// Of its own, to tell what it said from what the one before it did.
    fn number(&self) -> u64;
    /// The image from now on: with other instances, connections or bandwidth.
    fn configure(&mut self, image: &GatewayImage);
    fn command(&mut self, command: Command);
    /// Sends a message of IKE from port 4500. What cannot be sent is lost.
    fn send_ike(&mut self, transmit: &Transmit);
    fn stats(&self) -> WorkerStats;
    /// Takes the tap away.
    fn stop(self);
}
