//! A template's own functions: `contoso.name('x')`.

use serde_json::Value;

use super::{Args, Result, count};
use crate::model::{
    ArmError,
    error::cut,
    template::{
        around::Around,
        evaluate::{Evaluator, invalid, within},
        node::{Fields, Node},
    },
};

/// One of them.
pub(crate) struct Function<'t> {
    parameters: Vec<&'t str>,
    output: &'t Node<'t>,
}

/// Functions that call one another: deeper is an attack on the stack.
const MAX_CALLS: usize = 16;

/// The members of `functions: [{namespace, members}]` by their names in lower case.
pub(in crate::model::template) fn read<'t>(
    section: Option<&'t Node<'t>>,
) -> Result<Vec<(String, Function<'t>)>> {
    let mut found = Vec::new();
    let spaces = match section {
        None | Some(Node::Null) => return Ok(found),
        Some(Node::Array(spaces)) => spaces,
        Some(_) => return Err(invalid("This must be an array of namespaces.").at("functions")),
    };
    for (number, space) in spaces.iter().enumerate() {
        let path = format!("functions[{number}]");
        let fields = space.as_object();
        let name = fields.and_then(|f| f.get("namespace")?.as_str());
        let members = fields.and_then(|f| f.get("members")?.as_object());
        let (Some(name), Some(members)) = (name, members) else {
            return Err(invalid("A namespace of functions is {namespace, members}.").at(path));
        };
        for (member, function) in members.iter() {
            let path = format!("{path}.members.{}", cut(member));
            let function = one(function).ok_or_else(|| {
                invalid("A function is {parameters: [{name, type}], output: {type, value}}.")
                    .at(path)
            })?;
            found.push((format!("{name}.{member}").to_lowercase(), function));
        }
    }
    Ok(found)
}

fn one<'t>(function: &'t Node<'t>) -> Option<Function<'t>> {
    let function = function.as_object()?;
    let parameters = match function.get("parameters") {
        None | Some(Node::Null) => Vec::new(),
        Some(Node::Array(parameters)) => parameters
            .iter()
            .map(|parameter| parameter.as_object()?.get("name")?.as_str())
            .collect::<Option<_>>()?,
        Some(_) => return None,
    };
    let output: &'t Fields<'t> = function.get("output")?.as_object()?;
    Some(Function {
        parameters,
        output: output.get("value")?,
    })
}

pub(super) fn call(
    evaluator: &Evaluator<'_>,
    function: &str,
    args: &Args<'_, '_>,
    around: &Around<'_>,
) -> Option<Result<Value>> {
    let own = evaluator.functions.get(function)?;
    Some(run(evaluator, own, args, around))
}

fn run(
    evaluator: &Evaluator<'_>,
    own: &Function<'_>,
    args: &Args<'_, '_>,
    around: &Around<'_>,
) -> Result<Value> {
    if own.parameters.len() != args.values.len() {
        return Err(count(args.name, &own.parameters.len().to_string()));
    }
    let values = args.values.iter().map(|value| value.as_ref().clone());
    let arguments = own
        .parameters
        .iter()
        .map(|name| (*name).to_owned())
        .zip(values)
        .collect();
    let inside = around
        .within_function(arguments, MAX_CALLS)
        .ok_or_else(|| {
            invalid(format!(
                "{}() is called by functions {MAX_CALLS} deep: unfold them.",
                cut(args.name)
            ))
        })?;
    let mut output = own.output.clone();
    evaluator
        .evaluate(&mut output, &inside)
        .map_err(|error: ArmError| within(error, ""))?;
    Ok(output.to_value())
}
