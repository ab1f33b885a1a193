//! The lookup alone: nanoseconds a packet among more and more routes, ours and an LPM trie's.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    maps::{
        Array, ArrayOfMaps, MapData,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{TestRun, TestRunOptions},
};
use ipnet::Ipv4Net;
use nix::time::{ClockId, clock_gettime};
use vnet_gw_common::{
    maps::INNER_FLAGS,
    table::{Action, ActionKind, Block, SmallTable4},
};
use vnet_gw_core::table::{RouteEntry, Table4, build4};
use vnet_gw_tests::report::Report;

use crate::{
    Options,
    abi::{ADDRESSES, TABLE},
    frame, live, names,
    object::Object,
    routes::{self, Random},
    wire::A4,
};

const SIZES: [(usize, &str); 4] = [
    (16, "lookup_16"),
    (1_000, "lookup_1k"),
    (100_000, "lookup_100k"),
    (1_000_000, "lookup_1m"),
];
/// Runs of a program in one call, with another random address each.
const REPEAT: u32 = 1_000_000;
/// Actions of a table: about as many as a subnet has next hops.
const ACTIONS: u32 = 16;

/// The programs, by subject: drawing an address alone, and with a lookup.
const DRAW: &str = "bench_draw";
const LOOKUPS: [(&str, &str); 2] = [("ours", "bench_ours"), ("lpm", "bench_lpm")];

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    for (count, name) in SIZES {
        options.progress(&format!("{name}: building the tables"));
        let mut object = Object::load()?;
        let prefixes = routes::random_prefixes(count);
        fill_table(&mut object, &prefixes)?;
        fill_trie(&mut object, &prefixes)?;
        fill_addresses(&mut object, &prefixes)?;
        for (_, program) in LOOKUPS {
            object.xdp(program)?;
        }
        object.xdp(DRAW)?;
        for round in 0..options.rounds() {
            options.progress(&format!("{name}, round {}", round + 1));
            let (base, _) = time(&object, DRAW, options.cpu())?;
            for i in 0..LOOKUPS.len() {
                let (subject, program) = LOOKUPS[(i + round) % LOOKUPS.len()];
                let (each, found) = time(&object, program, options.cpu())?;
                if found != u64::from(REPEAT) {
                    bail!("{name}, {subject}: {found} of {REPEAT} lookups found their route");
                }
                // What cannot be told from nothing counts as the clock's resolution here.
                report.add(name, subject, "ns", (each - base).max(0.1));
            }
        }
    }
    Ok(())
}

/// Nanoseconds a run, and how many runs found a route.
fn time(object: &Object, name: &str, cpu: usize) -> Result<(f64, u64)> {
    let program: &aya::programs::Xdp = object
        .ebpf
        .program(name)
        .with_context(|| format!("no program {name}"))?
        .try_into()?;
    let (data, _) = frame::template(A4.into());
    let found = || -> Result<u64> { Ok(object.totals(names::FOUND)?.iter().sum()) };
    let before = found()?;
    let elapsed = thread::scope(|scope| {
        let run = scope.spawn(|| {
            live::pin(cpu)?;
            let begin = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
            program
                .test_run(TestRunOptions {
                    data_in: Some(&data),
                    repeat: REPEAT,
                    ..TestRunOptions::new()
                })
                .with_context(|| format!("running {name}"))?;
            // The kernel's own figure is whole nanoseconds, too coarse for a small table, and has
            // the time of whoever else ran on the CPU in it.
            let end = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
            anyhow::Ok(Duration::from(end - begin))
        });
        run.join()
            .map_err(|_| anyhow!("the thread that runs {name} panicked"))?
    })?;
    Ok((
        elapsed.as_nanos() as f64 / f64::from(REPEAT),
        found()? - before,
    ))
}

/// The table as the data path would have it.
fn fill_table(object: &mut Object, prefixes: &[Ipv4Net]) -> Result<()> {
    let actions: Vec<_> = (0..ACTIONS)
        .map(|i| match i {
            0 => Action::NO_ROUTE,
            scope => Action::new(ActionKind::Peering, 0, scope),
        })
        .collect();
    let routes: Vec<_> = (1u32..)
        .zip(prefixes)
        .map(|(route, prefix)| RouteEntry {
            prefix: *prefix,
            route,
            action: 1 + route % (ACTIONS - 1),
        })
        .collect();
    let stride = routes.len() as u32 + 1;
    match build4(&routes, &actions, stride, 1)? {
        Table4::Small(table) => {
            let mut inner: Array<_, SmallTable4> = Array::create(1, 0)?;
            inner.set(0, *table, 0)?;
            let mut outer: ArrayOfMaps<_, Array<_, _>> = object.map(names::SMALL4)?.try_into()?;
            outer.set(TABLE, &inner, 0)?;
        }
        Table4::Directory(directory) => {
            let blocks = directory.blocks;
            let mut inner: Array<MapData, Block> = Array::create(blocks.len() as u32, INNER_FLAGS)?;
            for (index, block) in (0..).zip(&blocks) {
                inner.set(index, block, 0)?;
            }
            let mut outer: ArrayOfMaps<_, Array<_, _>> = object.map(names::BIG4)?.try_into()?;
            outer.set(TABLE, &inner, 0)?;
        }
    }
    Ok(())
}

fn fill_trie(object: &mut Object, prefixes: &[Ipv4Net]) -> Result<()> {
    let mut trie: LpmTrie<_, [u8; 4], u32> = object.map(names::LPM4)?.try_into()?;
    for (route, prefix) in (1u32..).zip(prefixes) {
        let key = Key::new(u32::from(prefix.prefix_len()), prefix.network().octets());
        trie.insert(&key, route, 0)?;
    }
    Ok(())
}

/// Addresses that both tables have a route for.
fn fill_addresses(object: &mut Object, prefixes: &[Ipv4Net]) -> Result<()> {
    let mut random = Random::new(0x5eed_0030);
    let mut map = object.array::<u32>(names::ADDRESSES4)?;
    for index in 0..ADDRESSES {
        let address: Ipv4Addr = routes::draw(prefixes, &mut random);
        map.set(index, address.to_bits(), 0)?;
    }
    Ok(())
}
