//! `vnet-gw export`: a resource group as a template.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Verdict, apply,
    args::{Cli, ExportArgs},
    output, source,
};

pub(super) fn run(cli: &Cli, args: &ExportArgs) -> Result<Verdict> {
    let mut client = source::api(cli)?;
    let (subscription, group) = apply::names(&mut client, &args.group)?;
    let path = format!("/subscriptions/{subscription}/resourceGroups/{group}/exportTemplate");
    let mut reply = client.post(&path, Some(&json!({ "resources": ["*"] })))?;
    let template = reply.body.get_mut("template").map(Value::take);
    let template = template
        .context("the daemon's answer has no template; use the same version on both sides")?;
    match &args.out {
        None => output::json(&template)?,
        Some(path) => {
            let mut text = serde_json::to_string_pretty(&template)?;
            text.push('\n');
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(Verdict::Good)
}
