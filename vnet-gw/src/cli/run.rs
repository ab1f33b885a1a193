//! `vnet-gw run`

use std::path::Path;

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, RunArgs},
};
use crate::{
    control::RuntimeDir,
    daemon::{self, RunOptions, keys::KeyStore},
    datapath::Instance,
};

pub(super) fn run(cli: &Cli, args: &RunArgs) -> Result<Verdict> {
    daemon::init_logging(args.log_format, &args.log_level);
    let default = || Instance {
        name: Instance::DEFAULT.to_owned(),
    };
    let instance = cli.instance.clone().unwrap_or_else(default);
    let mut files = args.deploy.files(args.config.clone());
    files.keys = Some(KeyStore::new(Path::new(KeyStore::STATE), &instance));
    daemon::run(&RunOptions {
        instance,
        files,
        hook: args.hook.into(),
        engine: args.engine.into(),
        reconcile_interval: args.reconcile_interval,
        socket_group: args.socket_group.clone(),
        ephemeral: args.ephemeral,
        runtime_dir: RuntimeDir::default(),
    })?;
    Ok(Verdict::Good)
}
