//! `vnet-gw run`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, RunArgs},
};
use crate::{
    control::RuntimeDir,
    daemon::{self, RunOptions},
    datapath::Instance,
};

pub(super) fn run(cli: &Cli, args: &RunArgs) -> Result<Verdict> {
    daemon::init_logging(args.log_format, &args.log_level);
    let default = || Instance {
        name: Instance::DEFAULT.to_owned(),
    };
    daemon::run(&RunOptions {
        instance: cli.instance.clone().unwrap_or_else(default),
        files: args.deploy.files(args.config.clone()),
        hook: args.hook.into(),
        reconcile_interval: args.reconcile_interval,
        socket_group: args.socket_group.clone(),
        ephemeral: args.ephemeral,
        runtime_dir: RuntimeDir::default(),
    })?;
    Ok(Verdict::Good)
}
