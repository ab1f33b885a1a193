//! What an answer must look like: JSON with holes.
//!
//! | in the pattern | in the answer |
//! |---|---|
//! | `"<string>"`, `"<number>"`, `"<bool>"`, `"<guid>"`, `"<etag>"`, `"<ip>"`, `"<time>"` | one of those |
//! | `"<any>"` | anything |
//! | `"…/x/y"` | a string that ends with `/x/y`, case and all |
//! | `{"name": pattern}` | that and nothing else; `"name?"` may be missing |
//! | `[pattern, "<more>"]` | any number of those, one at least |
//! | `[a, b]` | as many, in this order |
//! | everything else | itself |

use std::net::IpAddr;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// Fails with everything in which `value` is not as `pattern` wants it.
pub fn check(what: &str, value: &Value, pattern: &Value) -> Result<()> {
    let mut wrong = Vec::new();
    compare("", value, pattern, &mut wrong);
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{what}: {}\nin {value}", wrong.join("\n"))
    }
}

fn compare(at: &str, value: &Value, pattern: &Value, wrong: &mut Vec<String>) {
    match (pattern, value) {
        (Value::Object(pattern), Value::Object(value)) => objects(at, value, pattern, wrong),
        (Value::Array(pattern), Value::Array(value)) => arrays(at, value, pattern, wrong),
        (Value::String(hole), value) => {
            if !fills(hole, value) {
                wrong.push(format!("{at}: {value} is no {hole}"));
            }
        }
        (pattern, value) if pattern == value => {}
        (pattern, value) => wrong.push(format!("{at}: {value} instead of {pattern}")),
    }
}

fn objects(
    at: &str,
    value: &Map<String, Value>,
    pattern: &Map<String, Value>,
    wrong: &mut Vec<String>,
) {
    for (name, pattern) in pattern {
        let plain = name.strip_suffix('?').unwrap_or(name);
        match value.get(plain) {
            Some(value) => compare(&format!("{at}.{plain}"), value, pattern, wrong),
            None if plain == name => wrong.push(format!("{at}.{plain} is missing")),
            None => {}
        }
    }
    for name in value.keys() {
        if !pattern.contains_key(name) && !pattern.contains_key(&format!("{name}?")) {
            wrong.push(format!("{at}.{name} was not expected"));
        }
    }
}

fn arrays(at: &str, value: &[Value], pattern: &[Value], wrong: &mut Vec<String>) {
    if let [item, Value::String(more)] = pattern
        && more == "<more>"
    {
        if value.is_empty() {
            wrong.push(format!("{at} is empty"));
        }
        for (i, value) in value.iter().enumerate() {
            compare(&format!("{at}[{i}]"), value, item, wrong);
        }
        return;
    }
    if value.len() != pattern.len() {
        let (is, should) = (value.len(), pattern.len());
        wrong.push(format!("{at} has {is} items instead of {should}"));
    }
    for (i, (value, pattern)) in value.iter().zip(pattern).enumerate() {
        compare(&format!("{at}[{i}]"), value, pattern, wrong);
    }
}

fn fills(hole: &str, value: &Value) -> bool {
    let text = value.as_str();
    let is = |test: fn(&str) -> bool| text.is_some_and(test);
    match hole {
        "<any>" => true,
        "<string>" => is(|text| !text.is_empty()),
        "<number>" => value.is_u64(),
        "<bool>" => value.is_boolean(),
        "<guid>" => is(guid),
        "<etag>" => is(|text| {
            let inner = text.strip_prefix("W/\"");
            inner
                .and_then(|text| text.strip_suffix('"'))
                .is_some_and(guid)
        }),
        "<ip>" => is(|text| text.parse::<IpAddr>().is_ok()),
        "<time>" => is(|text| text.len() >= 19 && text.as_bytes()[10] == b'T'),
        hole => match hole.strip_prefix('…') {
            Some(end) => text.is_some_and(|text| text.ends_with(end)),
            None => text == Some(hole),
        },
    }
}

fn guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(value: Value, pattern: Value) -> Vec<String> {
        let mut wrong = Vec::new();
        compare("", &value, &pattern, &mut wrong);
        wrong
    }

    #[test]
    fn what_fits_is_not_remarked() {
        let value = json!({
            "id": "/subscriptions/s/x/y", "n": 5, "on": true, "list": [{"a": "10.0.0.1"}],
            "etag": "W/\"00000000-0000-0000-0000-00000000000a\"", "at": "2026-01-01T00:00:00Z",
        });
        let pattern = json!({
            "id": "…/x/y", "n": "<number>", "on": true, "list": [{"a": "<ip>"}, "<more>"],
            "etag": "<etag>", "at": "<time>", "gone?": "<string>",
        });
        assert_eq!(lines(value, pattern), Vec::<String>::new());
    }

    #[test]
    fn each_difference_has_its_line() {
        let value = json!({"a": "1", "b": ["x"], "c": {}, "d": 0, "e": []});
        let pattern =
            json!({"a": "<number>", "b": ["y", "z"], "c": {"in": 1}, "e": ["<any>", "<more>"]});
        let expected = [
            ".a: \"1\" is no <number>",
            ".b has 1 items instead of 2",
            ".b[0]: \"x\" is no y",
            ".c.in is missing",
            ".e is empty",
            ".d was not expected",
        ];
        assert_eq!(lines(value, pattern), expected);
    }
}
