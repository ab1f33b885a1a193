//! Action numbers: an action keeps its number for as long as a table uses it, so that a table can
//! be changed in place.

use std::collections::{BTreeMap, BTreeSet};

use vnet_gw_common::table::{Action, Leaf};

use super::TableError;

/// The numbers of one table's actions.
#[derive(Clone, Debug)]
pub struct ActionNumbers {
    /// By number; 0, and every free number, is [`Action::NO_ROUTE`].
    table: Vec<Action>,
}

/// What a new list of actions changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionChange {
    /// Of each action, in the order given; equal ones have equal numbers, and
    /// [`Action::NO_ROUTE`] has 0.
    pub numbers: Vec<u32>,
    /// Numbers had to be given out in the step that freed them: build the table anew beside the
    /// old one. Else a freed number is given out in the next step at the earliest, so a grace
    /// period goes between.
    pub fresh: bool,
}

impl Default for ActionNumbers {
    fn default() -> Self {
        Self {
            table: vec![Action::NO_ROUTE],
        }
    }
}

impl ActionNumbers {
    /// As a table in the kernel has them.
    pub fn from_table(actions: &[Action]) -> Self {
        let mut seen = BTreeSet::new();
        let mut table = vec![Action::NO_ROUTE];
        for action in actions.iter().take(Leaf::MAX_ACTIONS as usize).skip(1) {
            // A number that was freed may hold what another holds now.
            table.push(if seen.insert(*action) {
                *action
            } else {
                Action::NO_ROUTE
            });
        }
        Self { table }
    }

    /// By number, for the builds.
    pub fn table(&self) -> &[Action] {
        &self.table
    }

    /// Gives each of `actions` (all of the table's) its number: the one it has, or the lowest free
    /// one. Nothing changes on an error.
    pub fn assign(
        &mut self,
        actions: impl IntoIterator<Item = Action>,
    ) -> Result<ActionChange, TableError> {
        let actions: Vec<Action> = actions.into_iter().collect();
        let wanted: BTreeSet<Action> = actions
            .iter()
            .copied()
            .filter(|action| *action != Action::NO_ROUTE)
            .collect();
        if wanted.len() >= Leaf::MAX_ACTIONS as usize {
            let max = Leaf::MAX_ACTIONS - 1;
            return Err(TableError::TooManyActions {
                count: wanted.len(),
                max,
            });
        }
        let mut numbers: BTreeMap<Action, u32> = BTreeMap::from([(Action::NO_ROUTE, 0)]);
        // Of every number: whether it can be given out.
        let mut free = Vec::with_capacity(self.table.len());
        let mut freed = Vec::new();
        for (number, action) in (0..).zip(&self.table) {
            let kept = wanted.contains(action);
            free.push(number != 0 && *action == Action::NO_ROUTE);
            if kept {
                numbers.insert(*action, number);
            } else if *action != Action::NO_ROUTE {
                freed.push(number);
            }
        }
        let mut change = ActionChange::default();
        if wanted.len() + freed.len() >= Leaf::MAX_ACTIONS as usize {
            change.fresh = true;
            freed
                .iter()
                .for_each(|number| free[*number as usize] = true);
        }
        let mut lowest = 1;
        for action in &actions {
            if numbers.contains_key(action) {
                continue;
            }
            while free.get(lowest).is_some_and(|free| !free) {
                lowest += 1;
            }
            numbers.insert(*action, lowest as u32);
            lowest += 1;
        }

        let used = numbers.values().max().copied().unwrap_or(0);
        let mut table = vec![Action::NO_ROUTE; used as usize + 1];
        for (action, number) in &numbers {
            table[*number as usize] = *action;
        }
        self.table = table;
        change.numbers = actions.iter().map(|action| numbers[action]).collect();
        Ok(change)
    }
}
