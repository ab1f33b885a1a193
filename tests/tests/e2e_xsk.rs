//! The engine `xsk` on veth, against the engine `gso` at the other end of the underlay: packets of
//! workloads cross, bare and in UDP, the kernel keeps what is its own, and nothing is left behind.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers included"
)]

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vnet_gw::{
    datapath::{Datapath, HookChoice, Instance, PortState, down},
    worker::EngineChoice,
};
use vnet_gw_core::{
    compile::{CompileOptions, compile},
    model::{DeployOptions, parse_template},
    sa::Encapsulation,
};
use vnet_gw_lab::{
    Lab, Netns, Workload,
    probe::{Outcome, Ping, tcp},
    template::{Nic, Template},
    workload::{Offloads, plug},
};
use vnet_gw_tests::{gateway::GatewayPort, pump::Pump};

/// A host, its data path and its gateway.
struct Site {
    host: Netns,
    workload: Workload,
    instance: Instance,
    datapath: Datapath,
    pump: Pump,
    public: IpAddr,
}

/// What differs between the two.
struct Plan {
    vnet: &'static str,
    nic: &'static str,
    space: [&'static str; 2],
    gateway_subnet: [&'static str; 2],
    remote: [&'static str; 2],
    addresses: [&'static str; 2],
    hook: HookChoice,
    engine: EngineChoice,
}

fn left(hook: HookChoice) -> Plan {
    Plan {
        vnet: "VNet1",
        nic: "a",
        space: ["10.1.0.0/16", "fd00:1::/48"],
        gateway_subnet: ["10.1.255.0/27", "fd00:1:0:ff::/64"],
        remote: ["10.41.0.0/16", "fd00:41::/48"],
        addresses: ["10.1.0.4", "fd00:1::4"],
        hook,
        engine: EngineChoice::Xsk,
    }
}

fn right() -> Plan {
    Plan {
        vnet: "VNet4",
        nic: "b",
        space: ["10.41.0.0/16", "fd00:41::/48"],
        gateway_subnet: ["10.41.255.0/27", "fd00:41:0:ff::/64"],
        remote: ["10.1.0.0/16", "fd00:1::/48"],
        addresses: ["10.41.0.4", "fd00:41::4"],
        hook: HookChoice::Tcx,
        engine: EngineChoice::Gso,
    }
}

impl Plan {
    fn template(&self) -> Template {
        let mut template = Template::new();
        let subnet = format!("{}/FrontEnd", self.vnet);
        let prefixes = match self.vnet {
            "VNet1" => ["10.1.0.0/24", "fd00:1::/64"],
            _ => ["10.41.0.0/24", "fd00:41::/64"],
        };
        template
            .vnet(self.vnet, "eastus", &self.space)
            .subnet(self.vnet, "FrontEnd", &prefixes, None)
            .nic(&Nic {
                name: self.nic,
                subnet: &subnet,
                addresses: &self.addresses,
                device: "port0",
                forwarding: false,
            });
        template
    }

    fn build(&self, lab: &Lab, host: &Netns, path: Encapsulation) -> Result<Site> {
        let template = self.template().value();
        let offloads = match self.hook {
            HookChoice::Xdp => Offloads::ForXdp,
            _ => Offloads::Default,
        };
        let mut workloads = plug(lab, host, &template, offloads)?;
        let workload = workloads.pop().context("no workload")?;
        let topology = parse_template(&template.to_string(), &DeployOptions::default())
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut image = compile(&topology, &CompileOptions::default(), None)?;
        let gateway = GatewayPort::new(&image, self.vnet, "vgw0", &self.gateway_subnet)?;
        gateway.add(&mut image, &self.space, &self.remote)?;
        gateway.route(&mut image, &self.remote, Some(&gateway.vnet))?;
        let pump = Pump::start(host, &gateway, self.engine, path)?;
        let instance = Instance::new(&lab.instance(self.nic)?)?;
        let datapath = host.enter(|| -> Result<_> {
            let mut datapath = Datapath::open(&instance, self.hook)?;
            datapath.apply(Arc::new(image))?;
            Ok(datapath)
        })??;
        let ports = datapath.ports();
        let port = ports.iter().find(|port| port.gateway).unwrap();
        ensure!(
            port.state == PortState::Up && port.mtu == Some(1400),
            "{port:?}"
        );
        let public = match path {
            Encapsulation::Esp { local, .. } => local,
            Encapsulation::Udp { local, .. } => local.ip(),
        };
        Ok(Site {
            host: host.clone(),
            workload,
            instance,
            datapath,
            pump,
            public,
        })
    }
}

impl Site {
    /// What came in to the host's own IP stack, and left from it.
    fn stack(&self) -> Result<u64> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let (v4, v6) = self.host.enter(|| (read("snmp"), read("snmp6")))?;
        let v4 = v4?;
        let mut lines = v4.lines().filter(|line| line.starts_with("Ip:"));
        let (names, values) = lines.next().zip(lines.next()).context("no Ip: lines")?;
        let mut fields = names.split(' ').zip(values.split(' '));
        let mut of = |wanted: &str| fields.find(|(name, _)| *name == wanted);
        let (received, sent) = (of("InReceives"), of("OutRequests"));
        let number =
            |field: Option<(&str, &str)>| field.and_then(|(_, value)| value.parse::<u64>().ok());
        let sum6: u64 = v6
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("Ip6InReceives") || line.starts_with("Ip6OutRequests"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum();
        let sum4: u64 =
            number(received).context("InReceives")? + number(sent).context("OutRequests")?;
        Ok(sum4 + sum6)
    }

    fn close(self) -> Result<()> {
        self.pump.stop()?;
        drop(self.datapath);
        let instance = self.instance;
        self.host.enter(|| down(&instance))??;
        let shown = self.host.command("ip").arg("link").output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(!shown.contains("vgw0"), "the port is still there: {shown}");
        ensure!(!shown.contains("xdp"), "a program is still there: {shown}");
        Ok(())
    }
}

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

/// `encapsulation`: how packets go from the first address to the second.
fn run(
    hook: HookChoice,
    addresses: [&str; 2],
    encapsulation: fn(IpAddr, IpAddr) -> Encapsulation,
) -> Result<()> {
    let lab = Lab::new()?;
    let hosts = [lab.namespace("left")?, lab.namespace("right")?];
    lab.veth((&hosts[0], "net0"), (&hosts[1], "net0"))?;
    for (host, address) in hosts.iter().zip(addresses) {
        let length = if address.contains(':') {
            "64 nodad"
        } else {
            "24"
        };
        host.ip("link set net0 up")?;
        host.ip(&format!(
            "address add {address}/{} dev net0{}",
            length.split(' ').next().unwrap(),
            if length.contains("nodad") {
                " nodad"
            } else {
                ""
            }
        ))?;
    }
    let [a, b] = addresses.map(|address| address.parse::<IpAddr>().unwrap());
    let near = left(hook).build(&lab, &hosts[0], encapsulation(a, b))?;
    let far = right().build(&lab, &hosts[1], encapsulation(b, a))?;
    ensure!(near.pump.name == "xsk", "{}", near.pump.name);
    ensure!(
        near.pump.reason.contains("no zero-copy"),
        "{}",
        near.pump.reason
    );
    ensure!(far.pump.name == "gso");

    pings(&near.workload, &far.workload)?;
    pings(&far.workload, &near.workload)?;
    let stack = near.stack()?;
    transfers(&near.workload, &far.workload)?;
    transfers(&far.workload, &near.workload)?;
    // Four transfers of some 3,000 packets and their acknowledgements.
    let through = near.stack()? - stack;
    ensure!(
        through < 200,
        "{through} packets went through the host's stack"
    );
    for (site, other) in [(&near, &far), (&far, &near)] {
        let counts = &site.pump.counts;
        let (udp, bare) = (
            counts.in_udp.load(Ordering::Relaxed),
            counts.bare.load(Ordering::Relaxed),
        );
        let in_udp = matches!(encapsulation(a, b), Encapsulation::Udp { .. });
        ensure!((udp > 0, bare > 0) == (in_udp, !in_udp), "{counts:?}");
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
    near.close()?;
    far.close()
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
    run(HookChoice::Tcx, V4, bare)
}

#[test]
fn esp_in_udp() -> Result<()> {
    run(HookChoice::Tcx, V4, in_udp)
}

#[test]
fn esp_in_udp_over_ipv6() -> Result<()> {
    run(HookChoice::Tcx, V6, in_udp)
}

#[test]
fn bare_esp_over_ipv6_of_ports_at_xdp() -> Result<()> {
    run(HookChoice::Xdp, V6, bare)
}
