//! Functions that compare and decide.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{Args, Result, boolean};

pub(super) fn call(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
    let compare = |f: fn(Ordering) -> bool| {
        args.exactly().and_then(|[a, b]| {
            let order = match (a, b) {
                (Value::String(a), Value::String(b)) => a.cmp(b),
                (a, b) => args.as_int(a)?.cmp(&args.as_int(b)?),
            };
            Ok(json!(f(order)))
        })
    };
    Some(match function {
        "true" => args.exactly().map(|[]: [&Value; 0]| json!(true)),
        "false" => args.exactly().map(|[]: [&Value; 0]| json!(false)),
        "null" => args.exactly().map(|[]: [&Value; 0]| Value::Null),
        "not" => args
            .exactly()
            .and_then(|[value]| Ok(json!(!boolean(args.name, value)?))),
        "equals" => args.exactly().map(|[a, b]| json!(a == b)),
        "less" => compare(Ordering::is_lt),
        "lessorequals" => compare(Ordering::is_le),
        "greater" => compare(Ordering::is_gt),
        "greaterorequals" => compare(Ordering::is_ge),
        "bool" => args.exactly().and_then(|[value]| match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::Number(number) => Ok(json!(number.as_i64() != Some(0))),
            Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => {
                Ok(json!(true))
            }
            Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => {
                Ok(json!(false))
            }
            value => Err(args.wrong("true or false", value)),
        }),
        _ => return None,
    })
}
