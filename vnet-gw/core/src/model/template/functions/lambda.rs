//! Functions that are given a function: `map(…, lambda('x', …))`.

use serde_json::{Map, Value, json};

use super::{Args, Result, boolean, count};
use crate::model::template::{
    around::Around,
    evaluate::{Evaluator, invalid},
    expression::Expression,
};

const ALL: [&str; 8] = [
    "filter",
    "map",
    "reduce",
    "sort",
    "toobject",
    "groupby",
    "mapvalues",
    "lambda",
];

pub(super) fn is_one(function: &str) -> bool {
    ALL.contains(&function)
}

/// `lambda('x', 'i', body)`
struct Lambda<'a, 't> {
    evaluator: &'a Evaluator<'t>,
    around: &'a Around<'a>,
    variables: Vec<&'a str>,
    body: &'a Expression,
}

impl Lambda<'_, '_> {
    /// Its value for the first so many of its variables; further ones that it has are an error
    /// where they are used.
    fn of(&self, values: &[&Value]) -> Result<Value> {
        let mut around = self.around.clone();
        for (name, value) in self.variables.iter().zip(values) {
            self.evaluator.spend(value)?;
            around = around.with_local(name, (*value).clone());
        }
        let value = self.evaluator.value_of(self.body, &around)?;
        Ok(value.into_owned())
    }
}

pub(super) fn call(
    evaluator: &Evaluator<'_>,
    name: &str,
    function: &str,
    arguments: &[Expression],
    around: &Around<'_>,
) -> Result<Value> {
    if function == "lambda" {
        return Err(invalid(
            "lambda() stands only where a function takes it: map(…, lambda('x', …)).",
        ));
    }
    let wrong = || count(name, "a collection and a lambda() as its");
    let given = match function {
        "reduce" => 3..=3,
        "toobject" => 2..=3,
        _ => 2..=2,
    };
    if !given.contains(&arguments.len()) {
        return Err(wrong());
    }
    let source = evaluator.value_of(&arguments[0], around)?;
    let lambda = |at: usize| {
        let Some(Expression::Call { name, arguments }) = arguments.get(at) else {
            return Err(wrong());
        };
        let Some((body, variables)) = arguments.split_last() else {
            return Err(wrong());
        };
        let variables = variables.iter().map(|variable| match variable {
            Expression::Text(variable) => Ok(variable.as_str()),
            _ => Err(wrong()),
        });
        match name.eq_ignore_ascii_case("lambda") {
            true => Ok(Lambda {
                evaluator,
                around,
                variables: variables.collect::<Result<_>>()?,
                body,
            }),
            false => Err(wrong()),
        }
    };
    let args = Args { name, values: &[] };
    let items = || {
        let items = source.as_array();
        items.ok_or_else(|| args.wrong("an array", &source))
    };
    match function {
        "map" => {
            let each = lambda(1)?;
            let values = items()?.iter().enumerate();
            values
                .map(|(at, item)| each.of(&[item, &json!(at)]))
                .collect()
        }
        "filter" => {
            let each = lambda(1)?;
            let mut out = Vec::new();
            for (at, item) in items()?.iter().enumerate() {
                if boolean(name, &each.of(&[item, &json!(at)])?)? {
                    out.push(item.clone());
                }
            }
            Ok(Value::Array(out))
        }
        "reduce" => {
            let each = lambda(2)?;
            let mut value = evaluator.value_of(&arguments[1], around)?.into_owned();
            for (at, item) in items()?.iter().enumerate() {
                value = each.of(&[&value, item, &json!(at)])?;
            }
            Ok(value)
        }
        "sort" => sort(name, items()?, &lambda(1)?),
        "toobject" => {
            let key = lambda(1)?;
            let value = arguments.get(2).map(|_| lambda(2)).transpose()?;
            let mut out = Map::new();
            for item in items()? {
                let made = match &value {
                    Some(value) => value.of(&[item])?,
                    None => item.clone(),
                };
                out.insert(text(&args, key.of(&[item])?)?, made);
            }
            Ok(Value::Object(out))
        }
        "groupby" => {
            let key = lambda(1)?;
            let mut out = Map::new();
            for item in items()? {
                let key = text(&args, key.of(&[item])?)?;
                if let Value::Array(group) = out.entry(key).or_insert_with(|| json!([])) {
                    group.push(item.clone());
                }
            }
            Ok(Value::Object(out))
        }
        _ => {
            let each = lambda(1)?;
            let Some(fields) = source.as_object() else {
                return Err(args.wrong("an object", &source));
            };
            let mut out = Map::new();
            for (name, value) in fields {
                out.insert(name.clone(), each.of(&[value])?);
            }
            Ok(Value::Object(out))
        }
    }
}

fn text(args: &Args<'_, '_>, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        value => Err(args.wrong("a lambda that gives a string", &value)),
    }
}

/// Merges sorted halves: a comparison may fail, and may contradict itself.
fn sort(name: &str, items: &[Value], before: &Lambda<'_, '_>) -> Result<Value> {
    let mut runs: Vec<Vec<Value>> = items.iter().map(|item| vec![item.clone()]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len() / 2 + 1);
        let mut pairs = runs.into_iter();
        while let Some(first) = pairs.next() {
            let Some(second) = pairs.next() else {
                merged.push(first);
                break;
            };
            let mut out = Vec::with_capacity(first.len() + second.len());
            let (mut first, mut second) =
                (first.into_iter().peekable(), second.into_iter().peekable());
            while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
                // What is equal stays in its order.
                let later = boolean(name, &before.of(&[b, a])?)?;
                let next = if later { &mut second } else { &mut first };
                out.extend(next.next());
            }
            out.extend(first.chain(second));
            merged.push(out);
        }
        runs = merged;
    }
    Ok(runs.pop().map(Value::Array).unwrap_or_else(|| json!([])))
}
