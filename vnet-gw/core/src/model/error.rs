//! What is wrong with a template, in ARM's shape: a code, a sentence, and where.

use std::{borrow::Cow, fmt};

use serde_json::{Map, Value, json};

/// The most errors that are told one by one; a broken generator repeats itself.
pub const MAX_DETAILS: usize = 50;

/// An ARM error (`azure-semantics.md`, rule D: `{"error":{"code","message","target","details"}}`).
///
/// [`Display`](fmt::Display) is one line: what, where, why and what to do. Where several things
/// are wrong, the line is a summary and [`lines`](Self::lines) has one for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ArmError {
    /// Azure's error code where Azure has one, `VnetAddressSpacesOverlap`.
    pub code: String,
    pub message: String,
    /// The id of the resource, a JSON path below the template's root (`resources[2].properties`),
    /// or `line 3, column 7` where the text is not JSON.
    pub target: Option<String>,
    /// One for each thing that is wrong, where there are several.
    pub details: Vec<ArmError>,
}

impl ArmError {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            target: None,
            details: Vec::new(),
        }
    }

    /// The same error, at a place.
    #[must_use]
    pub fn at(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// The body of a REST answer: `{"error":{"code","message","target","details"}}`.
    pub fn body(&self) -> Value {
        json!({ "error": self.object() })
    }

    /// One line for each thing that is wrong: the details, or this error itself.
    pub fn lines(&self) -> Vec<String> {
        if self.details.is_empty() {
            vec![self.to_string()]
        } else {
            self.details.iter().flat_map(Self::lines).collect()
        }
    }

    /// Whether this error or one of its details has the code.
    pub fn has_code(&self, code: &str) -> bool {
        self.code == code || self.details.iter().any(|detail| detail.has_code(code))
    }

    fn object(&self) -> Value {
        let mut object = Map::new();
        object.insert("code".to_owned(), json!(self.code));
        object.insert("message".to_owned(), json!(self.message));
        if let Some(target) = &self.target {
            object.insert("target".to_owned(), json!(target));
        }
        object.insert(
            "details".to_owned(),
            self.details.iter().map(Self::object).collect(),
        );
        Value::Object(object)
    }
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        if let Some(target) = &self.target {
            write!(f, "{}: ", OneLine(target))?;
        }
        write!(f, "{}", OneLine(&self.message))
    }
}

/// Text with its control characters escaped: what a template says may hold any.
struct OneLine<'a>(&'a str);

pub(crate) fn one_line(text: &str) -> String {
    OneLine(text).to_string()
}

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// The most characters of one piece of input that an error shows.
const MAX_SHOWN: usize = 80;

/// The longest message: what is left of a chain of variables, each of which is named.
const MAX_MESSAGE: usize = 1_000;

/// The longest target: a child's id, all of whose names are as long as Azure allows, has 420.
const MAX_TARGET: usize = 500;

/// A piece of input as an error shows it: its beginning, where it is long.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.chars().take(MAX_SHOWN - 1).chain(['…']).collect()),
    }
}

/// Beginning and end: what is long because much is put together says where and why at its ends.
fn cut_inside(text: &mut String, most: usize) {
    // No text has more characters than bytes, and counting is for the few that are this long.
    if text.len() <= most {
        return;
    }
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > most {
        let (head, tail) = (most / 2, most - most / 2 - 1);
        *text = chars[..head]
            .iter()
            .chain(['…'].iter())
            .chain(&chars[chars.len() - tail..])
            .collect();
    }
}

/// Collects errors, so that all of them are told at once.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    list: Vec<ArmError>,
    /// Those beyond [`MAX_DETAILS`].
    untold: usize,
    /// Of documents, which keep what has no effect here: that is told, and no error. A template's
    /// is one.
    notes: Option<Vec<Note>>,
}

/// What has no effect here.
#[derive(Debug)]
pub(super) struct Note {
    /// Of the property.
    pub(super) path: String,
    pub(super) message: String,
}

impl Errors {
    /// For resources that are kept.
    pub(super) fn of_documents() -> Self {
        Self {
            notes: Some(Vec::new()),
            ..Self::default()
        }
    }

    pub(super) const fn are_of_documents(&self) -> bool {
        self.notes.is_some()
    }

    /// Tells that a document's property has no effect; nothing of a template's.
    pub(super) fn note(&mut self, path: impl fmt::Display, message: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes
            && notes.len() < MAX_DETAILS
        {
            let (mut path, mut message) = (path.to_string(), message());
            cut_inside(&mut path, MAX_TARGET);
            cut_inside(&mut message, MAX_MESSAGE);
            notes.push(Note { path, message });
        }
    }

    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        self.notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, mut error: ArmError) {
        if self.list.len() < MAX_DETAILS {
            cut_inside(&mut error.message, MAX_MESSAGE);
            if let Some(target) = &mut error.target {
                cut_inside(target, MAX_TARGET);
            }
            self.list.push(error);
        } else {
            self.untold += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Keeps the value of an `Ok`, collects the error of an `Err`.
    pub(crate) fn keep<T>(&mut self, result: Result<T, ArmError>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// `Err` where anything was collected: the one error itself, or a summary of several.
    pub(crate) fn into_result(mut self) -> Result<(), ArmError> {
        let total = self.list.len() + self.untold;
        match total {
            0 => Ok(()),
            1 => Err(self.list.remove(0)),
            _ => Err(ArmError {
                message: self.summary(total),
                code: "MultipleErrorsOccurred".to_owned(),
                target: None,
                details: self.list,
            }),
        }
    }

    fn summary(&self, total: usize) -> String {
        let first = &self.list[0];
        let told = match self.untold {
            0 => String::new(),
            _ => format!(" (the first {MAX_DETAILS} are told)"),
        };
        format!("{total} things are wrong{told}, the first is {first}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_itself_and_several_are_summarised() {
        let mut errors = Errors::default();
        errors.push(ArmError::new("A", "first.").at("x"));
        assert_eq!(
            errors.into_result().unwrap_err().to_string(),
            "A: x: first."
        );

        let mut errors = Errors::default();
        for n in 0..60 {
            errors.push(ArmError::new("A", format!("number {n}.")));
        }
        let error = errors.into_result().unwrap_err();
        assert_eq!(error.details.len(), MAX_DETAILS);
        assert_eq!(error.lines()[1], "A: number 1.");
        assert!(
            error
                .message
                .starts_with("60 things are wrong (the first 50"),
            "{error}"
        );
    }

    #[test]
    fn what_is_long_is_cut() {
        let eighty = "é".repeat(80);
        assert_eq!(cut(&eighty), eighty);
        assert_eq!(cut(&"é".repeat(81)), format!("{}…", "é".repeat(79)));

        let mut errors = Errors::default();
        let long = format!("Start {} end.", "é".repeat(5_000));
        errors.push(ArmError::new("A", long.clone()).at(long));
        let error = errors.into_result().unwrap_err();
        let target = error.target.unwrap();
        assert_eq!(error.message.chars().count(), MAX_MESSAGE);
        assert_eq!(target.chars().count(), MAX_TARGET);
        for text in [error.message, target] {
            assert!(
                text.starts_with("Start ") && text.ends_with(" end."),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_is_one_line_whatever_the_template_says() {
        let error = ArmError::new("A", "no 'x\ny\u{1b}[2J'.").at("a\rb");
        assert_eq!(error.to_string(), "A: a\\rb: no 'x\\ny\\u{1b}[2J'.");
    }

    #[test]
    fn the_body_has_arms_shape() {
        let error = ArmError::new("InvalidTemplate", "No.").at("resources");
        assert_eq!(
            error.body(),
            json!({"error": {"code": "InvalidTemplate", "message": "No.", "target": "resources", "details": []}})
        );
    }
}
