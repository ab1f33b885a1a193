//! What is kept of a template.

use serde_json::Value;

use super::tentative::field;
use crate::model::{hidden::is_key, template::murmur_hash64};

/// `templateHash`: ARM's hash of the template's JSON, in upper case and without spaces.
pub fn template_hash(template: &Value) -> String {
    let text = template.to_string().to_uppercase();
    murmur_hash64(text.as_bytes()).to_string()
}

/// Takes keys out of a template: literals that are keys, and the defaults of secure parameters.
pub fn hide_keys(template: &mut Value) {
    match template {
        Value::Object(fields) => {
            secure_defaults(fields.get_mut("parameters"));
            let literal = |value: &Value| value.as_str().is_some_and(|text| !text.starts_with('['));
            fields.retain(|name, value| !(is_key(name) && literal(value)));
            nested_values(fields);
            fields.values_mut().for_each(hide_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(hide_keys),
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

fn secure_defaults(parameters: Option<&mut Value>) {
    let parameters = parameters.and_then(Value::as_object_mut);
    for parameter in parameters.into_iter().flat_map(|all| all.values_mut()) {
        if is_secure(parameter)
            && let Some(fields) = parameter.as_object_mut()
        {
            let shows = ["defaultValue", "allowedValues"];
            fields.retain(|name, _| !shows.iter().any(|no| no.eq_ignore_ascii_case(name)));
        }
    }
}

/// What a nested deployment gives the secure parameters of its template.
fn nested_values(properties: &mut serde_json::Map<String, Value>) {
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
