//! `vnet-gw validate`

use anyhow::Result;
use serde_json::json;
use vnet_gw_core::model::{PeeringState, Topology};

use super::{
    Verdict,
    args::{Cli, OutputFormat, ValidateArgs},
    output::{self, count},
};
use crate::{
    control::short,
    daemon::{LoadError, Loaded},
};

pub(super) fn run(cli: &Cli, args: &ValidateArgs) -> Result<Verdict> {
    let files = args.deploy.files(args.file.clone());
    match (files.load(None), cli.output) {
        (Ok(loaded), OutputFormat::Table) => good(&loaded).map(|()| Verdict::Good),
        (Ok(loaded), OutputFormat::Json) => {
            output::json(&summary(&loaded))?;
            Ok(Verdict::Good)
        }
        (Err(error), format) => {
            bad(&error, format)?;
            Ok(Verdict::Bad)
        }
    }
}

fn bad(error: &LoadError, format: OutputFormat) -> Result<()> {
    match format {
        OutputFormat::Json => output::json(&error.body()),
        OutputFormat::Table => {
            for line in error.lines() {
                eprintln!("error: {line}");
            }
            Ok(())
        }
    }
}

fn good(loaded: &Loaded) -> Result<()> {
    for remark in remarks(loaded) {
        eprintln!("warning: {remark}");
    }
    let Totals {
        subnets,
        peerings,
        routes,
    } = Totals::of(loaded);
    let topology = &loaded.topology;
    output::print(&format!(
        "valid: {}, {}, {}, {}, {}; here: {}, {}\n",
        count(topology.virtual_networks.len(), "virtual network"),
        count(subnets, "subnet"),
        count(peerings, "peering"),
        count(topology.network_interfaces.len(), "network interface"),
        count(topology.route_tables.len(), "route table"),
        count(loaded.image.ports.len(), "port"),
        count(routes, "active route"),
    ))
}

struct Totals {
    subnets: usize,
    peerings: usize,
    routes: usize,
}

impl Totals {
    fn of(loaded: &Loaded) -> Self {
        let vnets = loaded.topology.virtual_networks.values();
        let tables = loaded.image.subnets.values();
        Self {
            subnets: vnets.clone().map(|vnet| vnet.subnets.len()).sum(),
            peerings: vnets.map(|vnet| vnet.peerings.len()).sum(),
            routes: tables
                .map(|subnet| subnet.v4.routes.len() + subnet.v6.routes.len())
                .sum(),
        }
    }
}

fn summary(loaded: &Loaded) -> serde_json::Value {
    let Totals {
        subnets,
        peerings,
        routes,
    } = Totals::of(loaded);
    let topology = &loaded.topology;
    json!({
        "virtualNetworks": topology.virtual_networks.len(),
        "subnets": subnets,
        "virtualNetworkPeerings": peerings,
        "networkInterfaces": topology.network_interfaces.len(),
        "routeTables": topology.route_tables.len(),
        "ports": loaded.image.ports.len(),
        "activeRoutes": routes,
        "warnings": remarks(loaded),
    })
}

/// What is valid and perhaps not meant.
fn remarks(loaded: &Loaded) -> Vec<String> {
    let Topology {
        virtual_networks,
        network_interfaces,
        ..
    } = &*loaded.topology;
    let halves =
        virtual_networks.values().flat_map(|vnet| {
            let alone = vnet.peerings.values();
            alone.filter(|one| one.peering_state != PeeringState::Connected).map(|one| {
            format!(
                "peering {} is {}: {} has no peering back to {}; nothing is forwarded over it",
                short(one.id.as_str()),
                one.peering_state.as_str(),
                one.remote_virtual_network.name(),
                vnet.id.name(),
            )
        })
        });
    let loose = network_interfaces
        .values()
        .filter(|nic| nic.device.is_none());
    let loose = loose.map(|nic| {
        format!(
            "network interface {} has no tag vnet-gw:device: it is plugged in nowhere",
            nic.id.name()
        )
    });
    halves.chain(loose).collect()
}
