//! `vnet-gw down`

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Verdict,
    args::{Cli, OutputFormat},
    output::{self, count},
};
use crate::{
    control::RuntimeDir,
    daemon::InstanceLock,
    datapath::{self, Instance},
    internet,
};

pub(super) fn run(cli: &Cli) -> Result<Verdict> {
    let instance = match &cli.instance {
        Some(instance) => instance.clone(),
        None => Instance {
            name: Instance::DEFAULT.to_owned(),
        },
    };
    // A running daemon would only put everything back.
    let runtime_dir = RuntimeDir::default();
    let _lock = InstanceLock::take(&runtime_dir, &instance)?;
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
