//! The route tables of all subnets: one of each family for a subnet, under one table id.

mod counters;
pub(super) mod family;
mod live;
mod plan;
mod publish;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vnet_gw_common::{maps::MAX_TABLES, port::Subnet};
use vnet_gw_core::{
    compile::{Image, SubnetImage},
    model::ResourceId,
};

pub(super) use self::plan::TablesPlan;
use self::{
    counters::CounterMap,
    family::{Family, V4, V6},
    plan::{SubnetPlan, plan_subnet},
    publish::{Changes, Outer, Underway},
    table::Table,
};
use super::{
    DatapathError, TableForm,
    load::Maps,
    meters::Meters,
    mirror::{Ids, Kind, Mirror},
    report::{ApplyReport, SubnetCounters, TableStats},
    scopes::{Scopes, collision},
};

/// Changes ahead of their grace periods; each has a thread that waits.
const MAX_RESTING: usize = 8;

/// Subnets whose new tables are made before any of them is put in: each has up to four open
/// descriptors meanwhile, of the 1,024 that a process usually may have.
const AT_ONCE: usize = 100;

#[derive(Debug)]
struct Entry {
    id: u32,
    image: Option<Arc<SubnetImage>>,
    /// VNets that its tables refer to.
    scopes: BTreeSet<u32>,
    meters: BTreeSet<u32>,
    v4: Table<V4>,
    v6: Table<V6>,
}

#[derive(Debug)]
pub(super) struct Tables {
    subnets: BTreeMap<ResourceId, Entry>,
    /// Table ids of an earlier life, by the subnet's hash.
    adopted: BTreeMap<u64, u32>,
    ids: Ids,
    mirror: Mirror<Subnet>,
    /// Table ids that ports may still have, with what the counts there are added to.
    leaving: Vec<Leaving>,
    /// Something in a table must outlast a grace period before it can be used again.
    owes_grace: bool,
    resting: Vec<Resting>,
}

/// Tables that packets meet already, while some may still be looked up in what they replace.
#[derive(Debug)]
struct Resting {
    subnets: BTreeSet<ResourceId>,
    wait: Underway,
}

#[derive(Debug)]
struct Leaving {
    id: u32,
    heir: Option<ResourceId>,
    v4: Option<CounterMap<V4>>,
    v6: Option<CounterMap<V6>>,
}

impl Tables {
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let mirror = Mirror::read(&maps.subnets, Kind::Array, Subnet::EMPTY, |subnet| {
            subnet.scope == 0
        })?;
        let held = mirror.held();
        Ok(Self {
            subnets: BTreeMap::new(),
            adopted: held
                .iter()
                .map(|(id, subnet)| (subnet.subnet_hash, *id))
                .collect(),
            ids: Ids::new("subnets", MAX_TABLES, held.keys().copied()),
            mirror,
            leaving: Vec::new(),
            owes_grace: false,
            resting: Vec::new(),
        })
    }

    /// The table id of a subnet, as it will be once `plan` is carried out.
    pub(super) fn id(&self, plan: &TablesPlan, subnet: &ResourceId) -> Option<u32> {
        let planned = plan.changed.binary_search_by(|(id, _)| id.cmp(subnet)).ok();
        match planned {
            Some(at) => Some(plan.changed[at].1.id),
            None => self.subnets.get(subnet).map(|entry| entry.id),
        }
    }

    /// Looks at what changed only: images share what did not. Nothing in the kernel changes.
    pub(super) fn plan(
        &mut self,
        image: &Image,
        scopes: &mut Scopes,
        meters: &mut Meters,
        maps: &Maps,
    ) -> Result<TablesPlan, DatapathError> {
        let mut plan = TablesPlan::default();
        let mut others = Vec::new();
        // Side by side, since both are in order: most are as they were.
        let mut held = self.subnets.iter().peekable();
        for (subnet, wanted) in &image.subnets {
            while let Some((gone, _)) = held.next_if(|(id, _)| *id < subnet) {
                plan.gone.push(gone.clone());
            }
            let same = held
                .next_if(|(id, _)| *id == subnet)
                .and_then(|(_, entry)| entry.image.as_ref());
            if !same.is_some_and(|image| Arc::ptr_eq(image, wanted) || image == wanted) {
                others.push((subnet, wanted));
            }
        }
        plan.gone.extend(held.map(|(id, _)| id.clone()));
        for (subnet, wanted) in others {
            if !self.subnets.contains_key(subnet) {
                let entry = self.admit(subnet, maps)?;
                self.subnets.insert(subnet.clone(), entry);
            }
            let Some(entry) = self.subnets.get(subnet) else {
                continue;
            };
            let planned = plan_subnet(entry, subnet, wanted, scopes, meters)?;
            plan.changed.push((subnet.clone(), planned));
        }
        for (_, planned) in &mut plan.changed {
            if planned.moved_from.is_some() {
                planned.id = self.ids.take()?;
            }
        }
        Ok(plan)
    }

    /// A subnet that is new to us: its tables of an earlier life, or a new id.
    fn admit(&mut self, subnet: &ResourceId, maps: &Maps) -> Result<Entry, DatapathError> {
        let hash = subnet.stable_hash();
        let adopted = self.adopted.get(&hash).copied();
        let (id, v4, v6) = match adopted {
            Some(id) => (id, Table::adopt(maps, id)?, Table::adopt(maps, id)?),
            None => (self.ids.take()?, Table::empty(), Table::empty()),
        };
        if let Some((first, _)) = self.subnets.iter().find(|(_, entry)| entry.id == id) {
            return Err(collision(first, subnet, hash));
        }
        Ok(Entry {
            id,
            image: None,
            scopes: BTreeSet::new(),
            meters: BTreeSet::new(),
            v4,
            v6,
        })
    }

    /// Whether a plan can be carried out before what is under way has arrived: it concerns other
    /// tables, and leaves every subnet its table id.
    pub(super) fn may_overtake(&self, plan: &TablesPlan) -> bool {
        let calm = |(subnet, planned): &(ResourceId, SubnetPlan)| {
            planned.moved_from.is_none()
                && !(self.resting.iter()).any(|one| one.subnets.contains(subnet))
        };
        self.resting.len() < MAX_RESTING
            && self.leaving.is_empty()
            && plan.gone.is_empty()
            && plan.changed.iter().all(calm)
    }

    /// Makes the tables so. Ports keep using the old id of a subnet that moves until
    /// [`Self::finish`]. With `ahead`, some packets may be looked up in what is replaced until
    /// [`Self::arrive`]; without, no more when it returns.
    pub(super) fn carry_out(
        &mut self,
        plan: TablesPlan,
        maps: &Maps,
        ahead: bool,
        report: &mut ApplyReport,
    ) -> Result<(), DatapathError> {
        for subnet in &plan.gone {
            if let Some(entry) = self.subnets.remove(subnet) {
                self.adopted.remove(&subnet.stable_hash());
                self.leaving.push(Leaving {
                    id: entry.id,
                    heir: None,
                    v4: None,
                    v6: None,
                });
                report.subnets_changed += 1;
            }
        }
        let mut plans = plan.changed.into_iter().peekable();
        let mut subnets = BTreeSet::new();
        while plans.peek().is_some() {
            let mut changes = Changes::default();
            for (subnet, planned) in plans.by_ref().take(AT_ONCE) {
                self.carry_out_one(&subnet, planned, maps, &mut changes, report)?;
                subnets.insert(subnet);
            }
            let waits = !changes.is_empty();
            if ahead && plans.peek().is_none() {
                let underway = changes.publish_ahead(maps)?;
                let subnets = std::mem::take(&mut subnets);
                (self.resting).extend(underway.map(|wait| Resting { subnets, wait }));
            } else {
                changes.publish(maps)?;
            }
            if waits {
                self.owes_grace = false;
            }
        }
        Ok(())
    }

    fn carry_out_one(
        &mut self,
        subnet: &ResourceId,
        planned: SubnetPlan,
        maps: &Maps,
        changes: &mut Changes,
        report: &mut ApplyReport,
    ) -> Result<(), DatapathError> {
        let Some(entry) = self.subnets.get_mut(subnet) else {
            return Ok(());
        };
        let (id, moved) = (planned.id, planned.moved_from.is_some());
        self.mirror.set(&maps.subnets, id, planned.value)?;
        self.adopted.insert(subnet.stable_hash(), id);
        entry.id = id;
        entry.image = Some(planned.image);
        entry.scopes = planned.scopes;
        entry.meters = planned.meters;
        let (out4, old4) = entry
            .v4
            .carry_out(planned.v4, id, moved, maps.cpus, changes)?;
        let (out6, old6) = entry
            .v6
            .carry_out(planned.v6, id, moved, maps.cpus, changes)?;
        report.subnets_changed += 1;
        for out in [out4, out6] {
            report.tables_rebuilt += usize::from(out.rebuilt);
            report.tables_edited += usize::from(out.edited);
            report.routes_changed += out.routes;
            self.owes_grace |= out.owes_grace;
        }
        if let Some(from) = planned.moved_from {
            let heir = Some(subnet.clone());
            self.leaving.push(Leaving {
                id: from,
                heir,
                v4: old4,
                v6: old6,
            });
        }
        Ok(())
    }

    pub(super) fn owes_grace(&self) -> bool {
        self.owes_grace || !self.leaving.is_empty()
    }

    /// Waits for what is under way.
    pub(super) fn arrive(&mut self) -> Result<(), DatapathError> {
        // All of them, also after one that failed.
        let waits = std::mem::take(&mut self.resting);
        let ended: Vec<_> = waits.into_iter().map(|one| one.wait.end()).collect();
        ended.into_iter().collect()
    }

    /// After a grace period in which no port had a table id that is leaving, if one was owed.
    pub(super) fn finish(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        for one in self.resting.extract_if(.., |one| one.wait.is_over()) {
            one.wait.end()?;
        }
        self.owes_grace = false;
        for (subnet, entry) in &mut self.subnets {
            if !(self.resting.iter()).any(|one| one.subnets.contains(subnet)) {
                entry.v4.grace_passed();
                entry.v6.grace_passed();
            }
        }
        self.ids.rested();
        let mut changes = Changes::default();
        for leaving in std::mem::take(&mut self.leaving) {
            let heir = leaving.heir.and_then(|heir| self.subnets.get(&heir));
            if let (Some(heir), Some(old)) = (heir, &leaving.v4) {
                heir.v4.inherit(old);
            }
            if let (Some(heir), Some(old)) = (heir, &leaving.v6) {
                heir.v6.inherit(old);
            }
            clear(leaving.id, &mut changes);
            self.mirror.clear(&maps.subnets, leaving.id)?;
            self.ids.give_back(leaving.id);
        }
        changes.publish(maps)
    }

    /// Marks the subnets of an earlier life that the image does not have for [`Self::finish`].
    pub(super) fn forget_unknown(&mut self) {
        let ours: BTreeSet<u32> = self.subnets.values().map(|entry| entry.id).collect();
        let leaving: BTreeSet<u32> = self.leaving.iter().map(|leaving| leaving.id).collect();
        let unknown: Vec<u32> = self.adopted.values().copied().collect();
        for id in unknown
            .into_iter()
            .filter(|id| !ours.contains(id) && !leaving.contains(id))
        {
            self.leaving.push(Leaving {
                id,
                heir: None,
                v4: None,
                v6: None,
            });
        }
        self.adopted.retain(|_, id| ours.contains(id));
    }

    /// Removes the tables that belong to nothing; their ids.
    pub(super) fn sweep(&mut self, maps: &Maps) -> Result<Vec<u32>, DatapathError> {
        let ours: BTreeSet<u32> = self
            .subnets
            .values()
            .map(|entry| entry.id)
            .chain(self.leaving.iter().map(|leaving| leaving.id))
            .collect();
        let likely: Vec<u32> = self.mirror.held().keys().copied().collect();
        let mut orphans = BTreeSet::new();
        for outer in Outer::ALL {
            for family in [V4::AT, V6::AT] {
                let held = maps
                    .outer(outer, family)
                    .inner_ids(likely.iter().copied())?;
                orphans.extend(
                    held.into_iter()
                        .map(|(id, _)| id)
                        .filter(|id| !ours.contains(id)),
                );
            }
        }
        orphans.extend(self.mirror.held().keys().filter(|id| !ours.contains(id)));
        let mut changes = Changes::default();
        for id in &orphans {
            clear(*id, &mut changes);
            self.mirror.clear(&maps.subnets, *id)?;
            self.ids.give_back(*id);
        }
        self.adopted.retain(|_, id| ours.contains(id));
        changes.publish(maps)?;
        Ok(orphans.into_iter().collect())
    }

    /// Compares everything with the kernel, and mends it.
    pub(super) fn mend(&mut self, maps: &Maps) -> Result<Vec<String>, DatapathError> {
        let mut found = Vec::new();
        for (id, difference) in self.mirror.mend(&maps.subnets)? {
            found.push(format!("subnet entry {id} {}", difference.describe()));
        }
        let mut changes = Changes::default();
        for (subnet, entry) in &mut self.subnets {
            let mut differences = entry.v4.verify(maps, entry.id, &mut changes)?;
            differences.extend(entry.v6.verify(maps, entry.id, &mut changes)?);
            found.extend(
                differences
                    .into_iter()
                    .map(|line| format!("{}: {line}", subnet.name())),
            );
        }
        changes.publish(maps)?;
        Ok(found)
    }

    /// Whether `plan` refers to the VNets that the tables refer to now.
    pub(super) fn keeps_scopes(&self, plan: &TablesPlan) -> bool {
        let keeps = |(subnet, planned): &(ResourceId, SubnetPlan)| {
            let held = self.subnets.get(subnet);
            held.is_some_and(|held| held.scopes == planned.scopes)
        };
        plan.gone.is_empty() && plan.changed.iter().all(keeps)
    }

    pub(super) fn used_scopes(&self) -> BTreeSet<u32> {
        self.subnets
            .values()
            .flat_map(|entry| entry.scopes.iter().copied())
            .collect()
    }

    pub(super) fn used_meters(&self) -> BTreeSet<u32> {
        self.subnets
            .values()
            .flat_map(|entry| entry.meters.iter().copied())
            .collect()
    }

    pub(super) fn counters(&self) -> BTreeMap<ResourceId, SubnetCounters> {
        let counters = |entry: &Entry| SubnetCounters {
            v4: entry.v4.counters(),
            v6: entry.v6.counters(),
        };
        self.subnets
            .iter()
            .map(|(subnet, entry)| (subnet.clone(), counters(entry)))
            .collect()
    }

    pub(super) fn stats(&self) -> Vec<TableStats> {
        let mut all = Vec::new();
        for (subnet, entry) in &self.subnets {
            let blank = TableStats {
                subnet: subnet.clone(),
                table_id: entry.id,
                family: 0,
                form: TableForm::Empty,
                routes: 0,
                actions: 0,
                table_bytes: 0,
                counter_bytes: 0,
            };
            let (mut v4, mut v6) = (blank.clone(), blank);
            entry.v4.stats(&mut v4);
            entry.v6.stats(&mut v6);
            all.extend([v4, v6]);
        }
        all
    }
}

/// Everything under a table id.
fn clear(id: u32, changes: &mut Changes) {
    for outer in Outer::ALL {
        for family in [V4::AT, V6::AT] {
            changes.unset(outer, family, id);
        }
    }
}
