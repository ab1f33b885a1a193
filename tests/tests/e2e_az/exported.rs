//! A template as Azure's portal exports it: names as parameters, children in their parents and on
//! their own, read-only properties.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use vnet_gw_lab::{Lab, Underlay};

use super::{
    build::{KEY, PUBLIC},
    host::{GROUP, Host},
};

const TEMPLATE: &str = include_str!("../../clients/exported.json");
/// Of its parameters, the only one without a default.
const SECRET: &str = "connections_sharedKey";

#[test]
fn an_exported_template_changes_nothing_the_second_time() {
    let lab = Lab::new().unwrap();
    let underlay = Underlay::new(&lab, "underlay").unwrap();
    let public = PUBLIC.concat();
    let host = Host::start(&lab, &underlay, "host", &public, &[]).unwrap();
    let file = lab.dir().join("exported.json");
    // The CLI sends the file as it is: not all of it is JSON.
    fs::write(&file, format!("// from the portal\n{TEMPLATE}")).unwrap();
    let file = file.to_str().unwrap();
    let parameters = lab.dir().join("parameters.json");
    let given = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {SECRET: {"value": KEY}},
    });
    fs::write(&parameters, given.to_string()).unwrap();
    let parameters = parameters.to_str().unwrap();
    let az = |verb: &str, more: &[&str]| {
        let mut args = vec!["deployment", "group", verb, "-g", GROUP, "--name", "portal"];
        args.extend(["--template-file", file, "--parameters", parameters]);
        args.extend(more);
        host.az.json(&args).unwrap()
    };
    let group = ["group", "create", "--name", GROUP, "--location", "eastus"];
    host.az.run(&group).unwrap();

    let valid = az("validate", &[]);
    assert_eq!(
        valid["properties"]["provisioningState"], "Succeeded",
        "{valid:#}"
    );
    assert_eq!(
        az("what-if", &["--no-pretty-print"])["changes"][0]["changeType"],
        "Create"
    );
    let made = az("create", &[]);
    deployed(&made);
    let first = etags(&host);
    unchanged(&az("what-if", &["--no-pretty-print"]));
    deployed(&az("create", &[]));
    assert_eq!(etags(&host), first);

    let listed = host
        .az
        .json(&["deployment", "group", "list", "-g", GROUP])
        .unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#}");
    let operations = [
        "deployment",
        "operation",
        "group",
        "list",
        "-g",
        GROUP,
        "--name",
        "portal",
    ];
    let operations = host.az.json(&operations).unwrap();
    let done = |one: &Value| one["properties"]["provisioningState"] == "Succeeded";
    assert!(
        operations.as_array().unwrap().iter().all(done),
        "{operations:#}"
    );
    for kept in [
        host.az
            .run(&[
                "deployment",
                "group",
                "show",
                "-g",
                GROUP,
                "--name",
                "portal",
            ])
            .unwrap(),
        host.az
            .run(&[
                "deployment",
                "group",
                "export",
                "-g",
                GROUP,
                "--name",
                "portal",
            ])
            .unwrap(),
        host.az.run(&["group", "export", "--name", GROUP]).unwrap(),
    ] {
        assert!(!kept.contains(KEY), "{kept}");
    }

    // The same file, by the daemon's own command line.
    host.az
        .run(&["group", "delete", "--name", GROUP, "--yes"])
        .unwrap();
    let apply = || {
        let args = [
            "apply",
            file,
            "--parameters",
            parameters,
            "--resource-group",
            GROUP,
        ];
        let output = host.daemon.output(&args).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    };
    apply();
    let first = etags(&host);
    apply();
    assert_eq!(etags(&host), first);
    unchanged(&az("what-if", &["--no-pretty-print"]));
}

fn deployed(answer: &Value) {
    let properties = &answer["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded", "{answer:#}");
    assert_eq!(properties["mode"], "Incremental", "{answer:#}");
    for text in ["correlationId", "duration", "templateHash", "timestamp"] {
        assert!(properties[text].is_string(), "{text}: {answer:#}");
    }
    let outputs = properties["outputResources"].as_array();
    assert!(outputs.is_some_and(|all| all.len() >= 14), "{answer:#}");
    assert!(
        !answer.to_string().contains(KEY),
        "the key is shown: {answer:#}"
    );
}

fn unchanged(answer: &Value) {
    let changes = answer["changes"].as_array().unwrap();
    assert!(!changes.is_empty(), "{answer:#}");
    for change in changes {
        assert_eq!(change["changeType"], "NoChange", "{change:#}");
    }
}

/// Of every resource and child, by its id.
fn etags(host: &Host) -> BTreeMap<String, String> {
    let seen = host
        .az
        .python("survey.py", &json!({"group": GROUP}))
        .unwrap();
    assert_eq!(seen["deviations"], json!([]), "{:#}", seen["deviations"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resources = seen["resources"].as_object().unwrap().values();
    let etags: BTreeMap<_, _> = resources
        .filter_map(Value::as_array)
        .flatten()
        .map(|one| (text(&one["id"]), text(&one["etag"])))
        .collect();
    assert!(etags.len() > 20, "{etags:?}");
    etags
}
