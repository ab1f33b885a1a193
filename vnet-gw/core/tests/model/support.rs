//! Short ways to write templates and to look at what became of them.

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, DeployOptions, ResourceId, Topology, parse_template};

pub(crate) const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/vnet-gw";

pub(crate) fn id(rest: &str) -> ResourceId {
    ResourceId::new(&format!("{GROUP}/providers/Microsoft.Network/{rest}"))
}

pub(crate) fn resource(kind: &str, name: &str, properties: Value) -> Value {
    json!({ "type": format!("Microsoft.Network/{kind}"), "name": name, "properties": properties })
}

/// A network with subnets of (name, prefix) and peerings with the named networks.
pub(crate) fn vnet(name: &str, space: &[&str], subnets: &[(&str, &str)], peers: &[&str]) -> Value {
    let subnets: Vec<Value> = subnets
        .iter()
        .map(|(name, prefix)| json!({"name": name, "properties": {"addressPrefix": prefix}}))
        .collect();
    let peerings: Vec<Value> = peers
        .iter()
        .map(|peer| {
            let name = format!("to-{}", peer.replace('/', "-").trim_matches('-'));
            json!({"name": name, "properties": {"remoteVirtualNetwork": {"id": peer}}})
        })
        .collect();
    resource(
        "virtualNetworks",
        name,
        json!({
            "addressSpace": {"addressPrefixes": space},
            "subnets": subnets,
            "virtualNetworkPeerings": peerings,
        }),
    )
}

/// An ipConfiguration; an empty address is a dynamic one.
pub(crate) fn configuration(name: &str, subnet: &str, address: &str) -> Value {
    let method = if address.is_empty() {
        "Dynamic"
    } else {
        "Static"
    };
    json!({
        "name": name,
        "properties": {
            "subnet": {"id": subnet},
            "privateIPAddress": address,
            "privateIPAllocationMethod": method,
        },
    })
}

/// A network interface with one ipConfiguration.
pub(crate) fn nic(name: &str, subnet: &str, address: &str) -> Value {
    let configurations = json!({"ipConfigurations": [configuration("ipconfig1", subnet, address)]});
    resource("networkInterfaces", name, configurations)
}

/// The value with another at a JSON pointer, whose last step may be new.
pub(crate) fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    match value.pointer_mut(parent).expect("a place for it") {
        Value::Array(items) => match last.parse::<usize>() {
            Ok(index) => items[index] = new,
            Err(_) => items.push(new),
        },
        Value::Object(fields) => {
            fields.insert(last.to_owned(), new);
        }
        _ => panic!("no place at {pointer}"),
    }
    value
}

pub(crate) fn parse(resources: &[Value]) -> Result<Topology, ArmError> {
    let text = json!({ "resources": resources }).to_string();
    parse_template(&text, &DeployOptions::default())
}

#[track_caller]
pub(crate) fn good(resources: &[Value]) -> Topology {
    parse(resources).unwrap_or_else(|error| panic!("{}", error.lines().join("\n")))
}

/// The only error has the code, and the target ends as given.
#[track_caller]
pub(crate) fn refused(resources: &[Value], code: &str, target: &str) -> ArmError {
    let error = parse(resources).expect_err(code);
    assert_eq!(error.code, code, "{}", error.lines().join("\n"));
    let at = error.target.clone().unwrap_or_default();
    assert!(at.ends_with(target), "{at} does not end with {target}");
    // One line, and a sentence that says what to do.
    assert!(
        !error.to_string().contains('\n') && error.message.ends_with(['.', '?']),
        "{error}"
    );
    error
}
