//! Gateway transit in an image.

use crate::{
    compile::{ActionImage, CompileOptions, Image, compile},
    effective::{
        NextHopType, RouteSource, RouteState, effective_routes,
        tests::build::{Build, connection_id, hub_and_spokes, ip, net, subnet_id, vnet_id},
    },
    model::{RouteNextHop, Topology},
    sa::TrafficSelector,
};

/// The hub's gateway with a site behind it, used by `Near`, and not by `Far`.
fn topology() -> Topology {
    let mut t = hub_and_spokes();
    t.gateway("gw", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect("site", "gw", &[net("10.9.0.0/16"), net("fd00:9::/48")]);
    t.transit("Hub", "Near");
    t
}

fn image(t: &Topology) -> Image {
    compile(t, &CompileOptions::default(), None).unwrap()
}

fn action(image: &Image, vnet: &str, subnet: &str, prefix: &str) -> Option<ActionImage> {
    let subnet = &image.subnets[&subnet_id(vnet, subnet)];
    let v4 = subnet.v4.routes.iter();
    let v4 = v4.map(|(prefix, at)| (ipnet::IpNet::V4(*prefix), &subnet.v4.actions[*at as usize]));
    let v6 = subnet.v6.routes.iter();
    let v6 = v6.map(|(prefix, at)| (ipnet::IpNet::V6(*prefix), &subnet.v6.actions[*at as usize]));
    let mut found = v4.chain(v6).filter(|(known, _)| *known == net(prefix));
    found.next().map(|(_, action)| action.clone())
}

fn transit(accepts_forwarded: bool) -> Option<ActionImage> {
    Some(ActionImage::Gateway {
        vnet: Some(vnet_id("Hub")),
        peered: true,
        accepts_forwarded,
    })
}

#[test]
fn a_spoke_has_the_routes_of_the_hubs_gateway() {
    let mut t = topology();
    let rows = |t: &Topology, vnet: &str| {
        let rows = effective_routes(t, &subnet_id(vnet, "FrontEnd")).unwrap();
        let rows = rows
            .into_iter()
            .filter(|row| row.source == RouteSource::VirtualNetworkGateway);
        rows.map(|row| {
            assert_eq!(row.next_hop_type, NextHopType::VirtualNetworkGateway);
            assert_eq!(row.next_hop_ip_address, [ip("203.0.113.1")]);
            (row.address_prefix[0], row.state)
        })
        .collect::<Vec<_>>()
    };
    let active = |prefix| (net(prefix), RouteState::Active);
    let site = [active("10.9.0.0/16"), active("fd00:9::/48")];
    assert_eq!(rows(&t, "Hub"), site);
    assert_eq!(rows(&t, "Near"), site);
    assert_eq!(rows(&t, "Far"), []);
    let compiled = image(&t);
    for prefix in ["10.9.0.0/16", "fd00:9::/48"] {
        assert_eq!(
            action(&compiled, "Near", "FrontEnd", prefix),
            transit(false)
        );
        let own = ActionImage::gateway(Some(vnet_id("Hub")));
        assert_eq!(action(&compiled, "Hub", "FrontEnd", prefix), Some(own));
        assert_eq!(action(&compiled, "Far", "FrontEnd", prefix), None);
    }
    t.side("Hub", "Near").allow_forwarded_traffic = true;
    let compiled = image(&t);
    assert_eq!(
        action(&compiled, "Near", "FrontEnd", "10.9.0.0/16"),
        transit(true)
    );

    // A peering goes before it (A25), and so does what the spoke says itself.
    t.vnet("Other", "eastus", &["10.9.7.0/24"]);
    t.peer("Near", "Other");
    assert!(rows(&t, "Near").contains(&active("10.9.0.0/16")));
    t.connect("part", "gw", &[net("10.9.7.0/28")]);
    assert!(rows(&t, "Near").contains(&(net("10.9.7.0/28"), RouteState::Invalid)));
    assert!(rows(&t, "Hub").contains(&active("10.9.7.0/28")));
    t.table("rt", Vec::new()).disable_bgp_route_propagation = true;
    t.attach("Near", "FrontEnd", "rt");
    assert_eq!(rows(&t, "Near"), []);
    assert_eq!(action(&image(&t), "Near", "FrontEnd", "10.9.0.0/16"), None);
}

#[test]
fn user_routes_of_a_spoke_lead_to_the_hubs_gateway() {
    let mut t = topology();
    for spoke in ["Near", "Far"] {
        let route = crate::effective::tests::build::route(
            "all",
            "0.0.0.0/0",
            RouteNextHop::VirtualNetworkGateway,
        );
        t.table(spoke, vec![route]);
        t.attach(spoke, "FrontEnd", spoke);
    }
    let compiled = image(&t);
    assert_eq!(
        action(&compiled, "Near", "FrontEnd", "0.0.0.0/0"),
        transit(false)
    );
    let nowhere = Some(ActionImage::gateway(None));
    assert_eq!(action(&compiled, "Far", "FrontEnd", "0.0.0.0/0"), nowhere);
    // A hub without a gateway has none to use.
    t.virtual_network_gateways.clear();
    t.connections.clear();
    assert_eq!(action(&image(&t), "Near", "FrontEnd", "0.0.0.0/0"), nowhere);
}

#[test]
fn what_comes_out_of_a_tunnel_goes_on_to_spokes_that_use_the_gateway() {
    let mut t = topology();
    let to =
        |t: &Topology, subnet: &str, prefix: &str| match action(&image(t), "Hub", subnet, prefix) {
            Some(ActionImage::Peering {
                accepts_forwarded, ..
            }) => accepts_forwarded,
            other => panic!("{other:?}"),
        };
    for prefix in ["10.2.0.0/16", "fd00:2::/48"] {
        assert!(to(&t, "GatewaySubnet", prefix));
        // Of the hub's appliances all the same it is asked.
        assert!(!to(&t, "FrontEnd", prefix));
    }
    assert!(!to(&t, "GatewaySubnet", "10.3.0.0/16"));
    t.side("Far", "Hub").allow_forwarded_traffic = true;
    assert!(to(&t, "GatewaySubnet", "10.3.0.0/16"));
    // One half is nothing.
    t.side("Hub", "Near").allow_gateway_transit = false;
    assert!(!to(&t, "GatewaySubnet", "10.2.0.0/16"));
}

#[test]
fn a_spokes_prefixes_are_behind_the_gateway() {
    let mut t = topology();
    let site = t.connections.get_mut(&connection_id("site")).unwrap();
    site.use_policy_based_traffic_selectors = true;
    let behind = |t: &Topology| {
        let image = image(t);
        let gateway = &image.gateways[0];
        let tunnel = &gateway.connections[0].tunnels[0];
        let mut selectors: Vec<_> = gateway.local_prefixes.clone();
        selectors.sort();
        let selectors: Vec<_> = selectors.into_iter().map(TrafficSelector::prefix).collect();
        assert_eq!(tunnel.local_selectors, selectors);
        gateway.local_prefixes.clone()
    };
    let hub = [net("10.1.0.0/16"), net("fd00:1::/48")];
    let near = [net("10.2.0.0/16"), net("fd00:2::/48")];
    assert_eq!(behind(&t), [hub, near].concat());
    // As much of the spoke as the hub routes to.
    let space = &mut t.side("Hub", "Near").remote_address_space;
    *space = vec![net("10.2.0.0/16")];
    assert_eq!(behind(&t), [&hub[..], &near[..1]].concat());
    t.side("Near", "Hub").use_remote_gateways = false;
    assert_eq!(behind(&t), hub);
}
