//! The same traffic with and without network security groups: flows that came about, and new ones.
//!
//! Each hook has one data path, into which images with and without rules are put in turn, so that
//! nothing else differs. Its own counters say whether what was measured is what it is called: hits
//! of rules grow with new flows and only with those, and the tables hold as many flows as were made.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vnet_gw::datapath::HookChoice;
use vnet_gw_common::maps::DEFAULT_FLOWS;
use vnet_gw_core::compile::Image;
use vnet_gw_lab::Lab;
use vnet_gw_tests::report::{Bar, Ratio, Report};

use crate::{
    Options, frame,
    live::{self, Load},
    noise,
    object::Object,
    ours::Ours,
    routes::{self, Set},
    security::{self, DECIDES, Groups},
    subject::Kind,
    traffic::{self, Arrived, Window},
    wire::{A4, Wire},
};

const HOOKS: [(Kind, HookChoice); 2] = [(Kind::Xdp, HookChoice::Xdp), (Kind::Tcx, HookChoice::Tcx)];

/// Of the group, default rules included.
const RULES: usize = 1_000;
/// Flows in use, a power of two; the row; what share of the packets is to be left of those without rules.
const ESTABLISHED: [(u32, &str, f64); 2] = [
    (4_096, "nsg_4k_flows", 0.62),
    (32_768, "nsg_32k_flows", 0.5),
];
/// What is to be left where only another NIC has rules: all but the noise.
const ELSEWHERE_BAR: f64 = 0.97;
/// First packets of flows among so many rules; the subject.
const GROWTH: [(usize, &str); 4] = [
    (10, "10_rules"),
    (100, "100_rules"),
    (1_000, "1k_rules"),
    (4_000, "4k_rules"),
];
/// Flows a second that are to come about.
const NEW_FLOWS: f64 = 100e3;
/// How long new flows are made for: the table takes them all.
const NEW_WINDOW: Window = Window {
    warm_up: Duration::from_millis(50),
    length: Duration::from_millis(150),
};
/// More than come about in all of such a measurement, on a machine that is fast.
const NEW_ROOM: u32 = 400_000;

/// A wire with a data path on it.
struct Bed {
    kind: Kind,
    wire: Wire,
    object: Object,
    ours: Ours,
}

impl Bed {
    fn new(
        lab: &Lab,
        prefix: &str,
        (kind, hook): (Kind, HookChoice),
        set: &Set,
        image: &Arc<Image>,
        flows: u32,
    ) -> Result<Self> {
        let wire = Wire::new(lab, &format!("{prefix}-{kind}"))?;
        wire.add_third(lab)?;
        let mut object = Object::load()?;
        live::load_destinations(&mut object, set)?;
        let ours = Ours::with(lab, &wire, Arc::clone(image), hook, flows)?;
        Ok(Self {
            kind,
            wire,
            object,
            ours,
        })
    }

    /// Sends `load`, and counts what arrives once the data path is as `ready` wants it.
    fn measure(
        &mut self,
        load: &Load,
        window: Window,
        options: &Options,
        noise: &mut noise::Share,
        ready: impl FnOnce(&Ours) -> Result<()>,
    ) -> Result<Measured> {
        let Self {
            wire, object, ours, ..
        } = self;
        let before = (hits(ours)?, traffic::arrived(object)?);
        let idle = noise::read(options.cpu())?;
        let (arrived, asked) = live::during(object, wire, load, options.cpu(), |object| {
            ready(ours)?;
            let before = hits(ours)?;
            let arrived = traffic::count(object, window)?;
            Ok((arrived, hits(ours)?.since(&before)))
        })?;
        *noise += noise::read(options.cpu())? - idle;
        Ok(Measured {
            arrived,
            asked,
            all_asked: hits(ours)?.since(&before.0),
            all_arrived: traffic::arrived(object)? - before.1,
        })
    }
}

struct Measured {
    arrived: Arrived,
    /// Hits in the window, or some more.
    asked: Hits,
    /// From before the first packet until after the last.
    all_asked: Hits,
    all_arrived: u64,
}

impl Measured {
    /// Every packet, or exchange, that arrived began a flow, and none of that got lost.
    fn were_new(&self) -> Result<()> {
        let (new, others) = (self.all_asked.deciding, self.all_asked.others);
        ensure!(others == 0, "{others} packets met rules they should not");
        let lost = new.checked_sub(self.all_arrived);
        ensure!(
            lost.is_some_and(|lost| lost * 1_000 <= new),
            "{} arrived of {new} new flows",
            self.all_arrived
        );
        Ok(())
    }
}

/// Decisions by rules, as the data path counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hits {
    /// By those that are for the traffic.
    deciding: u64,
    others: u64,
}

impl Hits {
    const NONE: Self = Self {
        deciding: 0,
        others: 0,
    };

    fn since(self, before: &Self) -> Self {
        Self {
            deciding: self.deciding.wrapping_sub(before.deciding),
            others: self.others.wrapping_sub(before.others),
        }
    }
}

fn hits(ours: &Ours) -> Result<Hits> {
    let mut hits = Hits::NONE;
    for rule in ours.datapath()?.rule_hits().values().flatten() {
        if rule.name.starts_with(DECIDES) {
            hits.deciding += rule.hits;
        } else {
            hits.others += rule.hits;
        }
    }
    Ok(hits)
}

/// What the flow tables hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    established: u64,
    half_open: u64,
}

fn held(ours: &Ours) -> Result<Held> {
    let mut held = Held {
        established: 0,
        half_open: 0,
    };
    let tables = ours.datapath()?.flow_tables()?;
    tables
        .each(|row| match row.established {
            true => held.established += 1,
            false => held.half_open += 1,
        })
        .context("reading the flow tables")?;
    Ok(held)
}

/// Flows that came about, with rules, without any, and where only another NIC has some.
pub(crate) fn established(
    lab: &Lab,
    options: &Options,
    report: &mut Report,
) -> Result<noise::Share> {
    let mut noise = noise::Share::default();
    let set = routes::sixteen();
    let images = [
        ("no_rules", Groups::None),
        ("1k_rules", Groups::Sender(RULES)),
        ("elsewhere", Groups::Elsewhere(RULES)),
    ];
    let mut images = images
        .into_iter()
        .map(|(name, groups)| Ok((name, groups, security::image(&set, groups)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut beds = beds(lab, "nsg", &set, &images[0].2, DEFAULT_FLOWS, options)?;
    for bed in &mut beds {
        traffic::attach_receiver(&mut bed.object, &bed.wire)?;
    }
    for (flows, row, _) in ESTABLISHED {
        let load = Load {
            flows: flows - 1,
            ..Load::new(
                "bench_flows",
                frame::template(A4.into()),
                set.destinations4.len(),
            )?
        };
        for round in 0..options.rounds() {
            // There and back, so that what drifts meanwhile weighs on all alike.
            let count = images.len();
            let there: Vec<_> = (0..count).map(|i| (i + round) % count).collect();
            for bed in &mut beds {
                let mut sums = vec![0.0; count];
                for at in there.iter().chain(there.iter().rev()) {
                    let (name, groups, image) = &images[*at];
                    let what = format!("{row}, round {}: {}, {name}", round + 1, bed.kind);
                    options.progress(&what);
                    bed.ours.apply(image)?;
                    let rate = established_rate(bed, &load, *groups, options, &mut noise);
                    sums[*at] += rate.context(what)?;
                }
                for ((name, ..), sum) in images.iter().zip(sums) {
                    let subject = format!("{}_{name}", bed.kind);
                    report.add(row, &subject, "Mpps", sum / 2.0 / 1e6);
                }
            }
        }
        // The others' rules are paid for or not, however many flows there are.
        images.retain(|(_, groups, _)| !matches!(groups, Groups::Elsewhere(_)));
    }
    Ok(noise)
}

fn beds(
    lab: &Lab,
    prefix: &str,
    set: &Set,
    image: &Arc<Image>,
    flows: u32,
    options: &Options,
) -> Result<Vec<Bed>> {
    let hooks = HOOKS.into_iter().filter(|(kind, _)| options.wants(*kind));
    hooks
        .map(|hook| {
            options.progress(&format!("security groups: setting up {}", hook.0));
            Bed::new(lab, prefix, hook, set, image, flows)
                .with_context(|| format!("setting up {}", hook.0))
        })
        .collect()
}

/// Packets a second, for half a measurement's time. Where there are rules, all flows have come about
/// before the first packet is counted.
fn established_rate(
    bed: &mut Bed,
    load: &Load,
    groups: Groups,
    options: &Options,
    noise: &mut noise::Share,
) -> Result<f64> {
    let before = held(&bed.ours)?;
    let all = Held {
        established: u64::from(load.flows) + 1,
        half_open: 0,
    };
    let ready = |ours: &Ours| match groups {
        Groups::Sender(_) => await_flows(ours, all),
        Groups::None | Groups::Elsewhere(_) => Ok(()),
    };
    let mut window = options.window();
    window.length /= 2;
    let measured = bed.measure(load, window, options, noise, ready)?;
    let after = held(&bed.ours)?;
    match groups {
        Groups::Sender(_) => {
            ensure!(
                after == all,
                "the flow tables hold {after:?} instead of {all:?}"
            );
            let asked = measured.asked;
            ensure!(
                asked == Hits::NONE,
                "rules were asked for established flows: {asked:?}"
            );
        }
        Groups::None | Groups::Elsewhere(_) => {
            ensure!(
                after == before,
                "the flow tables hold {after:?}, not {before:?} as before"
            );
            let asked = measured.all_asked;
            ensure!(
                asked == Hits::NONE,
                "rules were asked that are for others: {asked:?}"
            );
        }
    }
    measured.arrived.rate(true)
}

/// Waits until all flows came about.
fn await_flows(ours: &Ours, all: Held) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = held(ours)?;
        if now == all {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{now:?} after 10 s instead of {all:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// The first packets of flows among more and more rules, at XDP: nanoseconds above those that meet
/// none. They are TCP's SYNs, none of which is answered; the table of half-open flows turns over.
pub(crate) fn first_packets(
    lab: &Lab,
    options: &Options,
    report: &mut Report,
) -> Result<noise::Share> {
    let mut noise = noise::Share::default();
    if !options.wants(Kind::Xdp) {
        return Ok(noise);
    }
    let set = routes::sixteen();
    let without = security::image(&set, Groups::None)?;
    let images = GROWTH
        .into_iter()
        .map(|(rules, name)| Ok((name, rules, security::image(&set, Groups::Sender(rules))?)))
        .collect::<Result<Vec<_>>>()?;
    options.progress("security groups: setting up xdp");
    let mut bed = Bed::new(lab, "first", HOOKS[0], &set, &without, DEFAULT_FLOWS)?;
    traffic::attach_receiver(&mut bed.object, &bed.wire)?;
    let load = Load::new("bench_new", frame::syn(A4), set.destinations4.len())?;
    for round in 0..options.rounds() {
        let mut measure = |name: &str, image: &Arc<Image>| -> Result<Measured> {
            let what = format!("nsg_first_packet, round {}: {name}", round + 1);
            options.progress(&what);
            bed.ours.apply(image)?;
            bed.measure(&load, options.window(), options, &mut noise, |_| Ok(()))
                .context(what)
        };
        let base = measure("no rules", &without)?.arrived.rate(true)?;
        for i in 0..images.len() {
            let (name, rules, image) = &images[(i + round) % images.len()];
            let measured = measure(name, image)?;
            measured
                .were_new()
                .with_context(|| format!("nsg_first_packet, {name}"))?;
            let rate = measured.arrived.rate(true)?;
            report.add(
                "nsg_first_packet",
                name,
                "ns",
                (1.0 / rate - 1.0 / base) * 1e9,
            );
            if *rules == RULES {
                report.add("nsg_new_syn", Kind::Xdp.name(), "kflows/s", rate / 1e3);
            }
        }
    }
    Ok(noise)
}

/// Flows that come about: UDP requests with their answers, TCP handshakes. Counted is the packet that
/// completes one, where it arrives.
pub(crate) fn new_flows(lab: &Lab, options: &Options, report: &mut Report) -> Result<noise::Share> {
    let mut noise = noise::Share::default();
    let set = routes::sixteen();
    let image = security::image(&set, Groups::Sender(RULES))?;
    let loads = [
        ("nsg_new_udp", frame::template(A4.into())),
        ("nsg_new_tcp", frame::syn(A4)),
    ];
    // None is used again: they stay in the table until the end.
    let rounds = options.new_rounds();
    let room = NEW_ROOM * loads.len() as u32 * rounds as u32;
    for hook in HOOKS {
        if !options.wants(hook.0) {
            continue;
        }
        options.progress(&format!("new flows: setting up {}", hook.0));
        let mut bed = Bed::new(lab, "new", hook, &set, &image, room)?;
        traffic::attach_answerers(&mut bed.object, &bed.wire)?;
        for round in 0..rounds {
            for (row, frame) in loads {
                let what = format!("{row}, round {}: {}", round + 1, bed.kind);
                options.progress(&what);
                let load = Load::new("bench_new", frame, set.destinations4.len())?;
                let rate = new_rate(&mut bed, &load, room, options, &mut noise);
                let rate = rate.context(what)?;
                report.add(row, bed.kind.name(), "kflows/s", rate / 1e3);
            }
        }
    }
    Ok(noise)
}

fn new_rate(
    bed: &mut Bed,
    load: &Load,
    room: u32,
    options: &Options,
    noise: &mut noise::Share,
) -> Result<f64> {
    let before = held(&bed.ours)?.established;
    let measured = bed.measure(load, NEW_WINDOW, options, noise, |_| Ok(()))?;
    measured.were_new()?;
    let after = held(&bed.ours)?.established;
    ensure!(
        after < room.into(),
        "the table of {room} flows is full: more came about than there was room for"
    );
    let more = after - before;
    ensure!(
        more >= measured.all_arrived && (more - measured.all_arrived) * 1_000 <= more,
        "{more} flows came about, {} exchanges were completed",
        measured.all_arrived
    );
    measured.arrived.rate(true)
}

/// Ratios and what they have to reach.
pub(crate) fn ratios(report: &mut Report) {
    for (kind, _) in HOOKS {
        let (with, without) = (format!("{kind}_1k_rules"), format!("{kind}_no_rules"));
        for (_, row, bar) in ESTABLISHED {
            let name = format!("{row}_{kind}_over_no_rules");
            report.ratio(&name, row, &with, &without);
            report.bar(&name, Bar::AtLeast(bar));
        }
        let name = format!("nsg_elsewhere_{kind}_over_no_rules");
        let row = ESTABLISHED[0].1;
        report.ratio(&name, row, &format!("{kind}_elsewhere"), &without);
        report.bar(&name, Bar::AtLeast(ELSEWHERE_BAR));
    }
    for row in ["nsg_new_udp", "nsg_new_tcp", "nsg_new_syn"] {
        for (kind, _) in HOOKS {
            let Some(measured) = report.row(row, kind.name()) else {
                continue;
            };
            let value = measured.median * 1e3 / NEW_FLOWS;
            report.ratios.push(Ratio {
                name: format!("{row}_{kind}_over_100k"),
                value,
                bar: Some(Bar::AtLeast(1.0)),
            });
        }
    }
    let (least, few) = GROWTH[0];
    for (rules, subject) in &GROWTH[1..] {
        let name = format!("nsg_first_packet_{subject}_over_10");
        report.ratio(&name, "nsg_first_packet", subject, few);
        report.bar(&name, Bar::Below(*rules as f64 / least as f64));
    }
}
