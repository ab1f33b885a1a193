//! `dependsOn`: what comes before what.

use std::collections::BTreeMap;

use super::{
    evaluate::invalid,
    resources::{Instance, Role},
};
use crate::model::{ArmError, error::cut};

/// For each resource of the list those that come before it: what its `dependsOn` names, and the
/// parents that are in the list.
pub(crate) struct Dependencies {
    pub(crate) before: Vec<Vec<usize>>,
}

/// Every way to name a resource.
struct Names<'i> {
    /// In lower case: relative ids, names, the last segments of names, loops.
    by_name: BTreeMap<String, Vec<usize>>,
    symbolic: BTreeMap<&'i str, Vec<usize>>,
}

impl Dependencies {
    /// # Errors
    ///
    /// `InvalidTemplate` where a `dependsOn` names no resource of the template.
    pub(crate) fn of(instances: &[Instance<'_>]) -> Result<Self, ArmError> {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); instances.len()];
        let child = |instance: &Instance<'_>| instance.names.len() > 1;
        // A million routes in one table need none of this.
        if !instances
            .iter()
            .any(|instance| child(instance) || !instance.depends_on.is_empty())
        {
            return Ok(Self { before });
        }
        let names = Names::of(instances);
        for (at, instance) in instances.iter().enumerate() {
            for (number, name) in instance.depends_on.iter().enumerate() {
                let found = names.find(name).ok_or_else(|| {
                    invalid(format!(
                        "The resource '{}' is not defined in the template: correct the \
                         dependsOn, or remove it if that resource is there already.",
                        cut(name)
                    ))
                    .at(format!("{}.dependsOn[{number}]", instance.path))
                })?;
                before[at].extend(found.into_iter().filter(|other| *other != at));
            }
            if child(instance) && instance.role == Role::Deployed {
                before[at].extend(names.parent(&instance.relative_id()));
            }
            before[at].sort_unstable();
            before[at].dedup();
        }
        Ok(Self { before })
    }

    /// The places of the list in an order in which everything comes after what it depends on, and
    /// otherwise as it stands.
    ///
    /// # Errors
    ///
    /// `InvalidTemplate`, naming a circle.
    pub(crate) fn order(&self, instances: &[Instance<'_>]) -> Result<Vec<usize>, ArmError> {
        let mut waiting: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); self.before.len()];
        for (at, before) in self.before.iter().enumerate() {
            for other in before {
                after[*other].push(at);
            }
        }
        let mut ready: std::collections::BTreeSet<usize> =
            (0..waiting.len()).filter(|at| waiting[*at] == 0).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(at) = ready.pop_first() {
            order.push(at);
            for next in &after[at] {
                waiting[*next] -= 1;
                if waiting[*next] == 0 {
                    ready.insert(*next);
                }
            }
        }
        if order.len() < waiting.len() {
            return Err(self.circle(instances, &waiting));
        }
        Ok(order)
    }

    /// Of what waits, everybody waits for somebody: going on finds a circle.
    fn circle(&self, instances: &[Instance<'_>], waiting: &[usize]) -> ArmError {
        let mut walk: Vec<usize> = waiting.iter().position(|n| *n > 0).into_iter().collect();
        while let Some(last) = walk.last() {
            let next = self.before[*last].iter().find(|other| waiting[**other] > 0);
            let Some(next) = next else { break };
            if let Some(from) = walk.iter().position(|at| at == next) {
                walk.drain(..from);
                break;
            }
            walk.push(*next);
        }
        circular(walk.iter().map(|at| &instances[*at]))
    }
}

/// The error of a circle, of which each waits for the next.
pub(crate) fn circular<'i, 'n: 'i>(circle: impl Iterator<Item = &'i Instance<'n>>) -> ArmError {
    const SHOWN: usize = 6;
    let circle: Vec<&Instance<'_>> = circle.collect();
    let mut names: Vec<String> = circle
        .iter()
        .take(SHOWN)
        .map(|instance| format!("'{}'", cut(&instance.relative_id())))
        .collect();
    if circle.len() > SHOWN {
        names.push("…".to_owned());
    }
    names.extend(names.first().cloned());
    let error = invalid(format!(
        "Circular dependency: {}; each waits for the next one. Remove a dependsOn or a reference().",
        names.join(" → ")
    ));
    match circle.first() {
        Some(first) => error.at(&first.path),
        None => error,
    }
}

impl<'i> Names<'i> {
    fn of(instances: &'i [Instance<'_>]) -> Self {
        let mut names = Self {
            by_name: BTreeMap::new(),
            symbolic: BTreeMap::new(),
        };
        for (at, instance) in instances.iter().enumerate() {
            if let Some(symbolic) = &instance.symbolic {
                names.symbolic.entry(symbolic).or_default().push(at);
            }
            let mut forms = vec![instance.relative_id(), instance.names.join("/")];
            forms.extend(instance.copy.clone());
            forms.dedup();
            for form in forms {
                let found = names.by_name.entry(form.to_ascii_lowercase()).or_default();
                if found.last() != Some(&at) {
                    found.push(at);
                }
            }
        }
        names
    }

    /// What a `dependsOn` means; an inline child of a resource stands for that resource.
    fn find(&self, name: &str) -> Option<Vec<usize>> {
        if let Some(found) = self.symbolic.get(name) {
            return Some(found.clone());
        }
        let name = relative(name).to_ascii_lowercase();
        let found = self.by_name.get(&name).cloned();
        found.or_else(|| self.parent(&name).map(|at| vec![at]))
    }

    /// The resource in the list that another is below, by relative ids.
    fn parent(&self, id: &str) -> Option<usize> {
        let mut id = id.to_ascii_lowercase();
        loop {
            for _ in 0..2 {
                id.truncate(id.rfind('/')?);
            }
            // No resource is only a provider and a type.
            if id.split('/').count() < 3 {
                return None;
            }
            if let Some(found) = self.by_name.get(&id) {
                return found.first().copied();
            }
        }
    }
}

/// The part of an id after the last `/providers/`; names and relative ids as they are.
pub(crate) fn relative(id: &str) -> &str {
    let lower = id.to_ascii_lowercase();
    match lower.rfind("/providers/") {
        Some(at) => &id[at + "/providers/".len()..],
        None => id.trim_matches('/'),
    }
}
