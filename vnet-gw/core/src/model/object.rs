//! Reads the fields of a resource against what Azure has, so that nothing is skipped in silence.

use super::{
    ArmError,
    error::{Errors, cut},
    path::Path,
    template::node::{Fields, Node},
};

/// What becomes of a property.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// It is read.
    Read,
    /// Azure sets it, or clients say it unasked: nobody need be told that it has no effect.
    Quiet,
    /// It changes nothing that this version carries out, which is told of a document whose value
    /// is not neutral.
    Harmless(Neutral),
    /// It would change what is forwarded: anything but its neutral value is refused.
    Refused(Neutral),
}

/// The values that ask for nothing, besides null, false, and what is empty.
#[derive(Clone, Copy)]
pub(super) enum Neutral {
    Empty,
    /// `{"enabled": false}`
    NotEnabled,
    Text(&'static str),
    Number(u64),
}

pub(super) type Schema = &'static [(&'static str, Rule)];

pub(super) const READ: Rule = Rule::Read;
pub(super) const QUIET: Rule = Rule::Quiet;
pub(super) const HARMLESS: Rule = Rule::Harmless(Neutral::Empty);
pub(super) const REFUSED: Rule = Rule::Refused(Neutral::Empty);

/// The fields of an object that were found to be in its schema.
pub(super) struct Object<'v, 'p> {
    fields: &'v Fields<'v>,
    /// It is no object, which is told: that nothing is in it follows.
    broken: bool,
    pub(super) path: &'p Path<'p>,
}

static NO_FIELDS: std::sync::LazyLock<Fields<'static>> = std::sync::LazyLock::new(Fields::default);

impl<'v, 'p> Object<'v, 'p> {
    /// The object; an error for whatever of it is not in the schema, or is refused.
    pub(super) fn open(
        value: &'v Node<'v>,
        path: &'p Path<'p>,
        schema: Schema,
        errors: &mut Errors,
    ) -> Self {
        match value {
            Node::Object(fields) => Self::of(fields, path, schema, errors),
            Node::Null => Object {
                fields: &NO_FIELDS,
                broken: false,
                path,
            },
            _ => {
                errors.push(format_error("This must be an object.", path));
                Object {
                    fields: &NO_FIELDS,
                    broken: true,
                    path,
                }
            }
        }
    }

    pub(super) fn of(
        fields: &'v Fields<'v>,
        path: &'p Path<'p>,
        schema: Schema,
        errors: &mut Errors,
    ) -> Self {
        for (at, (name, value)) in fields.iter().enumerate() {
            let known = schema.iter().find(|(known, _)| *known == name).or_else(|| {
                schema
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))
            });
            match known {
                None if errors.are_of_documents() => {
                    if !matches!(value, Node::Null) {
                        errors.note(path.key(name), || unknown_note(name, schema));
                    }
                }
                None => errors.push(unknown(name, path, schema)),
                Some((_, Rule::Refused(neutral))) if !is_neutral(value, *neutral) => {
                    errors.push(not_supported(name, &path.key(name)));
                }
                Some((_, Rule::Harmless(neutral)))
                    if errors.are_of_documents()
                        && !is_neutral(value, *neutral)
                        && !is_idle(value) =>
                {
                    errors.note(path.key(name), || {
                        format!("'{name}' is kept, and has no effect here.")
                    });
                }
                // The same property twice, as an expression can make it: which one counts is a
                // guess. Of the text itself it is told before.
                Some(_) => {
                    if fields
                        .iter()
                        .take(at)
                        .any(|(other, _)| other.eq_ignore_ascii_case(name))
                    {
                        errors.push(format_error(
                            "The property is there twice: remove one.",
                            &path.key(name),
                        ));
                    }
                }
            }
        }
        Object {
            fields,
            broken: false,
            path,
        }
    }

    /// A field; one that is null is not there.
    pub(super) fn get(&self, name: &str) -> Option<&'v Node<'v>> {
        self.fields
            .get(name)
            .filter(|value| !matches!(value, Node::Null))
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether no text is written there: not what is written wrong, an error of its own.
    pub(super) fn lacks_text(&self, name: &str) -> bool {
        self.lacks(name) || matches!(self.get(name), Some(Node::Text(text)) if text.is_empty())
    }

    /// Whether no item is written there: not what is written wrong, an error of its own.
    pub(super) fn lacks_items(&self, name: &str) -> bool {
        self.lacks(name) || matches!(self.get(name), Some(Node::Array(items)) if items.is_empty())
    }

    pub(super) fn lacks(&self, name: &str) -> bool {
        !self.broken && self.get(name).is_none()
    }

    /// A text; an empty one is not there (exported templates have `"nextHopIpAddress": ""`).
    pub(super) fn text(&self, name: &str, errors: &mut Errors) -> Option<&'v str> {
        match self.get(name)? {
            Node::Text(text) if text.is_empty() => None,
            Node::Text(text) => Some(text),
            _ => self.wrong(name, "a string", errors),
        }
    }

    /// A text without which the object means nothing.
    pub(super) fn needed_text(&self, name: &str, errors: &mut Errors) -> Option<&'v str> {
        if self.lacks_text(name) {
            errors.push(format_error(
                format!("The property '{name}' is missing: add it."),
                self.path,
            ));
            return None;
        }
        self.text(name, errors)
    }

    pub(super) fn boolean(&self, name: &str, errors: &mut Errors) -> Option<bool> {
        match self.get(name)? {
            Node::Bool(value) => Some(*value),
            // As ARM reads them.
            Node::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Node::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => self.wrong(name, "true or false", errors),
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &self,
        name: &str,
        bounds: std::ops::RangeInclusive<u64>,
        errors: &mut Errors,
    ) -> Option<u64> {
        let number = match self.get(name)? {
            Node::Number(number) => number.as_u64(),
            _ => None,
        };
        let good = number.filter(|number| bounds.contains(number));
        if good.is_none() {
            let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
            return self.wrong(name, &wanted, errors);
        }
        good
    }

    pub(super) fn array(&self, name: &str, errors: &mut Errors) -> &'v [Node<'v>] {
        match self.get(name) {
            None => &[],
            Some(Node::Array(items)) => items,
            Some(_) => {
                self.wrong::<()>(name, "an array", errors);
                &[]
            }
        }
    }

    /// Texts of an array, with their index.
    pub(super) fn texts(&self, name: &str, errors: &mut Errors) -> Vec<(usize, &'v str)> {
        let path = self.path.key(name);
        let mut texts = Vec::new();
        for (index, item) in self.array(name, errors).iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push((index, text)),
                None => errors.push(format_error("This must be a string.", &path.index(index))),
            }
        }
        texts
    }

    /// One of the values of an enum, as Azure writes it.
    pub(super) fn choice(
        &self,
        name: &str,
        values: &[&'static str],
        errors: &mut Errors,
    ) -> Option<&'static str> {
        let text = self.text(name, errors)?;
        let found = values
            .iter()
            .copied()
            .find(|value| value.eq_ignore_ascii_case(text));
        if found.is_none() {
            errors.push(format_error(
                format!(
                    "'{}' is not one of {}: correct it.",
                    cut(text),
                    values.join(", ")
                ),
                &self.path.key(name),
            ));
        }
        found
    }

    /// The `id` in `{"id": "…"}`.
    pub(super) fn reference(&self, name: &str, errors: &mut Errors) -> Option<&'v str> {
        let value = self.get(name)?;
        match value
            .as_object()
            .and_then(|fields| fields.get("id"))
            .and_then(Node::as_str)
        {
            Some(id) => Some(id),
            None => self.wrong(name, "an object with an id, {\"id\": \"…\"}", errors),
        }
    }

    fn wrong<T>(&self, name: &str, wanted: &str, errors: &mut Errors) -> Option<T> {
        errors.push(format_error(
            format!("This must be {wanted}: correct it."),
            &self.path.key(name),
        ));
        None
    }
}

/// `InvalidRequestFormat` at a place.
pub(super) fn format_error(message: impl Into<String>, path: &Path<'_>) -> ArmError {
    ArmError::new("InvalidRequestFormat", message).at(path.to_string())
}

pub(super) fn not_supported(name: &str, path: &Path<'_>) -> ArmError {
    ArmError::new(
        "NotSupported",
        format!("'{name}' is not supported yet, and packets would not be forwarded as it says: remove it."),
    )
    .at(path.to_string())
}

fn unknown(name: &str, path: &Path<'_>, schema: Schema) -> ArmError {
    let near = match near(name, schema) {
        Some(known) => format!("; did you mean '{known}'?"),
        None => ": correct or remove it.".to_owned(),
    };
    format_error(
        format!("Azure has no property '{}' here{near}", cut(name)),
        &path.key(name),
    )
}

fn unknown_note(name: &str, schema: Schema) -> String {
    let near = near(name, schema).map(|known| format!(" (did you mean '{known}'?)"));
    format!(
        "Azure has no property '{}' here{}: it is kept, and has no effect.",
        cut(name),
        near.unwrap_or_default()
    )
}

/// The property whose name is nearly this.
fn near(name: &str, schema: Schema) -> Option<&'static str> {
    let name = name.to_lowercase();
    let near = schema
        .iter()
        .map(|(known, _)| (distance(&known.to_lowercase(), &name), *known))
        .min();
    near.filter(|(distance, _)| *distance <= 2)
        .map(|(_, known)| known)
}

/// Objects in which everything is empty, as clients write those that they do not use.
fn is_idle(value: &Node<'_>) -> bool {
    match value {
        Node::Object(fields) => fields.iter().all(|(_, value)| is_idle(value)),
        value => is_neutral(value, Neutral::Empty),
    }
}

fn is_neutral(value: &Node<'_>, neutral: Neutral) -> bool {
    let empty = match value {
        Node::Null | Node::Bool(false) => true,
        Node::Text(text) => text.is_empty() || text.eq_ignore_ascii_case("false"),
        Node::Array(items) => items.is_empty(),
        Node::Object(_) => value.is_empty(),
        _ => false,
    };
    empty
        || match neutral {
            Neutral::Empty => false,
            Neutral::NotEnabled => value.as_object().is_some_and(|fields| {
                fields
                    .get("enabled")
                    .is_some_and(|v| is_neutral(v, Neutral::Empty))
            }),
            Neutral::Number(number) => *value == Node::Number(number.into()),
            Neutral::Text(text) => value.as_str().is_some_and(|v| v.eq_ignore_ascii_case(text)),
        }
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
