//! `vnet-gw next-hop`

use anyhow::Result;
use vnet_gw_core::effective::EffectiveRoute;

use super::{
    Verdict,
    args::{Cli, NextHopArgs, OutputFormat},
    effective_routes::joined,
    output, source,
    table::{Left, Table, pairs},
};
use crate::control::{NextHopReply, Request, Response, next_hop, short};

pub(super) fn run(cli: &Cli, args: &NextHopArgs) -> Result<Verdict> {
    let reply = source::answer(
        cli,
        &args.source,
        |snapshot| next_hop(snapshot, &args.nic, args.dest, None),
        Request::NextHop {
            network_interface: args.nic.clone(),
            destination: args.dest,
        },
        |answer| match answer {
            Response::NextHop(reply) => Some(*reply),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&reply)?,
        OutputFormat::Table => output::print(&text(&reply))?,
    }
    Ok(Verdict::Good)
}

fn text(reply: &NextHopReply) -> String {
    let explanation = &reply.explanation;
    let mut next_hop = reply.result.next_hop_type.to_string();
    if let Some(address) = reply.result.next_hop_ip_address {
        next_hop.push_str(&format!(" {address}"));
    }
    let mut lines = vec![
        (
            "from",
            format!(
                "network interface {} in {}",
                short(&reply.network_interface),
                short(&explanation.subnet)
            ),
        ),
        ("to", explanation.destination.to_string()),
        ("next hop", next_hop),
    ];
    if let Some(winner) = &explanation.winner {
        let mut route = described(&winner.route);
        if let Some(table) = &winner.route_table {
            route.push_str(&format!(" of route table {}", short(table)));
        }
        if let Some(peering) = &winner.peering {
            route.push_str(&format!(" of peering {}", short(peering)));
        }
        lines.push(("route", route));
        lines.push(("why", winner.reason.clone()));
    }
    lines.push(("then", reply.outcome.clone()));

    let mut table = Table::new(&[
        ("NOT TAKEN", Left),
        ("NEXT HOP TYPE", Left),
        ("STATE", Left),
        ("WHY NOT", Left),
    ]);
    for other in &explanation.others {
        table.row([
            joined(&other.route.address_prefix),
            other.route.next_hop_type.to_string(),
            other.state.to_string(),
            other.reason.clone(),
        ]);
    }
    let mut text = pairs(&lines);
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.text());
    }
    text
}

fn described(route: &EffectiveRoute) -> String {
    let name = route
        .name
        .as_ref()
        .map(|name| format!(" {name}"))
        .unwrap_or_default();
    format!("{} ({}{name})", joined(&route.address_prefix), route.source)
}
