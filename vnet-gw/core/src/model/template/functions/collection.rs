//! Functions on arrays, objects and the characters of texts.

use serde_json::{Map, Value, json};

use super::{Args, Result, count, plain};
use crate::model::{error::cut, template::evaluate::invalid};

pub(super) fn call(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
    Some(match function {
        "createarray" => Ok(args
            .values
            .iter()
            .map(|value| value.as_ref().clone())
            .collect()),
        "createobject" => create_object(args),
        "array" => args.exactly().map(|[value]| match value {
            Value::Array(_) => value.clone(),
            value => json!([value]),
        }),
        "length" => args
            .exactly()
            .and_then(|[value]| size(args, value).map(Value::from)),
        "empty" => args
            .exactly()
            .and_then(|[value]| Ok(json!(value.is_null() || size(args, value)? == 0))),
        "first" => args.exactly().and_then(|[value]| match value {
            Value::Array(items) => Ok(items.first().cloned().unwrap_or_default()),
            value => Ok(json!(
                args.as_text(value)?.chars().take(1).collect::<String>()
            )),
        }),
        "last" => args.exactly().and_then(|[value]| match value {
            Value::Array(items) => Ok(items.last().cloned().unwrap_or_default()),
            value => Ok(json!(
                args.as_text(value)?
                    .chars()
                    .last()
                    .map(String::from)
                    .unwrap_or_default()
            )),
        }),
        "skip" => part(args, true),
        "take" => part(args, false),
        "contains" => contains(args),
        "indexof" => position(args, false),
        "lastindexof" => position(args, true),
        "indexfromend" => from_end(args),
        "tryindexfromend" => from_end(args).or(Ok(Value::Null)),
        "tryget" => try_get(args),
        "union" => union(args),
        "intersection" => intersection(args),
        "shallowmerge" => shallow_merge(args),
        "items" => args.exactly().and_then(|[value]| {
            // In the order of the keys, as Azure gives them.
            let mut items: Vec<_> = object(args, value)?.iter().collect();
            items.sort_by_key(|(key, _)| key.to_lowercase());
            Ok(items
                .into_iter()
                .map(|(key, value)| json!({"key": key, "value": value}))
                .collect())
        }),
        "objectkeys" => args
            .exactly()
            .and_then(|[value]| Ok(json!(object(args, value)?.keys().collect::<Vec<_>>()))),
        "flatten" => args.exactly().and_then(|[value]| {
            let mut out = Vec::new();
            for inner in array(args, value)? {
                out.extend_from_slice(array(args, inner)?);
            }
            Ok(Value::Array(out))
        }),
        _ => return None,
    })
}

fn array<'a>(args: &Args<'_, '_>, value: &'a Value) -> Result<&'a [Value]> {
    let items = value.as_array().map(Vec::as_slice);
    items.ok_or_else(|| args.wrong("an array", value))
}

fn object<'a>(args: &Args<'_, '_>, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| args.wrong("an object", value))
}

fn size(args: &Args<'_, '_>, value: &Value) -> Result<usize> {
    match value {
        Value::Array(items) => Ok(items.len()),
        Value::Object(fields) => Ok(fields.len()),
        Value::String(text) => Ok(text.chars().count()),
        value => Err(args.wrong("an array, an object or a string", value)),
    }
}

fn contains(args: &Args<'_, '_>) -> Result<Value> {
    let [container, item] = args.exactly()?;
    Ok(json!(match container {
        Value::Array(items) => items.contains(item),
        Value::Object(fields) => find(fields, args.as_text(item)?).is_some(),
        container => args.as_text(container)?.contains(&plain(item)),
    }))
}

/// A field by its name, which compares without case.
fn find<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<(&'a String, &'a Value)> {
    fields
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
}

fn create_object(args: &Args<'_, '_>) -> Result<Value> {
    let mut fields = Map::new();
    let pairs = args.values.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(count(args.name, "an even number of"));
    }
    for pair in pairs {
        fields.insert(args.as_text(&pair[0])?.to_owned(), pair[1].as_ref().clone());
    }
    Ok(Value::Object(fields))
}

/// Without the first so many, or only those; of what has fewer, what it has.
fn part(args: &Args<'_, '_>, skip: bool) -> Result<Value> {
    let [value, number] = args.exactly()?;
    let number = usize::try_from(args.as_int(number)?).unwrap_or(0);
    Ok(match value {
        Value::Array(items) if skip => items.iter().skip(number).cloned().collect(),
        Value::Array(items) => items.iter().take(number).cloned().collect(),
        value => {
            let text = args.as_text(value)?.chars();
            Value::String(match skip {
                true => text.skip(number).collect(),
                false => text.take(number).collect(),
            })
        }
    })
}

/// The place of an item, or of a text without regard to case; -1 where it is not there.
fn position(args: &Args<'_, '_>, last: bool) -> Result<Value> {
    let [container, item] = args.exactly()?;
    let at = match container {
        Value::Array(items) if last => items.iter().rposition(|other| other == item),
        Value::Array(items) => items.iter().position(|other| other == item),
        container => {
            let text = args.as_text(container)?.to_lowercase();
            let wanted = args.as_text(item)?.to_lowercase();
            let at = if last {
                text.rfind(&wanted)
            } else {
                text.find(&wanted)
            };
            at.map(|at| text[..at].chars().count())
        }
    };
    let at = at.and_then(|at| i64::try_from(at).ok());
    Ok(json!(at.unwrap_or(-1)))
}

/// The item so many places from the end; the last one is 1.
fn from_end(args: &Args<'_, '_>) -> Result<Value> {
    let [value, number] = args.exactly()?;
    let items = array(args, value)?;
    let at = items.len().checked_sub(args.as_size(number)?);
    at.and_then(|at| items.get(at))
        .cloned()
        .ok_or_else(|| invalid(format!("The array has {} elements.", items.len())))
}

/// What is there by a chain of names and numbers, or null.
fn try_get(args: &Args<'_, '_>) -> Result<Value> {
    let Some((value, path)) = args.values.split_first() else {
        return Err(count(args.name, "2 or more"));
    };
    let mut value = value.as_ref();
    for step in path {
        let next = match (value, step.as_ref()) {
            (Value::Object(fields), Value::String(name)) => {
                find(fields, name).map(|(_, value)| value)
            }
            (Value::Array(items), Value::Number(number)) => number
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .and_then(|n| items.get(n)),
            (Value::Null, _) => None,
            (_, step) => {
                let step = step.to_string();
                return Err(invalid(format!(
                    "tryGet() cannot look for {} in that.",
                    cut(&step)
                )));
            }
        };
        let Some(next) = next else {
            return Ok(Value::Null);
        };
        value = next;
    }
    Ok(value.clone())
}

/// Each item once; of objects the later value of a name, objects below merged.
fn union(args: &Args<'_, '_>) -> Result<Value> {
    let mut values = args.values.iter();
    let Some(first) = values.next() else {
        return Err(count(args.name, "2 or more"));
    };
    match first.as_ref() {
        Value::Array(_) => {
            let mut out: Vec<Value> = Vec::new();
            let mut seen = std::collections::BTreeSet::new();
            for value in args.values {
                for item in array(args, value)? {
                    if seen.insert(item.to_string()) {
                        out.push(item.clone());
                    }
                }
            }
            Ok(Value::Array(out))
        }
        Value::Object(fields) => {
            let mut out = fields.clone();
            for value in values {
                merge(&mut out, object(args, value)?);
            }
            Ok(Value::Object(out))
        }
        value => Err(args.wrong("an array or an object", value)),
    }
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        let there = find(into, name).map(|(key, _)| key.clone());
        let name = there.as_ref().unwrap_or(name);
        match (into.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => merge(inner, value),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

fn intersection(args: &Args<'_, '_>) -> Result<Value> {
    let mut values = args.values.iter();
    let Some(first) = values.next() else {
        return Err(count(args.name, "2 or more"));
    };
    match first.as_ref() {
        Value::Array(items) => {
            let mut out: Vec<Value> = Vec::new();
            let mut others = Vec::new();
            for value in values {
                let other = array(args, value)?.iter().map(Value::to_string);
                others.push(other.collect::<std::collections::BTreeSet<_>>());
            }
            let mut seen = std::collections::BTreeSet::new();
            for item in items {
                let text = item.to_string();
                if others.iter().all(|other| other.contains(&text)) && seen.insert(text) {
                    out.push(item.clone());
                }
            }
            Ok(Value::Array(out))
        }
        Value::Object(fields) => {
            let mut out = fields.clone();
            for value in values {
                let other = object(args, value)?;
                out.retain(|name, value| other.get(name) == Some(value));
            }
            Ok(Value::Object(out))
        }
        value => Err(args.wrong("an array or an object", value)),
    }
}

/// The objects of an array in one; the last value of a name counts.
fn shallow_merge(args: &Args<'_, '_>) -> Result<Value> {
    let [value] = args.exactly()?;
    let mut out = Map::new();
    for item in array(args, value)? {
        out.extend(object(args, item)?.clone());
    }
    Ok(Value::Object(out))
}
