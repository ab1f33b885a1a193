//! `vnet-gw doctor`

use anyhow::Result;
use serde_json::json;

use super::{
    Verdict,
    args::{Cli, DoctorArgs, OutputFormat},
    output::{self, count},
    source,
    table::{Left, Table},
};
use crate::{
    control::{Request, Response},
    doctor::{self, Check, Wanted},
};

pub(super) fn run(cli: &Cli, args: &DoctorArgs) -> Result<Verdict> {
    let checks = doctor::examine(devices(cli, args)?.as_deref());
    match cli.output {
        OutputFormat::Json => output::json(&json!({ "value": checks }))?,
        OutputFormat::Table => output::print(&text(&checks))?,
    }
    let failed = checks.iter().any(|check| check.verdict == doctor::Verdict::Fail);
    Ok(if failed { Verdict::Bad } else { Verdict::Good })
}

/// `None` for all there are.
fn devices(cli: &Cli, args: &DoctorArgs) -> Result<Option<Vec<Wanted>>> {
    if let Some(template) = &args.config {
        let loaded = args.deploy.files(template.clone()).load(None)?;
        let ports = loaded.image.ports.values();
        let wanted = ports.map(|port| Wanted { device: port.device.clone(), hook: None });
        return Ok(Some(wanted.collect()));
    }
    let Ok(mut daemon) = source::daemon(cli) else { return Ok(None) };
    let Response::Ports(ports) = daemon.ask(Request::Ports {})? else { return Ok(None) };
    let wanted = |port: crate::control::PortRow| Wanted { device: port.device, hook: port.hook };
    Ok(Some(ports.value.into_iter().map(wanted).collect()))
}

fn text(checks: &[Check]) -> String {
    let mut table = Table::new(&[
        ("SUBJECT", Left),
        ("CHECK", Left),
        ("VERDICT", Left),
        ("FINDING AND REMEDY", Left),
    ]);
    for check in checks {
        let remedy = check.remedy.iter().map(|remedy| format!(" → {remedy}"));
        table.row([
            check.subject.clone(),
            check.check.to_owned(),
            check.verdict.as_str().to_owned(),
            check.finding.clone() + &remedy.collect::<String>(),
        ]);
    }
    let of = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    format!(
        "{}\n{}, {}, {} in {}\n",
        table.text(),
        count(of(doctor::Verdict::Fail), "failure"),
        count(of(doctor::Verdict::Warn), "warning"),
        of(doctor::Verdict::Ok).to_string() + " ok",
        count(checks.len(), "check"),
    )
}
