//! Two regions on two hosts, each with its daemon, joined by active-active VPN gateways across an
//! underlay.

use std::{
    io::Write,
    net::IpAddr,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vnet_gw_lab::{
    Daemon, Lab, Netns, Underlay, Workload,
    probe::{Outcome, Ping, tcp},
    underlay::Link,
    workload::{Offloads, plug_nic},
};

use crate::bed::binary;

const FIXTURE: &str = include_str!("../../vnet-gw/core/tests/fixtures/gateways.json");

/// A tunnel must be up so soon after its daemons are (and a busy machine gets some more).
pub const CONNECT: Duration = Duration::from_secs(5);

/// One of the two hosts.
pub struct Site {
    pub name: &'static str,
    /// Of its own side.
    pub connection: &'static str,
    pub daemon: Daemon,
    pub workload: Workload,
    pub link: Link,
    pub host: Netns,
}

/// Hosts `west` with VNet1 and `east` with VNet4.
pub struct VpnBed {
    pub west: Site,
    pub east: Site,
    pub underlay: Underlay,
    /// Last: it removes what the others run in.
    pub lab: Lab,
}

struct Place {
    name: &'static str,
    connection: &'static str,
    vnet: &'static str,
    addresses: [&'static str; 2],
    public: [&'static str; 2],
}

const WEST: Place = Place {
    name: "west",
    connection: "VNet1-to-VNet4",
    vnet: "VNet1",
    addresses: ["10.11.0.4", "fd00:11::4"],
    public: ["203.0.113.1", "203.0.113.2"],
};
const EAST: Place = Place {
    name: "east",
    connection: "VNet4-to-VNet1",
    vnet: "VNet4",
    addresses: ["10.41.0.4", "fd00:41::4"],
    public: ["203.0.113.9", "203.0.113.10"],
};

/// The two VNets with their gateways and connections, and a networkInterface in each. The
/// on-premises site is left out.
pub fn template() -> Result<Value> {
    let mut template: Value = serde_json::from_str(FIXTURE).context("the fixture")?;
    let resources = template["resources"]
        .as_array_mut()
        .context("the fixture has no resources")?;
    resources.retain(|one| {
        let name = one["name"].as_str().unwrap_or_default();
        !name.contains("OnPremises")
    });
    for place in [&WEST, &EAST] {
        let location = resources.iter().find(|one| one["name"] == place.vnet);
        let location = location.context("no VNet")?["location"].clone();
        let subnet = format!(
            "[resourceId('Microsoft.Network/virtualNetworks/subnets', '{}', 'FrontEnd')]",
            place.vnet
        );
        let configurations = place.addresses.map(|address| {
            let version = if address.contains(':') {
                "IPv6"
            } else {
                "IPv4"
            };
            json!({"name": version, "properties": {
                "primary": version == "IPv4", "privateIPAllocationMethod": "Static",
                "privateIPAddress": address, "privateIPAddressVersion": version,
                "subnet": {"id": subnet},
            }})
        });
        resources.push(json!({
            "type": "Microsoft.Network/networkInterfaces", "apiVersion": "2024-05-01",
            "name": format!("vm-{}", place.name), "location": location,
            "tags": {"vnet-gw:device": format!("vm-{}", place.name), "vnet-gw:host": place.name},
            "properties": {
                "macAddress": format!("00-0D-3A-00-00-{}", if place.name == "west" { "01" } else { "04" }),
                "ipConfigurations": configurations,
            },
        }));
    }
    Ok(template)
}

/// The properties of the resource `name`.
pub fn properties<'a>(template: &'a mut Value, name: &str) -> Result<&'a mut Value> {
    let resources = template["resources"].as_array_mut();
    let mut resources = resources.context("no resources")?.iter_mut();
    let found = resources.find(|one| one["name"] == name);
    Ok(&mut found.with_context(|| format!("no resource {name}"))?["properties"])
}

impl VpnBed {
    /// With a template for each host.
    pub fn start(west: &Value, east: &Value) -> Result<Self> {
        Self::start_with(west, east, &["--ephemeral"])
    }

    /// With other arguments for both daemons.
    pub fn start_with(west: &Value, east: &Value, args: &[&str]) -> Result<Self> {
        let lab = Lab::new()?;
        let underlay = Underlay::new(&lab, "underlay")?;
        let west = Site::start(&lab, &underlay, &WEST, west, args)?;
        let east = Site::start(&lab, &underlay, &EAST, east, args)?;
        Ok(Self {
            west,
            east,
            underlay,
            lab,
        })
    }

    pub fn sites(&self) -> [&Site; 2] {
        [&self.west, &self.east]
    }

    /// Waits until both sides have all four tunnels; how long that took.
    pub fn connected(&self) -> Result<Duration> {
        let begun = Instant::now();
        for site in self.sites() {
            site.wait("all tunnels Connected", |row| Ok(row.tunnels_up() == 4))?;
        }
        Ok(begun.elapsed())
    }

    /// Fails unless ping and TCP get through, both ways and in both families.
    pub fn assert_reachable(&self) -> Result<()> {
        for (near, far) in [(&self.west, &self.east), (&self.east, &self.west)] {
            for &address in &far.workload.addresses {
                let outcome = Ping::new(address).send(&near.workload.netns)?;
                ensure!(
                    matches!(outcome, Outcome::Reply { .. }),
                    "ping {} → {address}: {outcome}",
                    near.name
                );
                let (from, to) = (&near.workload.netns, &far.workload.netns);
                let transfer = tcp::transfer(from, to, address, 4 << 20)
                    .with_context(|| format!("TCP {} → {address}", near.name))?;
                ensure!(transfer.is_some(), "TCP {} → {address}", near.name);
            }
        }
        Ok(())
    }
}

impl Site {
    fn start(
        lab: &Lab,
        underlay: &Underlay,
        place: &Place,
        template: &Value,
        args: &[&str],
    ) -> Result<Self> {
        let host = lab.namespace(place.name)?;
        let public: Vec<IpAddr> = place
            .public
            .iter()
            .map(|address| address.parse().context("address"))
            .collect::<Result<_>>()?;
        let link = underlay.attach(lab, &host, &public)?;
        let nic = format!("vm-{}", place.name);
        let workload = plug_nic(lab, &host, template, &nic, Offloads::Default)?;
        let daemon = Daemon::start(
            lab,
            &binary("vnet-gw")?,
            &host,
            lab.instance(place.name)?,
            template,
            &[&["--host", place.name], args].concat(),
        )?;
        Ok(Self {
            name: place.name,
            connection: place.connection,
            daemon,
            workload,
            link,
            host,
        })
    }

    /// Its connection now.
    pub fn row(&self) -> Result<Row> {
        let args = ["connection", "show", self.connection];
        Ok(Row(self.daemon.json(&args)?))
    }

    /// Waits until its connection is as `done` wants it.
    pub fn wait(&self, what: &str, mut done: impl FnMut(&Row) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + 4 * CONNECT;
        loop {
            let row = self.row()?;
            if done(&row)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{}: never {what}: {:#}\nthe daemon said:\n{}",
                    self.name,
                    row.0,
                    self.daemon.log()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The inbound SPIs of its connection, by tunnel.
    pub fn spis(&self) -> Result<Vec<(String, String)>> {
        let sas = self.daemon.json(&["ike-sas", self.connection])?;
        let rows = sas["value"].as_array().context("no list")?;
        let mut spis = Vec::new();
        for sa in rows {
            for child in sa["children"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                spis.push((text(&sa["tunnel"]), text(&child["inboundSpi"])));
            }
        }
        spis.sort();
        Ok(spis)
    }

    /// Runs `vnet-gw ARGS` with `input` on its standard input; what it printed.
    pub fn tell(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .daemon
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("no input")?
            .write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "vnet-gw {}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A connection, as `connection show --output json` prints it.
#[derive(Clone, Debug)]
pub struct Row(pub Value);

impl Row {
    pub fn status(&self) -> &str {
        self.0["connectionStatus"].as_str().unwrap_or_default()
    }

    pub fn reason(&self) -> &str {
        self.0["reason"].as_str().unwrap_or_default()
    }

    pub fn bytes(&self) -> (u64, u64) {
        let number = |name: &str| self.0[name].as_u64().unwrap_or(0);
        (
            number("ingressBytesTransferred"),
            number("egressBytesTransferred"),
        )
    }

    pub fn tunnels_up(&self) -> usize {
        let tunnels = self.0["tunnelConnectionStatus"].as_array();
        let up = |tunnel: &&Value| tunnel["connectionStatus"] == "Connected";
        tunnels.into_iter().flatten().filter(up).count()
    }
}
