//! Deploys a template to a running daemon, over its API.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use axum::body::Bytes;
use axum::http::Method;
use serde_json::{Map, Value, json};
use vnet_gw_core::model::{DeployOptions, parse_parameters_file};
use zeroize::Zeroizing;

use super::{args::Cli, source};
use crate::api::client::{Client, ClientError, Reply};

/// A template, and where it is deployed to.
pub(super) struct Deployment<'a> {
    /// Of the deployment, which the daemon keeps a record of.
    pub(super) name: &'a str,
    pub(super) template: &'a Value,
    /// An ARM parameters file.
    pub(super) parameters: Option<&'a Path>,
    /// The daemon's, where it has one only.
    pub(super) subscription_id: Option<&'a str>,
    /// Made, if it is not there.
    pub(super) resource_group: Option<&'a str>,
    /// Of a resource group that is made.
    pub(super) location: Option<&'a str>,
}

impl Deployment<'_> {
    /// The deployment as the daemon shows it, carried out.
    pub(super) fn run(&self, cli: &Cli) -> Result<Reply> {
        let default = DeployOptions::default();
        let mut client = source::api(cli)?;
        let subscription = match self.subscription_id {
            Some(id) => id.to_owned(),
            None => only_subscription(&mut client)?,
        };
        let group = self.resource_group.unwrap_or(&default.resource_group);
        let scope = format!("/subscriptions/{subscription}/resourcegroups/{group}");
        match client.get(&scope) {
            Err(ClientError::Refused(refused)) if refused.status == 404 => {
                let location = self.location.unwrap_or(&default.location);
                client.put(&scope, &json!({ "location": location }))?;
            }
            other => drop(other?),
        }
        let name = self.name;
        let path = format!("{scope}/providers/Microsoft.Resources/deployments/{name}");
        Ok(client.follow_bytes(Method::PUT, &path, Some(self.body()?))?)
    }

    fn body(&self) -> Result<Bytes> {
        let mut options = DeployOptions::default();
        if let Some(path) = self.parameters {
            let reading = || format!("--parameters {}", path.display());
            let text = Zeroizing::new(std::fs::read_to_string(path).with_context(reading)?);
            options.parameters = parse_parameters_file(&text).with_context(reading)?;
        }
        let parameters = options.parameters.iter();
        let parameters: Map<String, Value> = parameters
            .map(|(name, value)| (name.clone(), json!({ "value": value })))
            .collect();
        let mut body = json!({ "properties": {
            "mode": "Incremental",
            "template": self.template,
            "parameters": parameters,
        }});
        let bytes = serde_json::to_vec(&body);
        options.wipe();
        // The values once more, as they stand in the body.
        if let Some(Value::Object(parameters)) = body.pointer_mut("/properties/parameters") {
            options.parameters = std::mem::take(parameters);
            options.wipe();
        }
        Ok(bytes?.into())
    }
}

fn only_subscription(client: &mut Client) -> Result<String> {
    let subscriptions = client.list("/subscriptions")?;
    let ids = subscriptions
        .iter()
        .filter_map(|one| one.get("subscriptionId").and_then(Value::as_str));
    let ids: Vec<&str> = ids.collect();
    match ids[..] {
        [id] => Ok(id.to_owned()),
        [] => Err(anyhow!(
            "the daemon has no subscription: name one with --subscription-id"
        )),
        _ => Err(anyhow!(
            "the daemon has several subscriptions, {}: choose one with --subscription-id",
            ids.join(", ")
        )),
    }
}
