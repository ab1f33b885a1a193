//! `vnet-gw doctor`

use std::net::IpAddr;

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
    control::{ClientError, GatewayRow, PortRow, Request, Response},
    doctor::{self, Check, Wanted},
};

pub(super) fn run(cli: &Cli, args: &DoctorArgs) -> Result<Verdict> {
    let Target {
        devices,
        public,
        daemon,
    } = target(cli, args)?;
    let checks = doctor::examine(devices.as_deref(), &public, daemon);
    match cli.output {
        OutputFormat::Json => output::json(&json!({ "value": checks }))?,
        OutputFormat::Table => output::print(&text(&checks))?,
    }
    let failed = checks
        .iter()
        .any(|check| check.verdict == doctor::Verdict::Fail);
    Ok(if failed { Verdict::Bad } else { Verdict::Good })
}

/// What is looked at.
#[derive(Default)]
struct Target {
    /// `None` for all there are.
    devices: Option<Vec<Wanted>>,
    /// Where VPN gateways of this host are reached.
    public: Vec<IpAddr>,
    /// The process in whose network namespace they are.
    daemon: Option<u32>,
}

fn target(cli: &Cli, args: &DoctorArgs) -> Result<Target> {
    if let Some(template) = &args.config {
        let loaded = args.deploy.files(template.clone()).load()?;
        // The gateways' devices are made by the daemon.
        let ports = loaded.image.ports.values().filter(|port| !port.gateway);
        let instances = loaded.image.gateways.iter().flat_map(|one| &one.instances);
        let wanted = ports.map(|port| Wanted {
            device: port.device.clone(),
            hook: None,
        });
        return Ok(Target {
            devices: Some(wanted.collect()),
            public: instances.map(|one| one.public_address).collect(),
            daemon: None,
        });
    }
    let mut daemon = match source::daemon(cli) {
        Ok(daemon) => daemon,
        // Nobody said that one must run.
        Err(_) if cli.instance.is_none() => return Ok(Target::default()),
        Err(error) => return Err(error),
    };
    let (Response::Ports(ports), Response::Gateways(gateways), Response::Status(status)) = (
        daemon.ask(Request::Ports {})?,
        daemon.ask(Request::Gateways {})?,
        daemon.ask(Request::Status {})?,
    ) else {
        return Err(ClientError::Unexpected.into());
    };
    let ports = ports
        .value
        .into_iter()
        .filter(|port| !port.gateway && !port.internet);
    let here = |gateway: &&GatewayRow| gateway.state != "elsewhere";
    let gateways = gateways.value.iter().filter(here);
    let instances = gateways.flat_map(|gateway| &gateway.instances);
    let wanted = |port: PortRow| Wanted {
        device: port.device,
        hook: port.hook,
    };
    Ok(Target {
        devices: Some(ports.map(wanted).collect()),
        public: instances.filter_map(|one| one.public_ip_address).collect(),
        daemon: Some(status.pid),
    })
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
    let of = |verdict| {
        checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    };
    format!(
        "{}\n{}, {}, {} in {}\n",
        table.text(),
        count(of(doctor::Verdict::Fail), "failure"),
        count(of(doctor::Verdict::Warn), "warning"),
        of(doctor::Verdict::Ok).to_string() + " ok",
        count(checks.len(), "check"),
    )
}
