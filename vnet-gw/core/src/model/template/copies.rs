//! Copies: loops of resources, properties, variables and outputs.

use super::{
    around::Around,
    evaluate::{Evaluator, invalid, twice, within},
    node::{Fields, Node},
};
use crate::model::ArmError;

/// Iterations of all copies of a template: a count too many by mistake must not take all memory.
const MAX_ITERATIONS: usize = 2_000_000;

/// What an iteration costs, in bytes made.
const EACH: usize = 1 << 10;

impl Evaluator<'_> {
    /// `copy: [{name, count, input}]` in an object becomes arrays of it.
    pub(super) fn property_copies(
        &self,
        fields: &mut Fields<'_>,
        around: &Around<'_>,
    ) -> Result<(), ArmError> {
        let Some(copies) = take_copies(fields) else {
            return Ok(());
        };
        for (number, mut copy) in copies.into_iter().enumerate() {
            let path = format!(".copy[{number}]");
            let input = copy.take("input").unwrap_or_default();
            let (name, count) = self
                .copy_loop(&mut copy, around)
                .map_err(|error| within(error, &path))?;
            if fields.get(&name).is_some() {
                return Err(twice().at(format!("{path}.name")));
            }
            let mut items = Vec::with_capacity(count);
            for index in 0..count {
                let mut item = input.clone();
                self.evaluate(&mut item, &around.with(&name, index))
                    .map_err(|error| within(error, &format!("{path}.input")))?;
                items.push(shield(item));
            }
            fields.insert(name, Node::Array(items));
        }
        Ok(())
    }

    /// Name and count of a copy, counted against the limit.
    pub(super) fn copy_loop(
        &self,
        copy: &mut Fields<'_>,
        around: &Around<'_>,
    ) -> Result<(String, usize), ArmError> {
        for (name, value) in copy.iter_mut() {
            self.evaluate(value, around)
                .map_err(|error| within(error, &format!(".{name}")))?;
        }
        let Some(name) = copy.get("name").and_then(Node::as_str) else {
            return Err(invalid("A copy needs a name: add a string.").at(".name"));
        };
        let count = match copy.get("count") {
            Some(Node::Number(count)) => count.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let total = count.and_then(|count| self.iterations.get().checked_add(count));
        match (count, total) {
            (Some(count), Some(total)) if total <= MAX_ITERATIONS => {
                self.iterations.set(total);
                let name = name.to_owned();
                self.spend_bytes(count.saturating_mul(EACH))
                    .map_err(|error| error.at(".count"))?;
                Ok((name, count))
            }
            (None, _) => {
                Err(invalid("The count must be an integer of 0 or more: correct it.").at(".count"))
            }
            _ => Err(invalid(format!(
                "All copies together may have {MAX_ITERATIONS} iterations: lower the count."
            ))
            .at(".count")),
        }
    }
}

/// The elements of `copy`, where it is one and not a property of that name.
fn take_copies<'t>(fields: &mut Fields<'t>) -> Option<Vec<Fields<'t>>> {
    let Node::Array(copies) = fields.get("copy")? else {
        return None;
    };
    let is_copy = |copy: &Node<'_>| {
        copy.as_object()
            .is_some_and(|c| c.get("count").is_some() && c.get("input").is_some())
    };
    if copies.is_empty() || !copies.iter().all(is_copy) {
        return None;
    }
    let Some(Node::Array(copies)) = fields.take("copy") else {
        return None;
    };
    let copies = copies.into_iter().filter_map(|copy| match copy {
        Node::Object(copy) => Some(copy),
        _ => None,
    });
    Some(copies.collect())
}

/// What a copy made is evaluated: a string that now begins with a bracket is doubled, because the
/// object around it is evaluated once more.
pub(super) fn shield(mut node: Node<'_>) -> Node<'_> {
    match &mut node {
        Node::Text(text) if text.starts_with('[') => text.to_mut().insert(0, '['),
        Node::Array(items) => {
            items
                .iter_mut()
                .for_each(|item| *item = shield(std::mem::take(item)));
        }
        Node::Object(fields) => {
            fields
                .iter_mut()
                .for_each(|(_, item)| *item = shield(std::mem::take(item)));
        }
        _ => {}
    }
    node
}
