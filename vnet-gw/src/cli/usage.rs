//! `vnet-gw usage`

use anyhow::{Result, bail};

use super::{
    Verdict,
    args::{Cli, OutputFormat, UsageArgs},
    output::{self, bytes, grouped},
    source,
    table::{Left, Right, Table},
};
use crate::{
    control::{Request, Response, short},
    metering::UsageList,
};

pub(super) fn run(cli: &Cli, args: &UsageArgs) -> Result<Verdict> {
    let UsageArgs { from, to, vnet } = args;
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        bail!("--from is not before --to: nothing is between them; exchange them");
    }
    let request = Request::Usage {
        from: *from,
        to: *to,
    };
    let mut usage = source::ask(cli, request, |answer| match answer {
        Response::Usage(usage) => Some(usage),
        _ => None,
    })?;
    if let Some(vnet) = vnet {
        let is = |id: &str| id.eq_ignore_ascii_case(vnet) || short(id).eq_ignore_ascii_case(vnet);
        usage.value.retain(|row| is(&row.virtual_network));
    }
    match cli.output {
        OutputFormat::Json => output::json(&usage)?,
        OutputFormat::Table => output::print(&text(&usage))?,
    }
    Ok(Verdict::Good)
}

fn text(usage: &UsageList) -> String {
    let mut table = Table::new(&[
        ("VIRTUAL NETWORK", Left),
        ("CLASS", Left),
        ("DIRECTION", Left),
        ("PEER", Left),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("", Right),
        ("BILLED", Left),
        ("REGIONS", Left),
    ]);
    for row in &usage.value {
        let mut peer = short(&row.peer);
        if let Some(connection) = &row.connection {
            peer = format!("{peer} by {}", short(connection));
        }
        table.row([
            short(&row.virtual_network),
            row.class.clone(),
            row.direction.clone(),
            peer,
            grouped(row.packets),
            grouped(row.bytes),
            bytes(row.bytes),
            if row.billed { "yes" } else { "no" }.to_owned(),
            format!("{} → {}", row.source_region, row.destination_region),
        ]);
    }
    let period = match (&usage.from, &usage.granularity) {
        (Some(from), Some(granularity)) => {
            format!("from {from} to {}, in buckets of {granularity}\n", usage.to)
        }
        _ => format!("all up to {}\n", usage.to),
    };
    match table.is_empty() {
        true => format!("{period}nothing was metered\n"),
        false => format!("{period}{}", table.text()),
    }
}
