//! Resources come, are shown and listed, change and go.

use serde_json::{Value, json};

use super::{Bed, SUBSCRIPTION, network, request, vnet};

#[tokio::test]
async fn a_virtual_network_comes_changes_and_goes() {
    let bed = Bed::with_group().await;
    let path = network("virtualNetworks/V1");
    let made = bed.put(&path, vnet("10.1.0.0/16")).await;
    made.is(201);
    assert_eq!(made.body["id"], path);
    assert_eq!(made.body["properties"]["provisioningState"], "Succeeded");
    assert!(!made.headers.contains_key("azure-asyncoperation"));
    assert_eq!(made.body["etag"], made.header("etag"));

    // In any case, and with az's two slashes.
    let lower = path
        .to_lowercase()
        .replace("network/virtual", "network//virtual");
    let got = bed.get(&lower).await;
    assert_eq!(got.is(200).body, made.body);

    // A child changes its parent's etag.
    let subnet = network("virtualNetworks/V1/subnets/FrontEnd");
    let body = json!({"properties": {"addressPrefix": "10.1.0.0/24"}});
    bed.put(&subnet, body.clone()).await.is(201);
    let subnets = bed.get(&network("virtualNetworks/V1/subnets")).await;
    assert_eq!(subnets.is(200).body["value"][0]["name"], "FrontEnd");
    let again = bed.put(&subnet, body).await;
    again.is(200);
    let tag = bed.get(&path).await.header("etag").to_owned();
    assert_ne!(tag, made.header("etag"));

    // Tags, in both ways.
    let patched = bed
        .ask("PATCH", &path, Some(json!({"tags": {"a": "b"}})))
        .await;
    assert_eq!(patched.is(200).body["tags"], json!({"a": "b"}));
    let scope = format!("{path}/providers/Microsoft.Resources/tags/default");
    let merge = json!({"operation": "Merge", "properties": {"tags": {"c": "d"}}});
    let merged = bed.ask("PATCH", &scope, Some(merge)).await;
    assert_eq!(
        merged.is(200).body["properties"]["tags"],
        json!({"a": "b", "c": "d"})
    );

    // An old ETag does not do.
    for (method, header, value, status) in [
        ("DELETE", "if-match", tag.as_str(), 412),
        ("PUT", "if-none-match", "*", 412),
        ("DELETE", "if-match", "*", 204),
    ] {
        let mut one = request("root", method, &path);
        one.headers_mut().insert(header, value.parse().unwrap());
        if method == "PUT" {
            *one.body_mut() = axum::body::Body::from(vnet("10.1.0.0/16").to_string());
            let json = "application/json".parse().unwrap();
            one.headers_mut().insert("content-type", json);
        }
        bed.send(one).await.is(status);
    }
    let gone = bed.get(&path).await;
    assert_eq!(gone.is(404).code(), "ResourceNotFound");
    bed.ask("DELETE", &path, None).await.is(204);
    bed.ask("HEAD", &path, None).await.is(404);
}

#[tokio::test]
async fn lists_have_pages_whose_links_lead_to_the_next() {
    let bed = Bed::with_group().await;
    for n in 0..7 {
        bed.put(
            &network(&format!("routeTables/t{n}")),
            json!({"location": "westeurope"}),
        )
        .await
        .is(201);
    }
    for list in [
        network("routeTables"),
        format!("/subscriptions/{SUBSCRIPTION}/providers/microsoft.network/RouteTables"),
        format!("/subscriptions/{SUBSCRIPTION}/resources"),
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/RG/resources"),
    ] {
        let mut next = format!("{list}?$top=3");
        let mut names = Vec::new();
        let mut pages = 0;
        loop {
            let page = bed.get(&next).await;
            let values = page.is(200).body["value"].as_array().unwrap().clone();
            assert!(values.len() <= 3);
            names.extend(
                values
                    .iter()
                    .map(|one| one["name"].as_str().unwrap().to_owned()),
            );
            pages += 1;
            let Some(link) = page.body.get("nextLink") else {
                break;
            };
            let link = link.as_str().unwrap();
            let rest = link.strip_prefix("https://127.0.0.1:8443").unwrap();
            next = rest.to_owned();
        }
        assert_eq!(pages, 3, "{list}");
        assert_eq!(names, ["t0", "t1", "t2", "t3", "t4", "t5", "t6"], "{list}");
    }
    let filtered =
        format!("/subscriptions/{SUBSCRIPTION}/resources?$filter=resourceGroup%20eq%20%27other%27");
    assert_eq!(bed.get(&filtered).await.is(200).body["value"], json!([]));
    for query in ["$top=0", "$top=x", "$skipToken=%25%25", "$filter=x"] {
        let list = format!("/subscriptions/{SUBSCRIPTION}/resources?{query}");
        bed.get(&list).await.is(400);
    }
}

#[tokio::test]
async fn groups_come_and_go_with_what_is_in_them() {
    let bed = Bed::with_group().await;
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/RG");
    let shown = bed.get(&group).await;
    assert_eq!(
        shown.is(200).body["id"],
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg")
    );
    assert_eq!(shown.body["location"], "westeurope");
    bed.ask("HEAD", &group, None).await.is(204);
    let patched = bed
        .ask("PATCH", &group, Some(json!({"tags": {"x": "y"}})))
        .await;
    assert_eq!(patched.is(200).body["tags"], json!({"x": "y"}));
    bed.put(&network("routeTables/t"), json!({"location": "local"}))
        .await
        .is(201);
    let all = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups");
    let listed = bed.get(&all).await;
    assert_eq!(listed.is(200).body["value"].as_array().unwrap().len(), 1);

    let deleted = bed.ask("DELETE", &group, None).await;
    let location = deleted.is(202).header("location").to_owned();
    assert_eq!(deleted.header("retry-after"), "1");
    let result = location.strip_prefix("https://127.0.0.1:8443").unwrap();
    bed.get(result).await.is(204);
    let unknown = bed.ask_as("reader", "GET", result, None).await;
    assert_eq!(unknown.is(404).code(), "OperationNotFound");
    assert_eq!(
        bed.get(&group).await.is(404).code(),
        "ResourceGroupNotFound"
    );
    let again = bed.ask("DELETE", &group, None).await;
    assert_eq!(again.is(404).code(), "ResourceGroupNotFound");
    assert!(bed.api.engine.state().documents.is_empty());
    let put = bed
        .put(&network("routeTables/t"), json!({"location": "local"}))
        .await;
    assert_eq!(put.is(404).code(), "ResourceGroupNotFound");
}

#[tokio::test]
async fn the_directory_is_there_before_anything_else() {
    let bed = Bed::new();
    let ids = |told: &Value, name: &str| -> Vec<String> {
        let list = told["value"].as_array().unwrap();
        list.iter()
            .map(|one| one[name].as_str().unwrap().to_owned())
            .collect()
    };
    let subscriptions = bed.get("/subscriptions").await;
    assert_eq!(
        ids(&subscriptions.is(200).body, "subscriptionId"),
        [SUBSCRIPTION]
    );
    assert_eq!(subscriptions.body["value"][0]["state"], "Enabled");
    let tenants = bed.get("/tenants").await;
    assert_eq!(ids(&tenants.is(200).body, "tenantId"), ["tenant"]);
    let locations = bed
        .get(&format!("/subscriptions/{SUBSCRIPTION}/locations"))
        .await;
    let locations = ids(&locations.is(200).body, "name");
    for name in ["local", "westeurope", "eastus2"] {
        assert!(locations.iter().any(|known| known == name));
    }
    let network = format!("/subscriptions/{SUBSCRIPTION}/providers/microsoft.network");
    let provider = bed.get(&network).await;
    assert_eq!(provider.is(200).body["registrationState"], "Registered");
    let types = provider.body["resourceTypes"].as_array().unwrap();
    assert!(types.iter().any(|one| {
        one["resourceType"] == "virtualNetworks/subnets"
            && one["apiVersions"].as_array().unwrap().len() > 3
    }));
    bed.ask("POST", &format!("{network}/register"), None)
        .await
        .is(200);
    let other = bed.get("/subscriptions/other/resourceGroups").await;
    assert_eq!(other.is(404).code(), "SubscriptionNotFound");
}

#[tokio::test]
async fn who_may_not_does_not() {
    let bed = Bed::with_group().await;
    let path = network("virtualNetworks/V1");
    let body = vnet("10.1.0.0/16");
    for (token, status, code) in [
        ("", 401, "AuthenticationFailed"),
        ("forged", 401, "InvalidAuthenticationToken"),
        ("reader", 403, "AuthorizationFailed"),
        ("group", 403, "AuthorizationFailed"),
    ] {
        let told = bed.ask_as(token, "PUT", &path, Some(body.clone())).await;
        assert_eq!(told.is(status).code(), code, "{token}");
        let challenge = told.header("www-authenticate");
        assert_eq!(challenge.starts_with("Bearer "), status == 401);
    }
    // What does not exist is no secret, but who asks must be known.
    assert_eq!(bed.ask_as("", "GET", "/x", None).await.status, 401);
    bed.put(&path, body).await.is(201);
    bed.ask_as("reader", "GET", &path, None).await.is(200);
    bed.ask_as("group", "GET", &path, None).await.is(403);

    // Lists have what may be seen.
    let mine = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/mine");
    bed.put(&mine, json!({"location": "local"})).await.is(201);
    let table = format!("{mine}/providers/Microsoft.Network/routeTables/t");
    bed.ask_as("group", "PUT", &table, Some(json!({"location": "local"})))
        .await
        .is(201);
    let everywhere = format!("/subscriptions/{SUBSCRIPTION}/resources");
    let seen = bed.ask_as("group", "GET", &everywhere, None).await;
    assert_eq!(seen.is(200).body["value"].as_array().unwrap().len(), 1);
    let subscriptions = bed.ask_as("group", "GET", "/subscriptions", None).await;
    let subscriptions = subscriptions.is(200).body["value"].as_array().unwrap();
    assert_eq!(subscriptions.len(), 1);

    // Nor may they take hold of what is others' by referring to it.
    let subnet = network("virtualNetworks/V1/subnets/s");
    bed.put(
        &subnet,
        json!({"properties": {"addressPrefix": "10.1.0.0/24"}}),
    )
    .await
    .is(201);
    let nic = format!("{mine}/providers/Microsoft.Network/networkInterfaces/n");
    let body = json!({
        "location": "westeurope",
        "properties": {"ipConfigurations": [{
            "name": "a",
            "properties": {"subnet": {"id": subnet}, "privateIPAllocationMethod": "Dynamic"},
        }]},
    });
    let linked = bed.ask_as("group", "PUT", &nic, Some(body.clone())).await;
    assert_eq!(linked.is(403).code(), "LinkedAuthorizationFailed");
    bed.put(&nic, body).await.is(201);
    // What was linked by another may be written back.
    let shown = bed.ask_as("group", "GET", &nic, None).await.body;
    bed.ask_as("group", "PUT", &nic, Some(shown)).await.is(200);
}

#[tokio::test]
async fn requests_are_told_apart() {
    let bed = Bed::new();
    let id = "11111111-2222-4333-8444-555555555555";
    let mut one = request("root", "GET", "/subscriptions");
    for (name, value) in [
        ("x-ms-correlation-request-id", id),
        ("x-ms-client-request-id", "mine"),
        ("x-ms-return-client-request-id", "true"),
    ] {
        one.headers_mut().insert(name, value.parse().unwrap());
    }
    let told = bed.send(one).await;
    assert_eq!(told.header("x-ms-correlation-request-id"), id);
    assert_eq!(told.header("x-ms-client-request-id"), "mine");
    let first = told.header("x-ms-request-id").to_owned();
    let told = bed.get("/subscriptions").await;
    assert_ne!(told.header("x-ms-request-id"), first);
    assert!(!told.headers.contains_key("x-ms-client-request-id"));
}

#[tokio::test]
async fn gateways_and_connections_are_long_operations() {
    let bed = Bed::with_group().await;
    let subnet =
        |name: &str, prefix: &str| json!({"name": name, "properties": {"addressPrefix": prefix}});
    bed.put(
        &network("virtualNetworks/V1"),
        json!({"location": "westeurope", "properties": {
            "addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
            "subnets": [subnet("GatewaySubnet", "10.1.255.0/27"), subnet("s", "10.1.0.0/24")],
        }}),
    )
    .await
    .is(201);
    bed.put(
        &network("publicIPAddresses/ip"),
        json!({"location": "westeurope", "sku": {"name": "Standard"}, "properties": {
            "publicIPAllocationMethod": "Static", "ipAddress": "192.0.2.1",
        }}),
    )
    .await
    .is(201);
    let gateway = network("virtualNetworkGateways/gw");
    let body = json!({"location": "westeurope", "properties": {
        "gatewayType": "Vpn", "vpnType": "RouteBased", "sku": {"name": "VpnGw1", "tier": "VpnGw1"},
        "ipConfigurations": [{"name": "c", "properties": {
            "subnet": {"id": network("virtualNetworks/V1/subnets/GatewaySubnet")},
            "publicIPAddress": {"id": network("publicIPAddresses/ip")},
        }}],
    }});
    let made = bed.put(&gateway, body).await;
    let operation = made.is(201).header("azure-asyncoperation").to_owned();
    let operation = operation.strip_prefix("https://127.0.0.1:8443").unwrap();
    let state = bed.get(operation).await;
    assert_eq!(state.is(200).body["status"], "Succeeded");
    assert_eq!(
        bed.get(&gateway).await.body["properties"]["provisioningState"],
        "Succeeded"
    );
    let site = network("localNetworkGateways/lng");
    bed.put(
        &site,
        json!({"location": "westeurope", "properties": {
            "gatewayIpAddress": "192.0.2.99",
            "localNetworkAddressSpace": {"addressPrefixes": ["10.9.0.0/16"]},
        }}),
    )
    .await
    .is(201);
    let connection = network("connections/c");
    let body = json!({"location": "westeurope", "properties": {
        "connectionType": "IPsec", "sharedKey": "Abc123",
        "virtualNetworkGateway1": {"id": gateway}, "localNetworkGateway2": {"id": site},
    }});
    let made = bed.put(&connection, body).await;
    assert!(made.is(201).body["properties"].get("sharedKey").is_none());
    let key = format!("{connection}/sharedkey");
    assert_eq!(bed.get(&key).await.is(200).body["value"], "Abc123");
    bed.ask_as("reader", "GET", &key, None).await.is(403);
    let set = bed.put(&key, json!({"value": "Other1"})).await;
    assert_eq!(set.is(200).body["value"], "Other1");
    bed.put(&key, json!({"value": "not allowed"})).await.is(400);
    bed.put(&key, json!({"value": 7})).await.is(400);
    let reset = bed
        .ask(
            "POST",
            &format!("{key}/reset"),
            Some(json!({"keyLength": 64})),
        )
        .await;
    assert_eq!(reset.is(200).body, json!({"keyLength": 64}));
    let value = bed.get(&key).await.body["value"].as_str().unwrap().len();
    assert_eq!(value, 64);
    bed.ask(
        "POST",
        &format!("{key}/reset"),
        Some(json!({"keyLength": 129})),
    )
    .await
    .is(400);
    let own = bed.get(&format!("{gateway}/connections")).await;
    assert_eq!(own.is(200).body["value"][0]["name"], "c");
    let routes = bed
        .ask("POST", &format!("{gateway}/getLearnedRoutes"), None)
        .await;
    assert_eq!(routes.is(200).body, json!({"value": []}));
    // Nobody answers for the tunnels here.
    bed.ask("POST", &format!("{connection}/getikesas"), None)
        .await
        .is(503);
}

#[tokio::test]
async fn a_nic_has_effective_routes_and_groups() {
    let bed = Bed::with_group().await;
    bed.put(&network("virtualNetworks/V1"), vnet("10.1.0.0/16"))
        .await
        .is(201);
    let subnet = network("virtualNetworks/V1/subnets/s");
    bed.put(
        &subnet,
        json!({"properties": {"addressPrefix": "10.1.0.0/24"}}),
    )
    .await
    .is(201);
    let nic = network("networkInterfaces/n");
    bed.put(
        &nic,
        json!({"location": "westeurope", "properties": {"ipConfigurations": [
            {"name": "a", "properties": {"subnet": {"id": subnet}}},
        ]}}),
    )
    .await
    .is(201);
    let routes = bed
        .ask("POST", &format!("{nic}/effectiveRouteTable"), None)
        .await;
    let first = &routes.is(200).body["value"][0];
    assert_eq!(first["nextHopType"], "VnetLocal");
    assert_eq!(first["addressPrefix"], json!(["10.1.0.0/16"]));
    let missing = network("networkInterfaces/x/effectiveRouteTable");
    let missing = bed.ask("POST", &missing, None).await;
    assert_eq!(missing.is(404).code(), "ResourceNotFound");
    bed.get(&format!("{nic}/effectiveRouteTable")).await.is(405);
    let action = format!("{nic}/effectiveNetworkSecurityGroups");
    let groups = bed.ask("POST", &action, None).await;
    assert_eq!(groups.is(200).body, json!({"value": []}));
    bed.get(&action).await.is(405);
    let missing = network("networkInterfaces/x/effectiveNetworkSecurityGroups");
    bed.ask("POST", &missing, None).await.is(404);
}
