//! `why`, `connectivityCheck` and `topology`.

use super::security::{group, on_nic, rule};
use crate::{
    compile::CompileOptions,
    effective::tests::build::{Build, appliance, hub_and_spokes, ip, net, nic_id, route, vnet_id},
    model::{Access, Direction, PeeringState, RouteNextHop, Topology},
    watcher::{
        Connectivity, Extent, Fares, InternetPort, Packet, Predictor, Source, Status, Unknown, Why,
        connectivity, topology_view, why,
    },
};

fn tcp(source: &str, destination: &str) -> Packet {
    Packet::new(Packet::TCP, ip(source), ip(destination)).with_ports(50_000, 80)
}

fn told_with(t: &Topology, nic: &str, packet: &Packet, fares: &dyn Fares) -> Why {
    let predictor = Predictor::new(t, CompileOptions::default());
    let nic = nic_id(nic);
    why(&predictor, Source::NetworkInterface(&nic), packet, fares).unwrap()
}

fn told(t: &Topology, nic: &str, packet: &Packet) -> Why {
    told_with(t, nic, packet, &Unknown)
}

fn checked(t: &Topology, nic: &str, packet: &Packet) -> Connectivity {
    let predictor = Predictor::new(t, CompileOptions::default());
    let nic = nic_id(nic);
    let trip = predictor.round_trip(Source::NetworkInterface(&nic), packet);
    connectivity(&trip.unwrap(), packet)
}

#[test]
fn each_step_says_what_decided_it() {
    let mut t = hub_and_spokes();
    let closed = vec![rule("no-web", 300, Direction::Inbound, Access::Deny, 80)];
    let id = group(&mut t, "nsg", closed);
    on_nic(&mut t, "near", id);
    let why = told(&t, "hub", &tcp("10.1.0.4", "10.2.0.4"));
    let lines: Vec<&str> = why
        .there
        .steps
        .iter()
        .map(|step| step.text.as_str())
        .collect();
    assert_eq!(
        lines,
        [
            "network interface hub in Hub/FrontEnd sends it, from 10.1.0.4 with a TTL of 64",
            "10.2.0.0/16 of peering Near (VNetPeering)",
            "into near: rule no-web (priority 300) of nsg denies it",
            "to network interface near (device dev-near), which has 10.2.0.4",
        ]
    );
    assert_eq!(
        why.there.text,
        "dropped (nsg_inbound): into near: rule no-web (priority 300) of nsg denies it"
    );
    assert_eq!(why.there.reason.as_deref(), Some("nsg_inbound"));
    assert_eq!(
        why.to_do,
        [
            "Add an inbound allow rule with a priority below 300 for TCP port 80 from 10.1.0.4 to \
          10.2.0.4 to network security group nsg, or change its rule no-web."
        ]
    );
    let by = why.there.steps[2].decided_by.as_deref().unwrap();
    assert!(by.ends_with("networkSecurityGroups/nsg/securityRules/no-web"));
    // As it goes over the socket.
    let text = serde_json::to_string(&why).unwrap();
    assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), why);
}

#[test]
fn what_would_have_to_change() {
    let mut t = hub_and_spokes();
    t.table(
        "rt",
        vec![
            route("black", "10.9.0.0/16", RouteNextHop::None),
            route("nobody", "10.8.0.0/16", appliance("10.1.9.9")),
            route("far", "10.3.0.0/16", appliance("10.1.9.4")),
            route(
                "gateway",
                "10.7.0.0/16",
                RouteNextHop::VirtualNetworkGateway,
            ),
        ],
    );
    t.attach("Near", "FrontEnd", "rt");
    let ask = |t: &Topology, nic: &str, source: &str, destination: &str| {
        let why = told(t, nic, &tcp(source, destination));
        why.to_do.first().cloned().unwrap_or_default()
    };
    for (destination, advice) in [
        (
            "10.9.0.1",
            "Remove route black (10.9.0.0/16) of route table rt",
        ),
        ("10.8.0.1", "Give 10.1.9.9 to a networkInterface"),
        (
            "10.3.0.4",
            "Set allowForwardedTraffic on peering Hub of Far",
        ),
        ("10.7.0.1", "Create a virtual network gateway in the VNet"),
        (
            "10.2.0.9",
            "Check the address: Near has no networkInterface with 10.2.0.9",
        ),
        ("10.6.0.1", "Nothing leads to 10.6.0.1"),
        ("192.0.2.1", "This instance has no internet port"),
        ("224.0.0.1", "Use a unicast address"),
    ] {
        let told = ask(&t, "near", "10.2.0.4", destination);
        assert!(told.starts_with(advice), "{destination}: {told}");
    }
    let spoofed = ask(&t, "near", "10.2.0.5", "10.1.0.4");
    assert!(spoofed.starts_with("Send from an address of networkInterface near (10.2.0.4"));

    let nva = t.network_interfaces.get_mut(&nic_id("nva")).unwrap();
    nva.enable_ip_forwarding = false;
    let told = ask(&t, "near", "10.2.0.4", "10.3.0.4");
    assert!(
        told.starts_with("Set enableIPForwarding on networkInterface nva"),
        "{told}"
    );

    t.side("Hub", "Far").peering_state = PeeringState::Disconnected;
    let told = ask(&t, "hub", "10.1.0.4", "10.3.0.4");
    assert!(
        told.starts_with("Connect it: peering Far is Disconnected"),
        "{told}"
    );

    t.network_interfaces.get_mut(&nic_id("hub")).unwrap().device = None;
    let told = ask(&t, "near", "10.2.0.4", "10.1.0.4");
    assert!(
        told.starts_with("networkInterface hub is not plugged in"),
        "{told}"
    );
}

#[test]
fn circles_name_the_route() {
    let mut t = hub_and_spokes();
    t.table(
        "circle",
        vec![route("r", "192.0.2.0/24", appliance("10.1.9.4"))],
    );
    t.attach("Hub", "FrontEnd", "circle");
    t.attach("Hub", "Nva", "circle");
    let why = told(&t, "hub", &tcp("10.1.0.4", "192.0.2.1"));
    assert_eq!(
        why.to_do,
        [
            "The packet goes round in a circle by way of nva: change route r (192.0.2.0/24) of route \
          table circle."
        ]
    );
}

#[test]
fn what_the_daemon_knows_counts() {
    struct Down;
    impl Fares for Down {
        fn port(&self, id: &str) -> Option<String> {
            id.ends_with("/near").then(|| "near: no device".to_owned())
        }
        fn connection(&self, id: &str) -> Option<String> {
            Some(format!("{} is NotConnected", id.rsplit('/').next()?))
        }
    }
    let mut t = hub_and_spokes();
    t.gateway("gw", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect("site", "gw", &[net("10.9.0.0/16")]);
    let arrives = |packet: &Packet, fares: &dyn Fares| {
        let why = told_with(&t, "hub", packet, fares);
        (serde_json::to_value(why.arrives).unwrap(), why.to_do)
    };
    let (near, site) = (tcp("10.1.0.4", "10.2.0.4"), tcp("10.1.0.4", "10.9.0.4"));
    assert_eq!(arrives(&near, &Unknown), ("yes".into(), vec![]));
    assert_eq!(
        arrives(&near, &Down),
        ("no".into(), vec!["near: no device".into()])
    );
    assert_eq!(arrives(&site, &Unknown), ("leaves".into(), vec![]));
    assert_eq!(
        arrives(&site, &Down),
        ("no".into(), vec!["site is NotConnected".into()])
    );
}

#[test]
fn advice_on_the_internet_port() {
    let t = hub_and_spokes();
    let near = nic_id("near");
    let told = |port: InternetPort, source: &str, destination: &str| {
        let predictor =
            Predictor::new(&t, CompileOptions::default()).with_internet_port(Some(port));
        let packet = tcp(source, destination);
        let from = Source::NetworkInterface(&near);
        why(&predictor, from, &packet, &Unknown).unwrap().to_do
    };
    let port = InternetPort::UP;
    let v6 = ("fd00:2::4", "2001:db8::1");
    assert_eq!(told(port, v6.0, v6.1), [""; 0]);
    let said = told(InternetPort { v6: false, ..port }, v6.0, v6.1);
    assert!(said[0].contains("nothing to the IPv6 internet"), "{said:?}");
    let said = told(InternetPort { up: false, ..port }, "10.2.0.4", "192.0.2.1");
    assert!(said[0].contains("is not up"), "{said:?}");
}

#[test]
fn hops_and_their_issues() {
    let mut t = hub_and_spokes();
    t.table(
        "rt",
        vec![
            route("far", "10.3.0.0/16", appliance("10.1.9.4")),
            route("black", "10.9.0.0/16", RouteNextHop::None),
        ],
    );
    t.attach("Near", "FrontEnd", "rt");
    t.side("Far", "Hub").allow_forwarded_traffic = true;
    t.side("Near", "Hub").allow_forwarded_traffic = true;
    t.table(
        "back",
        vec![route("near", "10.2.0.0/16", appliance("10.1.9.4"))],
    );
    t.attach("Far", "FrontEnd", "back");
    let far = tcp("10.2.0.4", "10.3.0.4");
    let check = checked(&t, "near", &far);
    let hops = check.hops.iter();
    let hops: Vec<_> = hops
        .map(|hop| {
            (
                serde_json::to_value(hop.kind).unwrap(),
                hop.address.clone().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        hops,
        [
            ("Source".into(), "10.2.0.4".to_owned()),
            ("VirtualAppliance".into(), "10.1.9.4".to_owned()),
            ("VirtualMachine".into(), "10.3.0.4".to_owned()),
        ]
    );
    assert_eq!(check.connection_status, Status::Connected);
    assert_eq!(check.hops[0].next_hop_ids, [check.hops[1].id.clone()]);
    assert_eq!(check.hops[2].previous_hop_ids, [check.hops[1].id.clone()]);
    // Nothing was sent, so nothing is said of it.
    let shown = serde_json::to_value(&check).unwrap();
    assert!(shown.get("avgLatencyInMs").is_none() && shown.get("probesSent").is_none());

    let black = checked(&t, "near", &tcp("10.2.0.4", "10.9.0.1"));
    let issue = serde_json::to_value(&black.hops[0].issues[0]).unwrap();
    assert_eq!(
        (&issue["type"], &issue["origin"]),
        (&"UserDefinedRoute".into(), &"Outbound".into())
    );
    assert_eq!(
        issue["context"][0],
        serde_json::json!({"key": "RouteType", "value": "User"})
    );
    assert_eq!(black.connection_status, Status::Disconnected);

    let closed = vec![rule("no-web", 300, Direction::Inbound, Access::Deny, 80)];
    let id = group(&mut t, "nsg", closed);
    on_nic(&mut t, "far", id);
    let shut = checked(&t, "near", &far);
    let issue = serde_json::to_value(&shut.hops[2].issues[0]).unwrap();
    assert_eq!(
        (&issue["type"], &issue["origin"]),
        (&"NetworkSecurityRule".into(), &"Inbound".into())
    );
    assert_eq!(
        issue["context"][0],
        serde_json::json!({"key": "RuleName", "value": "securityRules/no-web"})
    );
}

#[test]
fn what_belongs_to_what() {
    let mut t = hub_and_spokes();
    let id = group(&mut t, "nsg", Vec::new());
    on_nic(&mut t, "near", id);
    let hub = vnet_id("Hub");
    let lines = |extent, region: &str| {
        let all = topology_view(&t, extent, region);
        let line = |one: &crate::watcher::TopologyResource| {
            let all = one.associations.iter();
            let all = all.map(|one| format!("{:?} {}", one.association_type, one.name));
            format!("{}: {}", one.name, all.collect::<Vec<_>>().join(", "))
        };
        all.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(Extent::VirtualNetwork(&hub), "westeurope"),
        [
            "Hub: Contains FrontEnd, Contains Nva, Associated Far, Associated Near",
            "FrontEnd: ",
            "Nva: ",
            "hub: Associated FrontEnd",
            "nva: Associated Nva",
            "hub: Contains hub",
            "nva: Contains nva",
        ]
    );
    let group = hub.group().to_owned();
    assert_eq!(
        lines(Extent::Group(&group), "EastUs"),
        [
            "Far: Contains FrontEnd, Associated Hub",
            "FrontEnd: ",
            "far: Associated FrontEnd",
            "far: Contains far"
        ]
    );
    let subnet = crate::effective::tests::build::subnet_id("Near", "FrontEnd");
    assert_eq!(
        lines(Extent::Subnet(&subnet), "westeurope"),
        [
            "FrontEnd: ",
            "near: Associated FrontEnd, Associated nsg",
            "near: Contains near"
        ]
    );
    assert!(
        lines(
            Extent::Group("/subscriptions/s/resourceGroups/other"),
            "westeurope"
        )
        .is_empty()
    );
}
