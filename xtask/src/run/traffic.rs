//! Something to see: what the workloads of the live example do to each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use vnet_gw_lab::{
    Workload,
    probe::{Flow, Ping, frame, tcp},
    workload::FABRIC_MAC,
};

use super::{example::Example, site::SITE};

/// UDP flows, a TCP transfer a second, and now and then a packet that must not get through.
pub(super) struct Traffic {
    flows: Vec<Flow>,
    stop: Arc<AtomicBool>,
    rounds: Option<JoinHandle<Result<()>>>,
}

impl Traffic {
    pub(super) fn start(example: &Example) -> Result<Self> {
        let workload = |name: &str| example.workload(name).cloned();
        let flow = |from: &str, to: &str, v6: bool, rate: u32| -> Result<Flow> {
            let (from, to) = (workload(from)?, workload(to)?);
            let address = if v6 { to.ipv6() } else { to.ipv4() };
            let address = address.with_context(|| format!("{} has no such address", to.name))?;
            Flow::start(&from.netns, &to.netns, address, rate)
        };
        let site = example.node(SITE)?;
        let near = workload("vnet1-web2")?;
        let [there, _] = example.site.addresses;
        let flows = vec![
            Flow::start(&near.netns, site.netns, there, 100)?,
            flow("vnet1-web1", "vnet4-web1", false, 300)?,
            flow("vnet4-web2", "vnet1-web2", true, 200)?,
            flow("vnet6-web1", "vnet1-web1", true, 100)?,
            flow("vnet5-web1", "vnet1-web1", false, 100)?,
            flow("vnet1-web1", "vnet1-web2", false, 50)?,
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let peers = (
            workload("vnet1-web1")?,
            workload("vnet4-web1")?,
            workload("vnet5-web2")?,
        );
        let rounds = thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::SeqCst) {
                    round(&peers.0, &peers.1, &peers.2)?;
                    thread::sleep(Duration::from_millis(700));
                }
                Ok(())
            }
        });
        Ok(Self {
            flows,
            stop,
            rounds: Some(rounds),
        })
    }

    /// Datagrams sent and received so far, all flows together.
    pub(super) fn so_far(&self) -> (u64, u64) {
        self.flows
            .iter()
            .map(Flow::so_far)
            .fold((0, 0), |sum, flow| (sum.0 + flow.0, sum.1 + flow.1))
    }

    pub(super) fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        for flow in self.flows.drain(..) {
            flow.finish()?;
        }
        match self.rounds.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(anyhow!("the traffic thread panicked")),
            None => Ok(()),
        }
    }
}

fn round(near: &Workload, peer: &Workload, stranger: &Workload) -> Result<()> {
    let address = |workload: &Workload| {
        workload
            .ipv4()
            .with_context(|| format!("{} has no IPv4 address", workload.name))
    };
    tcp::transfer(&near.netns, &peer.netns, address(peer)?, 4 << 20)?;
    // Not peered.
    let ping = Ping {
        patience: Duration::from_millis(50),
        ..Ping::new(address(stranger)?)
    };
    ping.send(&peer.netns)?;
    // Spoofed.
    let forged = frame::udp_frame(
        FABRIC_MAC,
        stranger.mac,
        (address(near)?, 9),
        (address(peer)?, 9),
        b"not from where it says it is",
    );
    stranger.packet_socket()?.send(&forged)
}
