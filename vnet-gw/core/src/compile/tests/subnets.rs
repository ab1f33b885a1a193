//! Peerings of subnets in an image, against what is said of them.

use crate::{
    compile::{ActionImage, CompileOptions, Image, compile},
    effective::{
        Delivery, explain,
        tests::build::{
            Build, appliance, hub_and_spokes, ip, net, nic_id, route, subnet_id, vnet_id,
        },
    },
    model::{SubnetPeering, Topology},
    watcher::{Outcome, Packet, Predictor, Source},
};

/// The hub's `FrontEnd` alone is peered with `Near`'s.
fn topology() -> Topology {
    let mut t = hub_and_spokes();
    for (vnet, other) in [("Hub", "Near"), ("Near", "Hub")] {
        let side = t.side(vnet, other);
        side.subnets = Some(SubnetPeering {
            local: vec![subnet_id(vnet, "FrontEnd")],
            remote: vec![subnet_id(other, "FrontEnd")],
            only_ipv6: false,
        });
    }
    t.side("Hub", "Near").remote_address_space = vec![net("10.2.0.0/24"), net("fd00:2::/64")];
    t.side("Near", "Hub").remote_address_space = vec![net("10.1.0.0/24"), net("fd00:1::/64")];
    t
}

fn action(image: &Image, subnet: &str, prefix: &str) -> ActionImage {
    let subnet = &image.subnets[&subnet_id("Hub", subnet)];
    let mut routes = subnet.v4.routes.iter();
    let found = routes.find(|(known, _)| net(prefix) == (*known).into());
    subnet.v4.actions[found.unwrap().1 as usize].clone()
}

fn sent(t: &Topology, nic: &str, from: &str, to: &str) -> bool {
    let predictor = Predictor::new(t, CompileOptions::default());
    let nic = nic_id(nic);
    let packet = Packet::icmp(ip(from), ip(to));
    let path = predictor.predict(Source::NetworkInterface(&nic), &packet);
    matches!(path.unwrap().outcome, Outcome::Delivered(_))
}

#[test]
fn a_subnet_that_takes_no_part_sends_nothing_there() {
    let t = topology();
    let image = compile(&t, &CompileOptions::default(), None).unwrap();
    let peering = ActionImage::Peering {
        vnet: vnet_id("Near"),
        accepts_forwarded: false,
    };
    assert_eq!(action(&image, "FrontEnd", "10.2.0.0/24"), peering);
    assert_eq!(action(&image, "Nva", "10.2.0.0/24"), ActionImage::None);
    // A peering of complete networks is for all.
    for subnet in ["FrontEnd", "Nva"] {
        let far = action(&image, subnet, "10.3.0.0/16");
        assert!(matches!(far, ActionImage::Peering { .. }), "{far:?}");
    }
    let to = |subnet| {
        explain(&t, &subnet_id("Hub", subnet), ip("10.2.0.4"))
            .unwrap()
            .delivery
    };
    assert!(matches!(to("FrontEnd"), Delivery::Endpoint(_)));
    let Delivery::SubnetNotPeered { peering } = to("Nva") else {
        panic!("{:?}", to("Nva"));
    };
    assert!(
        peering.ends_with("Hub/virtualNetworkPeerings/Near"),
        "{peering}"
    );
    assert!(sent(&t, "hub", "10.1.0.4", "10.2.0.4"));
    assert!(!sent(&t, "nva", "10.1.9.4", "10.2.0.4"));
}

#[test]
fn nor_to_an_appliance_there_nor_by_a_route_of_type_vnet_local() {
    let mut t = topology();
    t.nic("router", "Near", "FrontEnd", &["10.2.0.9"])
        .enable_ip_forwarding = true;
    let local = crate::model::RouteNextHop::VnetLocal;
    let routes = vec![
        route("chain", "192.0.2.0/24", appliance("10.2.0.9")),
        route("back", "10.2.0.0/25", local),
    ];
    t.table("rt", routes);
    for subnet in ["FrontEnd", "Nva"] {
        t.attach("Hub", subnet, "rt");
    }
    let image = compile(&t, &CompileOptions::default(), None).unwrap();
    let to = |subnet: &str| match action(&image, subnet, "192.0.2.0/24") {
        ActionImage::Appliance { vnet, .. } => vnet,
        other => panic!("{other:?}"),
    };
    assert_eq!(to("FrontEnd"), Some(vnet_id("Near")));
    assert_eq!(to("Nva"), None);
    assert_eq!(action(&image, "Nva", "10.2.0.0/25"), ActionImage::None);
    let said = explain(&t, &subnet_id("Hub", "Nva"), ip("192.0.2.1")).unwrap();
    let Delivery::ApplianceUnreachable { reason, .. } = said.delivery else {
        panic!("{:?}", said.delivery);
    };
    assert!(reason.contains("no part of the peering Near"), "{reason}");
    assert!(!sent(&t, "nva", "10.1.9.4", "10.2.0.4"));
}

/// The hub's gateway is for the subnets of a spoke that take part, though GatewaySubnet does not.
#[test]
fn a_gateway_is_used_by_the_subnets_that_are_peered() {
    let mut t = topology();
    t.subnet("Near", "BackEnd", &["10.2.1.0/24"]);
    t.nic("back", "Near", "BackEnd", &["10.2.1.4"]);
    t.gateway("gw", "Hub", &["10.1.255.0/27"], "203.0.113.1");
    t.connect("site", "gw", &[net("10.9.0.0/16")]);
    t.transit("Hub", "Near");
    let image = compile(&t, &CompileOptions::default(), None).unwrap();
    let near = |subnet: &str| {
        let subnet = &image.subnets[&subnet_id("Near", subnet)];
        let mut routes = subnet.v4.routes.iter();
        let found = routes.find(|(known, _)| net("10.9.0.0/16") == (*known).into());
        match &subnet.v4.actions[found.unwrap().1 as usize] {
            ActionImage::Gateway { vnet, .. } => vnet.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(near("FrontEnd"), Some(vnet_id("Hub")));
    assert_eq!(near("BackEnd"), None);
    let back = action(&image, "GatewaySubnet", "10.2.0.0/24");
    let peering = ActionImage::Peering {
        vnet: vnet_id("Near"),
        accepts_forwarded: true,
    };
    assert_eq!(back, peering);
    let behind = &image.gateways[0].local_prefixes;
    assert!(behind.contains(&net("10.2.0.0/24")) && !behind.contains(&net("10.2.0.0/16")));
    let said = explain(&t, &subnet_id("Near", "BackEnd"), ip("10.9.0.4")).unwrap();
    assert_eq!(said.delivery, Delivery::NoGateway);
}
