//! Every way that a packet can take, and every outcome.

mod outside;

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
