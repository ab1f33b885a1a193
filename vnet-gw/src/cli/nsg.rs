//! `vnet-gw nsg`

use anyhow::{Result, bail};

use super::{
    Verdict,
    args::{Cli, NsgArgs, NsgCommand, NsgShowArgs, OutputFormat},
    output::{self, grouped},
    source,
    table::{Left, Right, Table},
};
use crate::control::{Request, Response, SecurityRuleList, SecurityRuleRow, short};

pub(super) fn run(cli: &Cli, args: &NsgArgs) -> Result<Verdict> {
    match &args.command {
        NsgCommand::Show(args) => show(cli, args),
    }
}

fn show(cli: &Cli, args: &NsgShowArgs) -> Result<Verdict> {
    let mut list = source::ask(cli, Request::SecurityRules {}, |answer| match answer {
        Response::SecurityRules(list) => Some(list),
        _ => None,
    })?;
    if let Some(name) = &args.name {
        list.value.retain(|row| is_named(row, name));
        if list.value.is_empty() {
            bail!(
                "{name}: no such network security group holds for a network interface on this host"
            );
        }
    }
    match cli.output {
        OutputFormat::Json => output::json(&list)?,
        OutputFormat::Table => output::print(&text(&list))?,
    }
    Ok(Verdict::Good)
}

/// By name, or by id.
fn is_named(row: &SecurityRuleRow, name: &str) -> bool {
    let id = &row.network_security_group;
    id.eq_ignore_ascii_case(name)
        || short(id).eq_ignore_ascii_case(name)
        || id
            .rsplit('/')
            .next()
            .is_some_and(|last| last.eq_ignore_ascii_case(name))
}

fn text(list: &SecurityRuleList) -> String {
    let mut table = Table::new(&[
        ("GROUP", Left),
        ("DIRECTION", Left),
        ("PRIORITY", Right),
        ("RULE", Left),
        ("ACCESS", Left),
        ("HITS", Right),
        ("LAST HIT", Right),
    ]);
    for row in &list.value {
        table.row([
            short(&row.network_security_group),
            row.direction.clone(),
            row.priority.to_string(),
            row.name.clone(),
            row.access.clone(),
            grouped(row.hits),
            row.last_hit_seconds.map_or_else(|| "-".to_owned(), ago),
        ]);
    }
    let flows = &list.flows;
    let flows = format!(
        "flows: {} established, {} half-open, {} expired\n",
        grouped(flows.established),
        grouped(flows.half_open),
        grouped(flows.expired)
    );
    if table.is_empty() {
        format!("no network security group holds for a network interface on this host\n{flows}")
    } else {
        format!("{}\n{flows}", table.text())
    }
}

fn ago(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs(seconds.max(0.0) as u64);
    format!("{} ago", humantime::format_duration(whole))
}
