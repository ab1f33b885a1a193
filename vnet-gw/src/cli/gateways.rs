//! `vnet-gw gateways`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat},
    output::{self, count, grouped, scaled},
    source,
    table::pairs,
};
use crate::control::{DropCount, GatewayList, GatewayRow, Request, Response, short};

pub(super) fn run(cli: &Cli) -> Result<Verdict> {
    let list = source::ask(cli, Request::Gateways {}, |answer| match answer {
        Response::Gateways(list) => Some(list),
        _ => None,
    })?;
    match cli.output {
        OutputFormat::Json => output::json(&list)?,
        OutputFormat::Table => output::print(&text(&list))?,
    }
    Ok(Verdict::Good)
}

fn text(list: &GatewayList) -> String {
    if list.value.is_empty() {
        return "no VPN gateways\n".to_owned();
    }
    let mut blocks: Vec<String> = list.value.iter().map(gateway).collect();
    if !list.ike.is_empty() {
        let refused = ("IKE messages refused", drops(&list.ike));
        blocks.push(pairs(&[refused]));
    }
    blocks.join("\n")
}

fn gateway(row: &GatewayRow) -> String {
    let bandwidth = match row.bits_per_second {
        Some(bits) => scaled(bits as f64, "bit/s"),
        None => "unlimited".to_owned(),
    };
    let mut state = row.state.clone();
    if let Some(reason) = &row.reason {
        state.push_str(&format!(": {reason}"));
    }
    let mut lines = vec![
        ("gateway", row.name.clone()),
        ("VNet", short(&row.virtual_network.id)),
        ("SKU", format!("{}, {bandwidth}", row.sku)),
        ("state", state),
    ];
    for instance in &row.instances {
        let public = instance.public_ip_address;
        let mut text = format!(
            "{}: {}, in GatewaySubnet {}",
            instance.name,
            public.map_or_else(|| "-".to_owned(), |address| address.to_string()),
            instance.private_ip_address
        );
        if let Some(reason) = &instance.reason {
            text.push_str(&format!("; {reason}"));
        }
        lines.push(("instance", text));
    }
    if let Some(device) = &row.device {
        lines.push(("device", device.clone()));
    }
    if let Some(engine) = &row.engine {
        let why = row.engine_reason.as_deref().unwrap_or_default();
        lines.push(("engine", format!("{engine}: {why}")));
    }
    if row.state != "elsewhere" {
        lines.push((
            "tunnels",
            format!(
                "{} of {} connected, in {}",
                row.tunnels_connected,
                row.tunnels,
                count(row.connections, "connection")
            ),
        ));
    }
    if !row.used_by.is_empty() {
        let names = row.used_by.iter().map(|vnet| short(&vnet.id));
        let names: Vec<String> = names.collect();
        lines.push(("used by", names.join(", ")));
    }
    if row.turned_back != 0 {
        let packets = count(row.turned_back as usize, "packet");
        lines.push(("turned back", packets));
    }
    if !row.drops.is_empty() {
        lines.push(("dropped", drops(&row.drops)));
    }
    pairs(&lines)
}

fn drops(drops: &[DropCount]) -> String {
    let list: Vec<String> = drops
        .iter()
        .map(|drop| format!("{} {}", grouped(drop.packets), drop.reason))
        .collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{InstanceRow, Reference};

    #[test]
    fn a_gateway_is_told_with_what_is_wrong() {
        let row = GatewayRow {
            id: "VNet1GW".into(),
            name: "VNet1GW".into(),
            resource_group: String::new(),
            virtual_network: Reference { id: "VNet1".into() },
            sku: "VpnGw1".into(),
            bits_per_second: Some(650_000_000),
            state: "up".into(),
            reason: None,
            device: Some("vgw12".into()),
            engine: Some("gso".into()),
            engine_reason: Some("no zero-copy here".into()),
            instances: vec![InstanceRow {
                name: "one".into(),
                private_ip_address: "10.1.255.4".parse().unwrap(),
                public_ip_address: Some("192.0.2.1".parse().unwrap()),
                reason: Some("this host does not have the address 192.0.2.1".into()),
            }],
            connections: 1,
            tunnels: 4,
            tunnels_connected: 2,
            used_by: vec![Reference { id: "spoke".into() }],
            turned_back: 7,
            drops: vec![DropCount {
                reason: "no_tunnel".into(),
                packets: 1_234,
            }],
        };
        let list = GatewayList {
            value: vec![row],
            ike: vec![DropCount {
                reason: "malformed".into(),
                packets: 3,
            }],
        };
        let text = text(&list);
        for part in [
            "VpnGw1, 650 Mbit/s",
            "does not have the address",
            "gso: no zero-copy here",
            "2 of 4 connected, in 1 connection",
            "used by",
            "spoke",
            "7 packets",
            "1,234 no_tunnel",
            "IKE messages refused  3 malformed",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(super::text(&GatewayList::default()), "no VPN gateways\n");
    }
}
