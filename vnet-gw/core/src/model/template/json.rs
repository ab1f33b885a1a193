//! JSON as ARM templates have it: with `//` and `/* */` comments and perhaps a byte order mark.

use std::cell::OnceCell;

use super::node::Node;
use crate::model::ArmError;

/// The value of a JSON text. Where comments had to go, the text without them is kept for it in
/// `blanked`.
///
/// # Errors
///
/// `InvalidRequestContent`, with line and column as the target.
pub(in crate::model) fn parse<'t>(
    text: &'t str,
    blanked: &'t OnceCell<String>,
) -> Result<Node<'t>, ArmError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Most files have no comments, and large ones are written by programs.
    let first = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let result = match blank_comments(text) {
        Some(text) => serde_json::from_str(blanked.get_or_init(|| text)),
        None => Err(first),
    };
    result.map_err(|error| {
        // serde_json ends its sentence with the place, which is the target here.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        ArmError::new(
            "InvalidRequestContent",
            format!("The text is not JSON: {reason}."),
        )
        .at(format!("line {}, column {}", error.line(), error.column()))
    })
}

/// The text with spaces in place of its comments, so that lines and columns stay; `None` where it
/// has no comments.
fn blank_comments(text: &str) -> Option<String> {
    let mut out = text.as_bytes().to_vec();
    let mut found = false;
    let mut i = 0;
    while i < out.len() {
        match (out[i], out.get(i + 1)) {
            (b'"', _) => i = end_of_string(&out, i),
            (b'/', Some(b'/')) => {
                found = true;
                while i < out.len() && out[i] != b'\n' {
                    out[i] = b' ';
                    i += 1;
                }
            }
            (b'/', Some(b'*')) => {
                found = true;
                let end = text.as_bytes()[i + 2..].windows(2).position(|w| w == b"*/");
                // An open comment is left: JSON's parser then says where it begins.
                let end = end.map_or(i, |length| i + 2 + length + 2);
                out[i..end]
                    .iter_mut()
                    .filter(|byte| **byte != b'\n')
                    .for_each(|byte| *byte = b' ');
                i = end.max(i + 2);
            }
            _ => i += 1,
        }
    }
    found.then(|| String::from_utf8_lossy(&out).into_owned())
}

fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut i = start + 1;
    while i < text.len() && text[i] != b'"' {
        i += if text[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Result<serde_json::Value, ArmError> {
        parse(text, &OnceCell::new()).map(|node| node.to_value())
    }

    #[test]
    fn comments_and_a_byte_order_mark_are_skipped() {
        let text =
            "\u{feff}{ // one: \"{\n \"a\": \"http://x/*y*/\", /* two\n*/ \"b\\\"//\": 1 }//";
        assert_eq!(
            value(text).unwrap(),
            json!({"a": "http://x/*y*/", "b\"//": 1})
        );
        assert_eq!(value("/* é */ [1]").unwrap(), json!([1]));
    }

    #[test]
    fn errors_name_line_and_column_also_after_comments() {
        for (text, target) in [
            ("{\n  \"a\": 1,\n}", "line 3, column 1"),
            ("{ /* x\n y */ \"a\": ? }", "line 2, column 12"),
            ("[1 /* open", "line 1, column 4"),
            ("", "line 1, column 0"),
            ("{\"a", "line 1, column 3"),
            ("\"a\\", "line 1, column 3"),
        ] {
            let error = value(text).unwrap_err();
            assert_eq!(error.code, "InvalidRequestContent");
            assert_eq!(error.target.as_deref(), Some(target), "{text:?}: {error}");
        }
    }
}
