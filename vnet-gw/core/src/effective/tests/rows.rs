//! Rows as Azure lists them.

use serde_json::json;

use super::build::{
    Build, appliance, hub_and_spokes, ip, net, nic_id, route, subnet_id, table_id, vnet_id,
};
use crate::{
    effective::{
        EffectiveError, EffectiveRouteTable, NextHopResult, NextHopType, effective_routes,
        effective_routes_of_nic, next_hop,
    },
    model::{PeeringState, RouteNextHop, Topology},
};

/// `prefix source state nextHopType address`, a row a line.
fn rows(t: &Topology, vnet: &str, subnet: &str) -> Vec<String> {
    let rows = effective_routes(t, &subnet_id(vnet, subnet)).unwrap();
    let text = rows.iter().map(|row| {
        let [prefix] = row.address_prefix[..] else {
            panic!("one prefix a row: {row:?}")
        };
        let hop: String = row
            .next_hop_ip_address
            .iter()
            .map(|ip| format!(" {ip}"))
            .collect();
        format!(
            "{prefix} {} {} {}{hop}",
            row.source, row.state, row.next_hop_type
        )
    });
    text.collect()
}

#[test]
fn a_peered_dual_stack_subnet_has_azures_default_routes() {
    let t = hub_and_spokes();
    assert_eq!(
        rows(&t, "Hub", "FrontEnd"),
        [
            "10.1.0.0/16 Default Active VnetLocal",
            "fd00:1::/48 Default Active VnetLocal",
            "10.2.0.0/16 Default Active VNetPeering",
            "10.3.0.0/16 Default Active VNetGlobalPeering",
            "fd00:2::/48 Default Active VNetPeering",
            "0.0.0.0/0 Default Active Internet",
            "::/0 Default Active Internet",
            "10.0.0.0/8 Default Active None",
            "100.64.0.0/10 Default Active None",
            "172.16.0.0/12 Default Active None",
            "192.168.0.0/16 Default Active None",
        ]
    );
}

#[test]
fn a_vnet_without_ipv6_has_no_ipv6_default_route() {
    let t = hub_and_spokes();
    let rows = rows(&t, "Far", "FrontEnd");
    assert!(
        rows.contains(&"fd00:1::/48 Default Active VNetGlobalPeering".to_owned()),
        "{rows:?}"
    );
    assert!(!rows.iter().any(|row| row.starts_with("::/0")), "{rows:?}");
}

#[test]
fn peerings_are_not_transitive() {
    let t = hub_and_spokes();
    assert!(
        !rows(&t, "Near", "FrontEnd")
            .iter()
            .any(|row| row.starts_with("10.3."))
    );
}

#[test]
fn row_21_a_peering_that_is_not_connected_yields_no_route() {
    for state in [PeeringState::Initiated, PeeringState::Disconnected] {
        let mut t = hub_and_spokes();
        t.side("Hub", "Near").peering_state = state;
        let rows = rows(&t, "Hub", "FrontEnd");
        assert!(
            !rows.iter().any(|row| row.contains("VNetPeering")),
            "{state:?}: {rows:?}"
        );
        assert!(
            rows.iter().any(|row| row.contains("VNetGlobalPeering")),
            "{state:?}: {rows:?}"
        );
    }
}

#[test]
fn every_prefix_that_was_synchronised_is_a_row_of_its_own() {
    let mut t = hub_and_spokes();
    t.side("Hub", "Far").remote_address_space = vec![net("10.3.0.0/16"), net("10.30.0.0/24")];
    let rows = rows(&t, "Hub", "FrontEnd");
    let global: Vec<_> = rows
        .iter()
        .filter(|row| row.contains("VNetGlobalPeering"))
        .collect();
    assert_eq!(global.len(), 2, "{rows:?}");
}

#[test]
fn a_loser_stays_listed_and_a_user_default_takes_reserved_routes_away() {
    let mut t = hub_and_spokes();
    let routes = vec![
        route("to-nva", "0.0.0.0/0", appliance("10.1.9.4")),
        route("near", "10.2.0.0/16", appliance("10.1.9.4")),
        route("drop", "203.0.113.0/24", RouteNextHop::None),
    ];
    t.table("rt", routes).disable_bgp_route_propagation = true;
    t.attach("Hub", "FrontEnd", "rt");
    assert_eq!(
        rows(&t, "Hub", "FrontEnd"),
        [
            "10.1.0.0/16 Default Active VnetLocal",
            "fd00:1::/48 Default Active VnetLocal",
            "10.2.0.0/16 Default Invalid VNetPeering",
            "10.3.0.0/16 Default Active VNetGlobalPeering",
            "fd00:2::/48 Default Active VNetPeering",
            "0.0.0.0/0 Default Invalid Internet",
            "::/0 Default Active Internet",
            "0.0.0.0/0 User Active VirtualAppliance 10.1.9.4",
            "10.2.0.0/16 User Active VirtualAppliance 10.1.9.4",
            "203.0.113.0/24 User Active None",
        ]
    );
    // The other subnet of the VNet has no route table.
    assert!(
        rows(&t, "Hub", "Nva")
            .iter()
            .all(|row| !row.contains("User"))
    );
}

#[test]
fn vnet_prefixes_replace_reserved_ones() {
    let mut t = Topology::default();
    t.vnet(
        "A",
        "westeurope",
        &["10.0.0.0/8", "172.0.0.0/8", "192.168.7.0/24"],
    );
    t.vnet("B", "westeurope", &["100.64.0.0/10"]);
    t.subnet("A", "S", &["10.0.0.0/24"]);
    t.peer("A", "B");
    assert_eq!(
        rows(&t, "A", "S"),
        [
            "10.0.0.0/8 Default Active VnetLocal",
            "172.0.0.0/8 Default Active VnetLocal",
            "192.168.7.0/24 Default Active VnetLocal",
            "100.64.0.0/10 Default Active VNetPeering",
            "0.0.0.0/0 Default Active Internet",
            "192.168.0.0/16 Default Active None",
        ]
    );
}

#[test]
fn json_is_azures() {
    let mut t = hub_and_spokes();
    let routes = vec![route("to-nva", "203.0.113.0/24", appliance("10.1.9.4"))];
    t.table("rt", routes).disable_bgp_route_propagation = true;
    t.attach("Far", "FrontEnd", "rt");
    let value = effective_routes(&t, &subnet_id("Far", "FrontEnd")).unwrap();
    let table = EffectiveRouteTable { value };
    let value = serde_json::to_value(&table).unwrap();
    assert_eq!(
        value["value"][0],
        json!({
            "disableBgpRoutePropagation": true,
            "source": "Default",
            "state": "Active",
            "addressPrefix": ["10.3.0.0/16"],
            "nextHopIpAddress": [],
            "nextHopType": "VnetLocal",
        })
    );
    assert_eq!(
        value["value"].as_array().unwrap().last().unwrap(),
        &json!({
            "name": "to-nva",
            "disableBgpRoutePropagation": true,
            "source": "User",
            "state": "Active",
            "addressPrefix": ["203.0.113.0/24"],
            "nextHopIpAddress": ["10.1.9.4"],
            "nextHopType": "VirtualAppliance",
        })
    );
    assert_eq!(
        serde_json::from_value::<EffectiveRouteTable>(value).unwrap(),
        table
    );
}

#[test]
fn every_name_is_spelt_as_it_serialises() {
    use crate::effective::{RouteSource, RouteState};
    for hop in [
        NextHopType::VnetLocal,
        NextHopType::VNetPeering,
        NextHopType::VNetGlobalPeering,
        NextHopType::Internet,
        NextHopType::VirtualAppliance,
        NextHopType::VirtualNetworkGateway,
        NextHopType::None,
    ] {
        assert_eq!(serde_json::to_value(hop).unwrap(), hop.as_str());
    }
    for source in [
        RouteSource::Default,
        RouteSource::User,
        RouteSource::VirtualNetworkGateway,
        RouteSource::Unknown,
    ] {
        assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
    }
    for state in [RouteState::Active, RouteState::Invalid] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn next_hop_of_a_nic() {
    let mut t = hub_and_spokes();
    t.table(
        "rt",
        vec![route("to-nva", "203.0.113.0/24", appliance("10.1.9.4"))],
    );
    t.attach("Hub", "FrontEnd", "rt");
    let system = |next_hop_type| NextHopResult {
        next_hop_type,
        next_hop_ip_address: None,
        route_table_id: "System Route".to_owned(),
    };
    let hop = |to: &str| next_hop(&t, &nic_id("hub"), ip(to)).unwrap();
    assert_eq!(hop("10.1.9.4"), system(NextHopType::VnetLocal));
    assert_eq!(hop("10.2.0.4"), system(NextHopType::VNetPeering));
    assert_eq!(hop("10.3.0.4"), system(NextHopType::VNetGlobalPeering));
    assert_eq!(hop("10.4.0.4"), system(NextHopType::None));
    assert_eq!(hop("198.51.100.1"), system(NextHopType::Internet));
    assert_eq!(
        hop("203.0.113.1"),
        NextHopResult {
            next_hop_type: NextHopType::VirtualAppliance,
            next_hop_ip_address: Some(ip("10.1.9.4")),
            route_table_id: table_id("rt").as_str().to_owned(),
        }
    );
    // IPv6 in a VNet without any: no route at all.
    let none = next_hop(&t, &nic_id("far"), ip("2001:db8::1")).unwrap();
    assert_eq!(none, system(NextHopType::None));
    assert_eq!(
        serde_json::to_value(hop("10.2.0.4")).unwrap(),
        json!({ "nextHopType": "VNetPeering", "routeTableId": "System Route" })
    );
}

#[test]
fn ids_compare_without_case_and_unknown_ones_are_named() {
    let t = hub_and_spokes();
    let shouted =
        crate::model::ResourceId::new(&subnet_id("Hub", "FrontEnd").as_str().to_ascii_uppercase());
    assert!(effective_routes(&t, &shouted).is_ok());
    assert_eq!(
        effective_routes_of_nic(&t, &nic_id("hub")),
        effective_routes(&t, &subnet_id("Hub", "FrontEnd"))
    );
    let missing = subnet_id("Hub", "BackEnd");
    assert_eq!(
        effective_routes(&t, &missing),
        Err(EffectiveError::UnknownSubnet(missing.clone()))
    );
    // A VNet's id is no subnet's.
    assert!(effective_routes(&t, &vnet_id("Hub")).is_err());
    let missing = nic_id("nobody");
    assert_eq!(
        next_hop(&t, &missing, ip("10.1.0.4")),
        Err(EffectiveError::UnknownNetworkInterface(missing.clone()))
    );
}

#[test]
fn gateway_routes_are_rows_of_every_subnet_with_the_gateways_address() {
    let mut t = hub_and_spokes();
    t.gateway("GW", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect("site", "GW", &[net("192.168.0.0/24"), net("10.2.0.0/16")]);
    let hop = "VirtualNetworkGateway 203.0.113.1";
    for subnet in ["FrontEnd", "Nva", "GatewaySubnet"] {
        let rows = rows(&t, "Hub", subnet);
        let gateway: Vec<_> = rows.iter().filter(|row| row.contains("Gateway")).collect();
        assert_eq!(
            gateway,
            [
                &format!("10.2.0.0/16 VirtualNetworkGateway Invalid {hop}"),
                &format!("192.168.0.0/24 VirtualNetworkGateway Active {hop}"),
            ]
        );
        assert!(rows.contains(&"10.2.0.0/16 Default Active VNetPeering".to_owned()));
    }
    let next = next_hop(&t, &nic_id("hub"), ip("192.168.0.9")).unwrap();
    assert_eq!(next.next_hop_type, NextHopType::VirtualNetworkGateway);
    assert_eq!(next.next_hop_ip_address, Some(ip("203.0.113.1")));
    t.table("rt", Vec::new()).disable_bgp_route_propagation = true;
    t.attach("Hub", "FrontEnd", "rt");
    assert!(
        !rows(&t, "Hub", "FrontEnd")
            .iter()
            .any(|row| row.contains("Gateway"))
    );
}
