//! Large tables, and many of them. The bounds are far above what an idle machine needs, and builds
//! without optimisation get more time: what they catch is work done for each route that need not be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use vnet_gw::datapath::{HookChoice, TableForm};
use vnet_gw_core::{
    compile::{ActionImage, Image, PortImage, SubnetImage},
    model::ResourceId,
};

use crate::bed::{
    Bed, image, joined, many_actions, many_routes, subnet_of, two_vnets, with_routes,
};

fn bound(milliseconds: u64) -> Duration {
    Duration::from_millis(if cfg!(debug_assertions) {
        milliseconds * 12
    } else {
        milliseconds
    })
}

fn loads(count: usize, first_bound: Duration) -> Result<()> {
    let bed = Bed::new()?;
    let small = image(&two_vnets())?;
    let large = with_routes(&small, "VNet1", |table| {
        joined(table, many_actions(), many_routes(count))
    })?;
    let peering = "10.77.0.0/16".parse()?;
    let peered = with_routes(&large, "VNet1", |table| {
        joined(table, many_actions()[..1].to_vec(), vec![(peering, 0)])
    })?;
    bed.at_host(|site| {
        let subnet = subnet_of(&large, "VNet1")?;
        let mut datapath = site.open(HookChoice::Auto)?;
        datapath.apply(small.clone())?;
        let start = Instant::now();
        datapath.apply(large.clone())?;
        let took = start.elapsed();
        println!("{count} routes: {took:?}");
        ensure!(took < first_bound, "{count} routes took {took:?}");

        for (what, next) in [("one more", &peered), ("one less", &large)] {
            let start = Instant::now();
            let report = datapath.apply(next.clone())?;
            let took = start.elapsed();
            println!("{what} on top of {count}: {took:?}");
            ensure!(
                report.tables_edited == 1 && report.routes_changed == 1,
                "{report:?}"
            );
            ensure!(took < bound(150), "{what}: {took:?}");
        }
        let start = Instant::now();
        let drift = datapath.reconcile()?;
        println!("reconcile: {:?}", start.elapsed());
        ensure!(drift.is_empty(), "{drift:?}");
        let tables = datapath.stats().tables;
        let table = tables.iter().find(|t| t.subnet == subnet && t.family == 4);
        let table = table.expect("the table");
        ensure!(
            table.form == TableForm::Directory && table.routes > count,
            "{table:?}"
        );
        println!("{} + {} bytes", table.table_bytes, table.counter_bytes);
        ensure!(table.table_bytes < 150_000_000, "{table:?}");
        drop(datapath);

        let start = Instant::now();
        let mut datapath = site.open(HookChoice::Auto)?;
        let report = datapath.apply(large.clone())?;
        println!("adopted: {:?}", start.elapsed());
        ensure!(report.tables_rebuilt == 0, "{report:?}");
        let report = datapath.apply(peered.clone())?;
        ensure!(report.tables_edited == 1, "after a restart: {report:?}");
        let drift = datapath.reconcile()?;
        ensure!(drift.is_empty(), "{drift:?}");
        Ok(())
    })
}

#[test]
fn a_hundred_thousand_routes() -> Result<()> {
    loads(100_000, bound(500))
}

#[test]
fn a_million_routes() -> Result<()> {
    loads(1_000_000, bound(3_000))
}

/// A thousand subnets of 50 routes, more than a process may have open files for.
#[test]
fn a_thousand_tables() -> Result<()> {
    const TABLES: usize = 1_000;
    let bed = Bed::new()?;
    let base = image(&two_vnets())?;
    let subnet = base.subnets[&subnet_of(&base, "VNet1")?].clone();
    let v4 = joined(&subnet.v4, many_actions(), many_routes(40));
    let mut image = Image::default();
    for i in 0..TABLES {
        let id = ResourceId::new(&format!("/vnets/VNet1/subnets/{i}"));
        let (a, b) = (i as u8, (i >> 8) as u8);
        let port = PortImage {
            device: format!("none{i}"),
            mac: [2, 0, 0, 0, b, a],
            vnet: subnet.vnet.clone(),
            subnet: id.clone(),
            addresses: vec![[10, 1, b, a].into()],
            ip_forwarding: false,
            gateway: false,
            security: Default::default(),
            flow_timeout: 4,
        };
        image
            .ports
            .insert(ResourceId::new(&format!("/nics/{i}")), port.into());
        image.subnets.insert(
            id,
            Arc::new(SubnetImage {
                v4: v4.clone(),
                ..(*subnet).clone()
            }),
        );
    }
    let mut peered = image.clone();
    for (id, subnet) in &image.subnets {
        let peering = ActionImage::Peering {
            vnet: subnet.vnet.clone(),
            accepts_forwarded: true,
        };
        let v4 = joined(
            &subnet.v4,
            vec![peering],
            vec![("10.77.0.0/16".parse()?, 0)],
        );
        let changed = SubnetImage {
            v4,
            ..(**subnet).clone()
        };
        peered.subnets.insert(id.clone(), Arc::new(changed));
    }
    let (image, peered) = (Arc::new(image), Arc::new(peered));
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        for (what, next) in [("made", &image), ("changed", &peered)] {
            let start = Instant::now();
            let report = datapath.apply(next.clone())?;
            println!("{TABLES} tables {what}: {:?}", start.elapsed());
            ensure!(report.subnets_changed == TABLES, "{report:?}");
            ensure!(
                start.elapsed() < bound(3_000),
                "{what}: {:?}",
                start.elapsed()
            );
        }
        let bytes: u64 = datapath
            .stats()
            .tables
            .iter()
            .map(|t| t.table_bytes + t.counter_bytes)
            .sum();
        println!("{bytes} bytes");
        ensure!(bytes < 20_000_000, "{bytes} bytes for {TABLES} tables");
        drop(datapath);
        let mut datapath = site.open(HookChoice::Auto)?;
        let report = datapath.apply(peered.clone())?;
        ensure!(report.tables_rebuilt == 0, "{report:?}");
        let drift = datapath.reconcile()?;
        ensure!(drift.is_empty(), "{drift:?}");
        let start = Instant::now();
        datapath.apply(Arc::new(Image::default()))?;
        println!("{TABLES} tables removed: {:?}", start.elapsed());
        ensure!(
            start.elapsed() < bound(5_000),
            "removed: {:?}",
            start.elapsed()
        );
        ensure!(datapath.reconcile()?.is_empty());
        Ok(())
    })
}
