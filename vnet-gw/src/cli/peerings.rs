//! `vnet-gw peerings`

use anyhow::Result;

use super::{
    Verdict,
    args::{Cli, OutputFormat, SourceArgs},
    effective_routes::joined,
    output, source,
    table::{Left, Table},
};
use crate::control::{PeeringRow, Request, Response, peerings, short};

pub(super) fn run(cli: &Cli, args: &SourceArgs) -> Result<Verdict> {
    let list = source::answer(
        cli,
        args,
        |snapshot| Ok(peerings(&snapshot.topology)),
        Request::Peerings {},
        |answer| match answer {
            Response::Peerings(list) => Some(list),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&list)?,
        OutputFormat::Table => output::print(&text(&list.value))?,
    }
    Ok(Verdict::Good)
}

fn text(rows: &[PeeringRow]) -> String {
    let mut table = Table::new(&[
        ("VNET", Left),
        ("PEERING", Left),
        ("REMOTE VNET", Left),
        ("STATE", Left),
        ("SYNC", Left),
        ("FORWARDED", Left),
        ("REMOTE PREFIXES", Left),
    ]);
    for row in rows {
        table.row([
            short(&row.virtual_network.id),
            row.name.clone(),
            short(&row.remote_virtual_network.id),
            row.peering_state.clone(),
            row.peering_sync_level.clone(),
            if row.allow_forwarded_traffic {
                "allowed"
            } else {
                "no"
            }
            .to_owned(),
            joined(&row.remote_address_space.address_prefixes),
        ]);
    }
    if table.is_empty() {
        "no peerings\n".to_owned()
    } else {
        table.text()
    }
}
