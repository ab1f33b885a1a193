//! What runs on the kernel under test: the daemon, at either hook, with traffic through it.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vnet_gw_lab::{
    Daemon, Lab, Workload,
    probe::{Outcome, Ping},
    workload::{DEVICE, Offloads, plug},
};

use super::{bench, machine, pktgen};

/// Where the guest has them.
pub(super) const DAEMON: &str = "/bin/vnet-gw";
pub(super) const TEMPLATE: &str = "/etc/vnet-gw/two-regions.json";

/// Packets of pktgen for each hook and family.
const PACKETS: u64 = 10_000;
/// The first packets on a link may wait for a neighbour, and all for the emulation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Proves both hooks, and tells the host.
pub(crate) fn run() -> ExitCode {
    match prove() {
        Ok(summary) => {
            println!("{}{summary}", machine::GOOD);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = format!("{error:#}");
            println!("{text}");
            // One line: what failed, and the last that was said about it.
            let mut lines = text.lines().filter(|line| !line.trim().is_empty());
            let first = lines.next().unwrap_or_default();
            let last = lines.next_back().map(|last| format!(" … {last}"));
            println!("{}{first}{}", machine::BAD, last.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn prove() -> Result<String> {
    let text = fs::read_to_string(TEMPLATE).with_context(|| format!("reading {TEMPLATE}"))?;
    let template = serde_json::from_str(&text).with_context(|| format!("{TEMPLATE} is no JSON"))?;
    let mut said = Vec::new();
    let mut verified = BTreeMap::new();
    for hook in ["xdp", "tcx"] {
        let stage = Stage::new(&template, hook).with_context(|| format!("--hook {hook}"))?;
        verified.extend(verified_instructions(stage.daemon.pid())?);
        let run = stage.run().inspect_err(|_| stage.tell_all());
        said.push(run.with_context(|| format!("--hook {hook}"))?);
        stage.end().with_context(|| format!("--hook {hook}"))?;
    }
    said.push(bench::prove().context("the bench")?);
    let verified = verified
        .iter()
        .map(|(program, count)| format!("{program} {count}"));
    let verified = verified.collect::<Vec<_>>().join(", ");
    said.push(match verified.is_empty() {
        true => "this kernel does not tell verified instructions".to_owned(),
        false => format!("verified instructions: {verified}"),
    });
    Ok(said.join("; "))
}

/// The example with the daemon at one hook.
struct Stage {
    daemon: Daemon,
    workloads: Vec<Workload>,
    hook: String,
    _lab: Lab,
}

impl Stage {
    fn new(template: &Value, hook: &str) -> Result<Self> {
        let lab = Lab::new()?;
        let host = lab.namespace("host")?;
        let offloads = if hook == "xdp" {
            Offloads::ForXdp
        } else {
            Offloads::Default
        };
        let workloads = plug(&lab, &host, template, offloads)?;
        let instance = lab.instance("kernels")?;
        let started = Instant::now();
        let args = ["--hook", hook];
        let daemon = Daemon::start(&lab, Path::new(DAEMON), &host, instance, template, &args)?;
        let took = started.elapsed().as_secs_f64();
        let expected = match hook {
            "tcx" if !has_tcx()? => "clsact",
            other => other,
        };
        let ports = daemon.json(&["ports"])?;
        let ports = ports["value"].as_array().context("ports without rows")?;
        ensure!(
            ports.len() == workloads.len(),
            "{} ports for {} workloads",
            ports.len(),
            workloads.len()
        );
        for port in ports {
            ensure!(
                port["state"] == "up" && port["hook"] == expected,
                "port {} should be up at {expected}, but is {} at {}: {}",
                port["device"],
                port["state"],
                port["hook"],
                port["reason"]
            );
        }
        println!("{expected}: {} ports up after {took:.1} s", workloads.len());
        Ok(Self {
            daemon,
            workloads,
            hook: expected.to_owned(),
            _lab: lab,
        })
    }

    fn run(&self) -> Result<String> {
        let hook = self.hook.clone();
        for v4 in [true, false] {
            let trip = self.ping("vnet1-web1", "vnet4-web1", v4)?;
            let trip = trip.context("peered, but no answer")?;
            println!("{hook}: ping {}: {} µs", family(v4), trip.as_micros());
        }
        self.refused()?;
        for v4 in [true, false] {
            self.flood(v4)?;
        }
        Ok(format!(
            "{hook}: ping and {PACKETS} of pktgen, IPv4 and IPv6"
        ))
    }

    /// What may tell why something failed.
    fn tell_all(&self) {
        println!("the daemon said:\n{}", self.daemon.log().trim_end());
        for args in [["ports", "--output=table"], ["counters", "--output=table"]] {
            match self.daemon.output(&args) {
                Ok(output) => println!("{}", String::from_utf8_lossy(&output.stdout).trim_end()),
                Err(error) => println!("{error:#}"),
            }
        }
    }

    /// Ends the daemon, which forwarding survives, and takes everything down, which it does not.
    fn end(mut self) -> Result<()> {
        self.daemon.terminate(Signal::SIGTERM)?;
        self.ping("vnet1-web1", "vnet4-web1", true)?
            .context("forwarding stopped when the daemon ended")?;
        self.down()
    }

    fn workload(&self, name: &str) -> Result<&Workload> {
        let found = self.workloads.iter().find(|workload| workload.name == name);
        found.with_context(|| format!("the example has no networkInterface {name}"))
    }

    fn address(&self, name: &str, v4: bool) -> Result<IpAddr> {
        let workload = self.workload(name)?;
        let address = if v4 { workload.ipv4() } else { workload.ipv6() };
        address.with_context(|| format!("{name} has no {} address", family(v4)))
    }

    fn ping(&self, from: &str, to: &str, v4: bool) -> Result<Option<Duration>> {
        let ping = Ping {
            patience: PATIENCE,
            ..Ping::new(self.address(to, v4)?)
        };
        match ping.send(&self.workload(from)?.netns)? {
            Outcome::Reply { round_trip } => Ok(Some(round_trip)),
            Outcome::Silence => Ok(None),
            other => bail!("ping {} from {from} to {to}: {other}", family(v4)),
        }
    }

    /// VNet4 and VNet5 are not peered.
    fn refused(&self) -> Result<()> {
        let before = self.dropped("next_hop_none")?;
        let ping = Ping {
            patience: Duration::from_millis(500),
            ..Ping::new(self.address("vnet5-web1", true)?)
        };
        let outcome = ping.send(&self.workload("vnet4-web1")?.netns)?;
        let counted = self.dropped("next_hop_none")? - before;
        ensure!(
            outcome == Outcome::Silence && counted == 1,
            "a ping between VNets that are not peered: {outcome}, next_hop_none +{counted}, not \
             silence and 1"
        );
        println!("{}: not peered, refused and counted", self.hook);
        Ok(())
    }

    fn dropped(&self, reason: &str) -> Result<u64> {
        let counters = self.daemon.json(&["counters"])?;
        let rows = counters["reasons"]
            .as_array()
            .context("counters without reasons")?;
        // Reasons that never were may be left out.
        let row = rows.iter().find(|row| row["reason"] == reason);
        Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
    }

    /// Packets that left VNet1's subnet by the route to VNet4.
    fn routed(&self, v4: bool) -> Result<u64> {
        let prefix = if v4 { "10.41.0.0/16" } else { "fd00:4::/48" };
        let counters = self.daemon.json(&["counters"])?;
        let rows = counters["routes"]
            .as_array()
            .context("counters without routes")?;
        let row = rows.iter().find(|row| {
            row["addressPrefix"] == prefix
                && row["subnet"]
                    .as_str()
                    .is_some_and(|subnet| subnet.contains("/VNet1/"))
        });
        row.and_then(|row| row["packets"].as_u64())
            .with_context(|| format!("no counter for {prefix} in VNet1"))
    }

    /// Sends by pktgen through the gateway, and counts at the far end.
    fn flood(&self, v4: bool) -> Result<()> {
        let far = self.workload("vnet4-web1")?;
        let before = (received(far)?, self.routed(v4)?);
        let started = Instant::now();
        pktgen::send(
            self.workload("vnet1-web1")?,
            self.address("vnet4-web1", v4)?,
            PACKETS,
        )?;
        let deadline = Instant::now() + PATIENCE;
        // Others, such as the kernel's own neighbour discovery, may arrive as well.
        let mut arrived = received(far)? - before.0;
        while arrived < PACKETS && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            arrived = received(far)? - before.0;
        }
        let routed = self.routed(v4)? - before.1;
        println!(
            "{}: pktgen {}: {arrived} arrived of {PACKETS}, {routed} counted by their route, {:.1} s",
            self.hook,
            family(v4),
            started.elapsed().as_secs_f64()
        );
        ensure!(
            arrived >= PACKETS && routed == PACKETS,
            "pktgen sent {PACKETS} {} packets through {}: {arrived} arrived, the route counted \
             {routed}",
            family(v4),
            self.hook
        );
        Ok(())
    }

    fn down(&self) -> Result<()> {
        let output = self.daemon.output(&["down"])?;
        ensure!(
            output.status.success(),
            "vnet-gw down: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let pins = Path::new("/sys/fs/bpf/vnet-gw").join(self.daemon.instance());
        ensure!(!pins.exists(), "vnet-gw down left {}", pins.display());
        let ping = Ping {
            patience: Duration::from_millis(500),
            ..Ping::new(self.address("vnet4-web1", true)?)
        };
        let outcome = ping.send(&self.workload("vnet1-web1")?.netns)?;
        ensure!(
            !matches!(outcome, Outcome::Reply { .. }),
            "still forwarding after vnet-gw down: {outcome}"
        );
        println!(
            "{}: {}",
            self.hook,
            String::from_utf8_lossy(&output.stdout).trim()
        );
        Ok(())
    }
}

const fn family(v4: bool) -> &'static str {
    if v4 { "IPv4" } else { "IPv6" }
}

/// Packets that came in at the workload's device.
fn received(workload: &Workload) -> Result<u64> {
    let text = workload
        .netns
        .enter(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'))
        .find_map(|counters| counters.split_whitespace().nth(1)?.parse().ok())
        .with_context(|| format!("no counters of {DEVICE} in {}", workload.netns.name()))
}

/// TCX came with 6.6.
fn has_tcx() -> Result<bool> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let mut numbers = release.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor) >= (6, 6)),
        _ => bail!("{path}: {release:?} does not begin with a version"),
    }
}

/// By type of program: what the verifier went through, as the kernel tells from 5.16 on.
fn verified_instructions(pid: Option<u32>) -> Result<BTreeMap<&'static str, u64>> {
    let dir = format!("/proc/{}/fdinfo", pid.context("the daemon does not run")?);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("listing {dir}"))? {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let field = |name: &str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(":\t"));
            fields
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value.parse::<u64>().ok())
        };
        // BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP.
        let name = match field("prog_type") {
            Some(3) => "tc",
            Some(6) => "xdp",
            _ => continue,
        };
        if let Some(count) = field("verified_insns") {
            let most = found.entry(name).or_insert(0);
            *most = count.max(*most);
        }
    }
    Ok(found)
}
