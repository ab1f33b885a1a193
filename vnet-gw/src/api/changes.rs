//! How a request changes something: one way for all of them, so that none forgets to ask whether
//! it may.

use std::collections::BTreeSet;

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use serde_json::Value;
use vnet_gw_core::{
    arm::{Change, NoLive, State, view},
    model::{ResourceId, Warning},
};

use super::{Api, Call, Refusal};
use crate::{
    engine::{Noted, Receipt, Submission},
    identity::Permission,
    store::Write,
};

/// The longest value of the header with warnings; the log has all of them.
const LONGEST_WARNINGS: usize = 4 * 1024;

impl Api {
    /// Submits changes as a whole, where the caller may make every one of them, and may use
    /// whatever they refer to. `operation` and `resource` are what the audit log says.
    ///
    /// # Errors
    ///
    /// `AuthorizationFailed`, `LinkedAuthorizationFailed` (403), and everything that is wrong with
    /// the changes.
    pub(super) async fn submit(
        &self,
        call: &Call,
        changes: Vec<Change>,
        operation: &str,
        resource: &str,
        records: Vec<Write>,
    ) -> Result<Receipt, Refusal> {
        let noted = Noted::default();
        self.submit_as(call, changes, operation, resource, records, noted)
            .await
    }

    /// The same, with what the audit log says of it.
    pub(super) async fn submit_as(
        &self,
        call: &Call,
        changes: Vec<Change>,
        operation: &str,
        resource: &str,
        records: Vec<Write>,
        noted: Noted,
    ) -> Result<Receipt, Refusal> {
        {
            // Not kept while others make new ones: whoever is the last to have a state takes it
            // apart.
            let state = self.engine.state();
            for change in &changes {
                may(call, &state, change, operation)?;
            }
        }
        let receipt = self
            .engine
            .submit(Submission {
                changes,
                caller: call.caller.clone(),
                operation: operation.to_owned(),
                resource: resource.to_owned(),
                records,
                noted,
            })
            .await?;
        Ok(receipt)
    }
}

pub(super) fn may(
    call: &Call,
    state: &State,
    change: &Change,
    operation: &str,
) -> Result<(), Refusal> {
    let write = |scope: &str| call.allow(Permission::Write, operation, scope);
    match change {
        Change::Put(put) => {
            write(put.target.id.as_str())?;
            let group = put.target.id.group();
            // Everybody's own group, most of the time.
            let foreign: BTreeSet<String> = links(&put.body, group)
                .into_iter()
                .filter(|id| !call.access.allows(Permission::Write, id))
                .collect();
            if foreign.is_empty() {
                return Ok(());
            }
            // What was linked before is not linked now.
            let shown = view::show(state, &put.target, &NoLive);
            let known = match &shown {
                Some(Value::Object(object)) => links(object, group),
                _ => BTreeSet::new(),
            };
            match foreign.difference(&known).next() {
                Some(id) => Err(call.forbidden("LinkedAuthorizationFailed", operation, id)),
                None => Ok(()),
            }
        }
        Change::Tags { target, .. } | Change::Delete { target, .. } => write(target.id.as_str()),
        Change::PutGroup(group) => write(&group.id.to_string()),
        Change::DeleteGroup(id) => write(&id.to_string()),
        Change::SharedKey { connection, .. } => write(connection.as_str()),
    }
}

/// The full ids that a body refers to, in lower case: the strings named `id`.
fn links(body: &serde_json::Map<String, Value>, group: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest: Vec<&Value> = Vec::new();
    let mut object = Some(body);
    loop {
        if let Some(object) = object {
            for (name, value) in object {
                match value {
                    Value::String(text) if name.eq_ignore_ascii_case("id") => {
                        found.extend(absolute(text, group));
                    }
                    Value::Object(_) | Value::Array(_) => rest.push(value),
                    _ => {}
                }
            }
        }
        object = match rest.pop() {
            None => return found,
            Some(Value::Object(next)) => Some(next),
            Some(Value::Array(list)) => {
                rest.extend(list);
                None
            }
            Some(_) => None,
        };
    }
}

/// The id that a reference means, where it may lead out of the group it is written in: a full one,
/// or one relative to the subscription.
fn absolute(text: &str, group: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let path = format!("/{}", text.trim_matches('/'));
    if path.starts_with("/subscriptions/") {
        return Some(path);
    }
    if path.starts_with("/resourcegroups/") {
        let subscription: String = group.split('/').take(3).collect::<Vec<_>>().join("/");
        return Some(format!("{}{path}", subscription.to_ascii_lowercase()));
    }
    None
}

/// With the warnings in a header, as a JSON list in ASCII.
pub(super) fn with_warnings(mut response: Response, warnings: &[Warning]) -> Response {
    if warnings.is_empty() {
        return response;
    }
    let mut text = String::from("[");
    for Warning { target, message } in warnings {
        let one = Value::String(format!("{target}: {message}")).to_string();
        let ascii: String = one
            .chars()
            .flat_map(|c| {
                let units: Vec<char> = match c.is_ascii() && !c.is_control() {
                    true => vec![c],
                    false => {
                        let mut units = [0; 2];
                        let units = c.encode_utf16(&mut units).iter();
                        units
                            .flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>())
                            .collect()
                    }
                };
                units
            })
            .collect();
        if text.len() + ascii.len() > LONGEST_WARNINGS {
            break;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&ascii);
    }
    text.push(']');
    if let Ok(value) = HeaderValue::from_str(&text) {
        let name = HeaderName::from_static("x-vnet-gw-warnings");
        response.headers_mut().insert(name, value);
    }
    response
}

/// As the audit log and refusals name what is done: `Microsoft.Network/virtualNetworks/write`.
pub(super) fn operation(kind: vnet_gw_core::model::Kind, verb: &str) -> String {
    format!("{}/{verb}", kind.resource_type())
}

/// `/subscriptions/S` of an id.
pub(super) fn subscription_of(id: &ResourceId) -> &str {
    id.as_str().split('/').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::json;

    use super::*;

    #[test]
    fn links_are_found_wherever_they_stand() {
        let body = json!({
            "id": "/subscriptions/S/resourceGroups/G/x",
            "name": "plain",
            "properties": {
                "subnets": [{"properties": {"routeTable": {"ID": "/resourceGroups/H/t"}}}],
                "other": {"id": "VNet1/FrontEnd"},
                "list": [[{"id": "subscriptions/T/resourceGroups/I/"}]],
                "id": 7,
            },
        });
        let Value::Object(body) = body else {
            panic!();
        };
        let found = links(&body, "/subscriptions/S/resourceGroups/G");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(
            found,
            [
                "/subscriptions/s/resourcegroups/g/x",
                "/subscriptions/s/resourcegroups/h/t",
                "/subscriptions/t/resourcegroups/i",
            ]
        );
    }

    #[test]
    fn warnings_are_json_in_ascii() {
        let warning = |message: &str| Warning {
            target: "/a".into(),
            message: message.into(),
        };
        let response = with_warnings(().into_response(), &[warning("ö \"x\""), warning("𝄞\n")]);
        let value = response.headers()["x-vnet-gw-warnings"].to_str().unwrap();
        let read: Vec<String> = serde_json::from_str(value).unwrap();
        assert_eq!(read, ["/a: ö \"x\"", "/a: 𝄞\n"]);
        let many = vec![warning(&"x".repeat(1000)); 100];
        let response = with_warnings(().into_response(), &many);
        let value = response.headers()["x-vnet-gw-warnings"].to_str().unwrap();
        assert!(value.len() <= LONGEST_WARNINGS + 1);
        assert_eq!(serde_json::from_str::<Vec<String>>(value).unwrap().len(), 4);
    }
}
