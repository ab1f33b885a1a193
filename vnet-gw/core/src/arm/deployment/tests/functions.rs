//! `reference()`, outputs and nested deployments.

use super::*;

#[test]
fn outputs_say_what_the_resources_have_become() {
    let done = deploy(
        &groups(),
        json!([
            vnet("vn", "10.0.0.0/16", "10.0.1.0/24"),
            resource("publicIPAddresses", "p", json!({"publicIPAllocationMethod": "Static"})),
            resource("localNetworkGateways", "l", json!({
                "gatewayIpAddress": "[reference('p').ipAddress]",
                "localNetworkAddressSpace": {"addressPrefixes":
                    "[reference(resourceId('Microsoft.Network/virtualNetworks', 'vn')).addressSpace.addressPrefixes]"},
            })),
        ]),
        json!({
            "whole": {"type": "object", "value": "[reference('l')]"},
            "prefix": {"type": "string", "value": "[reference('vn', '2024-05-01', 'Full').properties.subnets[0].properties.addressPrefix]"},
            "where": {"type": "string", "value": "[reference('vn', '2024-05-01', 'Full').location]"},
            "each": {"type": "array", "copy": {"count": 2, "input": "[format('n{0}', copyIndex())]"}},
            "never": {"type": "string", "condition": false, "value": "[reference('x')]"},
        }),
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(done.outputs["whole"]["type"], "Object");
    assert_eq!(
        done.outputs["whole"]["value"]["gatewayIpAddress"],
        "203.0.113.1"
    );
    assert_eq!(
        done.outputs["prefix"],
        json!({"type": "String", "value": "10.0.1.0/24"})
    );
    assert_eq!(done.outputs["where"]["value"], "westeurope");
    assert_eq!(done.outputs["each"]["value"], json!(["n0", "n1"]));
    assert!(!done.outputs.contains_key("never"));
    // The gateway came after what it refers to, and all of it is one set.
    let state = submit(&groups(), &done);
    assert_eq!(
        shown(&state, "localNetworkGateways/l").unwrap()["properties"]["gatewayIpAddress"],
        "203.0.113.1"
    );
    assert_eq!(done.resources.len(), 3);
}

#[test]
fn what_is_there_already_can_be_referred_to_by_its_id() {
    let first = deploy(
        &groups(),
        json!([vnet("vn", "10.0.0.0/16", "10.0.1.0/24")]),
        json!({}),
    )
    .unwrap();
    let state = submit(&groups(), &first);
    let outputs = json!({"guid": {"type": "string",
        "value": "[reference(resourceId('Microsoft.Network/virtualNetworks', 'vn'), '2024-05-01').resourceGuid]"}});
    let done = deploy(&state, json!([]), outputs).unwrap();
    let guid = &shown(&state, "virtualNetworks/vn").unwrap()["properties"]["resourceGuid"];
    assert_eq!(done.outputs["guid"]["value"], *guid);
    for (reference, code) in [
        ("[reference('vn')]", "InvalidTemplate"),
        (
            "[reference(resourceId('Microsoft.Network/virtualNetworks', 'wn'))]",
            "ResourceNotFound",
        ),
        (
            "[reference(resourceId('Microsoft.Storage/storageAccounts', 'wn'))]",
            "InvalidResourceNamespace",
        ),
    ] {
        let outputs = json!({"o": {"type": "object", "value": reference}});
        let error = deploy(&state, json!([]), outputs).unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }
}

#[test]
fn resources_that_refer_to_one_another_are_a_circle() {
    let table = |name: &str, other: &str| {
        resource(
            "routeTables",
            name,
            json!({"unknown": format!("[reference('{other}').x]")}),
        )
    };
    let error = deploy(
        &groups(),
        json!([table("a", "b"), table("b", "a")]),
        json!({}),
    )
    .unwrap_err();
    assert_eq!(error.code, "InvalidTemplate");
    assert!(error.message.contains("Circular dependency"), "{error}");
    let error = deploy(&groups(), json!([table("a", "a")]), json!({})).unwrap_err();
    assert!(error.message.contains("Circular dependency"), "{error}");
}

fn nested(scope: &str, group: Option<&str>, template: Value, parameters: Value) -> Value {
    let mut deployment = json!({
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inside",
        "properties": {
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": scope},
            "parameters": parameters,
            "template": template,
        },
    });
    if let Some(group) = group {
        deployment["resourceGroup"] = group.into();
    }
    deployment
}

#[test]
fn nested_deployments_have_their_own_scope_or_the_outer_one() {
    let inner = json!({
        "parameters": {"name": {"type": "string"}},
        "variables": {"v": "inner"},
        "resources": [resource("routeTables", "[parameters('name')]", json!({}))],
        "outputs": {
            "group": {"type": "string", "value": "[resourceGroup().name]"},
            "v": {"type": "string", "value": "[variables('v')]"},
            "table": {"type": "string", "value": "[reference(parameters('name'), '2024-05-01', 'Full').name]"},
        },
    });
    let template = |scope: &str, template: Value, parameters: Value| {
        json!({
            "parameters": {"name": {"type": "string", "defaultValue": "outer-table"}},
            "variables": {"v": "outer"},
            "resources": [
                nested(scope, Some("other"), template, parameters),
                resource("routeTables", "after", json!({"unknown": "[reference('inside').outputs.v.value]"})),
            ],
            "outputs": {
                "v": {"type": "string", "value": "[reference('inside').outputs.v.value]"},
                "group": {"type": "string", "value": "[reference('inside').outputs.group.value]"},
            },
        })
    };
    let all = template(
        "inner",
        inner.clone(),
        json!({"name": {"value": "[concat('t', '1')]"}}),
    );
    let done = deploy_with(&groups(), &all, &json!({}), Mode::Incremental)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.outputs["v"]["value"], "inner");
    assert_eq!(done.outputs["group"]["value"], "other");
    let table = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/other/providers/Microsoft.Network/routeTables/t1"
    );
    assert!(done.resources.contains(&table), "{:?}", done.resources);
    let mut outer = inner;
    outer["parameters"] = json!({});
    let all = template("outer", outer, json!({}));
    let done = deploy_with(&groups(), &all, &json!({}), Mode::Incremental)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.outputs["v"]["value"], "outer");
    assert_eq!(done.outputs["group"]["value"], "rg");
    assert!(
        done.resources
            .iter()
            .any(|id| id.ends_with("/other/providers/Microsoft.Network/routeTables/outer-table"))
    );
}

#[test]
fn what_a_nested_deployment_cannot_have_is_named() {
    let with = |name: &str, value: Value| {
        let mut deployment = nested("inner", None, json!({"resources": []}), json!({}));
        deployment["properties"][name] = value;
        deploy(&groups(), json!([deployment]), json!({})).unwrap_err()
    };
    for (name, value) in [
        ("templateLink", json!({"uri": "https://example.org/t.json"})),
        ("mode", json!("Complete")),
    ] {
        let error = with(name, value);
        assert_eq!(error.code, "NotSupported", "{error}");
        assert!(error.target.unwrap().ends_with(name));
    }
    let mut deep = json!({"resources": []});
    for _ in 0..8 {
        deep = json!({"resources": [nested("inner", None, deep, json!({}))]});
    }
    let error = deploy_with(&groups(), &deep, &json!({}), Mode::Incremental).unwrap_err();
    assert!(error.message.contains("nested more than"), "{error}");
    let elsewhere = nested(
        "inner",
        Some("nowhere"),
        json!({"resources": []}),
        json!({}),
    );
    let error = deploy(&groups(), json!([elsewhere]), json!({})).unwrap_err();
    assert_eq!(error.code, "ResourceGroupNotFound");
}
