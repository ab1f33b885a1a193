//! An I/O engine with nothing between its halves: packets of the gateway's port cross the underlay
//! as what looks like ESP, eight bytes and the packet in clear.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use vnet_gw::{
    io::{self, Engine, Outgoing, PathId, Poll, Port, Ready, Source, Underlay},
    worker::EngineChoice,
};
use vnet_gw_core::{
    compile::{GatewayImage, GatewayInstance},
    model::ResourceId,
    packet::{Segments, VirtioHeader},
    sa::Encapsulation,
};
use vnet_gw_lab::Netns;

use crate::gateway::GatewayPort;

/// SPI and sequence number.
const HEADER: usize = 8;
const SPI: [u8; 4] = [0xc0, 0xff, 0xee, 0x01];
/// Bytes after which what is queued is sent.
const ENOUGH: usize = 60_000;

/// What a pump counted.
#[derive(Debug, Default)]
pub struct Counts {
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Datagrams that are no ESP: IKE.
    pub ike: AtomicU64,
    /// Of those that came in, in UDP and bare.
    pub in_udp: AtomicU64,
    pub bare: AtomicU64,
    pub failures: AtomicU64,
}

/// A running engine. Dropping it closes the engine.
pub struct Pump {
    pub name: &'static str,
    pub reason: String,
    pub counts: Arc<Counts>,
    pub ike: Arc<io::IkeSockets>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Pump {
    /// Opens an engine in `netns` for the port's device, on the address that `encapsulation` has.
    pub fn start(
        netns: &Netns,
        port: &GatewayPort,
        choice: EngineChoice,
        encapsulation: Encapsulation,
    ) -> Result<Self> {
        let local = match encapsulation {
            Encapsulation::Esp { local, .. } => local,
            Encapsulation::Udp { local, .. } => local.ip(),
        };
        let gateway = image_of(&port.device, port.mac, local);
        let engine = netns.enter(|| io::open(&gateway, choice))??;
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let (name, reason) = (engine.name, engine.reason.clone());
        let ike = engine.underlay.ike_sockets().clone();
        let thread = thread::spawn({
            let (stop, counts) = (stop.clone(), counts.clone());
            move || pump(engine, encapsulation, &stop, &counts)
        });
        Ok(Self {
            name,
            reason,
            counts,
            ike,
            stop,
            thread: Some(thread),
        })
    }

    /// Sends a message that the other end's kernel must take for IKE.
    pub fn send_ike(&self, local: SocketAddr, remote: SocketAddr) -> Result<()> {
        Ok(self.ike.send(local, remote, b"\0\0\0\0no ESP")?)
    }

    /// Closes the engine.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread.join().map_err(|_| anyhow!("the engine panicked"))?
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whatever came of it, somebody else is failing already.
            let _ = thread.join();
        }
    }
}

/// A gateway with one address, as far as an engine looks at it.
pub fn image_of(device: &str, mac: [u8; 6], public_address: IpAddr) -> GatewayImage {
    GatewayImage {
        id: ResourceId::new("gateway"),
        vnet: ResourceId::new("vnet"),
        device: device.to_owned(),
        mac,
        instances: vec![GatewayInstance {
            name: "a".into(),
            private_address: IpAddr::from([10, 1, 255, 4]),
            public_address,
        }],
        bandwidth: None,
        local_prefixes: Vec::new(),
        connections: Vec::new(),
    }
}

fn pump(
    engine: Engine,
    encapsulation: Encapsulation,
    stop: &AtomicBool,
    counts: &Counts,
) -> Result<()> {
    let Engine {
        mut port,
        mut underlay,
        ..
    } = engine;
    let poll = Poll::new()?;
    port.register(&poll)?;
    underlay.register(&poll)?;
    let mut ready = Ready::new();
    let path = underlay.path(&encapsulation);
    while !stop.load(Ordering::Relaxed) {
        poll.wait(&mut ready, Some(Duration::from_millis(20)))?;
        port.ready(&ready);
        underlay.ready(&ready);
        while port.has_more() || underlay.has_more() {
            outwards(&mut *port, &mut *underlay, path, counts)?;
            inwards(&mut *port, &mut *underlay, counts)?;
        }
    }
    Ok(())
}

fn outwards(
    port: &mut dyn Port,
    underlay: &mut dyn Underlay,
    path: PathId,
    counts: &Counts,
) -> Result<()> {
    let to = Outgoing {
        path,
        tos: 0,
        dont_fragment: true,
    };
    // Not all at once: the other direction has its turn.
    for _ in 0..64 {
        let Some(packet) = port.read()? else { break };
        let segments = Segments::new(&packet.offload, packet.packet)?;
        for index in 0..segments.len() {
            let length = HEADER + segments.segment_len(index);
            if underlay.pending() > ENOUGH {
                flush(underlay, counts);
            }
            let Some(slot) = underlay.slot(&to, length) else {
                counts.failures.fetch_add(1, Ordering::Relaxed);
                flush(underlay, counts);
                continue;
            };
            slot[..4].copy_from_slice(&SPI);
            slot[4..HEADER].fill(0);
            segments.write(index, &mut slot[HEADER..]);
            underlay.commit(length);
            counts.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    flush(underlay, counts);
    Ok(())
}

fn flush(underlay: &mut dyn Underlay, counts: &Counts) {
    underlay.flush(&mut |failure| {
        let packets = failure.packets as u64;
        counts.failures.fetch_add(packets, Ordering::Relaxed);
    });
}

fn inwards(port: &mut dyn Port, underlay: &mut dyn Underlay, counts: &Counts) -> Result<()> {
    let received = underlay.receive()?;
    for datagram in received.datagrams {
        let kind = match datagram.from {
            Source::Udp { .. } => &counts.in_udp,
            Source::Esp { .. } => &counts.bare,
        };
        let mut start = datagram.range.start;
        while start < datagram.range.end {
            let end = datagram.range.end.min(start + datagram.segment);
            if received.arena[start..end].starts_with(&SPI) {
                kind.fetch_add(1, Ordering::Relaxed);
                counts.received.fetch_add(1, Ordering::Relaxed);
                let part = start + HEADER..end;
                port.write(&VirtioHeader::default(), received.arena, &[part])?;
            } else {
                counts.ike.fetch_add(1, Ordering::Relaxed);
            }
            start = end;
        }
    }
    Ok(port.flush()?)
}
