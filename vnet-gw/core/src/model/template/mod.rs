//! An ARM deployment template, with its expressions evaluated and its loops unrolled: a list of
//! resources, each with its full type, its names and what it says.

mod evaluate;
mod expression;
mod format;
mod functions;
pub(super) mod json;
mod network;
mod parameters;
mod resources;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use self::evaluate::{Evaluator, Lazy, Loops, invalid, within};
use super::{ArmError, DeployOptions, error::Errors};

/// A resource of the template, evaluated.
#[derive(Debug)]
pub(super) struct TemplateResource {
    /// Where it stands in the template: `resources[2]`.
    pub(super) path: String,
    /// In full: `Microsoft.Network/virtualNetworks/subnets`.
    pub(super) resource_type: String,
    /// One for each segment of the type: `VNet1`, `FrontEnd`.
    pub(super) names: Vec<String>,
    /// As written, without what is read here (`name`, `type`, `condition`, `copy`, `resources`).
    pub(super) fields: Map<String, Value>,
}

/// What may stand at the top; `None` where it would have to be carried out.
const TOP_LEVEL: &[(&str, Option<&str>)] = &[
    ("$schema", None),
    ("contentVersion", None),
    ("languageVersion", None),
    ("apiProfile", None),
    ("metadata", None),
    ("parameters", None),
    ("variables", None),
    ("resources", None),
    ("outputs", None),
    ("functions", Some("user-defined functions")),
    ("definitions", Some("user-defined types")),
    ("imports", Some("imports")),
    ("extensions", Some("extensions")),
];

/// The resources of a template's text, in its order, parents before their nested children.
pub(super) fn read(
    text: &str,
    options: &DeployOptions,
    errors: &mut Errors,
) -> Vec<TemplateResource> {
    let Some(root) = errors.keep(json::parse(text)) else {
        return Vec::new();
    };
    let Value::Object(mut root) = root else {
        errors.push(invalid(
            "A template is a JSON object: write {\"resources\": […]}.",
        ));
        return Vec::new();
    };
    check_top_level(&root, errors);
    let resources = take(&mut root, "resources");
    let evaluator = match evaluator(&root, options) {
        Ok(evaluator) => evaluator,
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    if !errors.is_empty() {
        return Vec::new();
    }
    match resources {
        Some(resources) => resources::read(&evaluator, resources, errors),
        None => {
            errors.push(invalid(
                "The template has no \"resources\": add them (perhaps empty, []).",
            ));
            Vec::new()
        }
    }
}

fn check_top_level(root: &Map<String, Value>, errors: &mut Errors) {
    for (name, value) in root {
        match TOP_LEVEL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            None => errors.push(
                invalid(format!(
                    "A template has no '{name}' at its top: correct or remove it."
                ))
                .at(name),
            ),
            Some((_, Some(feature))) if !is_empty(value) => errors.push(
                ArmError::new(
                    "NotSupported",
                    format!("Templates with {feature} are not supported yet: write them out."),
                )
                .at(name),
            ),
            Some(_) => {}
        }
    }
    let schema = get(root, "$schema")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_lowercase();
    let file = schema
        .trim_end_matches('#')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if !matches!(file, "" | "deploymenttemplate.json") {
        errors.push(
            invalid(format!(
                "'{file}' is not the schema of a resource group's template, which is \
                 deploymentTemplate.json: give that kind of file."
            ))
            .at("$schema"),
        );
    }
}

fn evaluator<'t>(
    root: &'t Map<String, Value>,
    options: &'t DeployOptions,
) -> Result<Evaluator<'t>, ArmError> {
    let mut evaluator = Evaluator::new(options);
    let section = |name: &str| match get(root, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(section)) => Ok(Some(section)),
        Some(_) => Err(invalid("This must be an object of names.").at(name.to_owned())),
    };
    let declared = section("parameters")?;
    let variables = section("variables")?;
    parameters::declare(&mut evaluator, declared)?;
    for (name, value) in variables.into_iter().flatten() {
        if !(name == "copy" && value.is_array()) {
            evaluator
                .variables
                .insert(name.to_lowercase(), Lazy::new(Cow::Borrowed(value)));
        }
    }
    if let Some(Value::Array(copies)) = variables.and_then(|variables| variables.get("copy")) {
        for (number, copy) in copies.iter().enumerate() {
            let mut unrolled = json!({ "copy": [copy] });
            evaluator
                .evaluate(&mut unrolled, &Loops::default())
                .map_err(|error| within(error, &format!("variables.copy[{number}]")))?;
            let Value::Object(unrolled) = unrolled else {
                continue;
            };
            for (name, value) in unrolled {
                let value = evaluate::shield(value);
                evaluator
                    .variables
                    .insert(name.to_lowercase(), Lazy::new(Cow::Owned(value)));
            }
        }
    }
    Ok(evaluator)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// A field by its name, which compares without case.
fn get<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = fields
        .keys()
        .find(|key| key.eq_ignore_ascii_case(name))?
        .clone();
    fields.shift_remove(&key)
}
