//! What is evaluated before there are resources: expressions, parameters, conditions, loops.

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, DeployOptions, ResourceId, Topology, parse_template};

use crate::support::{GROUP, resource, vnet, with};

fn deploy(template: &Value, parameters: &Value) -> Result<Topology, ArmError> {
    let options = DeployOptions {
        location: "westeurope".to_owned(),
        parameters: parameters.as_object().expect("parameters").clone(),
        ..DeployOptions::default()
    };
    parse_template(&template.to_string(), &options)
}

/// What an expression gives: it is made the value of a tag.
fn evaluate(expression: &str) -> Result<String, ArmError> {
    let network = with(
        vnet("VNet1", &["10.1.0.0/16"], &[], &[]),
        "/tags",
        json!({"t": expression}),
    );
    let template = json!({
        "parameters": {
            "name": {"type": "string", "defaultValue": "VNet1"},
            "count": {"type": "int"},
            "absent": {"type": "string"},
            "derived": {"type": "string", "defaultValue": "[concat(parameters('name'), '-x')]"},
            "object": {"type": "object", "defaultValue": {"A": [{"b": "deep"}], "n": null}},
        },
        "variables": {
            "one": "[toLower(parameters('name'))]",
            "list": ["[variables('one')]", "b"],
            "loop1": "[variables('loop2')]",
            "loop2": "[variables('Loop1')]",
            "copy": [
                {"name": "squares", "count": 4, "input": "[mul(copyIndex('squares'), copyIndex('squares'))]"},
                {"name": "brackets", "count": 1, "input": "[concat('[', 'x]')]"},
            ],
        },
        "resources": [network],
    });
    let topology = deploy(&template, &json!({"COUNT": 3}))?;
    let network = topology
        .virtual_networks
        .values()
        .next()
        .expect("a network");
    Ok(network.tags["t"].clone())
}

#[test]
fn expressions_have_values() {
    for (expression, value) in [
        ("plain", "plain"),
        ("[[escaped]", "[escaped]"),
        ("[not closed", "[not closed"),
        ("['it''s']", "it's"),
        ("[parameters('name')]", "VNet1"),
        ("[ PARAMETERS( 'NAME' ) ]", "VNet1"),
        ("[parameters('count')]", "3"),
        ("[parameters('derived')]", "VNet1-x"),
        ("[parameters('object').a[0].B]", "deep"),
        ("[parameters('object')['a'][0]['b']]", "deep"),
        ("[variables('list')[sub(1, 1)]]", "vnet1"),
        ("[variables('squares')[3]]", "9"),
        ("[variables('brackets')[0]]", "[x]"),
        ("[concat('a', 1, true())]", "a1True"),
        ("[concat(createArray('a'), createArray('b'))[1]]", "b"),
        ("[format('{0}-{1:D3}-{{{2}}}', 'a', 7, 'b')]", "a-007-{b}"),
        ("[format('{0,4}|{0,-4}|{1:X2}', 'a', 10)]", "   a|a   |0A"),
        ("[toUpper('a')]", "A"),
        ("[resourceGroup().name]", "vnet-gw"),
        ("[resourceGroup().location]", "westeurope"),
        ("[resourceGroup().id]", GROUP),
        (
            "[subscription().subscriptionId]",
            "00000000-0000-0000-0000-000000000000",
        ),
        (
            "[subscription().id]",
            "/subscriptions/00000000-0000-0000-0000-000000000000",
        ),
        (
            "[resourceId('Microsoft.Network/routeTables', 'T')]",
            &format!("{GROUP}/providers/Microsoft.Network/routeTables/T"),
        ),
        (
            "[resourceId('g', 'A.B/c', 'T')]",
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/A.B/c/T",
        ),
        (
            "[resourceId('s', 'g', 'A.B/c/d', 'T', 'U')]",
            "/subscriptions/s/resourceGroups/g/providers/A.B/c/T/d/U",
        ),
        (
            "[if(equals(parameters('count'), 3), 'yes', parameters('absent'))]",
            "yes",
        ),
        (
            "[if(and(false(), parameters('absent')), 'yes', 'no')]",
            "no",
        ),
        ("[if(or(not(true()), greater(2, 1)), 'yes', 'no')]", "yes"),
        ("[coalesce(parameters('object').n, 'rest')]", "rest"),
        ("[string(createObject('a', range(1, 2)))]", "{\"a\":[1,2]}"),
        ("[length(split('a,b,c', ','))]", "3"),
        ("[join(createArray('a', 1), '-')]", "a-1"),
        ("[first('abc')]", "a"),
        ("[last(createArray(1, 2))]", "2"),
        ("[contains('abc', 'bc')]", "true"),
        ("[empty('')]", "true"),
        ("[substring('abcdef', 2, 3)]", "cde"),
        ("[replace('a.b', '.', '-')]", "a-b"),
        ("[padLeft(7, 3, '0')]", "007"),
        ("[int('42')]", "42"),
        ("[max(1, 5, 3)]", "5"),
        ("[mod(-7, 4)]", "-3"),
        ("[cidrSubnet('10.1.0.0/16', 24, 3)]", "10.1.3.0/24"),
        ("[cidrSubnet('fd00::/48', 64, 255)]", "fd00:0:0:ff::/64"),
        ("[cidrHost('10.1.3.0/24', 3)]", "10.1.3.4"),
    ] {
        let found = evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(found, value, "{expression}");
    }
}

#[test]
fn expressions_without_value_say_why() {
    for (expression, message) in [
        ("[reference('x')]", "'reference' is not supported"),
        ("[pickZones('x')]", "'pickZones' is not supported"),
        ("[contoso.name('x')]", "'contoso.name' is not supported"),
        (
            "[parameters('absent')]",
            "neither a value nor a defaultValue",
        ),
        ("[parameters('none')]", "no parameter 'none'"),
        ("[variables('none')]", "no variable 'none'"),
        ("[variables('loop1')]", "defined by itself"),
        ("[variables('list')[2]]", "outside the array, which has 2"),
        ("[variables('list')[-1]]", "outside the array"),
        ("[parameters('object').x]", "no property 'x'"),
        ("[parameters('name').x]", "no object"),
        ("[concat('a'", ""),
        ("[concat('a']", "cannot be read: ',' is expected"),
        ("[copyIndex()]", "not inside a copy"),
        ("[toLower(1)]", "takes a string here, not 1"),
        ("[toLower('a', 'b')]", "takes 1 argument(s)"),
        ("[format('{1}', 'a')]", "cannot do {1}"),
        ("[format('{0', 'a')]", "single brace"),
        (
            "[resourceId('Microsoft.Network/routeTables')]",
            "needs 1 name(s), not 0",
        ),
        ("[resourceId('x')]", "needs a type"),
        ("[div(1, 0)]", "has no value"),
        ("[add(9223372036854775807, 1)]", "has no value"),
        ("[cidrSubnet('10.0.0.0/16', 24, 256)]", "no number 256"),
        (
            "[cidrHost('10.0.0.0/30', 3)]",
            "takes the number of an address",
        ),
        ("[range(0, 99999999)]", "0 to 10000"),
        ("[substring('é', 1, 9)]", "leaves the text"),
        ("[if('x', 1, 2)]", "takes true or false"),
    ] {
        match evaluate(expression) {
            Ok(value) => assert_eq!(value, expression, "{expression}"),
            Err(error) => {
                assert_eq!(error.code, "InvalidTemplate", "{expression}: {error}");
                assert!(error.message.contains(message), "{expression}: {error}");
                assert_eq!(
                    error.target.as_deref(),
                    Some("resources[0].tags.t"),
                    "{expression}"
                );
            }
        }
    }
    assert!(evaluate("[reference('x')]").is_err());
}

#[test]
fn given_parameters_are_checked() {
    let template = json!({
        "parameters": {
            "size": {"type": "int", "minValue": 1, "maxValue": 5, "defaultValue": 1},
            "kind": {"type": "string", "allowedValues": ["a", "b"], "defaultValue": "a"},
            "short": {"type": "string", "maxLength": 2, "defaultValue": ""},
        },
        "resources": [],
    });
    deploy(&template, &json!({"size": 5, "kind": "b", "short": "éé"})).expect("good values");
    for (parameters, target) in [
        (json!({"size": 6}), Some("parameters.size")),
        (json!({"size": "1"}), Some("parameters.size")),
        (json!({"kind": "c"}), Some("parameters.kind")),
        (json!({"short": "abc"}), Some("parameters.short")),
        (json!({"typo": 1}), None),
    ] {
        let error = deploy(&template, &parameters).expect_err("a bad value");
        assert_eq!(
            (error.code.as_str(), error.target.as_deref()),
            ("InvalidTemplate", target)
        );
    }
}

#[test]
fn conditions_decide_and_hide_what_is_not_supported() {
    let nsg =
        json!({"type": "Microsoft.Network/networkSecurityGroups", "name": "[reference('x')]"});
    let one = |condition: Value| {
        let template = json!({
            "parameters": {"secure": {"type": "bool", "defaultValue": false}},
            "resources": [with(nsg.clone(), "/condition", condition)],
        });
        deploy(&template, &json!({}))
    };
    one(json!("[parameters('secure')]")).expect("not deployed");
    one(json!(false)).expect("not deployed");
    assert!(one(json!("[not(parameters('secure'))]")).is_err());
    let error = one(json!("maybe")).expect_err("no boolean");
    assert_eq!(error.target.as_deref(), Some("resources[0].condition"));
}

#[test]
fn copies_of_resources_and_properties_are_unrolled() {
    let template = json!({
        "parameters": {"spokes": {"type": "int", "defaultValue": 3}},
        "resources": [
            {
                "type": "Microsoft.Network/virtualNetworks",
                "name": "[format('spoke{0}', copyIndex())]",
                "copy": {"name": "spokes", "count": "[parameters('spokes')]", "mode": "Parallel"},
                "properties": {
                    "addressSpace": {"addressPrefixes": ["[format('10.{0}.0.0/16', copyIndex(1))]"]},
                    "copy": [{
                        "name": "subnets",
                        "count": 2,
                        "input": {
                            "name": "[concat('s', copyIndex('subnets'))]",
                            "properties": {"addressPrefix":
                                "[cidrSubnet(format('10.{0}.0.0/16', copyIndex('spokes', 1)), 24, copyIndex('subnets'))]"},
                        },
                    }],
                },
            },
        ],
    });
    let topology = deploy(&template, &json!({})).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<String> = topology
        .virtual_networks
        .values()
        .flat_map(|vnet| vnet.subnets.values())
        .map(|subnet| format!("{} {}", subnet.id.name(), subnet.address_prefixes[0]))
        .collect();
    let expected = [
        "s0 10.1.0.0/24",
        "s1 10.1.1.0/24",
        "s0 10.2.0.0/24",
        "s1 10.2.1.0/24",
        "s0 10.3.0.0/24",
        "s1 10.3.1.0/24",
    ];
    assert_eq!(found, expected);
    for count in [json!(-1), json!("x"), json!(1e9), json!(4_000_000_000u64)] {
        let error = deploy(
            &with(template.clone(), "/resources/0/copy/count", count),
            &json!({}),
        );
        assert_eq!(
            error.expect_err("a bad count").target.as_deref(),
            Some("resources[0].copy.count")
        );
    }
}

#[test]
fn symbolic_names_are_read_and_existing_resources_left_out() {
    let template = json!({
        "languageVersion": "2.0",
        "resources": {
            "mine": vnet("VNet1", &["10.1.0.0/16"], &[], &[]),
            "theirs": {"existing": true, "type": "Microsoft.Storage/storageAccounts", "name": "x"},
        },
    });
    let topology = deploy(&template, &json!({})).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = topology
        .virtual_networks
        .keys()
        .map(ResourceId::name)
        .collect();
    assert_eq!(names, ["VNet1"]);
    let bad = with(template, "/resources/mine/name", json!("x"));
    let error = deploy(&bad, &json!({})).expect_err("a short name");
    assert_eq!(error.target.as_deref(), Some("resources.mine.name"));
}

#[test]
fn the_top_of_a_template_is_checked() {
    let schema =
        |name: &str| format!("https://schema.management.azure.com/schemas/2019-04-01/{name}#");
    for (template, target) in [
        (json!([]), None),
        (json!({}), None),
        (json!({"resources": 1}), Some("resources")),
        (json!({"resources": [1]}), Some("resources[0]")),
        (json!({"resources": [{}]}), Some("resources[0]")),
        (
            json!({"resources": [{"type": "x", "name": "y"}]}),
            Some("resources[0].type"),
        ),
        (json!({"resources": [], "resource": []}), Some("resource")),
        (
            json!({"resources": [], "functions": [{}]}),
            Some("functions[0]"),
        ),
        (json!({"resources": [], "variables": []}), Some("variables")),
        (
            json!({"resources": [], "$schema": schema("deploymentParameters.json")}),
            Some("$schema"),
        ),
        (
            json!({"resources": [], "$schema": schema("subscriptionDeploymentTemplate.json")}),
            Some("$schema"),
        ),
    ] {
        let error = deploy(&template, &json!({})).expect_err("a bad template");
        assert_eq!(error.target.as_deref(), target, "{template}: {error}");
    }
    let good = json!({
        "$schema": schema("deploymentTemplate.json"), "contentVersion": "1.0.0.0", "metadata": {},
        "functions": [], "outputs": {"x": {"value": "[reference('y')]"}}, "resources": [],
    });
    deploy(&good, &json!({})).expect("a good template");
}

#[test]
fn text_that_is_not_json_says_where() {
    let error = parse_template(
        "{\n  // no\n  \"resources\": [}\n",
        &DeployOptions::default(),
    );
    let error = error.expect_err("no JSON");
    assert_eq!(error.code, "InvalidRequestContent");
    assert_eq!(error.target.as_deref(), Some("line 3, column 17"));
    let deep = "[".repeat(100_000);
    assert!(parse_template(&deep, &DeployOptions::default()).is_err());
}

#[test]
fn a_property_that_is_there_twice_is_no_guess() {
    let table = r#""type": "Microsoft.Network/routeTables", "name": "T""#;
    let copy = r#"{"name": "routes", "count": 1, "input": {}}"#;
    let wide: String = (0..40).map(|n| format!(r#""v{n}": {n}, "#)).collect();
    for (text, target) in [
        (
            r#"{"resources":[],"resources":[1]}"#.to_owned(),
            "resources",
        ),
        (r#"{"resources":[],"Resources":[]}"#.to_owned(), "Resources"),
        (
            format!(
                r#"{{"resources": [{{{table}, "properties": {{"routes": []}}, "properties": {{}}}}]}}"#
            ),
            "resources[0].properties",
        ),
        (
            format!(r#"{{"resources": [{{{table}, "tags": {{"a": "1", "A": "2"}}}}]}}"#),
            "resources[0].tags.A",
        ),
        (
            format!(r#"{{"resources": [], "variables": {{{wide} "V7": 1}}}}"#),
            "variables.V7",
        ),
        (
            r#"{"resources": [], "outputs": {"o": [{"a": {"b": 1, "b": 1}}]}}"#.to_owned(),
            "outputs.o[0].a.b",
        ),
        (
            r#"{"resources": {"t": null, "t": null}}"#.to_owned(),
            "resources.t",
        ),
        (
            format!(
                r#"{{"resources": [{{{table}, "properties": {{"routes": [1], "copy": [{copy}]}}}}]}}"#
            ),
            "resources[0].properties.copy[0].name",
        ),
        (
            format!(r#"{{"resources": [], "variables": {{"ROUTES": 1, "copy": [{copy}]}}}}"#),
            "variables.copy[0].name",
        ),
    ] {
        let error = parse_template(&text, &DeployOptions::default()).expect_err("twice");
        assert_eq!(error.code, "InvalidTemplate", "{text}: {error}");
        assert_eq!(error.target.as_deref(), Some(target), "{text}: {error}");
    }
    // Symbolic names differ in case.
    let text = format!(
        r#"{{"resources": {{"t": {{{table}}}, "T": {{{}}}}}}}"#,
        table.replace(r#""T""#, r#""U""#)
    );
    let topology = parse_template(&text, &DeployOptions::default()).expect("two tables");
    assert_eq!(topology.route_tables.len(), 2);
}

#[test]
fn no_error_repeats_all_that_a_template_says() {
    let long = "x".repeat(40_000);
    let nested = format!("[{}1{}]", "add(1, ".repeat(5_000), ")".repeat(5_000));
    let properties = json!({"routes": [{"name": "r", "properties": {
        "addressPrefix": long, "nextHopType": long, "nextHopIpAddress": long, long.as_str(): 1}}]});
    let mut chain = serde_json::Map::new();
    for n in 0..60 {
        let next = format!("[variables('{long}{}')]", n + 1);
        chain.insert(format!("{long}{n}"), json!({long.as_str(): next}));
    }
    let table = |name: &str, properties: &Value| resource("routeTables", name, properties.clone());
    let network = |properties: Value| json!({"resources": [resource("virtualNetworks", "VNet1", properties)]});
    for template in [
        json!({"resources": [table(&nested, &json!({}))]}),
        json!({"resources": [table(&" ".repeat(1_200), &json!({}))]}),
        json!({"resources": [table(&long, &json!({}))]}),
        json!({"resources": [table("T", &properties)]}),
        json!({"resources": [resource(&long, &long, json!({}))]}),
        json!({"resources": [with(table("T", &json!({})), "/id", json!(long))]}),
        json!({"resources": [with(table("T", &json!({})), "/tags", json!({format!("vnet-gw:{long}"): "a"}))]}),
        json!({"resources": [table(&format!("[variables('{long}0')]"), &json!({}))], "variables": chain}),
        json!({"resources": [table(&format!("[{long}()]"), &json!({}))]}),
        json!({"resources": [table(&format!("[{long}]"), &json!({}))]}),
        json!({"resources": [table(&format!("[parameters('{long}')]"), &json!({}))]}),
        json!({"resources": [table(&format!("[sub('{long}', 1)]"), &json!({}))]}),
        json!({"resources": [table(&format!("[format('{{{long}}}', 1)]"), &json!({}))]}),
        json!({"resources": [table(&format!("[resourceGroup().{long}]"), &json!({}))]}),
        json!({"resources": [], long.as_str(): 1}),
        json!({"resources": {long.as_str(): 1}}),
        json!({"resources": [], "parameters": {long.as_str(): 1}}),
        json!({"resources": [], "$schema": long}),
        network(
            json!({"addressSpace": {"addressPrefixes": [long]}, "dhcpOptions": {"dnsServers": [long]}}),
        ),
        network(
            json!({"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [{"name": long}]}),
        ),
    ] {
        let error = deploy(&template, &json!({})).expect_err("an error");
        for line in error.lines() {
            assert!(line.contains('…'), "{line}");
            let length = line.chars().count();
            // What is said besides is a list of functions or types, or the steps of a chain.
            assert!(length <= 1_600, "{length}: {line}");
            let run = line.split(|c| c != 'x' && c != ' ').map(str::len).max();
            assert!(run <= Some(80), "{line}");
        }
    }
    let error = deploy(&json!({"resources": []}), &json!({long.as_str(): 1})).expect_err("stray");
    assert!(error.to_string().chars().count() < 300, "{error}");
}

#[test]
fn the_deployment_itself_is_checked() {
    for (subscription, group, code) in [
        ("a/b", "g", "InvalidSubscriptionId"),
        ("s", "", "InvalidResourceGroup"),
        ("s", "g/h", "InvalidResourceGroup"),
    ] {
        let options = DeployOptions {
            subscription_id: subscription.to_owned(),
            resource_group: group.to_owned(),
            ..DeployOptions::default()
        };
        assert_eq!(
            parse_template("{\"resources\": []}", &options)
                .expect_err(code)
                .code,
            code
        );
    }
}
