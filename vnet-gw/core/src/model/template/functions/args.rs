//! What a function is given.

use std::borrow::Cow;

use serde_json::Value;

use super::{Result, count};
use crate::model::{ArmError, error::cut, template::evaluate::invalid};

/// The evaluated arguments of a call.
pub(super) struct Args<'a, 'v> {
    pub(super) name: &'a str,
    pub(super) values: &'a [Cow<'v, Value>],
}

impl<'a> Args<'a, '_> {
    pub(super) fn exactly<const N: usize>(&self) -> Result<[&'a Value; N]> {
        let values: Vec<&Value> = self.values.iter().map(AsRef::as_ref).collect();
        values
            .try_into()
            .map_err(|_| count(self.name, &N.to_string()))
    }

    pub(super) fn one_text(&self) -> Result<&'a str> {
        let [value] = self.exactly()?;
        self.as_text(value)
    }

    pub(super) fn two_texts(&self) -> Result<[&'a str; 2]> {
        let [a, b] = self.exactly()?;
        Ok([self.as_text(a)?, self.as_text(b)?])
    }

    pub(super) fn as_text(&self, value: &'a Value) -> Result<&'a str> {
        value.as_str().ok_or_else(|| self.wrong("a string", value))
    }

    pub(super) fn as_int(&self, value: &Value) -> Result<i64> {
        value
            .as_i64()
            .ok_or_else(|| self.wrong("an integer", value))
    }

    pub(super) fn as_size(&self, value: &Value) -> Result<usize> {
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| self.wrong("an integer of 0 or more", value))
    }

    pub(super) fn two_ints(&self) -> Result<[i64; 2]> {
        let [a, b] = self.exactly()?;
        Ok([self.as_int(a)?, self.as_int(b)?])
    }

    /// The arguments themselves, or the elements of the one array that is given instead.
    pub(super) fn list(&self) -> Vec<&'a Value> {
        match self.values {
            [only] if only.is_array() => only.as_array().into_iter().flatten().collect(),
            values => values.iter().map(AsRef::as_ref).collect(),
        }
    }

    pub(super) fn wrong(&self, wanted: &str, value: &Value) -> ArmError {
        let value = value.to_string();
        let shown = cut(&value);
        invalid(format!(
            "{}() takes {wanted} here, not {shown}: correct it.",
            self.name
        ))
    }
}
