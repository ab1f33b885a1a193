//! The built-in example: the template of `vnet-gw/examples` on two hosts, each with its own daemon,
//! joined by an underlay, and a site on premises behind strongSwan.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vnet_gw_lab::{
    Daemon, Lab, Netns, Underlay, Workload,
    underlay::Link,
    workload::{DEVICE, Offloads, plug_host},
};

use super::{
    resources::Resources,
    site::{SITE, Site},
};
use crate::{Hook, tree};

/// A workload whose link takes smaller packets than the others', in both families.
pub(super) const NARROW: &str = "vnet6-web2";
pub(super) const NARROW_MTU: u32 = 1400;

/// The hosts, as the tags `vnet-gw:host` of the template name them, and their daemons' instances.
const HOSTS: [(&str, &str); 2] = [("region1", "example"), ("region2", "example-region2")];

/// The example, running. Dropping it removes everything.
pub(super) struct Example {
    pub(super) hosts: Vec<Host>,
    pub(super) workloads: Vec<Workload>,
    pub(super) site: Site,
    pub(super) template: Value,
    pub(super) underlay: Underlay,
    /// Last: it removes what the others run in.
    _lab: Lab,
}

/// Something that sends and receives, its device `eth0`.
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) netns: &'a Netns,
    pub(super) addresses: &'a [IpAddr],
}

/// A host with its daemon.
pub(super) struct Host {
    pub(super) name: &'static str,
    pub(super) daemon: Daemon,
    pub(super) link: Link,
    /// Of its workloads.
    workloads: Vec<String>,
}

impl Example {
    pub(super) fn start(binary: &Path, hook: Hook) -> Result<Self> {
        let path = template_path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("reading the example {}", path.display()))?;
        let template: Value = serde_json::from_str(&text)
            .with_context(|| format!("the example {} is no JSON", path.display()))?;
        let lab = Lab::new()?;
        let underlay = Underlay::new(&lab, "underlay")?;
        let mut workloads = Vec::new();
        let mut hosts = Vec::new();
        for (name, instance) in HOSTS {
            let (host, plugged) =
                start_host(&lab, &underlay, (name, instance), &template, binary, hook)
                    .with_context(|| format!("the host {name}"))?;
            workloads.extend(plugged);
            hosts.push(host);
        }
        let site = Site::start(&lab, &underlay, &template).context("the site on premises")?;
        Ok(Self {
            hosts,
            workloads,
            site,
            template,
            underlay,
            _lab: lab,
        })
    }

    pub(super) fn workload(&self, name: &str) -> Result<&Workload> {
        self.workloads
            .iter()
            .find(|workload| workload.name == name)
            .with_context(|| format!("the example has no networkInterface {name}"))
    }

    /// A workload, or the machine at the site.
    pub(super) fn node<'a>(&'a self, name: &'a str) -> Result<Node<'a>> {
        if name == SITE {
            return Ok(Node {
                name,
                netns: &self.site.machine,
                addresses: &self.site.addresses,
            });
        }
        let workload = self.workload(name)?;
        Ok(Node {
            name,
            netns: &workload.netns,
            addresses: &workload.addresses,
        })
    }

    /// The host that the workload `name` lives on.
    pub(super) fn host_of(&self, name: &str) -> Result<&Host> {
        self.hosts
            .iter()
            .find(|host| host.workloads.iter().any(|workload| workload == name))
            .with_context(|| format!("no host has the networkInterface {name}"))
    }

    /// Has the daemons take another template, and returns when it is in force.
    pub(super) fn reload(&self, template: &Value) -> Result<()> {
        let generation = |status: &Value| status["configuration"]["generation"].as_u64();
        for host in &self.hosts {
            let daemon = &host.daemon;
            let before = generation(&daemon.json(&["status"])?);
            daemon.write(template)?;
            let deadline = Instant::now() + Duration::from_secs(15);
            loop {
                let status = daemon.json(&["status"])?;
                if generation(&status) > before {
                    break;
                }
                if Instant::now() > deadline {
                    bail!(
                        "the daemon on {} did not take the changed file: {}",
                        host.name,
                        status["configuration"]
                    );
                }
                super::nap(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// The connections of both hosts' gateways, as `vnet-gw connections` has them.
    pub(super) fn connections(&self) -> Result<Vec<Connection>> {
        let mut out = Vec::new();
        for host in &self.hosts {
            let all = host.daemon.json(&["connections"])?;
            let rows = all["value"]
                .as_array()
                .context("the daemon's answer has no connections")?;
            // Each daemon knows all; one without tunnels here is another host's.
            let rows = rows.iter().map(Connection::read);
            out.extend(rows.filter(|connection| !connection.tunnels.is_empty()));
        }
        Ok(out)
    }

    /// Waits until every tunnel of every connection is connected, and says how it stands then or
    /// when `patience` is over.
    pub(super) fn connected(&self, patience: Duration) -> Result<Vec<Connection>> {
        let deadline = Instant::now() + patience;
        loop {
            let connections = self.connections()?;
            let all = !connections.is_empty() && connections.iter().all(Connection::is_whole);
            if all || Instant::now() > deadline || super::caught().is_some() {
                return Ok(connections);
            }
            super::nap(Duration::from_millis(100));
        }
    }
}

impl Host {
    /// Packets dropped or answered so far for `reason`.
    pub(super) fn counted(&self, reason: &str) -> Result<u64> {
        let counters = self.daemon.json(&["counters"])?;
        let reasons = counters["reasons"]
            .as_array()
            .context("counters without reasons")?;
        let row = reasons.iter().find(|row| row["reason"] == reason);
        Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
    }
}

/// A connection of a gateway, with its tunnels.
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Each with its `connectionStatus`.
    pub(super) tunnels: Vec<(String, String)>,
}

impl Connection {
    fn read(row: &Value) -> Self {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let tunnels = row["tunnelConnectionStatus"].as_array();
        Self {
            name: text(row, "name"),
            kind: text(row, "connectionType"),
            status: text(row, "connectionStatus"),
            reason: text(row, "reason"),
            bytes_in: row["ingressBytesTransferred"].as_u64().unwrap_or(0),
            bytes_out: row["egressBytesTransferred"].as_u64().unwrap_or(0),
            tunnels: tunnels
                .into_iter()
                .flatten()
                .map(|tunnel| (text(tunnel, "tunnel"), text(tunnel, "connectionStatus")))
                .collect(),
        }
    }

    /// How many of its tunnels are connected.
    pub(super) fn up(&self) -> usize {
        let connected = self
            .tunnels
            .iter()
            .filter(|(_, state)| state == "Connected");
        connected.count()
    }

    /// Connected by every tunnel.
    pub(super) fn is_whole(&self) -> bool {
        self.status == "Connected" && self.up() == self.tunnels.len()
    }

    /// `Connected, 4 of 4 tunnels`
    pub(super) fn state(&self) -> String {
        format!(
            "{}, {} of {} tunnels",
            self.status,
            self.up(),
            self.tunnels.len()
        )
    }
}

pub(super) fn template_path() -> PathBuf {
    tree::root().join("vnet-gw/examples/regions-and-site.json")
}

fn start_host(
    lab: &Lab,
    underlay: &Underlay,
    (name, instance): (&'static str, &str),
    template: &Value,
    binary: &Path,
    hook: Hook,
) -> Result<(Host, Vec<Workload>)> {
    let netns = lab.namespace(name)?;
    let addresses = Resources::of(template)?.public_addresses(name)?;
    let link = underlay.attach(lab, &netns, &addresses)?;
    let offloads = if hook == Hook::Xdp {
        Offloads::ForXdp
    } else {
        Offloads::Default
    };
    let workloads = plug_host(lab, &netns, name, template, offloads)?;
    if let Some(narrow) = workloads.iter().find(|workload| workload.name == NARROW) {
        make_narrow(&netns, narrow)?;
    }
    let hook = match hook {
        Hook::Xdp => "xdp",
        Hook::Tcx => "tcx",
        Hook::Auto => "auto",
    };
    let args = ["--ephemeral", "--hook", hook, "--host", name];
    let instance = free_instance(lab, instance)?;
    let daemon = Daemon::start(lab, binary, &netns, instance, template, &args)?;
    let host = Host {
        name,
        daemon,
        link,
        workloads: workloads.iter().map(|one| one.name.clone()).collect(),
    };
    Ok((host, workloads))
}

fn make_narrow(host: &Netns, workload: &Workload) -> Result<()> {
    host.ip(&format!("link set {} mtu {NARROW_MTU}", workload.device))?;
    workload
        .netns
        .ip(&format!("link set {DEVICE} mtu {NARROW_MTU}"))
}

/// `name`, or where that runs already a name of the lab's own.
fn free_instance(lab: &Lab, name: &str) -> Result<String> {
    let taken = [
        format!("/sys/fs/bpf/vnet-gw/{name}"),
        format!("/run/vnet-gw/{name}.sock"),
    ];
    if taken.iter().any(|path| Path::new(path).exists()) {
        return lab.instance(name);
    }
    lab.adopt_instance(name)?;
    Ok(name.to_owned())
}
