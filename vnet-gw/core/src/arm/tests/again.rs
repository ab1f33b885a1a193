//! Changes that concern few are settled and compiled from what was there before: that comes to the
//! same as settling and compiling everything.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;

use super::{
    random::{Random, SEEDS, change, link, somewhere},
    support::*,
};
use crate::{
    arm::{Change, NoLive, State, Target, view::show},
    compile::{CompileOptions, Compiled, Image, compile, compile_again},
    model::{Topology, settle, settle_again},
};

/// Mostly of what may concern nobody else.
fn small(random: &mut Random) -> Change {
    let number = 1 + random.below(3);
    let table = format!("routeTables/t{}", 1 + random.below(2));
    let flag = random.below(2) == 0;
    match random.below(12) {
        0 => Change::Tags {
            target: target(&format!("virtualNetworks/v{number}")),
            tags: [("turn".to_owned(), random.next().to_string())].into(),
            precondition: Default::default(),
        },
        1..=4 => interface(random, number, flag),
        5 | 6 => of(
            &format!("{table}/routes/to{}", random.below(3)),
            json!({
                "addressPrefix": random.one(&["0.0.0.0/0", "172.16.0.0/12", "10.9.0.0/16"]),
                "nextHopType": "VirtualAppliance",
                "nextHopIpAddress": format!("10.{number}.0.{}", 4 + random.below(4)),
            }),
        ),
        7 => delete(&format!("{table}/routes/to{}", random.below(3))),
        8 => of(&table, json!({"disableBgpRoutePropagation": flag})),
        9 => of(
            &format!(
                "virtualNetworks/v{number}/subnets/{}",
                random.one(&["b", "GatewaySubnet"])
            ),
            json!({
                "addressPrefix": format!("10.{number}.{}.0/24", 1 + random.below(2)),
                "routeTable": link(&table),
            }),
        ),
        10 => of(
            &format!("networkSecurityGroups/n{number}"),
            json!({"flushConnection": flag}),
        ),
        _ => change(random),
    }
}

/// One with a device: it has a port.
fn interface(random: &mut Random, number: u64, forwarding: bool) -> Change {
    let name = format!("i{}", 1 + random.below(4));
    let subnet = link(&format!("virtualNetworks/v{number}/subnets/a"));
    put(
        &format!("networkInterfaces/{name}"),
        json!({
            "tags": {"vnet-gw:device": name, "turn": random.below(3).to_string()},
            "properties": {
                "enableIPForwarding": forwarding,
                "ipConfigurations": [{"name": "one", "properties": {"subnet": subnet}}],
            },
        }),
    )
}

fn settled(state: &State) -> Topology {
    settle(state.read.values().map(|read| &**read)).expect("what was taken holds")
}

/// The state's, from nothing.
fn image(state: &State) -> Arc<Image> {
    let image = compile(&state.topology, &options(state), None);
    Arc::new(image.expect("it fits"))
}

fn options(state: &State) -> CompileOptions<'_> {
    CompileOptions {
        host_name: None,
        shared_keys: &state.keys,
    }
}

#[test]
fn what_is_settled_and_compiled_again_is_as_if_from_nothing() {
    let (mut alone, mut together, mut kept, mut another) = (0, 0, 0, 0);
    for seed in 0..SEEDS / 4 {
        let mut random = Random(seed);
        let mut world = somewhere(&mut random);
        for _ in 0..random.below(8) {
            let _ = world.apply(&[small(&mut random)]);
        }
        let mut before = image(&world.state);
        for turn in 0..12 {
            let old = world.state.clone();
            let changes: Vec<Change> = (0..=random.below(3)).map(|_| small(&mut random)).collect();
            let Ok(applied) = world.apply(&changes) else {
                continue;
            };
            let state = &world.state;
            let whole = settled(state);
            assert_eq!(*state.topology, whole, "seed {seed}, {turn}: {changes:#?}");
            if Arc::ptr_eq(&state.references, &old.references) && !applied.written.is_empty() {
                let fresh = State {
                    references: Arc::default(),
                    ..state.clone()
                };
                for document in state.documents.values() {
                    let target = Target::known(document.kind, &document.id);
                    assert_eq!(
                        show(state, &target, &NoLive),
                        show(&fresh, &target, &NoLive)
                    );
                }
            }
            let changed = applied.written.iter().chain(&applied.removed);
            let changed: BTreeSet<_> = changed.chain(&applied.keys).collect();
            let read = changed.into_iter().map(|id| {
                let of = |state: &State| state.read.get(id).cloned();
                (of(&old), of(state))
            });
            let read: Vec<_> = read.collect();
            let pairs = read
                .iter()
                .map(|(old, new)| (old.as_deref(), new.as_deref()));
            match settle_again(&old.topology, pairs) {
                Some(topology) => {
                    assert_eq!(topology, whole, "seed {seed}, {turn}: {changes:#?}");
                    alone += usize::from(!read.is_empty());
                }
                None => together += 1,
            }
            let compiled = Compiled {
                topology: &old.topology,
                shared_keys: &old.keys,
                image: &before,
            };
            let image_again = compile_again(compiled, &state.topology, &options(state));
            let image_again = image_again.expect("it fits");
            assert_eq!(
                image_again,
                image(state),
                "seed {seed}, {turn}: {changes:#?}"
            );
            match Arc::ptr_eq(&image_again, &before) {
                true => kept += usize::from(!read.is_empty()),
                false => another += 1,
            }
            before = image_again;
        }
    }
    let counts = [alone, together, kept, another];
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
