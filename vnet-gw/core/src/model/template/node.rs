//! JSON that borrows its texts: a million routes are a million small objects, and nearly all that
//! is in them is looked at once.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::model::path::Path;

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Node<'t> {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'t, str>),
    Array(Vec<Node<'t>>),
    Object(Fields<'t>),
}

/// The fields of an object, in its order; a name may be there twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields<'t>(Vec<(Cow<'t, str>, Node<'t>)>);

impl<'t> Node<'t> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Fields<'t>> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Null, or an array or object without anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Array(items) => items.is_empty(),
            Self::Object(fields) => fields.0.is_empty(),
            _ => false,
        }
    }

    /// The paths of names that stand in their object already, the first `most` of them. Names
    /// compare without case, but for the symbolic names of resources.
    pub(crate) fn duplicates(&self, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        self.find_duplicates(Path::Root(""), false, most, &mut found);
        found
    }

    fn find_duplicates(
        &self,
        path: Path<'_>,
        symbolic: bool,
        most: usize,
        found: &mut Vec<String>,
    ) {
        match self {
            Self::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.find_duplicates(path.index(index), false, most, found);
                }
            }
            Self::Object(fields) => {
                for name in fields.duplicates(symbolic) {
                    if found.len() < most {
                        let path = path.key(name).to_string();
                        found.push(path.trim_start_matches('.').to_owned());
                    }
                }
                for (name, value) in fields.iter() {
                    let symbolic = name.eq_ignore_ascii_case("resources");
                    value.find_duplicates(path.key(name), symbolic, most, found);
                }
            }
            _ => {}
        }
    }

    /// As the value that expressions compute with.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.to_string()),
            Self::Array(items) => items.iter().map(Self::to_value).collect(),
            Self::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

impl From<Value> for Node<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(Fields(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
            )),
        }
    }
}

impl<'t> From<&'t Value> for Node<'t> {
    fn from(value: &'t Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(fields.into()),
        }
    }
}

impl<'t> From<&'t Map<String, Value>> for Fields<'t> {
    fn from(fields: &'t Map<String, Value>) -> Self {
        let fields = fields.iter();
        Self(
            fields
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Up to so many fields every pair is looked at: nearly all objects, and none needs a set.
const FEW_FIELDS: usize = 16;

impl<'t> Fields<'t> {
    /// The names that are there already, further up.
    fn duplicates(&self, with_case: bool) -> Vec<&str> {
        let names = self.0.iter().map(|(name, _)| name.as_ref());
        if self.0.len() > FEW_FIELDS {
            let mut seen = HashSet::with_capacity(self.0.len());
            return names
                .filter(|name| {
                    !seen.insert(match with_case {
                        true => Cow::Borrowed(*name),
                        false => Cow::Owned(name.to_ascii_lowercase()),
                    })
                })
                .collect();
        }
        let same = |a: &str, b: &str| match with_case {
            true => a == b,
            false => a.eq_ignore_ascii_case(b),
        };
        names
            .enumerate()
            .filter(|(at, name)| self.0[..*at].iter().any(|(other, _)| same(other, name)))
            .map(|(_, name)| name)
            .collect()
    }

    /// A field by its name, which compares without case.
    pub(crate) fn get(&self, name: &str) -> Option<&Node<'t>> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node<'t>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node<'t>)> {
        self.0.iter_mut().map(|(name, value)| {
            let name: &Cow<'t, str> = name;
            (name.as_ref(), value)
        })
    }

    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (Cow<'t, str>, Node<'t>)> {
        self.0.into_iter()
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Node<'t>> {
        let at = self
            .0
            .iter()
            .position(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(self.0.remove(at).1)
    }

    /// Puts a field in, instead of one of the same name.
    pub(crate) fn insert(&mut self, name: String, value: Node<'t>) {
        self.take(&name);
        self.0.push((name.into(), value));
    }
}

impl<'de: 't, 't> Deserialize<'de> for Node<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    /// One with escapes.
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element()? {
            out.push(item);
        }
        Ok(Node::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Name(name)) = fields.next_key()? {
            out.push((name, fields.next_value()?));
        }
        Ok(Node::Object(Fields(out)))
    }
}

/// `Cow` itself deserializes into an owned text.
struct Name<'t>(Cow<'t, str>);

impl<'de: 't, 't> Deserialize<'de> for Name<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor).map(Name)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
