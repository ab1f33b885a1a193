//! Edits of a live directory, watched after every single store.

mod refused;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::table::{
    ActionNumbers, AdoptError, Directory, DirectoryEditor, EditError, LiveBlocks, RouteNumbers,
    build4, directory, verify_directory,
};

/// A lookup that has loaded a slot and not yet followed it.
#[derive(Clone, Copy)]
struct Paused {
    addr: u32,
    /// The slot loaded, and how many address bits are left below it.
    slot: u32,
    bits: u32,
}

impl Paused {
    fn at_root(blocks: &[Block], addr: u32) -> Self {
        let root = header_word(&blocks[0], Header::ROOT_AT) + (addr >> 24);
        let slot = blocks[root as usize].0[(addr >> 16 & 0xff) as usize];
        Self {
            addr,
            slot,
            bits: 16,
        }
    }

    /// One load further, or `None` at a leaf.
    fn step(self, blocks: &[Block]) -> Option<Self> {
        if self.slot & Leaf::CHILD == 0 {
            return None;
        }
        let index = (self.slot & !Leaf::CHILD) as usize;
        let (addr, slot, bits) = match self.bits {
            16 => (
                self.addr,
                blocks[index].0[(self.addr >> 8 & 0xff) as usize],
                8,
            ),
            8 | 4 => {
                let at = (self.addr >> (self.bits - 4) & 0xf) as usize;
                (
                    self.addr,
                    blocks[index / 16].0[index % 16 * 16 + at],
                    self.bits - 4,
                )
            }
            bits => panic!("a child below {bits} bits"),
        };
        Some(Self { addr, slot, bits })
    }

    fn finish(mut self, blocks: &[Block]) -> u32 {
        while let Some(next) = self.step(blocks) {
            self = next;
        }
        self.slot
    }
}

/// A store that checks, after each write, what lookups find.
struct Watched {
    blocks: Vec<Block>,
    /// What each sampled address may find from now on: (leaf, its action).
    allowed: BTreeMap<u32, BTreeSet<(u32, Action)>>,
    /// Lookups paused in every depth since the last grace period, and what they may find.
    paused: Vec<(Paused, BTreeSet<u32>)>,
    stores: u32,
}

impl Watched {
    fn new(blocks: Vec<Block>) -> Self {
        Self {
            blocks,
            allowed: BTreeMap::new(),
            paused: Vec::new(),
            stores: 0,
        }
    }

    fn find(&self, addr: u32) -> (u32, Action) {
        let leaf = directory_leaf(&self.blocks, addr);
        (leaf, held_action(&self.blocks, leaf))
    }

    /// Before an edit from the routes that are in force to those of `wanted`.
    fn begin(&mut self, samples: &[u32], wanted: impl Fn(u32) -> (u32, Action)) {
        self.allowed.clear();
        for &addr in samples {
            let new = wanted(addr);
            self.allowed
                .insert(addr, BTreeSet::from([self.find(addr), new]));
            let mut at = Some(Paused::at_root(&self.blocks, addr));
            while let Some(paused) = at {
                self.paused
                    .push((paused, BTreeSet::from([self.find(addr).0])));
                at = paused.step(&self.blocks);
            }
        }
        for (paused, allowed) in &mut self.paused {
            allowed.insert(wanted(paused.addr).0);
        }
    }

    fn check(&mut self) {
        self.stores += 1;
        for (&addr, allowed) in &self.allowed {
            let found = self.find(addr);
            assert!(
                allowed.contains(&found),
                "{addr:#x}: {found:x?}, not one of {allowed:x?}"
            );
        }
        // Every lookup, every store: too slow. A paused one is finished sooner or later.
        let turn = self.stores as usize % 7;
        for (paused, allowed) in self.paused.iter().skip(turn).step_by(7) {
            let found = paused.finish(&self.blocks);
            assert!(
                allowed.contains(&found),
                "paused at {:#x}: {found:#x}",
                paused.addr
            );
        }
    }

    fn finish_paused(&self) {
        for (paused, allowed) in &self.paused {
            assert!(
                allowed.contains(&paused.finish(&self.blocks)),
                "{:#x}",
                paused.addr
            );
        }
    }
}

impl LiveBlocks for Watched {
    fn block_count(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn load_slot(&self, block: u32, slot: u32) -> u32 {
        self.blocks[block as usize].0[slot as usize]
    }

    fn write_block(&mut self, index: u32, block: &Block) {
        self.blocks[index as usize] = *block;
        self.check();
    }

    fn store_slot(&mut self, block: u32, slot: u32, value: u32) {
        self.blocks[block as usize].0[slot as usize] = value;
        self.check();
    }
}

/// The routes of a table with the numbers that its history gave them.
#[derive(Default)]
struct Numbered {
    routes: RouteNumbers<Ipv4Net>,
    actions: ActionNumbers,
}

impl Numbered {
    fn entries(&mut self, desired: &BTreeMap<Ipv4Net, Action>) -> Vec<RouteEntry<Ipv4Net>> {
        let routes = self.routes.assign(desired.keys().copied()).unwrap();
        let actions = self.actions.assign(desired.values().copied()).unwrap();
        assert!(!actions.fresh);
        let numbers = routes.numbers.iter().zip(&actions.numbers);
        let entry = |(prefix, (route, action)): (&Ipv4Net, (&u32, &u32))| RouteEntry {
            prefix: *prefix,
            route: *route,
            action: *action,
        };
        desired.keys().zip(numbers).map(entry).collect()
    }
}

fn action(n: u32) -> Action {
    some_actions(n)[n as usize]
}

/// Prefixes whose entry differs.
fn changed(before: &[RouteEntry<Ipv4Net>], after: &[RouteEntry<Ipv4Net>]) -> Vec<Ipv4Net> {
    let only = |a: &[RouteEntry<Ipv4Net>], b: &[RouteEntry<Ipv4Net>]| -> Vec<Ipv4Net> {
        a.iter()
            .filter(|entry| !b.contains(entry))
            .map(|entry| entry.prefix)
            .collect()
    };
    let mut changed = only(before, after);
    changed.extend(only(after, before));
    changed
}

#[derive(Clone, Debug)]
struct Step {
    /// Action 0 removes the prefix.
    changes: Vec<(Ipv4Net, u32)>,
    grace: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changes = prop::collection::vec((any_net4(), 0u32..6), 1..5);
    let step = (changes, any::<bool>()).prop_map(|(changes, grace)| Step { changes, grace });
    prop::collection::vec(step, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn at_every_store_an_address_has_its_old_leaf_or_its_new_one(
        start in prop::collection::btree_map(any_net4(), 1u32..6, 0..40),
        steps in steps(),
    ) {
        let mut desired: BTreeMap<Ipv4Net, Action> =
            start.into_iter().map(|(net, n)| (net, action(n))).collect();
        let mut numbers = Numbered::default();
        // A number that a step frees is used again by the next only after a grace period, so a
        // table that is edited twice without one gets actions that stay.
        numbers.actions.assign((1..6).map(action)).unwrap();
        let mut entries = numbers.entries(&desired);
        let stride = numbers.routes.stride().max(256);
        let Directory { blocks, mut editor } =
            directory::build(&entries, numbers.actions.table(), stride, 1);
        let mut live = Watched::new(blocks);
        for step in steps {
            let mut nets: Vec<Ipv4Net> = desired.keys().copied().collect();
            for (net, n) in step.changes {
                nets.push(net);
                // Removals should hit something now and then.
                let near = desired.range(net..).next().map(|(near, _)| *near);
                match n {
                    0 => near.map(|near| desired.remove(&near)),
                    n => Some(desired.insert(net, action(n))),
                };
            }
            if step.grace {
                live.finish_paused();
                live.paused.clear();
                editor.grace_passed();
                prop_assert_eq!(editor.quarantined(), 0);
            }
            let before = std::mem::replace(&mut entries, numbers.entries(&desired));
            let actions = numbers.actions.table();
            let changed = changed(&before, &entries);
            live.begin(&edges(nets), |addr| {
                let leaf = naive(&entries, addr);
                (leaf, actions[Leaf(leaf).action() as usize])
            });
            editor.apply(&mut live, &entries, actions, &changed).unwrap();
            live.finish_paused();
            for (addr, allowed) in &live.allowed {
                prop_assert!(allowed.contains(&live.find(*addr)));
                prop_assert_eq!(live.find(*addr).0, naive(&entries, *addr));
            }
            let drift =
                verify_directory(&live.blocks[..], &entries, actions, stride).unwrap();
            prop_assert!(drift.is_none(), "{:?}", drift);
        }

        // An edited table is a built one but for where its nodes are, and whoever adopts it finds
        // free what its editor knows to be free.
        editor.grace_passed();
        let adopted = DirectoryEditor::adopt(&live).unwrap();
        prop_assert_eq!(adopted.free_blocks(), editor.free_blocks());
        prop_assert_eq!(adopted.free_chunks(), editor.free_chunks());
        let built = directory::build(&entries, numbers.actions.table(), stride, 1);
        let used = |editor: &DirectoryEditor, blocks: &[Block]| {
            (blocks.len() - editor.free_blocks()) * 16 - editor.free_chunks()
        };
        // Chunks may lie in more blocks than need be, but there are as many.
        prop_assert_eq!(used(&editor, &live.blocks), used(&built.editor, &built.blocks));
    }
}

fn base_routes() -> BTreeMap<Ipv4Net, Action> {
    BTreeMap::from([
        (net4("0.0.0.0/0"), action(1)),
        (net4("10.1.0.0/16"), action(2)),
    ])
}

/// 256 /30 routes, each in a /24 of its own: a block, and two chunks for each.
fn scattered(second: u8) -> impl Iterator<Item = (Ipv4Net, Action)> {
    (0..=255).map(move |third| (net4(&format!("10.{second}.{third}.16/30")), action(3)))
}

#[test]
fn what_was_freed_is_used_again_after_a_grace_period() {
    let mut numbers = Numbered::default();
    let mut desired = base_routes();
    let mut entries = numbers.entries(&desired);
    let Directory {
        mut blocks,
        mut editor,
    } = directory::build(&entries, numbers.actions.table(), 1024, 1);
    let free = (editor.free_blocks(), editor.free_chunks());
    for round in 0..40u32 {
        // 33 blocks, of the table's 100 or so to spare.
        for (net, to) in scattered((round % 8) as u8) {
            desired.insert(net, to);
        }
        let mut apply = |desired: &BTreeMap<Ipv4Net, Action>| {
            let before = std::mem::replace(&mut entries, numbers.entries(desired));
            let changed = changed(&before, &entries);
            editor
                .apply(&mut blocks[..], &entries, numbers.actions.table(), &changed)
                .unwrap_or_else(|error| panic!("round {round}: {error}"))
        };
        let edited = apply(&desired);
        assert_eq!((edited.added, edited.retired), (1 + 512, 0));
        desired = base_routes();
        let edited = apply(&desired);
        assert_eq!((edited.added, edited.retired), (0, 1 + 512));
        assert_eq!(editor.quarantined(), 513);
        editor.grace_passed();
        assert_eq!((editor.free_blocks(), editor.free_chunks()), free);
    }
}

#[test]
fn without_a_grace_period_nothing_is_used_again() {
    let mut numbers = Numbered::default();
    let desired = base_routes();
    let mut entries = numbers.entries(&desired);
    let Directory {
        mut blocks,
        mut editor,
    } = directory::build(&entries, numbers.actions.table(), 1024, 1);
    let mut failed = None;
    for round in 1..=20 {
        let wanted = if round % 2 == 0 {
            desired.clone()
        } else {
            desired.clone().into_iter().chain(scattered(0)).collect()
        };
        let before = std::mem::replace(&mut entries, numbers.entries(&wanted));
        let changed = changed(&before, &entries);
        let result = editor.apply(&mut blocks[..], &entries, numbers.actions.table(), &changed);
        if let Err(error) = result {
            failed = Some((round, error));
            break;
        }
    }
    // The spare blocks are more than twice, and less than three times, what a round takes.
    assert_eq!(failed, Some((5, EditError::OutOfBlocks)));
    // The slot whose node had no room is as it was; nothing is lost.
    let held_free = (editor.free_blocks(), editor.free_chunks());
    editor.grace_passed();
    let adopted = DirectoryEditor::adopt(&blocks[..]).unwrap();
    assert_eq!(
        (adopted.free_blocks(), adopted.free_chunks()),
        (editor.free_blocks(), editor.free_chunks())
    );
    assert!(held_free.0 < editor.free_blocks());
}
