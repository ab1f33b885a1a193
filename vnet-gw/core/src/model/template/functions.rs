//! The template functions, as Azure's reference describes each. What needs a running deployment
//! (`reference`, `list*`) or a hash only Azure knows (`uniqueString`) is refused by name.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Value, json};

use super::{
    around::Around,
    evaluate::{Evaluator, invalid},
    expression::Expression,
    format::format_text,
    network,
};
use crate::model::{ArmError, error::cut};

type Result<T> = std::result::Result<T, ArmError>;

const SUPPORTED: &str = "add, and, array, bool, cidrHost, cidrSubnet, coalesce, concat, contains, \
    copyIndex, createArray, createObject, div, empty, endsWith, equals, false, first, format, \
    greater, greaterOrEquals, if, int, join, last, length, less, lessOrEquals, max, min, mod, mul, \
    not, null, or, padLeft, parameters, range, replace, resourceGroup, resourceId, split, \
    startsWith, string, sub, subscription, substring, toLower, toUpper, trim, true, variables";

/// The value of a call.
pub(super) fn call<'a>(
    evaluator: &'a Evaluator<'_>,
    name: &str,
    arguments: &[Expression],
    around: &Around,
) -> Result<Cow<'a, Value>> {
    let function = name.to_lowercase();
    let hidden = evaluator.hidden;
    let condition = |value: &Value| {
        boolean(name, value).map_err(|error| match hidden.within_key() || hidden.is_in(value) {
            true => not_shown(name),
            false => error,
        })
    };
    // These evaluate no more than they need.
    match function.as_str() {
        "if" => {
            let [test, yes, no] = arguments else {
                return Err(count(name, "3"));
            };
            let holds = condition(evaluator.value_of(test, around)?.as_ref())?;
            return evaluator.value_of(if holds { yes } else { no }, around);
        }
        "and" | "or" => {
            let stop = function == "or";
            for argument in arguments {
                if condition(evaluator.value_of(argument, around)?.as_ref())? == stop {
                    return Ok(Cow::Owned(json!(stop)));
                }
            }
            return Ok(Cow::Owned(json!(!stop)));
        }
        "coalesce" => {
            for argument in arguments {
                let value = evaluator.value_of(argument, around)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(Cow::Owned(Value::Null));
        }
        _ => {}
    }
    let values = arguments
        .iter()
        .map(|argument| evaluator.value_of(argument, around))
        .collect::<Result<Vec<_>>>()?;
    let args = Args {
        name,
        values: &values,
    };
    match function.as_str() {
        "parameters" => return evaluator.parameter(args.one_text()?),
        "variables" => return evaluator.variable(args.one_text()?),
        _ => {}
    }
    let secret = hidden.within_key() || values.iter().any(|value| hidden.is_in(value));
    let value = deployment(evaluator, &function, &args, around)
        .or_else(|| text(&function, &args))
        .or_else(|| number(&function, &args))
        .or_else(|| logic(&function, &args))
        .or_else(|| collection(&function, &args));
    match value {
        Some(Ok(value)) => {
            if secret {
                hidden.derived(&value);
            }
            Ok(Cow::Owned(value))
        }
        Some(Err(_)) if secret => Err(not_shown(name)),
        Some(Err(error)) => Err(error),
        None if hidden.within_key() => Err(invalid(format!(
            "A template function here is not supported, and not shown because it stands for a key: \
             write its result instead, or double the first bracket of a key that is no \
             expression. Supported are {SUPPORTED}."
        ))),
        None => Err(invalid(format!(
            "The template function '{}' is not supported: write its result instead. \
             Supported are {SUPPORTED}.",
            cut(name)
        ))),
    }
}

/// The error of a call that has a key among its arguments.
fn not_shown(name: &str) -> ArmError {
    invalid(format!(
        "{name}() cannot take what it is given, which is not shown here because it is secret: \
         correct the call."
    ))
}

/// The evaluated arguments of a call.
pub(super) struct Args<'a, 'v> {
    pub(super) name: &'a str,
    pub(super) values: &'a [Cow<'v, Value>],
}

impl<'a> Args<'a, '_> {
    pub(super) fn exactly<const N: usize>(&self) -> Result<[&'a Value; N]> {
        let values: Vec<&Value> = self.values.iter().map(AsRef::as_ref).collect();
        values
            .try_into()
            .map_err(|_| count(self.name, &N.to_string()))
    }

    fn one_text(&self) -> Result<&'a str> {
        let [value] = self.exactly()?;
        self.as_text(value)
    }

    fn two_texts(&self) -> Result<[&'a str; 2]> {
        let [a, b] = self.exactly()?;
        Ok([self.as_text(a)?, self.as_text(b)?])
    }

    pub(super) fn as_text(&self, value: &'a Value) -> Result<&'a str> {
        value.as_str().ok_or_else(|| self.wrong("a string", value))
    }

    pub(super) fn as_int(&self, value: &Value) -> Result<i64> {
        value
            .as_i64()
            .ok_or_else(|| self.wrong("an integer", value))
    }

    fn as_size(&self, value: &Value) -> Result<usize> {
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| self.wrong("an integer of 0 or more", value))
    }

    fn two_ints(&self) -> Result<[i64; 2]> {
        let [a, b] = self.exactly()?;
        Ok([self.as_int(a)?, self.as_int(b)?])
    }

    /// The arguments themselves, or the elements of the one array that is given instead.
    fn list(&self) -> Vec<&'a Value> {
        match self.values {
            [only] if only.is_array() => only.as_array().into_iter().flatten().collect(),
            values => values.iter().map(AsRef::as_ref).collect(),
        }
    }

    pub(super) fn wrong(&self, wanted: &str, value: &Value) -> ArmError {
        let value = value.to_string();
        let shown = cut(&value);
        invalid(format!(
            "{}() takes {wanted} here, not {shown}: correct it.",
            self.name
        ))
    }
}

fn count(name: &str, wanted: &str) -> ArmError {
    invalid(format!(
        "{name}() takes {wanted} argument(s): correct the call."
    ))
}

fn boolean(name: &str, value: &Value) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| Args { name, values: &[] }.wrong("true or false", value))
}

fn deployment(
    evaluator: &Evaluator<'_>,
    function: &str,
    args: &Args<'_, '_>,
    around: &Around,
) -> Option<Result<Value>> {
    let options = evaluator.options;
    let subscription = format!("/subscriptions/{}", options.subscription_id);
    Some(match function {
        "resourcegroup" => args.exactly().map(|[]: [&Value; 0]| {
            json!({
                "id": format!("{subscription}/resourceGroups/{}", options.resource_group),
                "name": options.resource_group,
                "type": "Microsoft.Resources/resourceGroups",
                "location": options.location,
            })
        }),
        "subscription" => args.exactly().map(|[]: [&Value; 0]| {
            json!({ "id": subscription, "subscriptionId": options.subscription_id })
        }),
        "resourceid" => resource_id(args, &options.subscription_id, &options.resource_group),
        "copyindex" => copy_index(args, around),
        _ => return None,
    })
}

/// `resourceId([subscriptionId], [resourceGroup], type, name…)`: the type is the first argument
/// with a slash.
fn resource_id(args: &Args<'_, '_>, subscription: &str, group: &str) -> Result<Value> {
    let mut texts = Vec::with_capacity(args.values.len());
    for value in args.values {
        texts.push(args.as_text(value)?);
    }
    let (subscription, group, rest) = match texts.iter().position(|text| text.contains('/')) {
        Some(0) => (subscription, group, &texts[..]),
        Some(1) => (subscription, texts[0], &texts[1..]),
        Some(2) => (texts[0], texts[1], &texts[2..]),
        _ => {
            return Err(invalid(
                "resourceId() needs a type such as 'Microsoft.Network/routeTables'.",
            ));
        }
    };
    let types: Vec<&str> = rest[0].split('/').collect();
    // A name may hold several segments: resourceId('…/virtualNetworks/subnets', 'VNet1/FrontEnd').
    let names: Vec<&str> = rest[1..].iter().flat_map(|name| name.split('/')).collect();
    if names.len() + 1 != types.len() {
        let message = "the type '{type}' needs {wanted} name(s)";
        let message = message.replace("{type}", rest[0]);
        let message = message.replace("{wanted}", &(types.len() - 1).to_string());
        return Err(invalid(format!(
            "resourceId(): {message}, not {}.",
            names.len()
        )));
    }
    let mut id = format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/{}",
        types[0]
    );
    for (kind, name) in types[1..].iter().zip(names) {
        id.push_str(&format!("/{kind}/{name}"));
    }
    Ok(json!(id))
}

/// `copyIndex([name], [offset])`
fn copy_index(args: &Args<'_, '_>, around: &Around) -> Result<Value> {
    let (name, offset) = match args.values {
        [] => (None, 0),
        [one] if one.is_string() => (one.as_str(), 0),
        [one] => (None, args.as_int(one)?),
        [name, offset] => (Some(args.as_text(name)?), args.as_int(offset)?),
        _ => return Err(count(args.name, "0 to 2")),
    };
    let index = around.index(name).ok_or_else(|| match name {
        Some(name) => invalid(format!(
            "copyIndex('{}') is not inside a copy of that name.",
            cut(name)
        )),
        None => invalid("copyIndex() is not inside a copy."),
    })?;
    let index = i64::try_from(index)
        .ok()
        .and_then(|index| index.checked_add(offset));
    index
        .map(Value::from)
        .ok_or_else(|| invalid("copyIndex() leaves the integers."))
}

fn text(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
    Some(match function {
        "concat" => concat(args),
        "format" => format_text(args),
        "tolower" => args.one_text().map(|text| json!(text.to_lowercase())),
        "toupper" => args.one_text().map(|text| json!(text.to_uppercase())),
        "trim" => args.one_text().map(|text| json!(text.trim())),
        "string" => args.exactly().map(|[value]| match value {
            Value::String(_) => value.clone(),
            value => json!(value.to_string()),
        }),
        "startswith" => args
            .two_texts()
            .map(|[text, start]| json!(text.to_lowercase().starts_with(&start.to_lowercase()))),
        "endswith" => args
            .two_texts()
            .map(|[text, end]| json!(text.to_lowercase().ends_with(&end.to_lowercase()))),
        "split" => args.two_texts().map(|[text, at]| match at {
            "" => json!([text]),
            at => json!(text.split(at).collect::<Vec<_>>()),
        }),
        "replace" => args.exactly().and_then(|[text, old, new]| {
            let (text, old, new) = (args.as_text(text)?, args.as_text(old)?, args.as_text(new)?);
            if old.is_empty() {
                return Err(invalid("replace() needs something to replace."));
            }
            Ok(json!(text.replace(old, new)))
        }),
        "join" => args.exactly().and_then(|[list, between]| {
            let Some(list) = list.as_array() else {
                return Err(args.wrong("an array", list));
            };
            let texts: Vec<String> = list.iter().map(plain).collect();
            Ok(json!(texts.join(args.as_text(between)?)))
        }),
        "padleft" => pad_left(args),
        "substring" => substring(args),
        _ => return None,
    })
}

/// A value as part of a text: strings without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// Of texts a text, of arrays an array.
fn concat(args: &Args<'_, '_>) -> Result<Value> {
    if args.values.first().is_some_and(|value| value.is_array()) {
        let mut out = Vec::new();
        for value in args.values {
            match value.as_array() {
                Some(items) => out.extend_from_slice(items),
                None => return Err(args.wrong("an array", value)),
            }
        }
        return Ok(Value::Array(out));
    }
    let mut out = String::new();
    for value in args.values {
        match value.as_ref() {
            Value::Array(_) | Value::Object(_) => return Err(args.wrong("a string", value)),
            value => out.push_str(&plain(value)),
        }
    }
    Ok(Value::String(out))
}

/// The longest padding: Azure pads names, not files.
const MAX_PADDING: usize = 1_024;

fn pad_left(args: &Args<'_, '_>) -> Result<Value> {
    let (value, length, with) = match args.values {
        [value, length] => (value, length, ' '),
        [value, length, with] => {
            let mut chars = args.as_text(with)?.chars();
            let (Some(c), None) = (chars.next(), chars.next()) else {
                return Err(args.wrong("one character", with));
            };
            (value, length, c)
        }
        _ => return Err(count(args.name, "2 or 3")),
    };
    let text = plain(value);
    let missing = args
        .as_size(length)?
        .min(MAX_PADDING)
        .saturating_sub(text.chars().count());
    Ok(json!(
        std::iter::repeat_n(with, missing)
            .chain(text.chars())
            .collect::<String>()
    ))
}

fn substring(args: &Args<'_, '_>) -> Result<Value> {
    let (text, start, length) = match args.values {
        [text, start] => (text, start, None),
        [text, start, length] => (text, start, Some(args.as_size(length)?)),
        _ => return Err(count(args.name, "2 or 3")),
    };
    let chars: Vec<char> = args.as_text(text)?.chars().collect();
    let start = args.as_size(start)?;
    let end = length.map_or(Some(chars.len()), |length| start.checked_add(length));
    match end.and_then(|end| chars.get(start..end)) {
        Some(part) => Ok(json!(part.iter().collect::<String>())),
        None => Err(invalid(format!(
            "substring() leaves the text, which has {} characters.",
            chars.len()
        ))),
    }
}

fn number(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
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
        "cidrsubnet" => network::cidr_subnet(args),
        "cidrhost" => network::cidr_host(args),
        _ => return None,
    })
}

fn logic(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
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

fn collection(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
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
        "contains" => args
            .exactly()
            .and_then(|[container, item]| match container {
                Value::Array(items) => Ok(json!(items.contains(item))),
                Value::Object(fields) => {
                    let key = args.as_text(item)?;
                    Ok(json!(
                        fields.keys().any(|name| name.eq_ignore_ascii_case(key))
                    ))
                }
                container => Ok(json!(args.as_text(container)?.contains(&plain(item)))),
            }),
        _ => return None,
    })
}

fn size(args: &Args<'_, '_>, value: &Value) -> Result<usize> {
    match value {
        Value::Array(items) => Ok(items.len()),
        Value::Object(fields) => Ok(fields.len()),
        Value::String(text) => Ok(text.chars().count()),
        value => Err(args.wrong("an array, an object or a string", value)),
    }
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
