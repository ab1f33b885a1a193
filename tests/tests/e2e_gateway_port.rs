//! The port of a VPN gateway: packets of a workload come out of a tap, and what is written into it
//! reaches the workload. A plain cable to a second tap stands in for the tunnel and the far site.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers included"
)]

use std::{
    net::IpAddr,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vnet_gw::datapath::{
    Counters, Datapath, Hook, HookChoice, Instance, PortState, PortStatus, down,
};
use vnet_gw_common::verdict::Reason;
use vnet_gw_core::{
    compile::{CompileOptions, compile},
    model::{DeployOptions, parse_template},
};
use vnet_gw_lab::{
    Lab, Netns, Workload,
    probe::{Outcome, Ping, tcp},
    template::{Nic, Template},
    workload::{FABRIC_MAC, Offloads, plug},
};
use vnet_gw_tests::{
    gateway::GatewayPort,
    tap::{LARGEST, Tap, VNET_HEADER},
};

const DEVICE: &str = "vg0";
const SITE: [&str; 2] = ["10.99.0.4", "fd00:99::4"];
const SITE_PREFIXES: [&str; 2] = ["10.99.0.0/16", "fd00:99::/48"];
const SITE_MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];

/// Carries frames between the gateway's port and the site's device, until dropped.
struct Cable {
    stop: Arc<AtomicBool>,
    /// The longest frame from the port, and from the site.
    longest: Arc<[AtomicUsize; 2]>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Cable {
    fn plug(port: Tap, site: Tap, mac: [u8; 6]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let longest = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let thread = thread::spawn({
            let (stop, longest) = (stop.clone(), longest.clone());
            move || {
                let mut buffer = vec![0; LARGEST];
                while !stop.load(Ordering::Relaxed) {
                    let mut ready =
                        [&port, &site].map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN));
                    poll(&mut ready, PollTimeout::from(20u8))?;
                    carry(
                        &port,
                        &site,
                        [SITE_MAC, FABRIC_MAC],
                        &mut buffer,
                        &longest[0],
                    )?;
                    carry(&site, &port, [FABRIC_MAC, mac], &mut buffer, &longest[1])?;
                }
                Ok(())
            }
        });
        Self {
            stop,
            longest,
            thread: Some(thread),
        }
    }

    fn longest(&self) -> [usize; 2] {
        [0, 1].map(|at| self.longest[at].swap(0, Ordering::Relaxed))
    }

    /// Both devices are gone afterwards.
    fn unplug(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("unplugged twice")?;
        thread.join().unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Carries what is there, addressed anew, its virtio-net header as it came.
fn carry(
    from: &Tap,
    to: &Tap,
    addresses: [[u8; 6]; 2],
    buffer: &mut [u8],
    longest: &AtomicUsize,
) -> Result<()> {
    while let Some(length) = from.read(buffer)? {
        let frame = &mut buffer[..length];
        frame[VNET_HEADER..VNET_HEADER + 12].copy_from_slice(addresses.as_flattened());
        longest.fetch_max(length - VNET_HEADER, Ordering::Relaxed);
        match to.write(frame) {
            // The other end is not up yet, or going away.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => {}
            written => written.with_context(|| format!("writing {length} bytes"))?,
        }
    }
    Ok(())
}

fn template() -> Template {
    let mut template = Template::new();
    template
        .vnet("VNet1", "eastus", &["10.1.0.0/16", "fd00:1::/48"])
        .subnet("VNet1", "FrontEnd", &["10.1.0.0/24", "fd00:1::/64"], None)
        .nic(&Nic {
            name: "a",
            subnet: "VNet1/FrontEnd",
            addresses: &["10.1.0.4", "fd00:1::4"],
            device: "dpa",
            forwarding: false,
        });
    template
}

/// A tap as a gateway's worker sets it up, but for its queue.
fn port_device(host: &Netns, mac: [u8; 6]) -> Result<Tap> {
    let tap = Tap::open(host, DEVICE)?;
    if host.has_ipv6() {
        host.sysctl(&format!("net.ipv6.conf.{DEVICE}.disable_ipv6"), "1")?;
    }
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    host.ip(&format!(
        "link set {DEVICE} address {mac} mtu 1400 arp off txqueuelen 10000 up"
    ))?;
    Ok(tap)
}

fn site_device(site: &Netns) -> Result<Tap> {
    let tap = Tap::open(site, "site0")?;
    let mac = SITE_MAC.map(|byte| format!("{byte:02x}")).join(":");
    site.ip(&format!(
        "link set site0 address {mac} mtu 1400 arp off txqueuelen 10000 up"
    ))?;
    site.ip(&format!("address add {}/16 dev site0", SITE[0]))?;
    site.ip(&format!("address add {}/48 dev site0 nodad", SITE[1]))?;
    site.ip("route add 10.1.0.0/16 dev site0")?;
    site.ip("-6 route add fd00:1::/48 dev site0")?;
    Ok(tap)
}

fn port(datapath: &Datapath, id: &str) -> PortStatus {
    let mut ports = datapath.ports().into_iter();
    ports.find(|port| port.nic.name() == id).unwrap()
}

fn counted(counters: &Counters, wanted: Reason) -> u64 {
    let mut reasons = counters.reasons.iter();
    let found = reasons.find(|(reason, _)| *reason == wanted);
    found.unwrap().1.packets
}

fn pings(from: &Netns, to: &str) -> Result<()> {
    let outcome = Ping::new(to.parse()?).send(from)?;
    ensure!(
        matches!(outcome, Outcome::Reply { .. }),
        "ping {} → {to}: {outcome}",
        from.name()
    );
    Ok(())
}

fn transfers(from: &Netns, to: &Netns, address: IpAddr) -> Result<()> {
    let transfer = tcp::transfer(from, to, address, 8 << 20)?;
    ensure!(transfer.is_some(), "TCP {} → {address}", from.name());
    Ok(())
}

/// Pings and TCP, both ways and both families.
fn both_ways(workload: &Workload, site: &Netns, cable: &Cable, hook: HookChoice) -> Result<()> {
    for (near, far) in workload.addresses.iter().zip(SITE) {
        let far: IpAddr = far.parse()?;
        pings(&workload.netns, &far.to_string())?;
        pings(site, &near.to_string())?;
        cable.longest();
        transfers(&workload.netns, site, far)?;
        let [out, _] = cable.longest();
        // What comes in at XDP is one packet each.
        let whole = hook == HookChoice::Tcx;
        ensure!(
            (out > 20_000) == whole && (whole || out <= 1414),
            "{hook:?}: frames of up to {out} bytes came out of the port for {far}"
        );
        transfers(site, &workload.netns, *near)?;
        let [_, back] = cable.longest();
        ensure!(
            back > 20_000,
            "{hook:?}: the site sent frames of up to {back} bytes only for {near}"
        );
    }
    Ok(())
}

/// 1,400 bytes go through, one more is answered by the fabric.
fn too_big(workload: &Workload) -> Result<()> {
    for ((to, headers), gateway) in SITE.iter().zip([28, 48]).zip(["10.1.0.1", "fd00:1::1"]) {
        let mut ping = Ping {
            size: 1400 - headers,
            dont_fragment: true,
            ..Ping::new(to.parse()?)
        };
        let fits = ping.send(&workload.netns)?;
        ensure!(matches!(fits, Outcome::Reply { .. }), "{to}: {fits}");
        ping.size += 1;
        let refused = ping.send(&workload.netns)?;
        let expected = Outcome::TooBig {
            from: gateway.parse()?,
            mtu: 1400,
        };
        ensure!(refused == expected, "{to}: {refused}");
    }
    Ok(())
}

/// The kernel does not say how many packets a super-packet out of a tap is.
fn segments_are_counted(counters: &Counters) -> Result<()> {
    let mut subnets = counters.subnets.iter();
    let (_, subnet) = subnets
        .find(|(id, _)| id.name() == "GatewaySubnet")
        .context("no counters of GatewaySubnet")?;
    let all = subnet.v4.iter().map(|(_, counter)| counter);
    for counter in all.chain(subnet.v6.iter().map(|(_, counter)| counter)) {
        if counter.bytes == 0 {
            continue;
        }
        let mean = counter.bytes / counter.packets.max(1);
        ensure!(mean <= 1400, "packets of {mean} bytes were counted");
    }
    Ok(())
}

fn run(choice: HookChoice) -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.namespace("host")?;
    let site = lab.namespace("site")?;
    let template = template().value();
    let offloads = match choice {
        HookChoice::Xdp => Offloads::ForXdp,
        _ => Offloads::Default,
    };
    let workloads = plug(&lab, &host, &template, offloads)?;
    let workload = workloads.first().context("no workload")?;
    let topology = parse_template(&template.to_string(), &DeployOptions::default())
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let mut image = compile(&topology, &CompileOptions::default(), None)?;
    let subnet = ["10.1.255.0/27", "fd00:1:0:ff::/64"];
    let gateway = GatewayPort::new(&image, "VNet1", DEVICE, &subnet)?;
    gateway.add(&mut image, &["10.1.0.0/16", "fd00:1::/48"], &SITE_PREFIXES)?;
    gateway.route(&mut image, &SITE_PREFIXES, Some(&gateway.vnet))?;
    let image = Arc::new(image);

    let instance = Instance::new(&lab.instance("gwport")?)?;
    let cable = Cable::plug(
        port_device(&host, gateway.mac)?,
        site_device(&site)?,
        gateway.mac,
    );
    host.enter(|| -> Result<()> {
        let mut datapath = Datapath::open(&instance, choice)?;
        datapath.apply(image)?;
        let status = port(&datapath, gateway.id.name());
        ensure!(
            status.gateway && status.ip_forwarding && status.state == PortState::Up,
            "{status:?}"
        );
        ensure!(
            status.hook == Some(Hook::Tcx) && status.mtu == Some(1400),
            "{status:?}"
        );
        both_ways(workload, &site, &cable, choice)?;
        too_big(workload)?;
        let counters = datapath.counters()?;
        segments_are_counted(&counters)?;
        ensure!(counted(&counters, Reason::SpoofedAddress) == 0);
        ensure!(counted(&counters, Reason::SpoofedMac) == 0);

        // Without its worker the gateway has no device.
        cable.unplug()?;
        datapath.reconcile()?;
        let status = port(&datapath, gateway.id.name());
        ensure!(status.state == PortState::NoDevice, "{status:?}");
        let before = counted(&datapath.counters()?, Reason::PortDown);
        ensure!(pings(&workload.netns, SITE[0]).is_err());
        ensure!(counted(&datapath.counters()?, Reason::PortDown) > before);
        drop(datapath);
        down(&instance)?;
        Ok(())
    })?
}

#[test]
fn a_gateways_port_beside_ports_at_tcx() -> Result<()> {
    run(HookChoice::Tcx)
}

#[test]
fn a_gateways_port_beside_ports_at_xdp() -> Result<()> {
    run(HookChoice::Xdp)
}
