//! What stands in an image, and what two images share.

use std::sync::Arc;

use crate::{
    compile::{ActionImage, CompileError, CompileOptions, Image, SubnetImage, TableImage, compile},
    effective::tests::build::{
        Build, appliance, hub_and_spokes, ip, net, nic_id, route, subnet_id, table_id, vnet_id,
    },
    model::{PeeringState, RouteNextHop, Topology},
};

fn image(t: &Topology) -> Image {
    compile(t, &CompileOptions::default(), None).unwrap()
}

fn again(t: &Topology, previous: &Image) -> Image {
    compile(t, &CompileOptions::default(), Some(previous)).unwrap()
}

fn refusal(t: &Topology) -> CompileError {
    compile(t, &CompileOptions::default(), None).unwrap_err()
}

fn front_end<'i>(image: &'i Image, vnet: &str) -> &'i Arc<SubnetImage> {
    &image.subnets[&subnet_id(vnet, "FrontEnd")]
}

fn action<'t, P: std::str::FromStr<Err: std::fmt::Debug> + PartialEq>(
    table: &'t TableImage<P>,
    prefix: &str,
) -> Option<&'t ActionImage> {
    let prefix: P = prefix.parse().unwrap();
    let (_, number) = table.routes.iter().find(|(p, _)| *p == prefix)?;
    Some(&table.actions[*number as usize])
}

#[test]
fn ports_are_the_nics_with_a_device_on_this_host() {
    let mut t = hub_and_spokes();
    t.network_interfaces.get_mut(&nic_id("near")).unwrap().host = Some("H2".to_owned());
    t.network_interfaces.get_mut(&nic_id("far")).unwrap().device = None;
    let names = |host_name| -> Vec<String> {
        let options = CompileOptions {
            host_name,
            ..CompileOptions::default()
        };
        let image = compile(&t, &options, None).unwrap();
        assert_eq!(
            image.endpoints.len(),
            6,
            "endpoints do not depend on the host"
        );
        image.ports.keys().map(|id| id.name().to_owned()).collect()
    };
    assert_eq!(names(None), ["hub", "nva"]);
    assert_eq!(names(Some("h1")), ["hub", "nva"]);
    assert_eq!(names(Some("h2")), ["hub", "near", "nva"]);

    let image = image(&t);
    let port = &image.ports[&nic_id("hub")];
    assert_eq!(port.device, "dev-hub");
    assert_eq!(port.mac, [0x00, 0x0d, 0x3a, 0, 0, 0]);
    assert_eq!(port.vnet, vnet_id("Hub"));
    assert_eq!(port.subnet, subnet_id("Hub", "FrontEnd"));
    assert_eq!(port.addresses, [ip("10.1.0.4"), ip("fd00:1::4")]);
    assert!(!port.ip_forwarding);
    assert!(image.ports[&nic_id("nva")].ip_forwarding);
    let subnets: Vec<_> = image.subnets.keys().map(|id| id.name()).collect();
    assert_eq!(
        subnets,
        ["FrontEnd", "Nva"],
        "only those in which a port lives"
    );
}

#[test]
fn endpoints_are_ordered_by_vnet_and_address() {
    let mut t = hub_and_spokes();
    // Sorts before the others by name and after them by address.
    t.nic("a", "Hub", "FrontEnd", &["10.1.0.200"]);
    let image = image(&t);
    let listed: Vec<_> = image
        .endpoints
        .iter()
        .map(|e| format!("{} {} {}", e.vnet.name(), e.address, e.nic.name()))
        .collect();
    assert_eq!(
        listed,
        [
            "Far 10.3.0.4 far",
            "Hub 10.1.0.4 hub",
            "Hub 10.1.0.200 a",
            "Hub 10.1.9.4 nva",
            "Hub fd00:1::4 hub",
            "Near 10.2.0.4 near",
            "Near fd00:2::4 near",
        ]
    );
}

#[test]
fn a_subnet_has_the_fabrics_addresses() {
    let mut t = hub_and_spokes();
    let hub = t.virtual_networks.get_mut(&vnet_id("Hub")).unwrap();
    let subnet = hub.subnets.get_mut(&subnet_id("Hub", "FrontEnd")).unwrap();
    subnet.address_prefixes = vec![
        net("10.1.4.128/25"),
        net("fd00:1:0:4::/64"),
        net("10.1.5.0/24"),
    ];
    let image = image(&t);
    let subnet = front_end(&image, "Hub");
    assert_eq!(subnet.gateway4, Some("10.1.4.129".parse().unwrap()));
    assert_eq!(subnet.gateway6, Some("fd00:1:0:4::1".parse().unwrap()));
    assert_eq!(subnet.prefixes.len(), 3);
    assert_eq!(front_end(&image, "Far").gateway6, None);
}

#[test]
fn tables_hold_the_active_routes_in_order() {
    let mut t = hub_and_spokes();
    t.side("Near", "Hub").allow_forwarded_traffic = true;
    let routes = vec![
        route("nva", "10.2.0.0/16", appliance("10.1.9.4")),
        route("direct", "10.2.7.0/24", RouteNextHop::VnetLocal),
        route("local", "10.1.7.0/24", RouteNextHop::VnetLocal),
        route(
            "gateway",
            "10.9.0.0/16",
            RouteNextHop::VirtualNetworkGateway,
        ),
        route("none", "203.0.113.0/24", RouteNextHop::None),
        route("near6", "fd00:2:0:1::/64", appliance("fd00:2::4")),
        route("lost", "198.51.100.0/24", appliance("10.1.9.9")),
    ];
    t.table("rt", routes);
    t.attach("Hub", "FrontEnd", "rt");
    t.network_interfaces
        .get_mut(&nic_id("near"))
        .unwrap()
        .enable_ip_forwarding = true;
    let image = image(&t);
    let subnet = front_end(&image, "Hub");
    let prefixes: Vec<_> = subnet
        .v4
        .routes
        .iter()
        .map(|(prefix, _)| prefix.to_string())
        .collect();
    assert_eq!(
        prefixes,
        [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.7.0/24",
            "10.2.0.0/16",
            "10.2.7.0/24",
            "10.3.0.0/16",
            "10.9.0.0/16",
            "100.64.0.0/10",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "198.51.100.0/24",
            "203.0.113.0/24",
        ]
    );
    let local = ActionImage::Local {
        vnet: vnet_id("Hub"),
    };
    let near = ActionImage::Peering {
        vnet: vnet_id("Near"),
        accepts_forwarded: true,
    };
    let far = ActionImage::Peering {
        vnet: vnet_id("Far"),
        accepts_forwarded: false,
    };
    let nva = |vnet, address, peered| ActionImage::Appliance {
        vnet,
        address: ip(address),
        peered,
        accepts_forwarded: peered,
    };
    let v4 = |prefix| action(&subnet.v4, prefix).unwrap();
    assert_eq!(*v4("0.0.0.0/0"), ActionImage::Internet);
    assert_eq!(*v4("10.0.0.0/8"), ActionImage::None);
    assert_eq!(*v4("10.1.0.0/16"), local);
    assert_eq!(*v4("10.1.7.0/24"), local);
    assert_eq!(
        *v4("10.2.0.0/16"),
        nva(Some(vnet_id("Hub")), "10.1.9.4", false)
    );
    assert_eq!(*v4("10.2.7.0/24"), near);
    assert_eq!(*v4("10.3.0.0/16"), far);
    assert_eq!(*v4("10.9.0.0/16"), ActionImage::gateway(None));
    assert_eq!(*v4("203.0.113.0/24"), ActionImage::None);
    assert_eq!(*v4("198.51.100.0/24"), nva(None, "10.1.9.9", false));
    let v6 = |prefix| action(&subnet.v6, prefix).unwrap();
    assert_eq!(*v6("fd00:1::/48"), local);
    assert_eq!(*v6("fd00:2::/48"), near);
    assert_eq!(
        *v6("fd00:2:0:1::/64"),
        nva(Some(vnet_id("Near")), "fd00:2::4", true)
    );
    assert_eq!(*v6("::/0"), ActionImage::Internet);
    let mut distinct = subnet.v4.actions.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), subnet.v4.actions.len());
}

#[test]
fn a_vnet_local_route_equal_to_a_peers_prefix_leads_to_the_peer() {
    let mut t = hub_and_spokes();
    let prefixes = ["10.2.0.0/16", "10.3.0.0/16", "fd00:2::/48", "10.2.0.0/15"];
    let routes = prefixes.map(|prefix| route(prefix, prefix, RouteNextHop::VnetLocal));
    t.table("rt", routes.to_vec());
    t.attach("Hub", "FrontEnd", "rt");
    let image = image(&t);
    let subnet = front_end(&image, "Hub");
    let peering = |vnet| ActionImage::Peering {
        vnet: vnet_id(vnet),
        accepts_forwarded: false,
    };
    assert_eq!(action(&subnet.v4, "10.2.0.0/16"), Some(&peering("Near")));
    assert_eq!(action(&subnet.v4, "10.3.0.0/16"), Some(&peering("Far")));
    assert_eq!(action(&subnet.v6, "fd00:2::/48"), Some(&peering("Near")));
    // More than one peer's: the VNet's own.
    let local = ActionImage::Local {
        vnet: vnet_id("Hub"),
    };
    assert_eq!(action(&subnet.v4, "10.2.0.0/15"), Some(&local));
}

#[test]
fn forwarding_into_a_peering_is_the_remote_sides_to_allow() {
    let mut t = hub_and_spokes();
    t.side("Hub", "Near").allow_forwarded_traffic = true;
    let image = image(&t);
    let to = |vnet, prefix| {
        action(&front_end(&image, vnet).v4, prefix)
            .cloned()
            .unwrap()
    };
    let peering = |vnet, accepts_forwarded| ActionImage::Peering {
        vnet: vnet_id(vnet),
        accepts_forwarded,
    };
    assert_eq!(to("Hub", "10.2.0.0/16"), peering("Near", false));
    assert_eq!(to("Near", "10.1.0.0/16"), peering("Hub", true));
}

#[test]
fn what_does_not_change_is_shared() {
    let mut t = hub_and_spokes();
    let first = image(&t);
    let second = again(&t, &first);
    assert_eq!(first, second);
    for (id, subnet) in &first.subnets {
        assert!(Arc::ptr_eq(subnet, &second.subnets[id]), "{id}");
    }
    // One peering down: the subnets of its two VNets change, in IPv4 only.
    t.side("Hub", "Far").peering_state = PeeringState::Disconnected;
    t.side("Far", "Hub").peering_state = PeeringState::Disconnected;
    let third = again(&t, &second);
    assert_eq!(third, image(&t), "the previous image only lends its memory");
    assert!(Arc::ptr_eq(
        front_end(&second, "Near"),
        front_end(&third, "Near")
    ));
    let (before, after) = (front_end(&second, "Hub"), front_end(&third, "Hub"));
    assert!(!Arc::ptr_eq(before, after));
    assert!(!Arc::ptr_eq(&before.v4.routes, &after.v4.routes));
    assert!(Arc::ptr_eq(&before.v6.routes, &after.v6.routes));
}

#[test]
fn an_action_that_changes_behind_equal_routes_is_no_equal_table() {
    let mut t = hub_and_spokes();
    let first = image(&t);
    t.side("Near", "Hub").allow_forwarded_traffic = true;
    let second = again(&t, &first);
    assert_eq!(second, image(&t));
    assert!(!Arc::ptr_eq(
        front_end(&first, "Hub"),
        front_end(&second, "Hub")
    ));
    assert!(Arc::ptr_eq(
        &front_end(&first, "Hub").v4.routes,
        &front_end(&second, "Hub").v4.routes
    ));
}

#[test]
fn subnets_with_one_route_table_share_their_routes() {
    let mut t = hub_and_spokes();
    t.table("rt", vec![route("r", "203.0.113.0/24", RouteNextHop::None)]);
    t.attach("Hub", "FrontEnd", "rt");
    let apart = image(&t);
    t.attach("Hub", "Nva", "rt");
    let nva = subnet_id("Hub", "Nva");
    for image in [image(&t), again(&t, &apart)] {
        let routes = &image.subnets[&nva].v4.routes;
        assert!(Arc::ptr_eq(routes, &front_end(&image, "Hub").v4.routes));
    }
    assert!(!Arc::ptr_eq(
        &apart.subnets[&nva].v4.routes,
        &front_end(&apart, "Hub").v4.routes
    ));
}

#[test]
fn more_routes_than_a_leaf_numbers_are_refused() {
    let with = |count: u32| {
        let mut t = hub_and_spokes();
        let routes = (0..count).map(|at| {
            let address = std::net::Ipv4Addr::from_bits(0x2000_0000 + (at << 8));
            route("r", &format!("{address}/24"), RouteNextHop::None)
        });
        t.table("rt", routes.collect());
        t.attach("Hub", "FrontEnd", "rt");
        t
    };
    // Eight system routes.
    let most = (1 << 20) - 1 - 8;
    assert_eq!(
        front_end(&image(&with(most)), "Hub").v4.routes.len(),
        (1 << 20) - 1
    );
    assert_eq!(
        refusal(&with(most + 1)).to_string(),
        format!(
            "subnet {}: 1048576 IPv4 routes, 1048575 fit; take routes out of its route table",
            subnet_id("Hub", "FrontEnd")
        )
    );
}

#[test]
fn more_next_hops_than_a_leaf_numbers_are_refused() {
    let with = |count: u32| {
        let mut t = hub_and_spokes();
        let routes = (0..count).map(|at| {
            let address = std::net::Ipv4Addr::from_bits(0x2000_0000 + at);
            route(
                "r",
                &format!("{address}/32"),
                appliance(&format!("10.1.{}.{}", at >> 8, at & 255)),
            )
        });
        t.table("rt", routes.collect());
        t.attach("Hub", "FrontEnd", "rt");
        t
    };
    // Internet, None, Local and two peerings.
    let most = (1 << 11) - 1 - 5;
    assert_eq!(
        front_end(&image(&with(most)), "Hub").v4.actions.len(),
        (1 << 11) - 1
    );
    assert!(matches!(
        refusal(&with(most + 1)),
        CompileError::TooManyActions {
            family: "IPv4",
            limit: 2047,
            ..
        }
    ));
}

#[test]
fn what_a_topology_must_not_be_is_refused() {
    let mut t = hub_and_spokes();
    t.table("rt", vec![]).routes = vec![
        route("b", "203.0.113.0/24", RouteNextHop::None),
        route("a", "198.51.100.0/24", RouteNextHop::None),
    ];
    t.attach("Hub", "FrontEnd", "rt");
    assert_eq!(
        refusal(&t),
        CompileError::RoutesOutOfOrder {
            table: table_id("rt"),
            route: "a".to_owned()
        }
    );
    let mut t = hub_and_spokes();
    let twice = route("b", "203.0.113.0/24", RouteNextHop::None);
    t.table("rt", vec![twice.clone(), twice]);
    t.attach("Hub", "FrontEnd", "rt");
    assert!(matches!(refusal(&t), CompileError::RoutesOutOfOrder { .. }));

    let mut t = hub_and_spokes();
    t.attach("Hub", "FrontEnd", "missing");
    assert_eq!(
        refusal(&t),
        CompileError::UnknownRouteTable {
            subnet: subnet_id("Hub", "FrontEnd"),
            table: table_id("missing"),
        }
    );
    let mut t = hub_and_spokes();
    t.nic("stray", "Hub", "Missing", &["10.1.77.4"]);
    assert!(
        matches!(refusal(&t), CompileError::UnknownSubnet { nic, .. } if nic == nic_id("stray"))
    );
    let mut t = hub_and_spokes();
    t.nic("empty", "Hub", "FrontEnd", &[]);
    assert_eq!(
        refusal(&t),
        CompileError::NoIpConfiguration(nic_id("empty"))
    );

    let mut t = hub_and_spokes();
    t.nic("twin", "Hub", "FrontEnd", &["10.1.0.9"]).device = Some("dev-hub".to_owned());
    assert_eq!(
        refusal(&t),
        CompileError::DuplicateDevice {
            device: "dev-hub".to_owned(),
            first: nic_id("hub"),
            second: nic_id("twin"),
        }
    );
    // The same device of another host is another device.
    t.network_interfaces.get_mut(&nic_id("twin")).unwrap().host = Some("h2".to_owned());
    assert_eq!(image(&t).ports.len(), 4);
}

#[test]
fn more_ports_than_the_maps_hold_are_refused() {
    let mut t = Topology::default();
    t.vnet("V", "westeurope", &["10.0.0.0/8"]);
    t.subnet("V", "FrontEnd", &["10.0.0.0/16"]);
    for at in 0..16_384u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0004 + at).to_string();
        t.nic(&format!("nic{at}"), "V", "FrontEnd", &[&address]);
    }
    assert!(matches!(
        refusal(&t),
        CompileError::TooMany {
            what: "ports",
            count: 16_384,
            limit: 16_383
        }
    ));
    t.network_interfaces = t.network_interfaces.without_max().1;
    assert_eq!(image(&t).ports.len(), 16_383);
}
