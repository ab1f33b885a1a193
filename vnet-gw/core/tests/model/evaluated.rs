//! A template's resources as the bodies of requests, in the order of their dependencies.

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, DeployOptions, EvaluatedResource, template_resources};

use crate::support::{GROUP, resource, vnet, with};

fn evaluated(resources: Value) -> Result<Vec<EvaluatedResource>, ArmError> {
    let template = json!({
        "parameters": {"key": {"type": "securestring", "defaultValue": "s3cretKey"}},
        "resources": resources,
    });
    template_resources(&template.to_string(), &DeployOptions::default())
}

fn names(resources: Value) -> Vec<String> {
    let resources = evaluated(resources).unwrap_or_else(|error| panic!("{error}"));
    resources.iter().map(|r| r.names.join("/")).collect()
}

fn depending(name: &str, on: &[&str]) -> Value {
    with(
        resource("routeTables", name, json!({})),
        "/dependsOn",
        json!(on),
    )
}

#[test]
fn bodies_are_evaluated_and_have_nothing_of_arms_own() {
    let found = evaluated(json!([{
        "type": "Microsoft.Network/connections",
        "apiVersion": "2024-05-01",
        "comments": "c",
        "name": "[concat('c', string(1))]",
        "location": "[resourceGroup().location]",
        "tags": {"a": "[toUpper('b')]"},
        "condition": true,
        "dependsOn": [],
        "properties": {"sharedKey": "[parameters('key')]", "unknown": [null, 1]},
    }]))
    .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        Value::Object(found[0].body.clone()),
        json!({
            "location": "local",
            "tags": {"a": "B"},
            "properties": {"sharedKey": "s3cretKey", "unknown": [null, 1]},
        })
    );
    assert_eq!(
        found[0].id(&DeployOptions::default()).unwrap().as_str(),
        format!("{GROUP}/providers/Microsoft.Network/connections/c1")
    );
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[test]
fn parents_and_dependencies_come_first_and_else_the_order_stays() {
    let child = resource("virtualNetworks/subnets", "VNet1/A", json!({}));
    let network = with(
        vnet("VNet1", &["10.0.0.0/16"], &[], &[]),
        "/resources",
        json!([{"type": "subnets", "name": "B"}]),
    );
    assert_eq!(
        names(json!([child, network])),
        ["VNet1", "VNet1/A", "VNet1/B"]
    );
    let id = format!("{GROUP}/providers/Microsoft.Network/routeTables/d");
    assert_eq!(
        names(json!([
            depending("a", &["[resourceId('Microsoft.Network/routeTables', 'c')]"]),
            depending("b", &["D", "Microsoft.Network/routeTables/a"]),
            depending("c", &[&id, &id]),
            depending("d", &[]),
        ])),
        ["d", "c", "a", "b"]
    );
    let looped = with(
        resource(
            "routeTables",
            "[concat('t', string(copyIndex()))]",
            json!({}),
        ),
        "/copy",
        json!({"name": "tables", "count": 3}),
    );
    assert_eq!(
        names(json!([depending("last", &["tables"]), looped])),
        ["t0", "t1", "t2", "last"]
    );
    // Symbolic names, and an inline subnet, which stands for its network.
    let inline = "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'VNet1', 'S')]";
    assert_eq!(
        names(json!({
            "one": depending("a", &["two"]),
            "two": depending("b", &[inline]),
            "three": vnet("VNet1", &["10.0.0.0/16"], &[("S", "10.0.0.0/24")], &[]),
        })),
        ["VNet1", "b", "a"]
    );
}

#[test]
fn what_is_not_deployed_can_be_depended_on() {
    let skipped = with(depending("a", &[]), "/condition", json!(false));
    assert_eq!(names(json!([depending("b", &["a"]), skipped])), ["b"]);
}

#[test]
fn missing_and_circular_dependencies_are_named() {
    let error = evaluated(json!([depending("a", &["x"])])).unwrap_err();
    assert_eq!(error.code, "InvalidTemplate");
    assert_eq!(error.target.as_deref(), Some("resources[0].dependsOn[0]"));
    assert!(error.message.contains("'x' is not defined"), "{error}");
    let error = evaluated(json!([
        depending("z", &["a"]),
        depending("a", &["b"]),
        depending("b", &["c"]),
        depending("c", &["a"]),
    ]))
    .unwrap_err();
    assert_eq!(error.code, "InvalidTemplate");
    assert!(
        error.message.contains(
            "'Microsoft.Network/routeTables/a' → 'Microsoft.Network/routeTables/b' → \
             'Microsoft.Network/routeTables/c' → 'Microsoft.Network/routeTables/a'"
        ),
        "{error}"
    );
    let error = evaluated(json!([depending("a", &[]), depending("A", &[])])).unwrap_err();
    assert!(error.message.contains("there twice"), "{error}");
}
