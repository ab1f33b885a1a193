//! Random topologies: those made valid parse, and those with an overlap are refused exactly where
//! a look at every pair finds one.

use ipnet::IpNet;
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    store::Store,
    support::{good, nic, parse, vnet},
};

/// Networks as lists of subnet sizes, and which of them are peered.
fn plan() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<(usize, usize)>)> {
    prop::collection::vec(prop::collection::vec(22u8..=29, 1..6), 1..8).prop_flat_map(|networks| {
        let count = networks.len();
        (
            Just(networks),
            prop::collection::vec((0..count, 0..count), 0..12),
        )
    })
}

fn name(network: usize) -> String {
    format!("VNet{network}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_made_valid_is_accepted((networks, peered) in plan()) {
        let mut resources: Vec<Value> = Vec::new();
        let mut interfaces = 0;
        for (number, sizes) in networks.iter().enumerate() {
            let space = format!("10.{number}.0.0/16");
            // A /22 apart each, which is the largest.
            let subnets: Vec<(String, String)> = sizes
                .iter()
                .enumerate()
                .map(|(at, size)| (format!("s{at}"), format!("10.{number}.{}.0/{size}", at * 4)))
                .collect();
            let subnets_of: Vec<_> = subnets.iter().map(|(n, p)| (n.as_str(), p.as_str())).collect();
            let mut peers: Vec<String> = peered
                .iter()
                .flat_map(|(a, b)| [(*a, *b), (*b, *a)])
                .filter(|(a, b)| *a == number && a != b)
                .map(|(_, b)| name(b))
                .collect();
            peers.sort();
            peers.dedup();
            let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
            resources.push(vnet(&name(number), &[&space], &subnets_of, &peers));
            for (subnet, _) in &subnets {
                // Three dynamic ones fit even into a /29.
                for _ in 0..3 {
                    interfaces += 1;
                    resources.push(nic(&format!("nic{interfaces:03}"), &format!("{}/{subnet}", name(number)), ""));
                }
            }
        }
        let topology = good(&resources);
        prop_assert_eq!(&Store::of(&resources).topology, &topology);
        prop_assert_eq!(topology.network_interfaces.len(), interfaces);
        for network in topology.virtual_networks.values() {
            for peering in network.peerings.values() {
                let back = topology.peering(&peering.remote_virtual_network, &network.id);
                prop_assert!(back.is_some());
                prop_assert_eq!(peering.peering_state.as_str(), "Connected");
            }
        }
        for interface in topology.network_interfaces.values() {
            let configuration = &interface.ip_configurations[0];
            let network = topology.vnet_of_subnet(&configuration.subnet).expect("a network");
            let prefix = network.subnets[&configuration.subnet].address_prefixes[0];
            prop_assert!(prefix.contains(&configuration.private_ip_address));
        }
    }

    #[test]
    fn overlaps_across_peerings_are_those_of_every_pair(
        spaces in prop::collection::vec((0u8..24, 12u8..=16), 3..6),
        peered in prop::collection::vec((0usize..6, 0usize..6), 0..8),
    ) {
        let prefixes: Vec<IpNet> = spaces
            .iter()
            .map(|(second, length)| format!("10.{second}.0.0/{length}").parse::<IpNet>().expect("a prefix").trunc())
            .collect();
        let count = prefixes.len();
        let mut peers = vec![Vec::new(); count];
        for (a, b) in peered {
            let (a, b) = (a % count, b % count);
            if a != b && !peers[a].contains(&b) {
                peers[a].push(b);
            }
        }
        let overlap = |a: usize, b: usize| {
            prefixes[a].contains(&prefixes[b]) || prefixes[b].contains(&prefixes[a])
        };
        let mut direct = false;
        let mut through = false;
        for (network, peers) in peers.iter().enumerate() {
            for (at, a) in peers.iter().enumerate() {
                direct |= overlap(network, *a);
                through |= peers[at + 1..].iter().any(|b| overlap(*a, *b));
            }
        }
        let resources: Vec<Value> = (0..count)
            .map(|network| {
                let names: Vec<String> = peers[network].iter().map(|peer| name(*peer)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                vnet(&name(network), &[&prefixes[network].to_string()], &[], &names)
            })
            .collect();
        let found = parse(&resources).err();
        let has = |code: &str| found.as_ref().is_some_and(|error| error.has_code(code));
        prop_assert_eq!(has("VnetAddressSpacesOverlap"), direct);
        prop_assert_eq!(has("VnetAddressSpaceOverlapsWithAlreadyPeeredVnet"), through);
        prop_assert_eq!(found.is_some(), direct || through);
    }

    /// Whatever is broken in a good template, the answer is a topology or an error, never a panic.
    #[test]
    fn nothing_panics(gateways in any::<bool>(), at in 0usize..2_000, junk in "[\\[\\]{}\",:a-z0-9'()/\u{e9}]{0,6}") {
        let text = match gateways {
            true => include_str!("../fixtures/gateways.json"),
            false => include_str!("../fixtures/exported.json"),
        };
        let start = (0..=at * text.len() / 2_000).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
        let broken = format!("{}{junk}{}", &text[..start], &text[start..]);
        let _ = vnet_gw_core::model::parse_template(&broken, &Default::default());
    }
}
