//! `format()`, .NET's composite formatting as far as templates use it: `{0}`, `{0,8}`, `{0:D3}`,
//! `{0:X}`, and `{{` for a brace.

use serde_json::{Value, json};

use super::{Args, plain};
use crate::model::{ArmError, error::cut, template::evaluate::invalid};

/// A width beyond this is a mistake.
const MAX_WIDTH: usize = 1_024;

pub(super) fn format_text(args: &Args<'_, '_>) -> Result<Value, ArmError> {
    let Some((pattern, values)) = args.values.split_first() else {
        return Err(invalid(
            "format() takes a text and its values: correct the call.",
        ));
    };
    let mut rest = args.as_text(pattern)?;
    let mut out = String::new();
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        let (item, after) = rest
            .split_once('}')
            .filter(|_| brace == "{")
            .ok_or_else(|| invalid("format() has a single brace: double it, or close it."))?;
        out.push_str(&placeholder(item, values)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(json!(out))
}

fn placeholder(item: &str, values: &[std::borrow::Cow<'_, Value>]) -> Result<String, ArmError> {
    let wrong = || invalid(format!("format() cannot do {{{}}}: correct it.", cut(item)));
    let (item_head, style) = item.split_once(':').unwrap_or((item, ""));
    let (number, width) = item_head.split_once(',').unwrap_or((item_head, "0"));
    let value = number
        .trim()
        .parse()
        .ok()
        .and_then(|n: usize| values.get(n))
        .ok_or_else(wrong)?;
    let text = match style {
        "" => plain(value),
        style => integer(value.as_i64().ok_or_else(wrong)?, style).ok_or_else(wrong)?,
    };
    let width: i32 = width.trim().parse().map_err(|_| wrong())?;
    let room = usize::try_from(width.unsigned_abs())
        .unwrap_or(MAX_WIDTH)
        .min(MAX_WIDTH);
    Ok(if width < 0 {
        format!("{text:<room$}")
    } else {
        format!("{text:>room$}")
    })
}

/// `D3`, `X2`, `x`, or zeros: `000`.
fn integer(value: i64, style: &str) -> Option<String> {
    let digits = |text: &str| match text {
        "" => Some(0),
        text => text.parse().ok().filter(|n| *n <= MAX_WIDTH),
    };
    let sign = if value < 0 { "-" } else { "" };
    let first = style.chars().next()?;
    match first {
        'D' | 'd' => {
            let digits = digits(&style[1..])?;
            Some(format!("{sign}{:0digits$}", value.unsigned_abs()))
        }
        'X' => digits(&style[1..]).map(|digits| format!("{value:0digits$X}")),
        'x' => digits(&style[1..]).map(|digits| format!("{value:0digits$x}")),
        '0' if style.bytes().all(|b| b == b'0') && style.len() <= MAX_WIDTH => Some(format!(
            "{sign}{:0width$}",
            value.unsigned_abs(),
            width = style.len()
        )),
        _ => None,
    }
}
