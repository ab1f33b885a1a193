//! The `outputs` of a template.

use serde_json::{Map, Value, json};

use super::{
    around::Around,
    evaluate::{Evaluator, invalid, within},
    node::{Fields, Node},
    parameters::type_name,
};
use crate::model::{ArmError, error::cut};

/// Evaluates them: for each its type and value; of a secure one only its type.
///
/// # Errors
///
/// `InvalidTemplate`, also where an output would show the value of a secure parameter.
pub(crate) fn evaluate(
    evaluator: &Evaluator<'_>,
    outputs: Option<&Node<'_>>,
    around: &Around<'_>,
) -> Result<Map<String, Value>, ArmError> {
    let outputs = match outputs {
        None | Some(Node::Null) => return Ok(Map::new()),
        Some(Node::Object(outputs)) => outputs,
        Some(_) => return Err(invalid("This must be an object of names.").at("outputs")),
    };
    let mut out = Map::new();
    for (name, output) in outputs.iter() {
        let path = format!("outputs.{}", cut(name));
        let Node::Object(output) = output else {
            return Err(invalid("An output is an object: {type, value}.").at(path));
        };
        let one = one(evaluator, output, around).map_err(|error| within(error, &path))?;
        if let Some(one) = one {
            out.insert(name.to_owned(), one);
        }
    }
    Ok(out)
}

/// Nothing where its condition does not hold.
fn one(
    evaluator: &Evaluator<'_>,
    output: &Fields<'_>,
    around: &Around<'_>,
) -> Result<Option<Value>, ArmError> {
    let evaluated = |name: &str| {
        let mut node = output.get(name).cloned().unwrap_or_default();
        evaluator
            .evaluate(&mut node, around)
            .map_err(|error| within(error, &format!(".{name}")))?;
        Ok(node.to_value())
    };
    if output.get("condition").is_some() && evaluated("condition")? != json!(true) {
        return Ok(None);
    }
    let Some(wanted) = output.get("type").and_then(Node::as_str) else {
        return Err(
            invalid("An output needs a type: string, int, bool, array or object.").at(".type"),
        );
    };
    let wanted = type_name(wanted);
    let (value, tainted) = evaluator.watching(|| match output.get("copy") {
        Some(_) => copies(evaluator, output, around),
        None => evaluated("value"),
    });
    let value = value?;
    if wanted.starts_with("Secure") {
        return Ok(Some(json!({"type": wanted})));
    }
    if tainted || evaluator.hidden.is_one(&value) {
        return Err(invalid(
            "The output would show a key, or the value of a secure parameter: give it the type \
             securestring, or remove it.",
        )
        .at(".value"));
    }
    let fits = match wanted.as_str() {
        "String" => value.is_string(),
        "Int" => value.is_i64(),
        "Bool" => value.is_boolean(),
        "Array" => value.is_array(),
        "Object" => value.is_object(),
        _ => {
            return Err(
                invalid(format!("'{}' is no type of an output.", cut(&wanted))).at(".type"),
            );
        }
    };
    let nullable = output.get("nullable") == Some(&Node::Bool(true));
    if !(fits || nullable && value.is_null()) {
        return Err(invalid(format!("The value is not of the type {wanted}.")).at(".value"));
    }
    Ok(Some(json!({"type": wanted, "value": value})))
}

/// `copy: {count, input}`
fn copies(
    evaluator: &Evaluator<'_>,
    output: &Fields<'_>,
    around: &Around<'_>,
) -> Result<Value, ArmError> {
    let Some(Node::Object(copy)) = output.get("copy") else {
        return Err(invalid("The copy of an output is an object: {count, input}.").at(".copy"));
    };
    let mut copy = copy.clone();
    let input = copy.take("input").unwrap_or_default();
    // It has no name that could be asked for.
    copy.insert("name".to_owned(), Node::Text("output".into()));
    let (name, count) = evaluator
        .copy_loop(&mut copy, around)
        .map_err(|error| within(error, ".copy"))?;
    let mut items = Vec::new();
    for index in 0..count {
        let mut item = input.clone();
        evaluator
            .evaluate(&mut item, &around.with(&name, index))
            .map_err(|error| within(error, ".copy.input"))?;
        items.push(item.to_value());
    }
    Ok(Value::Array(items))
}
