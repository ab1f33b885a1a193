//! Route numbers, which index a table's counters: a prefix keeps its number, and with it its
//! counts, for as long as it is in the table.

use vnet_gw_common::table::Leaf;

use super::{Prefix, TableError};

/// Elements a CPU has at least.
pub const MIN_STRIDE: u32 = 64;

/// The numbers of one table's prefixes.
#[derive(Clone, Debug)]
pub struct RouteNumbers<P> {
    /// By prefix.
    assigned: Vec<(P, u32)>,
    stride: u32,
}

/// What a new list of prefixes changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteChange {
    /// Of each prefix, in the order given.
    pub numbers: Vec<u32>,
    /// Numbers that a new prefix has: zero their counters before a leaf has them.
    pub added: Vec<u32>,
    /// Numbers that no prefix has any more. They are not given out in the step that frees them,
    /// since packets may still count there; the next step may, so a grace period goes between.
    pub freed: Vec<u32>,
    /// The stride grew, or numbers had to be given out again at once: make new counters and build
    /// the table anew beside the old one.
    pub fresh: bool,
}

impl<P: Prefix> Default for RouteNumbers<P> {
    fn default() -> Self {
        Self {
            assigned: Vec::new(),
            stride: MIN_STRIDE,
        }
    }
}

impl<P: Prefix> RouteNumbers<P> {
    /// As the list behind a table's counters has them
    /// ([`decode_list4`](super::decode_list4)), one element for each of `stride` numbers. Where a
    /// damaged list has a prefix twice, its lowest number counts.
    pub fn from_list(list: &[Option<P>]) -> Self {
        let mut assigned: Vec<(P, u32)> = (0..)
            .zip(list.iter().take(Leaf::MAX_ROUTES as usize))
            .skip(1)
            .filter_map(|(number, prefix)| Some(((*prefix)?, number)))
            .collect();
        assigned.sort_unstable_by_key(|(prefix, number)| (key(prefix), *number));
        assigned.dedup_by_key(|(prefix, _)| key(prefix));
        Self {
            assigned,
            stride: stride_for(list.len().saturating_sub(1) as u32),
        }
    }

    /// Elements a CPU has in the table's counters: a power of two above every number.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Prefixes and their numbers, by prefix.
    pub fn assigned(&self) -> &[(P, u32)] {
        &self.assigned
    }

    /// Gives each of `prefixes` (sorted, all of the table's) its number: the one it has, or the
    /// lowest free one. Nothing changes on an error.
    pub fn assign(
        &mut self,
        prefixes: impl IntoIterator<Item = P>,
    ) -> Result<RouteChange, TableError> {
        let (next, change) = self.next(prefixes)?;
        *self = next;
        Ok(change)
    }

    /// [`Self::assign`] that leaves these numbers as they are and yields the new ones beside what
    /// changed.
    pub fn next(
        &self,
        prefixes: impl IntoIterator<Item = P>,
    ) -> Result<(Self, RouteChange), TableError> {
        let mut change = RouteChange::default();
        let mut assigned: Vec<(P, u32)> = Vec::with_capacity(self.assigned.len());
        let mut old = self.assigned.iter().peekable();
        for prefix in prefixes {
            if assigned
                .last()
                .is_some_and(|(last, _)| key(last) >= key(&prefix))
            {
                return Err(TableError::Unsorted {
                    prefix: prefix.to_string(),
                });
            }
            while let Some((_, number)) = old.next_if(|(had, _)| key(had) < key(&prefix)) {
                change.freed.push(*number);
            }
            let kept = old.next_if(|(had, _)| key(had) == key(&prefix));
            assigned.push((prefix, kept.map_or(0, |(_, number)| *number)));
        }
        change.freed.extend(old.map(|(_, number)| number));
        if assigned.len() >= Leaf::MAX_ROUTES as usize {
            let max = Leaf::MAX_ROUTES - 1;
            return Err(TableError::TooManyRoutes {
                count: assigned.len(),
                max,
            });
        }

        let mut taken = Taken::default();
        let kept = assigned.iter().filter(|(_, number)| *number != 0);
        kept.for_each(|(_, number)| taken.take(*number));
        let wanted = assigned.iter().filter(|(_, number)| *number == 0).count();
        if assigned.len() + change.freed.len() < Leaf::MAX_ROUTES as usize {
            change.freed.iter().for_each(|number| taken.take(*number));
        } else {
            change.fresh = true;
        }
        change.added.reserve(wanted);
        let mut free = 0;
        for (_, number) in assigned.iter_mut().filter(|(_, number)| *number == 0) {
            free = taken.free_after(free);
            *number = free;
            change.added.push(free);
        }
        if change.fresh {
            change
                .freed
                .retain(|number| change.added.binary_search(number).is_err());
        }

        let highest = change.added.last().copied().unwrap_or(0);
        let stride = self.stride.max(stride_for(highest));
        change.fresh |= stride > self.stride;
        change.numbers = assigned.iter().map(|(_, number)| *number).collect();
        Ok((Self { assigned, stride }, change))
    }
}

fn key<P: Prefix>(prefix: &P) -> (P::Bits, u8) {
    (prefix.first(), prefix.length())
}

/// The stride whose highest number is at least `highest`.
fn stride_for(highest: u32) -> u32 {
    (highest + 1).next_power_of_two().max(MIN_STRIDE)
}

/// Numbers that cannot be given out.
#[derive(Default)]
struct Taken(Vec<u64>);

impl Taken {
    fn take(&mut self, number: u32) {
        let word = (number / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// The lowest that is not taken and above `number`.
    fn free_after(&self, number: u32) -> u32 {
        let mut at = number + 1;
        while let Some(word) = self.0.get((at / 64) as usize) {
            let free = !word >> (at % 64);
            if free != 0 {
                return at + free.trailing_zeros();
            }
            at = (at / 64 + 1) * 64;
        }
        at
    }
}
