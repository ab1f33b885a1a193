//! Every way that a packet can take, and every outcome.

use crate::{
    compile::CompileOptions,
    effective::tests::build::{
        Build, appliance, connection_id, hub_and_spokes, ip, net, nic_id, route,
    },
    model::{ConnectionRemote, RouteNextHop, Topology},
    watcher::{DropReason, Element, InternetPort, Next, Outcome, Packet, Path, Predictor, Source},
};

/// The path in short: `near -> nva -> far`, or how far it came and the reason why not further.
pub(super) fn short(path: &Path<'_>) -> String {
    let name = |element: Element<'_>| element.id().name().to_owned();
    let mut words: Vec<String> = path.steps.iter().map(|step| name(step.at)).collect();
    match &path.outcome {
        Outcome::Delivered(nic) => words.push(nic.id.name().to_owned()),
        Outcome::Tunnel { connection, .. } => words.push(format!("({})", connection.id.name())),
        Outcome::Internet => words.push("(internet)".to_owned()),
        Outcome::Dropped(dropped) => {
            let reason = dropped.reason.name();
            words.push(match dropped.reason {
                DropReason::DataPath(_) => reason.to_owned(),
                // After the data path.
                _ => format!("{reason} at {}", name(dropped.at)),
            });
        }
    }
    words.join(" -> ")
}

fn packet(source: &str, destination: &str) -> Packet {
    Packet::icmp(ip(source), ip(destination))
}

fn sent(t: &Topology, nic: &str, packet: &Packet) -> String {
    let predictor = Predictor::new(t, CompileOptions::default());
    let nic = nic_id(nic);
    short(
        &predictor
            .predict(Source::NetworkInterface(&nic), packet)
            .unwrap(),
    )
}

#[track_caller]
fn check(t: &Topology, cases: &[(&str, &str, &str, &str)]) {
    for (nic, source, destination, expected) in cases {
        let path = sent(t, nic, &packet(source, destination));
        assert_eq!(&path, expected, "{nic}: {source} to {destination}");
    }
}

/// Both spokes send what is for each other to the appliance.
fn chained(t: &mut Topology) {
    for (spoke, other) in [("Near", "10.3.0.0/16"), ("Far", "10.2.0.0/16")] {
        let table = format!("of-{spoke}");
        t.table(&table, vec![route("other", other, appliance("10.1.9.4"))]);
        t.attach(spoke, "FrontEnd", &table);
    }
}

#[test]
fn inside_a_vnet_and_across_peerings() {
    let mut t = hub_and_spokes();
    t.nic("web", "Hub", "FrontEnd", &["10.1.0.5"]);
    check(
        &t,
        &[
            ("hub", "10.1.0.4", "10.1.0.5", "hub -> web"),
            ("hub", "10.1.0.4", "10.2.0.4", "hub -> near"),
            ("hub", "fd00:1::4", "fd00:2::4", "hub -> near"),
            ("far", "10.3.0.4", "10.1.0.4", "far -> hub"),
            ("hub", "10.1.0.4", "10.1.0.4", "hub -> hub"),
            // Not transitive.
            ("near", "10.2.0.4", "10.3.0.4", "near -> next_hop_none"),
            (
                "near",
                "fd00:2::4",
                "fd00:3::4",
                "near -> next_hop_internet",
            ),
            // Far has no IPv6 at all.
            ("hub", "10.1.0.4", "192.0.2.1", "hub -> next_hop_internet"),
            ("hub", "10.1.0.4", "10.1.0.9", "hub -> endpoint_unreachable"),
            ("hub", "10.1.0.4", "10.2.7.7", "hub -> endpoint_unreachable"),
            ("hub", "10.1.0.4", "224.0.0.1", "hub -> not_routable"),
            ("hub", "10.1.0.5", "10.2.0.4", "hub -> spoofed_address"),
            ("far", "fd00:2::4", "fd00:1::4", "far -> spoofed_address"),
        ],
    );
    t.side("Hub", "Near").peering_state = crate::model::PeeringState::Disconnected;
    check(
        &t,
        &[("hub", "10.1.0.4", "10.2.0.4", "hub -> next_hop_none")],
    );
}

#[test]
fn a_nic_without_a_device_takes_and_sends_nothing() {
    let mut t = hub_and_spokes();
    t.network_interfaces
        .get_mut(&nic_id("near"))
        .unwrap()
        .device = None;
    t.network_interfaces.get_mut(&nic_id("far")).unwrap().host = Some("elsewhere".into());
    check(
        &t,
        &[
            ("hub", "10.1.0.4", "10.2.0.4", "hub -> port_down"),
            ("hub", "10.1.0.4", "10.3.0.4", "hub -> port_down"),
            ("near", "10.2.0.4", "10.1.0.4", "near -> port_down"),
        ],
    );
    let options = CompileOptions {
        host_name: Some("Elsewhere"),
        ..CompileOptions::default()
    };
    let predictor = Predictor::new(&t, options);
    let nic = nic_id("hub");
    let path = predictor.predict(
        Source::NetworkInterface(&nic),
        &packet("10.1.0.4", "10.3.0.4"),
    );
    assert_eq!(short(&path.unwrap()), "hub -> far");
}

#[test]
fn through_an_appliance_where_the_peerings_let_forwarded_traffic_in() {
    let mut t = hub_and_spokes();
    chained(&mut t);
    check(
        &t,
        &[
            // What did not originate in the hub may not go on into Far.
            (
                "near",
                "10.2.0.4",
                "10.3.0.4",
                "near -> nva -> forwarded_refused",
            ),
            // To the appliance itself it may.
            ("near", "10.2.0.4", "10.1.9.4", "near -> nva"),
        ],
    );
    t.side("Far", "Hub").allow_forwarded_traffic = true;
    check(
        &t,
        &[
            ("near", "10.2.0.4", "10.3.0.4", "near -> nva -> far"),
            (
                "far",
                "10.3.0.4",
                "10.2.0.4",
                "far -> nva -> forwarded_refused",
            ),
            // The appliance may forward for anybody, also of its own VNet, which is no forwarded
            // traffic to a peer.
            ("nva", "10.1.0.4", "10.2.0.4", "nva -> near"),
            ("nva", "192.0.2.1", "10.2.0.4", "nva -> forwarded_refused"),
            ("nva", "224.0.0.9", "10.2.0.4", "nva -> spoofed_address"),
        ],
    );
    let predictor = Predictor::new(&t, CompileOptions::default());
    let near = nic_id("near");
    let trip = predictor
        .round_trip(
            Source::NetworkInterface(&near),
            &packet("10.2.0.4", "10.3.0.4"),
        )
        .unwrap();
    assert!(!trip.answered());
    assert_eq!(
        short(&trip.back.unwrap()),
        "far -> nva -> forwarded_refused"
    );
    t.network_interfaces
        .get_mut(&nic_id("nva"))
        .unwrap()
        .enable_ip_forwarding = false;
    check(
        &t,
        &[
            (
                "near",
                "10.2.0.4",
                "10.3.0.4",
                "near -> appliance_unreachable",
            ),
            ("nva", "10.1.0.4", "10.2.0.4", "nva -> spoofed_address"),
        ],
    );
}

#[test]
fn circles_end_when_the_ttl_is_used_up() {
    let mut t = hub_and_spokes();
    t.table(
        "circle",
        vec![route("r", "192.0.2.0/24", appliance("10.1.9.4"))],
    );
    t.attach("Hub", "FrontEnd", "circle");
    t.attach("Hub", "Nva", "circle");
    let path = |ttl| sent(&t, "hub", &packet("10.1.0.4", "192.0.2.1").with_ttl(ttl));
    assert_eq!(path(1), "hub -> ttl_expired");
    // The data path takes one off, and the guest another.
    assert_eq!(path(2), "hub -> guest at nva");
    assert_eq!(path(3), "hub -> nva -> ttl_expired");
    assert_eq!(path(6), "hub -> nva -> nva -> guest at nva");
    assert_eq!(path(255).matches("nva").count(), 127);
    let to_itself = |ttl| sent(&t, "hub", &packet("10.1.0.4", "10.2.0.4").with_ttl(ttl));
    assert_eq!(to_itself(2), "hub -> near");
    assert_eq!(to_itself(1), "hub -> ttl_expired");
}

#[test]
fn user_routes_of_every_type() {
    let mut t = hub_and_spokes();
    t.table(
        "rt",
        vec![
            route("nowhere", "10.2.1.0/24", RouteNextHop::None),
            route("internet", "10.2.2.0/24", RouteNextHop::Internet),
            route(
                "gateway",
                "10.2.3.0/24",
                RouteNextHop::VirtualNetworkGateway,
            ),
            route("appliance", "10.2.0.0/16", appliance("10.1.9.4")),
            route("back", "10.2.0.0/24", RouteNextHop::VnetLocal),
            route("nobody", "10.2.4.0/24", appliance("10.1.9.9")),
            route("other-family", "fd00:2::/48", appliance("10.1.9.4")),
        ],
    );
    t.attach("Hub", "FrontEnd", "rt");
    check(
        &t,
        &[
            ("hub", "10.1.0.4", "10.2.1.4", "hub -> next_hop_none"),
            ("hub", "10.1.0.4", "10.2.2.4", "hub -> next_hop_internet"),
            ("hub", "10.1.0.4", "10.2.3.4", "hub -> next_hop_gateway"),
            (
                "hub",
                "10.1.0.4",
                "10.2.4.4",
                "hub -> appliance_unreachable",
            ),
            (
                "hub",
                "fd00:1::4",
                "fd00:2::4",
                "hub -> appliance_unreachable",
            ),
            ("hub", "10.1.0.4", "10.2.0.4", "hub -> near"),
            (
                "hub",
                "10.1.0.4",
                "10.2.9.4",
                "hub -> nva -> endpoint_unreachable",
            ),
        ],
    );
}

#[test]
fn an_appliance_of_two_nics_sends_by_the_one_in_the_destinations_subnet() {
    let mut t = hub_and_spokes();
    let inner = t.nic("inner", "Hub", "FrontEnd", &["10.1.0.9"]);
    inner.enable_ip_forwarding = true;
    inner.tags.insert("vnet-gw:vm".into(), "NVA".into());
    t.table(
        "rt",
        vec![route("hub", "10.1.0.0/24", appliance("10.1.9.4"))],
    );
    t.attach("Near", "FrontEnd", "rt");
    check(
        &t,
        &[
            ("near", "10.2.0.4", "10.1.0.4", "near -> inner -> hub"),
            // Its own, by whichever NIC.
            ("near", "10.2.0.4", "10.1.0.9", "near -> inner"),
        ],
    );
}

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
fn a_step_says_what_it_took() {
    let mut t = hub_and_spokes();
    chained(&mut t);
    t.side("Far", "Hub").allow_forwarded_traffic = true;
    let predictor = Predictor::new(&t, CompileOptions::default());
    let near = nic_id("near");
    let path = predictor
        .predict(
            Source::NetworkInterface(&near),
            &packet("10.2.0.4", "10.3.0.4"),
        )
        .unwrap();
    let taken = path.steps.iter().map(|step| {
        let route = step.route.unwrap();
        (
            step.vnet.id.name(),
            step.ttl,
            route.prefix.to_string(),
            route.next_hop_type.as_str(),
        )
    });
    assert_eq!(
        taken.collect::<Vec<_>>(),
        [
            ("Near", 64, "10.3.0.0/16".to_owned(), "VirtualAppliance"),
            ("Hub", 62, "10.3.0.0/16".to_owned(), "VNetGlobalPeering"),
        ]
    );
    assert!(matches!(path.steps[0].next, Some(Next::Appliance(nic, _)) if nic.id.name() == "nva"));
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

/// Appliances whose own subnets route to one another.
#[test]
fn circles_of_appliances() {
    let found = |t: &Topology| -> Vec<(String, String)> {
        let predictor = Predictor::new(t, CompileOptions::default());
        let loops = predictor.route_loops().into_iter().map(|one| {
            let names: Vec<_> = one.appliances.iter().map(|nic| nic.id.name()).collect();
            (one.route.name.to_string(), names.join(" "))
        });
        loops.collect()
    };
    let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
    let mut t = hub_and_spokes();
    t.subnet("Hub", "Second", &["10.1.8.0/24"]);
    t.nic("second", "Hub", "Second", &["10.1.8.4"])
        .enable_ip_forwarding = true;
    // A chain that ends is none.
    t.table(
        "first",
        vec![route("on", "198.51.100.0/24", appliance("10.1.8.4"))],
    );
    t.attach("Hub", "Nva", "first");
    assert_eq!(found(&t), []);
    // Back again; and from itself to itself.
    t.table(
        "back",
        vec![
            route("back", "198.51.100.0/24", appliance("10.1.9.4")),
            route("self", "203.0.113.0/24", appliance("10.1.8.4")),
        ],
    );
    t.attach("Hub", "Second", "back");
    assert_eq!(
        found(&t),
        [pair("on", "nva second"), pair("self", "second")]
    );
    // The default route, too.
    t.table(
        "default",
        vec![route("all", "0.0.0.0/0", appliance("10.1.8.4"))],
    );
    t.attach("Hub", "Second", "default");
    assert_eq!(found(&t), [pair("all", "second")]);
    // Without enableIPForwarding nothing goes round.
    t.nic("second", "Hub", "Second", &["10.1.8.4"])
        .enable_ip_forwarding = false;
    assert_eq!(found(&t), []);
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
