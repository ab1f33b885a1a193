//! What an error says never has a key in it.

use serde_json::{Value, json};
use vnet_gw_core::model::{ArmError, DeployOptions, parse_template};

use crate::support::{resource, vnet, with};

const KEY: &str = "SuperSecretPsk42{";
/// Longer than an error shows of any text.
const LONG: &str = "LongSecret/0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz\
    0123456789abcdefghijklmnop";

/// What no error may have in it, in any case: pieces of the keys that are no words of ours.
const PIECES: [&str; 5] = [
    "supersecret",
    "psk42",
    "longsecret",
    "456789abcd",
    "innersecret",
];

#[track_caller]
fn shows_nothing(template: &Value, parameters: &Value) -> ArmError {
    let options = DeployOptions {
        parameters: parameters.as_object().expect("parameters").clone(),
        ..DeployOptions::default()
    };
    let error = parse_template(&template.to_string(), &options)
        .map(|_| ())
        .expect_err(&template.to_string());
    for text in [
        error.lines().join("\n"),
        error.to_string(),
        error.body().to_string(),
    ] {
        let lower = text.to_lowercase();
        for piece in PIECES {
            assert!(!lower.contains(piece), "{piece}: {text}");
        }
    }
    error
}

/// A template with one expression, at a JSON pointer of its network.
fn template(pointer: &str, expression: &str) -> Value {
    let network = vnet("VNet1", &["10.1.0.0/16"], &[("a", "10.1.0.0/24")], &[]);
    let network = with(network, "/tags", json!({}));
    json!({
        "parameters": {
            "key": {"type": "secureString"},
            "long": {"type": "securestring", "defaultValue": LONG},
            "made": {"type": "securestring", "defaultValue": "[concat('InnerSecret', 'x')]"},
            "all": {"type": "secureObject", "defaultValue": {"keys": ["InnerSecret1"], "n": 1}},
        },
        "variables": {
            "key": "[parameters('key')]",
            "settings": {"name": "[toUpper(parameters('key'))]", "other": "plain"},
        },
        "resources": [with(network, pointer, json!(expression))],
    })
}

#[test]
fn no_expression_shows_a_secure_parameter() {
    for expression in [
        "[int(KEY)]",
        "[add(1, KEY)]",
        "[bool(KEY)]",
        "[if(KEY, 1, 2)]",
        "[or(false(), KEY)]",
        "[not(KEY)]",
        "[cidrHost(KEY, 1)]",
        "[cidrHost('10.0.0.0/8', KEY)]",
        "[cidrSubnet(KEY, 24, 1)]",
        "[parameters(KEY)]",
        "[variables(KEY)]",
        "[resourceId(concat('A/', KEY), 'a', 'b', 'c')]",
        "[resourceId(concat(KEY, '/', KEY), 'a', 'b')]",
        "[copyIndex(KEY)]",
        "[format(concat('{', KEY, '}}'))]",
        "[format(concat(KEY, '0}'), 1)]",
        "[int(toUpper(KEY))]",
        "[int(substring(KEY, 0, 12))]",
        "[int(split(KEY, 'P')[0])]",
        "[int(replace(KEY, 'S', 'ü'))]",
        "[concat(createArray(1), KEY)]",
        "[int(createArray(KEY))]",
        "[int(createObject(KEY, 1))]",
        "[createArray(KEY)[KEY]]",
        "[createObject('a', 1)[KEY]]",
        "[padLeft('a', 10, KEY)]",
        "[join(KEY, KEY)]",
        "[int(concat('a prefix of some length, so that what follows is cut in its middle: ', KEY))]",
    ] {
        for key in [
            "parameters('key')",
            "parameters('long')",
            "parameters('made')",
            "parameters('all').keys[0]",
            "variables('key')",
            "variables('settings').name",
        ] {
            let expression = expression.replace("KEY", key);
            // Where the value cannot be what is wanted, if it is not refused before.
            let template = template("/properties/addressSpace", &expression);
            shows_nothing(&template, &json!({"key": KEY}));
        }
    }
}

#[test]
fn no_resource_shows_a_secure_parameter_that_is_misused() {
    for pointer in [
        "/name",
        "/type",
        "/condition",
        "/copy",
        "/properties/addressSpace/addressPrefixes/0",
        "/properties/subnets/0/name",
        "/properties/subnets/0/properties/addressPrefix",
        "/properties/subnets/0/properties/routeTable",
        "/properties/dhcpOptions",
        "/tags/vnet-gw:mtu",
        "/id",
    ] {
        for key in [
            "parameters('key')",
            "parameters('long')",
            "variables('key')",
        ] {
            for expression in [
                format!("[{key}]"),
                format!("[concat('a-', {key})]"),
                format!("[concat({key}, '/b')]"),
            ] {
                let mut template = template(pointer, &expression);
                // One thing that is wrong in any case.
                let other = resource("virtualNetworks", "bad/name", json!({}));
                if let Some(Value::Array(resources)) = template.get_mut("resources") {
                    resources.push(other);
                }
                shows_nothing(&template, &json!({"key": KEY}));
            }
        }
    }
}

#[test]
fn no_parameter_shows_its_secret_values() {
    let with_key =
        |declaration: Value| json!({"parameters": {"key": declaration}, "resources": []});
    for (declaration, given) in [
        (
            json!({"type": "securestring", "allowedValues": [KEY, LONG]}),
            json!({"key": "other"}),
        ),
        (json!({"type": "secureObject"}), json!({"key": KEY})),
        (
            json!({"type": "securestring", "minLength": 100}),
            json!({"key": KEY}),
        ),
        (
            json!({"type": "securestring"}),
            json!({"key": KEY, "stray": KEY}),
        ),
        (json!({"type": "securestring"}), json!({"key": KEY, KEY: 1})),
    ] {
        shows_nothing(&with_key(declaration), &given);
    }
    for default in [
        "[SuperSecretPsk42{]",
        "[SuperSecretPsk42()]",
        "[int('SuperSecretPsk42')]",
        "[if('SuperSecretPsk42', 1, 2)]",
    ] {
        let template = with(
            template("/properties/addressSpace", "[parameters('made')]"),
            "/parameters/made/defaultValue",
            json!(default),
        );
        shows_nothing(&template, &json!({"key": KEY}));
    }
}

#[test]
fn no_error_shows_a_shared_key_that_the_template_has() {
    for (key, variable) in [
        (KEY, ""),
        ("[SuperSecretPsk42{]", ""),
        ("[SuperSecretPsk42('a')]", ""),
        ("[concat('SuperSecret', 1, int('Psk42'))]", ""),
        ("[int('SuperSecretPsk42')]", ""),
        ("[variables('key')]", "SuperSecretPsk42"),
        ("[variables('key')]", "[SuperSecretPsk42{]"),
        (
            "[concat('Super', 'SecretPsk42')]",
            "[concat('SuperSecret', 'Psk42')]",
        ),
    ] {
        let connection = resource("connections", "c1", json!({"SharedKey": key}));
        let network = vnet("SuperSecretPsk42{", &["SuperSecretPsk42"], &[], &[]);
        let template = json!({
            "variables": {"key": variable},
            "resources": [
                connection,
                with(network, "/name", json!("[int(variables('key'))]")),
            ],
        });
        let text = parse_template(&template.to_string(), &DeployOptions::default())
            .map(|_| ())
            .expect_err(key)
            .body()
            .to_string();
        // What is not the key itself may be what the network says elsewhere.
        assert!(!text.contains("SuperSecretPsk42"), "{key}: {text}");
    }
}

#[test]
fn what_is_not_secret_is_still_shown() {
    let template = template(
        "/properties/addressSpace",
        "[int(variables('settings').other)]",
    );
    let error = shows_nothing(&template, &json!({"key": KEY}));
    assert!(error.message.contains("not \"plain\""), "{error}");
    let template = json!({
        "resources": [resource("connections", "c1", json!({"sharedKey": "[parameters('psk')]"}))],
    });
    let error = shows_nothing(&template, &json!({}));
    assert!(error.message.contains("'psk'"), "{error}");
}
