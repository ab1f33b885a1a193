//! Parameters on the command line.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use vnet_gw_core::model::parse_parameters_file;

/// `{name: {"value": …}}`, of files and of `NAME=VALUE`.
pub(super) fn given(template: &Value, arguments: &[String]) -> Result<Value> {
    let mut values: Map<String, Value> = Map::new();
    let mut set = |name: &str, value: Value| {
        values.retain(|known, _| !known.eq_ignore_ascii_case(name));
        values.insert(name.to_owned(), json!({ "value": value }));
    };
    for argument in arguments {
        match argument.split_once('=') {
            Some((name, value)) if is_name(name) => set(name, one(template, name, value)?),
            _ => {
                let text =
                    fs::read_to_string(argument).with_context(|| format!("reading {argument}"))?;
                let file = parse_parameters_file(&text)
                    .map_err(|error| anyhow::anyhow!("{argument}: {error}"))?;
                for (name, value) in file {
                    set(&name, value);
                }
            }
        }
    }
    Ok(Value::Object(values))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value of `NAME=VALUE` or `NAME=@FILE`: of the type that the template declares.
fn one(template: &Value, name: &str, written: &str) -> Result<Value> {
    let wanted = declared(template, name);
    let secure = wanted
        .as_deref()
        .is_some_and(|wanted| wanted.starts_with("secure"));
    let text = match written.strip_prefix('@') {
        Some(path) => {
            let text = fs::read_to_string(Path::new(path))
                .with_context(|| format!("the parameter {name}: reading {path}"))?;
            // An editor ends the last line.
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None if secure => bail!(
            "the parameter {name} is secure, and every process of this host can read a command \
             line; write it to a file that only you can read, and give {name}=@FILE"
        ),
        None => written.to_owned(),
    };
    match wanted.as_deref() {
        None | Some("string" | "securestring") => Ok(Value::String(text)),
        Some(wanted) => match serde_json::from_str(&text) {
            Ok(value) => Ok(value),
            // What a secure value is, is not told.
            Err(_) => bail!("the parameter {name} is of the type {wanted}; write it as JSON"),
        },
    }
}

/// The type of a parameter, in lower case.
fn declared(template: &Value, name: &str) -> Option<String> {
    let field = |value: &Value, name: &str| {
        let mut fields = value.as_object()?.iter();
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let parameter = field(&field(template, "parameters")?, name)?;
    Some(field(&parameter, "type")?.as_str()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Value> {
        let template = json!({"parameters": {
            "name": {"type": "string"}, "count": {"type": "Int"}, "tags": {"type": "object"},
            "key": {"type": "secureString"},
        }});
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        given(&template, &arguments)
    }

    #[test]
    fn values_have_the_types_that_the_template_declares() {
        let found = read(&[
            "name=7",
            "COUNT=7",
            "tags={\"a\": 1}",
            "other=x=y",
            "name=8",
        ])
        .unwrap();
        assert_eq!(
            found,
            json!({
                "COUNT": {"value": 7}, "tags": {"value": {"a": 1}}, "other": {"value": "x=y"},
                "name": {"value": "8"},
            })
        );
        for (arguments, told) in [
            (&["count=x"][..], "of the type int"),
            (&["key=abc"], "key=@FILE"),
            (&["/nowhere/p.json"], "reading /nowhere/p.json"),
            (&["key=@/nowhere/k"], "reading /nowhere/k"),
        ] {
            let error = format!("{:#}", read(arguments).unwrap_err());
            assert!(error.contains(told) && !error.contains("abc"), "{error}");
        }
    }

    #[test]
    fn files_give_several_and_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p=1.json");
        fs::write(
            &file,
            r#"{"parameters": {"name": {"value": "a"}}, "$schema": "x"}"#,
        )
        .unwrap();
        let key = directory.path().join("key");
        fs::write(&key, "Abc123\n").unwrap();
        let found = read(&[
            file.to_str().unwrap(),
            &format!("key=@{}", key.display()),
            "NAME=b",
        ]);
        assert_eq!(
            found.unwrap(),
            json!({"key": {"value": "Abc123"}, "NAME": {"value": "b"}})
        );
    }
}
