//! A template as `az group export` writes it, and the same networks as a person would.

use vnet_gw_core::model::{
    DeployOptions, PeeringState, PeeringSyncLevel, ResourceId, RouteNextHop, Topology,
    parse_template,
};

const EXPORTED: &str = include_str!("../fixtures/exported.json");
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/vnet-gw";

fn id(rest: &str) -> ResourceId {
    ResourceId::new(&format!("{GROUP}/providers/Microsoft.Network/{rest}"))
}

fn exported() -> Topology {
    parse_template(EXPORTED, &DeployOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_exported_template_is_read_whole() {
    let topology = exported();
    let hub = &topology.virtual_networks[&id("virtualNetworks/hub")];
    let spoke = &topology.virtual_networks[&id("virtualNetworks/spoke")];
    assert_eq!(
        (hub.location.as_str(), spoke.location.as_str()),
        ("westeurope", "westeurope")
    );
    assert_eq!(
        hub.dns_servers,
        ["10.0.1.4".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(hub.tags["environment"], "production");
    // Said inline and again as a resource of its own: there once.
    assert_eq!(hub.subnets.len(), 2);
    let front_end = &spoke.subnets[&id("virtualNetworks/spoke/subnets/FrontEnd")];
    let table = front_end.route_table.as_ref().expect("a route table");
    let routes: Vec<_> = topology.route_tables[table]
        .routes
        .iter()
        .map(|route| {
            (
                &*route.name,
                route.address_prefix.to_string(),
                route.next_hop,
            )
        })
        .collect();
    let nva = RouteNextHop::VirtualAppliance("10.0.1.4".parse().unwrap());
    assert_eq!(
        routes,
        [
            ("no-internet", "0.0.0.0/0".to_owned(), RouteNextHop::None),
            ("to-onprem", "192.168.0.0/16".to_owned(), nva),
        ]
    );
}

#[test]
fn peerings_know_their_other_side() {
    let topology = exported();
    let hub = &topology.virtual_networks[&id("virtualNetworks/hub")];
    let spoke = topology
        .peering(&hub.id, &id("virtualNetworks/spoke"))
        .expect("a peering");
    assert_eq!(spoke.peering_state, PeeringState::Connected);
    assert_eq!(spoke.peering_sync_level, PeeringSyncLevel::FullyInSync);
    assert_eq!(spoke.remote_address_space, ["10.1.0.0/16".parse().unwrap()]);
    assert!(spoke.allow_forwarded_traffic && !spoke.use_remote_gateways);
    // Of a subscription that this template does not describe.
    let shared = &hub.peerings[&id("virtualNetworks/hub/virtualNetworkPeerings/to-shared")];
    assert_eq!(shared.peering_state, PeeringState::Initiated);
    assert!(shared.remote_address_space.is_empty());
}

#[test]
fn network_interfaces_get_what_the_export_leaves_open() {
    let topology = exported();
    let nva = &topology.network_interfaces[&id("networkInterfaces/nva-nic")];
    let addresses: Vec<_> = nva
        .ip_configurations
        .iter()
        .map(|c| (c.name.as_str(), c.private_ip_address.to_string(), c.primary))
        .collect();
    assert_eq!(
        addresses,
        [
            ("ipconfig1", "10.0.1.4".to_owned(), true),
            ("ipv6", "fd00:a:0:1::4".to_owned(), false)
        ]
    );
    assert!(nva.enable_ip_forwarding);
    assert_eq!(nva.device.as_deref(), Some("tap-nva"));
    assert_eq!(nva.mac_address[..3], [0x00, 0x0d, 0x3a]);
    let web = &topology.network_interfaces[&id("networkInterfaces/web-nic")];
    // Dynamic, and kept as it was.
    assert_eq!(
        web.ip_configurations[0].private_ip_address.to_string(),
        "10.1.0.9"
    );
    assert_eq!(web.mac_address, [0x00, 0x0d, 0x3a, 0xab, 0xcd, 0xef]);
    assert_eq!(web.device, None);
}

#[test]
fn parameters_and_the_deployment_reach_the_ids() {
    let mut options = DeployOptions {
        subscription_id: "22222222-2222-2222-2222-222222222222".to_owned(),
        resource_group: "other".to_owned(),
        ..DeployOptions::default()
    };
    options
        .parameters
        .insert("VIRTUALNETWORKS_hub_name".to_owned(), "centre".into());
    let topology = parse_template(EXPORTED, &options).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = topology
        .virtual_networks
        .keys()
        .map(ResourceId::as_str)
        .collect();
    let group = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/other";
    let vnet = |name| format!("{group}/providers/Microsoft.Network/virtualNetworks/{name}");
    assert_eq!(names, [vnet("centre"), vnet("spoke")]);
}

#[test]
fn parsing_is_deterministic() {
    assert_eq!(exported(), exported());
}
