//! A change that the kernel refuses half-way. In a process of its own, since it takes descriptors
//! away from all of it. Needs root, and fails without.

use std::{fs, sync::Arc};

use anyhow::{Context, Result, ensure};
use vnet_gw::datapath::{Datapath, HookChoice, Instance};
use vnet_gw_core::{
    compile::{CompileOptions, Image, compile},
    model::{DeployOptions, parse_template},
};
use vnet_gw_lab::{
    Lab,
    probe::{Flow, Outcome, Ping},
    template::{Nic, Template},
    workload::{Offloads, plug},
};

fn image(template: &Template) -> Result<Arc<Image>> {
    let topology = parse_template(&template.value().to_string(), &DeployOptions::default())
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(Arc::new(compile(
        &topology,
        &CompileOptions::default(),
        None,
    )?))
}

/// Lets the process open `more` descriptors; all it could before for `None`.
fn allow_descriptors(more: Option<usize>) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live for both calls.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    ensure!(got == 0, "getrlimit: {}", std::io::Error::last_os_error());
    let mut free = (0..limit.rlim_max)
        .filter(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err());
    limit.rlim_cur = match more {
        Some(more) => free.nth(more).context("no free descriptor")?,
        None => limit.rlim_max.min(1_024),
    };
    // SAFETY: as above.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    ensure!(set == 0, "setrlimit: {}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
fn what_stops_half_way_is_finished_later() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.namespace("host")?;
    let instance = Instance::new(&lab.instance("failing")?)?;
    let nic = |name, vnet, addresses, device| Nic {
        name,
        subnet: vnet,
        addresses,
        device,
        forwarding: false,
    };
    let mut before = Template::new();
    before
        .vnet("VNet1", "eastus", &["10.1.0.0/16"])
        .vnet("VNet4", "eastus", &["10.41.0.0/16"])
        .subnet("VNet1", "FrontEnd", &["10.1.0.0/24"], None)
        .subnet("VNet4", "FrontEnd", &["10.41.0.0/24"], None)
        .nic(&nic("a", "VNet1/FrontEnd", &["10.1.0.4"], "dfa"))
        .nic(&nic("a2", "VNet1/FrontEnd", &["10.1.0.5"], "dfa2"))
        .nic(&nic("b", "VNet4/FrontEnd", &["10.41.0.4"], "dfb"));
    let mut after = before.clone();
    after.peer("VNet1", "VNet4");
    let workloads = plug(&lab, &host, &before.value(), Offloads::Default)?;
    let (a, a2) = (&workloads[0].netns, &workloads[1].netns);

    let reached = host.enter(|| -> Result<Vec<bool>> {
        let mut datapath = Datapath::open(&instance, HookChoice::Auto)?;
        datapath.apply(image(&before)?)?;
        let next = image(&after)?;
        // Inside VNet1 nothing changes, so nothing may be lost there.
        let flow = Flow::start(a, a2, "10.1.0.5".parse()?, 1_000)?;
        let peer = || -> Result<bool> {
            let outcome = Ping::new("10.41.0.4".parse()?).send(a)?;
            Ok(matches!(outcome, Outcome::Reply { .. }))
        };
        let mut reached = Vec::new();
        // The descriptors run out while the change is planned, and between its two tables.
        for more in 0..=1 {
            allow_descriptors(Some(more))?;
            let refused = datapath.apply(next.clone());
            let drift = datapath.reconcile();
            allow_descriptors(None)?;
            let error = refused
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            ensure!(
                !error.is_empty(),
                "{more} descriptors were enough: {drift:?}"
            );
            ensure!(error.contains("Too many open files"), "{error}");
            let drift = datapath.reconcile()?;
            ensure!(drift.failed.is_empty(), "{more}: {drift:?}");
            // What failed while it was planned changed nothing, so it is asked for again.
            datapath.apply(next.clone())?;
            let drift = datapath.reconcile()?;
            ensure!(drift.is_empty(), "{more}: {drift:?}");
            reached.push(peer()?);
            datapath.apply(image(&before)?)?;
        }
        let report = flow.finish()?;
        ensure!(report.is_whole(), "{report}");
        Ok(reached)
    })??;
    ensure!(reached == [true; 2], "{reached:?}");
    Ok(())
}
