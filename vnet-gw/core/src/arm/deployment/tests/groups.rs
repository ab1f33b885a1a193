//! Modes, groups, children, and what is refused.

use super::*;

#[test]
fn complete_removes_what_the_template_lacks_in_its_group_alone() {
    let first = json!([
        vnet("vn", "10.0.0.0/16", "10.0.1.0/24"),
        vnet("wn", "10.1.0.0/16", "10.1.1.0/24"),
    ]);
    let state = submit(&groups(), &deploy(&groups(), first, json!({})).unwrap());
    let template = json!({"resources": [vnet("wn", "10.1.0.0/16", "10.1.1.0/24")]});
    let group = GroupId::new(SUBSCRIPTION, "rg").unwrap();
    for (mode, left, kind) in [
        (Mode::Incremental, 2, "Ignore"),
        (Mode::Complete, 1, "Delete"),
    ] {
        let done = deploy_with(&state, &template, &json!({}), mode).unwrap();
        let told = what_if(
            &state,
            &done,
            Some(&group),
            ResultFormat::FullResourcePayloads,
        );
        let mut kinds: Vec<&str> = told
            .iter()
            .map(|one| one["changeType"].as_str().unwrap())
            .collect();
        kinds.sort_unstable();
        let mut expected = ["NoChange", kind];
        expected.sort_unstable();
        assert_eq!(kinds, expected);
        assert_eq!(submit(&state, &done).documents.len(), left);
    }
    // What takes the place of what goes may have its addresses.
    let template = json!({"resources": [vnet("xn", "10.0.0.0/16", "10.0.1.0/24")]});
    let done = deploy_with(&state, &template, &json!({}), Mode::Complete).unwrap();
    assert_eq!(submit(&state, &done).documents.len(), 1);
}

#[test]
fn an_inline_list_and_children_of_their_own_say_both() {
    // As exports of Azure do: an empty list inline, and the subnets as resources.
    let resources = json!([
        resource(
            "virtualNetworks",
            "vn",
            json!({
            "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": []})
        ),
        resource(
            "virtualNetworks/subnets",
            "vn/a",
            json!({"addressPrefix": "10.0.1.0/24"})
        ),
        resource(
            "virtualNetworks/subnets",
            "vn/b",
            json!({"addressPrefix": "10.0.2.0/24"})
        ),
        resource(
            "networkInterfaces",
            "n",
            json!({"ipConfigurations": [{"name": "c", "properties": {
            "privateIPAddress": "[cidrHost(reference(resourceId('Microsoft.Network/virtualNetworks/subnets', 'vn', 'b')).addressPrefix, 8)]",
            "subnet": {"id": "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'vn', 'b')]"}}}]})
        ),
    ]);
    let done =
        deploy(&groups(), resources.clone(), json!({})).unwrap_or_else(|error| panic!("{error}"));
    let state = submit(&groups(), &done);
    assert_eq!(
        shown(&state, "virtualNetworks/vn").unwrap()["properties"]["subnets"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let again = deploy(&state, resources, json!({})).unwrap_or_else(|error| panic!("{error}"));
    changes_nothing(&state, &again);
}

#[test]
fn a_deployment_to_a_subscription_makes_groups_and_deploys_into_them() {
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
        "resources": [
            {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01", "name": "new",
             "location": "North Europe", "tags": {"a": "b"}},
            {"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "d",
             "resourceGroup": "new",
             "dependsOn": ["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'new')]"],
             "properties": {"mode": "Incremental", "template": {"resources": [
                resource("routeTables", "t", json!({}))]}}},
        ],
        "outputs": {"id": {"type": "string", "value": "[subscription().subscriptionId]"}},
    });
    let request = Request {
        template: &template,
        parameters: &Value::Null,
        options: DeployOptions {
            resource_group: String::new(),
            ..options()
        },
        mode: Mode::Incremental,
        origin: Origin::Api,
        may_read: &|_| true,
    };
    let done = execute(&request, &groups(), &mut Counting::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let state = submit(&groups(), &done);
    let group = GroupId::new(SUBSCRIPTION, "new").unwrap();
    assert_eq!(state.groups[&group].location, "northeurope");
    assert_eq!(state.documents.len(), 1);
    assert!(group.contains(state.documents.keys().next().unwrap()));
    assert_eq!(done.outputs["id"]["value"], SUBSCRIPTION);
}

#[test]
fn what_does_not_hold_changes_nothing_and_says_why() {
    let table = resource("routeTables", "t", json!({}));
    let parameters = |value: Value| {
        deploy_with(
            &groups(),
            &json!({"resources": []}),
            &value,
            Mode::Incremental,
        )
        .unwrap_err()
    };
    assert_eq!(
        parameters(json!({"a": {"value": 1}})).code,
        "InvalidTemplate"
    );
    assert_eq!(
        parameters(json!({"a": 1})).code,
        "InvalidDeploymentParameters"
    );
    assert_eq!(
        parameters(json!({"a": {"reference": {}}})).code,
        "InvalidDeploymentParameters"
    );
    for (template, code) in [
        (json!([]), "InvalidTemplate"),
        (json!({}), "InvalidTemplate"),
        (json!({"resources": [table, table]}), "InvalidTemplate"),
        (
            json!({"resources": [{"type": "Microsoft.Storage/storageAccounts", "name": "s"}]}),
            "InvalidResourceNamespace",
        ),
        (
            json!({"resources": [{"type": "Microsoft.Network/firewalls", "name": "s"}]}),
            "InvalidResourceType",
        ),
        (
            json!({"resources": [{"type": "Microsoft.Network/routeTables", "name": "a b"}]}),
            "InvalidResourceName",
        ),
        (
            json!({"resources": [{"type": "Microsoft.Network/routeTables", "name": "a", "scope": "/x"}]}),
            "NotSupported",
        ),
        (
            json!({"resources": [], "outputs": {"o": {"type": "int", "value": "x"}}}),
            "InvalidTemplate",
        ),
        (
            json!({"resources": [], "outputs": {"o": {"value": "x"}}}),
            "InvalidTemplate",
        ),
        (
            json!({"resources": [resource("virtualNetworks/subnets", "vn/a", json!({"addressPrefix": "10.0.0.0/24"}))]}),
            "ParentResourceNotFound",
        ),
    ] {
        let error = deploy_with(&groups(), &template, &Value::Null, Mode::Incremental).unwrap_err();
        assert_eq!(error.code, code, "{template}: {error}");
    }
    assert!(Mode::parse("other").is_err());
    assert_eq!(Mode::parse("complete").unwrap(), Mode::Complete);
    let elsewhere = Request {
        template: &json!({"resources": []}),
        parameters: &Value::Null,
        options: DeployOptions {
            resource_group: "nowhere".to_owned(),
            ..options()
        },
        mode: Mode::Incremental,
        origin: Origin::Api,
        may_read: &|_| true,
    };
    let error = execute(&elsewhere, &groups(), &mut Counting::default()).unwrap_err();
    assert_eq!(error.code, "ResourceGroupNotFound");
}

#[test]
fn hostile_templates_end() {
    let nested_copy = json!({
        "type": "Microsoft.Resources/deployments", "name": "[concat('d', string(copyIndex()))]",
        "copy": {"name": "c", "count": 1_000_000},
        "properties": {"mode": "Incremental", "template": {"resources": []}},
    });
    let mut routes = resource("routeTables", "t", json!({}));
    routes["properties"] =
        json!({"copy": [{"name": "routes", "count": 2_000_000, "input": "[range(0, 10000)]"}]});
    for resources in [json!([nested_copy]), json!([routes])] {
        assert!(deploy(&groups(), resources, json!({})).is_err());
    }
    // A long chain of references is followed, round by round.
    let mut chain = vec![vnet("v0", "10.0.0.0/16", "10.0.1.0/24")];
    for n in 1..20 {
        let mut one = resource("routeTables", &format!("v{n}"), json!({}));
        one["tags"] = json!({"t": format!("[reference('v{}', '1', 'Full').name]", n - 1)});
        chain.insert(0, one);
    }
    let done = deploy(&groups(), json!(chain), json!({})).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(done.resources.len(), 20);
}
