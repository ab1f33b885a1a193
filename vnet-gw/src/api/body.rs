//! The body of a request: bounded in bytes, time and depth.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::Refusal;

/// The longest body, as Azure's.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;
/// How deeply objects and lists may stand in one another.
pub(super) const MAX_DEPTH: usize = 64;
/// Of a body that is too long, so much is read for the answer to arrive, and for so long.
const MAX_DRAINED: usize = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);
/// How long a client may take to send it.
const SLOW: Duration = Duration::from_secs(30);

/// Reads all of it.
pub(super) async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            format!("The body of the request is larger than {MAX_BODY} bytes."),
        )
    };
    let told = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > MAX_BODY as u64) {
        // Who asks first has not begun to send it.
        if !headers.contains_key(header::EXPECT) {
            let _ = timeout(LINGER, drain(body)).await;
        }
        return Err(too_large());
    }
    match timeout(SLOW, collect(&mut body)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            let _ = timeout(LINGER, drain(body)).await;
            Err(too_large())
        }
        Ok(Err(error)) => Err(Refusal::bad(
            "InvalidRequestContent",
            format!("The body of the request ended too early: {error}."),
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            format!(
                "The body of the request was not there after {} seconds.",
                SLOW.as_secs()
            ),
        )),
    }
}

/// Nothing where it is too long.
async fn collect(body: &mut Body) -> Result<Option<Bytes>, axum::Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            if all.len() + data.len() > MAX_BODY {
                return Ok(None);
            }
            all.extend_from_slice(data);
        }
    }
    Ok(Some(all.into()))
}

/// Reads what is not wanted: many clients see the answer only when all of theirs is sent.
async fn drain(mut body: Body) {
    let mut left = MAX_DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Refuses what does not claim to be JSON.
pub(super) fn must_be_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let wrong = |what: &str| {
        Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("The body of the request is {what}: send application/json."),
        )
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(wrong("of no stated Content-Type"));
    };
    let value = value.to_str().unwrap_or("?");
    let essence = value.split(';').next().unwrap_or_default().trim();
    match essence.eq_ignore_ascii_case("application/json")
        || essence.eq_ignore_ascii_case("text/json")
    {
        true => Ok(()),
        false => Err(wrong(&format!(
            "'{}'",
            essence.chars().take(80).collect::<String>()
        ))),
    }
}

/// A JSON object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match value(bytes)? {
        Value::Object(object) => Ok(object),
        other => Err(invalid(format!(
            "it is {}, and must be an object",
            noun(&other)
        ))),
    }
}

/// A JSON value of bounded depth.
pub(super) fn value(bytes: &[u8]) -> Result<Value, Refusal> {
    // A byte order mark, which some editors write, says nothing here (RFC 8259, section 8.1).
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(invalid("it is empty".to_owned()));
    }
    check_depth(bytes)?;
    // Its message ends with the line and column.
    serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

/// Refuses what is nested more deeply than anybody needs.
pub(super) fn check_depth(bytes: &[u8]) -> Result<(), Refusal> {
    if let Some(at) = too_deep(bytes) {
        let before = &bytes[..at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        return Err(invalid(format!(
            "more than {MAX_DEPTH} objects and lists stand in one another at line {line} column \
             {column}"
        )));
    }
    Ok(())
}

fn invalid(why: String) -> Refusal {
    Refusal::bad(
        "InvalidRequestContent",
        format!("The body of the request is not valid: {why}."),
    )
}

pub(super) const fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Where the first bracket stands that is too many. Whether the text is JSON does not matter here.
fn too_deep(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(at);
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        let refusal = object(bytes).unwrap_err();
        assert_eq!(refusal.error.code, "InvalidRequestContent");
        refusal.error.message
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (body, told) in [
            (&b""[..], "it is empty"),
            (b" \n", "it is empty"),
            (b"[]", "it is a list, and must be an object"),
            (b"{\n \"a\" 1}", "line 2 column 6"),
            (b"{\"a\": \"\xff\"}", "line 1 column"),
            (b"{} {}", "trailing characters at line 1 column 4"),
        ] {
            let message = message(body);
            assert!(message.contains(told), "{message}");
        }
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}1{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_ok());
        let message = message(nested(MAX_DEPTH + 1).as_bytes());
        assert!(message.contains("at line 1 column 69"), "{message}");
        let text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100));
        assert!(object(text.as_bytes()).is_ok());
        assert!(object("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(object(b"\xef\xbb\xbf{}").is_ok());
    }

    #[test]
    fn only_json_is_read() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/xml", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(must_be_json(&headers).is_ok(), good, "{value}");
        }
        assert!(must_be_json(&HeaderMap::new()).is_err());
    }
}
