//! A host with workloads, and its data path driven without the daemon.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::{
    Pod,
    maps::{Array, Map, MapData},
};
use ipnet::Ipv4Net;
use vnet_gw::datapath::{Datapath, DownReport, HookChoice, Instance, down};
use vnet_gw_core::{
    compile::{ActionImage, CompileOptions, Image, SubnetImage, TableImage, compile},
    model::{DeployOptions, ResourceId, parse_template},
};
use vnet_gw_lab::{
    Lab, Netns, Workload,
    probe::{Outcome, Ping},
    template::{Nic, Template},
    workload::{Offloads, plug},
};

pub const A: &str = "10.1.0.4";
pub const B: &str = "10.41.0.4";

/// A lab with an instance of its own. Dropping it removes what is pinned.
pub struct Bed {
    pub lab: Lab,
    pub site: Site,
}

/// The host and its data path.
#[derive(Clone)]
pub struct Site {
    pub host: Netns,
    pub instance: Instance,
}

impl Bed {
    pub fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let host = lab.namespace("host")?;
        let instance = Instance::new(&lab.instance("dp")?)?;
        Ok(Self {
            lab,
            site: Site { host, instance },
        })
    }

    pub fn plug(&self, template: &Template, offloads: Offloads) -> Result<Vec<Workload>> {
        plug(&self.lab, &self.site.host, &template.value(), offloads)
    }

    /// Runs in the host's namespace, where the data path's devices are.
    pub fn at_host<T: Send>(&self, work: impl FnOnce(&Site) -> Result<T> + Send) -> Result<T> {
        let site = &self.site;
        site.host.enter(move || work(site))?
    }
}

impl Site {
    pub fn open(&self, hook: HookChoice) -> Result<Datapath> {
        Ok(Datapath::open(&self.instance, hook)?)
    }

    pub fn down(&self) -> Result<DownReport> {
        Ok(down(&self.instance)?)
    }

    pub fn pin(&self, name: &str) -> PathBuf {
        self.instance.pins().join(name)
    }

    /// A flat array of the instance, to look at and to damage.
    pub fn array<V: Pod>(&self, name: &str) -> Result<Array<MapData, V>> {
        let map = MapData::from_pin(self.pin(name)).with_context(|| format!("opening {name}"))?;
        Ok(Array::try_from(Map::Array(map))?)
    }
}

/// Two peered VNets with a NIC each, of both families.
pub fn two_vnets() -> Template {
    let mut template = Template::new();
    template
        .vnet("VNet1", "eastus", &["10.1.0.0/16", "fd00:1::/48"])
        .vnet("VNet4", "eastus", &["10.41.0.0/16", "fd00:41::/48"])
        .subnet("VNet1", "FrontEnd", &["10.1.0.0/24", "fd00:1::/64"], None)
        .subnet("VNet4", "FrontEnd", &["10.41.0.0/24", "fd00:41::/64"], None)
        .peer("VNet1", "VNet4")
        .nic(&nic("a", "VNet1/FrontEnd", &[A, "fd00:1::4"], "dpa"))
        .nic(&nic("b", "VNet4/FrontEnd", &[B, "fd00:41::4"], "dpb"));
    template
}

pub fn nic<'a>(
    name: &'a str,
    subnet: &'a str,
    addresses: &'a [&'a str],
    device: &'a str,
) -> Nic<'a> {
    Nic {
        name,
        subnet,
        addresses,
        device,
        forwarding: false,
    }
}

pub fn image(template: &Template) -> Result<Arc<Image>> {
    image_after(template, None)
}

/// As the daemon makes them: what did not change is shared with the image before.
pub fn image_after(template: &Template, before: Option<&Image>) -> Result<Arc<Image>> {
    let topology = parse_template(&template.value().to_string(), &DeployOptions::default())
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(Arc::new(compile(
        &topology,
        &CompileOptions::default(),
        before,
    )?))
}

pub fn subnet_of(image: &Image, vnet: &str) -> Result<ResourceId> {
    let found = image
        .subnets
        .keys()
        .find(|id| id.as_str().contains(&format!("/{vnet}/")));
    found
        .cloned()
        .with_context(|| format!("the image has no subnet of {vnet}"))
}

/// The image with other IPv4 routes in a subnet of `vnet`.
pub fn with_routes(
    image: &Image,
    vnet: &str,
    change: impl FnOnce(&TableImage<Ipv4Net>) -> TableImage<Ipv4Net>,
) -> Result<Arc<Image>> {
    let id = subnet_of(image, vnet)?;
    let mut image = image.clone();
    let subnet = image.subnets.get(&id).context("no such subnet")?;
    let changed = SubnetImage {
        v4: change(&subnet.v4),
        ..SubnetImage::clone(subnet)
    };
    image.subnets.insert(id, Arc::new(changed));
    Ok(Arc::new(image))
}

/// `count` different prefixes with 20 next hops, in order; none of them covers the workloads.
pub fn many_routes(count: usize) -> Vec<(Ipv4Net, u32)> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut routes = std::collections::BTreeMap::new();
    while routes.len() < count {
        let bits = random();
        // As in the Internet's tables: mostly /24 and shorter, few longer.
        let length = match bits % 100 {
            0..60 => 24,
            60..95 => 16 + (bits >> 8 & 7) as u8,
            _ => 25 + (bits >> 8 & 7) as u8,
        };
        let address = Ipv4Addr::from_bits((bits >> 32) as u32 | 0x2000_0000);
        if let Ok(net) = Ipv4Net::new(address, length) {
            routes.insert(net.trunc(), (bits >> 16) as u32 % 20);
        }
    }
    routes.into_iter().collect()
}

/// Twenty appliances that do not exist.
pub fn many_actions() -> Vec<ActionImage> {
    (0..20u8)
        .map(|i| ActionImage::Appliance {
            vnet: None,
            address: IpAddr::V4(Ipv4Addr::new(10, 1, 9, i)),
            peered: false,
            accepts_forwarded: false,
        })
        .collect()
}

/// The table and, as far as their prefixes are free, these routes besides.
pub fn joined(
    table: &TableImage<Ipv4Net>,
    actions: Vec<ActionImage>,
    routes: Vec<(Ipv4Net, u32)>,
) -> TableImage<Ipv4Net> {
    let first = table.actions.len() as u32;
    let mut all: std::collections::BTreeMap<Ipv4Net, u32> = routes
        .into_iter()
        .map(|(net, action)| (net, action + first))
        .collect();
    all.extend(table.routes.iter().copied());
    TableImage {
        actions: table.actions.iter().cloned().chain(actions).collect(),
        routes: Arc::new(all.into_iter().collect()),
    }
}

pub fn reaches(from: &Workload, to: &str) -> Result<bool> {
    let mut ping = Ping::new(to.parse()?);
    ping.patience = Duration::from_secs(2);
    Ok(matches!(ping.send(&from.netns)?, Outcome::Reply { .. }))
}

#[track_caller]
pub fn workload<'a>(all: &'a [Workload], name: &str) -> &'a Workload {
    all.iter()
        .find(|workload| workload.name == name)
        .expect("a workload of that name")
}

pub fn ensure_empty(lines: &[String]) -> Result<()> {
    ensure!(lines.is_empty(), "unexpected: {}", lines.join("; "));
    Ok(())
}
