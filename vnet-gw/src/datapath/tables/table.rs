//! One route table: what it holds, how it gets from one content to the next, and whether the kernel
//! agrees.

mod inspect;

use std::io;

use vnet_gw_common::{
    maps::INNER_FLAGS,
    table::{Action, BLOCK_WORDS, Block, Header},
};
use vnet_gw_core::{
    compile::TableImage,
    table::{
        ActionNumbers, DirectoryEditor, LiveBlocks, Prefix, RouteEntry, RouteNumbers, TableError,
    },
};

use super::{
    counters::CounterMap,
    family::{Built, Family},
    live::Live,
    publish::{Changes, Outer},
};
use crate::datapath::{DatapathError, load::Maps, map::Map};

/// A big table that has come down to so few routes goes back to the small form.
const BACK_TO_SMALL: usize = 40;
/// Above this share of its routes, changing a table in place is no cheaper than a new one.
const EDIT_SHARE: usize = 4;

/// What is in the kernel, by the id of the inner map.
#[derive(Debug)]
enum Form {
    Empty,
    Small {
        id: u32,
    },
    Big {
        id: u32,
        live: Live,
        editor: Option<DirectoryEditor>,
    },
}

#[derive(Debug)]
pub(in crate::datapath) struct Table<F: Family> {
    numbers: RouteNumbers<F::Net>,
    actions: ActionNumbers,
    entries: Vec<RouteEntry<F::Net>>,
    form: Form,
    counters: Option<CounterMap<F>>,
    generation: u32,
    /// As the kernel had it: what its leaves are is known only by comparing.
    adopted: bool,
}

/// The next content of a table.
#[derive(Debug)]
pub(in crate::datapath) struct Plan<F: Family> {
    numbers: RouteNumbers<F::Net>,
    actions: ActionNumbers,
    entries: Vec<RouteEntry<F::Net>>,
    step: Step<F>,
    added: Vec<u32>,
    freed: Vec<u32>,
    changed: usize,
    /// The counters cannot stay: another stride, or no number is free.
    fresh: bool,
}

#[derive(Debug)]
enum Step<F: Family> {
    Keep,
    Edit(Vec<F::Net>),
    Replace,
}

/// What publishing a plan did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) rebuilt: bool,
    pub(super) edited: bool,
    pub(super) routes: usize,
    /// Something of the old content must outlast a grace period.
    pub(super) owes_grace: bool,
}

impl<F: Family> Plan<F> {
    /// Whether the subnet needs a new table id. A table and its counters are two maps, and packets
    /// must not see the stride of one with the counters of another.
    pub(super) fn moves(&self, now: &Table<F>) -> bool {
        self.fresh && !matches!(now.form, Form::Empty)
    }
}

impl<F: Family> Table<F> {
    pub(super) fn empty() -> Self {
        Self {
            numbers: RouteNumbers::default(),
            actions: ActionNumbers::default(),
            entries: Vec::new(),
            form: Form::Empty,
            counters: None,
            generation: 0,
            adopted: false,
        }
    }

    /// What the kernel has under a table id. A table whose parts do not fit together counts as
    /// none: it is built anew, its counts are lost.
    pub(super) fn adopt(maps: &Maps, id: u32) -> Result<Self, DatapathError> {
        let small = maps.small[F::AT].inner(id)?;
        let big = maps.big[F::AT].inner(id)?;
        let mut table = Self::empty();
        let header;
        match (small, big) {
            (Some(map), _) => {
                let mut small = [F::blank()];
                map.get_into(0, &mut small)
                    .map_err(|source| failed::<F>("reading", id, source))?;
                header = *F::header(&small[0]);
                table.actions = ActionNumbers::from_table(&F::actions(&small[0]));
                table.form = Form::Small { id: map.info().id };
            }
            (None, Some(map)) => {
                let live = Live::new(&map).map_err(|source| failed::<F>("mapping", id, source))?;
                header = std::array::from_fn(|word| live.load_slot(0, word as u32));
                table.actions = ActionNumbers::from_table(&big_actions(&live, &header));
                let editor = F::adopt_editor(&live);
                table.form = Form::Big {
                    id: map.info().id,
                    live,
                    editor,
                };
            }
            (None, None) => return Ok(table),
        }
        let counters = match maps.counters[F::AT].inner(id)? {
            Some(map) => CounterMap::adopt(&map, maps.cpus, header[Header::STRIDE])
                .map_err(|source| failed::<F>("mapping the counters of", id, source))?,
            None => None,
        };
        let Some(counters) = counters else {
            return Ok(Self::empty());
        };
        table.numbers = RouteNumbers::from_list(&counters.prefixes());
        table.counters = Some(counters);
        table.generation = header[Header::GENERATION];
        table.adopted = true;
        Ok(table)
    }

    /// What it takes to hold the routes of `image`, whose actions are `actions`.
    pub(super) fn plan(
        &self,
        image: &TableImage<F::Net>,
        actions: Vec<Action>,
    ) -> Result<Plan<F>, TableError> {
        let (numbers, routes) = self
            .numbers
            .next(image.routes.iter().map(|(prefix, _)| *prefix))?;
        let mut plan = Plan {
            numbers,
            actions: self.actions.clone(),
            entries: Vec::with_capacity(image.routes.len()),
            step: Step::Keep,
            added: Vec::new(),
            freed: Vec::new(),
            changed: 0,
            fresh: false,
        };
        let actions = plan.actions.assign(actions)?;
        let numbered = image.routes.iter().zip(&routes.numbers);
        plan.entries
            .extend(numbered.map(|((prefix, action), route)| RouteEntry {
                prefix: *prefix,
                route: *route,
                // An action that is not there has number 0, which the build refuses by name.
                action: actions.numbers.get(*action as usize).copied().unwrap_or(0),
            }));
        (plan.added, plan.freed) = (routes.added, routes.freed);
        plan.fresh = routes.fresh;
        if self.adopted {
            let same = plan.added.is_empty()
                && plan.freed.is_empty()
                && self.matches(&plan.entries, plan.actions.table(), plan.numbers.stride())?;
            plan.step = if same { Step::Keep } else { Step::Replace };
            return Ok(plan);
        }
        let changed = changed(&self.entries, &plan.entries);
        plan.changed = changed.len();
        let same = changed.is_empty() && plan.actions.table() == self.actions.table();
        plan.step = if same && !plan.fresh {
            Step::Keep
        } else if plan.fresh || actions.fresh || !self.can_edit(&plan, changed.len()) {
            Step::Replace
        } else {
            Step::Edit(changed)
        };
        Ok(plan)
    }

    fn can_edit(&self, plan: &Plan<F>, changed: usize) -> bool {
        let editable = matches!(
            &self.form,
            Form::Big {
                editor: Some(_),
                ..
            }
        );
        editable && plan.entries.len() > BACK_TO_SMALL && changed <= plan.entries.len() / EDIT_SHARE
    }

    /// Whether the table in the kernel holds these routes.
    fn matches(
        &self,
        entries: &[RouteEntry<F::Net>],
        actions: &[Action],
        stride: u32,
    ) -> Result<bool, TableError> {
        match &self.form {
            Form::Empty => Ok(entries.is_empty()),
            Form::Small { id } => {
                let mut held = [F::blank()];
                let read = Map::by_id(*id).and_then(|map| map.get_into(0, &mut held));
                Ok(read.is_ok() && F::verify_small(&held[0], entries, actions, stride)?.is_none())
            }
            Form::Big { live, .. } => Ok(F::verify_big(live, entries, actions, stride)?.is_none()),
        }
    }

    /// Carries a plan out for table `id`: edits in place at once, everything else as entries of
    /// `changes` for the caller to publish. Where the subnet moves from `from` to another id, the
    /// parts that stay go with it.
    ///
    /// Returns the counters that new ones take the place of; their counts are for
    /// [`Self::inherit`].
    pub(super) fn carry_out(
        &mut self,
        mut plan: Plan<F>,
        id: u32,
        moved: bool,
        rows: u32,
        changes: &mut Changes,
    ) -> Result<(Outcome, Option<CounterMap<F>>), DatapathError> {
        let mut outcome = Outcome {
            routes: plan.changed,
            ..Outcome::default()
        };
        let step = std::mem::replace(&mut plan.step, Step::Keep);
        let (added, freed) = (
            std::mem::take(&mut plan.added),
            std::mem::take(&mut plan.freed),
        );
        self.numbers = plan.numbers;
        self.actions = plan.actions;
        self.entries = plan.entries;
        self.adopted = false;

        if self.entries.is_empty() {
            return Ok((outcome, self.vanish(id, moved, changes)));
        }
        let mut old_counters = None;
        if self.counters.is_none() || plan.fresh {
            let (map, counters) = CounterMap::create("vg_counters", rows, self.numbers.stride())
                .map_err(|source| failed::<F>("making counters for", id, source))?;
            counters.mend_list(self.assigned());
            changes.set(Outer::Counters, F::AT, id, map);
            old_counters = self.counters.replace(counters);
        } else if let Some(counters) = &self.counters {
            for entry in self
                .entries
                .iter()
                .filter(|e| added.binary_search(&e.route).is_ok())
            {
                counters.zero(entry.route);
                counters.set_prefix(entry.route, Some(entry.prefix));
            }
            freed
                .iter()
                .for_each(|number| counters.set_prefix(*number, None));
            if moved {
                changes.set(Outer::Counters, F::AT, id, reopen::<F>(counters.id(), id)?);
            }
        }
        outcome.owes_grace = !freed.is_empty();
        match step {
            Step::Keep if moved => match &self.form {
                Form::Empty => {}
                Form::Small { id: map } => {
                    changes.set(Outer::Small, F::AT, id, reopen::<F>(*map, id)?);
                }
                Form::Big { id: map, .. } => {
                    changes.set(Outer::Big, F::AT, id, reopen::<F>(*map, id)?);
                }
            },
            Step::Keep => {}
            Step::Edit(changed) if !moved && self.edit(&changed) => {
                outcome.edited = true;
                outcome.owes_grace = true;
            }
            Step::Edit(_) | Step::Replace => {
                self.replace(id, moved, changes)?;
                outcome.rebuilt = true;
            }
        }
        Ok((outcome, old_counters))
    }

    /// Whether it worked; else the table must be replaced.
    fn edit(&mut self, changed: &[F::Net]) -> bool {
        let Form::Big {
            live,
            editor: Some(editor),
            ..
        } = &mut self.form
        else {
            return false;
        };
        F::edit(editor, live, &self.entries, self.actions.table(), changed).is_ok()
    }

    /// Builds the table of the entries, to be put in by `changes`.
    fn replace(
        &mut self,
        id: u32,
        moved: bool,
        changes: &mut Changes,
    ) -> Result<(), DatapathError> {
        self.generation = self.generation.wrapping_add(1);
        let (routes, actions) = (&self.entries, self.actions.table());
        let built = F::build(routes, actions, self.numbers.stride(), self.generation)
            .map_err(|why| refused::<F>(id, &why))?;
        let was_big = matches!(self.form, Form::Big { .. });
        let was_small = matches!(self.form, Form::Small { .. });
        let map;
        match built {
            Built::Small(small) => {
                map = Map::array::<F::Small>("vg_small", 1, 0)
                    .and_then(|map| map.set(0, *small).map(|()| map))
                    .map_err(|source| failed::<F>("making", id, source))?;
                self.form = Form::Small { id: map.info().id };
                changes.set(Outer::Small, F::AT, id, map);
                if was_big && !moved {
                    changes.unset(Outer::Big, F::AT, id);
                }
            }
            Built::Big(blocks, editor) => {
                let live;
                (map, live) = big::<F>(&blocks, id)?;
                self.form = Form::Big {
                    id: map.info().id,
                    live,
                    editor,
                };
                changes.set(Outer::Big, F::AT, id, map);
                if was_small && !moved {
                    changes.unset(Outer::Small, F::AT, id);
                }
            }
        }
        Ok(())
    }

    /// No routes, no table.
    fn vanish(&mut self, id: u32, moved: bool, changes: &mut Changes) -> Option<CounterMap<F>> {
        let form = std::mem::replace(&mut self.form, Form::Empty);
        if !moved {
            match form {
                Form::Empty => {}
                Form::Small { .. } => changes.unset(Outer::Small, F::AT, id),
                Form::Big { .. } => changes.unset(Outer::Big, F::AT, id),
            }
            if self.counters.is_some() {
                changes.unset(Outer::Counters, F::AT, id);
            }
        }
        self.counters = None;
        self.numbers = RouteNumbers::default();
        None
    }

    /// Adds the counts of the counters before, once no packet counts there.
    pub(super) fn inherit(&self, old: &CounterMap<F>) {
        if let Some(counters) = &self.counters {
            // A number that was given anew counts from zero.
            let kept = old.prefixes();
            let same = self.assigned().filter(|(prefix, number)| {
                kept.get(*number as usize).copied().flatten() == Some(*prefix)
            });
            counters.carry_over(old, same.map(|(_, number)| number));
        }
    }

    fn assigned(&self) -> impl Iterator<Item = (F::Net, u32)> {
        self.entries.iter().map(|entry| (entry.prefix, entry.route))
    }

    /// After a grace period.
    pub(super) fn grace_passed(&mut self) {
        if let Form::Big {
            editor: Some(editor),
            ..
        } = &mut self.form
        {
            editor.grace_passed();
        }
    }
}

/// The prefixes that differ between two sorted lists: in one of them only, or with another leaf.
fn changed<N: Prefix>(old: &[RouteEntry<N>], new: &[RouteEntry<N>]) -> Vec<N> {
    let key = |entry: &RouteEntry<N>| (entry.prefix.first(), entry.prefix.length());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut changed = Vec::new();
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return changed,
            (Some(had), Some(has)) if key(had) == key(has) => {
                if (had.route, had.action) != (has.route, has.action) {
                    changed.push(has.prefix);
                }
                old.next();
                new.next();
            }
            (Some(had), Some(has)) if key(had) > key(has) => {
                changed.push(has.prefix);
                new.next();
            }
            (Some(had), _) => {
                changed.push(had.prefix);
                old.next();
            }
            (None, Some(has)) => {
                changed.push(has.prefix);
                new.next();
            }
        }
    }
}

fn big_actions(live: &Live, header: &[u32]) -> Vec<Action> {
    let count = header[Header::ACTIONS].min(vnet_gw_common::table::Leaf::MAX_ACTIONS);
    let at = header[Header::ACTIONS_AT];
    let per_block = vnet_gw_common::table::ACTIONS_PER_BLOCK;
    let word = |number: u32, word: usize| {
        let block = at.saturating_add(number / per_block);
        let slot = number % per_block * 8 + word as u32;
        if block < live.block_count() && (slot as usize) < BLOCK_WORDS {
            live.load_slot(block, slot)
        } else {
            0
        }
    };
    (0..count)
        .map(|number| Action(std::array::from_fn(|i| word(number, i))))
        .collect()
}

fn big<F: Family>(blocks: &[Block], id: u32) -> Result<(Map, Live), DatapathError> {
    let make = || {
        let map = Map::array::<Block>("vg_blocks", blocks.len() as u32, INNER_FLAGS)?;
        let mut live = Live::new(&map)?;
        live.fill(blocks)?;
        Ok((map, live))
    };
    make().map_err(|source: io::Error| failed::<F>("making", id, source))
}

fn reopen<F: Family>(map: u32, id: u32) -> Result<Map, DatapathError> {
    Map::by_id(map).map_err(|source| failed::<F>("opening", id, source))
}

fn failed<F: Family>(what: &str, id: u32, source: io::Error) -> DatapathError {
    let map = if F::NUMBER == 4 {
        "of IPv4 routes"
    } else {
        "of IPv6 routes"
    };
    DatapathError::Map {
        map,
        operation: format!("{what} table {id}"),
        source,
    }
}

fn refused<F: Family>(id: u32, why: &TableError) -> DatapathError {
    DatapathError::Table {
        subnet: format!("of table {id}"),
        family: F::NAME,
        why: why.to_string(),
    }
}
