//! `vnet-gw principal`

use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Verdict,
    args::{AssignArgs, Cli, CreatePrincipalArgs, OutputFormat, PrincipalArgs, PrincipalCommand},
    output, source,
    table::{Left, Table, pairs},
};
use crate::{
    api::client::Client,
    control::{Request, Response},
    identity::{Assignment, PrincipalList, PrincipalView, Role},
};

const PATH: &str = "/vnet-gw/principals";

pub(super) fn run(cli: &Cli, args: &PrincipalArgs) -> Result<Verdict> {
    let mut client = source::api(cli)?;
    match &args.command {
        PrincipalCommand::Create(args) => create(cli, &mut client, args)?,
        PrincipalCommand::List => list(cli, &mut client)?,
        PrincipalCommand::Reset(args) => {
            let body = json!({ "lifetimeSeconds": args.lifetime.seconds() });
            let path = of(&args.principal.name, "/reset");
            let reply = client.post(&path, Some(&body))?;
            fresh(cli, view(&reply.body)?)?;
        }
        PrincipalCommand::Delete(name) => {
            let gone = view(&client.delete(&of(&name.name, ""))?.body)?;
            told(cli, &gone, "deleted")?;
        }
        PrincipalCommand::Assign(args) => roles(cli, &mut client, args, "/assign")?,
        PrincipalCommand::Unassign(args) => roles(cli, &mut client, args, "/unassign")?,
    }
    Ok(Verdict::Good)
}

/// The path of one of them.
fn of(name: &str, action: &str) -> String {
    format!(
        "{PATH}/{}{action}",
        utf8_percent_encode(name, NON_ALPHANUMERIC)
    )
}

fn view(body: &Value) -> Result<PrincipalView> {
    serde_json::from_value(body.clone()).context("the daemon's answer is not understood")
}

fn create(cli: &Cli, client: &mut Client, args: &CreatePrincipalArgs) -> Result<()> {
    let scope = match &args.scope {
        Some(scope) => scope.clone(),
        None => subscription(client)?,
    };
    let body = json!({
        "displayName": args.name,
        "assignments": [{ "role": Role::from(args.role), "scope": scope }],
        "lifetimeSeconds": args.lifetime.seconds(),
    });
    fresh(cli, view(&client.post(PATH, Some(&body))?.body)?)
}

/// The scope of the instance's subscription.
fn subscription(client: &mut Client) -> Result<String> {
    let all = client.list("/subscriptions")?;
    let id = all
        .first()
        .and_then(|first| first.get("id"))
        .and_then(Value::as_str);
    id.map(str::to_owned)
        .context("the instance shows no subscription: give --scope")
}

fn roles(cli: &Cli, client: &mut Client, args: &AssignArgs, action: &str) -> Result<()> {
    let body = json!({ "role": Role::from(args.role), "scope": args.scope });
    let reply = client.post(&of(&args.principal.name, action), Some(&body))?;
    let changed = view(&reply.body)?;
    told(cli, &changed, &shown(&changed.assignments))
}

fn told(cli: &Cli, principal: &PrincipalView, what: &str) -> Result<()> {
    match cli.output {
        OutputFormat::Json => output::json(principal),
        OutputFormat::Table => output::print(&format!(
            "service principal {}: {what}\n",
            principal.display_name
        )),
    }
}

/// With the secret, which is never shown again.
fn fresh(cli: &Cli, principal: PrincipalView) -> Result<()> {
    if cli.output == OutputFormat::Json {
        return output::json(&principal);
    }
    let password = principal.password.as_ref();
    let mut lines = vec![
        ("name", principal.display_name.clone()),
        ("appId", principal.app_id.clone()),
        (
            "password",
            password.map_or_else(String::new, |password| password.expose().to_owned()),
        ),
        ("tenant", principal.tenant.clone()),
        ("roles", shown(&principal.assignments)),
    ];
    lines.extend(
        principal
            .secret_expires
            .as_ref()
            .map(|at| ("expires", at.clone())),
    );
    let mut text = pairs(&lines);
    let status = source::ask(cli, Request::Status {}, |answer| match answer {
        Response::Status(status) => Some(*status),
        _ => None,
    })?;
    text.push_str("\nThe password is not shown again. Sign in with:\n\n");
    if let Some(path) = &status.api.ca_certificate {
        text.push_str(&format!("  export REQUESTS_CA_BUNDLE={path}\n"));
    }
    if let Some(address) = status.api.addresses.first() {
        text.push_str(&format!(
            "  az config set core.instance_discovery=false\n  \
             az cloud register --name vnet-gw --endpoint-resource-manager {address}\n  \
             az cloud set --name vnet-gw\n"
        ));
    }
    text.push_str(&format!(
        "  az login --service-principal --username {} --tenant {} --password PASSWORD\n",
        principal.app_id, principal.tenant
    ));
    output::print(&text)
}

fn shown(assignments: &[Assignment]) -> String {
    let all: Vec<String> = assignments
        .iter()
        .map(|grant| format!("{} at {}", grant.role.as_str(), grant.scope))
        .collect();
    match all.is_empty() {
        true => "no role".to_owned(),
        false => all.join("; "),
    }
}

fn list(cli: &Cli, client: &mut Client) -> Result<()> {
    let list: PrincipalList = serde_json::from_value(client.get(PATH)?.body)
        .context("the daemon's answer is not understood")?;
    if cli.output == OutputFormat::Json {
        return output::json(&list);
    }
    let mut table = Table::new(&[
        ("NAME", Left),
        ("APP ID", Left),
        ("SECRET EXPIRES", Left),
        ("ROLES", Left),
    ]);
    for one in &list.value {
        table.row([
            one.display_name.clone(),
            one.app_id.clone(),
            one.secret_expires.clone().unwrap_or_else(|| "-".to_owned()),
            shown(&one.assignments),
        ]);
    }
    output::print(&format!("tenant  {}\n\n{}", list.tenant, table.text()))
}
