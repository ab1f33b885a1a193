//! JSON as clients send templates: `az` puts the text of a file into its request as it is.

use std::cell::OnceCell;

use serde_json::Value;

use super::json;
use crate::model::ArmError;

/// The value of a text that is JSON, or nearly: with comments, names without quotes, commas after
/// the last item, and line breaks inside strings.
///
/// # Errors
///
/// `InvalidRequestContent`
pub fn parse_relaxed_json(text: &str) -> Result<Value, ArmError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let strict = match json::parse(text, &OnceCell::new()) {
        Ok(node) => return Ok(node.to_value()),
        Err(error) => error,
    };
    // An error in what is no JSON either way is told as it stands in the text.
    serde_json::from_str(&relax(text)).map_err(|_| strict)
}

/// The text as JSON has it.
fn relax(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' => string(rest, &mut out),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => {
                rest.find("*/").map_or(rest.len(), |length| length + 2)
            }
            // Of a file that was put into the middle.
            '\u{feff}' => c.len_utf8(),
            '}' | ']' => {
                // A comma after an item; one after nothing is a mistake.
                let items = out.trim_end().strip_suffix(',').map(str::trim_end);
                if let Some(items) = items.filter(|items| !items.ends_with(['{', '[', ','])) {
                    out.truncate(items.len());
                }
                out.push(c);
                1
            }
            c if c.is_ascii_alphabetic() || c == '_' || c == '$' => word(rest, &mut out),
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Copies a string, its control characters escaped; how long it is.
fn string(text: &str, out: &mut String) -> usize {
    out.push('"');
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
        match c {
            '"' if !escaped => return at + 1,
            c => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// Copies `true`, `false`, `null` and numbers' exponents, and quotes a name.
fn word(text: &str, out: &mut String) -> usize {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$' || c == '-'))
        .unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let named = after.trim_start().starts_with(':');
    if named {
        out.push('"');
    }
    out.push_str(word);
    if named {
        out.push('"');
    }
    end
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_az_sends_is_read() {
        let text = "{\"properties\": {\"mode\": \"Incremental\", template:\u{feff}{\n  // a comment: \"{\n  \
            \"$schema\": \"https://x/y#\", /* two */ \"resources\": [ {a: 1e3, \"b\": \"one\r\n\ttwo \\\" // no\",}, ],\n}\r\n}}";
        assert_eq!(
            parse_relaxed_json(text).unwrap(),
            json!({"properties": {"mode": "Incremental", "template": {
                "$schema": "https://x/y#",
                "resources": [{"a": 1e3, "b": "one\r\n\ttwo \" // no"}],
            }}})
        );
    }

    #[test]
    fn json_is_read_as_it_is_and_nonsense_refused() {
        for text in ["{\"a\": [true, null, -1.5, \"\\u00e9,]\"]}", "[]", "7"] {
            assert_eq!(
                parse_relaxed_json(text).unwrap(),
                serde_json::from_str::<Value>(text).unwrap()
            );
        }
        for text in [
            "",
            "{",
            "{a}",
            "[1 2]",
            "\"",
            "{\"a\": b}",
            "/*",
            "{,}",
            "é:",
            "{\"a\\",
        ] {
            let error = parse_relaxed_json(text).unwrap_err();
            assert_eq!(error.code, "InvalidRequestContent", "{text}");
        }
    }
}
