//! All probes of a network at once, and where they came out.
//!
//! The namespaces have no addresses, so nothing in them sends by itself: what forwards is the test.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use vnet_gw_lab::{
    Daemon, Lab, Netns,
    probe::{PacketSocket, frame::Packet},
    template::Template,
    workload::DEVICE,
};
use vnet_gw_tests::bed::{Hook, binary};

use crate::{
    frames::{self, Probe},
    random::{DEVICES, World},
};

/// How long nothing has come once all that should come is there.
const SILENCE: Duration = Duration::from_millis(30);
/// The same where something is missing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A daemon with devices, and the far end of each.
pub(crate) struct Wire {
    daemon: Daemon,
    sockets: Vec<PacketSocket>,
    counted: BTreeMap<String, u64>,
    _host: Netns,
    _lab: Lab,
}

/// Where probes came out.
#[derive(Default)]
pub(crate) struct Seen {
    /// The devices, by the number of the probe.
    pub(crate) delivered: BTreeMap<u32, Vec<usize>>,
    /// Probes that a guest dropped, as their TTL was used up.
    pub(crate) guest_drops: Vec<u32>,
    /// Probes at devices where they have no business.
    pub(crate) strays: Vec<String>,
}

impl Wire {
    pub(crate) fn start(hook: Hook) -> Result<Self> {
        let binary = binary("vnet-gw")?;
        let lab = Lab::new()?;
        let host = lab.namespace("host")?;
        quiet(&host)?;
        let mut sockets = Vec::new();
        for number in 0..DEVICES {
            let device = World::device(number);
            let netns = lab.namespace(&device)?;
            quiet(&netns)?;
            lab.veth((&host, &device), (&netns, DEVICE))?;
            let mac = World::mac(number)
                .map(|byte| format!("{byte:02x}"))
                .join(":");
            host.ip(&format!("link set {device} up"))?;
            netns.ip(&format!("link set {DEVICE} address {mac}"))?;
            netns.ip(&format!("link set {DEVICE} up"))?;
            if hook == Hook::Xdp {
                netns.ethtool(&format!("-K {DEVICE} tx off gro on"))?;
            }
            netns.carrier(DEVICE)?;
            sockets.push(PacketSocket::open(&netns, DEVICE)?);
        }
        let args = ["--hook", hook.name(), "--ephemeral", "--internet", "off"];
        let empty = Template::new().value();
        let daemon = Daemon::start(&lab, &binary, &host, lab.instance("wire")?, &empty, &args)?;
        Ok(Self {
            daemon,
            sockets,
            counted: BTreeMap::new(),
            _host: host,
            _lab: lab,
        })
    }

    /// Puts the network into force.
    pub(crate) fn apply(&self, world: &World) -> Result<()> {
        let log = self.daemon.log();
        self.daemon.write(&world.template)?;
        self.daemon.wait_for_log(&log, "reload: ")
    }

    /// Packets dropped since this was asked last, by reason.
    pub(crate) fn dropped(&mut self) -> Result<BTreeMap<String, u64>> {
        let now = self.counters()?;
        let before = std::mem::replace(&mut self.counted, now);
        let since = |(reason, now): (&String, &u64)| {
            let before = before.get(reason).copied().unwrap_or(0);
            (reason.clone(), now - before)
        };
        Ok(self.counted.iter().map(since).collect())
    }

    fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let counters = self.daemon.json(&["counters"])?;
        let rows = counters["reasons"].as_array().context("no reasons")?;
        let rows = rows.iter().filter(|row| row["outcome"] == "dropped");
        rows.map(|row| {
            let reason = row["reason"].as_str().context("no reason")?;
            let packets = row["packets"].as_u64().context("no packets")?;
            Ok((reason.to_owned(), packets))
        })
        .collect()
    }

    /// Sends all probes, and forwards where guests do, until nothing comes any more.
    pub(crate) fn burst(
        &self,
        world: &World,
        probes: &[Probe],
        expected: &BTreeMap<u32, usize>,
    ) -> Result<Seen> {
        let mut seen = Seen::default();
        let by_id: BTreeMap<u32, &Probe> = probes.iter().map(|probe| (probe.id, probe)).collect();
        for (number, probe) in probes.iter().enumerate() {
            let socket = self.sockets.get(probe.from).context("no such device")?;
            socket.send(&probe.frame())?;
            // A device has room for 256 frames.
            if number % 64 == 63 {
                self.drain(world, &by_id, &mut seen)?;
            }
        }
        let mut last = Instant::now();
        loop {
            if self.drain(world, &by_id, &mut seen)? {
                last = Instant::now();
            }
            let complete = expected.keys().all(|id| seen.delivered.contains_key(id));
            let patience = if complete { SILENCE } else { PATIENCE };
            if last.elapsed() > patience {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        for arrived in seen.delivered.values_mut() {
            arrived.sort_unstable();
        }
        Ok(seen)
    }

    /// Reads what there is: whether there was something.
    fn drain(
        &self,
        world: &World,
        probes: &BTreeMap<u32, &Probe>,
        seen: &mut Seen,
    ) -> Result<bool> {
        let mut some = false;
        for (device, socket) in self.sockets.iter().enumerate() {
            let mut received = Vec::new();
            socket.count(Duration::ZERO, |frame| {
                received.push(frame.to_vec());
                false
            })?;
            some |= !received.is_empty();
            for frame in received {
                let Some(packet) = Packet::parse(&frame) else {
                    let name = World::device(device);
                    seen.strays
                        .push(format!("no packet at {name}: {frame:02x?}"));
                    continue;
                };
                let Some(id) = frames::id(&packet) else {
                    continue;
                };
                let Some(probe) = probes.get(&id) else {
                    seen.strays.push(format!("a late probe {id}: {packet:?}"));
                    continue;
                };
                if !probe.is(&packet) {
                    continue;
                }
                match world.nics.get(device) {
                    _ if packet.dst_mac != World::mac(device) => {
                        seen.strays
                            .push(format!("{probe}: for another: {packet:?}"));
                    }
                    Some(nic) if nic.has(packet.dst) => {
                        seen.delivered.entry(id).or_default().push(device);
                    }
                    Some(nic) if nic.forwarding => {
                        match frames::forwarded(&frame, World::mac(device)) {
                            Some(out) => socket.send(&out)?,
                            None => seen.guest_drops.push(id),
                        }
                    }
                    _ => {
                        let name = World::device(device);
                        seen.strays.push(format!("{probe}: strayed to {name}"));
                    }
                }
            }
        }
        Ok(some)
    }
}

/// Takes IPv6 away, of which the kernel speaks unasked.
fn quiet(netns: &Netns) -> Result<()> {
    if netns.has_ipv6() {
        for scope in ["all", "default"] {
            netns.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1")?;
        }
    }
    Ok(())
}
