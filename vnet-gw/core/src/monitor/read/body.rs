//! A body of JSON, read with an error that says where it is wrong.

use serde_json::{Map, Value};

use super::{Result, bad, cut, wrong};

/// An object of the body, whose names compare without case.
pub(super) struct Object<'a> {
    pub(super) fields: Option<&'a Map<String, Value>>,
    pub(super) place: String,
}

impl<'a> Object<'a> {
    pub(super) fn new(value: Option<&'a Value>, place: String) -> Result<Self> {
        let fields = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => return Err(wrong(&place, "an object is needed")),
        };
        Ok(Self { fields, place })
    }

    pub(super) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let mut fields = self.fields?.iter();
        let (_, value) = fields.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value).filter(|value| !value.is_null())
    }

    pub(super) fn asks(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| match value {
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        })
    }

    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        let mut names = self.fields.into_iter().flat_map(Map::keys);
        let stray = |name: &&String| !known.iter().any(|known| known.eq_ignore_ascii_case(name));
        match names.find(stray) {
            None => Ok(()),
            Some(name) => {
                let why = format!(
                    "there is no such property: remove it; there are {}",
                    known.join(", ")
                );
                Err(wrong(&self.place(&cut(name)), &why))
            }
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Object<'a>> {
        Object::new(self.get(name), self.place(name))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(wrong(&self.place(name), "a string is needed")),
        }
    }

    pub(super) fn needed(&self, name: &str) -> Result<&'a str> {
        self.text(name)?
            .ok_or_else(|| wrong(&self.place(name), "it is missing"))
    }

    pub(super) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let why = format!(
                "a whole number from {} to {} is needed",
                range.start(),
                range.end()
            );
            bad("InvalidParameter", &self.place(name), &why)
        })
    }

    pub(super) fn items(&self, name: &str) -> Result<&'a [Value]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(wrong(&self.place(name), "a list is needed")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<Object<'a>>> {
        let items = self.items(name)?.iter().enumerate();
        items
            .map(|(at, item)| Object::new(Some(item), format!("{}[{at}]", self.place(name))))
            .collect()
    }

    pub(super) fn names(&self, name: &str) -> Result<Vec<&'a str>> {
        let text = |item: &'a Value| {
            item.as_str()
                .ok_or_else(|| wrong(&self.place(name), "a list of names is needed"))
        };
        self.items(name)?.iter().map(text).collect()
    }
}
