//! Deployments, as `az` and the SDKs ask for them.

use axum::body::Body;
use serde_json::{Value, json};

use super::{Bed, SUBSCRIPTION, Told, network, request};

const KEY: &str = "SuperSecretPsk42";

fn deployment(rest: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourcegroups/rg/providers/Microsoft.Resources/deployments/{rest}"
    )
}

fn resource(kind: &str, name: &str, properties: Value) -> Value {
    json!({"type": format!("Microsoft.Network/{kind}"), "apiVersion": "2024-05-01", "name": name,
        "location": "westeurope", "properties": properties})
}

/// A local network gateway, a network with a gateway, and a connection with a key.
fn template() -> Value {
    let id = |kind: &str, name: &str| json!({"id": network(&format!("{kind}/{name}"))});
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"sharedKey": {"type": "securestring"}},
        "variables": {},
        "resources": [
            resource("virtualNetworks", "V1", json!({
                "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
                "subnets": [{"name": "GatewaySubnet", "properties": {"addressPrefix": "10.1.255.0/27"}}],
            })),
            resource("publicIPAddresses", "P1", json!({
                "publicIPAllocationMethod": "Static", "ipAddress": "203.0.113.1"})),
            resource("virtualNetworkGateways", "G1", json!({
                "sku": {"name": "VpnGw1", "tier": "VpnGw1"}, "gatewayType": "Vpn", "vpnType": "RouteBased",
                "ipConfigurations": [{"name": "c", "properties": {
                    "subnet": {"id": network("virtualNetworks/V1/subnets/GatewaySubnet")},
                    "publicIPAddress": id("publicIPAddresses", "P1")}}]})),
            resource("localNetworkGateways", "L1", json!({
                "gatewayIpAddress": "198.51.100.1",
                "localNetworkAddressSpace": {"addressPrefixes": ["192.168.0.0/16"]}})),
            resource("connections", "C1", json!({
                "virtualNetworkGateway1": id("virtualNetworkGateways", "G1"),
                "localNetworkGateway2": id("localNetworkGateways", "L1"),
                "connectionType": "IPSec", "routingWeight": 10,
                "expressRouteGatewayBypass": null,
                "sharedKey": "[parameters('sharedKey')]"})),
        ],
        "outputs": {"resource": {"type": "object", "value": "[reference('C1')]"}},
    })
}

fn body(template: Value) -> Value {
    json!({"properties": {"template": template, "parameters": {"sharedKey": {"value": KEY}}, "mode": "incremental"}})
}

impl Bed {
    /// The end of a long operation.
    async fn end(&self, begun: &Told) -> Told {
        let operation = begun.header("azure-asyncoperation").to_owned();
        assert!(operation.starts_with("https://"), "{operation}");
        let path = operation.split_once("8443").unwrap().1.to_owned();
        for _ in 0..20 {
            let told = self.get(&path).await;
            if told.is(200).body["status"] != "InProgress" {
                return told;
            }
        }
        panic!("the operation does not end");
    }

    async fn post(&self, path: &str, body: Value) -> Told {
        self.ask("POST", path, Some(body)).await
    }
}

#[tokio::test]
async fn a_connection_is_deployed_as_az_does_it() {
    let bed = Bed::with_group().await;
    let path = deployment("vpn_connection_deploy_1");
    let begun = bed.put(&path, body(template())).await;
    begun.is(201);
    assert_eq!(begun.body["properties"]["provisioningState"], "Running");
    assert_eq!(bed.end(&begun).await.body["status"], "Succeeded");
    let done = bed.get(&path).await;
    let properties = &done.is(200).body["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded", "{properties}");
    assert_eq!(properties["mode"], "Incremental");
    assert_eq!(
        properties["parameters"]["sharedKey"],
        json!({"type": "SecureString"})
    );
    let connection = bed.get(&network("connections/C1")).await;
    // What was made up is what stands in the resource.
    let output = &properties["outputs"]["resource"];
    assert_eq!(output["type"], "Object");
    assert_eq!(output["value"]["provisioningState"], "Succeeded");
    assert_eq!(
        output["value"]["resourceGuid"],
        connection.is(200).body["properties"]["resourceGuid"]
    );
    assert_eq!(properties["outputResources"].as_array().unwrap().len(), 5);
    assert!(
        properties["templateHash"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    assert_eq!(properties["providers"][0]["namespace"], "Microsoft.Network");
    let key = bed.get(&network("connections/C1/sharedkey")).await;
    assert_eq!(key.is(200).body["value"], KEY);

    // Nothing that is kept or shown has the key in it.
    let listed = bed.get(&deployment("")).await;
    assert_eq!(listed.is(200).body["value"].as_array().unwrap().len(), 1);
    let operations = bed.get(&format!(
        "/subscriptions/{SUBSCRIPTION}/resourcegroups/rg/deployments/vpn_connection_deploy_1/operations"
    )).await;
    let first = &operations.is(200).body["value"][0];
    assert_eq!(first["properties"]["targetResource"]["resourceName"], "V1");
    let one = first["operationId"].as_str().unwrap();
    bed.get(&deployment(&format!(
        "vpn_connection_deploy_1/operations/{one}"
    )))
    .await
    .is(200);
    let exported = bed
        .post(
            &deployment("vpn_connection_deploy_1/exportTemplate"),
            json!({}),
        )
        .await;
    assert_eq!(
        exported.is(200).body["template"]["resources"][4]["name"],
        "C1"
    );
    let group = bed
        .post(
            &format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/rg/exportTemplate"),
            json!({"resources": ["*"]}),
        )
        .await;
    assert_eq!(
        group.is(200).body["template"]["parameters"]["key_C1"]["type"],
        "securestring"
    );
    let store = bed.api.engine.store();
    let kept = store
        .scan(crate::store::Table::Deployments, "", 10)
        .unwrap();
    assert_eq!(kept.len(), 1);
    assert!(!String::from_utf8_lossy(&kept[0].1).contains(KEY));
    for told in [done, listed, operations, exported, group, begun] {
        assert!(!told.body.to_string().contains(KEY), "{}", told.body);
    }

    // Again: nothing changes, not even an ETag.
    let before = bed
        .get(&network("connections/C1"))
        .await
        .header("etag")
        .to_owned();
    let begun = bed.put(&path, body(template())).await;
    begun.is(200);
    assert_eq!(bed.end(&begun).await.body["status"], "Succeeded");
    assert_eq!(
        bed.get(&network("connections/C1")).await.header("etag"),
        before
    );

    bed.ask("HEAD", &path, None).await.is(204);
    bed.post(&deployment("vpn_connection_deploy_1/cancel"), json!({}))
        .await
        .is(409);
    bed.ask("DELETE", &path, None).await.is(204);
    assert_eq!(bed.get(&path).await.is(404).code(), "DeploymentNotFound");
    bed.get(&network("connections/C1")).await.is(200);
}

/// `az deployment` puts the text of the file into its request as it is.
fn spliced(path: &str, method: &str, template: &str) -> axum::http::Request<Body> {
    let mut one = request("root", method, path);
    let text = format!(
        "{{\"properties\": {{\"parameters\": {{\"name\": {{\"value\": \"T1\"}}}}, \"mode\": \"Incremental\", template:{template}\n}}}}"
    );
    *one.body_mut() = Body::from(text);
    one.headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    one
}

#[tokio::test]
async fn what_az_deployment_sends_is_validated_tried_and_deployed() {
    const TEMPLATE: &str = "{ // a table\n \"parameters\": {\"name\": {\"type\": \"string\"}},\n \"resources\": [{\n\
        \"type\": \"Microsoft.Network/routeTables\", \"apiVersion\": \"2024-05-01\", \"location\": \"[resourceGroup().location]\",\r\n\
        \"name\": \"[concat(\n parameters('name'))]\" /* two lines */}]}";
    let bed = Bed::with_group().await;
    let checked = bed
        .send(spliced(&deployment("d1/validate"), "POST", TEMPLATE))
        .await;
    let properties = &checked.is(200).body["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded");
    assert_eq!(
        properties["validatedResources"][0]["id"],
        network("routeTables/T1")
    );
    let tried = bed
        .send(spliced(&deployment("d1/whatIf"), "POST", TEMPLATE))
        .await;
    let change = &tried.is(200).body["properties"]["changes"][0];
    assert_eq!(
        (change["changeType"].as_str(), &tried.body["status"]),
        (Some("Create"), &json!("Succeeded"))
    );
    // Neither did anything.
    assert_eq!(
        bed.get(&deployment("d1")).await.is(404).code(),
        "DeploymentNotFound"
    );
    bed.get(&network("routeTables/T1")).await.is(404);
    let begun = bed.send(spliced(&deployment("d1"), "PUT", TEMPLATE)).await;
    begun.is(201);
    assert_eq!(bed.end(&begun).await.body["status"], "Succeeded");
    bed.get(&network("routeTables/T1")).await.is(200);
    let tried = bed
        .send(spliced(&deployment("d1/whatIf"), "POST", TEMPLATE))
        .await;
    assert_eq!(
        tried.is(200).body["properties"]["changes"][0]["changeType"],
        "NoChange"
    );
}

#[tokio::test]
async fn what_fails_is_kept_with_its_error_and_changes_nothing() {
    let bed = Bed::with_group().await;
    let table = resource("routeTables", "T1", json!({}));
    let child = resource(
        "virtualNetworks/subnets",
        "V9/a",
        json!({"addressPrefix": "10.0.0.0/24"}),
    );
    let broken = json!({"resources": [table, child]});
    let asked = json!({"properties": {"template": broken, "mode": "Incremental"}});
    let begun = bed.put(&deployment("d1"), asked.clone()).await;
    let ended = bed.end(begun.is(201)).await;
    assert_eq!(ended.body["status"], "Failed");
    assert_eq!(ended.body["error"]["code"], "DeploymentFailed");
    assert_eq!(
        ended.body["error"]["details"][0]["code"],
        "ParentResourceNotFound"
    );
    let record = bed.get(&deployment("d1")).await;
    assert_eq!(
        record.is(200).body["properties"]["provisioningState"],
        "Failed"
    );
    assert_eq!(
        record.body["properties"]["error"]["details"][0]["code"],
        "ParentResourceNotFound"
    );
    bed.get(&network("routeTables/T1")).await.is(404);
    bed.post(&deployment("d1/validate"), asked).await.is(400);
    for (asked, code) in [
        (json!({}), "InvalidRequestContent"),
        (json!({"properties": {}}), "InvalidRequestContent"),
        (json!({"properties": {"template": {}}}), "InvalidTemplate"),
        (
            json!({"properties": {"template": {"resources": []}, "mode": "x"}}),
            "InvalidDeployment",
        ),
        (
            json!({"properties": {"templateLink": {"uri": "https://example.org"}}}),
            "NotSupported",
        ),
        (
            json!({"properties": {"template": {"resources": []}, "parameters": {"a": 1}}}),
            "InvalidDeploymentParameters",
        ),
    ] {
        for (method, path) in [
            ("PUT", "d2"),
            ("POST", "d2/validate"),
            ("POST", "d2/whatIf"),
        ] {
            let told = bed
                .ask(method, &deployment(path), Some(asked.clone()))
                .await;
            assert_eq!(told.is(400).code(), code, "{method} {asked}");
        }
    }
    bed.get(&deployment("d2")).await.is(404);
    bed.put(&deployment("a%20b"), body(template()))
        .await
        .is(400);
}

#[tokio::test]
async fn a_subscription_is_deployed_to() {
    let bed = Bed::with_group().await;
    let path =
        format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Resources/deployments/s1");
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
        "resources": [{"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01",
            "name": "made", "location": "northeurope"}],
    });
    let asked =
        json!({"location": "local", "properties": {"template": template, "mode": "Incremental"}});
    let begun = bed.put(&path, asked).await;
    assert_eq!(bed.end(begun.is(201)).await.body["status"], "Succeeded");
    let group = bed
        .get(&format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/made"
        ))
        .await;
    assert_eq!(group.is(200).body["location"], "northeurope");
    let record = bed.get(&path).await;
    assert_eq!(record.is(200).body["location"], "local");
}

#[tokio::test]
async fn the_deployments_of_a_group_go_with_it() {
    let bed = Bed::with_group().await;
    let asked = json!({"properties": {"template": {"resources": []}, "mode": "Incremental"}});
    let begun = bed.put(&deployment("d1"), asked).await;
    assert_eq!(bed.end(&begun).await.body["status"], "Succeeded");
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg");
    bed.ask("DELETE", &group, None).await.is(202);
    assert_eq!(
        bed.get(&deployment("d1")).await.is(404).code(),
        "ResourceGroupNotFound"
    );
    bed.put(&group, json!({"location": "westeurope"}))
        .await
        .is(201);
    assert_eq!(
        bed.get(&deployment("d1")).await.is(404).code(),
        "DeploymentNotFound"
    );
}

#[tokio::test]
async fn who_may_not_write_deploys_nothing() {
    let bed = Bed::with_group().await;
    for (method, path) in [
        ("PUT", "d1"),
        ("POST", "d1/validate"),
        ("POST", "d1/whatIf"),
    ] {
        let told = bed
            .ask_as("reader", method, &deployment(path), Some(body(template())))
            .await;
        assert_eq!(told.is(403).code(), "AuthorizationFailed");
    }
    bed.get(&deployment("d1")).await.is(404);
}
