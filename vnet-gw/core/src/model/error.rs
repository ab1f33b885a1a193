//! What is wrong with a template, in ARM's shape: a code, a sentence, and where.

use std::fmt;

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

/// Collects errors, so that all of them are told at once.
#[derive(Debug, Default)]
pub(super) struct Errors {
    list: Vec<ArmError>,
    /// Those beyond [`MAX_DETAILS`].
    untold: usize,
}

impl Errors {
    pub(super) fn push(&mut self, error: ArmError) {
        if self.list.len() < MAX_DETAILS {
            self.list.push(error);
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Keeps the value of an `Ok`, collects the error of an `Err`.
    pub(super) fn keep<T>(&mut self, result: Result<T, ArmError>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// `Err` where anything was collected: the one error itself, or a summary of several.
    pub(super) fn into_result(mut self) -> Result<(), ArmError> {
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
