//! The data path that packets are sent into: two peered networks and one that is peered with the
//! first alone, an appliance, a gateway's port, the internet port, security groups, and for one subnet
//! so many routes that its tables are large ones.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::{Array, Map, MapData};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vnet_gw::datapath::{
    Counters, Datapath, HookChoice, Instance, InternetPort, MeterReading, down,
};
use vnet_gw_common::{internet, mac_from_u64, maps, port::Settings};
use vnet_gw_core::{
    compile::{ActionImage, CompileOptions, Image, compile},
    model::{
        Access, DeployOptions, Direction, PortRange, ResourceId, SecurityRuleProtocol as Protocol,
        parse_template,
    },
    security::{PortSecurity, Rule, RuleAddresses, RuleSet, RuleSetId},
};
use vnet_gw_lab::{Lab, Netns};

use crate::{
    gateway::GatewayPort,
    test_run::{Beside, Hook, pinned_program, test_run},
};

/// As inputs number them.
pub(super) const DEVICES: [&str; 6] = ["web1", "nva1", "db4", "app6", GATEWAY, INTERNET];
const GATEWAY: &str = "vg1";
const INTERNET: &str = "inet0";
/// Of the gateway's and of db4.
const SMALL_MTU: u32 = 1_400;
const TEMPLATE: &str = include_str!("../../tests/fixtures/template.json");
/// More than a small table takes.
const MANY_ROUTES: u32 = 300;

pub(super) struct Bed {
    /// `None` only while it is taken down.
    datapath: Option<Datapath>,
    instance: Instance,
    programs: [OwnedFd; 2],
    ifindexes: [u32; DEVICES.len()],
    pub(super) image: Arc<Image>,
    _lab: Lab,
}

/// What was counted so far.
pub(super) struct Counted {
    pub(super) counters: Counters,
    pub(super) meters: Vec<MeterReading>,
}

impl Bed {
    /// The calling thread is in the bed's namespace from then on.
    pub(super) fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let host = lab.namespace("host")?;
        devices(&host)?;
        let instance = Instance::new(&lab.instance("mutated")?)?;
        host.stay()?;
        let image = Arc::new(image()?);
        let mut datapath = Datapath::open(&instance, HookChoice::Xdp)?;
        datapath.set_internet(Some(InternetPort {
            device: INTERNET.to_owned(),
            mac: mac_from_u64(internet::host_mac(0)),
            v4: true,
            v6: true,
        }))?;
        let report = datapath.apply(Arc::clone(&image))?;
        let mut warnings = report.warnings.iter();
        ensure!(
            warnings.all(|warning| warning.contains("GRO")),
            "the bed did not apply cleanly: {:?}",
            report.warnings
        );
        let program = |name| pinned_program(&instance.pins(), name);
        let programs = [program(maps::PROG_XDP)?, program(maps::PROG_TC)?];
        answer_always(&instance)?;
        let mut ifindexes = [0; DEVICES.len()];
        for (index, device) in ifindexes.iter_mut().zip(DEVICES) {
            *index = nix::net::if_::if_nametoindex(device)?;
        }
        Ok(Self {
            datapath: Some(datapath),
            instance,
            programs,
            ifindexes,
            image,
            _lab: lab,
        })
    }

    pub(super) fn mtu(device: &str) -> u32 {
        match device {
            "db4" | GATEWAY => SMALL_MTU,
            _ => 1_500,
        }
    }

    pub(super) fn counted(&self) -> Result<Counted> {
        let datapath = self.datapath.as_ref().context("the bed is down")?;
        Ok(Counted {
            counters: datapath.counters()?,
            meters: datapath.meters()?,
        })
    }

    /// The return value and the packet that comes out; `None` where the kernel itself refuses the
    /// packet.
    pub(super) fn send(
        &self,
        hook: Hook,
        port: usize,
        (mark, gso_size): (u32, u32),
        frame: &[u8],
    ) -> Result<Option<(u32, Vec<u8>)>> {
        let beside = Beside {
            ifindex: self.ifindexes[port % DEVICES.len()],
            mark,
            gso_size,
        };
        match test_run(self.programs[hook as usize].as_fd(), hook, beside, frame) {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(error) => Err(error).context("BPF_PROG_TEST_RUN"),
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // It holds the instance's lock.
        self.datapath = None;
        if let Err(error) = down(&self.instance) {
            eprintln!("taking {} down: {error}", self.instance.name);
        }
    }
}

fn devices(host: &Netns) -> Result<()> {
    // The far ends' own discovery would come in at the ports and be counted there.
    if host.has_ipv6() {
        host.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        host.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
    }
    for device in DEVICES.iter().filter(|device| **device != GATEWAY) {
        host.ip(&format!("link add {device} type veth peer name {device}-w"))?;
        host.ip(&format!("link set {device} up mtu {}", Bed::mtu(device)))?;
        host.ip(&format!("link set {device}-w up"))?;
    }
    host.ip(&format!("tuntap add dev {GATEWAY} mode tap vnet_hdr"))?;
    host.ip(&format!("link set {GATEWAY} up arp off mtu {SMALL_MTU}"))
}

/// Lets every ICMP error be sent that is due: what limits them is a clock.
fn answer_always(instance: &Instance) -> Result<()> {
    let path = instance.pins().join(maps::SETTINGS);
    let map = MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
    let mut settings: Array<_, Settings> = Array::try_from(Map::Array(map))?;
    let now = settings.get(&0, 0)?;
    let always = Settings {
        icmp_interval_ns: 1,
        icmp_burst: u32::MAX,
        ..now
    };
    Ok(settings.set(0, always, 0)?)
}

fn image() -> Result<Image> {
    let topology =
        parse_template(TEMPLATE, &DeployOptions::default()).map_err(|error| anyhow!("{error}"))?;
    let mut image = compile(&topology, &CompileOptions::default(), None)?;
    let subnet = ["10.1.255.0/27", "fd00:1:0:ff::/64"];
    let gateway = GatewayPort::new(&image, "VNet1", GATEWAY, &subnet)?;
    let (own, remote) = (
        ["10.1.0.0/16", "fd00:1::/48"],
        ["172.24.0.0/16", "fd00:24::/48"],
    );
    gateway.add(&mut image, &own, &remote)?;
    gateway.route(&mut image, &remote, Some(&gateway.vnet))?;
    gateway.route_back(&mut image, &["172.26.0.0/16", "fd00:26::/48"])?;
    many_routes(&mut image)?;
    secure(&mut image)?;
    Ok(image)
}

/// Into the tables that db4 uses.
fn many_routes(image: &mut Image) -> Result<()> {
    let ids: Vec<ResourceId> = image.subnets.keys().cloned().collect();
    let of_db4 = |id: &&ResourceId| id.key().contains("/vnet4/");
    let id = ids.iter().find(of_db4).context("no subnet of VNet4")?;
    let subnet = image.subnets.get_mut(id).context("no subnet of VNet4")?;
    let vnet = subnet.vnet.clone();
    let subnet = Arc::make_mut(subnet);
    let own = ActionImage::Local { vnet };
    let action = |actions: &mut Vec<ActionImage>, action: &ActionImage| {
        let known = actions.iter().position(|known| known == action);
        known.unwrap_or_else(|| {
            actions.push(action.clone());
            actions.len() - 1
        }) as u32
    };
    let v4 = [&own, &ActionImage::None].map(|one| action(&mut subnet.v4.actions, one));
    let v6 = [&own, &ActionImage::None].map(|one| action(&mut subnet.v6.actions, one));
    let (mut routes4, mut routes6) = (subnet.v4.routes.to_vec(), subnet.v6.routes.to_vec());
    for number in 0..MANY_ROUTES {
        // Of all lengths below /13 and /21, some inside others.
        let (length, which) = (14 + number % 19, number as usize % 2);
        let bits = 0x2d00_0000 | number << 11 | number;
        let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), length as u8)?.trunc();
        routes4.push((net, v4[which]));
        let bits = 0x2001_0db8 << 96 | u128::from(number) << 64 | u128::from(number) << 8;
        let net = Ipv6Net::new(Ipv6Addr::from_bits(bits), (number % 108 + 21) as u8)?.trunc();
        routes6.push((net, v6[which]));
    }
    routes4.sort();
    routes4.dedup_by_key(|(net, _)| *net);
    routes6.sort();
    routes6.dedup_by_key(|(net, _)| *net);
    subnet.v4.routes = Arc::new(routes4);
    subnet.v6.routes = Arc::new(routes6);
    Ok(())
}

/// The groups of the bed; `app6` has two, one of its subnet and one of its own.
fn secure(image: &mut Image) -> Result<()> {
    use Access::{Allow, Deny};
    let web_out = vec![
        rule(Deny, Protocol::Tcp, ("*", ANY), ("*", &[(25, 25)]))?,
        rule(Deny, Protocol::Udp, ("10.1.0.40/32", ANY), ("*", ANY))?,
        rule(Deny, Protocol::Esp, ("*", ANY), ("*", ANY))?,
        rule(Allow, Protocol::Icmp, ("*", ANY), ("*", ANY))?,
        rule(
            Allow,
            Protocol::Any,
            ("*", ANY),
            (
                "8.0.0.0/8 10.0.0.0/8 172.16.0.0/12 2001:db8::/32 fd00::/16",
                ANY,
            ),
        )?,
    ];
    let web_in = vec![
        rule(
            Allow,
            Protocol::Tcp,
            ("10.0.0.0/8 fd00:4::/48 8.8.0.0/16", ANY),
            ("*", &[(20, 22), (443, 443), (8_000, 9_000)]),
        )?,
        rule(Allow, Protocol::Udp, ("172.24.0.0/16", ANY), ("*", ANY))?,
        rule(Allow, Protocol::Icmp, ("10.1.0.5/32", ANY), ("*", ANY))?,
    ];
    let db_in = vec![
        rule(Allow, Protocol::Tcp, ("*", ANY), ("*", &[(443, 443)]))?,
        rule(
            Allow,
            Protocol::Udp,
            ("*", &[(1_024, u16::MAX)]),
            ("10.41.0.0/24 fd00:4::/64", &[(0, 0), (53, 53)]),
        )?,
        rule(Allow, Protocol::Ah, ("*", ANY), ("*", ANY))?,
        rule(Allow, Protocol::Icmp, ("10.1.0.0/24", ANY), ("*", ANY))?,
        rule(Allow, Protocol::Any, ("172.16.0.0/12", ANY), ("*", ANY))?,
    ];
    let app_in = vec![
        rule(Deny, Protocol::Any, ("10.1.0.40/32", ANY), ("*", ANY))?,
        rule(Allow, Protocol::Any, ("*", ANY), ("*", ANY))?,
    ];
    let all = vec![rule(Allow, Protocol::Any, ("*", ANY), ("*", ANY))?];
    let mut add = |group: &str, direction, rules: Vec<Rule>| -> Result<RuleSetId> {
        let last = rule(Deny, Protocol::Any, ("*", ANY), ("*", ANY))?;
        let id = RuleSetId {
            group: ResourceId::new(&format!(
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/{group}"
            )),
            direction,
            context: 7,
        };
        let rules = rules.into_iter().chain([last]).map(Arc::new).collect();
        let set = RuleSet {
            id: id.clone(),
            rules,
            flush_connection: false,
        };
        image.rule_sets.insert(id.clone(), Arc::new(set));
        Ok(id)
    };
    let web_out = add("Web", Direction::Outbound, web_out)?;
    let web_in = add("Web", Direction::Inbound, web_in)?;
    let db_out = add("Db", Direction::Outbound, all)?;
    let db_in = add("Db", Direction::Inbound, db_in)?;
    let app_in = add("App", Direction::Inbound, app_in)?;
    let nics: Vec<ResourceId> = image.ports.keys().cloned().collect();
    for nic in nics {
        let Some(port) = image.ports.get_mut(&nic) else {
            continue;
        };
        let (inbound, outbound) = match port.device.as_str() {
            "web1" => (vec![web_in.clone()], vec![web_out.clone()]),
            "db4" => (vec![db_in.clone()], vec![db_out.clone()]),
            "app6" => (vec![db_in.clone(), app_in.clone()], Vec::new()),
            _ => continue,
        };
        port.security = PortSecurity { inbound, outbound };
    }
    Ok(())
}

type Ports<'a> = &'a [(u16, u16)];
const ANY: Ports<'static> = &[(0, u16::MAX)];

/// An end: prefixes divided by spaces, or `*`, and ranges of ports.
fn rule(
    access: Access,
    protocol: Protocol,
    source: (&str, Ports<'_>),
    destination: (&str, Ports<'_>),
) -> Result<Rule> {
    let addresses = |text: &str| -> Result<RuleAddresses> {
        if text == "*" {
            return Ok(RuleAddresses::Any);
        }
        let prefixes: Result<Vec<IpNet>, _> = text.split(' ').map(str::parse).collect();
        Ok(RuleAddresses::Prefixes(prefixes?.into()))
    };
    let ports = |ranges: Ports<'_>| {
        let range = |(first, last): &(u16, u16)| PortRange {
            first: *first,
            last: *last,
        };
        ranges.iter().map(range).collect()
    };
    Ok(Rule {
        name: format!("{access:?}-{protocol:?}-{}", destination.0).into(),
        priority: 100,
        access,
        protocol,
        source: addresses(source.0)?,
        source_ports: ports(source.1),
        destination: addresses(destination.0)?,
        destination_ports: ports(destination.1),
    })
}
