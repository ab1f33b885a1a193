//! `vnet-gw ports`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat},
    effective_routes::joined,
    output, source,
    table::{Left, Right, Table},
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
    let mut remarks = String::new();
    for port in ports {
        let name = short(&port.network_interface);
        table.row([
            name.clone(),
            port.device.clone(),
            port.state.clone(),
            port.hook.clone().unwrap_or_else(|| "-".to_owned()),
            port.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
            port.mac_address.clone(),
            if port.enable_ip_forwarding { "yes" } else { "no" }.to_owned(),
            joined(&port.addresses),
        ]);
        for remark in port.reason.iter().chain(&port.warnings) {
            remarks.push_str(&format!("{name}: {remark}\n"));
        }
    }
    let mut text = table.text();
    if table.is_empty() {
        text.push_str("no ports: no networkInterface of the configuration has a device here\n");
    }
    if !remarks.is_empty() {
        text.push('\n');
        text.push_str(&remarks);
    }
    text
}
