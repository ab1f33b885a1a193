//! Whatever somebody else does to the maps is found, said and mended.

use std::fs;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, xdp::DevMap};
use vnet_gw::datapath::{Drift, HookChoice};
use vnet_gw_common::{
    maps,
    port::{Port, Settings, Subnet},
    table::{Action, ActionKind, Header, SmallTable4},
};
use vnet_gw_lab::workload::Offloads;

use crate::bed::{
    B, Bed, Site, image, joined, many_actions, many_routes, reaches, subnet_of, two_vnets,
    with_routes, workload,
};

/// One way to damage the instance, and what the reconcile must say of it.
type Damage = (&'static str, fn(&Site) -> Result<()>);

fn port_of(site: &Site, present: bool) -> Result<(u32, Port)> {
    let ports = site.array::<Port>(maps::PORTS)?;
    for id in 1..ports.len() {
        let port = ports.get(&id, 0)?;
        if (port.nic_hash != 0) == present {
            return Ok((id, port));
        }
    }
    anyhow::bail!("no such port")
}

fn inner<V: aya::Pod>(site: &Site, outer: &str, key: u32) -> Result<Array<MapData, V>> {
    let map = MapData::from_pin(site.pin(outer))?;
    let outer: ArrayOfMaps<_, MapData> = ArrayOfMaps::try_from(Map::ArrayOfMaps(map))?;
    Ok(Array::try_from(Map::Array(outer.get(&key, 0)?))?)
}

fn table_id(site: &Site) -> Result<u32> {
    let subnets = site.array::<Subnet>(maps::SUBNETS)?;
    let found = (1..subnets.len()).find(|id| subnets.get(id, 0).is_ok_and(|s| s.scope != 0));
    found.context("no table in use")
}

const DAMAGES: &[Damage] = &[
    ("port entry", |site| {
        let (id, port) = port_of(site, true)?;
        Ok(site
            .array(maps::PORTS)?
            .set(id, Port { mac: 1, ..port }, 0)?)
    }),
    ("port entry", |site| {
        let (id, _) = port_of(site, true)?;
        Ok(site.array(maps::PORTS)?.set(id, Port::default(), 0)?)
    }),
    ("belonged to nothing", |site| {
        let (id, port) = port_of(site, false)?;
        Ok(site.array(maps::PORTS)?.set(
            id,
            Port {
                nic_hash: 77,
                ..port
            },
            0,
        )?)
    }),
    ("port of interface", |site| {
        let (_, port) = port_of(site, true)?;
        Ok(site
            .array::<u32>(maps::PORT_BY_IF)?
            .set(port.ifindex, 0, 0)?)
    }),
    ("port of interface", |site| {
        let map = MapData::from_pin(site.pin(maps::PORT_BY_IF_FAR))?;
        let mut far: HashMap<_, u32, u32> = HashMap::try_from(Map::HashMap(map))?;
        Ok(far.insert(70_000, 1, 0)?)
    }),
    ("redirect entry", |site| {
        let (id, port) = port_of(site, true)?;
        let map = MapData::from_pin(site.pin(maps::DEVICES))?;
        let mut devices = DevMap::try_from(Map::DevMap(map))?;
        Ok(devices.set(id + 7, port.ifindex, None, 0)?)
    }),
    ("subnet entry", |site| {
        let (id, mut subnets) = (table_id(site)?, site.array::<Subnet>(maps::SUBNETS)?);
        let subnet = subnets.get(&id, 0)?;
        Ok(subnets.set(
            id,
            Subnet {
                gateway4: 1,
                ..subnet
            },
            0,
        )?)
    }),
    ("VNet number", |site| {
        Ok(site.array::<u64>(maps::SCOPES)?.set(1, 5, 0)?)
    }),
    ("settings", |site| {
        let mut settings = site.array::<Settings>(maps::SETTINGS)?;
        let now = settings.get(&0, 0)?;
        Ok(settings.set(
            0,
            Settings {
                icmp_burst: 0,
                ..now
            },
            0,
        )?)
    }),
    ("another table was in force", |site| {
        let mut settings = site.array::<Settings>(maps::SETTINGS)?;
        let now = settings.get(&0, 0)?;
        Ok(settings.set(
            0,
            Settings {
                endpoints4: now.endpoints4 ^ 1,
                ..now
            },
            0,
        )?)
    }),
    ("its content differed", |site| {
        let mut table: Array<_, SmallTable4> = inner(site, maps::SMALL4, table_id(site)?)?;
        let mut small = table.get(&0, 0)?;
        small.actions[1] = Action::new(ActionKind::None, 0, 0).0;
        Ok(table.set(0, small, 0)?)
    }),
    ("its content differed", |site| {
        // The table of another subnet in its place; the kernel frees its own with that.
        let id = table_id(site)?;
        let other = inner::<SmallTable4>(site, maps::SMALL4, id + 1)?;
        let map = MapData::from_pin(site.pin(maps::SMALL4))?;
        let mut outer: ArrayOfMaps<_, Array<MapData, SmallTable4>> =
            ArrayOfMaps::try_from(Map::ArrayOfMaps(map))?;
        Ok(outer.set(id, &other, 0)?)
    }),
    ("belonged to no subnet", |site| {
        let id = table_id(site)?;
        let table = inner::<SmallTable4>(site, maps::SMALL4, id)?;
        let map = MapData::from_pin(site.pin(maps::SMALL4))?;
        let mut outer: ArrayOfMaps<_, Array<MapData, SmallTable4>> =
            ArrayOfMaps::try_from(Map::ArrayOfMaps(map))?;
        Ok(outer.set(4_000, &table, 0)?)
    }),
    ("in the list of its counters", |site| {
        let counters: Array<_, vnet_gw_common::Counter> =
            inner(site, maps::COUNTERS4, table_id(site)?)?;
        let mut counters = counters;
        let last = counters.len() - 1;
        let strange = vnet_gw_common::Counter {
            packets: 0x0a00_0000_0000_0009,
            bytes: 0,
        };
        Ok(counters.set(last, strange, 0)?)
    }),
    ("the program had gone", |site| {
        let link = fs::read_dir(site.pin("links"))?
            .next()
            .context("no link")??;
        Ok(fs::remove_file(link.path())?)
    }),
    ("belonged to no port", |site| {
        let program = aya::programs::SchedClassifier::from_pin(program_pin(site)?)?;
        let mut program = program;
        let id = program.attach("lo", aya::programs::TcAttachType::Ingress)?;
        let link: aya::programs::links::FdLink = program.take_link(id)?.try_into()?;
        link.pin(site.pin("links").join("tcx-1"))?;
        Ok(())
    }),
    ("is of another version", |site| {
        let mut program = aya::programs::SchedClassifier::from_pin(program_pin(site)?)?;
        let strange = site.pin("programs").join("0123");
        fs::create_dir(&strange)?;
        Ok(program.pin(strange.join("vnet_gw_tc"))?)
    }),
];

fn program_pin(site: &Site) -> Result<std::path::PathBuf> {
    let programs = fs::read_dir(site.pin("programs"))?
        .next()
        .context("no programs")??;
    Ok(programs.path().join(maps::PROG_TC))
}

#[test]
fn every_damage_is_found_and_mended() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let a = workload(&workloads, "a");
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        datapath.apply(image(&template)?)?;
        let mut mended = 0;
        for (expected, damage) in DAMAGES {
            damage(site).with_context(|| format!("damaging: {expected}"))?;
            let drift = datapath.reconcile()?;
            ensure!(drift.failed.is_empty(), "{expected}: {drift:?}");
            let said = drift.differences.iter().chain(&drift.orphans);
            let one = said.clone().filter(|line| line.contains(expected)).count() == 1;
            ensure!(one && drift.found() == 1, "{expected}: {drift:?}");
            let again = datapath.reconcile()?;
            ensure!(again == Drift::default(), "{expected}, again: {again:?}");
            ensure!(reaches(a, B)?, "{expected}: no reply after it was mended");
            mended += 1;
        }
        let stats = datapath.stats();
        ensure!(
            (stats.drift_found, stats.drift_mended) == (mended, mended),
            "{stats:?}"
        );
        Ok(())
    })
}

#[test]
fn a_damaged_directory_is_built_anew() -> Result<()> {
    let bed = Bed::new()?;
    let image = with_routes(&*image(&two_vnets())?, "VNet1", |table| {
        joined(table, many_actions(), many_routes(2_000))
    })?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        datapath.apply(image.clone())?;
        let subnets = site.array::<Subnet>(maps::SUBNETS)?;
        let hash = subnet_of(&image, "VNet1")?.stable_hash();
        let id = (1..subnets.len())
            .find(|id| {
                subnets
                    .get(id, 0)
                    .is_ok_and(|subnet| subnet.subnet_hash == hash)
            })
            .context("no such subnet in the kernel")?;
        let mut blocks: Array<_, vnet_gw_common::table::Block> = inner(site, maps::BIG4, id)?;
        let root_at = blocks.get(&0, 0)?.0[Header::ROOT_AT];
        let mut root = blocks.get(&(root_at + 10), 0)?;
        root.0[1] ^= 1;
        blocks.set(root_at + 10, root, 0)?;
        let drift = datapath.reconcile()?;
        ensure!(
            drift.differences.len() == 1 && drift.failed.is_empty(),
            "{drift:?}"
        );
        ensure!(datapath.reconcile()?.is_empty());
        Ok(())
    })
}
