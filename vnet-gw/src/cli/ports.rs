//! `vnet-gw ports`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat},
    effective_routes::joined,
    output, source,
    table::{Left, Right, Table, WIDTH, wrap},
};
use crate::control::{PortRow, Request, Response, short};

pub(super) fn run(cli: &Cli) -> Result<Verdict> {
    let ports = source::ask(cli, Request::Ports {}, |answer| match answer {
        Response::Ports(ports) => Some(ports),
        _ => None,
    })?;
    match cli.output {
        OutputFormat::Json => output::json(&ports)?,
        OutputFormat::Table => output::print(&text(&ports.value))?,
    }
    Ok(Verdict::Good)
}

fn text(ports: &[PortRow]) -> String {
    let mut table = Table::new(&[
        ("NETWORK INTERFACE", Left),
        ("DEVICE", Left),
        ("STATE", Left),
        ("HOOK", Left),
        ("MTU", Right),
        ("MAC ADDRESS", Left),
        ("FORWARDS", Left),
        ("ADDRESSES", Left),
    ]);
    let mut remarks: Vec<(&str, Vec<&str>)> = Vec::new();
    for port in ports {
        table.row([
            short(&port.network_interface),
            port.device.clone(),
            port.state.clone(),
            port.hook.clone().unwrap_or_else(|| "-".to_owned()),
            port.mtu
                .map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
            port.mac_address.clone(),
            if port.enable_ip_forwarding {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            joined(&port.addresses),
        ]);
        for remark in port.reason.iter().chain(&port.warnings) {
            // Many ports have the same: told once, with all their devices.
            let what = remark
                .strip_prefix(&format!("{}: ", port.device))
                .unwrap_or(remark);
            match remarks.iter_mut().find(|(known, _)| *known == what) {
                Some((_, devices)) => devices.push(&port.device),
                None => remarks.push((what, vec![&port.device])),
            }
        }
    }
    let mut text = table.text();
    if table.is_empty() {
        text.push_str("no ports: no networkInterface of the configuration has a device here\n");
    }
    for (what, devices) in remarks {
        let remark = format!("{}: {what}", devices.join(", "));
        text.push_str(&format!("\n{}\n", wrap(&remark, WIDTH, 0)));
    }
    text
}
