//! Where a command gets its answer from: the daemon, or a template.

use anyhow::{Result, anyhow};

use super::args::{Cli, SourceArgs};
use crate::{
    api,
    control::{Client, ClientError, ErrorReply, Request, Response, RuntimeDir, Snapshot},
    daemon::Loaded,
};

/// A connection to the daemon of the instance that the command line names.
pub(super) fn daemon(cli: &Cli) -> Result<Client> {
    Ok(Client::connect(
        &RuntimeDir::default(),
        cli.instance.as_ref(),
    )?)
}

/// The API of that daemon, over its Unix socket.
pub(super) fn api(cli: &Cli) -> Result<api::client::Client> {
    Ok(api::client::Client::connect(
        &RuntimeDir::default(),
        cli.instance.as_ref(),
    )?)
}

/// Asks the daemon one question; `pick` takes the answer that fits the question.
pub(super) fn ask<T>(
    cli: &Cli,
    request: Request,
    pick: impl FnOnce(Response) -> Option<T>,
) -> Result<T> {
    let answer = daemon(cli)?.ask(request)?;
    Ok(pick(answer).ok_or(ClientError::Unexpected)?)
}

/// The answer of the template of `--config`, or of the daemon.
pub(super) fn answer<T>(
    cli: &Cli,
    source: &SourceArgs,
    work_out: impl FnOnce(&Snapshot) -> Result<T, ErrorReply>,
    request: Request,
    pick: impl FnOnce(Response) -> Option<T>,
) -> Result<T> {
    match &source.config {
        Some(template) => {
            let Loaded { topology, image } = source.deploy.files(template.clone()).load()?;
            // As `vnet-gw run` has it where nothing else is said.
            Ok(work_out(&Snapshot {
                topology,
                image,
                internet: true,
            })?)
        }
        None => {
            if let Some(option) = deploy_option(source) {
                return Err(anyhow!(
                    "{option}: it is for a template; give one with --config FILE"
                ));
            }
            ask(cli, request, pick)
        }
    }
}

/// An option that would be without effect.
fn deploy_option(source: &SourceArgs) -> Option<&'static str> {
    let deploy = &source.deploy;
    [
        ("--parameters", deploy.parameters.is_some()),
        ("--subscription-id", deploy.subscription_id.is_some()),
        ("--resource-group", deploy.resource_group.is_some()),
        ("--location", deploy.location.is_some()),
        ("--host", deploy.host.is_some()),
    ]
    .into_iter()
    .find_map(|(name, given)| given.then_some(name))
}
