//! What others see: secrets, deployments again, exports, what-if.

use super::*;

const KEY: &str = "SuperSecretPsk42";

/// Two networks, their gateways, and a connection by `az network vpn-connection create`.
pub(super) fn site(key: &str) -> Value {
    let gateway = resource(
        "virtualNetworkGateways",
        "g",
        json!({
            "sku": {"name": "VpnGw2", "tier": "VpnGw2"}, "gatewayType": "Vpn", "vpnType": "RouteBased",
            "ipConfigurations": [{"name": "c", "properties": {
                "subnet": {"id": "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'vn', 'GatewaySubnet')]"},
                "publicIPAddress": {"id": "[resourceId('Microsoft.Network/publicIPAddresses', 'p')]"},
            }}],
        }),
    );
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"sharedKey": {"type": "securestring", "metadata": {}}},
        "variables": {},
        "resources": [
            resource("virtualNetworks", "vn", json!({
                "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
                "subnets": [
                    {"name": "GatewaySubnet", "properties": {"addressPrefix": "10.1.255.0/27"}},
                    {"name": "a", "properties": {"addressPrefix": "10.1.0.0/24"}},
                ],
            })),
            resource("publicIPAddresses", "p", json!({"publicIPAllocationMethod": "Static"})),
            gateway,
            resource("localNetworkGateways", "l", json!({
                "gatewayIpAddress": "198.51.100.1",
                "localNetworkAddressSpace": {"addressPrefixes": ["192.168.0.0/16"]},
            })),
            resource("connections", "c", json!({
                "virtualNetworkGateway1": {"id": "[resourceId('Microsoft.Network/virtualNetworkGateways', 'g')]"},
                "localNetworkGateway2": {"id": "[resourceId('Microsoft.Network/localNetworkGateways', 'l')]"},
                "connectionType": "IPSec", "routingWeight": 10, "enableBgp": false,
                "expressRouteGatewayBypass": null,
                "sharedKey": key,
            })),
        ],
        "outputs": {"resource": {"type": "object", "value": "[reference('c')]"}},
    })
}

pub(super) fn key() -> Value {
    json!({"sharedKey": {"value": KEY}})
}

#[track_caller]
fn hides(text: impl std::fmt::Debug) {
    let text = format!("{text:?}");
    assert!(!text.contains(KEY), "{text}");
}

#[test]
fn a_key_is_nowhere_but_where_keys_are_kept() {
    let template = site("[parameters('sharedKey')]");
    let done = deploy_with(&groups(), &template, &key(), Mode::Incremental)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        done.parameters["sharedKey"],
        json!({"type": "SecureString"})
    );
    assert_eq!(done.outputs["resource"]["value"]["connectionType"], "IPsec");
    let state = submit(&groups(), &done);
    assert!(
        state
            .keys
            .contains_key(&ResourceId::new(&id("connections/c")))
    );
    hides((
        &done.outputs,
        &done.parameters,
        &done.resources,
        &state.documents,
    ));
    let told = what_if(&groups(), &done, None, ResultFormat::FullResourcePayloads);
    hides(told);
    // Another key is a change whose value is not told.
    let other = json!({"sharedKey": {"value": "AnotherKey"}});
    let again = deploy_with(&state, &template, &other, Mode::Incremental).unwrap();
    let told = what_if(&state, &again, None, ResultFormat::FullResourcePayloads);
    let connection = told
        .iter()
        .find(|change| change["resourceId"] == id("connections/c").as_str())
        .unwrap();
    assert_eq!(connection["changeType"], "Modify");
    assert_eq!(connection["delta"][0]["path"], "properties.sharedKey");
    assert!(!Value::from(told).to_string().contains("AnotherKey"));
}

#[test]
fn no_output_shows_a_secure_parameter() {
    for (value, kind) in [
        ("[parameters('sharedKey')]", "string"),
        ("[concat('key=', parameters('sharedKey'))]", "string"),
        ("[variables('made')]", "string"),
        ("[createObject('k', variables('made'))]", "object"),
        ("[string(length(parameters('sharedKey')))]", "string"),
    ] {
        let template = json!({
            "parameters": {"sharedKey": {"type": "securestring"}},
            "variables": {"made": "[toLower(parameters('sharedKey'))]"},
            "resources": [],
            "outputs": {"o": {"type": kind, "value": value}},
        });
        let error = deploy_with(&groups(), &template, &key(), Mode::Incremental).unwrap_err();
        assert_eq!(
            error.target.as_deref(),
            Some("outputs.o.value"),
            "{value}: {error}"
        );
        hides(&error);
        let mut secure = template;
        secure["outputs"]["o"]["type"] = if kind == "object" {
            json!("secureObject")
        } else {
            json!("secureString")
        };
        let done = deploy_with(&groups(), &secure, &key(), Mode::Incremental).unwrap();
        assert!(done.outputs["o"].get("value").is_none());
    }
}

#[test]
fn no_error_shows_a_key_wherever_it_happens() {
    let template = site("[parameters('sharedKey')]");
    let mut broken = Vec::new();
    for (pointer, value) in [
        (
            "/resources/0/name",
            json!("[concat(parameters('sharedKey'), '/')]"),
        ),
        (
            "/resources/0/properties/addressSpace",
            json!("[int(parameters('sharedKey'))]"),
        ),
        (
            "/resources/2/properties/gatewayType",
            json!("[parameters('sharedKey')]"),
        ),
        (
            "/outputs/resource/value",
            json!("[reference(parameters('sharedKey'))]"),
        ),
        (
            "/resources/4/properties/routingWeight",
            json!("[int(parameters('sharedKey'))]"),
        ),
    ] {
        let mut one = template.clone();
        *one.pointer_mut(pointer).unwrap() = value;
        broken.push(one);
    }
    // A key in clear, and one in a nested deployment.
    let mut literal = site(KEY);
    literal["resources"][0]["name"] = json!(format!("{KEY}!"));
    broken.push(literal);
    let mut errors = 0;
    for template in broken {
        if let Err(error) = deploy_with(&groups(), &template, &key(), Mode::Incremental) {
            errors += 1;
            hides(&error);
            hides(error.body().to_string());
        }
    }
    assert!(errors >= 5, "{errors}");
}

#[test]
fn the_template_is_kept_without_keys() {
    let mut template = site(KEY);
    template["parameters"]["sharedKey"]["defaultValue"] = KEY.into();
    template["resources"][0] = json!({
        "type": "Microsoft.Resources/deployments", "name": "n", "properties": {
            "parameters": {"k": {"value": KEY}, "o": {"value": 1}},
            "template": {"parameters": {"k": {"type": "secureString"}}},
        },
    });
    hide_keys(&mut template);
    hides(&template);
    assert_eq!(
        template["resources"][0]["properties"]["parameters"],
        json!({"o": {"value": 1}})
    );
    let expression = site("[parameters('sharedKey')]");
    let mut kept = expression.clone();
    hide_keys(&mut kept);
    assert_eq!(kept, expression);
}

#[test]
fn what_a_key_is_made_of_is_not_shown_either() {
    let mut template = site("[concat(variables('one'), parameters('plain'))]");
    template["parameters"] = json!({"plain": {"type": "string", "defaultValue": KEY}});
    template["variables"] = json!({"one": "[variables('two')]", "two": KEY, "other": "kept"});
    let done = deploy_with(&groups(), &template, &json!({}), Mode::Incremental);
    let done = done.unwrap_or_else(|error| panic!("{error}"));
    hides(&done.outputs);
    let mut kept = template.clone();
    hide_keys(&mut kept);
    hides(&kept);
    assert_eq!(kept["variables"], json!({"other": "kept"}));
    let mut literal = site(&format!("[concat('{KEY}', '')]"));
    hide_keys(&mut literal);
    hides(&literal);
    // A parameter that is a key without being secure, and an output of it.
    let mut template = site("[parameters('plain')]");
    template["parameters"] = json!({"plain": {"type": "string"}});
    let given = json!({"plain": {"value": KEY}});
    let done = deploy_with(&groups(), &template, &given, Mode::Incremental);
    let done = done.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(done.parameters["plain"], json!({"type": "String"}));
    template["outputs"]["resource"] = json!({"type": "string", "value": "[parameters('plain')]"});
    let error = deploy_with(&groups(), &template, &given, Mode::Incremental).unwrap_err();
    assert_eq!(error.target.as_deref(), Some("outputs.resource.value"));
}

#[test]
fn a_deployment_again_changes_nothing() {
    let template = site("[parameters('sharedKey')]");
    let done = deploy_with(&groups(), &template, &key(), Mode::Incremental).unwrap();
    let told = what_if(&groups(), &done, None, ResultFormat::ResourceIdOnly);
    assert!(
        told.iter()
            .all(|change| change["changeType"] == "Create" && change.get("after").is_none())
    );
    let state = submit(&groups(), &done);
    let again = deploy_with(&state, &template, &key(), Mode::Complete).unwrap();
    changes_nothing(&state, &again);
}

#[test]
fn an_export_changes_nothing_where_it_comes_from_and_makes_the_same_elsewhere() {
    let template = site("[parameters('sharedKey')]");
    let done = deploy_with(&groups(), &template, &key(), Mode::Incremental).unwrap();
    let mut state = submit(&groups(), &done);
    let more = json!([
        vnet("wn", "10.2.0.0/16", "10.2.0.0/24"),
        resource(
            "virtualNetworks/virtualNetworkPeerings",
            "vn/to-w",
            json!({
            "remoteVirtualNetwork": {"id": "[resourceId('Microsoft.Network/virtualNetworks', 'wn')]"}})
        ),
        resource(
            "virtualNetworks/virtualNetworkPeerings",
            "wn/to-v",
            json!({
            "remoteVirtualNetwork": {"id": "[resourceId('Microsoft.Network/virtualNetworks', 'vn')]"},
            "allowForwardedTraffic": true})
        ),
        resource(
            "networkInterfaces",
            "n",
            json!({"ipConfigurations": [{"name": "c", "properties": {
            "subnet": {"id": "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'wn', 'a')]"}}}]})
        ),
    ]);
    let done = deploy(&state, more, json!({})).unwrap_or_else(|error| panic!("{error}"));
    state = submit(&state, &done);
    let group = GroupId::new(SUBSCRIPTION, "rg").unwrap();
    let exported = export(&state, &group).unwrap();
    hides(&exported);
    assert_eq!(
        exported.keys,
        [("key_c".to_owned(), ResourceId::new(&id("connections/c")))]
    );
    let again = deploy_with(&state, &exported.template, &json!({}), Mode::Complete)
        .unwrap_or_else(|error| panic!("{error}"));
    changes_nothing(&state, &again);
    // Elsewhere: the same resources, with the key that is given.
    let given = json!({"key_c": {"value": KEY}});
    let copy = deploy_with(&groups(), &exported.template, &given, Mode::Incremental)
        .unwrap_or_else(|error| panic!("{error}"));
    let copy = submit(&groups(), &copy);
    assert_eq!(copy.documents.len(), state.documents.len());
    for (id, document) in state.documents.iter() {
        let show = |state: &State| {
            let target = Target::known(document.kind, id);
            let mut shown = view::show(state, &target, &NoLive).unwrap();
            volatile(&mut shown);
            shown
        };
        assert_eq!(show(&copy), show(&state));
    }
    assert_eq!(*copy.keys, *state.keys);
    assert_eq!(export(&copy, &group).unwrap(), exported);
}

fn volatile(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !["etag", "resourceGuid", "provisioningState"].contains(&name.as_str())
            });
            fields.values_mut().for_each(volatile);
        }
        Value::Array(items) => items.iter_mut().for_each(volatile),
        _ => {}
    }
}

#[test]
fn differences_have_azures_shape() {
    let first = deploy(
        &groups(),
        json!([vnet("vn", "10.0.0.0/16", "10.0.1.0/24")]),
        json!({}),
    )
    .unwrap();
    let state = submit(&groups(), &first);
    let mut changed = vnet("vn", "10.0.0.0/16", "10.0.2.0/24");
    changed["tags"] = json!({"a": "b"});
    let again = deploy(&state, json!([changed]), json!({})).unwrap();
    let told = what_if(&state, &again, None, ResultFormat::FullResourcePayloads);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["changeType"], "Modify");
    let delta = told[0]["delta"].as_array().unwrap();
    let find = |path: &str| {
        delta
            .iter()
            .find(|one| one["path"].as_str().unwrap().starts_with(path))
            .unwrap_or_else(|| panic!("{path}: {delta:?}"))
    };
    assert_eq!(find("tags")["propertyChangeType"], "Create");
    let subnets = find("properties.subnets");
    assert_eq!(subnets["propertyChangeType"], "Array");
    assert_eq!(subnets["children"][0]["path"], "0");
    assert_eq!(
        subnets["children"][0]["children"][0],
        json!({
            "path": "properties.addressPrefix", "propertyChangeType": "Modify",
            "before": "10.0.1.0/24", "after": "10.0.2.0/24",
        })
    );
}
