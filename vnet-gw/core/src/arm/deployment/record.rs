//! What is kept of a template.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::tentative::field;
use crate::model::{hidden::is_key, template::murmur_hash64};

/// `templateHash`: ARM's hash of the template's JSON, in upper case and without spaces.
pub fn template_hash(template: &Value) -> String {
    let text = template.to_string().to_uppercase();
    murmur_hash64(text.as_bytes()).to_string()
}

/// Takes keys out of a template: what properties that are keys say in clear, the variables and
/// parameters that say it for them, and the defaults of secure parameters.
pub fn hide_keys(template: &mut Value) {
    let mut sources = Sources::default();
    sources.collect(template, false);
    // Variables that are made of others.
    loop {
        let before = sources.variables.len() + sources.parameters.len();
        sources.follow(template);
        if sources.variables.len() + sources.parameters.len() == before {
            break;
        }
    }
    clean(template, &sources);
}

/// Where keys come from, in lower case.
#[derive(Default)]
struct Sources {
    variables: BTreeSet<String>,
    parameters: BTreeSet<String>,
}

impl Sources {
    /// What the expressions of keys refer to.
    fn collect(&mut self, value: &Value, key: bool) {
        match value {
            Value::String(text) if key => self.expression(text),
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, key)),
            Value::Object(fields) => {
                for (name, item) in fields {
                    self.collect(item, key || is_key(name));
                }
            }
            _ => {}
        }
    }

    fn expression(&mut self, text: &str) {
        for (function, names) in [
            ("variables(", &mut self.variables),
            ("parameters(", &mut self.parameters),
        ] {
            let lower = text.to_lowercase();
            for (at, _) in lower.match_indices(function) {
                let rest = lower[at + function.len()..].trim_start();
                let name = rest
                    .strip_prefix('\'')
                    .and_then(|rest| rest.split_once('\''));
                names.extend(name.map(|(name, _)| name.to_owned()));
            }
        }
    }

    /// What those variables refer to themselves.
    fn follow(&mut self, value: &Value) {
        let Value::Object(fields) = value else {
            if let Value::Array(items) = value {
                items.iter().for_each(|item| self.follow(item));
            }
            return;
        };
        for (name, item) in fields {
            if let (true, Value::Object(variables)) = (name.eq_ignore_ascii_case("variables"), item)
            {
                for (name, item) in variables {
                    if self.variables.contains(&name.to_lowercase()) {
                        self.collect(item, true);
                    }
                }
            }
            self.follow(item);
        }
    }
}

/// Whether a key's expression has a text of its own in it, besides names.
fn has_literal(text: &str) -> bool {
    let mut rest = text.to_lowercase();
    for function in ["parameters(", "variables("] {
        rest = rest.replace(&format!("{function}'"), "");
    }
    // Each name leaves its closing quote; a literal has two more.
    let names = text.to_lowercase().matches("parameters('").count()
        + text.to_lowercase().matches("variables('").count();
    rest.matches('\'').count() > names
}

fn clean(value: &mut Value, sources: &Sources) {
    match value {
        Value::Object(fields) => {
            for (name, item) in fields.iter_mut() {
                if let Value::Object(all) = item {
                    if name.eq_ignore_ascii_case("variables") {
                        all.retain(|name, _| !sources.variables.contains(&name.to_lowercase()));
                    } else if name.eq_ignore_ascii_case("parameters") {
                        defaults(all, sources);
                    }
                }
            }
            // A parameter may be called like a key: it is an object.
            let clear = |value: &Value| match value {
                Value::String(text) => !text.starts_with('[') || has_literal(text),
                Value::Number(_) => true,
                _ => false,
            };
            fields.retain(|name, value| !(is_key(name) && clear(value)));
            nested_values(fields);
            fields.values_mut().for_each(|item| clean(item, sources));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, sources)),
        _ => {}
    }
}

fn is_secure(parameter: &Value) -> bool {
    let wanted = parameter
        .as_object()
        .and_then(|fields| field(fields, "type")?.as_str());
    wanted.is_some_and(|wanted| {
        wanted.eq_ignore_ascii_case("securestring") || wanted.eq_ignore_ascii_case("secureobject")
    })
}

/// Of secure parameters, and of those that are a key's.
fn defaults(parameters: &mut Map<String, Value>, sources: &Sources) {
    for (name, parameter) in parameters {
        if (is_secure(parameter) || sources.parameters.contains(&name.to_lowercase()))
            && let Some(fields) = parameter.as_object_mut()
        {
            let shows = ["defaultValue", "allowedValues"];
            fields.retain(|name, _| !shows.iter().any(|no| no.eq_ignore_ascii_case(name)));
        }
    }
}

/// What a nested deployment gives the secure parameters of its template.
fn nested_values(properties: &mut Map<String, Value>) {
    let secure: Vec<String> = field(properties, "template")
        .and_then(Value::as_object)
        .and_then(|template| field(template, "parameters")?.as_object())
        .into_iter()
        .flatten()
        .filter(|(_, parameter)| is_secure(parameter))
        .map(|(name, _)| name.to_lowercase())
        .collect();
    if let Some(Value::Object(given)) = properties.get_mut("parameters") {
        given.retain(|name, _| !secure.contains(&name.to_lowercase()));
    }
}
