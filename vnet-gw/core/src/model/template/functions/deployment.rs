//! Functions that know where and when a template is deployed, and what is there.

use serde_json::{Value, json};

use super::{Args, Result, count, time, unique};
use crate::model::{
    ArmError,
    error::cut,
    template::{
        around::Around,
        evaluate::{Evaluator, invalid},
    },
};

pub(super) fn call(
    evaluator: &Evaluator<'_>,
    function: &str,
    args: &Args<'_, '_>,
    around: &Around<'_>,
) -> Option<Result<Value>> {
    let options = evaluator.options;
    let subscription = format!("/subscriptions/{}", options.subscription_id);
    let none = || args.exactly().map(|[]: [&Value; 0]| ());
    Some(match function {
        "resourcegroup" => none().and_then(|()| {
            if options.resource_group.is_empty() {
                return Err(invalid(
                    "resourceGroup() has no value in a deployment to a subscription: name the \
                     resource group in a nested deployment.",
                ));
            }
            Ok(json!({
                "id": format!("{subscription}/resourceGroups/{}", options.resource_group),
                "name": options.resource_group,
                "type": "Microsoft.Resources/resourceGroups",
                "location": options.location,
                "managedBy": null,
                "tags": {},
                "properties": {"provisioningState": "Succeeded"},
            }))
        }),
        "subscription" => none().map(|()| {
            json!({
                "id": subscription,
                "subscriptionId": options.subscription_id,
                "tenantId": options.tenant_id,
                "displayName": options.subscription_id,
            })
        }),
        "tenant" => none().map(|()| {
            json!({
                "id": format!("/tenants/{}", options.tenant_id),
                "tenantId": options.tenant_id,
                "displayName": options.tenant_id,
            })
        }),
        "deployment" => none().map(|()| {
            json!({
                "name": options.deployment,
                "location": options.location,
                "properties": {
                    "template": {"contentVersion": "1.0.0.0"},
                    "mode": "Incremental",
                    "provisioningState": "Accepted",
                },
            })
        }),
        // There is one cloud, and it has no other services.
        "environment" => none().map(|()| json!({"name": "vnet-gw", "suffixes": {}})),
        "resourceid" => resource_id(args, &options.subscription_id, &options.resource_group),
        "subscriptionresourceid" => subscription_resource_id(args, &options.subscription_id),
        "tenantresourceid" => typed_id(args, "", 0),
        "extensionresourceid" => match args.values.first() {
            Some(scope) => args
                .as_text(scope)
                .and_then(|scope| typed_id(args, scope.trim_end_matches('/'), 1)),
            None => Err(count(args.name, "3 or more")),
        },
        "copyindex" => copy_index(args, around),
        "reference" => return around.runtime().map(|_| reference(args, around)),
        "utcnow" | "newguid" if !evaluator.in_default() => Err(invalid(format!(
            "{}() may only be the defaultValue of a parameter: move it there.",
            args.name
        ))),
        "utcnow" => time::utc_now(args, options.now),
        "newguid" => none().and_then(|()| unique::new_guid(evaluator)),
        name if name.starts_with("list") && name.len() > 4 => Err(invalid(format!(
            "{}() is refused: a template is not told keys. Ask the API for them.",
            cut(args.name)
        ))),
        _ => return None,
    })
}

/// `reference(resourceName or id, [apiVersion], ['Full'])`
fn reference(args: &Args<'_, '_>, around: &Around<'_>) -> Result<Value> {
    let full = match args.values {
        [_] | [_, _] => false,
        [_, _, how] if args.as_text(how)?.eq_ignore_ascii_case("full") => true,
        [_, _, how] => return Err(args.wrong("'Full'", how)),
        _ => return Err(count(args.name, "1 to 3")),
    };
    let resource = args.as_text(&args.values[0])?;
    match around.runtime() {
        Some(runtime) => runtime.reference(resource, full),
        None => Err(invalid("reference() needs a deployment.")),
    }
}

/// `resourceId([subscriptionId], [resourceGroup], type, name…)`: the type is the first argument
/// with a slash.
fn resource_id(args: &Args<'_, '_>, subscription: &str, group: &str) -> Result<Value> {
    let texts = texts(args)?;
    let (subscription, group, at) = match texts.iter().position(|text| text.contains('/')) {
        Some(0) => (subscription, group, 0),
        Some(1) => (subscription, texts[0], 1),
        Some(2) => (texts[0], texts[1], 2),
        _ => return Err(no_type(args)),
    };
    if group.is_empty() {
        return typed_id(args, &format!("/subscriptions/{subscription}"), at);
    }
    let scope = format!("/subscriptions/{subscription}/resourceGroups/{group}");
    typed_id(args, &scope, at)
}

/// `subscriptionResourceId([subscriptionId], type, name…)`
fn subscription_resource_id(args: &Args<'_, '_>, subscription: &str) -> Result<Value> {
    let texts = texts(args)?;
    let (subscription, at) = match texts.iter().position(|text| text.contains('/')) {
        Some(0) => (subscription, 0),
        Some(1) => (texts[0], 1),
        _ => return Err(no_type(args)),
    };
    typed_id(args, &format!("/subscriptions/{subscription}"), at)
}

fn no_type(args: &Args<'_, '_>) -> ArmError {
    invalid(format!(
        "{}() needs a type such as 'Microsoft.Network/routeTables'.",
        args.name
    ))
}

fn texts<'a>(args: &Args<'a, '_>) -> Result<Vec<&'a str>> {
    let values = args.values.iter();
    values.map(|value| args.as_text(value)).collect()
}

/// The id below a scope whose type is the argument at `at`, and whose names follow it.
fn typed_id(args: &Args<'_, '_>, scope: &str, at: usize) -> Result<Value> {
    let texts = texts(args)?;
    let Some((kind, names)) = texts.get(at..).and_then(<[_]>::split_first) else {
        return Err(no_type(args));
    };
    let types: Vec<&str> = kind.split('/').collect();
    if types.len() < 2 {
        return Err(no_type(args));
    }
    // A name may hold several segments: resourceId('…/virtualNetworks/subnets', 'VNet1/FrontEnd').
    let names: Vec<&str> = names.iter().flat_map(|name| name.split('/')).collect();
    if names.len() + 1 != types.len() {
        return Err(invalid(format!(
            "{}(): the type '{}' needs {} name(s), not {}.",
            args.name,
            cut(kind),
            types.len() - 1,
            names.len()
        )));
    }
    let mut id = format!("{scope}/providers/{}", types[0]);
    for (kind, name) in types[1..].iter().zip(names) {
        id.push_str(&format!("/{kind}/{name}"));
    }
    Ok(json!(id))
}

/// `copyIndex([name], [offset])`
fn copy_index(args: &Args<'_, '_>, around: &Around<'_>) -> Result<Value> {
    let (name, offset) = match args.values {
        [] => (None, 0),
        [one] if one.is_string() => (one.as_str(), 0),
        [one] => (None, args.as_int(one)?),
        [name, offset] => (Some(args.as_text(name)?), args.as_int(offset)?),
        _ => return Err(count(args.name, "0 to 2")),
    };
    let index = around.index(name).ok_or_else(|| match name {
        Some(name) => invalid(format!(
            "copyIndex('{}') is not inside a copy of that name.",
            cut(name)
        )),
        None => invalid("copyIndex() is not inside a copy."),
    })?;
    let index = i64::try_from(index)
        .ok()
        .and_then(|index| index.checked_add(offset));
    index
        .map(Value::from)
        .ok_or_else(|| invalid("copyIndex() leaves the integers."))
}
