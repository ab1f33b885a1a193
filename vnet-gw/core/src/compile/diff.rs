//! What changed between two tables.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{ActionImage, TableImage};

/// One prefix whose route differs between two tables. Actions are indexes into the `actions` of
/// the table they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange<P> {
    /// Only in the old table.
    Removed { prefix: P, old: u32 },
    /// Only in the new table.
    Added { prefix: P, new: u32 },
    /// In both, with different actions.
    Changed { prefix: P, old: u32, new: u32 },
}

impl<P: Copy> RouteChange<P> {
    pub fn prefix(&self) -> P {
        match *self {
            Self::Removed { prefix, .. }
            | Self::Added { prefix, .. }
            | Self::Changed { prefix, .. } => prefix,
        }
    }
}

/// What turns `old` into `new`, in the order of prefixes. Actions are compared by what they do,
/// not by their number. Linear in the routes, and free where both tables share their memory.
pub fn diff_routes<P: Copy + Ord>(old: &TableImage<P>, new: &TableImage<P>) -> Vec<RouteChange<P>> {
    let mut changes = Vec::new();
    if Arc::ptr_eq(&old.routes, &new.routes) && old.actions == new.actions {
        return changes;
    }
    let renumbered = renumbered(&old.actions, &new.actions);
    let same = |old: u32, new: u32| renumbered.get(old as usize) == Some(&Some(new));
    let (mut olds, mut news) = (old.routes.iter().peekable(), new.routes.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return changes,
        };
        let removed = if order.is_le() { olds.next() } else { None };
        let added = if order.is_ge() { news.next() } else { None };
        match (removed, added) {
            (Some(&(prefix, old)), Some(&(_, new))) => {
                if !same(old, new) {
                    changes.push(RouteChange::Changed { prefix, old, new });
                }
            }
            (Some(&(prefix, old)), None) => changes.push(RouteChange::Removed { prefix, old }),
            (None, Some(&(prefix, new))) => changes.push(RouteChange::Added { prefix, new }),
            (None, None) => return changes,
        }
    }
}

/// By number in `old`: the number in `new`.
fn renumbered(old: &[ActionImage], new: &[ActionImage]) -> Vec<Option<u32>> {
    let numbers: BTreeMap<_, _> = new.iter().zip(0u32..).collect();
    old.iter()
        .map(|action| numbers.get(action).copied())
        .collect()
}
