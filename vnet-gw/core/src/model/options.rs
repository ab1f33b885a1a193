//! Where a template is deployed to, and with which parameters.

use std::{cell::OnceCell, fmt, time::SystemTime};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::{ArmError, error::cut, template::json};

/// What a deployment knows besides its template.
///
/// Its `Debug` names the parameters without their values, some of which may be keys.
#[derive(Clone, PartialEq)]
pub struct DeployOptions {
    /// Becomes part of every resource id.
    pub subscription_id: String,
    /// Becomes part of every resource id.
    pub resource_group: String,
    /// `resourceGroup().location`, and the location of resources that have none.
    pub location: String,
    /// Values of the template's parameters, by name (which compares without case).
    pub parameters: Map<String, Value>,
    /// `deployment().name`
    pub deployment: String,
    /// `tenant().tenantId`
    pub tenant_id: String,
    /// What `utcNow()` says; without it, that is refused.
    pub now: Option<SystemTime>,
    /// What `newGuid()` is made of; without it, that is refused.
    pub random: Option<[u8; 16]>,
    /// How much the expressions of a template may make, about in bytes: whoever may send a template
    /// must not take all memory with it.
    pub most_work: usize,
}

impl DeployOptions {
    /// [`most_work`](Self::most_work) of a template that somebody sends.
    pub const REQUEST_WORK: usize = 256 << 20;
}

impl Default for DeployOptions {
    fn default() -> Self {
        Self {
            subscription_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "vnet-gw".to_owned(),
            location: "local".to_owned(),
            parameters: Map::new(),
            deployment: "vnet-gw".to_owned(),
            tenant_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            now: None,
            random: None,
            most_work: 64 << 30,
        }
    }
}

impl fmt::Debug for DeployOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.parameters.keys().collect();
        f.debug_struct("DeployOptions")
            .field("subscription_id", &self.subscription_id)
            .field("resource_group", &self.resource_group)
            .field("location", &self.location)
            .field("parameters", &names)
            .finish()
    }
}

impl DeployOptions {
    /// Overwrites the values of all parameters, and leaves none: for when they were used.
    pub fn wipe(&mut self) {
        let parameters = std::mem::take(&mut self.parameters);
        parameters.into_iter().for_each(|(_, value)| wipe(value));
    }

    /// Both become segments of every id.
    pub(super) fn check(&self) -> Result<(), ArmError> {
        let parts = [
            (
                "InvalidSubscriptionId",
                "subscription id",
                &self.subscription_id,
            ),
            (
                "InvalidResourceGroup",
                "resource group",
                &self.resource_group,
            ),
        ];
        for (code, noun, text) in parts {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.()".contains(c);
            if text.is_empty() || text.len() > 90 || !text.chars().all(allowed) {
                return Err(ArmError::new(
                    code,
                    format!(
                        "'{}' cannot be a {noun}: use 1 to 90 letters, digits, '-', '_', '.', '(' and ')'.",
                        cut(text)
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Overwrites the texts of a value.
fn wipe(value: Value) {
    match value {
        Value::String(mut text) => text.zeroize(),
        Value::Array(items) => items.into_iter().for_each(wipe),
        Value::Object(fields) => fields.into_iter().for_each(|(_, value)| wipe(value)),
        _ => {}
    }
}

/// The values in an ARM parameters file (`deploymentParameters.json`): what
/// [`DeployOptions::parameters`] takes. A plain object of names and values is read too.
///
/// # Errors
///
/// `InvalidDeploymentParameters…` where the text is not such a file, or where a parameter is a
/// reference to a key vault.
pub fn parse_parameters_file(text: &str) -> Result<Map<String, Value>, ArmError> {
    let blanked = OnceCell::new();
    let root = json::parse(text, &blanked)?;
    // As a map, the file would keep but one of two values.
    if let Some(path) = root.duplicates(1).into_iter().next() {
        return Err(invalid("The name is there twice: remove one.").at(path));
    }
    let Value::Object(mut file) = root.to_value() else {
        return Err(invalid(
            "A parameters file is a JSON object: write {\"parameters\": {…}}.",
        ));
    };
    let wrapped = file.contains_key("$schema") || file.contains_key("contentVersion");
    let parameters = match file.remove("parameters") {
        Some(Value::Object(parameters)) => parameters,
        Some(_) => return Err(invalid("This must be an object of names.").at("parameters")),
        None if wrapped => return Err(invalid("The file has no \"parameters\": add them.")),
        None => return Ok(file),
    };
    parameters
        .into_iter()
        .map(|(name, entry)| Ok((name.clone(), value(&name, entry)?)))
        .collect()
}

fn value(name: &str, entry: Value) -> Result<Value, ArmError> {
    let path = format!("parameters.{}", cut(name));
    let Value::Object(mut entry) = entry else {
        return Err(invalid("A parameter is an object: write {\"value\": …}.").at(path));
    };
    if entry.contains_key("reference") {
        return Err(invalid("Key vault references cannot be followed: write the value.").at(path));
    }
    entry
        .remove("value")
        .ok_or_else(|| invalid("The parameter has no \"value\": add it.").at(path))
}

fn invalid(message: &str) -> ArmError {
    ArmError::new("InvalidDeploymentParameters", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_show_no_values_and_keep_none_once_wiped() {
        let mut options = DeployOptions {
            parameters: parse_parameters_file(r#"{"psk": "abc123", "all": [{"k": "abc123"}]}"#)
                .unwrap(),
            ..DeployOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(
            shown.contains("psk") && !shown.contains("abc123"),
            "{shown}"
        );
        options.wipe();
        assert!(options.parameters.is_empty());
    }

    #[test]
    fn a_parameters_file_gives_its_values() {
        let file = r#"{"$schema": "x", "contentVersion": "1.0.0.0", // comment
            "parameters": {"name": {"value": "VNet1"}, "count": {"value": 3}}}"#;
        let parameters = parse_parameters_file(file).unwrap();
        assert_eq!(
            Value::Object(parameters),
            json!({"name": "VNet1", "count": 3})
        );
        assert_eq!(
            parse_parameters_file(r#"{"a": [1]}"#).unwrap()["a"],
            json!([1])
        );
    }

    #[test]
    fn what_is_no_parameters_file_is_refused_with_its_place() {
        for (file, target) in [
            (r#"{"parameters": {"a": 1}}"#, Some("parameters.a")),
            (r#"{"parameters": {"a": {}}}"#, Some("parameters.a")),
            (
                r#"{"parameters": {"a": {"reference": {}}}}"#,
                Some("parameters.a"),
            ),
            (r#"{"parameters": []}"#, Some("parameters")),
            (r#"{"contentVersion": "1.0.0.0"}"#, None),
            (
                r#"{"parameters": {"a": {"value": 1}, "A": {"value": 2}}}"#,
                Some("parameters.A"),
            ),
            (r#"{"a": [{"b": 1, "b": 2}]}"#, Some("a[0].b")),
            ("[]", None),
        ] {
            let error = parse_parameters_file(file).unwrap_err();
            assert_eq!(error.code, "InvalidDeploymentParameters", "{file}");
            assert_eq!(error.target.as_deref(), target, "{file}");
        }
    }
}
