//! Putting inner maps into outer ones, many at a time.
//!
//! Every update of an outer map waits until no packet is being looked up in what was there before
//! (an RCU grace period, about 10 ms), which is what makes a swap safe and what makes one update a
//! time slow. So they go in batches, and what need not be in order goes at once.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::util::KernelVersion;

use crate::datapath::{DatapathError, load::Maps, map::Map, pinned::Pinned};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Outer {
    Counters,
    Big,
    Small,
}

impl Outer {
    pub(in crate::datapath) const ALL: [Self; 3] = [Self::Counters, Self::Big, Self::Small];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counters => "the counters' slot",
            Self::Big => "the big form's slot",
            Self::Small => "the small form's slot",
        }
    }
}

impl Maps {
    pub(in crate::datapath) fn outer(&self, outer: Outer, family: usize) -> &Pinned {
        match outer {
            Outer::Counters => &self.counters[family],
            Outer::Big => &self.big[family],
            Outer::Small => &self.small[family],
        }
    }
}

/// Slots to set, and then slots to clear.
#[derive(Debug, Default)]
pub(in crate::datapath) struct Changes {
    set: Vec<(Outer, usize, u32, Map)>,
    unset: Vec<(Outer, usize, u32)>,
}

/// What packets meet already, and the wait until none of them has what was there before.
#[derive(Debug)]
pub(in crate::datapath) struct Underway(JoinHandle<Result<(), DatapathError>>);

impl Underway {
    /// How often is looked whether it is there: putting it there takes some microseconds.
    const LOOK: Duration = Duration::from_micros(20);

    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// When it returns, no packet is being looked up in what was there before.
    pub(super) fn end(self) -> Result<(), DatapathError> {
        match self.0.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Changes {
    pub(super) fn set(&mut self, outer: Outer, family: usize, id: u32, map: Map) {
        self.set.push((outer, family, id, map));
    }

    pub(in crate::datapath) fn unset(&mut self, outer: Outer, family: usize, id: u32) {
        self.unset.push((outer, family, id));
    }

    pub(in crate::datapath) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty()
    }

    /// Counters before small tables, so that packets are counted from the first on. A packet looks
    /// into the small form first: a table that turned small is set there before its big form goes,
    /// and one that turned big is there before its small form goes.
    ///
    /// When it returns, no packet is being looked up in what was there before (if anything was
    /// set or cleared at all).
    pub(in crate::datapath) fn publish(self, maps: &Maps) -> Result<(), DatapathError> {
        let Self { set, unset } = self;
        for stage in STAGES {
            let mut batches = Vec::new();
            for (outer, family) in slots(stage) {
                let of_it = set.iter().filter(|(o, f, ..)| (*o, *f) == (outer, family));
                let batch: Vec<(u32, &Map)> = of_it.map(|(_, _, id, map)| (*id, map)).collect();
                batches.extend(
                    batch
                        .chunks(batch_size(batch.len()))
                        .map(|batch| (maps.outer(outer, family), batch.to_vec())),
                );
            }
            together(batches, |(outer, batch)| outer.set_inner(&batch))?;
        }
        let (counters, tables): (Vec<_>, Vec<_>) = unset
            .into_iter()
            .partition(|(outer, ..)| *outer == Outer::Counters);
        for stage in [tables, counters] {
            together(stage, |(outer, family, id)| {
                maps.outer(outer, family).delete(id)
            })?;
        }
        Ok(())
    }

    /// The same, but it returns as soon as packets meet what is set, where it is all of one stage:
    /// nothing here has to wait for packets then. Until [`Underway::end`], some may still be looked
    /// up in what was there before.
    pub(super) fn publish_ahead(self, maps: &Maps) -> Result<Option<Underway>, DatapathError> {
        let is_of = |stage: &[Outer]| self.set.iter().all(|(outer, ..)| stage.contains(outer));
        let waits_once = batch_size(self.set.len()) >= self.set.len();
        if !self.unset.is_empty() || !waits_once || !STAGES.into_iter().any(is_of) {
            return self.publish(maps).map(|()| None);
        }
        let (mut batches, mut last) = (Vec::new(), Vec::new());
        let mut set = self.set;
        for (outer, family) in slots(&Outer::ALL) {
            let of_it = |(o, f, ..): &mut (Outer, usize, u32, Map)| (*o, *f) == (outer, family);
            let batch: Vec<(u32, Map)> = (set.extract_if(.., of_it))
                .map(|(_, _, id, map)| (id, map))
                .collect();
            if let Some((id, map)) = batch.last() {
                // The kernel takes them one after the other.
                last.push((maps.outer(outer, family), *id, map.info().id));
                batches.push((maps.outer(outer, family).again()?, batch));
            }
        }
        if batches.is_empty() {
            return Ok(None);
        }
        let work = move || {
            together(batches, |(outer, batch)| {
                let batch: Vec<(u32, &Map)> = batch.iter().map(|(id, map)| (*id, map)).collect();
                outer.set_inner(&batch)
            })
        };
        let thread = thread::Builder::new()
            .name("publish".to_owned())
            .spawn(work)
            .map_err(DatapathError::Thread)?;
        let is_there = || -> Result<bool, DatapathError> {
            for (outer, id, map) in &last {
                if outer.get::<u32>(*id)? != Some(*map) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        while !thread.is_finished() && !is_there()? {
            thread::sleep(Underway::LOOK);
        }
        let underway = Underway(thread);
        if underway.is_over() {
            return underway.end().map(|()| None);
        }
        Ok(Some(underway))
    }
}

/// What is set at once, and what after it.
const STAGES: [&[Outer]; 2] = [&[Outer::Counters, Outer::Big], &[Outer::Small]];

fn slots(stage: &[Outer]) -> impl Iterator<Item = (Outer, usize)> {
    stage.iter().flat_map(|outer| [(*outer, 0), (*outer, 1)])
}

const THREADS: usize = 32;

/// A batch waits once from kernel 6.8 on. Before, it waits for each of its elements, so that many
/// small ones side by side take less time than a large one.
fn batch_size(all: usize) -> usize {
    let waits_once = KernelVersion::current().is_ok_and(|kernel| kernel.code() >= 6 << 16 | 8 << 8);
    if waits_once {
        all.max(1)
    } else {
        all.div_ceil(THREADS).max(1)
    }
}

/// Does things that mostly wait, side by side; the first error, if any.
fn together<T: Send>(
    things: impl IntoIterator<Item = T>,
    act: impl Fn(T) -> Result<(), DatapathError> + Sync,
) -> Result<(), DatapathError> {
    let mut things: Vec<T> = things.into_iter().collect();
    if things.len() <= 1 {
        return things.pop().map_or(Ok(()), act);
    }
    let size = things.len().div_ceil(THREADS);
    let mut chunks = Vec::new();
    while !things.is_empty() {
        chunks.push(things.split_off(things.len().saturating_sub(size)));
    }
    thread::scope(|scope| {
        let act = &act;
        let running: Vec<_> = chunks
            .into_iter()
            .map(|chunk| scope.spawn(move || chunk.into_iter().try_for_each(act)))
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}
