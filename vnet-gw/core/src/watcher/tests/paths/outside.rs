//! Ways out of the virtual networks: tunnels, gateways of peered VNets, and the internet.

use super::*;

#[test]
fn into_tunnels_and_out_of_them() {
    let mut t = hub_and_spokes();
    t.gateway("gw", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect("site", "gw", &[net("10.9.0.0/16")]);
    t.connect("part", "gw", &[net("10.9.7.0/24")]);
    check(
        &t,
        &[
            ("hub", "10.1.0.4", "10.9.0.4", "hub -> (site)"),
            ("hub", "10.1.0.4", "10.9.7.4", "hub -> (part)"),
            ("near", "10.2.0.4", "10.9.0.4", "near -> next_hop_none"),
        ],
    );
    let out = |t: &Topology, connection: &str, source: &str, destination: &str| {
        let predictor = Predictor::new(t, CompileOptions::default());
        let connection = connection_id(connection);
        let from = Source::Connection(&connection);
        short(
            &predictor
                .predict(from, &packet(source, destination))
                .unwrap(),
        )
    };
    assert_eq!(out(&t, "site", "10.9.0.4", "10.1.0.4"), "gw -> hub");
    assert_eq!(
        out(&t, "site", "10.9.7.4", "10.1.0.4"),
        "outside_selectors at gw"
    );
    assert_eq!(
        out(&t, "site", "10.9.0.4", "10.9.7.4"),
        "gw -> next_hop_gateway"
    );
    // Only what is made for gateway transit goes on into a peer.
    assert_eq!(
        out(&t, "site", "10.9.0.4", "10.2.0.4"),
        "gw -> forwarded_refused"
    );

    // A user route may lead to the gateway where no connection leads on.
    let everything = route("all", "192.0.2.0/24", RouteNextHop::VirtualNetworkGateway);
    t.table("rt", vec![everything]);
    t.attach("Hub", "FrontEnd", "rt");
    check(
        &t,
        &[("hub", "10.1.0.4", "192.0.2.1", "hub -> no_tunnel at gw")],
    );

    let site = t.connections.get_mut(&connection_id("site")).unwrap();
    site.use_policy_based_traffic_selectors = true;
    check(
        &t,
        &[
            ("hub", "10.1.0.4", "10.9.0.4", "hub -> (site)"),
            ("nva", "10.2.0.4", "10.9.0.4", "nva -> no_tunnel at gw"),
        ],
    );
    assert_eq!(out(&t, "site", "10.9.0.4", "10.1.0.4"), "gw -> hub");

    let predictor = Predictor::new(&t, CompileOptions::default());
    let hub = nic_id("hub");
    let trip = predictor
        .round_trip(
            Source::NetworkInterface(&hub),
            &packet("10.1.0.4", "10.9.0.4"),
        )
        .unwrap();
    assert_eq!(short(&trip.back.unwrap()), "gw -> hub");
}

#[test]
fn through_a_tunnel_between_two_gateways_of_this_host() {
    let mut t = hub_and_spokes();
    t.vnet("Other", "eastus", &["10.8.0.0/16"]);
    t.subnet("Other", "FrontEnd", &["10.8.0.0/24"]);
    t.nic("other", "Other", "FrontEnd", &["10.8.0.4"]);
    t.gateway("gw", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.gateway("gw2", "Other", &["10.8.255.0/27"], "203.0.113.2");
    t.connect("there", "gw", &[net("10.8.0.0/16")]);
    t.connect("back", "gw2", &[net("10.1.0.0/16")]);
    for (connection, remote) in [("there", "gw2"), ("back", "gw")] {
        let connection = t.connections.get_mut(&connection_id(connection)).unwrap();
        let remote = crate::effective::tests::build::gateway_id(remote);
        connection.remote = ConnectionRemote::VirtualNetworkGateway(remote);
    }
    check(
        &t,
        &[
            ("hub", "10.1.0.4", "10.8.0.4", "hub -> gw2 -> other"),
            (
                "hub",
                "10.1.0.4",
                "10.8.0.5",
                "hub -> gw2 -> endpoint_unreachable",
            ),
            ("other", "10.8.0.4", "10.1.0.4", "other -> gw -> hub"),
        ],
    );
    t.connections.remove(&connection_id("back"));
    check(&t, &[("hub", "10.1.0.4", "10.8.0.4", "hub -> (there)")]);
}

#[test]
fn the_internet_where_there_is_a_port_for_it() {
    let t = hub_and_spokes();
    let predictor =
        Predictor::new(&t, CompileOptions::default()).with_internet_port(Some(InternetPort::UP));
    let hub = nic_id("hub");
    let out = |packet: Packet| {
        let path = predictor.predict(Source::NetworkInterface(&hub), &packet);
        short(&path.unwrap())
    };
    assert_eq!(out(packet("10.1.0.4", "192.0.2.1")), "hub -> (internet)");
    assert_eq!(out(packet("fd00:1::4", "2001:db8::1")), "hub -> (internet)");
    assert_eq!(out(packet("10.1.0.4", "10.9.0.1")), "hub -> next_hop_none");
}

/// As the data path has it: a port that is down is seen before the groups, a family that the host has
/// no route for after them.
#[test]
fn the_internet_as_far_as_its_port_carries() {
    let t = hub_and_spokes();
    let hub = nic_id("hub");
    let out = |port: InternetPort, packet: Packet| {
        let predictor =
            Predictor::new(&t, CompileOptions::default()).with_internet_port(Some(port));
        let path = predictor.predict(Source::NetworkInterface(&hub), &packet);
        short(&path.unwrap())
    };
    let (v4, v6) = (
        packet("10.1.0.4", "192.0.2.1"),
        packet("fd00:1::4", "2001:db8::1"),
    );
    let port = InternetPort::UP;
    let only4 = InternetPort { v6: false, ..port };
    assert_eq!(out(only4, v4), "hub -> (internet)");
    assert_eq!(out(only4, v6), "hub -> next_hop_internet");
    let only6 = InternetPort { v4: false, ..port };
    assert_eq!(out(only6, v4), "hub -> next_hop_internet");
    assert_eq!(out(only6, v6), "hub -> (internet)");
    let down = InternetPort { up: false, ..port };
    assert_eq!(out(down, v4), "hub -> port_down");
}

/// Only a NIC's own addresses leave, and not for private ones; one hop is all that is left of a TTL
/// of 1.
#[test]
fn what_does_not_belong_on_the_internet() {
    let mut t = hub_and_spokes();
    t.table(
        "odd",
        vec![route("private", "192.168.0.0/16", RouteNextHop::Internet)],
    );
    t.attach("Hub", "Nva", "odd");
    let predictor =
        Predictor::new(&t, CompileOptions::default()).with_internet_port(Some(InternetPort::UP));
    let nva = nic_id("nva");
    let out = |packet: Packet| {
        let path = predictor.predict(Source::NetworkInterface(&nva), &packet);
        short(&path.unwrap())
    };
    let own = packet("10.1.9.4", "192.0.2.1");
    assert_eq!(out(own), "nva -> (internet)");
    assert_eq!(out(own.with_ttl(1)), "nva -> ttl_expired");
    for other in ["10.1.0.4", "10.2.0.4"] {
        assert_eq!(out(packet(other, "192.0.2.1")), "nva -> internet_source");
    }
    assert_eq!(
        out(packet("10.1.9.4", "192.168.7.7")),
        "nva -> internet_destination"
    );
}

/// Gateway transit: into the hub's tunnels and out of them, and from spoke to spoke by way of the
/// gateway.
#[test]
fn through_the_gateway_of_a_peered_vnet() {
    let mut t = hub_and_spokes();
    t.gateway("gw", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect("site", "gw", &[net("10.9.0.0/16"), net("fd00:9::/48")]);
    t.transit("Hub", "Near");
    t.transit("Hub", "Far");
    let out = |t: &Topology, source: &str, destination: &str| {
        let predictor = Predictor::new(t, CompileOptions::default());
        let connection = connection_id("site");
        let from = Source::Connection(&connection);
        let path = predictor.predict(from, &packet(source, destination));
        short(&path.unwrap())
    };
    check(
        &t,
        &[
            ("near", "10.2.0.4", "10.9.0.4", "near -> (site)"),
            ("near", "fd00:2::4", "fd00:9::4", "near -> (site)"),
            ("far", "10.3.0.4", "10.9.0.4", "far -> (site)"),
            // Peerings are not transitive, and nothing leads to the gateway by itself.
            ("near", "10.2.0.4", "10.3.0.4", "near -> next_hop_none"),
        ],
    );
    assert_eq!(out(&t, "10.9.0.4", "10.2.0.4"), "gw -> near");
    assert_eq!(out(&t, "fd00:9::4", "fd00:2::4"), "gw -> near");
    assert_eq!(out(&t, "10.9.0.4", "10.3.0.4"), "gw -> far");

    // Spoke to spoke.
    for (spoke, other) in [("Near", "10.0.0.0/8"), ("Far", "10.2.0.0/16")] {
        let to_gateway = route("other", other, RouteNextHop::VirtualNetworkGateway);
        t.table(spoke, vec![to_gateway]);
        t.attach(spoke, "FrontEnd", spoke);
    }
    check(
        &t,
        &[
            ("near", "10.2.0.4", "10.3.0.4", "near -> gw -> far"),
            ("far", "10.3.0.4", "10.2.0.4", "far -> gw -> near"),
            // The hub's own and the tunnels' as before; the rest is for nobody.
            ("near", "10.2.0.4", "10.1.0.4", "near -> hub"),
            ("near", "10.2.0.4", "10.9.0.4", "near -> (site)"),
            ("near", "10.2.0.4", "10.77.0.4", "near -> no_tunnel at gw"),
        ],
    );
    // By the routes of GatewaySubnet.
    t.table(
        "gateway",
        vec![route("chain", "10.3.0.0/16", appliance("10.1.9.4"))],
    );
    t.attach("Hub", "GatewaySubnet", "gateway");
    t.side("Far", "Hub").allow_forwarded_traffic = true;
    check(
        &t,
        &[("near", "10.2.0.4", "10.3.0.4", "near -> gw -> nva -> far")],
    );
    // What was not sent by the spoke's own is forwarded traffic in the hub.
    t.nic("two", "Near", "FrontEnd", &["10.2.0.9"])
        .enable_ip_forwarding = true;
    check(
        &t,
        &[("two", "192.0.2.1", "10.9.0.4", "two -> forwarded_refused")],
    );
    t.side("Hub", "Near").allow_forwarded_traffic = true;
    check(&t, &[("two", "192.0.2.1", "10.9.0.4", "two -> (site)")]);

    // One half of it alone is nothing.
    t.side("Far", "Hub").use_remote_gateways = false;
    t.side("Hub", "Near").allow_gateway_transit = false;
    check(
        &t,
        &[
            ("far", "10.3.0.4", "10.9.0.4", "far -> next_hop_none"),
            ("near", "10.2.0.4", "10.9.0.4", "near -> next_hop_gateway"),
        ],
    );
    assert_eq!(out(&t, "10.9.0.4", "10.2.0.4"), "gw -> forwarded_refused");
}
