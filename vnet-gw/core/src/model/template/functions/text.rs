//! Functions that make texts.

use serde_json::{Value, json};

use super::{Args, Result, check_size, count, format::format_text, plain, unique};
use crate::model::template::evaluate::invalid;

pub(super) fn call(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
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
        "split" => split(args),
        "replace" => replace(args),
        "join" => join(args),
        "padleft" => pad_left(args),
        "substring" => substring(args),
        "uniquestring" => unique::unique_string(args),
        "guid" => unique::guid(args),
        _ => return None,
    })
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
        check_size(args.name, out.len())?;
    }
    Ok(Value::String(out))
}

/// At one text, or at any of several.
fn split(args: &Args<'_, '_>) -> Result<Value> {
    let [text, at] = args.exactly()?;
    let mut rest = args.as_text(text)?;
    let at = match at {
        Value::Array(several) => several.iter().map(|at| args.as_text(at)).collect(),
        one => args.as_text(one).map(|at| vec![at]),
    }?;
    let mut parts = Vec::new();
    loop {
        let next = at
            .iter()
            .filter(|at| !at.is_empty())
            .filter_map(|at| Some((rest.find(at)?, at.len())))
            .min();
        let Some((start, length)) = next else { break };
        parts.push(&rest[..start]);
        rest = &rest[start + length..];
    }
    parts.push(rest);
    Ok(json!(parts))
}

fn replace(args: &Args<'_, '_>) -> Result<Value> {
    let [text, old, new] = args.exactly()?;
    let (text, old, new) = (args.as_text(text)?, args.as_text(old)?, args.as_text(new)?);
    if old.is_empty() {
        return Err(invalid("replace() needs something to replace."));
    }
    let grows = text.matches(old).count().saturating_mul(new.len());
    check_size(args.name, grows.saturating_add(text.len()))?;
    Ok(json!(text.replace(old, new)))
}

fn join(args: &Args<'_, '_>) -> Result<Value> {
    let [list, between] = args.exactly()?;
    let Some(list) = list.as_array() else {
        return Err(args.wrong("an array", list));
    };
    let between = args.as_text(between)?;
    let texts: Vec<String> = list.iter().map(plain).collect();
    let size: usize = texts.iter().map(String::len).sum();
    check_size(
        args.name,
        size.saturating_add(between.len().saturating_mul(texts.len())),
    )?;
    Ok(json!(texts.join(between)))
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
