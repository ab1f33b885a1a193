//! `vnet-gw status`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat},
    output::{self, bytes, count, grouped},
    source,
    table::pairs,
};
use crate::control::{Request, Response, Status};

pub(super) fn run(cli: &Cli) -> Result<Verdict> {
    let status = source::ask(cli, Request::Status {}, |answer| match answer {
        Response::Status(status) => Some(*status),
        _ => None,
    })?;
    match cli.output {
        OutputFormat::Json => output::json(&status)?,
        OutputFormat::Table => output::print(&text(&status))?,
    }
    Ok(Verdict::Good)
}

fn text(status: &Status) -> String {
    let datapath = &status.datapath;
    let configuration = &status.configuration;
    let ms = |took: Option<f64>| took.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    let mut lines = vec![
        ("instance", status.instance.clone()),
        (
            "daemon",
            format!(
                "version {}, process {}, since {}",
                status.version, status.pid, status.started
            ),
        ),
    ];
    if let Some(file) = &configuration.file {
        lines.push(("configuration", file.clone()));
    }
    if let Some(parameters) = &configuration.parameters {
        lines.push(("parameters", parameters.clone()));
    }
    lines.push((
        "in force",
        format!(
            "number {}, since {}",
            configuration.generation, configuration.applied
        ),
    ));
    if let Some(error) = &configuration.last_error {
        lines.push(("refused", format!("at {}: {}", error.at, error.message)));
    }
    let api = &status.api;
    if !api.socket.is_empty() {
        let mut places = api.addresses.clone();
        places.push(api.socket.clone());
        lines.push(("API", places.join(", ")));
    }
    if let Some(url) = &status.metrics {
        lines.push(("metrics", url.clone()));
    }
    if let Some(path) = &api.ca_certificate {
        lines.push(("CA of the API", path.clone()));
    }
    if !api.tenant.is_empty() {
        lines.push(("tenant", api.tenant.clone()));
    }
    lines.extend([
        (
            "resources",
            [
                count(status.virtual_networks, "virtual network"),
                count(status.subnets, "subnet"),
                count(status.peerings, "peering"),
                count(status.network_interfaces, "network interface"),
            ]
            .join(", "),
        ),
        (
            "ports",
            format!(
                "{} of {} up, hook {}",
                status.ports_up, status.ports, status.hook
            ),
        ),
        (
            "VPN",
            format!(
                "{} of {} up, {} of {} connected, {} of {}",
                status.vpn.gateways_up,
                count(status.vpn.gateways, "gateway"),
                status.vpn.connections_connected,
                count(status.vpn.connections, "connection"),
                status.vpn.tunnels_connected,
                count(status.vpn.tunnels, "tunnel"),
            ),
        ),
        (
            "tables",
            format!(
                "{}, {}, {}",
                count(datapath.routes, "route"),
                count(datapath.endpoints, "endpoint"),
                bytes(datapath.bytes)
            ),
        ),
        ("last change", ms(datapath.last_apply_ms)),
        (
            "reconciled",
            format!(
                "every {} s, {} times, last in {}; drift: {} found, {} mended",
                status.reconcile_interval_seconds,
                grouped(datapath.reconciles),
                ms(datapath.last_reconcile_ms),
                grouped(datapath.drift_found),
                grouped(datapath.drift_mended),
            ),
        ),
    ]);
    pairs(&lines)
}
