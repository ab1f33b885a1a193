//! `vnet-gw apply` and `vnet-gw what-if`: a template is deployed through the API of the daemon.

mod changes;
mod parameters;

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use vnet_gw_core::model::{DeployOptions, parse_relaxed_json};

use self::changes::Told;
use super::{
    Verdict,
    args::{ApplyArgs, Cli, GroupArgs, OutputFormat, TemplateArgs},
    output, source,
};
use crate::api::client::{Client, ClientError};

pub(super) fn run(cli: &Cli, args: &ApplyArgs) -> Result<Verdict> {
    match args.what_if {
        true => what_if(cli, &args.template),
        false => {
            let deployed = deploy(cli, &args.template, &body(&args.template)?)?;
            match cli.output {
                OutputFormat::Json => output::json(&deployed.value())?,
                OutputFormat::Table => deployed.tell()?,
            }
            Ok(Verdict::Good)
        }
    }
}

pub(super) fn what_if(cli: &Cli, args: &TemplateArgs) -> Result<Verdict> {
    let body = body(args)?;
    let mut client = source::api(cli)?;
    let place = Place::of(&mut client, args)?;
    let told = place.try_out(&mut client, &body)?;
    match cli.output {
        OutputFormat::Json => output::json(&json!({
            "changes": told.changes,
            "warnings": told.warnings,
        }))?,
        OutputFormat::Table => {
            warn(&told.warnings);
            if place.is_new {
                output::print(&format!(
                    "The resource group {} is yet to be made.\n",
                    place.group
                ))?;
            }
            output::print(&told.text("would be", output::is_terminal()))?;
        }
    }
    Ok(Verdict::Good)
}

/// Deploys a template that is in no file.
pub(super) fn template(cli: &Cli, args: &TemplateArgs, template: &Value) -> Result<Deployed> {
    deploy(cli, args, &body_of(args, template)?)
}

fn deploy(cli: &Cli, args: &TemplateArgs, body: &Value) -> Result<Deployed> {
    let mut client = source::api(cli)?;
    let place = Place::of(&mut client, args)?;
    // What does not hold makes no group either.
    let told = place.try_out(&mut client, body)?;
    if place.is_new {
        let group = json!({ "location": place.location });
        client.put(&place.scope(), &group)?;
    }
    let path = place.deployment(args);
    let reply = client.put(&path, body)?;
    Ok(Deployed {
        told,
        outputs: reply.body.pointer("/properties/outputs").cloned(),
        warnings: reply.warnings(),
    })
}

/// A deployment that was carried out.
pub(super) struct Deployed {
    told: Told,
    outputs: Option<Value>,
    warnings: Vec<String>,
}

impl Deployed {
    /// For programs.
    pub(super) fn value(&self) -> Value {
        json!({
            "changes": self.told.changes,
            "outputs": self.outputs,
            "warnings": self.warnings,
        })
    }

    /// For people.
    pub(super) fn tell(&self) -> Result<()> {
        warn(&self.warnings);
        output::print(&self.told.text("", output::is_terminal()))?;
        output::print(&shown_outputs(self.outputs.as_ref()))
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

fn shown_outputs(outputs: Option<&Value>) -> String {
    let mut text = String::new();
    for (name, output) in outputs.and_then(Value::as_object).into_iter().flatten() {
        let value = match output.get("value") {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "(not shown)".to_owned(),
        };
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

/// Where a template is deployed to.
struct Place {
    subscription: String,
    group: String,
    location: String,
    /// The group is not there.
    is_new: bool,
}

impl Place {
    fn of(client: &mut Client, args: &TemplateArgs) -> Result<Self> {
        let (subscription, group) = names(client, &args.group)?;
        let mut place = Self {
            subscription,
            group,
            location: args.location.clone().unwrap_or_else(|| "local".to_owned()),
            is_new: false,
        };
        match client.get(&place.scope()) {
            Ok(_) => {}
            Err(ClientError::Refused(refused)) if refused.status == 404 => place.is_new = true,
            Err(error) => return Err(error.into()),
        }
        Ok(place)
    }

    fn scope(&self) -> String {
        let Self {
            subscription,
            group,
            ..
        } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{group}")
    }

    /// The deployment is called after the file.
    fn deployment(&self, args: &TemplateArgs) -> String {
        let stem = args.file.file_stem().and_then(|stem| stem.to_str());
        let plain: String = stem
            .unwrap_or_default()
            .chars()
            .map(|c| match c.is_ascii_alphanumeric() || c == '_' {
                true => c,
                false => '-',
            })
            .take(64)
            .collect();
        let name = match plain.trim_matches('-') {
            "" => "apply",
            _ => plain.as_str(),
        };
        self.named(name)
    }

    fn named(&self, name: &str) -> String {
        format!(
            "{}/providers/Microsoft.Resources/deployments/{name}",
            self.scope()
        )
    }

    /// What the deployment would change.
    fn try_out(&self, client: &mut Client, body: &Value) -> Result<Told> {
        if self.is_new {
            return changes::alone(self, body);
        }
        let path = format!("{}/whatIf", self.named("apply"));
        let reply = client.post(&path, Some(body))?;
        let warnings = reply.warnings();
        let changes = reply.body.pointer("/properties/changes").cloned();
        let Some(Value::Array(changes)) = changes else {
            bail!("the daemon's answer is not understood; use the same version on both sides");
        };
        Ok(Told { changes, warnings })
    }
}

/// Subscription and group, as they are given or as they are by default.
pub(super) fn names(client: &mut Client, args: &GroupArgs) -> Result<(String, String)> {
    let subscription = match &args.subscription_id {
        Some(id) => id.clone(),
        None => {
            let all = client.list("/subscriptions")?;
            let first = all.first().and_then(|first| first.get("subscriptionId"));
            let id = first.and_then(Value::as_str);
            id.context("the instance shows no subscription; give --subscription-id")?
                .to_owned()
        }
    };
    let group = args.resource_group.clone();
    let group = group.unwrap_or_else(|| DeployOptions::default().resource_group);
    // Both become part of a URL's path.
    for (option, text) in [
        ("--subscription-id", &subscription),
        ("--resource-group", &group),
    ] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.()".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            bail!(
                "{option} {text:?}: it has other characters than letters, digits and -_.(); correct it"
            );
        }
    }
    Ok((subscription, group))
}

/// The body of the request: of a deployment, and of its what-if.
fn body(args: &TemplateArgs) -> Result<Value> {
    let name = args.file.display();
    let text = read(&args.file)?;
    let template = parse_relaxed_json(&text).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    body_of(args, &template)
}

fn body_of(args: &TemplateArgs, template: &Value) -> Result<Value> {
    let parameters = parameters::given(template, &args.parameters)?;
    let mode = if args.prune {
        "Complete"
    } else {
        "Incremental"
    };
    Ok(json!({"properties": {"mode": mode, "template": template, "parameters": parameters}}))
}

fn read(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text);
        read.context("reading standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
