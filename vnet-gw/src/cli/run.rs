//! `vnet-gw run`

use anyhow::{Result, bail};
use vnet_gw_core::model::DeployOptions;

use super::{
    Verdict,
    args::{Cli, InternetArg, RunArgs},
};
use crate::{
    api::ApiOptions,
    control::RuntimeDir,
    daemon::{self, RunOptions},
    datapath::Instance,
    flow_log::FlowLogOptions,
};

pub(super) fn run(cli: &Cli, args: &RunArgs) -> Result<Verdict> {
    daemon::init_logging(args.log_format, &args.log_level);
    let default = || Instance {
        name: Instance::DEFAULT.to_owned(),
    };
    let instance = cli.instance.clone().unwrap_or_else(default);
    let files = args
        .config
        .as_ref()
        .map(|file| args.deploy.files(file.clone()));
    if files.is_none() && args.deploy.parameters.is_some() {
        bail!("--parameters: they are those of a template; give it with --config");
    }
    let state_dir = match (&args.state_dir, args.ephemeral) {
        (Some(directory), _) => Some(directory.clone()),
        (None, true) => None,
        (None, false) => Some(RunOptions::default_state_dir(&instance)),
    };
    let default = DeployOptions::default();
    let api = args.api.options(
        args.deploy
            .subscription_id
            .as_deref()
            .unwrap_or(&default.subscription_id),
        args.deploy.location.as_deref().unwrap_or(&default.location),
    );
    daemon::run(&RunOptions {
        instance,
        files,
        host_name: args.deploy.host_name(),
        state_dir,
        public_ip_pool: args.public_ip_pool.clone(),
        hook: args.hook.into(),
        engine: args.engine.into(),
        internet: args.internet == InternetArg::On,
        capture_dir: args.capture_dir.clone(),
        reconcile_interval: args.reconcile_interval,
        flows: args.flows,
        flow_log: args.flow_log.clone().map(|path| FlowLogOptions {
            path,
            size: args.flow_log_size << 20,
            keep: args.flow_log_keep,
        }),
        socket_group: args.socket_group.clone(),
        ephemeral: args.ephemeral,
        runtime_dir: RuntimeDir::default(),
        api: ApiOptions {
            host: args.deploy.host_name(),
            internet: args.internet == InternetArg::On,
            ..api.map_err(anyhow::Error::msg)?
        },
        metrics: args.metrics,
    })?;
    Ok(Verdict::Good)
}
