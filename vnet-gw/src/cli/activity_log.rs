//! `vnet-gw activity-log`

use std::time::SystemTime;

use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{
    Verdict,
    args::{ActivityLogArgs, Cli, OutputFormat},
    output, source,
    table::{Left, Table},
};
use crate::{control::short, engine::activity::Activity};

#[derive(Deserialize)]
struct Log {
    value: Vec<Activity>,
}

pub(super) fn run(cli: &Cli, args: &ActivityLogArgs) -> Result<Verdict> {
    let since = args.since.clone().or_else(|| {
        let at = SystemTime::now().checked_sub(args.offset?)?;
        Some(humantime::format_rfc3339_seconds(at).to_string())
    });
    let top = args.top.to_string();
    let mut path = format!("/vnet-gw/activity?top={top}");
    for (name, value) in [
        ("since", &since),
        ("resource", &args.resource),
        ("caller", &args.caller),
    ] {
        if let Some(value) = value {
            path.push_str(&format!(
                "&{name}={}",
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            ));
        }
    }
    let body = source::api(cli)?.get(&path)?.body;
    if cli.output == OutputFormat::Json {
        output::json(&body)?;
        return Ok(Verdict::Good);
    }
    let log: Log = serde_json::from_value(body).context("the daemon's answer is not understood")?;
    output::print(&text(&log.value))?;
    Ok(Verdict::Good)
}

fn text(records: &[Activity]) -> String {
    let mut table = Table::new(&[
        ("TIME", Left),
        ("WHO", Left),
        ("FROM", Left),
        ("OPERATION", Left),
        ("RESOURCE", Left),
        ("RESULT", Left),
    ]);
    for record in records {
        let from = record.caller_ip_address.clone();
        table.row([
            record.event_timestamp.clone(),
            record.caller.clone(),
            from.unwrap_or_else(|| "this host".to_owned()),
            record.operation_name.clone(),
            short(&record.resource_id),
            format!("{:?}: {}", record.status, record.sub_status),
        ]);
    }
    match records.is_empty() {
        true => "nothing was changed\n".to_owned(),
        false => table.text(),
    }
}
