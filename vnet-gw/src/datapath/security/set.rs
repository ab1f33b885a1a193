//! One rule set: what it takes to bring it into the kernel.

use std::{collections::HashMap, sync::Arc};

use vnet_gw_common::{
    maps::INNER_FLAGS,
    nsg::{Header, RuleCounter},
    table::Block,
};
use vnet_gw_core::security::{RuleSet, classifier};

use super::counters::Counters;
use crate::datapath::{
    DatapathError,
    load::{Maps, hash},
    map::Map,
};

/// A rule set in force.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: u32,
    /// `None` for one of an earlier life that no image has named yet.
    pub(super) set: Option<Arc<RuleSet>>,
    /// Of its rules, in their order.
    pub(super) numbers: Vec<u32>,
    pub(super) counters: Option<Counters>,
    /// Of what is in the kernel, for each family.
    pub(super) prints: [u64; 2],
    pub(super) bytes: u64,
}

/// What it takes to change a rule set, or to make it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: u32,
    /// The id it had, where its counters have no room for its rules.
    pub(super) moved_from: Option<u32>,
    pub(super) set: Arc<RuleSet>,
    numbers: Vec<u32>,
    stride: u32,
    fresh: bool,
    blocks: [Vec<Block>; 2],
    pub(super) prints: [u64; 2],
}

/// How a rule is known again.
fn name(rule: &str) -> u64 {
    hash(rule.to_ascii_lowercase().as_bytes()).max(1)
}

impl Held {
    /// A set without anything in the kernel.
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            set: None,
            numbers: Vec::new(),
            counters: None,
            prints: [0; 2],
            bytes: 0,
        }
    }

    /// What an earlier life left under that id, as far as it is whole.
    pub(super) fn adopt(maps: &Maps, id: u32) -> Result<Self, DatapathError> {
        let mut held = Self::new(id);
        for (family, print) in held.prints.iter_mut().enumerate() {
            if let Some(blocks) = read(maps, family, id)? {
                *print = fingerprint(&blocks);
                held.bytes += size_of_val(&blocks[..]) as u64;
                if family == 0
                    && let Some(map) = maps.rule_counters.inner(id)?
                {
                    let stride = blocks.first().map_or(0, |header| header.0[Header::STRIDE]);
                    held.counters = Counters::adopt(&map, maps.cpus, stride).map_err(failed)?;
                }
            }
        }
        Ok(held)
    }

    /// How to get to `set`; `None` where that is in force. `fresh_id` gives a new id.
    pub(super) fn plan(
        &self,
        set: &Arc<RuleSet>,
        mut fresh_id: impl FnMut() -> Result<u32, DatapathError>,
    ) -> Result<Option<Plan>, DatapathError> {
        if self
            .set
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, set) || held.rules == set.rules)
        {
            return Ok(None);
        }
        let numbered = self
            .counters
            .as_ref()
            .and_then(|counters| Some((counters.stride(), number(set, &counters.names())?)));
        let (stride, numbers, fresh) = match numbered {
            Some((stride, numbers)) => (stride, numbers, false),
            None => {
                let rules = set.rules.len() as u32;
                let stride = (rules + rules / 4 + 8).next_power_of_two();
                (stride, (0..rules).collect(), true)
            }
        };
        let built =
            classifier::build(set, &numbers, stride).map_err(|why| DatapathError::RuleSet {
                group: set.id.group.to_string(),
                why: why.to_string(),
            })?;
        let blocks = [built.v4, built.v6];
        let moves = fresh && self.counters.is_some();
        Ok(Some(Plan {
            id: if moves { fresh_id()? } else { self.id },
            moved_from: moves.then_some(self.id),
            set: Arc::clone(set),
            numbers,
            stride,
            fresh,
            prints: [fingerprint(&blocks[0]), fingerprint(&blocks[1])],
            blocks,
        }))
    }

    /// Makes the maps of a plan; nothing uses them yet.
    pub(super) fn prepare(&mut self, plan: Plan, maps: &Maps) -> Result<Prepared, DatapathError> {
        let mut prepared = Prepared {
            id: plan.id,
            counters: None,
            rules: [None, None],
            gone: Vec::new(),
        };
        if plan.fresh {
            let (map, counters) = Counters::create(maps.cpus, plan.stride).map_err(failed)?;
            if let Some(old) = &self.counters {
                carry_over(old, &counters, &plan);
            }
            prepared.counters = Some(map);
            self.counters = Some(counters);
        }
        if let Some(counters) = &self.counters {
            let mut stale: HashMap<u64, u32> = (counters.names().into_iter().zip(0..))
                .filter(|(name, _)| *name != 0)
                .collect();
            for (rule, number) in plan.set.rules.iter().zip(&plan.numbers) {
                let name = name(&rule.name);
                if stale.remove(&name).is_none() {
                    if !plan.fresh {
                        counters.set(*number, RuleCounter::default());
                    }
                    counters.set_name(*number, name);
                }
            }
            prepared.gone = stale.into_values().collect();
        }
        self.bytes = 0;
        for (family, blocks) in plan.blocks.iter().enumerate() {
            self.bytes += size_of_val(&blocks[..]) as u64;
            let same = plan.moved_from.is_none()
                && self.prints[family] == plan.prints[family]
                && !plan.fresh;
            if !same {
                prepared.rules[family] = Some(fill(blocks).map_err(failed)?);
            }
        }
        self.id = plan.id;
        self.numbers = plan.numbers;
        self.prints = plan.prints;
        self.set = Some(plan.set);
        Ok(prepared)
    }

    /// Once no packet counts for rules that are gone.
    pub(super) fn forget(&self, gone: &[u32]) {
        if let Some(counters) = &self.counters {
            for number in gone {
                counters.set_name(*number, 0);
            }
        }
    }

    /// The blocks that should be in the kernel.
    pub(super) fn blocks(&self) -> Option<[Vec<Block>; 2]> {
        let (set, counters) = (self.set.as_ref()?, self.counters.as_ref()?);
        let built = classifier::build(set, &self.numbers, counters.stride()).ok()?;
        Some([built.v4, built.v6])
    }
}

/// Maps that are to be put in under an id.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: u32,
    pub(super) counters: Option<Map>,
    pub(super) rules: [Option<Map>; 2],
    /// Numbers of counters of rules that go.
    pub(super) gone: Vec<u32>,
}

/// The rules' numbers: those they have, and free ones for others; `None` where there are too few.
fn number(set: &RuleSet, names: &[u64]) -> Option<Vec<u32>> {
    let known: HashMap<u64, u32> = (names.iter().copied().zip(0..))
        .filter(|(name, _)| *name != 0)
        .collect();
    let mut free = (0..).zip(names).filter(|(_, name)| **name == 0);
    let of = |rule: &str| match known.get(&name(rule)) {
        Some(number) => Some(*number),
        None => free.next().map(|(number, _)| number),
    };
    set.rules.iter().map(|rule| &*rule.name).map(of).collect()
}

/// What was counted so far; what is counted until the new counters are in force is lost.
fn carry_over(old: &Counters, new: &Counters, plan: &Plan) {
    let known: HashMap<u64, u32> = old.names().into_iter().zip(0..).collect();
    for (rule, number) in plan.set.rules.iter().zip(&plan.numbers) {
        if let Some(before) = known.get(&name(&rule.name)) {
            new.set(*number, old.read(*before));
        }
    }
}

/// FNV-1a by words, which tells two sets apart that differ by accident.
pub(super) fn fingerprint(blocks: &[Block]) -> u64 {
    let words = blocks.iter().flat_map(|block| block.0);
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A map that holds the blocks.
pub(super) fn fill(blocks: &[Block]) -> std::io::Result<Map> {
    let map = Map::array::<Block>("vg_rules", blocks.len() as u32, INNER_FLAGS)?;
    map.map()?.fill(blocks)?;
    Ok(map)
}

/// The blocks in the kernel.
pub(super) fn read(
    maps: &Maps,
    family: usize,
    id: u32,
) -> Result<Option<Vec<Block>>, DatapathError> {
    let Some(map) = maps.rules[family].inner(id)? else {
        return Ok(None);
    };
    let mut blocks = vec![Block::ZERO; map.info().entries as usize];
    let whole = map.map().map_err(failed)?.copy_to(&mut blocks);
    Ok(whole.then_some(blocks))
}

/// Of the hash in a set's header.
pub(super) fn hash_of(blocks: &[Block]) -> Option<u64> {
    let header = &blocks.first()?.0;
    let hash = u64::from(header[Header::HASH + 1]) << 32 | u64::from(header[Header::HASH]);
    (hash != 0 && header[Header::RULES] != 0).then_some(hash)
}

pub(super) fn failed(source: std::io::Error) -> DatapathError {
    DatapathError::Map {
        map: "rule sets",
        operation: "making or mapping one".to_owned(),
        source,
    }
}
