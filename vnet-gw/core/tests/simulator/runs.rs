//! The course of a run, and many of them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use vnet_gw_core::ike::TunnelState;

use crate::{
    ledger::Tally,
    scenario::{Mismatch, Scenario},
    world::World,
};

const RUNS: u64 = 3_000;
/// Failures that are shown before the others are not waited for.
const SHOWN: usize = 5;
/// A dead peer is found out (DPD, five attempts), and the next attempt may be a minute away.
const HEAL: Duration = Duration::from_secs(300);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One run, from its seed to its end.
fn run(seed: u64) -> Tally {
    let scenario = Scenario::draw(seed);
    if std::env::var_os("SIMULATOR_TRACE").is_some() {
        eprintln!("{scenario:#?}");
    }
    let mut world = World::new(scenario.clone());
    begin(&mut world);
    if scenario.is_gentle() && scenario.mismatch.is_none() {
        assert!(world.run_until(seconds(90), World::agreed) || !connects(&world));
        world.run(seconds(6));
        world.strict = true;
    }
    world.network.weather = scenario.storm;
    world.schedule(&scenario.script);
    world.run(scenario.storm_for + seconds(41));

    world.network.weather = scenario.calm;
    // A request that the storm swallowed four times may yet end an SA.
    world.run(seconds(32));
    world.run_until(HEAL, World::agreed);
    world.assert_agreed("after the storm");
    // What was sent before is still on its way.
    world.run(seconds(8));
    world.strict = scenario.is_faithful();
    world.ledger.tally.faithful_runs += u64::from(world.strict);
    let before = spis(&world);
    world.schedule(&scenario.collisions);
    world.run(scenario.calm_for);
    let settled = if world.strict { seconds(90) } else { HEAL };
    world.run_until(settled, World::agreed);
    world.assert_agreed("in the calm");
    let after = spis(&world);
    let rekeyed = before.iter().zip(&after).filter(|(old, new)| old != new);
    world.ledger.tally.ike_rekeys += rekeyed.count() as u64;
    world.strict = false;
    if let Some(host) = scenario.leaves {
        leave(&mut world, host);
    }
    for host in &world.hosts {
        world.ledger.tally.cookies += host.endpoint.counters().cookies_asked;
    }
    world.ledger.tally
}

fn connects(world: &World) -> bool {
    world.scenario.links.iter().all(|link| link.can_connect())
}

fn spis(world: &World) -> Vec<u64> {
    let links = world.scenario.links.iter();
    links
        .flat_map(|link| world.statuses(link.hosts[0], link))
        .map(|status| status.initiator_spi)
        .collect()
}

/// Both ends are set up, one of them wrongly at first in some runs.
fn begin(world: &mut World) {
    let scenario = world.scenario.clone();
    for (number, link) in scenario.links.iter().enumerate() {
        for end in 0..2 {
            let mut config = link.configs[end].clone();
            if let Some((mismatch, wrong)) = scenario.mismatch
                && (number, end) == (0, wrong)
            {
                mismatch.apply(&mut config);
            }
            world.configure(link.hosts[end], link.id, Some(config));
        }
    }
    let Some((mismatch, wrong)) = scenario.mismatch else {
        return;
    };
    world.run(seconds(30));
    assert_refused(world, mismatch);
    world.run(seconds(50));
    assert_refused(world, mismatch);
    let link = &scenario.links[0];
    let right = link.configs[wrong].clone();
    world.configure(link.hosts[wrong], link.id, Some(right));
}

fn assert_refused(world: &World, mismatch: Mismatch) {
    let link = &world.scenario.links[0];
    for host in link.hosts {
        let worker = &world.hosts[host].worker;
        assert!(
            worker.is_empty(link.id),
            "{mismatch:?}, and SAs all the same"
        );
        let told = worker.tunnels.get(&link.id).expect("a tunnel");
        assert_eq!(told.state, TunnelState::NotConnected, "{mismatch:?}");
        let words = mismatch.words();
        assert!(
            told.reasons.iter().any(|reason| reason.contains(words)),
            "host {host}: {:?} do not say {words:?}",
            told.reasons
        );
        assert!(!told.reason.contains("made-up"), "a key is told");
    }
}

/// A host that ends leaves nothing behind.
fn leave(world: &mut World, host: usize) {
    let now = world.now;
    world.hosts[host].endpoint.shutdown(now);
    world.hosts[host].configs.clear();
    world.run(seconds(60));
    assert!(world.hosts[host].endpoint.is_idle(), "it does not end");
    let counters = world.hosts[host].endpoint.counters();
    assert_eq!(counters.half_open, 0);
    if world.scenario.nat.is_some() {
        // The goodbye may not have found in; the peer finds out by itself.
        world.run(seconds(120));
    }
    let links = world.scenario.links.iter();
    for link in links.filter(|link| link.hosts.contains(&host)) {
        for end in link.hosts {
            let worker = &world.hosts[end].worker;
            assert!(worker.is_empty(link.id), "host {end} has SAs with nobody");
        }
    }
}

#[test]
fn every_run_ends_in_an_agreed_state() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>());
    let only = number("SIMULATOR_SEED").map(|seed| seed.expect("SIMULATOR_SEED is a number"));
    if let Some(seed) = only {
        println!("{:?}", run(seed));
        return;
    }
    let runs = number("SIMULATOR_RUNS").map_or(RUNS, |runs| runs.expect("a number"));
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let failed = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().expect("no panic holds it").len() >= SHOWN;
                    if seed >= runs || enough {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(tally) => total.lock().expect("no panic holds it").add(&tally),
                        Err(_) => {
                            eprintln!(
                                "seed {seed} failed; alone: SIMULATOR_SEED={seed} \
                                 cargo test -p vnet-gw-core --test simulator -- --nocapture"
                            );
                            failed.lock().expect("no panic holds it").push(seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic holds it");
    let total = total.into_inner().expect("no panic holds it");
    println!("{runs} runs: {total:#?}");
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    if runs < RUNS {
        return;
    }
    // The runs are about what they are meant to be about.
    assert!(total.children > 4 * runs, "few CHILD SAs");
    assert!(total.ike_rekeys > runs / 4, "few IKE rekeys");
    assert!(
        total.faithful_runs > runs / 4,
        "few runs that may lose nothing"
    );
    assert!(total.delivered > 100 * runs, "little traffic");
    assert!(total.collisions > runs / 10, "few collisions");
    assert!(total.cookies > runs / 50, "few cookies");
    assert!(total.moves > runs / 50, "few moves behind a NAT");
}
