//! `vnet-gw counters`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, CountersArgs, OutputFormat},
    output::{self, bytes, grouped, scaled},
    source,
    table::{Left, Right, Table},
};
use crate::control::{
    ClientError, CounterFilter, CounterTable, Outcome, Request, Response, RouteCounter, short,
};

pub(super) fn run(cli: &Cli, args: &CountersArgs) -> Result<Verdict> {
    let filter = CounterFilter {
        subnet: args.subnet.clone(),
        zero: args.all,
    };
    if args.watch {
        return watch(cli, args, filter);
    }
    let counters = source::ask(cli, Request::Counters { filter }, |answer| match answer {
        Response::Counters(counters) => Some(counters),
        _ => None,
    })?;
    match cli.output {
        OutputFormat::Json => output::json(&counters)?,
        OutputFormat::Table => output::print(&text(&counters, None))?,
    }
    Ok(Verdict::Good)
}

fn watch(cli: &Cli, args: &CountersArgs, filter: CounterFilter) -> Result<Verdict> {
    let mut daemon = source::daemon(cli)?;
    let interval_ms = u64::try_from(args.interval.as_millis()).unwrap_or(u64::MAX);
    let mut answer = Some(daemon.ask(Request::Watch {
        filter,
        interval_ms,
    })?);
    daemon.patient()?;
    let mut before: Option<CounterTable> = None;
    while let Some(Response::Counters(now)) = answer {
        match cli.output {
            OutputFormat::Json => output::json_line(&now)?,
            OutputFormat::Table => {
                // Home, and clear what is below: no flicker.
                let clear = if output::is_terminal() {
                    "\x1b[H\x1b[J"
                } else {
                    ""
                };
                output::print(&format!("{clear}{}\n", text(&now, before.as_ref())))?;
            }
        }
        before = Some(now);
        answer = daemon.receive()?;
    }
    match answer {
        Some(Response::End(why)) => {
            eprintln!("{why}");
            Ok(Verdict::Good)
        }
        None => Err(ClientError::Gone(daemon.path().to_owned()).into()),
        Some(_) => Err(ClientError::Unexpected.into()),
    }
}

/// With the rates since `before`, where that is given.
fn text(now: &CounterTable, before: Option<&CounterTable>) -> String {
    let seconds = before.map(|before| now.uptime_seconds - before.uptime_seconds);
    let rate = |now: u64, before: Option<u64>| match seconds {
        Some(seconds) if seconds > 0.0 => now.saturating_sub(before.unwrap_or(0)) as f64 / seconds,
        _ => 0.0,
    };
    let rated = |packets: f64, bytes: f64| [scaled(packets, "pps"), scaled(bytes * 8.0, "bit/s")];

    let mut columns = vec![
        ("SUBNET", Left),
        ("ADDRESS PREFIX", Left),
        ("NEXT HOP", Left),
        ("PACKETS", Right),
        ("BYTES", Right),
    ];
    let rates = [("RATE", Right), ("", Right)];
    columns.extend(rates.iter().filter(|_| before.is_some()));
    let mut routes = Table::new(&columns);
    // The same order in both, so the place of a row is found by going on.
    let mut old = before.map(|before| before.routes.iter().peekable());
    for row in &now.routes {
        let old = old.as_mut().and_then(|old| {
            while old.next_if(|one| key(one) < key(row)).is_some() {}
            old.next_if(|one| key(one) == key(row))
        });
        let mut cells = vec![
            short(&row.subnet),
            row.address_prefix.to_string(),
            next_hop(row),
            grouped(row.packets),
            bytes(row.bytes),
        ];
        if before.is_some() {
            cells.extend(rated(
                rate(row.packets, old.map(|old| old.packets)),
                rate(row.bytes, old.map(|old| old.bytes)),
            ));
        }
        routes.row(cells);
    }

    let mut columns = vec![
        ("REASON", Left),
        ("OUTCOME", Left),
        ("PACKETS", Right),
        ("BYTES", Right),
    ];
    columns.extend(rates.iter().filter(|_| before.is_some()));
    columns.push(("MEANING", Left));
    let mut reasons = Table::new(&columns);
    for row in &now.reasons {
        let old = before.and_then(|old| old.reasons.iter().find(|one| one.reason == row.reason));
        let outcome = match row.outcome {
            Outcome::Dropped => "dropped",
            Outcome::Answered => "answered",
            Outcome::Forwarded => "forwarded",
            Outcome::NotSent => "not sent",
        };
        let mut cells = vec![
            row.reason.clone(),
            outcome.to_owned(),
            grouped(row.packets),
            bytes(row.bytes),
        ];
        if before.is_some() {
            cells.extend(rated(
                rate(row.packets, old.map(|old| old.packets)),
                rate(row.bytes, old.map(|old| old.bytes)),
            ));
        }
        cells.push(row.help.clone());
        reasons.row(cells);
    }
    let mut text = routes.text();
    if routes.is_empty() {
        text.push_str("no route has carried a packet\n");
    }
    if !reasons.is_empty() {
        text.push('\n');
        text.push_str(&reasons.text());
    }
    text
}

/// The daemon's order: by subnet's id without case, family, prefix.
fn key(row: &RouteCounter) -> (String, ipnet::IpNet) {
    (row.subnet.to_ascii_lowercase(), row.address_prefix)
}

fn next_hop(row: &RouteCounter) -> String {
    let mut text = row.next_hop_type.to_string();
    if let Some(address) = row.next_hop_ip_address {
        text.push_str(&format!(" {address}"));
    }
    if let Some(vnet) = &row.virtual_network {
        text.push_str(&format!(" {}", short(vnet)));
    }
    text
}

#[cfg(test)]
mod tests {
    use vnet_gw_core::effective::NextHopType;

    use super::*;
    use crate::control::ReasonCounter;

    fn table(uptime_seconds: f64, packets: u64) -> CounterTable {
        let route = |prefix: &str, packets| {
            RouteCounter {
            subnet: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/VNet1/subnets/FrontEnd".into(),
            address_prefix: prefix.parse().unwrap(),
            next_hop_type: NextHopType::VNetPeering,
            next_hop_ip_address: None,
            virtual_network: Some("VNet4".into()),
            packets,
            bytes: packets * 100,
        }
        };
        CounterTable {
            uptime_seconds,
            routes: vec![route("10.2.0.0/16", 7), route("10.41.0.0/16", packets)],
            reasons: vec![ReasonCounter {
                reason: "no_route".into(),
                outcome: Outcome::Dropped,
                packets,
                bytes: 0,
                help: "No route matches.".into(),
            }],
        }
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let mut before = table(10.0, 1_000);
        before.routes.remove(0);
        let text = text(&table(12.0, 5_000), Some(&before));
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(
            lines[2],
            [
                "VNet1/FrontEnd",
                "10.41.0.0/16",
                "VNetPeering VNet4",
                "5,000",
                "500 kB",
                "2.0 kpps",
                "1.6 Mbit/s"
            ]
        );
        assert_eq!(lines[1][5], "4 pps");
        assert_eq!(lines[5][..4], ["no_route", "dropped", "5,000", "0 B"]);
    }

    #[test]
    fn without_a_look_before_there_are_no_rates() {
        let text = text(&table(1.0, 5), None);
        assert!(!text.contains("pps"), "{text}");
        assert!(text.contains("No route matches."));
        assert_eq!(
            super::text(&CounterTable::default(), None),
            "no route has carried a packet\n"
        );
    }
}
