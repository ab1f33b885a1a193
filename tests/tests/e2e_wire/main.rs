//! What `core` predicts of packets, held against packets.
//!
//! | file | |
//! |---|---|
//! | [`random`] | networks made up from a seed |
//! | [`frames`] | probes as frames, and what a guest that forwards does with one |
//! | [`api`] | the same of what the daemon's API says hop by hop |
//! | [`hub`] | a hub, spokes, a site and an isolated network, through the kernel's own stack |
//! | [`burst`] | all probes of a network at once, and where they came out |
//!
//! `VNET_GW_WIRE_SEED=n` repeats one network, `VNET_GW_WIRE_COUNT=n` has no more than `n` at each hook.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod burst;
mod frames;
mod hub;
mod random;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ops::Range,
};

use anyhow::{Context, Result, bail, ensure};
use vnet_gw_common::verdict::Reason;
use vnet_gw_core::{
    compile::CompileOptions,
    effective::NextHopType,
    model::{DeployOptions, Direction, ResourceId, Topology, parse_template},
    watcher::{Outcome, Packet, Path, Predictor, Source, next_hop},
};
use vnet_gw_tests::bed::Hook;

use burst::{Seen, Wire};
use frames::Probe;
use random::World;

/// Of each hook.
const NETWORKS: u64 = 100;
/// How often a network that is refused may be made anew, over all networks of a hook.
const REFUSED: usize = 10;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

/// The seeds of a hook.
fn seeds(first: u64) -> Range<u64> {
    if let Some(seed) = number("VNET_GW_WIRE_SEED") {
        return seed..seed + 1;
    }
    let count = number("VNET_GW_WIRE_COUNT").map_or(NETWORKS, |count| count.min(NETWORKS));
    first..first + count
}

/// A network that the model accepts.
fn accepted(seed: u64, refused: &mut Vec<String>) -> Result<(World, Topology)> {
    for attempt in 0..5 {
        let world = World::new(seed, attempt);
        match parse_template(&world.template.to_string(), &DeployOptions::default()) {
            Ok(topology) => return Ok((world, topology)),
            Err(error) => refused.push(format!("seed {seed}, attempt {attempt}: {error}")),
        }
    }
    bail!("seed {seed} makes no network:\n{}", refused.join("\n"));
}

fn agrees(hook: Hook, first: u64) {
    let mut wire = Wire::start(hook).unwrap();
    let (mut refused, mut probes) = (Vec::new(), 0);
    let mut outcomes: BTreeMap<&'static str, usize> = BTreeMap::new();
    let seeds = seeds(first);
    for seed in seeds.clone() {
        let (world, topology) = accepted(seed, &mut refused).unwrap();
        let sent = frames::probes(&world, seed);
        probes += sent.len();
        if let Err(error) = agree(&mut wire, &world, &topology, &sent, &mut outcomes) {
            panic!(
                "VNET_GW_WIRE_SEED={seed} at {hook:?}: {error:#}\n{}",
                world.template
            );
        }
    }
    assert!(refused.len() <= REFUSED, "{}", refused.join("\n"));
    println!("{hook:?}: {probes} probes: {outcomes:?}");
    // What is never met proves nothing.
    if seeds.end - seeds.start == NETWORKS {
        for outcome in [
            "delivered",
            "nsg_inbound",
            "nsg_outbound",
            "next_hop_none",
            "next_hop_internet",
            "next_hop_gateway",
            "appliance_unreachable",
            "endpoint_unreachable",
            "forwarded_refused",
            "guest",
            "ttl_expired",
            "spoofed_address",
            "not_routable",
        ] {
            assert!(outcomes.get(outcome) > Some(&15), "{outcome}: {outcomes:?}");
        }
    }
}

/// What is predicted of all probes together.
#[derive(Default)]
struct Predicted {
    /// To the device of that number, by the number of the probe.
    delivered: BTreeMap<u32, usize>,
    /// By the counter that shows it.
    dropped: BTreeMap<&'static str, Vec<u32>>,
}

fn agree(
    wire: &mut Wire,
    world: &World,
    topology: &Topology,
    probes: &[Probe],
    outcomes: &mut BTreeMap<&'static str, usize>,
) -> Result<()> {
    let predictor = Predictor::new(topology, CompileOptions::default());
    let ids: Vec<&ResourceId> = topology.network_interfaces.keys().collect();
    let id = |device: usize| -> Result<&ResourceId> {
        let name = World::device(device);
        let found = ids.iter().find(|id| id.name() == name);
        found.copied().with_context(|| format!("no NIC {name}"))
    };
    let mut predicted = Predicted::default();
    let mut paths = BTreeMap::new();
    for probe in probes {
        let from = id(probe.from)?;
        let path = predictor.predict(Source::NetworkInterface(from), &probe.packet)?;
        fits_answers(&predictor, topology, from, &probe.packet, &path)
            .with_context(|| probe.to_string())?;
        let outcome = match &path.outcome {
            Outcome::Delivered(nic) => {
                let device = (0..world.nics.len()).find(|&n| World::device(n) == nic.id.name());
                let device = device.context("delivered to an unknown NIC")?;
                predicted.delivered.insert(probe.id, device);
                "delivered"
            }
            Outcome::Dropped(dropped) => {
                let name = dropped.reason.name();
                predicted.dropped.entry(name).or_default().push(probe.id);
                name
            }
            other => bail!("{probe}: nothing here leads to {other:?}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
        paths.insert(probe.id, path);
    }
    wire.apply(world)?;
    let seen = wire.burst(world, probes, &predicted.delivered)?;
    let mut wrong = seen.strays.clone();
    wrong.extend(misdelivered(probes, &predicted, &paths, &seen));
    let mut counted = wire.dropped()?;
    counted.insert("guest".to_owned(), seen.guest_drops.len() as u64);
    let reasons = counted.keys().map(String::as_str);
    let reasons: BTreeSet<&str> = reasons.chain(predicted.dropped.keys().copied()).collect();
    for reason in reasons {
        let counted = counted.get(reason).copied().unwrap_or(0);
        let ids = predicted.dropped.get(reason).map_or(&[][..], Vec::as_slice);
        if counted != ids.len() as u64 {
            wrong.push(format!(
                "{reason}: {} predicted, {counted} counted",
                ids.len()
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn misdelivered(
    probes: &[Probe],
    predicted: &Predicted,
    paths: &BTreeMap<u32, Path<'_>>,
    seen: &Seen,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for probe in probes {
        let expected: Vec<usize> = predicted
            .delivered
            .get(&probe.id)
            .copied()
            .into_iter()
            .collect();
        let got = seen.delivered.get(&probe.id).cloned().unwrap_or_default();
        if got != expected {
            let path = paths.get(&probe.id).map(describe).unwrap_or_default();
            wrong.push(format!("{probe}: arrived at {got:?}, predicted {path}"));
        }
    }
    wrong
}

/// A path in a line.
fn describe(path: &Path<'_>) -> String {
    let steps = path.steps.iter().map(|step| {
        let route = step
            .route
            .map(|route| format!("{} {}", route.prefix, route.next_hop_type.as_str()));
        format!("{} by {}", step.at.id().name(), route.unwrap_or_default())
    });
    let end = match &path.outcome {
        Outcome::Delivered(nic) => nic.id.name().to_owned(),
        Outcome::Dropped(dropped) => dropped.reason.name().to_owned(),
        other => format!("{other:?}"),
    };
    steps.chain([end]).collect::<Vec<_>>().join(", then ")
}

/// Network Watcher's `nextHop` and `ipFlowVerify` say what the path says.
fn fits_answers(
    predictor: &Predictor<'_>,
    topology: &Topology,
    from: &ResourceId,
    packet: &Packet,
    path: &Path<'_>,
) -> Result<()> {
    let hop = next_hop(topology, from, packet.destination)?.next_hop_type;
    let [step, later @ ..] = path.steps.as_slice() else {
        bail!("a path without a step");
    };
    if let Some(route) = step.route {
        ensure!(
            route.next_hop_type == hop,
            "the route is {}, nextHop says {}",
            route.next_hop_type.as_str(),
            hop.as_str()
        );
    }
    ensure!(
        hop != NextHopType::None || path.dropped().is_some(),
        "nextHop says None, and {}",
        describe(path)
    );
    let allows = |nic, direction| -> Result<bool> {
        let nic = predictor.interface(nic)?;
        Ok(predictor
            .checkpoint(nic, direction, packet)
            .denied()
            .is_none())
    };
    let (out, inward) = match &path.outcome {
        Outcome::Delivered(nic) if later.is_empty() => (
            allows(from, Direction::Outbound)?,
            allows(&nic.id, Direction::Inbound)?,
        ),
        Outcome::Dropped(dropped)
            if later.is_empty() && dropped.reason == Reason::NsgOutbound.into() =>
        {
            (!allows(from, Direction::Outbound)?, true)
        }
        _ => return Ok(()),
    };
    ensure!(out && inward, "ipFlowVerify contradicts {}", describe(path));
    Ok(())
}

#[test]
fn random_networks_at_tcx() {
    agrees(Hook::Tcx, 0);
}

#[test]
fn random_networks_at_xdp() {
    agrees(Hook::Xdp, NETWORKS);
}
