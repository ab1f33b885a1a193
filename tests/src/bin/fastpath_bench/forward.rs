//! Packets a second from A to B.

use anyhow::{Context, Result};
use vnet_gw_lab::Lab;
use vnet_gw_tests::report::Report;

use crate::{
    Options, noise,
    routes::Set,
    subject::{Kind, Subject},
    traffic::{self, Family, Generator},
};

/// What is forwarded by whom.
pub(crate) struct Plan<'a> {
    /// Of the namespaces; short.
    pub(crate) prefix: &'a str,
    pub(crate) generator: Generator,
    /// And the name of the measurement.
    pub(crate) families: &'a [(Family, &'a str)],
    pub(crate) kinds: &'a [Kind],
    pub(crate) set: &'a Set,
}

/// Measures every subject in every round, each round beginning with another one; yields the CPU
/// time that others took meanwhile.
pub(crate) fn run(
    lab: &Lab,
    options: &Options,
    report: &mut Report,
    plan: &Plan<'_>,
) -> Result<noise::Share> {
    let mut noise = noise::Share::default();
    let mut subjects = Vec::new();
    for kind in plan
        .kinds
        .iter()
        .copied()
        .filter(|kind| options.wants(*kind))
    {
        options.progress(&format!("{} routes: setting up {kind}", plan.set.v4.len()));
        let mut subject = Subject::new(lab, plan.prefix, kind, plan.set)
            .with_context(|| format!("setting up {kind}"))?;
        crate::live::load_destinations(&mut subject.object, plan.set)?;
        traffic::attach_receiver(&mut subject.object, &subject.wire)?;
        subjects.push(subject);
    }
    for (family, name) in plan.families {
        for round in 0..options.rounds() {
            for i in 0..subjects.len() {
                let at = (i + round) % subjects.len();
                let Subject {
                    kind, wire, object, ..
                } = &mut subjects[at];
                options.progress(&format!("{name}, round {}: {kind}", round + 1));
                let before = noise::read(options.cpu())?;
                let rate = traffic::measure(
                    plan.generator,
                    object,
                    wire,
                    *family,
                    plan.set,
                    options.window(),
                    options.cpu(),
                )
                .and_then(|arrived| arrived.rate(kind.routes()))
                .with_context(|| format!("{name}, {kind}, round {}", round + 1))?;
                noise += noise::read(options.cpu())? - before;
                report.add(name, kind.name(), "Mpps", rate / 1e6);
            }
        }
    }
    Ok(noise)
}
