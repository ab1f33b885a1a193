//! How long route tables take to get into the kernel, and what they weigh there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use vnet_gw::datapath::{Datapath, HookChoice, Instance};
use vnet_gw_core::{
    compile::{CompileOptions, Image, compile},
    model::{
        IpConfiguration, NetworkInterface, PeeringState, PeeringSyncLevel, ResourceId, Route,
        RouteNextHop, RouteTable, Shared, Subnet, Topology, VirtualNetwork, VirtualNetworkPeering,
    },
};
use vnet_gw_lab::{Lab, Netns};
use vnet_gw_tests::report::Report;

use crate::{Options, routes};

const SIZES: [(usize, &str); 2] = [(100_000, "100k"), (1_000_000, "1m")];
/// The small tables: how many, and routes in each.
const TABLES: usize = 1_000;
const SMALL: usize = 50;
/// The data path's own name in reports.
const OURS: &str = "vnet-gw";

pub(crate) fn run(lab: &Lab, options: &Options, report: &mut Report) -> Result<()> {
    let netns = lab.namespace("load")?;
    for (count, name) in SIZES {
        let prefixes = routes::random_prefixes(count);
        let table = Arc::new(route_table("big", &prefixes));
        let before = topology(&table, 1, false);
        let after = topology(&table, 1, true);
        for round in 0..options.load_rounds() {
            options.progress(&format!("loading {count} routes, round {}", round + 1));
            let instance = Instance::new(&lab.instance(&format!("{name}-{round}"))?)?;
            let result = netns.enter(|| load(&instance, [&before, &after], count));
            let down = netns.enter(|| vnet_gw::datapath::down(&instance))?;
            let loaded = result??;
            down.with_context(|| format!("taking {} down", instance.name))?;
            report.add(&format!("load_{name}"), OURS, "ms", loaded.first);
            report.add(&format!("peering_on_{name}"), OURS, "ms", loaded.peering);
            if round == 0 {
                report.add(&format!("memory_{name}"), OURS, "MB", loaded.tables);
                report.add(
                    &format!("memory_{name}_counters"),
                    OURS,
                    "MB",
                    loaded.counters,
                );
            }
        }
    }
    many_tables(lab, &netns, options, report)
}

struct Loaded {
    /// Milliseconds.
    first: f64,
    peering: f64,
    /// Megabytes (10^6 bytes).
    tables: f64,
    counters: f64,
}

/// From a topology to what every packet sees, twice: the whole, then one more peering. (What was
/// replaced is freed after that.)
fn load(instance: &Instance, steps: [&Topology; 2], routes: usize) -> Result<Loaded> {
    let mut datapath = Datapath::open(instance, HookChoice::Xdp)?;
    let mut previous: Option<Arc<Image>> = None;
    let mut times = [0.0; 2];
    for (topology, time) in steps.into_iter().zip(&mut times) {
        let begin = Instant::now();
        let image = Arc::new(compile(
            topology,
            &CompileOptions::default(),
            previous.as_deref(),
        )?);
        let compiled = begin.elapsed();
        let report = datapath.apply(image.clone())?;
        *time = (compiled + report.in_force).as_secs_f64() * 1e3;
        previous = Some(image);
    }
    let stats = datapath.stats();
    let in_kernel = stats
        .tables
        .iter()
        .map(|table| table.routes)
        .max()
        .unwrap_or(0);
    ensure!(
        in_kernel > routes,
        "{in_kernel} routes in the kernel of {routes} and more"
    );
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok(Loaded {
        first: times[0],
        peering: times[1],
        tables: megabytes(stats.tables.iter().map(|table| table.table_bytes).sum()),
        counters: megabytes(stats.tables.iter().map(|table| table.counter_bytes).sum()),
    })
}

/// What many small tables weigh.
fn many_tables(lab: &Lab, netns: &Netns, options: &Options, report: &mut Report) -> Result<()> {
    options.progress(&format!("loading {TABLES} tables of {SMALL} routes"));
    // The VNet itself, the reserved prefixes, the Internet and the peering are the rest.
    let base = compile(
        &topology(&Arc::new(route_table("none", &[])), 1, false),
        &CompileOptions::default(),
        None,
    )?;
    let there = base
        .subnets
        .values()
        .map(|subnet| subnet.v4.routes.len())
        .max()
        .unwrap_or(0);
    let prefixes = routes::random_prefixes(SMALL - there);
    let topology = topology(&Arc::new(route_table("small", &prefixes)), TABLES, false);
    let instance = Instance::new(&lab.instance("tables")?)?;
    let result = netns.enter(|| -> Result<_> {
        let mut datapath = Datapath::open(&instance, HookChoice::Xdp)?;
        let begin = Instant::now();
        let image = compile(&topology, &CompileOptions::default(), None)?;
        datapath.apply(Arc::new(image))?;
        let elapsed = begin.elapsed();
        Ok((datapath.stats(), elapsed))
    });
    let down = netns.enter(|| vnet_gw::datapath::down(&instance))?;
    let (stats, elapsed) = result??;
    down.with_context(|| format!("taking {} down", instance.name))?;
    let full = stats
        .tables
        .iter()
        .filter(|table| table.routes == SMALL)
        .count();
    ensure!(
        full == TABLES,
        "{full} tables with {SMALL} routes, not {TABLES}"
    );
    let tables: u64 = stats.tables.iter().map(|table| table.table_bytes).sum();
    let counters: u64 = stats.tables.iter().map(|table| table.counter_bytes).sum();
    report.add("load_1k_tables", OURS, "ms", elapsed.as_secs_f64() * 1e3);
    report.add("memory_1k_tables", OURS, "MB", tables as f64 / 1e6);
    report.add(
        "memory_1k_tables_counters",
        OURS,
        "MB",
        counters as f64 / 1e6,
    );
    Ok(())
}

fn id(path: &str) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/bench/resourceGroups/bench/providers/Microsoft.Network/{path}"
    ))
}

/// User routes, all to one appliance of VNet1.
fn route_table(name: &str, prefixes: &[Ipv4Net]) -> RouteTable {
    let route = |(i, prefix): (usize, &Ipv4Net)| Route {
        name: format!("r{i}").into(),
        address_prefix: IpNet::V4(*prefix),
        next_hop: RouteNextHop::VirtualAppliance(IpAddr::V4(APPLIANCE)),
    };
    RouteTable {
        id: id(&format!("routeTables/{name}")),
        disable_bgp_route_propagation: false,
        routes: prefixes.iter().enumerate().map(route).collect(),
        tags: BTreeMap::new(),
    }
}

const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 4);

/// VNet1 with `subnets` subnets, a NIC in each and `table` on all of them, peered with VNet4 and, if
/// so asked, with VNet5.
fn topology(table: &Arc<RouteTable>, subnets: usize, more: bool) -> Topology {
    let mut topology = Topology::default();
    topology
        .route_tables
        .insert(table.id.clone(), table.clone());
    let mut vnets: Vec<_> = [("VNet1", 1), ("VNet4", 41), ("VNet5", 51)]
        .into_iter()
        .map(|(name, second)| {
            vnet(
                name,
                Ipv4Net::new_assert(Ipv4Addr::new(10, second, 0, 0), 16),
            )
        })
        .collect();
    let mut pairs = vec![(0, 1)];
    if more {
        pairs.push((0, 2));
    }
    for (a, b) in pairs {
        for (from, to) in [(a, b), (b, a)] {
            let peering = peering(&vnets[from], &vnets[to]);
            vnets[from].peerings.insert(peering.id.clone(), peering);
        }
    }
    for i in 0..subnets {
        // 10.1.0.0/26, 10.1.0.64/26, …
        let base = u32::from(Ipv4Addr::new(10, 1, 0, 0)) + (i as u32) * 64;
        let net = Ipv4Net::new_assert(base.into(), 26);
        let subnet = Subnet {
            id: ResourceId::new(&format!("{}/subnets/s{i}", vnets[0].id)),
            address_prefixes: vec![IpNet::V4(net)],
            route_table: Some(table.id.clone()),
            network_security_group: None,
        };
        let nic = NetworkInterface {
            id: id(&format!("networkInterfaces/n{i}")),
            mac_address: [0x02, 1, 0, 0, (i >> 8) as u8, i as u8],
            enable_ip_forwarding: i == 0,
            network_security_group: None,
            application_security_groups: Vec::new(),
            ip_configurations: vec![IpConfiguration {
                name: "primary".to_owned(),
                subnet: subnet.id.clone(),
                private_ip_address: IpAddr::V4((base + 4).into()),
                primary: true,
            }],
            // Not there: what is measured is the tables.
            device: Some(format!("bench{i}")),
            host: None,
            tags: BTreeMap::new(),
        };
        vnets[0].subnets.insert(subnet.id.clone(), subnet);
        topology
            .network_interfaces
            .insert(nic.id.clone(), nic.into());
    }
    topology.virtual_networks = vnets
        .into_iter()
        .map(|vnet| (vnet.id.clone(), Shared::from(vnet)))
        .collect();
    topology
}

pub(crate) fn vnet(name: &str, space: Ipv4Net) -> VirtualNetwork {
    VirtualNetwork {
        id: id(&format!("virtualNetworks/{name}")),
        location: "westeurope".to_owned(),
        address_space: vec![space.into()],
        dns_servers: Vec::new(),
        flow_timeout: VirtualNetwork::FLOW_TIMEOUT,
        subnets: BTreeMap::new(),
        peerings: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

pub(crate) fn peering(from: &VirtualNetwork, to: &VirtualNetwork) -> VirtualNetworkPeering {
    VirtualNetworkPeering {
        id: ResourceId::new(&format!(
            "{}/virtualNetworkPeerings/to-{}",
            from.id,
            to.id.name()
        )),
        remote_virtual_network: to.id.clone(),
        allow_virtual_network_access: true,
        allow_forwarded_traffic: false,
        allow_gateway_transit: false,
        use_remote_gateways: false,
        subnets: None,
        peering_state: PeeringState::Connected,
        peering_sync_level: PeeringSyncLevel::FullyInSync,
        remote_address_space: to.address_space.clone(),
    }
}
