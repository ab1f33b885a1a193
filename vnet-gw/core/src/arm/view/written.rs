//! What a client wrote, as it is shown again: Azure's spelling, and no nulls.

use serde_json::{Map, Value, json};

use super::{names, values};
use crate::arm::ProvisioningState;

/// A field in any case, that is not null.
pub(super) fn field<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    of.get(name)
        .or_else(|| {
            let mut fields = of.iter();
            let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
            Some(found.1)
        })
        .filter(|value| !value.is_null())
}

/// The fields of an object, unknown ones included and those in `without` left out; those of `known`
/// in that spelling.
fn copy(
    from: &Map<String, Value>,
    known: &'static [&'static str],
    without: &[&str],
    into: &mut Map<String, Value>,
) {
    for (name, value) in from {
        let spelling = known.iter().find(|one| one.eq_ignore_ascii_case(name));
        let name = spelling.map_or(name.as_str(), |one| *one);
        if value.is_null() || without.contains(&name) {
            continue;
        }
        let value = match value {
            Value::String(text) if spelling.is_some() => values::canonical(name, text),
            value => without_nulls(value, names::below(name)),
        };
        into.insert(name.to_owned(), value);
    }
}

/// A property that is null is one that is not there.
fn without_nulls(value: &Value, known: &'static [&'static str]) -> Value {
    match value {
        Value::Object(fields) => {
            let mut copied = Map::with_capacity(fields.len());
            copy(fields, known, &[], &mut copied);
            Value::Object(copied)
        }
        Value::Array(items) => items
            .iter()
            .map(|item| without_nulls(item, known))
            .collect(),
        other => other.clone(),
    }
}

/// The properties of a resource, a child or an ipConfiguration, on the way to being shown.
pub(super) struct Properties(Map<String, Value>);

impl Properties {
    /// Of the resource, child or ipConfiguration `item`, but for those in `without`; with the state
    /// of the resource that it is in.
    pub(super) fn of(
        item: &Map<String, Value>,
        known: &'static [&'static str],
        without: &[&str],
        provisioning: ProvisioningState,
    ) -> Self {
        let mut properties = Map::with_capacity(24);
        let state = "provisioningState";
        properties.insert(state.to_owned(), Value::Null);
        if let Some(Value::Object(written)) = field(item, "properties") {
            copy(written, known, without, &mut properties);
        }
        properties.insert(state.to_owned(), provisioning.as_str().into());
        Self(properties)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What Azure shows where nothing was written.
    pub(super) fn default(&mut self, name: &str, value: impl Into<Value>) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// What does not depend on what was written.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.shift_remove(name);
    }

    /// Back references: nothing is shown where there are none.
    pub(super) fn back_references(&mut self, name: &str, ids: Vec<String>) {
        let references: Vec<Value> = ids.into_iter().map(|id| json!({ "id": id })).collect();
        if !references.is_empty() {
            self.set(name, references);
        }
    }

    /// An object with a default for each of its fields.
    pub(super) fn object(&mut self, name: &str, defaults: &[(&str, Value)]) {
        let fields = self.0.entry(name).or_insert_with(|| Map::new().into());
        if let Value::Object(fields) = fields {
            for (name, value) in defaults {
                if !fields.contains_key(*name) {
                    fields.insert((*name).to_owned(), value.clone());
                }
            }
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Who a thing is.
pub(super) struct Identity<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) resource_type: &'a str,
    pub(super) etag: &'a str,
    /// Of a top-level resource.
    pub(super) location: Option<String>,
}

/// The whole of a resource or child: who it is, what was written beside its properties, and these.
pub(super) fn envelope(
    identity: &Identity<'_>,
    written: &Map<String, Value>,
    properties: Properties,
) -> Value {
    let own = [
        ("name", identity.name.to_owned()),
        ("id", identity.id.to_owned()),
        ("etag", format!("W/\"{}\"", identity.etag)),
        ("type", identity.resource_type.to_owned()),
    ];
    let mut whole = Map::with_capacity(12);
    for (name, value) in own {
        whole.insert(name.to_owned(), value.into());
    }
    if let Some(location) = &identity.location {
        whole.insert("location".to_owned(), location.as_str().into());
    }
    let without = ["name", "id", "etag", "type", "location", "properties"];
    copy(written, names::ENVELOPE, &without, &mut whole);
    whole.insert("properties".to_owned(), properties.into_value());
    Value::Object(whole)
}
