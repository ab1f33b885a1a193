//! The template functions; values are those of Azure's reference where it gives any.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, DeployOptions, template_resources};

fn evaluate_in(mut template: Value, expression: &str) -> Result<Value, ArmError> {
    template["resources"] = json!([{
        "type": "A.B/c", "name": "n", "properties": {"value": format!("[{expression}]")},
    }]);
    let options = DeployOptions {
        location: "westeurope".to_owned(),
        now: Some(UNIX_EPOCH + Duration::from_secs(1_709_220_903)),
        random: Some([7; 16]),
        most_work: DeployOptions::REQUEST_WORK,
        ..DeployOptions::default()
    };
    let mut resources = template_resources(&template.to_string(), &options)?;
    Ok(resources[0].body["properties"]["value"].take())
}

fn evaluate(expression: &str) -> Result<Value, ArmError> {
    evaluate_in(json!({}), expression)
}

#[track_caller]
fn all(cases: &[(&str, Value)]) {
    for (expression, expected) in cases {
        let found = evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(found, *expected, "{expression}");
    }
}

#[test]
fn texts() {
    all(&[
        ("base64('one, two, three')", json!("b25lLCB0d28sIHRocmVl")),
        (
            "base64ToString('b25lLCB0d28sIHRocmVl')",
            json!("one, two, three"),
        ),
        (
            "base64ToJson(base64('{\"one\": \"a\", \"two\": \"b\"}')).two",
            json!("b"),
        ),
        (
            "dataUri('Hello')",
            json!("data:text/plain;charset=utf8;base64,SGVsbG8="),
        ),
        (
            "dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')",
            json!("Hello, World!"),
        ),
        ("indexOf('test', 't')", json!(0)),
        ("indexOf('abcdef', 'CD')", json!(2)),
        ("indexOf('abcdef', 'z')", json!(-1)),
        ("lastIndexOf('test', 't')", json!(3)),
        ("skip('one two three', 4)", json!("two three")),
        ("take('one two three', 3)", json!("one")),
        ("take('ab', -1)", json!("")),
        (
            "split('one,two;three', createArray(',', ';'))",
            json!(["one", "two", "three"]),
        ),
        (
            "uri('http://contoso.org/firstpath/', 'myscript.sh')",
            json!("http://contoso.org/firstpath/myscript.sh"),
        ),
        (
            "uri('http://contoso.org/firstpath/azuredeploy.json', 'myscript.sh')",
            json!("http://contoso.org/firstpath/myscript.sh"),
        ),
        (
            "uri('http://contoso.org/firstpath/azuredeploy.json', '/myscript.sh')",
            json!("http://contoso.org/myscript.sh"),
        ),
        (
            "uri('http://contoso.org', 'a')",
            json!("http://contoso.org/a"),
        ),
        (
            "uriComponent('http://contoso.com/resources/nested/azuredeploy.json')",
            json!("http%3A%2F%2Fcontoso.com%2Fresources%2Fnested%2Fazuredeploy.json"),
        ),
        (
            "uriComponentToString('http%3A%2F%2Fcontoso.com')",
            json!("http://contoso.com"),
        ),
    ]);
}

#[test]
fn hashes_are_azures() {
    all(&[
        ("uniqueString('tyeth')", json!("zcztcwvu6iyg6")),
        ("uniqueString('hello', 'world')", json!("a7wkljktk6wne")),
        ("uniqueString('hello-world')", json!("a7wkljktk6wne")),
        ("equals(guid('a', 'b'), guid('a-b'))", json!(true)),
        ("equals(length(guid('a')), 36)", json!(true)),
    ]);
}

#[test]
fn numbers_and_comparisons() {
    all(&[
        ("float('1.5')", json!(1.5)),
        ("range(5, 3)", json!([5, 6, 7])),
        ("min(createArray(0, 3, 2))", json!(0)),
        ("bool(0)", json!(false)),
        ("lessOrEquals('A', 'a')", json!(true)),
    ]);
}

#[test]
fn arrays_and_objects() {
    all(&[
        (
            "skip(createArray('one', 'two', 'three'), 2)",
            json!(["three"]),
        ),
        (
            "take(createArray('one', 'two', 'three'), 2)",
            json!(["one", "two"]),
        ),
        (
            "union(createArray('a', 'b'), createArray('b', 'c'))",
            json!(["a", "b", "c"]),
        ),
        (
            "union(json('{\"one\": 1, \"in\": {\"x\": 1}}'), json('{\"ONE\": 2, \"in\": {\"y\": 2}}'))",
            json!({"one": 2, "in": {"x": 1, "y": 2}}),
        ),
        (
            "intersection(createArray(1, 2, 3), createArray(3, 2))",
            json!([2, 3]),
        ),
        (
            "intersection(json('{\"a\": 1, \"b\": 2}'), json('{\"a\": 1, \"b\": 3}'))",
            json!({"a": 1}),
        ),
        (
            "items(json('{\"b\": 1, \"a\": 2}'))",
            json!([{"key": "a", "value": 2}, {"key": "b", "value": 1}]),
        ),
        (
            "objectKeys(json('{\"b\": 1, \"a\": 2}'))",
            json!(["b", "a"]),
        ),
        (
            "tryGet(json('{\"a\": [1, {\"b\": 2}]}'), 'A', 1, 'b')",
            json!(2),
        ),
        ("tryGet(json('{}'), 'a', 'b')", json!(null)),
        ("indexFromEnd(createArray('a', 'b', 'c'), 1)", json!("c")),
        ("tryIndexFromEnd(createArray('a'), 2)", json!(null)),
        ("indexOf(createArray('a', 'b'), 'b')", json!(1)),
        (
            "flatten(createArray(createArray(1), createArray(2, 3)))",
            json!([1, 2, 3]),
        ),
        (
            "shallowMerge(createArray(createObject('a', 1), createObject('a', 2)))",
            json!({"a": 2}),
        ),
    ]);
}

#[test]
fn lambdas() {
    const DOGS: &str = "createArray(createObject('name', 'Evie', 'age', 5), \
        createObject('name', 'Casper', 'age', 3), createObject('name', 'Indy', 'age', 2))";
    for (expression, expected) in [
        (
            "map(D, lambda('d', lambdaVariables('d').name))",
            json!(["Evie", "Casper", "Indy"]),
        ),
        (
            "map(D, lambda('d', 'i', add(lambdaVariables('i'), lambdaVariables('d').age)))",
            json!([5, 4, 4]),
        ),
        (
            "map(filter(D, lambda('d', less(lambdaVariables('d').age, 4))), lambda('d', lambdaVariables('d').name))",
            json!(["Casper", "Indy"]),
        ),
        (
            "reduce(D, 0, lambda('sum', 'd', add(lambdaVariables('sum'), lambdaVariables('d').age)))",
            json!(10),
        ),
        (
            "map(sort(D, lambda('a', 'b', less(lambdaVariables('a').age, lambdaVariables('b').age))), lambda('d', lambdaVariables('d').age))",
            json!([2, 3, 5]),
        ),
        (
            "toObject(D, lambda('d', lambdaVariables('d').name), lambda('d', lambdaVariables('d').age))",
            json!({"Evie": 5, "Casper": 3, "Indy": 2}),
        ),
        (
            "groupBy(createArray('ab', 'b', 'ac'), lambda('t', first(lambdaVariables('t'))))",
            json!({"a": ["ab", "ac"], "b": ["b"]}),
        ),
        (
            "mapValues(createObject('a', 1), lambda('v', mul(lambdaVariables('v'), 2)))",
            json!({"a": 2}),
        ),
    ] {
        let expression = expression.replace('D', DOGS);
        assert_eq!(evaluate(&expression).unwrap(), expected, "{expression}");
    }
    for (expression, message) in [
        ("lambdaVariables('x')", "not inside a lambda"),
        ("lambda('x', 1)", "stands only where"),
        ("map(createArray(1), 1)", "a collection and a lambda()"),
        ("filter(createArray(1), lambda('x', 1))", "true or false"),
    ] {
        let error = evaluate(expression).expect_err(expression);
        assert!(error.message.contains(message), "{expression}: {error}");
    }
}

#[test]
fn networks() {
    all(&[
        ("cidrSubnet('10.144.0.0/20', 24, 0)", json!("10.144.0.0/24")),
        ("cidrHost('10.144.3.0/24', 0)", json!("10.144.3.1")),
        (
            "parseCidr('10.144.0.0/20')",
            json!({
                "network": "10.144.0.0", "netmask": "255.255.240.0", "broadcast": "10.144.15.255",
                "firstUsable": "10.144.0.1", "lastUsable": "10.144.15.254", "cidr": 20,
            }),
        ),
        (
            "parseCidr('fdad:3236:5555::/48')",
            json!({
                "network": "fdad:3236:5555::", "netmask": "ffff:ffff:ffff::",
                "firstUsable": "fdad:3236:5555::",
                "lastUsable": "fdad:3236:5555:ffff:ffff:ffff:ffff:ffff", "cidr": 48,
            }),
        ),
    ]);
}

#[test]
fn ids_and_places() {
    const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000000";
    all(&[
        (
            "subscriptionResourceId('A.B/locks', 'x')",
            json!(format!("{SUBSCRIPTION}/providers/A.B/locks/x")),
        ),
        (
            "extensionResourceId(resourceId('A.B/c', 'n'), 'D.E/f', 'x')",
            json!(format!(
                "{SUBSCRIPTION}/resourceGroups/vnet-gw/providers/A.B/c/n/providers/D.E/f/x"
            )),
        ),
        (
            "tenantResourceId('A.B/c', 'n')",
            json!("/providers/A.B/c/n"),
        ),
        ("deployment().name", json!("vnet-gw")),
        (
            "tenant().tenantId",
            json!("00000000-0000-0000-0000-000000000000"),
        ),
        ("environment().name", json!("vnet-gw")),
        ("resourceGroup().location", json!("westeurope")),
    ]);
    for function in [
        "listKeys('a', 'b')",
        "listAccountSas('a')",
        "providers('a')",
        "pickZones('a', 'b')",
        "managementGroup()",
    ] {
        assert_eq!(
            evaluate(function).expect_err(function).code,
            "InvalidTemplate"
        );
    }
    let error = evaluate("listKeys('a', 'b')").unwrap_err();
    assert!(error.message.contains("listKeys() is refused"), "{error}");
}

#[test]
fn time_and_randomness_are_only_in_defaults() {
    let with = |default: &str| {
        let template = json!({"parameters": {"p": {"type": "string", "defaultValue": default}}});
        evaluate_in(template, "parameters('p')")
    };
    assert_eq!(with("[utcNow()]").unwrap(), "20240229T153503Z");
    assert_eq!(with("[utcNow('d')]").unwrap(), "2/29/2024");
    assert_eq!(with("[utcNow('yyyy-MM')]").unwrap(), "2024-02");
    let guid = with("[newGuid()]").unwrap();
    let guid = guid.as_str().expect("a text");
    assert!(guid.len() == 36 && guid.as_bytes()[14] == b'4', "{guid}");
    for expression in ["utcNow()", "newGuid()", "concat(utcNow())"] {
        let error = evaluate(expression).expect_err(expression);
        assert!(error.message.contains("defaultValue"), "{error}");
    }
}

#[test]
fn a_template_has_functions_and_types_of_its_own() {
    let template = json!({
        "parameters": {"size": {"$ref": "#/definitions/small"}},
        "definitions": {"small": {"type": "int"}},
        "functions": [{"namespace": "contoso", "members": {
            "name": {
                "parameters": [{"name": "prefix", "type": "string"}],
                "output": {"type": "string", "value": "[concat(toLower(parameters('prefix')), '-x')]"},
            },
            "again": {
                "parameters": [{"name": "n", "type": "int"}],
                "output": {"type": "int", "value": "[contoso.again(parameters('n'))]"},
            },
            "lost": {"output": {"type": "string", "value": "[variables('v')]"}},
        }}],
        "variables": {"v": 1},
    });
    assert_eq!(
        evaluate_in(template.clone(), "Contoso.Name('AB')").unwrap(),
        "ab-x"
    );
    for (expression, message) in [
        ("contoso.again(1)", "deep"),
        ("contoso.lost()", "no variables"),
        ("contoso.name()", "takes 1 argument(s)"),
        ("contoso.other()", "'contoso.other' is not supported"),
    ] {
        let error = evaluate_in(template.clone(), expression).expect_err(expression);
        assert!(error.message.contains(message), "{expression}: {error}");
    }
}

#[test]
fn no_template_makes_more_than_it_may() {
    // Each variable says the one before it twice.
    let mut variables = serde_json::Map::new();
    variables.insert("v0".to_owned(), json!("x".repeat(2_000)));
    for n in 1..40 {
        let before = format!("variables('v{}')", n - 1);
        variables.insert(
            format!("v{n}"),
            json!(format!("[createArray({before}, {before})]")),
        );
    }
    let mut functions = serde_json::Map::new();
    functions.insert(
        "f0".to_owned(),
        json!({"output": {"type": "int", "value": 1}}),
    );
    for n in 1..15 {
        let call = format!("[add(a.f{}(), a.f{}())]", n - 1, n - 1);
        let call = call.replace(
            "a.f0()",
            "length(map(range(0, 9999), lambda('x', range(0, 9999))))",
        );
        functions.insert(
            format!("f{n}"),
            json!({"output": {"type": "int", "value": call}}),
        );
    }
    let template =
        json!({"variables": variables, "functions": [{"namespace": "a", "members": functions}]});
    for expression in [
        "variables('v39')",
        "a.f14()",
        "replace(variables('v0'), 'x', variables('v0'))",
        "join(range(0, 10000), variables('v0'))",
        "reduce(range(0, 10000), 'x', lambda('a', 'b', concat(lambdaVariables('a'), lambdaVariables('a'))))",
    ] {
        let result = evaluate_in(template.clone(), expression).map(|_| ());
        let error = result.expect_err(expression);
        assert_eq!(error.code, "InvalidTemplate");
    }
}
