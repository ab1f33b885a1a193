//! Everything that is made of a topology, held against the reference.

use super::*;

/// The longest match in a compiled table, by looking at every route.
fn compiled(subnet: &SubnetImage, destination: IpAddr) -> Option<(IpNet, ActionImage)> {
    let v4 = subnet
        .v4
        .routes
        .iter()
        .map(|(prefix, at)| (IpNet::V4(*prefix), subnet.v4.actions[*at as usize].clone()));
    let v6 = subnet
        .v6
        .routes
        .iter()
        .map(|(prefix, at)| (IpNet::V6(*prefix), subnet.v6.actions[*at as usize].clone()));
    v4.chain(v6)
        .filter(|(prefix, _)| prefix.contains(&destination))
        .max_by_key(|(prefix, _)| prefix.prefix_len())
}

/// Addresses at the edges of every prefix and of every NIC.
fn destinations(t: &Topology, rows: &[Row]) -> Vec<IpAddr> {
    let step = |ip: IpAddr, by: i8| match ip {
        IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().wrapping_add_signed(by.into()).into()),
        IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().wrapping_add_signed(by.into()).into()),
    };
    let mut all: Vec<IpAddr> = t
        .network_interfaces
        .values()
        .map(|nic| nic.ip_configurations[0].private_ip_address)
        .collect();
    for row in rows {
        let (first, last) = (row.prefix.network(), row.prefix.broadcast());
        all.extend([first, last, step(first, -1), step(last, 1), step(first, 4)]);
    }
    all
}

/// Whether what `explain` says happens is what the data path does with the action.
fn check_delivery(
    reference: &Reference<'_>,
    destination: IpAddr,
    action: &ActionImage,
    delivery: &Delivery,
) -> Result<(), TestCaseError> {
    let endpoint = |vnet: &ResourceId| {
        let vnet = &reference.t.virtual_networks[vnet];
        (
            vnet.id.as_str().to_owned(),
            reference.nic(vnet, destination),
        )
    };
    match (action, delivery) {
        (ActionImage::Local { vnet } | ActionImage::Peering { vnet, .. }, delivery) => {
            let (vnet, nic) = endpoint(vnet);
            match (nic, delivery) {
                (Some(nic), Delivery::Endpoint(taker)) => {
                    prop_assert_eq!(nic.id.as_str(), &taker.network_interface);
                    prop_assert_eq!(vnet, taker.virtual_network.clone());
                }
                (None, Delivery::NobodyHasIt { virtual_network }) => {
                    prop_assert_eq!(vnet, virtual_network.clone());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        (
            ActionImage::Appliance {
                vnet: Some(vnet),
                address,
                ..
            },
            Delivery::Appliance {
                address: said,
                taker,
            },
        ) => {
            let nic = reference
                .nic(&reference.t.virtual_networks[vnet], *address)
                .unwrap();
            prop_assert_eq!(address, said);
            prop_assert_eq!(nic.id.as_str(), &taker.network_interface);
        }
        (
            ActionImage::Appliance {
                vnet: None,
                address,
                ..
            },
            Delivery::ApplianceUnreachable { address: said, .. },
        ) => prop_assert_eq!(address, said),
        (
            ActionImage::Gateway {
                vnet: Some(vnet), ..
            },
            Delivery::VirtualNetworkGateway {
                gateway,
                connection,
                ..
            },
        ) => {
            prop_assert_eq!(vnet, &reference.gateway().unwrap().virtual_network);
            prop_assert_eq!(gateway, reference.gateway().unwrap().id.as_str());
            let matching = reference.remote();
            let matching = matching.iter().filter(|(p, _)| p.contains(&destination));
            let longest = matching.clone().map(|(p, _)| p.prefix_len()).max();
            let mut best = matching.filter(|(p, _)| Some(p.prefix_len()) == longest);
            prop_assert!(
                best.any(|(_, id)| id.as_str() == connection),
                "{connection}"
            );
        }
        (
            ActionImage::Gateway { vnet: Some(_), .. },
            Delivery::NoConnection { gateway } | Delivery::TurnedBack { gateway, .. },
        ) => {
            prop_assert_eq!(gateway, reference.gateway().unwrap().id.as_str());
            let remote = reference.remote();
            prop_assert!(!remote.iter().any(|(p, _)| p.contains(&destination)));
            let behind = reference.behind();
            let behind = behind.iter().any(|p| p.contains(&destination));
            if let Delivery::TurnedBack { delivery, .. } = delivery {
                prop_assert!(behind);
                let subnet = &reference.gateway().unwrap().subnet;
                let again = explain(reference.t, subnet, destination).unwrap();
                prop_assert_eq!(&again.delivery, &**delivery);
                // It ends there.
                let again = matches!(**delivery, Delivery::TurnedBack { .. });
                prop_assert!(!again);
            } else {
                prop_assert!(!behind);
            }
        }
        (ActionImage::Gateway { vnet: None, .. }, Delivery::TunnelToTunnel) => {
            prop_assert!(reference.gateway().is_some());
        }
        (ActionImage::Gateway { vnet: None, .. }, Delivery::NoGateway) => {
            let gateway = reference.gateway();
            let hub =
                gateway.map(|gateway| &reference.t.virtual_networks[&gateway.virtual_network]);
            prop_assert!(hub.is_none_or(|hub| reference.shut(hub)));
        }
        (ActionImage::Internet, Delivery::Internet)
        | (ActionImage::None, Delivery::Dropped | Delivery::SubnetNotPeered { .. }) => {}
        other => prop_assert!(false, "{other:?}"),
    }
    Ok(())
}

fn check_subnet(reference: &Reference<'_>, image: &Image) -> Result<(), TestCaseError> {
    let (t, id) = (reference.t, &reference.subnet.id);
    let mut expected = reference.rows();
    let listed = effective_routes(t, id).unwrap();
    let key = |row: &Row| (row.prefix, row.source, row.state, row.hop, row.address);
    let mut keys: Vec<_> = expected.iter().map(key).collect();
    let mut got: Vec<_> = listed
        .iter()
        .map(|row| {
            let address = row.next_hop_ip_address.first().copied();
            let (source, state) = (row.source.as_str(), row.state.as_str());
            (
                row.address_prefix[0],
                source,
                state,
                row.next_hop_type.as_str(),
                address,
            )
        })
        .collect();
    keys.sort();
    got.sort();
    prop_assert_eq!(got, keys);

    let to = destinations(t, &expected);
    expected.retain(|row| row.state == "Active");
    let table = image.subnets.get(id);
    if let Some(table) = table {
        let mut routes: Vec<_> = expected.iter().map(|row| row.prefix).collect();
        routes.sort();
        let v4 = table.v4.routes.iter().map(|(prefix, _)| IpNet::V4(*prefix));
        let v6 = table.v6.routes.iter().map(|(prefix, _)| IpNet::V6(*prefix));
        // In order and without doubles, or this would not be equal.
        prop_assert_eq!(v4.chain(v6).collect::<Vec<_>>(), routes);
    }
    for destination in to {
        let winner = expected
            .iter()
            .filter(|row| row.prefix.contains(&destination))
            .max_by_key(|row| row.prefix.prefix_len());
        let answer = explain(t, id, destination).unwrap();
        let said = answer.winner.as_ref().map(|winner| {
            let hop = winner.route.next_hop_type.as_str();
            (
                winner.route.address_prefix[0],
                winner.route.source.as_str(),
                hop,
            )
        });
        prop_assert_eq!(said, winner.map(|row| (row.prefix, row.source, row.hop)));
        match winner {
            Some(row) => check_delivery(reference, destination, &row.action, &answer.delivery)?,
            None => prop_assert_eq!(&answer.delivery, &Delivery::NoRoute),
        }
        if let Some(table) = table {
            let winner = winner.map(|row| (row.prefix, row.action.clone()));
            prop_assert_eq!(compiled(table, destination), winner, "to {}", destination);
        }
        // Winner and others together are all the listed rows that contain the destination.
        let matching = listed
            .iter()
            .filter(|row| row.contains(destination))
            .count();
        let told = answer
            .others
            .iter()
            .filter(|other| matches!(other.state, OtherState::Active | OtherState::Invalid));
        prop_assert_eq!(
            told.count() + usize::from(answer.winner.is_some()),
            matching
        );
    }
    Ok(())
}

pub(super) fn check(t: &Topology, image: &Image) -> Result<(), TestCaseError> {
    for vnet in t.virtual_networks.values() {
        for subnet in vnet.subnets.values() {
            check_subnet(&Reference { t, vnet, subnet }, image)?;
        }
    }
    let ports = t
        .network_interfaces
        .values()
        .filter(|nic| nic.device.is_some());
    let gateways = t.virtual_network_gateways.len();
    prop_assert_eq!(image.gateways.len(), gateways);
    prop_assert_eq!(image.ports.len(), ports.count() + gateways);
    let endpoints = t.network_interfaces.len() + 2 * gateways;
    prop_assert_eq!(image.endpoints.len(), endpoints);
    let place = |endpoint: &EndpointImage| (endpoint.vnet.clone(), endpoint.address);
    prop_assert!(image.endpoints.is_sorted_by_key(place));
    Ok(())
}
