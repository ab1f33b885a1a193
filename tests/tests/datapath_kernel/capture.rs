//! Copies of packets: both directions, refusals, filters, cuts; none where nobody asks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vnet_gw::datapath::{Datapath, HookChoice, PacketRings};
use vnet_gw_common::{
    capture::{Capture, Event, Filter, MIN_SNAP},
    maps,
    port::Port,
    verdict::Reason,
};
use vnet_gw_core::{compile::Image, model::ResourceId};
use vnet_gw_lab::workload::Offloads;

use crate::bed::{A, B, Bed, Site, image, reaches, two_vnets, workload};

const ICMP: u8 = 1;

fn nic_of(image: &Image, name: &str) -> Result<ResourceId> {
    let found = image.ports.keys().find(|nic| nic.name() == name);
    found.cloned().with_context(|| format!("no port {name}"))
}

struct Copy {
    event: Event,
    bytes: Vec<u8>,
}

impl Copy {
    fn is(&self, kind: u32, protocol: u8) -> bool {
        self.event.kind == kind
            && self.bytes.get(12..14) == Some(&[0x08, 0])
            && self.bytes.get(23) == Some(&protocol)
    }

    fn destination(&self) -> Option<[u8; 4]> {
        self.bytes.get(30..)?.first_chunk().copied()
    }
}

/// What comes until `enough`, and a little longer.
fn copies(rings: &mut PacketRings, enough: impl Fn(&[Copy]) -> bool) -> Vec<Copy> {
    let mut all = Vec::new();
    let mut end = Instant::now() + Duration::from_secs(3);
    let mut extended = false;
    while Instant::now() < end {
        rings.wait(50);
        rings.drain(|_, event, bytes| {
            let (event, bytes) = (*event, bytes.to_vec());
            all.push(Copy { event, bytes });
        });
        if !extended && enough(&all) {
            extended = true;
            end = Instant::now() + Duration::from_millis(150);
        }
    }
    all
}

fn flags(site: &Site, datapath: &Datapath, nic: &ResourceId) -> Result<u32> {
    let port = datapath.ports().into_iter().find(|port| port.nic == *nic);
    let id = port.context("no such port")?.port_id;
    Ok(site.array::<Port>(maps::PORTS)?.get(&id, 0)?.flags)
}

#[test]
fn both_directions_of_a_port_are_copied_and_nothing_when_nobody_asks() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let image = image(&template)?;
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        if hook == HookChoice::Xdp {
            for workload in &workloads {
                workload.netns.ethtool("-K eth0 tx off gro on")?;
            }
        }
        bed.at_host(|site| {
            let mut datapath = site.open(hook)?;
            datapath.apply(image.clone())?;
            let (a, b) = (nic_of(&image, "a")?, nic_of(&image, "b")?);
            let sender = workload(&workloads, "a");
            let mut rings = datapath.packet_rings()?;
            ensure!(reaches(sender, B)?);
            ensure!(copies(&mut rings, |_| true).is_empty(), "{hook:?}: unasked");

            // At the port of the one who asks: request sent, reply delivered.
            datapath.set_capture(&a, Some(Capture::ALL))?;
            ensure!(flags(site, &datapath, &a)? & Port::CAPTURE != 0);
            ensure!(reaches(sender, B)?);
            let both = |all: &[Copy]| {
                all.iter().any(|one| one.is(Event::SENT, ICMP))
                    && all.iter().any(|one| one.is(Event::DELIVERED, ICMP))
            };
            let all = copies(&mut rings, both);
            ensure!(both(&all), "{hook:?}: {} copies", all.len());
            let sent = all
                .iter()
                .find(|one| one.is(Event::SENT, ICMP))
                .context("sent")?;
            ensure!(sent.destination() == Some([10, 41, 0, 4]));
            ensure!(
                sent.bytes[22] == 64,
                "as it came, before the TTL is decremented"
            );
            ensure!(sent.event.len as usize == sent.bytes.len());
            let got = all
                .iter()
                .find(|one| one.is(Event::DELIVERED, ICMP))
                .context("got")?;
            ensure!(got.destination() == Some([10, 1, 0, 4]) && got.bytes[22] == 63);
            ensure!(got.event.time > sent.event.time);
            datapath.set_capture(&a, None)?;

            // At the other end the same packets come and go the other way round.
            datapath.set_capture(&b, Some(Capture::ALL))?;
            ensure!(reaches(sender, B)?);
            let all = copies(&mut rings, both);
            let got = all
                .iter()
                .find(|one| one.is(Event::DELIVERED, ICMP))
                .context("got")?;
            ensure!(got.destination() == Some([10, 41, 0, 4]));
            datapath.set_capture(&b, None)?;
            ensure!(flags(site, &datapath, &b)? & Port::WATCHED == 0);
            ensure!(reaches(sender, B)?);
            ensure!(copies(&mut rings, |_| true).is_empty(), "{hook:?}: stopped");
            Ok(())
        })?;
    }
    bed.site.down()?;
    Ok(())
}

#[test]
fn a_refused_packet_is_copied_with_its_reason_and_the_error_it_gets() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let image = image(&template)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Tcx)?;
        datapath.apply(image.clone())?;
        datapath.set_capture(&nic_of(&image, "a")?, Some(Capture::ALL))?;
        let mut rings = datapath.packet_rings()?;
        let sender = workload(&workloads, "a");
        // Nobody has this address.
        ensure!(!reaches(sender, "10.41.0.99")?);
        let all = copies(&mut rings, |all| {
            all.iter().any(|one| one.is(Event::DELIVERED, ICMP))
        });
        let sent = all.iter().position(|one| one.is(Event::SENT, ICMP));
        let sent = sent.context("the packet that was refused")?;
        let refused = all[sent..]
            .iter()
            .find(|one| one.event.kind == Event::REFUSED)
            .context("the refusal")?;
        ensure!(refused.event.reason == Reason::EndpointUnreachable as u32);
        ensure!(refused.bytes.is_empty());
        let error = all.iter().find(|one| one.is(Event::DELIVERED, ICMP));
        let error = error.context("the ICMP error")?;
        ensure!(error.destination() == Some([10, 1, 0, 4]) && error.bytes[34] == 3);

        Ok(())
    })?;
    bed.site.down()?;
    Ok(())
}

#[test]
fn filters_and_cuts_are_the_kernels() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let image = image(&template)?;
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        if hook == HookChoice::Xdp {
            for workload in &workloads {
                workload.netns.ethtool("-K eth0 tx off gro on")?;
            }
        }
        bed.at_host(|site| {
            let mut datapath = site.open(hook)?;
            datapath.apply(image.clone())?;
            let a = nic_of(&image, "a")?;
            let sender = workload(&workloads, "a");
            let mut rings = datapath.packet_rings()?;
            let address = |text: &str| -> Result<_> {
                let address: std::net::Ipv4Addr = text.parse()?;
                Ok(vnet_gw_common::Addr6::from_v4(address.to_bits()))
            };
            let mut capture = Capture::ALL;
            capture.snap = MIN_SNAP;
            capture.filters_used = 2;
            capture.filters[0] = Filter {
                protocols: [17, 17],
                ..Filter::ANY
            };
            capture.filters[1] = Filter {
                protocols: [1, 1],
                remote: [address(B)?; 2],
                local: [address(A)?; 2],
                ..Filter::ANY
            };
            datapath.set_capture(&a, Some(capture))?;
            ensure!(!reaches(sender, "10.41.0.99")?);
            sender
                .netns
                .command("ping")
                .args(["-c", "1", "-W", "2", "-s", "1000", B])
                .output()?;
            let all = copies(&mut rings, |all| {
                all.iter().any(|one| one.is(Event::DELIVERED, ICMP))
            });
            let of = |kind| all.iter().filter(move |one| one.is(kind, ICMP)).count();
            ensure!(
                of(Event::SENT) == 1 && of(Event::DELIVERED) == 1,
                "{hook:?}: {} sent, {} delivered",
                of(Event::SENT),
                of(Event::DELIVERED)
            );
            for copy in all.iter().filter(|one| one.event.kind != Event::REFUSED) {
                ensure!(copy.event.len == 1042 && copy.bytes.len() == MIN_SNAP as usize);
            }
            Ok(())
        })?;
    }
    bed.site.down()?;
    Ok(())
}

#[test]
fn copies_without_a_reader_are_counted_and_a_restart_forgets_wishes() -> Result<()> {
    let bed = Bed::new()?;
    let template = two_vnets();
    let workloads = bed.plug(&template, Offloads::Default)?;
    let image = image(&template)?;
    bed.at_host(|site| {
        let mut datapath = site.open(HookChoice::Tcx)?;
        datapath.apply(image.clone())?;
        let a = nic_of(&image, "a")?;
        datapath.set_capture(&a, Some(Capture::ALL))?;
        ensure!(reaches(workload(&workloads, "a"), B)?);
        let lost = datapath.lost_copies(&a)?;
        ensure!(lost >= 2, "{lost} lost");
        // Another wish keeps the count.
        datapath.set_capture(
            &a,
            Some(Capture {
                snap: 100,
                ..Capture::ALL
            }),
        )?;
        ensure!(datapath.lost_copies(&a)? >= lost);
        drop(datapath);

        let mut datapath = site.open(HookChoice::Tcx)?;
        ensure!(datapath.lost_copies(&a)? == 0);
        datapath.apply(image.clone())?;
        ensure!(flags(site, &datapath, &a)? & Port::CAPTURE == 0);
        Ok(())
    })?;
    bed.site.down()?;
    Ok(())
}
