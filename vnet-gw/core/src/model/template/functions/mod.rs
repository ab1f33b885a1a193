//! The template functions, as Azure's reference describes each. What would need Azure itself
//! (`list*`, `providers`, `pickZones`) is refused by name.

mod args;
mod collection;
mod deployment;
mod encoding;
mod format;
mod lambda;
mod logic;
mod network;
mod number;
mod own;
mod text;
mod time;
mod unique;

use std::borrow::Cow;

use serde_json::{Value, json};

use self::args::Args;
pub(crate) use self::own::Function;
pub(super) use self::own::read as read_own;
pub(crate) use self::unique::murmur_hash64;
use super::{
    around::Around,
    evaluate::{Evaluator, invalid},
    expression::Expression,
};
use crate::model::{ArmError, error::cut};

type Result<T> = std::result::Result<T, ArmError>;

/// The value of a call.
pub(super) fn call<'a>(
    evaluator: &'a Evaluator<'_>,
    name: &str,
    arguments: &[Expression],
    around: &Around<'_>,
) -> Result<Cow<'a, Value>> {
    let function = name.to_lowercase();
    // These evaluate no more than they need, or something more than once.
    if let Some(value) = lazy(evaluator, name, &function, arguments, around) {
        return value;
    }
    let hidden = evaluator.hidden;
    let values = arguments
        .iter()
        .map(|argument| evaluator.value_of(argument, around))
        .collect::<Result<Vec<_>>>()?;
    let args = Args {
        name,
        values: &values,
    };
    match function.as_str() {
        "parameters" => {
            let name = args.one_text()?;
            return match around.argument(name) {
                Some(value) => Ok(Cow::Owned(value?.clone())),
                None => evaluator.parameter(name),
            };
        }
        "variables" => return evaluator.variable(args.one_text()?, around),
        _ => {}
    }
    let secret = hidden.within_key() || values.iter().any(|value| hidden.is_in(value));
    let value = deployment::call(evaluator, &function, &args, around)
        .or_else(|| own::call(evaluator, &function, &args, around))
        .or_else(|| text::call(&function, &args))
        .or_else(|| encoding::call(&function, &args))
        .or_else(|| number::call(&function, &args))
        .or_else(|| network::call(&function, &args))
        .or_else(|| logic::call(&function, &args))
        .or_else(|| collection::call(&function, &args));
    match value {
        Some(Ok(value)) => {
            evaluator.spend(&value)?;
            if secret {
                hidden.derived(&value);
            }
            Ok(Cow::Owned(value))
        }
        Some(Err(_)) if secret && !around.is_waiting() => Err(not_shown(name)),
        Some(Err(error)) => Err(error),
        None if hidden.within_key() => Err(invalid(
            "A template function here is not supported, and not shown because it stands for a key: \
             write its result instead, or double the first bracket of a key that is no expression.",
        )),
        None => Err(invalid(format!(
            "The template function '{}' is not supported: write its result instead.",
            cut(name)
        ))),
    }
}

/// Functions that decide which of their arguments are evaluated, and how often.
fn lazy<'a>(
    evaluator: &'a Evaluator<'_>,
    name: &str,
    function: &str,
    arguments: &[Expression],
    around: &Around<'_>,
) -> Option<Result<Cow<'a, Value>>> {
    let hidden = evaluator.hidden;
    let condition = |test: &Expression| {
        let value = evaluator.value_of(test, around)?;
        boolean(name, &value).map_err(|error| match hidden.within_key() || hidden.is_in(&value) {
            true => not_shown(name),
            false => error,
        })
    };
    let decide = || match function {
        "if" => {
            let [test, yes, no] = arguments else {
                return Err(count(name, "3"));
            };
            let holds = condition(test)?;
            evaluator.value_of(if holds { yes } else { no }, around)
        }
        "and" | "or" => {
            let stop = function == "or";
            for argument in arguments {
                if condition(argument)? == stop {
                    return Ok(Cow::Owned(json!(stop)));
                }
            }
            Ok(Cow::Owned(json!(!stop)))
        }
        "coalesce" => {
            for argument in arguments {
                let value = evaluator.value_of(argument, around)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Ok(Cow::Owned(Value::Null))
        }
        "lambdavariables" => {
            let [Expression::Text(variable)] = arguments else {
                return Err(count(name, "the name of a lambda's variable as its"));
            };
            match around.local(variable) {
                Some(value) => Ok(Cow::Owned(value.clone())),
                None => Err(invalid(format!(
                    "lambdaVariables('{}') is not inside a lambda of that variable.",
                    cut(variable)
                ))),
            }
        }
        _ => lambda::call(evaluator, name, function, arguments, around).map(Cow::Owned),
    };
    matches!(
        function,
        "if" | "and" | "or" | "coalesce" | "lambdavariables"
    )
    .then_some(())
    .or_else(|| lambda::is_one(function).then_some(()))
    .map(|()| decide())
}

/// The error of a call that has a key among its arguments.
fn not_shown(name: &str) -> ArmError {
    invalid(format!(
        "{name}() cannot take what it is given, which is not shown here because it is secret: \
         correct the call."
    ))
}

fn count(name: &str, wanted: &str) -> ArmError {
    invalid(format!(
        "{name}() takes {wanted} argument(s): correct the call."
    ))
}

fn boolean(name: &str, value: &Value) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| Args { name, values: &[] }.wrong("true or false", value))
}

/// The longest text that a function makes: Azure's own limit for one is 131,072 characters.
pub(super) const MAX_TEXT: usize = 1 << 20;

/// Whether a text of so many bytes may be made.
fn check_size(name: &str, size: usize) -> Result<()> {
    match size <= MAX_TEXT {
        true => Ok(()),
        false => Err(invalid(format!(
            "{name}() makes a text of more than {MAX_TEXT} bytes: make it shorter."
        ))),
    }
}

/// A value as part of a text: strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}
