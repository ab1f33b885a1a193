//! What a table is like, and whether the kernel agrees.

use vnet_gw_common::{Counter, table::Action};

use super::{Form, Table, refused, reopen};
use crate::datapath::{
    DatapathError, TableForm,
    load::Maps,
    report::TableStats,
    tables::{
        counters::CounterMap,
        family::Family,
        publish::{Changes, Outer},
    },
};

impl<F: Family> Table<F> {
    /// Compares the kernel's slots and their content with what should be there, and asks for
    /// whatever it takes to set it right. One line for each difference.
    pub(in crate::datapath::tables) fn verify(
        &mut self,
        maps: &Maps,
        id: u32,
        changes: &mut Changes,
    ) -> Result<Vec<String>, DatapathError> {
        let mut found = Vec::new();
        let held = |outer: Outer| maps.outer(outer, F::AT).get::<u32>(id);
        let (small, big, counters) = (
            held(Outer::Small)?,
            held(Outer::Big)?,
            held(Outer::Counters)?,
        );
        let (want_small, want_big) = match &self.form {
            Form::Empty => (None, None),
            Form::Small { id } => (Some(*id), None),
            Form::Big { id, .. } => (None, Some(*id)),
        };
        let want_counters = self.counters.as_ref().map(CounterMap::id);
        let name = F::NAME;
        let stride = self.numbers.stride();
        let intact = self
            .matches(&self.entries, self.actions.table(), stride)
            .map_err(|why| refused::<F>(id, &why))?;
        if !intact {
            found.push(format!(
                "{name} table {id}: its content differed; built anew"
            ));
            if !self.entries.is_empty() {
                self.replace(id, false, changes)?;
            }
        }
        for (outer, held, want) in [
            (Outer::Small, small, want_small),
            (Outer::Big, big, want_big),
        ] {
            // What was built anew is on its way already.
            if held == want || (want.is_some() && !intact) {
                continue;
            }
            found.push(format!(
                "{name} table {id}: {} held another map; set right",
                outer.name()
            ));
            match want {
                Some(map) => changes.set(outer, F::AT, id, reopen::<F>(map, id)?),
                None => changes.unset(outer, F::AT, id),
            }
        }
        if counters != want_counters {
            found.push(format!(
                "{name} table {id}: its counters were another map; set right"
            ));
            match want_counters {
                Some(map) => changes.set(Outer::Counters, F::AT, id, reopen::<F>(map, id)?),
                None => changes.unset(Outer::Counters, F::AT, id),
            }
        }
        if let Some(counters) = &self.counters {
            let wrong = counters.mend_list(self.assigned());
            if wrong > 0 {
                found.push(format!(
                    "{name} table {id}: {wrong} prefixes in the list of its counters differed; set right"
                ));
            }
        }
        Ok(found)
    }

    pub(in crate::datapath::tables) fn counters(&self) -> Vec<(F::Net, Counter)> {
        let Some(counters) = &self.counters else {
            return Vec::new();
        };
        self.assigned()
            .map(|(prefix, number)| (prefix, counters.read(number)))
            .collect()
    }

    /// Without the subnet, which the caller knows.
    pub(in crate::datapath::tables) fn stats(&self, into: &mut TableStats) {
        into.family = F::NUMBER as u8;
        (into.form, into.table_bytes) = match &self.form {
            Form::Empty => (TableForm::Empty, 0),
            Form::Small { .. } => (TableForm::Small, size_of::<F::Small>() as u64),
            Form::Big { live, .. } => (F::BIG_FORM, live.size()),
        };
        into.routes = self.entries.len();
        into.actions = self
            .actions
            .table()
            .iter()
            .skip(1)
            .filter(|a| **a != Action::NO_ROUTE)
            .count();
        into.counter_bytes = self.counters.as_ref().map_or(0, CounterMap::size);
    }
}
