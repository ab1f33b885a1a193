//! The words of `explain`.

use super::build::{
    Build, appliance, connection_id, gateway_id, hub_and_spokes, ip, net, nic_id, peering_id,
    route, subnet_id,
};
use crate::{
    effective::{Delivery, Explanation, OtherState, RouteState, explain},
    model::{PeeringState, RouteNextHop, Topology},
};

fn ask(t: &Topology, vnet: &str, destination: &str) -> Explanation {
    explain(t, &subnet_id(vnet, "FrontEnd"), ip(destination)).unwrap()
}

/// `prefix type state: reason`
fn others(explanation: &Explanation) -> Vec<String> {
    let others = explanation.others.iter().map(|other| {
        let prefix = other.route.address_prefix[0];
        format!(
            "{prefix} {} {}: {}",
            other.route.next_hop_type, other.state, other.reason
        )
    });
    others.collect()
}

#[test]
fn a_peered_destination() {
    let t = hub_and_spokes();
    let answer = ask(&t, "Hub", "10.2.0.4");
    let winner = answer.winner.clone().unwrap();
    assert_eq!(winner.route.next_hop_type.as_str(), "VNetPeering");
    assert_eq!(
        winner.peering.as_deref(),
        Some(peering_id("Hub", "Near").as_str())
    );
    assert_eq!(
        winner.reason,
        "the longest of 3 active prefixes that contain 10.2.0.4"
    );
    assert_eq!(
        others(&answer),
        [
            "10.0.0.0/8 None Active: a shorter prefix: /8 against /16 of the route of peering \
             Near (10.2.0.0/16)",
            "0.0.0.0/0 Internet Active: a shorter prefix: /0 against /16 of the route of peering \
             Near (10.2.0.0/16)",
        ]
    );
    assert_eq!(
        answer.delivery.to_string(),
        "delivered to network interface near in Near (device dev-near)"
    );
    let nobody = ask(&t, "Hub", "10.2.0.5").delivery;
    assert_eq!(
        nobody.to_string(),
        "dropped (endpoint_unreachable): no network interface of Near has this address; the sender \
         gets ICMP host unreachable"
    );
}

#[test]
fn a_user_route_overrides_a_peering_and_reaches_the_appliance() {
    let mut t = hub_and_spokes();
    let routes = vec![
        route("default", "0.0.0.0/0", appliance("10.1.9.4")),
        route("near", "10.2.0.0/16", appliance("10.1.9.4")),
    ];
    t.table("rt", routes);
    t.attach("Hub", "FrontEnd", "rt");
    let answer = ask(&t, "Hub", "10.2.0.4");
    let winner = answer.winner.clone().unwrap();
    assert_eq!(winner.route.name.as_deref(), Some("near"));
    assert_eq!(
        winner.reason,
        "the longest of 2 active prefixes that contain 10.2.0.4; it overrides the route of \
         peering Near (10.2.0.0/16)"
    );
    assert_eq!(
        others(&answer),
        [
            "10.2.0.0/16 VNetPeering Invalid: the user route near (10.2.0.0/16) has the same \
             prefix, and user routes go first",
            "10.0.0.0/8 None Withdrawn: a user route for 0.0.0.0/0 takes the reserved \
             routes away",
            "0.0.0.0/0 VirtualAppliance Active: a shorter prefix: /0 against /16 of the user \
             route near (10.2.0.0/16)",
            "0.0.0.0/0 Internet Invalid: the user route default (0.0.0.0/0) has the same prefix, \
             and user routes go first",
        ]
    );
    assert_eq!(
        answer.delivery.to_string(),
        "handed to the appliance 10.1.9.4, network interface nva in Hub (device dev-nva)"
    );
}

#[test]
fn an_appliance_in_a_connected_peer_is_found_and_others_are_not() {
    let mut t = hub_and_spokes();
    t.table(
        "rt",
        vec![route("via-hub", "10.0.0.0/8", appliance("10.1.9.4"))],
    );
    t.attach("Near", "FrontEnd", "rt");
    assert!(
        matches!(ask(&t, "Near", "10.3.0.4").delivery, Delivery::Appliance { taker, .. }
        if taker.network_interface == nic_id("nva").as_str())
    );

    let reason = |t: &Topology| match ask(t, "Near", "10.3.0.4").delivery {
        Delivery::ApplianceUnreachable { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    let mut broken = t.clone();
    broken
        .network_interfaces
        .get_mut(&nic_id("nva"))
        .unwrap()
        .enable_ip_forwarding = false;
    assert_eq!(
        reason(&broken),
        "network interface nva has it, without enableIPForwarding"
    );
    let mut broken = t.clone();
    broken.network_interfaces.remove(&nic_id("nva"));
    assert_eq!(
        reason(&broken),
        "no network interface of Near or of a VNet with a Connected peering has it"
    );
    let mut broken = t.clone();
    broken.side("Near", "Hub").peering_state = PeeringState::Initiated;
    assert_eq!(
        reason(&broken),
        "no network interface of Near or of a VNet with a Connected peering has it"
    );
    // The peer grew, and this side has not been synchronised with it.
    let mut broken = t.clone();
    broken.side("Near", "Hub").remote_address_space.clear();
    assert_eq!(
        reason(&broken),
        "no network interface of Near or of a VNet with a Connected peering has it"
    );
    let mut broken = t;
    broken.table(
        "rt6",
        vec![route("r", "10.0.0.0/8", appliance("fd00:1::4"))],
    );
    broken.attach("Near", "FrontEnd", "rt6");
    assert_eq!(reason(&broken), "10.0.0.0/8 is of the other address family");
}

#[test]
fn peerings_that_would_match_are_named() {
    let mut t = hub_and_spokes();
    t.side("Hub", "Near").peering_state = PeeringState::Initiated;
    let answer = ask(&t, "Hub", "10.2.0.4");
    let other = &answer.others[0];
    assert_eq!(other.state, OtherState::NotConnected);
    assert_eq!(other.route.state, RouteState::Invalid);
    assert_eq!(other.route.next_hop_type.as_str(), "VNetPeering");
    assert_eq!(
        other.reason,
        "peering Near is Initiated: Near has no peering back to Hub"
    );
    assert_eq!(answer.delivery, Delivery::Dropped);

    t.side("Hub", "Near").peering_state = PeeringState::Disconnected;
    let answer = ask(&t, "Hub", "10.2.0.4");
    assert_eq!(
        answer.others[0].reason,
        "peering Near is Disconnected: its other side in Near is gone"
    );
    // Peerings that would not match are not.
    let answer = ask(&t, "Hub", "10.3.0.4");
    assert!(
        answer
            .others
            .iter()
            .all(|other| other.state != OtherState::NotConnected)
    );
}

#[test]
fn a_covered_reserved_route_is_named() {
    let mut t = Topology::default();
    t.vnet("A", "westeurope", &["10.0.0.0/8"]);
    t.subnet("A", "FrontEnd", &["10.0.0.0/24"]);
    let answer = ask(&t, "A", "10.0.0.4");
    assert!(
        others(&answer).contains(
            &"10.0.0.0/8 None Withdrawn: the route to the VNet's own 10.0.0.0/8 covers \
              this reserved prefix and takes it away"
                .to_owned()
        ),
        "{answer:?}"
    );
}

#[test]
fn a_user_route_of_type_vnet_local_reaches_the_peer_in_whose_space_it_lies() {
    let mut t = hub_and_spokes();
    let routes = vec![
        route("near", "10.2.0.0/16", appliance("10.1.9.4")),
        route("direct", "10.2.0.0/24", RouteNextHop::VnetLocal),
        route("nowhere", "203.0.113.0/24", RouteNextHop::VnetLocal),
    ];
    t.table("rt", routes);
    t.attach("Hub", "FrontEnd", "rt");
    let answer = ask(&t, "Hub", "10.2.0.4");
    assert_eq!(
        answer.winner.unwrap().route.next_hop_type.as_str(),
        "VnetLocal"
    );
    assert!(matches!(answer.delivery, Delivery::Endpoint(taker)
        if taker.network_interface == nic_id("near").as_str()));
    assert!(matches!(ask(&t, "Hub", "203.0.113.4").delivery,
        Delivery::NobodyHasIt { virtual_network } if virtual_network.ends_with("/Hub")));
}

#[test]
fn the_remaining_deliveries() {
    let mut t = hub_and_spokes();
    t.network_interfaces
        .get_mut(&nic_id("near"))
        .unwrap()
        .device = None;
    t.network_interfaces.get_mut(&nic_id("far")).unwrap().host = Some("h2".to_owned());
    t.table(
        "rt",
        vec![route(
            "gw",
            "198.51.100.0/24",
            RouteNextHop::VirtualNetworkGateway,
        )],
    );
    t.attach("Hub", "FrontEnd", "rt");
    let words = |to: &str| ask(&t, "Hub", to).delivery.to_string();
    assert_eq!(
        words("10.2.0.4"),
        "delivered to network interface near in Near, which has no device: dropped (port_down)"
    );
    assert_eq!(
        words("10.3.0.4"),
        "delivered to network interface far in Far on host h2 (device dev-far)"
    );
    assert_eq!(
        words("8.8.8.8"),
        "leaves through the internet port of this host"
    );
    assert_eq!(
        words("10.9.0.1"),
        "dropped (next_hop_none): the next hop type is None"
    );
    assert_eq!(
        words("198.51.100.1"),
        "dropped (next_hop_gateway): the VNet has no gateway"
    );
    assert_eq!(
        ask(&t, "Far", "2001:db8::1").delivery.to_string(),
        "dropped (no_route): no active route contains it"
    );
}

#[test]
fn the_answer_survives_json() {
    let mut t = hub_and_spokes();
    t.table(
        "rt",
        vec![route("default", "0.0.0.0/0", appliance("10.1.9.4"))],
    );
    t.attach("Hub", "FrontEnd", "rt");
    for to in ["10.2.0.4", "10.2.0.9", "8.8.8.8", "2001:db8::1"] {
        let answer = ask(&t, "Hub", to);
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), answer);
    }
}

#[test]
fn routes_are_looked_up_for_what_the_data_path_routes() {
    for (destination, routable) in [
        ("0.0.0.1", false),
        ("127.0.0.1", false),
        ("169.254.1.1", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("169.253.1.1", true),
        ("223.255.255.255", true),
        ("10.0.0.4", true),
        ("::", false),
        ("::1", false),
        ("::2", true),
        ("fe80::1", false),
        ("febf::1", false),
        ("fec0::1", true),
        ("ff02::1", false),
        ("fd00::4", true),
    ] {
        let address = destination.parse().unwrap();
        assert_eq!(
            super::super::is_routable(address),
            routable,
            "{destination}"
        );
    }
}

/// The hub with a gateway, connected with two sites; the second one's prefix is inside the peer's.
fn hub_with_gateway() -> Topology {
    let mut t = hub_and_spokes();
    t.gateway("GW", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect(
        "to-site",
        "GW",
        &[net("192.168.0.0/24"), net("172.16.0.0/12")],
    );
    t.connect("to-other", "GW", &[net("10.2.7.0/24")]);
    t
}

#[test]
fn a_gateway_route_names_its_gateway_and_its_connection() {
    let t = hub_with_gateway();
    let answer = ask(&t, "Hub", "192.168.0.9");
    let winner = answer.winner.as_ref().unwrap();
    assert_eq!(winner.route.source.as_str(), "VirtualNetworkGateway");
    assert_eq!(winner.route.next_hop_type.as_str(), "VirtualNetworkGateway");
    assert_eq!(winner.route.next_hop_ip_address, [ip("203.0.113.1")]);
    assert_eq!(
        winner.connection.as_deref(),
        Some(connection_id("to-site").as_str())
    );
    assert_eq!(
        answer.delivery,
        Delivery::VirtualNetworkGateway {
            gateway: gateway_id("GW").as_str().to_owned(),
            connection: connection_id("to-site").as_str().to_owned(),
            host: None,
        }
    );
    assert_eq!(
        answer.delivery.to_string(),
        "through the connection to-site of the gateway GW"
    );
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), answer);
    // Equal to a reserved prefix: that one is beaten.
    let answer = ask(&t, "Hub", "172.17.0.1");
    assert!(
        answer
            .winner
            .unwrap()
            .reason
            .ends_with("it overrides the reserved route 172.16.0.0/12"),
        "{:?}",
        answer.others
    );
    // Peers do not see it: there is no gateway transit.
    assert_eq!(ask(&t, "Near", "192.168.0.9").delivery, Delivery::Dropped);
}

#[test]
fn peering_beats_the_gateway() {
    let t = hub_with_gateway();
    let answer = ask(&t, "Hub", "10.2.7.7");
    assert_eq!(
        answer.winner.as_ref().unwrap().route.next_hop_type.as_str(),
        "VNetPeering"
    );
    let beaten = &answer.others[0];
    assert_eq!(
        (beaten.state, beaten.route.state.as_str()),
        (OtherState::Invalid, "Invalid")
    );
    assert!(
        beaten
            .reason
            .contains("goes before every gateway route inside it"),
        "{}",
        beaten.reason
    );
}

#[test]
fn a_user_route_to_the_gateway_takes_the_connection_with_the_longest_prefix() {
    let mut t = hub_with_gateway();
    t.connect("to-part", "GW", &[net("192.168.0.128/25")]);
    let gateway = RouteNextHop::VirtualNetworkGateway;
    let routes = vec![
        route("all", "0.0.0.0/0", gateway),
        route("none", "192.168.0.0/24", RouteNextHop::None),
    ];
    t.table("rt", routes).disable_bgp_route_propagation = true;
    t.attach("Hub", "FrontEnd", "rt");
    let words = |to: &str| ask(&t, "Hub", to).delivery.to_string();
    assert_eq!(
        words("172.16.0.1"),
        "through the connection to-site of the gateway GW"
    );
    assert_eq!(
        words("8.8.8.8"),
        "dropped (no_tunnel): the gateway GW has no connection to there"
    );
    // Propagation is off: the route of the connection is not there, nor is that of its part.
    let answer = ask(&t, "Hub", "192.168.0.129");
    assert_eq!(answer.delivery, Delivery::Dropped);
    let withdrawn = answer
        .others
        .iter()
        .filter(|o| o.state == OtherState::Withdrawn);
    assert!(withdrawn.clone().count() >= 2, "{:?}", answer.others);
    assert!(
        withdrawn
            .into_iter()
            .any(|o| o.reason == "route table rt has disableBgpRoutePropagation"),
        "{:?}",
        answer.others
    );
}

#[test]
fn what_came_out_of_a_tunnel_goes_into_none() {
    let mut t = hub_with_gateway();
    t.virtual_network_gateways
        .get_mut(&gateway_id("GW"))
        .unwrap()
        .host = Some("h2".to_owned());
    let from = subnet_id("Hub", "GatewaySubnet");
    let answer = explain(&t, &from, ip("192.168.0.9")).unwrap();
    assert_eq!(answer.delivery, Delivery::TunnelToTunnel);
    assert_eq!(
        answer.delivery.to_string(),
        "dropped (next_hop_gateway): what came out of a tunnel does not go into one"
    );
    assert_eq!(
        ask(&t, "Hub", "192.168.0.9").delivery.to_string(),
        "through the connection to-site of the gateway GW on host h2"
    );
}
