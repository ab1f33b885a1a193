//! The engine `xsk` on veth, against the engine `gso` at the other end of the underlay: packets of
//! workloads cross, bare and in UDP, the kernel keeps what is its own, and nothing is left behind.
//! No frame is lost: in a build with debug assertions, dropping an engine counts them.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers included"
)]

mod kept;
mod site;
mod worker;

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, SocketAddr},
    process::Stdio,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vnet_gw::{datapath::HookChoice, io, worker::EngineChoice};
use vnet_gw_core::{compile::GatewayImage, sa::Encapsulation};
use vnet_gw_lab::{
    Lab, Netns, Workload,
    probe::{Outcome, Ping, tcp},
};
use vnet_gw_tests::pump;

use crate::site::{Site, left, right};

fn pings(from: &Workload, to: &Workload) -> Result<()> {
    for address in &to.addresses {
        // The first packets wait for the neighbour.
        let outcome = Ping::new(*address).send(&from.netns)?;
        ensure!(
            matches!(outcome, Outcome::Reply { .. }),
            "ping {} → {address}: {outcome}",
            from.name
        );
    }
    Ok(())
}

const BYTES: u64 = 4 << 20;

fn transfers(from: &Workload, to: &Workload) -> Result<()> {
    for address in &to.addresses {
        let transfer = tcp::transfer(&from.netns, &to.netns, *address, BYTES)?;
        ensure!(transfer.is_some(), "TCP {} → {address}", from.name);
    }
    Ok(())
}

fn wait(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        ensure!(Instant::now() < deadline, "{what}: not within 5 s");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Two hosts, an underlay between them, and both engines.
struct Pair {
    near: Site,
    far: Site,
    in_udp: bool,
    /// Last: it removes what the others run in.
    _lab: Lab,
}

/// How packets go from the first address to the second.
type Path = fn(IpAddr, IpAddr) -> Encapsulation;

impl Pair {
    /// The engine `xsk` has the first address.
    fn build(hook: HookChoice, addresses: [&str; 2], queues: u32, path: Path) -> Result<Self> {
        let lab = Lab::new()?;
        let hosts = [lab.namespace("left")?, lab.namespace("right")?];
        let many = format!("numrxqueues {queues} numtxqueues {queues}");
        hosts[0].ip(&format!(
            "link add name net0 {many} type veth peer name net0 {many} netns {}",
            hosts[1].full_name()
        ))?;
        for (host, address) in hosts.iter().zip(addresses) {
            host.ip("link set net0 up")?;
            give(host, address)?;
        }
        let [a, b] = addresses.map(|address| address.parse::<IpAddr>().unwrap());
        let near = left(hook).build(&lab, &hosts[0], path(a, b))?;
        let far = right().build(&lab, &hosts[1], path(b, a))?;
        ensure!(near.pump.name == "xsk" && far.pump.name == "gso");
        let reason = &near.pump.reason;
        ensure!(reason.contains("net0 has no zero-copy"), "{reason}");
        Ok(Self {
            near,
            far,
            in_udp: matches!(path(a, b), Encapsulation::Udp { .. }),
            _lab: lab,
        })
    }

    /// Pings and transfers both ways; how many packets went through the near host's own stack.
    fn carries(&self) -> Result<u64> {
        let (near, far) = (&self.near.workload, &self.far.workload);
        pings(near, far)?;
        pings(far, near)?;
        let before = self.near.stack()?;
        transfers(near, far)?;
        transfers(far, near)?;
        Ok(self.near.stack()? - before)
    }

    fn close(self) -> Result<()> {
        self.near.close()?;
        self.far.close()
    }
}

fn give(host: &Netns, address: &str) -> Result<()> {
    let length = if address.contains(':') {
        "64 nodad"
    } else {
        "24"
    };
    let (length, nodad) = length.split_once(' ').unwrap_or((length, ""));
    host.ip(&format!("address add {address}/{length} dev net0 {nodad}"))
}

fn run(hook: HookChoice, addresses: [&str; 2], queues: u32, path: Path) -> Result<()> {
    let pair = Pair::build(hook, addresses, queues, path)?;
    // Four transfers of some 3,000 packets and their acknowledgements.
    let through = pair.carries()?;
    ensure!(
        through < 200,
        "{through} packets went through the host's stack"
    );
    for (site, other) in [(&pair.near, &pair.far), (&pair.far, &pair.near)] {
        let counts = &site.pump.counts;
        let (udp, bare) = (
            counts.in_udp.load(Ordering::Relaxed),
            counts.bare.load(Ordering::Relaxed),
        );
        ensure!(
            (udp > 0, bare > 0) == (pair.in_udp, !pair.in_udp),
            "{counts:?}"
        );
        ensure!(counts.failures.load(Ordering::Relaxed) == 0, "{counts:?}");
        // IKE is the kernel's, at either engine.
        let before = counts.ike.load(Ordering::Relaxed);
        let [local, remote] =
            [other.public, site.public].map(|address| SocketAddr::new(address, 4500));
        other.pump.send_ike(local, remote)?;
        wait("an IKE message", || {
            counts.ike.load(Ordering::Relaxed) == before + 1
        })?;
    }
    pair.close()
}

fn bare(local: IpAddr, remote: IpAddr) -> Encapsulation {
    Encapsulation::Esp { local, remote }
}

fn in_udp(local: IpAddr, remote: IpAddr) -> Encapsulation {
    Encapsulation::Udp {
        local: SocketAddr::new(local, 4500),
        remote: SocketAddr::new(remote, 4500),
    }
}

const V4: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const V6: [&str; 2] = ["2001:db8::1", "2001:db8::2"];

#[test]
fn bare_esp() -> Result<()> {
    run(HookChoice::Tcx, V4, 1, bare)
}

#[test]
fn esp_in_udp() -> Result<()> {
    run(HookChoice::Tcx, V4, 1, in_udp)
}

#[test]
fn esp_in_udp_over_ipv6() -> Result<()> {
    run(HookChoice::Tcx, V6, 1, in_udp)
}

#[test]
fn bare_esp_over_ipv6_of_ports_at_xdp() -> Result<()> {
    run(HookChoice::Xdp, V6, 1, bare)
}

#[test]
fn a_device_with_several_queues() -> Result<()> {
    run(HookChoice::Tcx, V4, 3, in_udp)
}

/// The rings send to MAC addresses that the kernel knows: they follow what it learns.
#[test]
fn neighbours_and_routes_are_followed() -> Result<()> {
    let pair = Pair::build(HookChoice::Tcx, V4, 1, in_udp)?;
    let (near, far) = (&pair.near, &pair.far);
    let through = pair.carries()?;
    ensure!(through < 200, "{through} packets through the stack");
    let carries = |what: &str| pair.carries().with_context(|| what.to_owned());

    // Another address of the neighbour's device.
    let mac = "02:00:00:00:0b:0b";
    far.host.ip(&format!("link set net0 address {mac}"))?;
    near.host
        .ip(&format!("neigh replace 192.0.2.2 lladdr {mac} dev net0"))?;
    let through = carries("another MAC")?;
    ensure!(through < 200, "another MAC: {through} through the stack");

    // Nobody's: the kernel is asked, and learns it.
    near.host.ip("neigh flush all")?;
    near.host.ip("neigh del 192.0.2.2 dev net0").ok();
    let through = carries("learnt anew")?;
    ensure!(through < 400, "learnt anew: {through} through the stack");

    // By a router, which here is the other end under another address.
    far.host.ip("address add 192.0.2.77/24 dev net0")?;
    near.host
        .ip("route add 192.0.2.2/32 via 192.0.2.77 dev net0")?;
    let through = carries("by a router")?;
    ensure!(through < 400, "by a router: {through} through the stack");

    // By a device without a socket: all of it is the kernel's to send.
    near.host
        .ip("link add name net1 type veth peer name net2")?;
    for device in ["net1", "net2"] {
        near.host.ip(&format!("link set {device} up"))?;
    }
    near.host.ip("route replace 192.0.2.2/32 dev net1")?;
    // Swarms of changes are followed a little later.
    thread::sleep(Duration::from_millis(200));
    let outcome = Ping {
        patience: Duration::from_millis(300),
        ..Ping::new(far.workload.addresses[0])
    };
    let outcome = outcome.send(&near.workload.netns)?;
    ensure!(outcome == Outcome::Silence, "net1 leads nowhere: {outcome}");
    near.host.ip("route del 192.0.2.2/32")?;
    carries("back")?;
    pair.close()
}

#[test]
fn devices_are_chosen_by_the_addresses() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.namespace("host")?;
    host.ip("link add name net0 type veth peer name net1")?;
    host.ip("link set net0 up")?;
    give(&host, V4[0])?;
    let gateway = gateway(V4[0]);
    host.enter(|| -> Result<()> {
        let engine = io::open(&gateway, EngineChoice::Auto)?;
        ensure!(engine.name == "gso");
        let reason = &engine.reason;
        ensure!(
            reason.contains("no AF_XDP with zero-copy") && reason.contains("net0"),
            "{reason}"
        );
        ensure!(!links()?.contains("xdp"), "a program was left");
        drop(engine);
        // Not a device's address (yet): the port is there, and the kernel's sockets.
        let mut elsewhere = gateway.clone();
        elsewhere.instances[0].public_address = V4[1].parse()?;
        // A process that another test of this program starts has everything open until its exec.
        let begun = std::time::Instant::now();
        let mut engine = loop {
            match io::open(&elsewhere, EngineChoice::Xsk) {
                Err(_) if begun.elapsed() < Duration::from_secs(3) => {
                    thread::sleep(Duration::from_millis(50));
                }
                opened => break opened?,
            }
        };
        ensure!(engine.name == "xsk" && engine.reason.contains("yet"));
        ensure!(!links()?.contains("xdp"));
        engine.underlay.configure(&[V4[0].parse()?])?;
        ensure!(links()?.contains("xdp"), "not attached");
        // To another device, which has an end of its own of everything.
        let on = |device: &str| -> Result<bool> {
            let links = links()?;
            let mut lines = links.lines().filter(|line| line.contains(" xdp "));
            Ok(lines.any(|line| line.contains(&format!(" {device}@"))))
        };
        ensure!(on("net0")? && !on("net1")?, "{}", links()?);
        host.ip(&format!("address del {}/24 dev net0", V4[0]))?;
        host.ip("link set net1 up")?;
        host.ip(&format!("address add {}/24 dev net1", V4[0]))?;
        engine.underlay.configure(&[V4[0].parse()?])?;
        ensure!(on("net1")? && !on("net0")?, "{}", links()?);
        // There is one for each device.
        let mut second = gateway.clone();
        second.device = "vgw1".into();
        second.instances[0].public_address = V4[1].parse()?;
        host.ip(&format!("address add {}/24 dev net1", V4[1]))?;
        let Err(error) = io::open(&second, EngineChoice::Xsk) else {
            anyhow::bail!("two gateways on one device");
        };
        let error = error.to_string();
        ensure!(error.contains("net1"), "{error}");
        drop(engine);
        let engine = io::open(&second, EngineChoice::Xsk)?;
        ensure!(engine.name == "xsk" && on("net1")?);
        drop(engine);
        ensure!(!links()?.contains("xdp"));
        Ok(())
    })?
}

/// Of the current namespace.
fn links() -> Result<String> {
    let output = std::process::Command::new("ip").arg("link").output()?;
    Ok(String::from_utf8(output.stdout)?)
}

fn gateway(public_address: &str) -> GatewayImage {
    pump::image_of(
        "vgw0",
        [2, 0, 0, 0, 0xff, 1],
        public_address.parse().unwrap(),
    )
}

#[test]
fn nothing_outlives_a_killed_process() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.namespace("host")?;
    host.ip("link add name net0 type veth peer name net1")?;
    host.ip("link set net0 up")?;
    give(&host, V4[0])?;
    let mut child = host
        .command(env!("CARGO_BIN_EXE_xsk-holder"))
        .arg(V4[0])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    let open = lines.any(|line| line.is_ok_and(|line| line == "open: xsk"));
    let before = host.enter(links)??;
    child.kill()?;
    child.wait()?;
    ensure!(open, "the engine did not open");
    ensure!(
        before.contains("vgw0") && before.contains("xdp"),
        "{before}"
    );
    wait("the port and the program to go", || {
        let now = host.enter(links).unwrap().unwrap();
        !now.contains("vgw0") && !now.contains("xdp")
    })
}
