//! `$filter` of a list of resources, as far as clients write it: comparisons joined by `and`.

use vnet_gw_core::arm::{Document, GroupId};

use super::Refusal;

/// What a resource must be; everything, where it is empty.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<Term>);

#[derive(Debug)]
struct Term {
    property: String,
    equal: bool,
    value: String,
}

const PROPERTIES: [&str; 6] = [
    "resourcegroup",
    "resourcetype",
    "name",
    "location",
    "tagname",
    "tagvalue",
];

impl Filter {
    /// `resourceGroup eq 'rg' and resourceType eq 'Microsoft.Network/virtualNetworks'`
    ///
    /// # Errors
    ///
    /// `InvalidFilterInQueryString`
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || {
            Refusal::bad(
                "InvalidFilterInQueryString",
                format!(
                    "The $filter '{}' is not read here: write PROPERTY eq 'VALUE' [and …], with \
                     resourceGroup, resourceType, name, location, tagName or tagValue.",
                    text.chars().take(200).collect::<String>()
                ),
            )
        };
        let mut terms = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (property, after) = rest.split_once(char::is_whitespace).ok_or_else(wrong)?;
            let (word, after) = after
                .trim_start()
                .split_once(char::is_whitespace)
                .ok_or_else(wrong)?;
            let equal = match word.to_ascii_lowercase().as_str() {
                "eq" => true,
                "ne" => false,
                _ => return Err(wrong()),
            };
            let property = property.to_ascii_lowercase();
            if !PROPERTIES.contains(&property.as_str()) {
                return Err(wrong());
            }
            let quoted = after.trim_start().strip_prefix('\'').ok_or_else(wrong)?;
            let (value, after) = quoted.split_once('\'').ok_or_else(wrong)?;
            terms.push(Term {
                property,
                equal,
                value: value.to_owned(),
            });
            let after = after.trim_start();
            if after.is_empty() {
                break;
            }
            let next = after
                .get(..4)
                .filter(|word| word.eq_ignore_ascii_case("and "));
            next.ok_or_else(wrong)?;
            rest = after[4..].trim_start();
            if rest.is_empty() {
                return Err(wrong());
            }
        }
        Ok(Self(terms))
    }

    pub(super) fn takes(&self, document: &Document) -> bool {
        self.0.iter().all(|term| term.takes(document, &self.0))
    }

    /// Of a resource group's tags.
    pub(super) fn takes_tags(&self, tags: &std::collections::BTreeMap<String, String>) -> bool {
        let value = self.0.iter().find(|term| term.property == "tagvalue");
        self.0
            .iter()
            .filter(|term| term.property == "tagname")
            .all(|term| {
                tags.iter().any(|(name, one)| {
                    name.eq_ignore_ascii_case(&term.value)
                        && value.is_none_or(|value| value.value == *one)
                }) == term.equal
            })
    }
}

impl Term {
    fn takes(&self, document: &Document, all: &[Self]) -> bool {
        let same = |text: &str| text.eq_ignore_ascii_case(&self.value);
        let found = match self.property.as_str() {
            "resourcegroup" => same(&GroupId::of(&document.id).name),
            "resourcetype" => same(document.kind.resource_type()),
            "name" => same(document.id.name()),
            "location" => {
                let location = document.body.get("location");
                let location = location
                    .and_then(|value| value.as_str())
                    .unwrap_or_default();
                let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
                plain(location) == plain(&self.value)
            }
            "tagname" => {
                let wanted = all.iter().find(|term| term.property == "tagvalue");
                let tags = document.body.get("tags").and_then(|tags| tags.as_object());
                tags.into_iter().flatten().any(|(name, value)| {
                    same(name) && wanted.is_none_or(|term| value.as_str() == Some(&term.value))
                })
            }
            // Part of the name's.
            _ => return true,
        };
        found == self.equal
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vnet_gw_core::{
        arm::Origin,
        model::{Kind, ResourceId},
    };

    use super::*;

    #[test]
    fn what_clients_write_is_read() {
        let serde_json::Value::Object(body) =
            json!({"location": "westeurope", "tags": {"env": "test"}})
        else {
            panic!();
        };
        let document = Document {
            id: ResourceId::new(
                "/subscriptions/S/resourceGroups/Rg/providers/Microsoft.Network/virtualNetworks/V1",
            ),
            kind: Kind::VirtualNetwork,
            body,
            etag: String::new(),
            origin: Origin::Api,
        };
        for (filter, takes) in [
            ("", true),
            ("resourceGroup eq 'rg'", true),
            ("resourceGroup eq 'other'", false),
            ("resourceGroup ne 'other'", true),
            (
                "resourceType eq 'Microsoft.Network/virtualNetworks' and name eq 'v1'",
                true,
            ),
            ("resourceType eq 'Microsoft.Network/routeTables'", false),
            ("location eq 'West Europe'", true),
            ("tagName eq 'env'", true),
            ("tagName eq 'env' and tagValue eq 'test'", true),
            ("tagName eq 'env' and tagValue eq 'other'", false),
        ] {
            let read = Filter::parse(filter).unwrap();
            assert_eq!(read.takes(&document), takes, "{filter}");
        }
        for filter in [
            "name",
            "name eq",
            "name eq x",
            "name eq 'x",
            "name lt 'x'",
            "colour eq 'x'",
            "name eq 'x' and",
            "name eq 'x' or name eq 'y'",
            "name eq 'x' é",
        ] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }
}
