//! A resource group as a template.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{GroupId, State, Target, no_group, tentative::field};
use crate::{
    arm::Document,
    model::{ArmError, Kind, ResourceId},
};

/// Resources say under which version of the API they are written; any will do here.
const API_VERSION: &str = "2024-05-01";

/// A resource group as a template: deployed to the same group again, it changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    pub template: Value,
    /// Secure parameters of the template, each with the connection whose key it takes. Left out,
    /// the connection keeps the key it has.
    pub keys: Vec<(String, ResourceId)>,
}

/// Exports a resource group. Keys become parameters that are empty.
///
/// # Errors
///
/// `ResourceGroupNotFound`
pub fn export(state: &State, group: &GroupId) -> Result<Exported, ArmError> {
    let Some(group) = state.groups.get(group) else {
        return Err(no_group(&group.name));
    };
    let mut keys: Vec<(String, ResourceId)> = Vec::new();
    let mut resources = Vec::new();
    let mut peerings = Vec::new();
    for document in state.documents.values() {
        if !group.id.contains(&document.id) {
            continue;
        }
        let mut body = document.body.clone();
        if state.keys.contains_key(&document.id) {
            let name = parameter_name(document, &keys);
            take_key(&mut body, &name);
            keys.push((name, document.id.clone()));
        }
        if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
            // The server's own.
            properties.shift_remove("resourceGuid");
        }
        peerings.extend(take_peerings(document, &mut body, &group.id));
        resources.push(resource(
            document.kind,
            document.id.name(),
            &document.id,
            body,
            &group.id,
        ));
    }
    resources.extend(peerings);
    let parameters: Map<String, Value> = keys
        .iter()
        .map(|(name, id)| {
            let about = format!("The shared key of {}; empty: the one it has.", id.name());
            let parameter = json!({
                "type": "securestring",
                "defaultValue": "",
                "metadata": {"description": about},
            });
            (name.clone(), parameter)
        })
        .collect();
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "variables": {},
        "resources": resources,
    });
    Ok(Exported { template, keys })
}

/// One resource, with its references as expressions, which hold in any group.
fn resource(
    kind: Kind,
    name: &str,
    id: &ResourceId,
    mut body: Map<String, Value>,
    group: &GroupId,
) -> Value {
    let mut depends = BTreeSet::new();
    for value in body.values_mut() {
        relate(value, group, &mut depends);
    }
    depends.remove(id.as_str());
    let mut resource = Map::new();
    resource.insert("type".to_owned(), kind.resource_type().into());
    resource.insert("apiVersion".to_owned(), API_VERSION.into());
    resource.insert("name".to_owned(), name.into());
    // `location` and the like before what is long.
    let properties = body.shift_remove("properties");
    resource.extend(body);
    if !depends.is_empty() {
        let depends = depends.iter().filter_map(|id| expression(id, group));
        resource.insert("dependsOn".to_owned(), depends.collect());
    }
    resource.insert(
        "properties".to_owned(),
        properties.unwrap_or_else(|| json!({})),
    );
    Value::Object(resource)
}

/// Makes ids of the group's resources expressions, and what looks like one a literal.
fn relate(value: &mut Value, group: &GroupId, depends: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if let Some(expression) = expression(text, group) {
                if let Ok(target) = Target::parse(text) {
                    depends.insert(target.document.as_str().to_owned());
                }
                *text = expression;
            } else if text.starts_with('[') && !text.starts_with(KEY) {
                text.insert(0, '[');
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| relate(item, group, depends)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|item| relate(item, group, depends)),
        _ => {}
    }
}

/// `[resourceId('Microsoft.Network/virtualNetworks/subnets', 'VNet1', 'FrontEnd')]`, of an id in
/// the group.
fn expression(id: &str, group: &GroupId) -> Option<String> {
    if !id.starts_with("/subscriptions/") {
        return None;
    }
    let target = Target::parse(id).ok()?;
    if target.group() != *group {
        // Of an ipConfiguration in a resource, or of another group.
        return None;
    }
    let names = match target.id == target.document {
        true => format!("'{}'", target.id.name()),
        false => format!("'{}', '{}'", target.document.name(), target.id.name()),
    };
    Some(format!(
        "[resourceId('{}', {names})]",
        target.kind.resource_type()
    ))
}

/// What the value of a key begins with.
const KEY: &str = "[if(empty(parameters('key_";

fn take_key(body: &mut Map<String, Value>, parameter: &str) {
    let properties = body
        .entry("properties".to_owned())
        .or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        let key =
            format!("[if(empty(parameters('{parameter}')), null(), parameters('{parameter}'))]");
        properties.insert("sharedKey".to_owned(), key.into());
    }
}

/// Names of parameters have letters, digits and `_`.
fn parameter_name(document: &Document, keys: &[(String, ResourceId)]) -> String {
    let plain: String = document
        .id
        .name()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let mut name = format!("key_{plain}");
    while keys
        .iter()
        .any(|(other, _)| other.eq_ignore_ascii_case(&name))
    {
        name.push('_');
    }
    name
}

/// Peerings become resources of their own: two networks that refer to one another could not each
/// come before the other.
fn take_peerings(
    document: &Document,
    body: &mut Map<String, Value>,
    group: &GroupId,
) -> Vec<Value> {
    const LIST: &str = "virtualNetworkPeerings";
    let properties = body.get_mut("properties").and_then(Value::as_object_mut);
    let Some(Value::Array(list)) = properties.and_then(|properties| properties.get_mut(LIST))
    else {
        return Vec::new();
    };
    let list = std::mem::take(list);
    let peerings = list.into_iter().filter_map(|peering| {
        let peering = peering.as_object()?;
        let name = field(peering, "name")?.as_str()?;
        let mut body = peering.clone();
        body.shift_remove("name");
        let mut properties = field(peering, "properties")?.as_object()?.clone();
        // What follows from the networks.
        for derived in ["peeringState", "remoteAddressSpace"] {
            properties.shift_remove(derived);
        }
        body.insert("properties".to_owned(), Value::Object(properties));
        let full = format!("{}/{name}", document.id.name());
        let id = format!("{}/{LIST}/{name}", document.id.as_str());
        let mut made = resource(
            Kind::VirtualNetworkPeering,
            &full,
            &ResourceId::new(&id),
            body,
            group,
        );
        let own = expression(document.id.as_str(), group)?;
        let depends = made
            .as_object_mut()?
            .entry("dependsOn".to_owned())
            .or_insert_with(|| json!([]));
        depends.as_array_mut()?.insert(0, own.into());
        Some(made)
    });
    peerings.collect()
}
