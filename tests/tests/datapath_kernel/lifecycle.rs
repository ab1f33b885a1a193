//! Create, adopt, replace, take down: what is pinned outlives whoever pinned it.

use anyhow::{Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use vnet_gw::datapath::{Datapath, DatapathError, Features, Hook, HookChoice, PortState, down};
use vnet_gw_common::{maps, port::Settings};
use vnet_gw_lab::workload::Offloads;

use crate::bed::{B, Bed, Site, ensure_empty, image, reaches, subnet_of, two_vnets, workload};

/// Maps that an instance pins.
const MAPS: usize = 33;

fn packets_from_a(
    counters: &vnet_gw::datapath::Counters,
    image: &vnet_gw_core::compile::Image,
) -> Result<u64> {
    let subnet = subnet_of(image, "VNet1")?;
    let routes = &counters.subnets[&subnet].v4;
    let found = routes
        .iter()
        .find(|(net, _)| net.to_string() == "10.41.0.0/16");
    Ok(found.map_or(0, |(_, counter)| counter.packets))
}

#[test]
fn a_restart_adopts_what_is_there() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let a = workload(&workloads, "a");
    let image = image(&template)?;

    let (programs, counted) = bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        let report = datapath.apply(image.clone())?;
        ensure!(report.ports_changed == 2, "{report:?}");
        ensure!(report.warnings.is_empty(), "{report:?}");
        for port in datapath.ports() {
            ensure!(
                port.state == PortState::Up && port.hook == Some(Hook::Tcx),
                "{port:?}"
            );
        }
        ensure!(reaches(a, B)?, "no reply through the first data path");
        ensure!(reaches(a, "fd00:41::4")?, "no IPv6 reply");
        let again = datapath.apply(image.clone())?;
        ensure!(
            again.ports_changed + again.subnets_changed == 0,
            "{again:?}"
        );
        ensure!(!again.endpoints_rebuilt, "{again:?}");
        ensure_empty(&datapath.reconcile()?.differences)?;
        Ok((
            datapath.program_ids(),
            packets_from_a(&datapath.counters()?, &image)?,
        ))
    })?;
    ensure!(counted >= 1, "the peering's route counted nothing");
    // Nobody holds it now, as after SIGKILL.
    ensure!(reaches(a, B)?, "forwarding ended with its process");

    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        ensure!(
            datapath.program_ids() == programs,
            "the same build was loaded again"
        );
        let report = datapath.apply(image.clone())?;
        ensure!(
            report.tables_rebuilt == 0 && !report.endpoints_rebuilt,
            "{report:?}"
        );
        let drift = datapath.reconcile()?;
        ensure!(drift.is_empty(), "{drift:?}");
        let now = packets_from_a(&datapath.counters()?, &image)?;
        ensure!(now > counted, "counts were lost: {now} after {counted}");
        ensure!(datapath.stats().endpoints4 == 2);
        Ok(())
    })?;
    ensure!(reaches(a, B)?, "no reply after the restart");

    let report = bed.at_host(Site::down)?;
    ensure!(
        report.links == 2 && report.programs == 3 && report.maps == MAPS,
        "{report:?}"
    );
    ensure!(report.detached == ["dpa", "dpb"], "{report:?}");
    ensure!(!bed.site.instance.pins().exists(), "pins are left");
    let left = bed.at_host(|_| Ok(SchedClassifier::query_tcx("dpa", TcAttachType::Ingress)?.1))?;
    ensure!(left.is_empty(), "the program is still attached");
    ensure!(!reaches(a, B)?, "something still forwards");
    ensure!(bed.at_host(Site::down)?.is_empty(), "there was more");
    Ok(())
}

#[test]
fn one_process_at_a_time() -> Result<()> {
    let bed = Bed::new()?;
    bed.at_host(|site| {
        let _first = site.open(HookChoice::Auto)?;
        let second = site.open(HookChoice::Auto);
        ensure!(matches!(second, Err(e) if e.downcast_ref().is_some_and(busy)));
        ensure!(matches!(
            down(&site.instance),
            Err(DatapathError::Busy { .. })
        ));
        Ok(())
    })
}

fn busy(error: &DatapathError) -> bool {
    matches!(error, DatapathError::Busy { .. })
}

#[test]
fn another_abi_is_refused_and_can_be_taken_down() -> Result<()> {
    let bed = Bed::new()?;
    bed.at_host(|site| {
        drop(site.open(HookChoice::Auto)?);
        let mut settings = site.array::<Settings>(maps::SETTINGS)?;
        let of_later = Settings {
            abi: maps::ABI_VERSION + 1,
            ..settings.get(&0, 0)?
        };
        settings.set(0, of_later, 0)?;
        let error = site
            .open(HookChoice::Auto)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        ensure!(error.contains("vnet-gw down --instance"), "{error:?}");
        ensure!(
            settings.get(&0, 0)?.abi == maps::ABI_VERSION + 1,
            "it wrote into the maps"
        );
        ensure!(site.down()?.maps == MAPS);
        drop(site.open(HookChoice::Auto)?);
        Ok(())
    })
}

#[test]
fn a_start_that_was_cut_short_is_finished() -> Result<()> {
    let bed = Bed::new()?;
    bed.at_host(|site| {
        drop(site.open(HookChoice::Auto)?);
        // As if it had been killed before the settings were filled and the last program pinned.
        site.array::<Settings>(maps::SETTINGS)?
            .set(0, Settings::default(), 0)?;
        std::fs::remove_file(site.pin(maps::COUNTERS6))?;
        let programs = std::fs::read_dir(site.pin("programs"))?
            .next()
            .expect("programs")?
            .path();
        std::fs::remove_file(programs.join(maps::PROG_TC))?;
        let mut datapath = site.open(HookChoice::Auto)?;
        ensure!(site.array::<Settings>(maps::SETTINGS)?.get(&0, 0)?.abi == maps::ABI_VERSION);
        datapath.apply(image(&two_vnets())?)?;
        Ok(())
    })
}

/// A kernel without TCX: filters persist by themselves, are replaced in place and removed.
#[test]
fn clsact_where_there_is_no_tcx() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let a = workload(&workloads, "a");
    let image = image(&template)?;
    let old_kernel = Features { tcx: false };
    let open = |site: &Site| Datapath::open_with(&site.instance, HookChoice::Auto, old_kernel);
    bed.at_host(|site| {
        let mut datapath = open(site)?;
        datapath.apply(image.clone())?;
        ensure!(
            datapath
                .ports()
                .iter()
                .all(|port| port.hook == Some(Hook::Clsact))
        );
        Ok(())
    })?;
    ensure!(reaches(a, B)?, "no reply through clsact");
    bed.at_host(|site| {
        let mut datapath = open(site)?;
        datapath.apply(image.clone())?;
        let drift = datapath.reconcile()?;
        ensure!(drift.is_empty(), "{drift:?}");
        // Somebody takes the filter away.
        let filters = std::process::Command::new("tc")
            .args(["filter", "del", "dev", "dpb", "ingress"])
            .status()?;
        ensure!(filters.success());
        let drift = datapath.reconcile()?;
        ensure!(drift.found() == 1, "{drift:?}");
        Ok(())
    })?;
    ensure!(reaches(a, B)?, "no reply after the filter was put back");
    let report = bed.at_host(Site::down)?;
    ensure!(report.filters == 2 && report.links == 0, "{report:?}");
    ensure!(!reaches(a, B)?, "something still forwards");
    Ok(())
}
