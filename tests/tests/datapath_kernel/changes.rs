//! Changes while packets flow: none of another flow is lost, and counts go on.

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use ipnet::Ipv4Net;
use vnet_gw::datapath::{Counters, Datapath, HookChoice, TableForm};
use vnet_gw_core::{
    compile::{Image, TableImage},
    model::ResourceId,
};
use vnet_gw_lab::{Workload, probe::Flow, template::Template, workload::Offloads};

use crate::bed::{
    B, Bed, image, image_after, joined, many_actions, many_routes, nic, reaches, subnet_of,
    two_vnets, with_routes, workload,
};

const PER_SECOND: u32 = 3_000;

fn peering_packets(counters: &Counters, subnet: &ResourceId) -> u64 {
    let routes = &counters.subnets[subnet].v4;
    let found = routes
        .iter()
        .find(|(net, _)| net.to_string() == "10.41.0.0/16");
    found.map_or(0, |(_, counter)| counter.packets)
}

/// Runs `work` while a flow goes from `a` to `b`, of which no datagram may be lost and each must
/// be counted.
fn under_traffic(
    workloads: &[Workload],
    subnet: &ResourceId,
    datapath: &mut Datapath,
    work: impl FnOnce(&mut Datapath) -> Result<()>,
) -> Result<()> {
    let before = peering_packets(&datapath.counters()?, subnet);
    let (a, b) = (workload(workloads, "a"), workload(workloads, "b"));
    let flow = Flow::start(&a.netns, &b.netns, B.parse()?, PER_SECOND)?;
    sleep(Duration::from_millis(100));
    let done = work(datapath);
    sleep(Duration::from_millis(100));
    let report = flow.finish()?;
    done?;
    ensure!(report.is_whole(), "{report}");
    let counted = peering_packets(&datapath.counters()?, subnet) - before;
    // Neighbour probes of the kernel may add a few.
    ensure!(
        (report.sent..report.sent + 50).contains(&counted),
        "{counted} counted: {report}"
    );
    Ok(())
}

fn form(datapath: &Datapath, subnet: &ResourceId) -> TableForm {
    let tables = datapath.stats().tables;
    let found = tables
        .iter()
        .find(|table| table.subnet == *subnet && table.family == 4);
    found.map_or(TableForm::Empty, |table| table.form)
}

fn base(image: &Image, subnet: &ResourceId) -> TableImage<Ipv4Net> {
    image.subnets[subnet].v4.clone()
}

/// Prefixes side by side, which make few intervals.
fn neighbours(count: usize) -> Vec<(Ipv4Net, u32)> {
    let net = |i: u32| Ipv4Net::new_assert((0x2000_0000 | i << 8).into(), 24);
    (0..count as u32).map(|i| (net(i), i % 20)).collect()
}

#[test]
fn peerings_and_nics_come_and_go() -> Result<()> {
    let bed = Bed::new()?;
    let mut template = two_vnets();
    template.vnet("VNet9", "eastus", &["10.9.0.0/16"]).subnet(
        "VNet9",
        "FrontEnd",
        &["10.9.0.0/24"],
        None,
    );
    let mut with_nic: Template = template.clone();
    with_nic.nic(&nic("c", "VNet9/FrontEnd", &["10.9.0.4"], "dpc"));
    let workloads = bed.plug(&with_nic, Offloads::Default)?;
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        if hook == HookChoice::Xdp {
            for workload in &workloads {
                workload.netns.ethtool("-K eth0 tx off gro on")?;
            }
        }
        let (template, with_nic, workloads) = (&template, &with_nic, &workloads);
        bed.at_host(move |site| {
            let mut datapath = site.open(hook)?;
            let mut now = image(template)?;
            datapath.apply(now.clone())?;
            let subnet = subnet_of(&now, "VNet1")?;
            under_traffic(workloads, &subnet, &mut datapath, |datapath| {
                for round in 0..6 {
                    let mut next = if round % 2 == 0 {
                        with_nic.clone()
                    } else {
                        template.clone()
                    };
                    if round % 3 != 1 {
                        next.peer("VNet1", "VNet9").peer("VNet4", "VNet9");
                    }
                    now = image_after(&next, Some(&now))?;
                    let report = datapath.apply(now.clone())?;
                    ensure!(report.subnets_changed > 0, "round {round}: {report:?}");
                    let drift = datapath.reconcile()?;
                    ensure!(drift.found() == 0, "round {round}: {drift:?}");
                }
                Ok(())
            })?;
            // Without whoever holds it, and with somebody new.
            let image = now.clone();
            under_traffic(workloads, &subnet, &mut datapath, |datapath| {
                datapath.apply(image).map(drop).map_err(Into::into)
            })?;
            drop(datapath);
            let (a, b) = (workload(workloads, "a"), workload(workloads, "b"));
            let flow = Flow::start(&a.netns, &b.netns, B.parse()?, PER_SECOND)?;
            let mut datapath = site.open(hook)?;
            datapath.apply(now)?;
            let report = flow.finish()?;
            ensure!(report.is_whole(), "{report}");
            drop(datapath);
            site.down()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Every form and size of a table, one after the other; each change builds it anew, edits it, or
/// moves it to another table id because its counters grow.
#[test]
fn a_table_grows_and_shrinks() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        let first = image(&template)?;
        datapath.apply(first.clone())?;
        let subnet = subnet_of(&first, "VNet1")?;
        let table = base(&first, &subnet);
        let sizes: [(usize, TableForm); 9] = [
            (0, TableForm::Small),
            (30, TableForm::Small),
            // More than 63 numbers: other counters, another table id.
            (90, TableForm::Small),
            (1_000, TableForm::Directory),
            (1_020, TableForm::Directory),
            (20_000, TableForm::Directory),
            (19_000, TableForm::Directory),
            (10, TableForm::Small),
            (0, TableForm::Small),
        ];
        let mut edited = 0;
        under_traffic(&workloads, &subnet, &mut datapath, |datapath| {
            for (size, expected) in sizes {
                let next = with_routes(&first, "VNet1", |_| {
                    let routes = if size < 100 {
                        neighbours(size)
                    } else {
                        many_routes(size)
                    };
                    joined(&table, many_actions(), routes)
                })?;
                let report = datapath.apply(next)?;
                edited += report.tables_edited;
                let now = form(datapath, &subnet);
                ensure!(now == expected, "{size} routes: {now:?}, {report:?}");
                let drift = datapath.reconcile()?;
                ensure!(drift.is_empty(), "{size} routes: {drift:?}");
            }
            Ok(())
        })?;
        ensure!(edited >= 1, "no table was edited in place");
        ensure!(datapath.stats().tables.len() == 4);
        Ok(())
    })
}

#[test]
fn an_image_that_does_not_fit_changes_nothing() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        let fine = image(&template)?;
        datapath.apply(fine.clone())?;
        let subnet = subnet_of(&fine, "VNet1")?;
        let bad = with_routes(&fine, "VNet1", |table| {
            let mut routes = (*table.routes).clone();
            routes.reverse();
            TableImage {
                actions: table.actions.clone(),
                routes: routes.into(),
            }
        })?;
        under_traffic(&workloads, &subnet, &mut datapath, |datapath| {
            let error = datapath.apply(bad).expect_err("routes out of order");
            ensure!(error.to_string().contains("FrontEnd"), "{error}");
            let drift = datapath.reconcile()?;
            ensure!(drift.is_empty(), "{drift:?}");
            Ok(())
        })
    })
}

/// A start of another build loads its programs beside the old ones and swaps them in the links.
#[test]
fn another_build_takes_over() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::ForXdp)?;
    let (a, b) = (workload(&workloads, "a"), workload(&workloads, "b"));
    let now = image(&template)?;
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        bed.at_host(|site| {
            let mut datapath = site.open(hook)?;
            datapath.apply(now.clone())?;
            let before = datapath.program_ids();
            drop(datapath);
            // The programs of this build under the name of another one.
            let programs = site.pin("programs");
            let own = fs::read_dir(&programs)?.next().expect("programs")?.path();
            fs::rename(&own, programs.join("0123456789abcdef"))?;

            ensure!(reaches(a, B)?, "no reply before");
            let flow = Flow::start(&a.netns, &b.netns, B.parse()?, PER_SECOND)?;
            sleep(Duration::from_millis(100));
            let mut datapath = site.open(hook)?;
            datapath.apply(now.clone())?;
            sleep(Duration::from_millis(100));
            let report = flow.finish()?;
            ensure!(report.is_whole(), "{hook:?}: {report}");
            let after = datapath.program_ids();
            ensure!(
                before.iter().all(|id| !after.contains(id)),
                "{before:?}, {after:?}"
            );
            ensure!(
                !programs.join("0123456789abcdef").exists(),
                "the old ones are left"
            );
            let drift = datapath.reconcile()?;
            ensure!(drift.is_empty(), "{drift:?}");
            Ok(())
        })?;
    }
    Ok(())
}
