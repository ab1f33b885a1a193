//! `vnet-gw validate`

use anyhow::Result;
use serde_json::json;
use vnet_gw_core::{
    ike::ConnectionMode,
    model::{Connection, PeeringState, Topology},
};

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
    match (files.load(), cli.output) {
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
        "valid: {}, {}, {}, {}, {}, {}, {}; here: {}, {}\n",
        count(topology.virtual_networks.len(), "virtual network"),
        count(subnets, "subnet"),
        count(peerings, "peering"),
        count(topology.network_interfaces.len(), "network interface"),
        count(topology.route_tables.len(), "route table"),
        count(topology.virtual_network_gateways.len(), "VPN gateway"),
        count(topology.connections.len(), "connection"),
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
        let vnets = || loaded.topology.virtual_networks.values();
        let tables = loaded.image.subnets.values();
        Self {
            subnets: vnets().map(|vnet| vnet.subnets.len()).sum(),
            peerings: vnets().map(|vnet| vnet.peerings.len()).sum(),
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
        "virtualNetworkGateways": topology.virtual_network_gateways.len(),
        "connections": topology.connections.len(),
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
    let connections = connections(&loaded.topology);
    let circles = loaded.route_loops();
    let circles = circles.into_iter();
    halves
        .chain(connections)
        .chain(circles)
        .chain(loose)
        .collect()
}

/// Of each `Vnet2Vnet` connection: what keeps the two sides from coming together.
fn connections(topology: &Topology) -> impl Iterator<Item = String> {
    let all = topology.connections.values();
    all.filter(|there| there.is_vnet_to_vnet())
        .flat_map(|there| match topology.connection_back(there) {
            None => vec![format!(
                "connection {} has no connection back from {}: it comes up once there is one",
                there.id.name(),
                there.remote.id().name(),
            )],
            // Once a pair.
            Some(back) if there.id < back.id => pair(topology, there, back),
            Some(_) => Vec::new(),
        })
}

fn pair(topology: &Topology, there: &Connection, back: &Connection) -> Vec<String> {
    let host = |connection: &Connection| {
        let gateway = topology.virtual_network_gateways.get(&connection.gateway)?;
        gateway.host.as_ref().map(|host| host.to_lowercase())
    };
    let mut found = Vec::new();
    match (&there.shared_key, &back.shared_key) {
        (Some(one), Some(other)) if one != other => found.push("have different shared keys"),
        (None, None) if host(there) != host(back) => found.push(
            "have no shared key, and each host would make one of its own: write the same sharedKey \
             in both",
        ),
        _ => {}
    }
    if there.ipsec_policy != back.ipsec_policy {
        found.push("have different IPsec policies");
    }
    match (there.mode, back.mode) {
        (ConnectionMode::ResponderOnly, ConnectionMode::ResponderOnly) => {
            found.push("are both ResponderOnly: neither begins");
        }
        (ConnectionMode::InitiatorOnly, ConnectionMode::InitiatorOnly) => {
            found.push("are both InitiatorOnly: neither answers");
        }
        _ => {}
    }
    let (there, back) = (there.id.name(), back.id.name());
    found
        .into_iter()
        .map(|what| format!("connections {there} and {back} {what}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use vnet_gw_core::model::{DeployOptions, parse_template};

    use super::*;

    const TEMPLATE: &str = include_str!("../../core/tests/fixtures/gateways.json");

    fn remarks_with(changes: &[(&str, &str)]) -> Vec<String> {
        let text = changes
            .iter()
            .fold(TEMPLATE.to_owned(), |text, (old, new)| {
                assert!(text.contains(old), "{old}");
                text.replacen(old, new, 1)
            });
        let topology = parse_template(&text, &DeployOptions::default());
        connections(&topology.unwrap_or_else(|error| panic!("{error}"))).collect()
    }

    #[test]
    fn a_good_pair_is_not_remarked_on() {
        assert!(remarks_with(&[]).is_empty());
        // The key of one side holds for both.
        let key = r#""sharedKey": "MadeUpForTheExample1","#;
        assert!(remarks_with(&[(key, "")]).is_empty());
    }

    #[test]
    fn what_keeps_a_pair_apart_is_told_once() {
        let key = r#""sharedKey": "MadeUpForTheExample1","#;
        let both = |new: &str| remarks_with(&[(key, new), (key, new)]);
        for (remarks, says) in [
            (both(""), "each host would make one of its own"),
            (
                remarks_with(&[(key, r#""sharedKey": "Another","#)]),
                "different shared keys",
            ),
            (
                both(r#""sharedKey": "Same", "connectionMode": "ResponderOnly","#),
                "neither begins",
            ),
            (
                both(r#""sharedKey": "Same", "connectionMode": "InitiatorOnly","#),
                "neither answers",
            ),
            (
                remarks_with(&[(
                    key,
                    r#""ipsecPolicies": [{"ikeEncryption": "AES256", "ikeIntegrity": "SHA256",
                        "dhGroup": "ECP256", "ipsecEncryption": "AES256",
                        "ipsecIntegrity": "SHA256", "pfsGroup": "None"}],"#,
                )]),
                "different IPsec policies",
            ),
        ] {
            assert_eq!(remarks.len(), 1, "{remarks:?}");
            assert!(remarks[0].contains(says), "{remarks:?}");
        }
        let alone = remarks_with(&[(
            r#""connectionType": "Vnet2Vnet", "connectionProtocol": "IKEv2", "sharedKey": "MadeUpForTheExample1",
       "virtualNetworkGateway1": {"id": "[resourceId('Microsoft.Network/virtualNetworkGateways', 'VNet4GW')]"},
       "virtualNetworkGateway2": {"id": "[resourceId('Microsoft.Network/virtualNetworkGateways', 'VNet1GW')]"}"#,
            r#""connectionType": "IPsec",
       "virtualNetworkGateway1": {"id": "[resourceId('Microsoft.Network/virtualNetworkGateways', 'VNet4GW')]"},
       "localNetworkGateway2": {"id": "[resourceId('Microsoft.Network/localNetworkGateways', 'OnPremises')]"}"#,
        )]);
        assert_eq!(
            alone,
            [
                "connection VNet1-to-VNet4 has no connection back from VNet4GW: it comes up once there is one"
            ]
        );
    }
}
