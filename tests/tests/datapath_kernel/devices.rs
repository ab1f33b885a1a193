//! Devices come, go and change without us; and where the program is attached.

use anyhow::{Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use vnet_gw::datapath::{Datapath, Hook, HookChoice, Instance, PortState, PortStatus};
use vnet_gw_common::{maps, port::Port, verdict::Reason};
use vnet_gw_lab::{Netns, workload::Offloads};

use crate::bed::{B, Bed, Site, image, nic, reaches, two_vnets, workload};

fn port(datapath: &Datapath, name: &str) -> PortStatus {
    datapath
        .ports()
        .into_iter()
        .find(|port| port.nic.name() == name)
        .expect("a port")
}

fn entry(site: &Site, datapath: &Datapath, name: &str) -> Result<Port> {
    Ok(site
        .array::<Port>(maps::PORTS)?
        .get(&port(datapath, name).port_id, 0)?)
}

#[test]
fn a_device_may_appear_vanish_change_and_be_renamed() -> Result<()> {
    let bed = Bed::new()?;
    let mut template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let a = workload(&workloads, "a");
    template.nic(&nic("late", "VNet4/FrontEnd", &["10.41.0.9"], "dplate"));
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        let report = datapath.apply(image(&template)?)?;
        ensure!(
            report.warnings.len() == 1 && report.warnings[0].contains("dplate"),
            "{report:?}"
        );
        let late = port(&datapath, "late");
        ensure!(
            late.state == PortState::NoDevice && late.ifindex.is_none(),
            "{late:?}"
        );
        ensure!(entry(site, &datapath, "late")?.flags & Port::PRESENT == 0);
        ensure!(datapath.reconcile()?.is_empty());

        site.host
            .ip("link add dplate type veth peer name dplate2")?;
        let drift = datapath.reconcile()?;
        ensure!(drift.found() == 0 && drift.followed.len() == 1, "{drift:?}");
        let late = port(&datapath, "late");
        ensure!(
            late.state == PortState::DeviceDown && late.hook == Some(Hook::Tcx),
            "{late:?}"
        );
        let held = entry(site, &datapath, "late")?;
        // Down is as good as absent: what is sent to it counts as port_down.
        ensure!(held.flags & Port::PRESENT == 0 && held.mtu == 1500);
        ensure!(!reaches(a, "10.41.0.9")?);
        let counted = port_down(&datapath)?;
        ensure!(
            counted > 0,
            "packets to a device that is down were not counted"
        );
        // Both ends are in one namespace, where the kernel refuses bpf_redirect_peer.
        ensure!(held.flags & Port::PEER == 0);
        ensure!(entry(site, &datapath, "a")?.flags & Port::PEER != 0);

        site.host.ip("link set dplate up mtu 1400")?;
        let drift = datapath.reconcile()?;
        ensure!(drift.followed.len() == 1 && drift.found() == 0, "{drift:?}");
        ensure!(port(&datapath, "late").state == PortState::Up);
        let held = entry(site, &datapath, "late")?;
        ensure!(held.flags & Port::PRESENT != 0 && held.mtu == 1400);

        // Another name is another device; the port waits for the old name.
        site.host.ip("link set dplate down")?;
        site.host.ip("link set dplate name dpother")?;
        let drift = datapath.reconcile()?;
        ensure!(
            port(&datapath, "late").state == PortState::NoDevice,
            "{drift:?}"
        );
        ensure!(
            !site
                .pin("links")
                .join(format!("tcx-{}", held.ifindex))
                .exists()
        );
        ensure!(entry(site, &datapath, "late")?.flags & Port::PRESENT == 0);
        site.host.ip("link set dpother name dplate")?;
        datapath.reconcile()?;
        ensure!(port(&datapath, "late").state == PortState::DeviceDown);

        site.host.ip("link del dplate")?;
        let drift = datapath.reconcile()?;
        ensure!(
            drift.followed.len() == 1 && drift.failed.is_empty(),
            "{drift:?}"
        );
        ensure!(port(&datapath, "late").state == PortState::NoDevice);
        let drift = datapath.reconcile()?;
        ensure!(drift.is_empty(), "{drift:?}");
        ensure!(reaches(a, B)?, "an unrelated port suffered");
        Ok(())
    })
}

fn port_down(datapath: &Datapath) -> Result<u64> {
    let counters = datapath.counters()?;
    let found = counters
        .reasons
        .iter()
        .find(|(r, _)| *r == Reason::PortDown);
    Ok(found.map_or(0, |(_, counter)| counter.packets))
}

/// Interface indexes are counted per namespace, so the link of one may look like that of another.
#[test]
fn a_start_in_another_namespace_attaches_anew() -> Result<()> {
    for choice in [HookChoice::Tcx, HookChoice::Xdp] {
        let bed = Bed::new()?;
        let template = two_vnets();
        let elsewhere = bed.lab.namespace("elsewhere")?;
        for host in [&bed.site.host, &elsewhere] {
            host.ip("link add dpa index 4001 type veth peer name dpa2 index 4003")?;
            host.ip("link add dpb index 4002 type veth peer name dpb2 index 4004")?;
            host.ip("link set dpa up")?;
            host.ip("link set dpb up")?;
        }
        let image = image(&template)?;
        bed.at_host(|site| {
            site.open(choice)?.apply(image.clone())?;
            Ok(())
        })?;
        let site = &bed.site;
        elsewhere.enter(|| -> Result<()> {
            let mut datapath = site.open(choice)?;
            datapath.apply(image.clone())?;
            for device in ["dpa", "dpb"] {
                ensure!(
                    attached(&elsewhere, device, choice)?,
                    "{choice:?}: nothing on {device}"
                );
            }
            ensure!(datapath.reconcile()?.is_empty());
            Ok(())
        })??;
        ensure!(
            !bed.at_host(|site| attached(&site.host, "dpa", choice))?,
            "{choice:?}: left behind"
        );
    }
    Ok(())
}

/// Asked of the device itself, in the current namespace.
fn attached(namespace: &Netns, device: &str, choice: HookChoice) -> Result<bool> {
    if choice == HookChoice::Tcx {
        return Ok(!SchedClassifier::query_tcx(device, TcAttachType::Ingress)?
            .1
            .is_empty());
    }
    let shown = namespace
        .command("ip")
        .args(["link", "show", device])
        .output()?;
    Ok(String::from_utf8_lossy(&shown.stdout).contains("prog/xdp"))
}

#[test]
fn a_loopback_device_is_no_port() -> Result<()> {
    let bed = Bed::new()?;
    let mut template = two_vnets();
    bed.plug(&template, Offloads::Default)?;
    template.nic(&nic("looped", "VNet4/FrontEnd", &["10.41.0.9"], "dploop"));
    bed.at_host(|site| {
        // The model refuses `lo` by its name, which is not the only one it may have.
        site.host.ip("link set lo down")?;
        site.host.ip("link set lo name dploop")?;
        site.host.ip("link set dploop up")?;
        let mut datapath = site.open(HookChoice::Auto)?;
        datapath.apply(image(&template)?)?;
        ensure!(port(&datapath, "a").hook == Some(Hook::Tcx));
        let PortState::Failed(why) = port(&datapath, "looped").state else {
            anyhow::bail!("{:?}", port(&datapath, "looped"));
        };
        ensure!(why.contains("loopback"), "{why}");
        ensure!(!attached(&site.host, "dploop", HookChoice::Tcx)?);
        ensure!(entry(site, &datapath, "looped")?.flags & Port::PRESENT == 0);
        Ok(())
    })
}

#[test]
fn xdp_on_veth_works_and_warns() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::ForXdp)?;
    let a = workload(&workloads, "a");
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Xdp)?;
        let report = datapath.apply(image(&template)?)?;
        for port in datapath.ports() {
            ensure!(
                port.hook == Some(Hook::XdpNative) && port.warnings.len() == 1,
                "{port:?}"
            );
        }
        ensure!(
            report.warnings.iter().all(|line| line.contains("gro on")),
            "{report:?}"
        );
        ensure!(reaches(a, B)?, "no reply at XDP");
        ensure!(reaches(a, "fd00:41::4")?, "no IPv6 reply at XDP");
        Ok(())
    })?;
    // Another choice at the next start moves the ports over, and back.
    for (choice, hook) in [
        (HookChoice::Tcx, Hook::Tcx),
        (HookChoice::Xdp, Hook::XdpNative),
    ] {
        bed.at_host(|site| {
            let mut datapath = site.open(choice)?;
            datapath.apply(image(&template)?)?;
            ensure!(
                datapath.ports().iter().all(|port| port.hook == Some(hook)),
                "{hook}"
            );
            ensure!(std::fs::read_dir(site.pin("links"))?.count() == 2);
            ensure!(datapath.reconcile()?.is_empty());
            ensure!(reaches(a, B)?, "no reply at {hook}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn generic_mode_where_the_driver_has_no_xdp() -> Result<()> {
    let bed = Bed::new()?;
    let mut template = two_vnets();
    template.nic(&nic(
        "bridged",
        "VNet4/FrontEnd",
        &["10.41.0.9"],
        "dpbridge",
    ));
    bed.at_host(|site| {
        site.host.ip("link add dpbridge type bridge")?;
        site.host.ip("link set dpbridge up")?;
        let mut datapath = site.open(HookChoice::Xdp)?;
        datapath.apply(image(&template)?)?;
        let status = port(&datapath, "bridged");
        ensure!(status.hook == Some(Hook::XdpGeneric), "{status:?}");
        let warning = status.warnings.join(" ");
        ensure!(
            warning.contains("generic") && warning.contains("skb"),
            "{warning}"
        );
        // The reason outlives reconciles.
        datapath.reconcile()?;
        ensure!(port(&datapath, "bridged").warnings.join(" ") == warning);
        Ok(())
    })
}

#[test]
fn a_foreign_xdp_program_is_left_alone() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    bed.plug(&template, Offloads::ForXdp)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Xdp)?;
        let programs = std::fs::read_dir(site.pin("programs"))?
            .next()
            .expect("programs")?
            .path();
        let foreign = programs.join(maps::PROG_XDP_PASS);
        site.host.ip(&format!(
            "link set dev dpb xdp pinned {}",
            foreign.display()
        ))?;
        datapath.apply(image(&template)?)?;
        let PortState::Failed(why) = port(&datapath, "b").state else {
            anyhow::bail!("{:?}", port(&datapath, "b"));
        };
        ensure!(why.contains("xdp off"), "{why}");
        ensure!(port(&datapath, "a").state == PortState::Up);
        site.host.ip("link set dev dpb xdp off")?;
        let drift = datapath.reconcile()?;
        ensure!(drift.followed.len() == 1, "{drift:?}");
        ensure!(port(&datapath, "b").state == PortState::Up);
        Ok(())
    })
}

#[test]
fn a_tcx_program_before_ours_is_told() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    bed.plug(&template, Offloads::Default)?;
    let other = Instance::new(&bed.lab.instance("ahead")?)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Tcx)?;
        let image = image(&template)?;
        datapath.apply(image.clone())?;
        ensure!(port(&datapath, "a").warnings.is_empty());
        // Each attaches before all others.
        let mut second = Datapath::open(&other, HookChoice::Tcx)?;
        let report = second.apply(image)?;
        ensure!(report.warnings.is_empty(), "{report:?}");
        datapath.reconcile()?;
        let warnings = port(&datapath, "a").warnings.join(" ");
        let id = second.program_ids()[1];
        ensure!(warnings.contains(&format!("ids {id};")), "{warnings}");
        drop(second);
        vnet_gw::datapath::down(&other)?;
        datapath.reconcile()?;
        ensure!(port(&datapath, "a").warnings.is_empty());
        Ok(())
    })
}

#[test]
fn a_device_becomes_another_nic_and_a_port_is_traced() -> Result<()> {
    let bed = Bed::new()?;
    let mut template = two_vnets();
    bed.plug(&template, Offloads::Default)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Auto)?;
        datapath.apply(image(&template)?)?;
        let b = port(&datapath, "b");
        datapath.set_trace(&b.nic, Some(10))?;
        let held = entry(site, &datapath, "b")?;
        ensure!(held.flags & Port::TRACE != 0 && held.trace_every == 10);
        datapath.set_trace(&b.nic, None)?;
        ensure!(entry(site, &datapath, "b")?.flags & Port::TRACE == 0);

        template.remove("b");
        template.nic(&nic("heir", "VNet4/FrontEnd", &["10.41.0.5"], "dpb"));
        let report = datapath.apply(image(&template)?)?;
        ensure!(report.warnings.is_empty(), "{report:?}");
        let heir = port(&datapath, "heir");
        ensure!(
            heir.state == PortState::Up && heir.ifindex == b.ifindex,
            "{heir:?}"
        );
        ensure!(
            heir.port_id != b.port_id,
            "an id was given out again at once"
        );
        ensure!(site.array::<Port>(maps::PORTS)?.get(&b.port_id, 0)? == Port::default());
        let drift = datapath.reconcile()?;
        ensure!(drift.is_empty(), "{drift:?}");
        Ok(())
    })
}
