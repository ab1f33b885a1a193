//! The parameters a template declares, and the values the deployment gives them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    evaluate::{Evaluator, Lazy, Parameter, invalid},
    node::{Fields, Node},
};
use crate::model::{ArmError, error::cut, hidden::Hidden};

/// The parameters as a deployment shows them: type and value; of a secure one only the type.
pub(crate) fn shown(
    evaluator: &Evaluator<'_>,
    declared: Option<&Fields<'_>>,
) -> Result<Map<String, Value>, ArmError> {
    let mut out = Map::new();
    for (name, declaration) in declared.into_iter().flat_map(Fields::iter) {
        let wanted = declaration
            .as_object()
            .and_then(|f| f.get("type")?.as_str());
        let mut one = Map::new();
        if let Some(wanted) = wanted {
            one.insert("type".to_owned(), type_name(wanted).into());
        }
        if !evaluator.secure.contains(&name.to_lowercase()) {
            let (value, tainted) = evaluator.watching(|| evaluator.parameter(name));
            let value = value?;
            // One that a key was made of is a key, whatever its type says.
            if !tainted && !evaluator.hidden.is_one(&value) {
                one.insert("value".to_owned(), value.into_owned());
            }
        }
        out.insert(name.to_owned(), Value::Object(one));
    }
    Ok(out)
}

/// A type as Azure writes it in answers.
pub(super) fn type_name(wanted: &str) -> String {
    const NAMES: [&str; 7] = [
        "String",
        "SecureString",
        "Int",
        "Bool",
        "Object",
        "SecureObject",
        "Array",
    ];
    let known = NAMES.iter().find(|name| name.eq_ignore_ascii_case(wanted));
    known.map_or_else(|| wanted.to_owned(), |name| (*name).to_owned())
}

/// Declares the parameters, with the values given in the options.
pub(super) fn declare<'t>(
    evaluator: &mut Evaluator<'t>,
    declared: Option<&'t Fields<'t>>,
    definitions: Option<&'t Fields<'t>>,
) -> Result<(), ArmError> {
    let given: &'t Map<String, Value> = &evaluator.options.parameters;
    // Before anything is told that may have one of them in it.
    let declared_as = |declaration: &'t Node<'t>| defined(declaration, definitions);
    for (name, declaration) in declared.into_iter().flat_map(Fields::iter) {
        let declaration = declared_as(declaration);
        if is_secure(declaration) {
            evaluator.secure.insert(name.to_lowercase());
        }
        hide(evaluator.hidden, get(given, name), declaration);
    }
    if let Some(stray) = given
        .keys()
        .find(|name| declared.is_none_or(|all| all.get(name).is_none()))
    {
        let names: Vec<Cow<'_, str>> = declared
            .into_iter()
            .flat_map(Fields::iter)
            .map(|(name, _)| cut(name))
            .collect();
        return Err(invalid(format!(
            "A value is given for '{}', which is no parameter of the template; it has: {}.",
            cut(stray),
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        )));
    }
    for (name, declaration) in declared.into_iter().flat_map(Fields::iter) {
        let path = format!("parameters.{}", cut(name));
        let Node::Object(fields) = declaration else {
            return Err(invalid("A parameter is an object with a type.").at(path));
        };
        let declaration = declared_as(declaration);
        let parameter = match (get(given, name), fields.get("defaultValue")) {
            (Some(value), _) => {
                check(&declaration.to_value(), value).map_err(|error| invalid(error).at(path))?;
                Parameter::Given(value)
            }
            (None, Some(default)) => {
                Parameter::Default(Lazy::new(Cow::Borrowed(default)).secure(is_secure(declaration)))
            }
            (None, None) => match fields.get("nullable") {
                Some(Node::Bool(true)) => Parameter::Null,
                _ => Parameter::Missing,
            },
        };
        evaluator.parameters.insert(name.to_lowercase(), parameter);
    }
    Ok(())
}

/// What a declaration means that refers to a type of the template's own (`$ref`).
fn defined<'t>(declaration: &'t Node<'t>, definitions: Option<&'t Fields<'t>>) -> &'t Node<'t> {
    const MOST: usize = 16;
    let mut found = declaration;
    for _ in 0..MOST {
        let name = found.as_object().and_then(|fields| {
            let name = fields.get("$ref")?.as_str()?;
            name.strip_prefix("#/definitions/")
        });
        let next = name.and_then(|name| definitions?.get(name));
        let Some(next) = next else { break };
        found = next;
    }
    found
}

/// Whether the values of a parameter are not to be shown.
fn is_secure(declaration: &Node<'_>) -> bool {
    let wanted = declaration
        .as_object()
        .and_then(|fields| fields.get("type")?.as_str());
    wanted.is_some_and(|wanted| {
        ["securestring", "secureobject"]
            .iter()
            .any(|secure| secure.eq_ignore_ascii_case(wanted))
    })
}

/// Hides the values that a secure parameter has or may have. What an expression gives as its
/// default is hidden once it is evaluated.
fn hide(hidden: &Hidden, given: Option<&Value>, declaration: &Node<'_>) {
    if !is_secure(declaration) {
        return;
    }
    if let Some(given) = given {
        hidden.value(given);
    }
    for name in ["defaultValue", "allowedValues"] {
        if let Some(value) = declaration.as_object().and_then(|fields| fields.get(name)) {
            hidden.value(&value.to_value());
        }
    }
}

/// Whether a given value is what the declaration wants.
fn check(declaration: &Value, value: &Value) -> Result<(), String> {
    let Value::Object(declaration) = declaration else {
        return Ok(());
    };
    let wanted = get(declaration, "type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let fits = match wanted.to_ascii_lowercase().as_str() {
        "string" | "securestring" => value.is_string(),
        "int" => value.is_i64(),
        "bool" => value.is_boolean(),
        "array" => value.is_array(),
        "object" | "secureobject" => value.is_object(),
        _ => {
            return Err(format!(
                "'{}' is no type of a parameter: write string, int, bool, array or object.",
                cut(wanted)
            ));
        }
    };
    if !fits {
        return Err(format!(
            "The given value is not of the type {wanted}: correct it."
        ));
    }
    if let Some(Value::Array(allowed)) = get(declaration, "allowedValues")
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed
            .iter()
            .map(|value| cut(&value.to_string()).into_owned())
            .collect();
        return Err(format!(
            "The given value is not allowed: give one of {}.",
            allowed.join(", ")
        ));
    }
    let size = match value {
        Value::String(text) => Some(text.chars().count() as u64),
        Value::Array(items) => Some(items.len() as u64),
        _ => None,
    };
    let limit = |name| get(declaration, name).and_then(Value::as_i64);
    let outside = |size: i64, least, most| {
        limit(least).is_some_and(|least| size < least)
            || limit(most).is_some_and(|most| size > most)
    };
    match (size, value.as_i64()) {
        (Some(size), _)
            if outside(
                size.try_into().unwrap_or(i64::MAX),
                "minLength",
                "maxLength",
            ) =>
        {
            Err(
                "The given value is shorter or longer than minLength and maxLength allow."
                    .to_owned(),
            )
        }
        (None, Some(number)) if outside(number, "minValue", "maxValue") => {
            Err("The given value is outside minValue and maxValue.".to_owned())
        }
        _ => Ok(()),
    }
}

/// A field by its name, which compares without case.
fn get<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
