//! A VNet with a gateway of our daemon, connected to a site behind strongSwan.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vnet_gw_lab::{
    Daemon, Lab, Netns, StrongSwan, Underlay, Workload,
    probe::{Outcome, Ping, tcp},
    strongswan::{Child, Connection},
    template::{Gateway, Nic, Remote, Template},
    underlay::{Link, lan},
    workload::{Offloads, plug},
};

use crate::bed::binary;

/// The gateway's address, and the site's, on the underlay.
pub const OURS: &str = "203.0.113.11";
pub const THEIRS: &str = "203.0.113.21";
pub const KEY: &str = "made+up+key+of+the+tests";
/// Name of the connection on our side.
pub const CONNECTION: &str = "to-site";
/// Name of the connection on strongSwan's side, and of its child.
pub const IKE: &str = "gw";
pub const CHILD: &str = "net";
/// The workload and the machine at the site.
pub const WORKLOAD: [&str; 2] = ["10.1.0.4", "fd00:1::4"];
pub const MACHINE: [&str; 2] = ["10.102.0.4", "fd00:102::4"];
const SITE_PREFIXES: [&str; 2] = ["10.102.0.0/16", "fd00:102::/48"];
const VNET_PREFIXES: [&str; 2] = ["10.1.0.0/16", "fd00:1::/48"];
/// How long a change may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Both ends, running.
pub struct SiteBed {
    pub daemon: Daemon,
    pub swan: StrongSwan,
    pub workload: Workload,
    pub machine: Netns,
    pub ours: Link,
    pub underlay: Underlay,
    pub lab: Lab,
}

fn ip(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| format!("the address {text}"))
}

/// The VNet, its gateway, and a connection with `more` properties to the site at `address`.
pub fn template(address: &str, prefixes: &[&str], more: Value) -> Template {
    let mut template = Template::new();
    template
        .vnet("VNet1", "eastus", &VNET_PREFIXES)
        .subnet("VNet1", "FrontEnd", &["10.1.0.0/24", "fd00:1::/64"], None)
        .subnet("VNet1", "GatewaySubnet", &["10.1.255.0/27"], None)
        .nic(&Nic {
            name: "web",
            subnet: "VNet1/FrontEnd",
            addresses: &WORKLOAD,
            device: "web",
            forwarding: false,
        })
        .gateway(&Gateway {
            name: "VNet1-GW",
            vnet: "VNet1",
            sku: "VpnGw1",
            addresses: &[OURS],
            host: None,
        })
        .local_network_gateway("Site", "eastus", address, prefixes)
        .connection(CONNECTION, "VNet1-GW", Remote::Site("Site"), KEY, more);
    template
}

/// The template for a site at its usual place.
pub fn usual(more: Value) -> Template {
    template(THEIRS, &SITE_PREFIXES, more)
}

/// strongSwan's side of it: its own proposals, no rekey by time.
pub fn peer() -> Connection {
    let (ours, theirs) = ([203, 0, 113, 11], [203, 0, 113, 21]);
    Connection {
        remote_id: Some(OURS.to_owned()),
        ..Connection::new(IKE, theirs.into(), ours.into(), KEY)
    }
    .child(Child::new(CHILD, &SITE_PREFIXES, &VNET_PREFIXES))
}

/// An `ipsecPolicies` of one policy.
pub fn policy(
    ike: (&str, &str, &str),
    esp: (&str, &str),
    pfs: &str,
    seconds: u64,
    kilobytes: u64,
) -> Value {
    json!([{
        "ikeEncryption": ike.0,
        "ikeIntegrity": ike.1,
        "dhGroup": ike.2,
        "ipsecEncryption": esp.0,
        "ipsecIntegrity": esp.1,
        "pfsGroup": pfs,
        "saLifeTimeSeconds": seconds,
        "saDataSizeKilobytes": kilobytes,
    }])
}

impl SiteBed {
    /// Both ends with an underlay between them; nothing is initiated before strongSwan is loaded.
    pub fn start() -> Result<Self> {
        let lab = Lab::new()?;
        let underlay = Underlay::new(&lab, "underlay")?;
        let site = lab.namespace("site")?;
        underlay.attach(&lab, &site, &[ip(THEIRS)?])?;
        Self::start_with(lab, underlay, site, &usual(json!({})))
    }

    /// With the site's gateway wherever it is attached.
    pub fn start_with(
        lab: Lab,
        underlay: Underlay,
        site: Netns,
        template: &Template,
    ) -> Result<Self> {
        let binary = binary("vnet-gw")?;
        let host = lab.namespace("host")?;
        let ours = underlay.attach(&lab, &host, &[ip(OURS)?])?;
        let wires = [
            (ip("10.102.0.1")?, ip(MACHINE[0])?, 24),
            (ip("fd00:102::1")?, ip(MACHINE[1])?, 64),
        ];
        let machine = lan(&lab, &site, "machine", &wires)?;
        // A peer that does not answer is given up within seconds.
        let settings = "retransmit_timeout = 1\nretransmit_base = 1.5\nretransmit_tries = 3\n";
        let swan = StrongSwan::start_with(&lab, &site, settings)?;
        let template = template.value();
        let workloads = plug(&lab, &host, &template, Offloads::Default)?;
        let workload = workloads.into_iter().next().context("no workload")?;
        let instance = lab.instance("site")?;
        let daemon = Daemon::start(
            &lab,
            &binary,
            &host,
            instance,
            &template,
            &["--ephemeral", "--hook", "tcx"],
        )?;
        Ok(Self {
            daemon,
            swan,
            workload,
            machine,
            ours,
            underlay,
            lab,
        })
    }

    fn generation(&self) -> Result<u64> {
        let status = self.daemon.json(&["status"])?;
        let generation = status["configuration"]["generation"].as_u64();
        generation.context("no generation")
    }

    /// Both sides set to that, and nothing left of what was before.
    pub fn set(&self, template: &Template, peer: &[Connection]) -> Result<()> {
        let mut without = template.clone();
        without.remove(CONNECTION);
        self.apply(&without)?;
        self.swan
            .wait(PATIENCE, |sas| sas.is_empty())
            .context("a DELETE was not understood")?;
        self.swan.load(peer)?;
        self.apply(template)
    }

    /// Has the daemon take another file, and returns when it is in force.
    pub fn apply(&self, template: &Template) -> Result<()> {
        let before = self.generation()?;
        self.daemon.write(&template.value())?;
        let deadline = Instant::now() + PATIENCE;
        while self.generation()? == before {
            // An equal file has no new generation.
            ensure!(
                Instant::now() < deadline,
                "the daemon did not take the file; it said:\n{}",
                self.daemon.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The connection, as `vnet-gw connections` tells of it.
    pub fn connection(&self) -> Result<Value> {
        let all = self.daemon.json(&["connections"])?;
        let rows = all["value"].as_array().into_iter().flatten();
        let mut rows = rows.filter(|row| row["name"] == CONNECTION);
        rows.next().cloned().context("no such connection")
    }

    /// Waits until `done` of the connection.
    pub fn wait(&self, patience: Duration, done: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + patience;
        loop {
            let row = self.connection()?;
            if done(&row) {
                return Ok(row);
            }
            if Instant::now() > deadline {
                bail!(
                    "after {patience:?} the connection is {row:#}\nthe daemon:\n{}\ncharon:\n{}",
                    self.daemon.log(),
                    self.swan.log()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until both sides have a tunnel.
    pub fn connected(&self) -> Result<()> {
        self.wait(PATIENCE, |row| row["connectionStatus"] == "Connected")?;
        let sas = self.swan.wait(PATIENCE, |sas| {
            sas.iter()
                .any(|sa| sa.is_established() && sa.installed().next().is_some())
        });
        sas.map(drop)
            .with_context(|| format!("the daemon:\n{}", self.daemon.log()))
    }

    /// Waits until our side gives a reason for not being connected that holds all of `words`.
    pub fn refused(&self, words: &[&str]) -> Result<()> {
        self.wait(PATIENCE, |row| {
            let reason = row["reason"].as_str().unwrap_or_default();
            row["connectionStatus"] != "Connected" && words.iter().all(|word| reason.contains(word))
        })
        .map(drop)
        .with_context(|| format!("no reason with all of {words:?}"))
    }

    /// Fails unless ping and TCP work both ways, in both families.
    pub fn assert_reachable(&self) -> Result<()> {
        let ends = [(&self.workload.netns, MACHINE), (&self.machine, WORKLOAD)];
        for (i, (from, addresses)) in ends.into_iter().enumerate() {
            let (to, _) = ends[1 - i];
            for address in addresses {
                let address = ip(address)?;
                let outcome = Ping::new(address).send(from)?;
                ensure!(
                    matches!(outcome, Outcome::Reply { .. }),
                    "ping to {address}: {outcome}; the daemon:\n{}\n{:#}\ncharon:\n{}\n{:#?}",
                    self.daemon.log(),
                    self.connection()?,
                    self.swan.log(),
                    self.swan.sas()?,
                );
                let transfer = tcp::transfer(from, to, address, 256 << 10)
                    .with_context(|| format!("TCP to {address}"))?;
                ensure!(transfer.is_some(), "TCP to {address}: no connection");
            }
        }
        Ok(())
    }

    /// Fails if ping gets through.
    pub fn assert_unreachable(&self) -> Result<()> {
        let ping = Ping {
            patience: Duration::from_millis(300),
            ..Ping::new(ip(MACHINE[0])?)
        };
        let outcome = ping.send(&self.workload.netns)?;
        ensure!(
            !matches!(outcome, Outcome::Reply { .. }),
            "ping to the site: {outcome}"
        );
        Ok(())
    }
}
