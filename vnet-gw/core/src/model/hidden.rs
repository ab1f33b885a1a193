//! What no error may show: keys, wherever in a template they stand and whatever was made of them.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
};

use serde_json::Value;
use zeroize::Zeroizing;

use super::{ArmError, error::one_line};

/// What stands in an error for a text that is hidden.
const INSTEAD: &str = "(securestring)";

/// Shorter texts are hidden only where they stand alone: `a` is in most sentences. And fewer
/// characters of a longer one are nothing that tells.
const SHORT: usize = 4;

/// A text of so many characters is not by chance what a key is.
const LONG: usize = 8;

/// Properties that are keys, however their values came to be.
const KEYS: [&str; 3] = ["sharedKey", "authorizationKey", "radiusServerSecret"];

/// Whether a property is a key.
pub(crate) fn is_key(name: &str) -> bool {
    KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))
}

/// The texts to hide: the values of secure parameters and of properties that are keys, and what
/// expressions make of either.
#[derive(Default)]
pub(crate) struct Hidden {
    /// In lower case (ASCII), since a name may come back in another case.
    texts: RefCell<Vec<Zeroizing<String>>>,
    /// What is being evaluated is a key itself, with the literals in it.
    within_key: Cell<bool>,
}

impl Hidden {
    /// Hides a text and its segments: a name is told segment by segment.
    pub(crate) fn text(&self, text: &str) {
        let segments = text.split(['/', '@']).filter(|part| part.len() >= SHORT);
        let closed_up: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        for text in [text, text.trim(), &closed_up].into_iter().chain(segments) {
            if text.is_empty() {
                continue;
            }
            // As it stands in JSON, and in an error's line.
            let json = Value::from(text).to_string();
            let forms = [
                text.to_owned(),
                json[1..json.len() - 1].to_owned(),
                one_line(text),
            ];
            let mut texts = self.texts.borrow_mut();
            for form in forms {
                let form = Zeroizing::new(form.to_ascii_lowercase());
                if !texts.contains(&form) {
                    texts.push(form);
                }
            }
        }
    }

    /// Hides every text in a value.
    pub(crate) fn value(&self, value: &Value) {
        leaves(value, &mut |text| self.text(text));
    }

    /// Hides what an expression made of hidden texts. Where one of them is still in it, the rest
    /// was not hidden before; a name with a key in it, made a million times, is not noted.
    pub(crate) fn derived(&self, value: &Value) {
        leaves(value, &mut |text| {
            if !self.has(text) {
                self.text(text);
            }
        });
    }

    /// Whether a value has a hidden text in it.
    pub(crate) fn is_in(&self, value: &Value) -> bool {
        if self.texts.borrow().is_empty() {
            return false;
        }
        match value {
            Value::String(text) => self.has(text),
            Value::Number(number) => self.has(&number.to_string()),
            Value::Array(items) => items.iter().any(|item| self.is_in(item)),
            Value::Object(fields) => fields
                .iter()
                .any(|(name, item)| self.has(name) || self.is_in(item)),
            _ => false,
        }
    }

    /// Whether a value is a hidden text, or has one among its own.
    pub(crate) fn is_one(&self, value: &Value) -> bool {
        let mut found = false;
        leaves(value, &mut |text| {
            let text = Zeroizing::new(text.to_ascii_lowercase());
            // A short one is among many other things.
            found |= text.len() >= LONG && self.texts.borrow().contains(&text);
        });
        found
    }

    fn has(&self, text: &str) -> bool {
        let text = Zeroizing::new(text.to_ascii_lowercase());
        let texts = self.texts.borrow();
        texts
            .iter()
            .any(|hidden| whole(&text, hidden).next().is_some())
    }

    /// Whether what is being evaluated is a key, so that its literals are not to be shown.
    pub(crate) fn within_key(&self) -> bool {
        self.within_key.get()
    }

    /// Does something that is, or is not, part of a key.
    pub(crate) fn during<T>(&self, key: bool, work: impl FnOnce() -> T) -> T {
        let before = self.within_key.replace(key);
        let result = work();
        self.within_key.set(before);
        result
    }

    /// The error without what is hidden.
    pub(crate) fn scrub(&self, mut error: ArmError) -> ArmError {
        error.message = self.cover(&error.message);
        error.target = error.target.map(|target| self.cover(&target));
        error.details = error.details.into_iter().map(|e| self.scrub(e)).collect();
        error
    }

    fn cover(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let mut ranges = Vec::new();
        for hidden in self.texts.borrow().iter() {
            ranges.extend(whole(&lower, hidden));
            ranges.extend(cut_off(&lower, hidden));
        }
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (n, range) in ranges.iter().enumerate() {
            if n == 0 || range.start > at {
                out.push_str(&text[at..range.start]);
                out.push_str(INSTEAD);
            }
            at = at.max(range.end);
        }
        out.push_str(&text[at..]);
        out
    }
}

fn leaves(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        // A small number is in many sentences, and no key.
        Value::Number(number) if number.to_string().len() >= SHORT => each(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, each)),
        Value::Object(fields) => fields.values().for_each(|item| leaves(item, each)),
        _ => {}
    }
}

/// Where a text stands in another, overlapping itself or not.
fn whole<'a>(text: &'a str, hidden: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text.get(from..)?.find(hidden)?;
            let end = start + hidden.len();
            from = start + text[start..].chars().next().map_or(1, char::len_utf8);
            if hidden.len() >= SHORT || stands_alone(text, start, end) {
                return Some(start..end);
            }
        }
    })
}

fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before = text[..start].chars().next_back();
    let after = text[end..].chars().next();
    [before, after]
        .iter()
        .all(|c| !c.is_some_and(char::is_alphanumeric))
}

/// Where the beginning of a text stands before an ellipsis, or its end after one: what is long is
/// cut before it gets here.
fn cut_off(text: &str, hidden: &str) -> Vec<Range<usize>> {
    const CUT: &str = "…";
    let lengths: Vec<usize> = hidden
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| (SHORT..hidden.len()).contains(at))
        .collect();
    let mut found = Vec::new();
    for (at, _) in text.match_indices(CUT) {
        let (before, after) = (&text[..at], &text[at + CUT.len()..]);
        let head = lengths
            .iter()
            .rev()
            .find(|n| before.ends_with(&hidden[..**n]));
        found.extend(head.map(|n| at - n..at));
        let tail = lengths
            .iter()
            .map(|n| &hidden[*n..])
            .find(|tail| tail.len() >= SHORT && after.starts_with(tail));
        found.extend(tail.map(|tail| at + CUT.len()..at + CUT.len() + tail.len()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(hidden: &[&str], text: &str) -> String {
        let all = Hidden::default();
        hidden.iter().for_each(|text| all.text(text));
        all.scrub(ArmError::new("A", text).at(text)).message
    }

    #[test]
    fn hidden_texts_are_covered_in_every_form_they_are_shown_in() {
        for (hidden, text, shown) in [
            (
                &["abcdef"][..],
                "'abcdef' or ABCDEF.",
                "'(securestring)' or (securestring).",
            ),
            (
                &["ab\"c\\d"],
                r#"not "ab\"c\\d"."#,
                r#"not "(securestring)"."#,
            ),
            (
                &["first/second"],
                "'second' of first",
                "'(securestring)' of (securestring)",
            ),
            (&["West Key"], "in westkey", "in (securestring)"),
            (&["aaaa"], "xaaaaaax", "x(securestring)x"),
            (
                &["abcd", "cdef"],
                "abcdef abcd",
                "(securestring) (securestring)",
            ),
            (
                &["a"],
                "a man's 'a'.",
                "(securestring) man's '(securestring)'.",
            ),
            (&["ünïc"], "is ünïc", "is (securestring)"),
            (&[""], "as it is", "as it is"),
            (
                &["abcdefgh"],
                "x abcdef… and …efgh y",
                "x (securestring)… and …(securestring) y",
            ),
            (&["abcdefgh"], "abc… stays", "abc… stays"),
        ] {
            assert_eq!(covered(hidden, text), shown, "{hidden:?}");
        }
    }

    #[test]
    fn targets_and_details_are_covered() {
        let hidden = Hidden::default();
        hidden.value(&serde_json::json!({"a": ["secret1"], "n": 123_456, "small": 12}));
        let mut error = ArmError::new("A", "12 of 123456.").at("x.secret1");
        error.details = vec![ArmError::new("B", "secret1")];
        let error = hidden.scrub(error);
        assert_eq!(error.message, "12 of (securestring).");
        assert_eq!(error.target.as_deref(), Some("x.(securestring)"));
        assert_eq!(error.details[0].message, "(securestring)");
    }
}
