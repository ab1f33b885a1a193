//! What is malformed, oversized, nested, of the wrong type, or a trick: an error in ARM's envelope,
//! and nothing changed.

use axum::body::Body;
use serde_json::{Value, json};

use super::{Access, Bed, Peer, SUBSCRIPTION, Told, Who, network, request, vnet};

#[track_caller]
fn in_envelope(told: &Told, what: &str) {
    assert!((400..500).contains(&told.status), "{what}: {}", told.status);
    assert!(!told.code().is_empty(), "{what}: {}", told.body);
    let message = told.body["error"]["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{what}");
    assert!(told.headers.contains_key("x-ms-request-id"));
}

#[tokio::test]
async fn bad_bodies_change_nothing() {
    let bed = Bed::with_group().await;
    let path = network("virtualNetworks/V1");
    let before = bed
        .put(&path, vnet("10.1.0.0/16"))
        .await
        .is(201)
        .body
        .clone();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!(
        "{{\"location\":\"local\",\"properties\":{{\"x\":{}1{}}}}}",
        "{\"a\":".repeat(70),
        "}".repeat(70)
    );
    let large = format!("{{\"location\":\"{}\"}}", "x".repeat(5 << 20));
    for (what, kind, body, status) in [
        ("nothing", "application/json", String::new(), 400),
        ("no JSON", "application/json", "{".to_owned(), 400),
        ("a list", "application/json", "[]".to_owned(), 400),
        ("a number", "application/json", "7".to_owned(), 400),
        ("a text", "application/json", "\"x\"".to_owned(), 400),
        ("two", "application/json", "{}{}".to_owned(), 400),
        ("deep", "application/json", deep, 400),
        ("nested", "application/json", nested, 400),
        ("large", "application/json", large, 413),
        ("XML", "application/xml", "<a/>".to_owned(), 415),
        (
            "a form",
            "application/x-www-form-urlencoded",
            "a=b".to_owned(),
            415,
        ),
        ("no type", "", vnet("10.1.0.0/16").to_string(), 415),
    ] {
        let mut one = request("root", "PUT", &path);
        *one.body_mut() = Body::from(body);
        if !kind.is_empty() {
            one.headers_mut()
                .insert("content-type", kind.parse().unwrap());
        }
        let told = bed.send(one).await;
        assert_eq!(told.status, status, "{what}");
        in_envelope(&told, what);
        assert_eq!(bed.get(&path).await.body, before, "{what}");
    }
}

#[tokio::test]
async fn wrong_types_change_nothing() {
    let bed = Bed::with_group().await;
    let path = network("virtualNetworks/V1");
    let good = vnet("10.1.0.0/16");
    let before = bed.put(&path, good.clone()).await.is(201).body.clone();
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        let mut at = &mut body;
        for name in pointer.split('/') {
            at = &mut at[name];
        }
        *at = value;
        body
    };
    for body in [
        with("location", json!(7)),
        with("tags", json!("x")),
        with("tags", json!({"a": 7})),
        with("tags", json!(["a"])),
        with("properties", json!([])),
        with("properties", json!("x")),
        with("properties/addressSpace", json!([])),
        with(
            "properties/addressSpace",
            json!({"addressPrefixes": "10.0.0.0/8"}),
        ),
        with("properties/addressSpace", json!({"addressPrefixes": [7]})),
        with(
            "properties/addressSpace",
            json!({"addressPrefixes": ["10.0.0.0/33"]}),
        ),
        with(
            "properties/addressSpace",
            json!({"addressPrefixes": ["10.0.0.1/8"]}),
        ),
        with("properties/subnets", json!({})),
        with("properties/subnets", json!([7])),
        with("properties/subnets", json!([{"name": 7}])),
        with(
            "properties/subnets",
            json!([{"name": "../x", "properties": {"addressPrefix": "10.1.0.0/24"}}]),
        ),
        with("properties/virtualNetworkPeerings", json!("x")),
    ] {
        let told = bed.put(&path, body.clone()).await;
        in_envelope(&told, &body.to_string());
        assert_eq!(bed.get(&path).await.body, before, "{body}");
    }
    for body in [
        json!({"tags": 7}),
        json!({"tags": {"a": []}}),
        json!({"properties": {}}),
    ] {
        let told = bed.ask("PATCH", &path, Some(body.clone())).await;
        in_envelope(&told, &body.to_string());
    }
    assert_eq!(bed.get(&path).await.body, before);
}

#[tokio::test]
async fn paths_with_tricks_lead_nowhere() {
    let bed = Bed::with_group().await;
    let groups = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups");
    let before = bed.api.engine.state();
    for path in [
        "/",
        "/..",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/subscriptions/%00",
        "/subscriptions/a%2fb",
        "/subscriptions/a%5cb",
        "/subscriptions/%ff",
        "/subscriptions/%zz",
        &format!("{groups}/.."),
        &format!("{groups}/a%2f..%2fb"),
        &format!("{groups}/%20"),
        &format!("{groups}/rg/providers/Microsoft.Network/virtualNetworks/%2e%2e"),
        &format!("{groups}/rg/providers/Microsoft.Network/virtualNetworks/a%20b"),
        &format!("{groups}/rg/providers/Microsoft.Network/virtualNetworks/V1/x/y"),
        &format!("{groups}/rg/providers/Microsoft.Network/nothings/a"),
        &format!("{groups}/rg/providers/Microsoft.Compute/virtualMachines/a"),
        &format!("{groups}/rg/providers"),
        &format!("{groups}/{}", "a".repeat(91)),
        &format!("/{}", "a/".repeat(60)),
    ] {
        for method in [
            "GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "X",
        ] {
            let body = matches!(method, "PUT" | "POST" | "PATCH").then(|| vnet("10.1.0.0/16"));
            let told = bed.ask(method, path, body).await;
            in_envelope(&told, &format!("{method} {path}"));
        }
    }
    let after = bed.api.engine.state();
    assert!(before.documents.ptr_eq(&after.documents));
    assert!(std::sync::Arc::ptr_eq(&before.groups, &after.groups));
}

#[tokio::test]
async fn what_else_can_be_wrong_is_told_in_the_envelope_too() {
    let bed = Bed::with_group().await;
    let path = network("virtualNetworks/V1");
    let told = bed
        .send(request("root", "GET", &format!("{path}?api-version=")))
        .await;
    assert_eq!(told.is(400).code(), "MissingApiVersionParameter");
    let told = bed.ask("POST", &path, Some(json!({}))).await;
    assert_eq!(told.is(405).code(), "MethodNotAllowed");
    assert!(told.header("allow").contains("PUT"));
    let mut one = request("root", "GET", &path);
    one.headers_mut().insert("host", "a/b".parse().unwrap());
    assert_eq!(bed.send(one).await.is(400).code(), "InvalidHeaderValue");
    let mut one = request("", "GET", &path);
    one.headers_mut()
        .insert("authorization", "Basic cm9vdDpyb290".parse().unwrap());
    bed.send(one).await.is(401);
    // A defect takes one answer with it, and no more.
    let told = bed.ask_as("panic", "GET", &path, None).await;
    assert_eq!(told.is(500).code(), "InternalServerError");
    bed.get("/subscriptions").await.is(200);
}

#[tokio::test]
async fn routes_beside_the_resources_are_for_whom_they_are() {
    let bed = Bed::new();
    let told = bed.ask_as("", "GET", "/open", None).await;
    told.is(200);
    let told = bed.ask_as("", "PUT", "/open", None).await;
    assert_eq!(told.is(405).code(), "MethodNotAllowed");
    // Root over the network is not root of this host.
    let told = bed.ask_as("root", "GET", "/vnet-gw/principals", None).await;
    assert_eq!(told.is(403).code(), "AuthorizationFailed");
    for (access, status) in [(Access::everything(), 200), (Access::looking(), 403)] {
        let mut one = request("", "GET", "/vnet-gw/principals");
        one.extensions_mut().insert(Peer::Local(Who::File, access));
        bed.send(one).await.is(status);
    }
}
