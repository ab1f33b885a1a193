//! A hub with a gateway, spokes that use it, an on-premises site behind strongSwan, and another
//! region with a gateway and a spoke of its own, on a host of its own.

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
    template::{Allow, Gateway, Nic, Remote, Template},
    underlay::lan,
    workload::{Offloads, plug},
};

use crate::bed::binary;

/// Of the gateways of the hub, of the other region, and of the site, on the underlay.
const NEAR: &str = "203.0.113.11";
const FAR: &str = "203.0.113.12";
const SITE: &str = "203.0.113.21";
const KEY: &str = "made+up+key+of+the+tests";
/// Connections of the hub's gateway, to the site and to the other region.
pub const TO_SITE: &str = "to-site";
pub const TO_FAR: &str = "Hub-to-Far";
/// Of the other region's gateway.
pub const BACK: &str = "Far-to-Hub";
/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer that should not come is waited for.
const SILENCE: Duration = Duration::from_millis(300);

pub const SITE_PREFIXES: [&str; 2] = ["10.102.0.0/16", "fd00:102::/48"];
/// The machine at the site.
pub const MACHINE: [&str; 2] = ["10.102.0.4", "fd00:102::4"];

/// What a test varies.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which spokes use the hub's gateway.
    pub spoke1: bool,
    pub spoke2: bool,
    /// The spokes send what is for each other to the gateway.
    pub spoke_to_spoke: bool,
    /// The hub lets forwarded traffic of the first spoke in.
    pub forwarded: bool,
    /// `disableBgpRoutePropagation` of the first spoke.
    pub no_propagation: bool,
    /// `usePolicyBasedTrafficSelectors` towards the site.
    pub selectors: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            spoke1: true,
            spoke2: true,
            spoke_to_spoke: false,
            forwarded: false,
            no_propagation: false,
            selectors: false,
        }
    }
}

/// The two address families of a network with this number.
fn space(number: u16) -> [String; 2] {
    [format!("10.{number}.0.0/16"), format!("fd00:{number}::/48")]
}

fn address(number: u16, last: u16) -> [String; 2] {
    [
        format!("10.{number}.0.{last}"),
        format!("fd00:{number}::{last}"),
    ]
}

/// A VNet with a subnet `FrontEnd`, and a workload of the name where it is on this host.
fn vnet(template: &mut Template, name: &str, location: &str, number: u16, table: Option<&str>) {
    let space = space(number);
    template.vnet(name, location, &space.each_ref().map(String::as_str));
    let subnet = [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64")];
    let subnet = subnet.each_ref().map(String::as_str);
    template.subnet(name, "FrontEnd", &subnet, table);
}

fn nic(template: &mut Template, name: &str, vnet: &str, addresses: &[String; 2], forwards: bool) {
    template.nic(&Nic {
        name,
        subnet: &format!("{vnet}/FrontEnd"),
        addresses: &addresses.each_ref().map(String::as_str),
        device: name,
        forwarding: forwards,
    });
}

/// What both hosts know: the networks and the gateways.
fn networks(plan: &Plan) -> Template {
    let mut template = Template::new();
    let to = |number: u16, hop: &'static str| {
        let prefixes = space(number);
        prefixes.map(|prefix| (prefix, hop))
    };
    let routes = |list: Vec<[(String, &'static str); 2]>| -> Vec<(String, &'static str)> {
        list.into_iter().flatten().collect()
    };
    let gateway = "VirtualNetworkGateway";
    let mut of_one = Vec::new();
    let mut of_two = Vec::new();
    if plan.spoke_to_spoke {
        of_one.push(to(2, gateway));
        of_two.push(to(1, gateway));
    }
    for (name, location, list) in [
        ("of-spoke1", "westeurope", routes(of_one)),
        ("of-spoke2", "northeurope", routes(of_two)),
    ] {
        let list: Vec<_> = list
            .iter()
            .map(|(p, hop)| (p.as_str(), *hop, None))
            .collect();
        template.route_table(name, location, &list);
    }
    let chain = [
        (SITE_PREFIXES[0], "VirtualAppliance", Some("10.1.0.9")),
        (SITE_PREFIXES[1], "VirtualAppliance", Some("fd00:1::9")),
    ];
    template.route_table("of-loner", "westeurope", &chain);
    vnet(&mut template, "Hub", "westeurope", 100, None);
    template.subnet("Hub", "GatewaySubnet", &["10.100.255.0/27"], None);
    vnet(&mut template, "Spoke1", "westeurope", 1, Some("of-spoke1"));
    // Across regions.
    vnet(&mut template, "Spoke2", "northeurope", 2, Some("of-spoke2"));
    vnet(&mut template, "Loner", "westeurope", 3, Some("of-loner"));
    vnet(&mut template, "Far", "eastus", 8, None);
    template.subnet("Far", "GatewaySubnet", &["10.8.255.0/27"], None);
    vnet(&mut template, "FarSpoke", "eastus", 9, None);
    let side = |uses: bool| {
        if uses {
            Allow::spoke()
        } else {
            Allow::default()
        }
    };
    let to_one = Allow {
        forwarded_traffic: plan.forwarded,
        ..Allow::hub()
    };
    let from_hub = Allow {
        forwarded_traffic: true,
        ..Allow::default()
    };
    template
        .peering("Hub", "Spoke1", to_one)
        .peering("Spoke1", "Hub", side(plan.spoke1))
        .peering("Hub", "Spoke2", Allow::hub())
        .peering("Spoke2", "Hub", side(plan.spoke2))
        .peering("Hub", "Loner", Allow::hub())
        .peering("Loner", "Hub", from_hub)
        .peering("Spoke1", "Loner", from_hub)
        .peering("Loner", "Spoke1", from_hub)
        .peering("Far", "FarSpoke", Allow::hub())
        .peering("FarSpoke", "Far", Allow::spoke());
    for (name, vnet, address, host) in
        [("HubGW", "Hub", NEAR, "near"), ("FarGW", "Far", FAR, "far")]
    {
        template.gateway(&Gateway {
            name,
            vnet,
            sku: "VpnGw1",
            addresses: &[address],
            host: Some(host),
        });
    }
    template
        .connection(TO_FAR, "HubGW", Remote::Gateway("FarGW"), KEY, json!({}))
        .connection(BACK, "FarGW", Remote::Gateway("HubGW"), KEY, json!({}))
        .local_network_gateway("Site", "westeurope", SITE, &SITE_PREFIXES);
    let more = json!({"usePolicyBasedTrafficSelectors": plan.selectors});
    template.connection(TO_SITE, "HubGW", Remote::Site("Site"), KEY, more);
    template
}

/// For the host of the hub.
fn near(plan: &Plan) -> Value {
    let mut template = networks(plan);
    nic(&mut template, "hub", "Hub", &address(100, 4), false);
    nic(&mut template, "one", "Spoke1", &address(1, 4), false);
    nic(&mut template, "nva", "Spoke1", &address(1, 9), true);
    nic(&mut template, "two", "Spoke2", &address(2, 4), false);
    nic(&mut template, "loner", "Loner", &address(3, 4), false);
    let mut value = template.value();
    let resources = value["resources"].as_array_mut().into_iter().flatten();
    for table in resources.filter(|one| one["name"] == "of-spoke1") {
        table["properties"]["disableBgpRoutePropagation"] = plan.no_propagation.into();
    }
    value
}

/// For the host of the other region.
fn far(plan: &Plan) -> Value {
    let mut template = networks(plan);
    nic(&mut template, "far", "Far", &address(8, 4), false);
    nic(&mut template, "leaf", "FarSpoke", &address(9, 4), false);
    template.value()
}

/// The hub's host, the other region's, and the site.
pub struct TransitBed {
    pub near: Daemon,
    pub far: Daemon,
    pub swan: StrongSwan,
    workloads: Vec<Workload>,
    pub machine: Netns,
    /// Last: it removes what the others run in.
    pub lab: Lab,
}

/// A workload by name, or the machine at the site.
#[derive(Clone, Copy)]
struct End<'a> {
    netns: &'a Netns,
    addresses: [IpAddr; 2],
}

impl TransitBed {
    pub fn start(plan: Plan) -> Result<Self> {
        let binary = binary("vnet-gw")?;
        let lab = Lab::new()?;
        let underlay = Underlay::new(&lab, "underlay")?;
        let site = lab.namespace("site")?;
        underlay.attach(&lab, &site, &[SITE.parse()?])?;
        let wires = [
            ("10.102.0.1".parse()?, MACHINE[0].parse()?, 24),
            ("fd00:102::1".parse()?, MACHINE[1].parse()?, 64),
        ];
        let machine = lan(&lab, &site, "machine", &wires)?;
        let settings = "retransmit_timeout = 1\nretransmit_base = 1.5\nretransmit_tries = 3\n";
        let swan = StrongSwan::start_with(&lab, &site, settings)?;
        swan.load(&[peer()?])?;
        let mut workloads = Vec::new();
        let mut host = |name: &str, public: &str, template: &Value| -> Result<Daemon> {
            let host = lab.namespace(&format!("host-{name}"))?;
            underlay.attach(&lab, &host, &[public.parse()?])?;
            workloads.extend(plug(&lab, &host, template, Offloads::Default)?);
            let instance = lab.instance(name)?;
            let args = ["--host", name, "--ephemeral", "--hook", "tcx"];
            Daemon::start(&lab, &binary, &host, instance, template, &args)
        };
        let near = host("near", NEAR, &near(&plan))?;
        let far = host("far", FAR, &far(&plan))?;
        let nva = workloads.iter().find(|one| one.name == "nva");
        let nva = &nva.context("no appliance")?.netns;
        nva.sysctl("net.ipv4.ip_forward", "1")?;
        nva.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        let bed = Self {
            near,
            far,
            swan,
            workloads,
            machine,
            lab,
        };
        for (daemon, connection) in [(&bed.near, TO_FAR), (&bed.near, TO_SITE), (&bed.far, BACK)] {
            bed.wait(daemon, connection, |row| {
                row["connectionStatus"] == "Connected"
            })?;
        }
        Ok(bed)
    }

    /// Has both daemons take another plan, and returns when it is in force.
    pub fn apply(&self, plan: Plan) -> Result<()> {
        for (daemon, template) in [(&self.near, near(&plan)), (&self.far, far(&plan))] {
            let log = daemon.log();
            daemon.write(&template)?;
            daemon.wait_for_log(&log, "reload: ")?;
        }
        Ok(())
    }

    /// The connection, once it is as `done` wants it.
    pub fn wait(
        &self,
        daemon: &Daemon,
        connection: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = daemon.json(&["connection", "show", connection])?;
            if done(&row) {
                return Ok(row);
            }
            if Instant::now() > deadline {
                bail!(
                    "after {PATIENCE:?} {connection} is {row:#}\nthe daemon:\n{}\ncharon:\n{}",
                    daemon.log(),
                    self.swan.log()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn workload(&self, name: &str) -> Result<&Workload> {
        let mut workloads = self.workloads.iter();
        let found = workloads.find(|workload| workload.name == name);
        found.with_context(|| format!("no workload {name}"))
    }

    fn end(&self, name: &str) -> Result<End<'_>> {
        if name == "machine" {
            let netns = &self.machine;
            let [v4, v6] = MACHINE;
            let addresses = [v4.parse()?, v6.parse()?];
            return Ok(End { netns, addresses });
        }
        let found = self.workload(name)?;
        let both = found.ipv4().zip(found.ipv6()).context("two addresses")?;
        Ok(End {
            netns: &found.netns,
            addresses: both.into(),
        })
    }

    /// Fails unless ping and TCP get from one to the other and back, in both families.
    pub fn assert_reaches(&self, from: &str, to: &str) -> Result<()> {
        let (near, far) = (self.end(from)?, self.end(to)?);
        for address in far.addresses {
            let ping = Ping {
                patience: PATIENCE / 4,
                ..Ping::new(address)
            };
            let outcome = ping.send(near.netns)?;
            ensure!(
                matches!(outcome, Outcome::Reply { .. }),
                "ping {from} → {to} ({address}): {outcome}\n{}",
                self.near.log()
            );
            let transfer = tcp::transfer(near.netns, far.netns, address, 1 << 20)
                .with_context(|| format!("TCP {from} → {to} ({address})"))?;
            ensure!(transfer.is_some(), "TCP {from} → {to} ({address})");
        }
        Ok(())
    }

    /// Fails if a ping is answered.
    pub fn assert_silent(&self, from: &str, to: &str) -> Result<()> {
        let (near, far) = (self.end(from)?, self.end(to)?);
        for address in far.addresses {
            let ping = Ping {
                patience: SILENCE,
                ..Ping::new(address)
            };
            let outcome = ping.send(near.netns)?;
            ensure!(
                !matches!(outcome, Outcome::Reply { .. }),
                "ping {from} → {to} ({address}): {outcome}"
            );
        }
        Ok(())
    }

    /// How often the port of `name` refused a packet for `reason`.
    pub fn dropped(&self, reason: &str) -> Result<u64> {
        let counters = self.near.json(&["counters"])?;
        Ok(sum(&counters, reason))
    }

    /// The row of a gateway, as its own daemon tells it.
    pub fn gateway(&self, daemon: &Daemon, name: &str) -> Result<Value> {
        let all = daemon.json(&["gateways"])?;
        let rows = all["value"].as_array().into_iter().flatten();
        let mut rows = rows.filter(|row| row["name"] == name);
        rows.next().cloned().context("no such gateway")
    }
}

/// The packets under `reason`, wherever in the answer they are.
fn sum(value: &Value, reason: &str) -> u64 {
    match value {
        Value::Object(fields) if fields.get("reason").is_some_and(|one| one == reason) => {
            fields.get("packets").and_then(Value::as_u64).unwrap_or(0)
        }
        Value::Object(fields) => fields.values().map(|value| sum(value, reason)).sum(),
        Value::Array(items) => items.iter().map(|value| sum(value, reason)).sum(),
        _ => 0,
    }
}

/// The site, which knows the VNets that it may talk to, and leaves it to the other side to say
/// which.
fn peer() -> Result<Connection> {
    let behind: Vec<String> = [100, 1, 2, 3].into_iter().flat_map(space).collect();
    let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
    let connection = Connection::new("gw", SITE.parse()?, NEAR.parse()?, KEY);
    Ok(Connection {
        remote_id: Some(NEAR.to_owned()),
        ..connection
    }
    .child(Child::new("net", &SITE_PREFIXES, &behind)))
}
