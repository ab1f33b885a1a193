//! Two crypto workers with an underlay between them and nothing else: no IKE, no data path. Keys
//! are put in by hand, and each gateway port has an address, so that the host's own stack is the
//! workload.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use tokio::sync::mpsc::Receiver;
use vnet_gw::worker::{Command, EngineChoice, FromWorker, TunnelCounters, Worker, WorkerOptions};
use vnet_gw_common::{mac_from_u64, port::FABRIC_MAC};
use vnet_gw_core::{
    compile::{ConnectionImage, GatewayImage, GatewayInstance},
    ike::{ConnectionMode, EncapsulationChoice, Identity, Lifetimes, TunnelConfig},
    model::ResourceId,
    sa::{
        ChildSa, Encapsulation, EspIntegrity, EspSuite, Sa, Spi, TUNNEL_MTU, TrafficSelector,
        TunnelId,
    },
    secret::Secret,
};
use vnet_gw_lab::{Lab, Netns};

/// The device of each side that leads to the other.
pub const UPLINK: &str = "underlay0";
/// The gateway port of each side.
pub const PORT: &str = "vpn0";

/// What a bed is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    pub suite: EspSuite,
    pub esn: bool,
    /// Protocol 50 instead of UDP.
    pub raw: bool,
    /// IPv6 outside.
    pub v6: bool,
    /// From 1 to 2: each with addresses of its own on both sides.
    pub tunnels: usize,
    /// Of the underlay.
    pub mtu: u32,
    pub bandwidth: Option<u64>,
    /// Of A and of B.
    pub engines: [EngineChoice; 2],
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            suite: EspSuite::Aes256Gcm,
            esn: true,
            raw: false,
            v6: false,
            tunnels: 1,
            mtu: 1500,
            bandwidth: None,
            engines: [EngineChoice::Gso; 2],
        }
    }
}

/// One end.
pub struct Side {
    pub netns: Netns,
    pub worker: Worker,
    pub image: GatewayImage,
    pub said: Receiver<FromWorker>,
    /// Of the gateway port, and what is behind it.
    pub inner4: IpAddr,
    pub inner6: IpAddr,
}

/// Both ends. Keys of a tunnel and a generation are always the same, so that a test can make them
/// again.
pub struct TunnelBed {
    pub lab: Lab,
    pub plan: Plan,
    pub a: Side,
    pub b: Side,
}

impl TunnelBed {
    /// With one pair of SAs in each tunnel.
    pub fn new(plan: Plan) -> Result<Self> {
        let bed = Self::without_sas(plan)?;
        for tunnel in 0..bed.plan.tunnels {
            let (a, b) = bed.children(tunnel, 0);
            bed.a.worker.command(Command::Install(Box::new(a)));
            bed.b.worker.command(Command::Install(Box::new(b)));
        }
        Ok(bed)
    }

    pub fn without_sas(plan: Plan) -> Result<Self> {
        let lab = Lab::new()?;
        let (near, far) = (lab.namespace("a")?, lab.namespace("b")?);
        lab.veth((&near, UPLINK), (&far, UPLINK))?;
        let outer = |side: usize| -> Vec<IpAddr> {
            let tunnels = 0..plan.tunnels;
            tunnels
                .map(|tunnel| public(plan.v6, side, tunnel))
                .collect()
        };
        let (near_public, far_public) = (outer(0), outer(1));
        for (netns, addresses) in [(&near, &near_public), (&far, &far_public)] {
            for address in addresses {
                let (length, nodad) = if plan.v6 { (64, " nodad") } else { (24, "") };
                netns.ip(&format!(
                    "address add {address}/{length} dev {UPLINK}{nodad}"
                ))?;
            }
            netns.ip(&format!("link set {UPLINK} mtu {} up", plan.mtu))?;
        }
        if plan.v6 {
            near.settle(UPLINK)?;
            far.settle(UPLINK)?;
        }
        let a = Side::start(&plan, near, 0, &near_public, &far_public)?;
        let b = Side::start(&plan, far, 1, &far_public, &near_public)?;
        Ok(Self { lab, plan, a, b })
    }

    /// Both ends' view of a pair of SAs, new ones for each generation. The responder is B.
    pub fn children(&self, tunnel: usize, generation: u32) -> (ChildSa, ChildSa) {
        let number = 2 * (generation * 16 + tunnel as u32);
        let sa = |spi: u32| Sa {
            spi: Spi(0x1000 + spi),
            suite: self.plan.suite,
            esn: self.plan.esn,
            keys: keys(self.plan.suite, spi),
        };
        let (to_a, to_b) = (sa(number), sa(number + 1));
        let child = |side: usize, inbound: &Sa, outbound: &Sa| ChildSa {
            tunnel: tunnel_id(tunnel),
            inbound: inbound.clone(),
            outbound: outbound.clone(),
            encapsulation: self.encapsulation(side, tunnel),
            local_selectors: any(),
            remote_selectors: any(),
            send_at_once: true,
            soft_bytes: None,
            hard_bytes: None,
        };
        (child(0, &to_a, &to_b), child(1, &to_b, &to_a))
    }

    pub fn encapsulation(&self, side: usize, tunnel: usize) -> Encapsulation {
        let local = public(self.plan.v6, side, tunnel);
        let remote = public(self.plan.v6, 1 - side, tunnel);
        if self.plan.raw {
            Encapsulation::Esp { local, remote }
        } else {
            Encapsulation::Udp {
                local: SocketAddr::new(local, 4500),
                remote: SocketAddr::new(remote, 4500),
            }
        }
    }
}

impl Side {
    fn start(
        plan: &Plan,
        netns: Netns,
        side: usize,
        local: &[IpAddr],
        remote: &[IpAddr],
    ) -> Result<Self> {
        let image = gateway(plan, side, local, remote);
        let options = WorkerOptions {
            engine: plan.engines[side],
        };
        let (worker, said) = netns
            .enter(|| Worker::start(&image, options))?
            .with_context(|| format!("starting a worker in {}", netns.name()))?;
        let (inner4, inner6) = inner(side);
        // A gateway port has none of these; here the host is the workload.
        netns.sysctl(&format!("net.ipv6.conf.{PORT}.disable_ipv6"), "0")?;
        netns.ip(&format!("address add {inner4}/32 dev {PORT}"))?;
        netns.ip(&format!("address add {inner6}/128 dev {PORT} nodad"))?;
        for prefix in behind(1 - side) {
            netns.ip(&format!("route add {prefix} dev {PORT}"))?;
        }
        Ok(Self {
            netns,
            worker,
            image,
            said,
            inner4,
            inner6,
        })
    }

    /// Of a tunnel.
    pub fn counters(&self, tunnel: usize) -> TunnelCounters {
        let stats = self.worker.stats();
        let mut tunnels = stats.tunnels.into_iter();
        let found = tunnels.find(|(id, _)| *id == tunnel_id(tunnel));
        found.map(|(_, counters)| counters).unwrap_or_default()
    }

    /// Waits for something from the worker.
    pub fn wait_for<T>(&mut self, mut wanted: impl FnMut(FromWorker) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            match self.said.try_recv() {
                Ok(said) => {
                    if let Some(found) = wanted(said) {
                        return Ok(found);
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        anyhow::bail!("the worker in {} did not say it", self.netns.name())
    }

    /// Waits until a condition on the worker holds.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !holds(self) {
            ensure!(
                Instant::now() < deadline,
                "in {}, not after 5 s: {what}; {:?}",
                self.netns.name(),
                self.worker.stats()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

pub fn tunnel_id(tunnel: usize) -> TunnelId {
    TunnelId(0x7e57_0000 + tunnel as u64)
}

/// The public address of a side's instance.
pub fn public(v6: bool, side: usize, tunnel: usize) -> IpAddr {
    let last = 1 + side as u8 * 100 + tunnel as u8;
    if v6 {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)])
    } else {
        IpAddr::from([192, 0, 2, last])
    }
}

fn behind(side: usize) -> [IpNet; 2] {
    let (inner4, inner6) = inner(side);
    let prefix = |address, length| IpNet::new_assert(address, length).trunc();
    [prefix(inner4, 16), prefix(inner6, 64)]
}

fn inner(side: usize) -> (IpAddr, IpAddr) {
    let number = 1 + side as u8;
    (
        IpAddr::from([10, number, 0, 4]),
        IpAddr::from([0xfd00, 0, 0, u16::from(number), 0, 0, 0, 4]),
    )
}

/// The router of the side's GatewaySubnet: where ICMP errors are from.
pub fn private(side: usize) -> [IpAddr; 2] {
    let number = 1 + side as u8;
    [
        IpAddr::from([10, number, 255, 4]),
        IpAddr::from([0xfd00, 0, 0, u16::from(number), 0, 0, 0xff, 4]),
    ]
}

fn gateway(plan: &Plan, side: usize, local: &[IpAddr], remote: &[IpAddr]) -> GatewayImage {
    let resource = |kind: &str, name: &str| {
        ResourceId::new(&format!(
            "/subscriptions/test/resourceGroups/test/providers/Microsoft.Network/{kind}/{name}"
        ))
    };
    let instance = |(number, address): (usize, &IpAddr)| GatewayInstance {
        name: format!("instance{number}"),
        private_address: private(side)[number % 2],
        public_address: *address,
    };
    // An instance of each family of private address, so that errors of both have a source.
    let mut instances: Vec<_> = local.iter().enumerate().map(instance).collect();
    if let [only] = local {
        instances.push(instance((1, only)));
    }
    let tunnels = local.iter().zip(remote).enumerate();
    GatewayImage {
        id: resource("virtualNetworkGateways", "gateway"),
        vnet: resource("virtualNetworks", "vnet"),
        device: PORT.to_owned(),
        // The fabric's own: what the worker writes is then for this host.
        mac: mac_from_u64(FABRIC_MAC),
        instances,
        bandwidth: plan.bandwidth,
        local_prefixes: behind(side).into(),
        connections: vec![ConnectionImage {
            id: resource("connections", "connection"),
            vnet_to_vnet: true,
            remote_prefixes: behind(1 - side).into(),
            tunnels: tunnels
                .map(|(number, (local, remote))| config(number, *local, *remote))
                .collect(),
        }],
    }
}

/// Only the id is of interest to a worker.
fn config(tunnel: usize, local: IpAddr, remote: IpAddr) -> TunnelConfig {
    TunnelConfig {
        id: tunnel_id(tunnel),
        name: Arc::from("test"),
        local,
        remote,
        local_id: Identity::Ip(local),
        remote_ids: Vec::new(),
        key: Secret::new(*b"made up for tests"),
        mode: ConnectionMode::Default,
        ike: Vec::new(),
        esp: Vec::new(),
        local_selectors: any(),
        remote_selectors: any(),
        lifetimes: Lifetimes {
            ike: Duration::from_secs(28_800),
            child: Duration::from_secs(27_000),
            child_bytes: None,
        },
        dpd: Duration::from_secs(45),
        encapsulation: EncapsulationChoice::Udp,
        post_quantum: false,
        generation: 0,
    }
}

fn any() -> Vec<TrafficSelector> {
    ["0.0.0.0/0", "::/0"]
        .into_iter()
        .filter_map(|prefix| prefix.parse().ok())
        .map(TrafficSelector::prefix)
        .collect()
}

/// Made up, as long as the suite wants them.
fn keys(suite: EspSuite, seed: u32) -> Secret {
    let length = match suite {
        EspSuite::Aes128Gcm => 20,
        EspSuite::Aes192Gcm => 28,
        EspSuite::Aes256Gcm | EspSuite::ChaCha20Poly1305 => 36,
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => {
            let integrity = match integrity {
                EspIntegrity::HmacSha1_96 => 20,
                EspIntegrity::HmacSha2_256_128 => 32,
                EspIntegrity::HmacSha2_384_192 => 48,
            };
            usize::from(key_bits / 8) + integrity
        }
    };
    let bytes = (0..length).map(|at: usize| (at as u8).wrapping_mul(7) ^ seed as u8);
    Secret::new(bytes.collect::<Vec<u8>>())
}

/// The largest inner packet, for tests that look for what lies just above.
pub const LARGEST: usize = TUNNEL_MTU as usize;
