//! Functions on numbers.

use serde_json::{Value, json};

use super::{Args, Result, count};
use crate::model::template::evaluate::invalid;

pub(super) fn call(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
    let two = |f: fn(i64, i64) -> Option<i64>| {
        args.two_ints().and_then(|[a, b]| {
            let result = f(a, b).map(Value::from);
            result.ok_or_else(|| invalid(format!("{}({a}, {b}) has no value.", args.name)))
        })
    };
    Some(match function {
        "add" => two(i64::checked_add),
        "sub" => two(i64::checked_sub),
        "mul" => two(i64::checked_mul),
        "div" => two(i64::checked_div),
        "mod" => two(i64::checked_rem),
        "min" | "max" => {
            let numbers = args
                .list()
                .into_iter()
                .map(|v| args.as_int(v))
                .collect::<Result<Vec<_>>>();
            numbers.and_then(|numbers| {
                let found = if function == "min" {
                    numbers.iter().min()
                } else {
                    numbers.iter().max()
                };
                found
                    .map(|n| json!(n))
                    .ok_or_else(|| count(args.name, "at least 1"))
            })
        }
        "int" => args.exactly().and_then(|[value]| match value {
            Value::String(text) => text
                .trim()
                .parse::<i64>()
                .map(Value::from)
                .map_err(|_| args.wrong("an integer", value)),
            value => args.as_int(value).map(Value::from),
        }),
        "range" => args.two_ints().and_then(|[start, length]| {
            if !(0..=10_000).contains(&length) {
                return Err(invalid(
                    "range() makes 0 to 10000 numbers: correct the count.",
                ));
            }
            let end = start
                .checked_add(length)
                .ok_or_else(|| invalid("range() leaves the integers."))?;
            Ok(json!((start..end).collect::<Vec<_>>()))
        }),
        "float" => args.exactly().and_then(|[value]| {
            let number = match value {
                Value::String(text) => text.trim().parse::<f64>().ok(),
                value => value.as_f64(),
            };
            number
                .filter(|number| number.is_finite())
                .map(Value::from)
                .ok_or_else(|| args.wrong("a number", value))
        }),
        _ => return None,
    })
}
