//! `vnet-gw connections`

use std::thread::sleep;

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, ConnectionsArgs, OutputFormat},
    output::{self, bytes},
    source,
    table::{Left, Right, Table},
};
use crate::control::{ClientError, ConnectionList, ConnectionRow, Request, Response};

pub(super) fn run(cli: &Cli, args: &ConnectionsArgs) -> Result<Verdict> {
    let mut daemon = source::daemon(cli)?;
    loop {
        let Response::Connections(list) = daemon.ask(Request::Connections {})? else {
            return Err(ClientError::Unexpected.into());
        };
        match (cli.output, args.watch) {
            (OutputFormat::Json, false) => output::json(&list)?,
            (OutputFormat::Json, true) => output::json_line(&list)?,
            (OutputFormat::Table, _) => {
                // Home, and clear what is below: no flicker.
                let clear = if args.watch && output::is_terminal() {
                    "\x1b[H\x1b[J"
                } else {
                    ""
                };
                output::print(&format!("{clear}{}", text(&list)))?;
            }
        }
        if !args.watch {
            return Ok(Verdict::Good);
        }
        sleep(args.interval);
    }
}

fn text(list: &ConnectionList) -> String {
    let mut table = Table::new(&[
        ("NAME", Left),
        ("TYPE", Left),
        ("STATUS", Left),
        ("TUNNELS", Right),
        ("IN", Right),
        ("OUT", Right),
        ("LAST ESTABLISHED", Left),
        ("REASON", Left),
    ]);
    for row in &list.value {
        table.row(cells(row));
    }
    if table.is_empty() {
        "no connections\n".to_owned()
    } else {
        table.text()
    }
}

fn cells(row: &ConnectionRow) -> [String; 8] {
    let established = row.last_connection_established_utc_time.clone();
    [
        row.name.clone(),
        row.connection_type.clone(),
        row.connection_status.clone(),
        format!(
            "{}/{}",
            row.tunnels_connected(),
            row.tunnel_connection_status.len()
        ),
        bytes(row.ingress_bytes_transferred),
        bytes(row.egress_bytes_transferred),
        established.unwrap_or_else(|| "-".to_owned()),
        row.reason.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::{Reference, TunnelRow};

    pub(in crate::cli) fn row() -> ConnectionRow {
        let id = |kind: &str, name: &str| {
            format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/{kind}/{name}")
        };
        let tunnel = |status: &str, reason: Option<&str>| TunnelRow {
            tunnel: "192.0.2.1 → 192.0.2.9".into(),
            connection_status: status.into(),
            reason: reason.map(str::to_owned),
            ingress_bytes_transferred: 1_500,
            egress_bytes_transferred: 10,
            last_connection_established_utc_time: None,
            local_ip_address: "192.0.2.1".parse().unwrap(),
            remote_ip_address: "192.0.2.9".parse().unwrap(),
            ingress_packets_transferred: 1,
            egress_packets_transferred: 2,
            drops: Vec::new(),
        };
        ConnectionRow {
            id: id("connections", "VNet1ToVNet4"),
            name: "VNet1ToVNet4".into(),
            resource_group: "g".into(),
            connection_type: "Vnet2Vnet".into(),
            virtual_network_gateway1: Reference {
                id: id("virtualNetworkGateways", "VNet1GW"),
            },
            virtual_network_gateway2: Some(Reference {
                id: id("virtualNetworkGateways", "VNet4GW"),
            }),
            local_network_gateway2: None,
            connection_status: "Connected".into(),
            reason: Some("the shared key does not match".into()),
            ingress_bytes_transferred: 3_000,
            egress_bytes_transferred: 20,
            last_connection_established_utc_time: Some("2026-01-02T03:04:05Z".into()),
            remote_address_prefixes: vec!["10.41.0.0/16".parse().unwrap()],
            tunnel_connection_status: vec![
                tunnel("Connected", Some("AES_GCM_16_256")),
                tunnel("NotConnected", Some("the shared key does not match")),
            ],
        }
    }

    #[test]
    fn a_row_says_how_many_tunnels_are_up_and_why_not_all() {
        let text = text(&ConnectionList { value: vec![row()] });
        let line = text.lines().nth(1).unwrap();
        for part in [
            "VNet1ToVNet4  Vnet2Vnet  Connected      1/2  3.0 kB  20 B",
            "2026-01-02T03:04:05Z",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert!(text.contains("shared key"), "{text}");
        assert_eq!(super::text(&ConnectionList::default()), "no connections\n");
    }
}
