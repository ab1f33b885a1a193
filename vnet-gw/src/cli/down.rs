//! `vnet-gw down`

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Verdict,
    args::{Cli, DownArgs, OutputFormat},
    output::{self, count},
};
use crate::{
    control::RuntimeDir,
    daemon::{InstanceLock, RunOptions},
    datapath::{self, Instance},
    internet,
    metering::note_left,
};

pub(super) fn run(cli: &Cli, args: &DownArgs) -> Result<Verdict> {
    let instance = match &cli.instance {
        Some(instance) => instance.clone(),
        None => Instance {
            name: Instance::DEFAULT.to_owned(),
        },
    };
    // A running daemon would only put everything back.
    let runtime_dir = RuntimeDir::default();
    let _lock = InstanceLock::take(&runtime_dir, &instance)?;
    let default = || RunOptions::default_state_dir(&instance);
    let state_dir = args.state_dir.clone().unwrap_or_else(default);
    // Taken down it is all the same: whoever asks for it may have no room left, or no store.
    if let Err(error) = note_left(&instance, &state_dir) {
        eprintln!("warning: what was counted since the daemon ended is lost for `usage`: {error}");
    }
    let report = datapath::down(&instance)?;
    let internet = internet::down(&instance)?;
    runtime_dir
        .clear(&instance)
        .context("removing the daemon's sockets")?;
    match cli.output {
        OutputFormat::Json => output::json(&json!({
            "instance": instance.name,
            "detached": report.detached,
            "programs": report.programs,
            "maps": report.maps,
            "links": report.links,
            "filters": report.filters,
            "internetPort": internet,
        }))?,
        OutputFormat::Table if report.is_empty() && !internet => {
            output::print(&format!("instance {}: nothing was there\n", instance.name))?;
        }
        OutputFormat::Table => output::print(&format!(
            "instance {}: removed {}, {}, {}{}; detached from {}\n",
            instance.name,
            count(report.programs, "program"),
            count(report.maps, "map"),
            count(report.links + report.filters, "attachment"),
            if internet { ", the internet port" } else { "" },
            count(report.detached.len(), "device"),
        ))?,
    }
    Ok(Verdict::Good)
}
