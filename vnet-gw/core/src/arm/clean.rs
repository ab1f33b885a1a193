//! What of a request's body is kept. Clients echo what they were shown: what only Azure writes is
//! taken out, so that it never stands beside what is true.

use serde_json::Value;

use super::{
    carry::{IP_CONFIGURATIONS, has_ip_configurations},
    json::{self, Object},
};
use crate::{
    model::{ArmError, Kind, normalise_location},
    secret::Secret,
};

/// Made when a resource is shown.
const ENVELOPE: &[&str] = &["id", "name", "type", "etag", "apiVersion", "dependsOn"];

/// The same of a child, and of an ipConfiguration, in a list: its name stays.
const NESTED: &[&str] = &["id", "type", "etag"];

/// What only Azure writes into a resource's properties, besides `provisioningState` and
/// `resourceGuid`.
pub(super) const fn read_only(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::VirtualNetwork => &["flowLogs", "defaultPublicNatGateway"],
        Kind::Subnet => &[
            "ipConfigurations",
            "ipConfigurationProfiles",
            "privateEndpoints",
            "resourceNavigationLinks",
            "serviceAssociationLinks",
            "purpose",
        ],
        // State and address spaces are those of the two networks, and remembered.
        Kind::VirtualNetworkPeering => &[
            "peeringState",
            "peeringSyncLevel",
            "remoteAddressSpace",
            "remoteVirtualNetworkAddressSpace",
            "localAddressSpace",
            "localVirtualNetworkAddressSpace",
            "remoteVirtualNetworkEncryption",
        ],
        Kind::NetworkInterface => &[
            "virtualMachine",
            "primary",
            "vnetEncryptionSupported",
            "defaultOutboundConnectivityEnabled",
            "hostedWorkloads",
        ],
        Kind::NetworkSecurityGroup => &[
            "defaultSecurityRules",
            "networkInterfaces",
            "subnets",
            "flowLogs",
        ],
        Kind::RouteTable => &["subnets"],
        Kind::Route => &["hasBgpOverride"],
        Kind::PublicIpAddress => &["ipConfiguration"],
        Kind::Connection => &[
            "connectionStatus",
            "tunnelConnectionStatus",
            "egressBytesTransferred",
            "ingressBytesTransferred",
        ],
        Kind::NetworkWatcher => &["runningOperationIds"],
        Kind::SecurityRule
        | Kind::ApplicationSecurityGroup
        | Kind::VirtualNetworkGateway
        | Kind::LocalNetworkGateway => &[],
    }
}

/// Properties that refer to other resources. Azure keeps the id alone of what is written there.
const fn references(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Subnet => &["routeTable", "networkSecurityGroup"],
        Kind::VirtualNetworkPeering => &["remoteVirtualNetwork"],
        Kind::NetworkInterface => &["networkSecurityGroup"],
        Kind::Connection => &[
            "virtualNetworkGateway1",
            "virtualNetworkGateway2",
            "localNetworkGateway2",
        ],
        // Lists of them.
        Kind::SecurityRule => &[
            "sourceApplicationSecurityGroups",
            "destinationApplicationSecurityGroups",
        ],
        _ => &[],
    }
}

const IP_CONFIGURATION_READ_ONLY: &[&str] =
    &["provisioningState", "privateLinkConnectionProperties"];
const IP_CONFIGURATION_REFERENCES: &[&str] =
    &["subnet", "publicIPAddress", "applicationSecurityGroups"];

/// Properties that are keys. Only a connection's own is carried out; what refers to one may have
/// brought others.
const KEYS: &[&str] = &["sharedKey", "authorizationKey", "radiusServerSecret"];

/// Makes of a request's body what is kept of it; the connection's key, where it has one, is
/// answered apart. What is written wrong stays, for the reader to tell.
///
/// # Errors
///
/// `InvalidRequestFormat` where a key is no text: no document has one.
pub(super) fn clean(kind: Kind, body: &mut Object) -> Result<Option<Secret>, ArmError> {
    take_all(body, ENVELOPE);
    let tags = json::take(body, "tags").filter(|tags| !tags.is_null());
    for value in body.values_mut() {
        json::without_nulls(value);
    }
    body.retain(|_, value| !value.is_null());
    if let Some(tags) = tags {
        json::set(body, "tags", tags);
    }
    if let Some(Value::String(location)) = json::get_mut(body, "location") {
        *location = normalise_location(location);
    }
    let Some(properties) = json::object_mut(body, "properties") else {
        return Ok(None);
    };
    let key = match kind {
        Kind::Connection => json::take(properties, "sharedKey"),
        _ => None,
    };
    clean_properties(kind, properties);
    match key {
        None => Ok(None),
        // The bytes move: nothing is left to be wiped.
        Some(Value::String(text)) => Ok((!text.is_empty()).then(|| Secret::new(text.into_bytes()))),
        Some(_) => Err(ArmError::new(
            "InvalidRequestFormat",
            "The property 'sharedKey' must be a string: correct it.",
        )),
    }
}

fn clean_properties(kind: Kind, properties: &mut Object) {
    take_all(properties, &["provisioningState", "resourceGuid"]);
    take_all(properties, read_only(kind));
    ids_alone(properties, references(kind));
    for child in kind.children() {
        for item in json::objects_mut(properties, child.list_name()) {
            clean_child(*child, item);
        }
    }
    if has_ip_configurations(kind) {
        for item in json::objects_mut(properties, IP_CONFIGURATIONS) {
            take_all(item, NESTED);
            if let Some(properties) = json::object_mut(item, "properties") {
                take_all(properties, IP_CONFIGURATION_READ_ONLY);
                ids_alone(properties, IP_CONFIGURATION_REFERENCES);
            }
        }
    }
    if let Some(settings) = json::object_mut(properties, "dnsSettings") {
        take_all(
            settings,
            &[
                "appliedDnsServers",
                "internalFqdn",
                "internalDomainNameSuffix",
            ],
        );
    }
    // At the top they are the reader's to refuse.
    properties.values_mut().for_each(without_keys);
}

/// A child in its parent's list.
fn clean_child(kind: Kind, item: &mut Object) {
    take_all(item, NESTED);
    if let Some(properties) = json::object_mut(item, "properties") {
        clean_properties(kind, properties);
    }
}

fn ids_alone(properties: &mut Object, names: &[&str]) {
    for name in names {
        match json::get_mut(properties, name) {
            Some(Value::Object(reference)) => id_alone(reference),
            Some(Value::Array(items)) => {
                items
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(id_alone);
            }
            _ => {}
        }
    }
}

fn id_alone(reference: &mut Object) {
    if json::text(reference, "id").is_some() {
        reference.retain(|name, _| name.eq_ignore_ascii_case("id"));
    }
}

fn without_keys(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !KEYS.iter().any(|key| key.eq_ignore_ascii_case(name)));
            fields.values_mut().for_each(without_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(without_keys),
        _ => {}
    }
}

fn take_all(object: &mut Object, names: &[&str]) {
    object.retain(|key, _| !names.iter().any(|name| name.eq_ignore_ascii_case(key)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cleaned(kind: Kind, body: Value) -> (Value, Option<Secret>) {
        let mut body = body.as_object().cloned().unwrap_or_default();
        let key = clean(kind, &mut body).unwrap();
        (body.into(), key)
    }

    #[test]
    fn what_clients_echo_is_not_kept() {
        let (body, key) = cleaned(
            Kind::VirtualNetwork,
            json!({
                "id": "/x", "name": "v", "type": "t", "etag": "W/\"1\"",
                "location": "West Europe", "tags": {"a": "b", "c": null}, "extra": {"kept": 1, "not": null},
                "properties": {
                    "provisioningState": "Succeeded", "resourceGuid": "g", "unknown": [1],
                    "subnets": [{
                        "id": "/x/subnets/a", "name": "a", "type": "t", "etag": "e",
                        "properties": {
                            "addressPrefix": "10.0.0.0/24", "ProvisioningState": "Succeeded",
                            "ipConfigurations": [{"id": "/y"}], "delegations": [],
                            "routeTable": {"id": "/rt", "properties": {"sharedKey": "k"}},
                        },
                    }],
                    "virtualNetworkPeerings": [{
                        "name": "p",
                        "properties": {
                            "peeringState": "Connected", "remoteVirtualNetwork": {"id": "/v2"},
                            "remoteAddressSpace": {"addressPrefixes": []}, "allowForwardedTraffic": null,
                        },
                    }, "broken"],
                },
            }),
        );
        assert_eq!(key, None);
        assert_eq!(
            body,
            json!({
                "location": "westeurope", "tags": {"a": "b", "c": null}, "extra": {"kept": 1},
                "properties": {
                    "unknown": [1],
                    "subnets": [{
                        "name": "a",
                        "properties": {
                            "addressPrefix": "10.0.0.0/24", "delegations": [], "routeTable": {"id": "/rt"},
                        },
                    }],
                    "virtualNetworkPeerings": [
                        {"name": "p", "properties": {"remoteVirtualNetwork": {"id": "/v2"}}},
                        "broken",
                    ],
                },
            })
        );
    }

    #[test]
    fn keys_leave_the_body() {
        let (body, key) = cleaned(
            Kind::Connection,
            json!({"properties": {
                "SharedKey": "Abc123", "routingWeight": 10,
                "virtualNetworkGateway1": {"id": "/g", "properties": {"radiusServerSecret": "r"}},
                "odd": [{"sharedKey": "x", "y": 1}],
            }}),
        );
        assert_eq!(key, Some(Secret::new(*b"Abc123")));
        assert_eq!(
            body,
            json!({"properties": {
                "routingWeight": 10, "virtualNetworkGateway1": {"id": "/g"}, "odd": [{"y": 1}],
            }})
        );
        for nothing in [json!(null), json!("")] {
            let body = json!({"properties": {"sharedKey": nothing}});
            assert_eq!(
                cleaned(Kind::Connection, body),
                (json!({"properties": {}}), None)
            );
        }
        let mut wrong = Object::new();
        json::set(&mut wrong, "properties", json!({"sharedKey": ["Abc123"]}));
        let error = clean(Kind::Connection, &mut wrong).unwrap_err();
        assert_eq!(error.code, "InvalidRequestFormat");
    }

    #[test]
    fn an_interface_keeps_what_is_its_own() {
        let (body, _) = cleaned(
            Kind::NetworkInterface,
            json!({"properties": {
                "virtualMachine": {"id": "/vm"}, "enableIPForwarding": true,
                "dnsSettings": {"dnsServers": [], "appliedDnsServers": []},
                "ipConfigurations": [{"id": "/i", "etag": "e", "name": "i", "properties": {
                    "provisioningState": "Succeeded", "subnet": {"id": "/s", "name": "s"}, "primary": true,
                }}],
            }}),
        );
        assert_eq!(
            body,
            json!({"properties": {
                "enableIPForwarding": true, "dnsSettings": {"dnsServers": []},
                "ipConfigurations": [
                    {"name": "i", "properties": {"subnet": {"id": "/s"}, "primary": true}},
                ],
            }})
        );
    }
}
