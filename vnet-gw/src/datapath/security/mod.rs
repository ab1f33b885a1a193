//! Security groups in the kernel: the rule sets that the image names, and which of them a port has.
//!
//! A set that changes is built anew and put in the place of the old one, so a packet meets either.
//! Counters stay with their rules, by name, also over a restart; where a set's counters have no room
//! for its rules any more, it moves to another id with larger ones.

mod counters;
mod set;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vnet_gw_common::{
    flow::timeout_from_seconds,
    maps::MAX_RULE_SETS,
    nsg::{RuleCounter, Security},
};
use vnet_gw_core::{
    compile::{Image, PortImage},
    model::ResourceId,
    security::{Rule, RuleSet, RuleSetId},
};

pub(super) use self::counters::ago;
use self::set::{Held, Plan, Prepared};
use super::{
    DatapathError,
    load::Maps,
    map::Map,
    mirror::{Difference, Ids, Kind, Mirror},
    ports::PortIds,
    report::{RuleHits, RuleSetStats},
};

/// Sets that are made before any of them is put in: each has up to three open descriptors meanwhile.
const AT_ONCE: usize = 100;

#[derive(Debug)]
pub(super) struct RuleSets {
    sets: BTreeMap<RuleSetId, Held>,
    /// Of an earlier life, by hash.
    adopted: BTreeMap<u64, u32>,
    ids: Ids,
    ports: Mirror<Security>,
    /// Ids that ports may still have.
    leaving: Vec<u32>,
}

/// What it takes to reach an image.
#[derive(Debug, Default)]
pub(super) struct RuleSetsPlan {
    changed: Vec<(RuleSetId, Plan)>,
    gone: Vec<RuleSetId>,
    /// By port id.
    ports: BTreeMap<u32, Security>,
    /// Ports whose flows are to be decided anew.
    pub(super) flushed: BTreeSet<ResourceId>,
}

impl RuleSetsPlan {
    /// Whether all sets stay as they are.
    pub(super) fn is_calm(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

/// The sets that ports have.
fn of_ports(ports: &Mirror<Security>) -> BTreeSet<u32> {
    let sets = ports.held().values().map(|port| port.sets);
    let ids = sets.flat_map(|sets| (0..4).map(move |at| (sets >> (16 * at)) as u32 & 0xffff));
    ids.filter(|id| *id != 0).collect()
}

impl RuleSets {
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let free = Security::default();
        let ports = Mirror::read(&maps.security, Kind::Array, free, |port| {
            *port == Security::default()
        })?;
        let likely = of_ports(&ports);
        let likely = || likely.iter().copied();
        let mut adopted = BTreeMap::new();
        let mut used = BTreeSet::new();
        for family in [0, 1] {
            for (id, _) in maps.rules[family].inner_ids(likely())? {
                used.insert(id);
                if family == 0
                    && let Some(blocks) = set::read(maps, family, id)?
                    && let Some(hash) = set::hash_of(&blocks)
                {
                    adopted.insert(hash, id);
                }
            }
        }
        let counters = maps.rule_counters.inner_ids(likely())?;
        used.extend(counters.iter().map(|(id, _)| *id));
        Ok(Self {
            sets: BTreeMap::new(),
            adopted,
            ids: Ids::new("sets of security rules", MAX_RULE_SETS, used.into_iter()),
            ports,
            leaving: Vec::new(),
        })
    }

    /// Looks at what changed. Nothing in the kernel changes.
    pub(super) fn plan(
        &mut self,
        image: &Image,
        port_ids: &PortIds,
        maps: &Maps,
    ) -> Result<RuleSetsPlan, DatapathError> {
        let mut plan = RuleSetsPlan::default();
        for (id, wanted) in &image.rule_sets {
            if !self.sets.contains_key(id) {
                let held = self.admit(id, maps)?;
                self.sets.insert(id.clone(), held);
            }
            let Self { sets, ids, .. } = self;
            let Some(held) = sets.get_mut(id) else {
                continue;
            };
            let planned = held.plan(wanted, || ids.take())?;
            match planned {
                // An earlier life's, and as it should be: taken over without a change.
                Some(planned)
                    if held.set.is_none()
                        && planned.moved_from.is_none()
                        && held.counters.is_some()
                        && planned.prints == held.prints =>
                {
                    held.prepare(planned, maps)?;
                }
                Some(planned) => plan.changed.push((id.clone(), planned)),
                None => held.set = Some(Arc::clone(wanted)),
            }
        }
        plan.gone = (self.sets.keys())
            .filter(|id| !image.rule_sets.contains_key(id))
            .cloned()
            .collect();
        self.plan_ports(image, port_ids, &mut plan)?;
        Ok(plan)
    }

    fn plan_ports(
        &self,
        image: &Image,
        port_ids: &PortIds,
        plan: &mut RuleSetsPlan,
    ) -> Result<(), DatapathError> {
        let edited: BTreeSet<&RuleSetId> = (plan.changed.iter())
            .filter(|(id, planned)| {
                // One that is new has no flows.
                let before = self.sets.get(id).is_some_and(|held| held.prints != [0; 2]);
                before && planned.set.flush_connection
            })
            .map(|(id, _)| id)
            .collect();
        let planned: BTreeMap<&RuleSetId, u32> = (plan.changed.iter())
            .map(|(id, planned)| (id, planned.id))
            .collect();
        let mut flushed = BTreeSet::new();
        for (nic, port) in &image.ports {
            let Some(id) = port_ids.get(nic) else {
                continue;
            };
            let value = self.security(nic, port, &planned)?;
            let sets = || port.security.inbound.iter().chain(&port.security.outbound);
            let held = self.ports.held().get(id).copied().unwrap_or_default();
            let flush = |set| {
                let set: Option<&Arc<RuleSet>> = image.rule_sets.get(set);
                set.is_some_and(|set| set.flush_connection)
            };
            if sets().any(|set| edited.contains(set))
                || held.sets != 0 && held.sets != value.sets && sets().any(flush)
            {
                flushed.insert(nic.clone());
            }
            plan.ports.insert(*id, value);
        }
        plan.flushed = flushed;
        Ok(())
    }

    /// The entry of a port, once `planned` is carried out.
    fn security(
        &self,
        nic: &ResourceId,
        port: &PortImage,
        planned: &BTreeMap<&RuleSetId, u32>,
    ) -> Result<Security, DatapathError> {
        if port.security.inbound.is_empty() && port.security.outbound.is_empty() {
            return Ok(Security::default());
        }
        let ids = |sets: &[RuleSetId]| -> Result<[u16; 2], DatapathError> {
            let mut ids = [0; 2];
            if sets.len() > ids.len() {
                return Err(DatapathError::RuleSet {
                    group: nic.to_string(),
                    why: format!("{} groups for one direction, two fit", sets.len()),
                });
            }
            for (to, set) in ids.iter_mut().zip(sets) {
                let held = || self.sets.get(set).map(|held| held.id);
                let id = planned.get(set).copied().or_else(held);
                *to = id.ok_or_else(|| DatapathError::RuleSet {
                    group: set.group.to_string(),
                    why: format!("{} refers to its rules, which are missing", nic.name()),
                })? as u16;
            }
            Ok(ids)
        };
        Ok(Security::new(
            ids(&port.security.outbound)?,
            ids(&port.security.inbound)?,
            timeout_from_seconds(u32::from(port.flow_timeout) * 60),
        ))
    }

    /// A set that is new to us: that of an earlier life, or a new id.
    fn admit(&mut self, id: &RuleSetId, maps: &Maps) -> Result<Held, DatapathError> {
        match self.adopted.remove(&id.stable_hash()) {
            Some(adopted) if !self.sets.values().any(|held| held.id == adopted) => {
                Held::adopt(maps, adopted)
            }
            _ => Ok(Held::new(self.ids.take()?)),
        }
    }

    /// Makes the rule sets so, and says which of them ports have. Sets that go stay until
    /// [`Self::finish`].
    pub(super) fn carry_out(
        &mut self,
        plan: RuleSetsPlan,
        maps: &Maps,
    ) -> Result<usize, DatapathError> {
        let changed = plan.changed.len() + plan.gone.len();
        let mut plans = plan.changed.into_iter().peekable();
        while plans.peek().is_some() {
            let mut prepared = Vec::new();
            for (id, planned) in plans.by_ref().take(AT_ONCE) {
                self.leaving.extend(planned.moved_from);
                if let Some(held) = self.sets.get_mut(&id) {
                    prepared.push((id, held.prepare(planned, maps)?));
                }
            }
            publish(&prepared, maps)?;
            for (id, prepared) in &prepared {
                if let Some(held) = self.sets.get(id) {
                    held.forget(&prepared.gone);
                }
            }
        }
        for (port, value) in plan.ports {
            if value == Security::default() {
                self.ports.clear(&maps.security, port)?;
            } else {
                self.ports.set(&maps.security, port, value)?;
            }
        }
        for id in plan.gone {
            self.leaving
                .extend(self.sets.remove(&id).map(|held| held.id));
        }
        Ok(changed)
    }

    /// After the ports have been changed: what no port has, and what an earlier life left.
    pub(super) fn forget_unknown(
        &mut self,
        maps: &Maps,
        port_ids: &PortIds,
    ) -> Result<(), DatapathError> {
        self.leaving
            .extend(std::mem::take(&mut self.adopted).into_values());
        let ports: BTreeSet<u32> = port_ids.values().copied().collect();
        let unknown: Vec<u32> = (self.ports.held().keys().copied())
            .filter(|id| !ports.contains(id))
            .collect();
        for id in unknown {
            self.ports.clear(&maps.security, id)?;
        }
        Ok(())
    }

    pub(super) fn owes_grace(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// After a grace period in which no port had a set that is leaving.
    pub(super) fn finish(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        self.ids.rested();
        for id in std::mem::take(&mut self.leaving) {
            self.erase(maps, id)?;
        }
        Ok(())
    }

    fn erase(&mut self, maps: &Maps, id: u32) -> Result<(), DatapathError> {
        for outer in [&maps.rules[0], &maps.rules[1], &maps.rule_counters] {
            outer.delete(id)?;
        }
        self.ids.give_back(id);
        Ok(())
    }

    /// Compares with the kernel, and mends.
    pub(super) fn mend(&mut self, maps: &Maps) -> Result<Vec<String>, DatapathError> {
        let mut found = Vec::new();
        for (key, difference) in self.ports.mend(&maps.security)? {
            found.push(format!("security of port {key} {}", difference.describe()));
        }
        for (id, held) in &self.sets {
            if held.set.is_none() {
                continue;
            }
            let mut differs = false;
            for family in [0, 1] {
                let print = set::read(maps, family, held.id)?.map(|b| set::fingerprint(&b));
                if print != Some(held.prints[family])
                    && let Some(blocks) = held.blocks()
                {
                    let map = set::fill(&blocks[family]).map_err(set::failed)?;
                    maps.rules[family].set_inner(&[(held.id, &map)])?;
                    differs = true;
                }
            }
            if let Some(counters) = &held.counters
                && maps.rule_counters.get::<u32>(held.id)? != Some(counters.id())
            {
                let map = Map::by_id(counters.id()).map_err(set::failed)?;
                maps.rule_counters.set_inner(&[(held.id, &map)])?;
                differs = true;
            }
            if differs {
                found.push(format!(
                    "rules of {} {}",
                    id.group.name(),
                    Difference::Other.describe()
                ));
            }
        }
        Ok(found)
    }

    /// Removes sets that belong to nothing; their ids.
    pub(super) fn sweep(&mut self, maps: &Maps) -> Result<BTreeSet<u32>, DatapathError> {
        let ours: BTreeSet<u32> = (self.sets.values().map(|held| held.id))
            .chain(self.leaving.iter().copied())
            .chain(self.adopted.values().copied())
            .collect();
        let mut orphans = BTreeSet::new();
        for outer in [&maps.rules[0], &maps.rules[1], &maps.rule_counters] {
            let held = outer.inner_ids(of_ports(&self.ports))?;
            orphans.extend(
                held.into_iter()
                    .map(|(id, _)| id)
                    .filter(|id| !ours.contains(id)),
            );
        }
        for id in &orphans {
            self.erase(maps, *id)?;
        }
        Ok(orphans)
    }

    /// How often each rule decided, by set and in the rules' order.
    pub(super) fn hits(&self) -> BTreeMap<RuleSetId, Vec<RuleHits>> {
        let of = |held: &Held| {
            let (set, counters) = (held.set.as_ref()?, held.counters.as_ref()?);
            let rules = set.rules.iter().zip(&held.numbers);
            Some(
                rules
                    .map(|(rule, number)| {
                        let RuleCounter { hits, last } = counters.read(*number);
                        RuleHits {
                            name: Arc::clone(&rule.name),
                            priority: rule.priority,
                            access: rule.access,
                            hits,
                            last: ago(last),
                        }
                    })
                    .collect(),
            )
        };
        (self.sets.iter())
            .filter_map(|(id, held)| Some((id.clone(), of(held)?)))
            .collect()
    }

    /// By id: the set, and for the numbers of its counters the rules' names.
    pub(super) fn names(&self) -> BTreeMap<u32, (RuleSetId, BTreeMap<u32, Arc<Rule>>)> {
        let of = |(id, held): (&RuleSetId, &Held)| {
            let rules = held.set.as_ref()?.rules.iter().zip(&held.numbers);
            let names = rules.map(|(rule, number)| (*number, Arc::clone(rule)));
            Some((held.id, (id.clone(), names.collect())))
        };
        self.sets.iter().filter_map(of).collect()
    }

    pub(super) fn stats(&self) -> RuleSetStats {
        let counters = |held: &Held| held.counters.as_ref().map_or(0, counters::Counters::size);
        RuleSetStats {
            sets: self.sets.len(),
            rules: self.sets.values().map(|held| held.numbers.len()).sum(),
            bytes: self.sets.values().map(|held| held.bytes).sum(),
            counter_bytes: self.sets.values().map(counters).sum(),
        }
    }
}

/// Counters first, so that rules are counted from the first packet on.
fn publish(prepared: &[(RuleSetId, Prepared)], maps: &Maps) -> Result<(), DatapathError> {
    let counters: Vec<(u32, &Map)> = (prepared.iter())
        .filter_map(|(_, one)| Some((one.id, one.counters.as_ref()?)))
        .collect();
    maps.rule_counters.set_inner(&counters)?;
    for family in [0, 1] {
        let rules: Vec<(u32, &Map)> = (prepared.iter())
            .filter_map(|(_, one)| Some((one.id, one.rules[family].as_ref()?)))
            .collect();
        maps.rules[family].set_inner(&rules)?;
    }
    Ok(())
}
