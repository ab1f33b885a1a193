//! `vnet-gw effective-routes`

use anyhow::Result;
use vnet_gw_core::effective::EffectiveRoute;

use super::{
    Verdict,
    args::{Cli, EffectiveRoutesArgs, OutputFormat},
    output, source,
    table::{Left, Table},
};
use crate::control::{Request, Response, Target, effective_routes};

pub(super) fn run(cli: &Cli, args: &EffectiveRoutesArgs) -> Result<Verdict> {
    let of = match (&args.of.nic, &args.of.subnet) {
        (Some(nic), _) => Target::NetworkInterface(nic.clone()),
        (None, subnet) => Target::Subnet(subnet.clone().unwrap_or_default()),
    };
    let routes = source::answer(
        cli,
        &args.source,
        |snapshot| effective_routes(&snapshot.topology, &of),
        Request::EffectiveRoutes { of: of.clone() },
        |answer| match answer {
            Response::EffectiveRoutes(routes) => Some(routes),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&routes)?,
        OutputFormat::Table => output::print(&table(&routes.value))?,
    }
    Ok(Verdict::Good)
}

fn table(routes: &[EffectiveRoute]) -> String {
    let mut table = Table::new(&[
        ("SOURCE", Left),
        ("STATE", Left),
        ("ADDRESS PREFIX", Left),
        ("NEXT HOP TYPE", Left),
        ("NEXT HOP IP", Left),
        ("NAME", Left),
    ]);
    for route in routes {
        table.row([
            route.source.to_string(),
            route.state.to_string(),
            joined(&route.address_prefix),
            route.next_hop_type.to_string(),
            joined(&route.next_hop_ip_address),
            route.name.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

pub(super) fn joined<T: ToString>(values: &[T]) -> String {
    values
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}
