//! Metering: known numbers of bytes across peerings and tunnels, against what `vnet-gw usage` says,
//! through everything that may become of daemon, tables and data path.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, UdpSocket},
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use vnet_gw_lab::{
    Daemon, Workload,
    probe::{frame::udp_frame, tcp},
    template::{Allow, Nic, Template},
    workload::FABRIC_MAC,
};
use vnet_gw_tests::{
    bed::{Bed, Hook},
    metrics::{ADDRESS, Scrape},
    regions,
    transit_bed::{Plan, TransitBed},
    vpn_bed::{VpnBed, template},
};

const PORT: u16 = 7777;
/// Of UDP over IPv4 with [`PAYLOAD`].
const SIZE: u64 = 20 + 8 + PAYLOAD.len() as u64;
const PAYLOAD: [u8; 100] = [7; 100];

/// Sends so many packets of a known size, and waits until they have arrived at a socket that takes
/// them: nobody answers. IPv6 has 20 bytes more.
fn send(from: &Workload, to: &Workload, address: IpAddr, count: u64) {
    let taker = to.netns.enter(|| UdpSocket::bind((address, PORT))).unwrap();
    let taker = taker.unwrap();
    taker
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let source = from.address(address).unwrap();
    let frame = udp_frame(
        FABRIC_MAC,
        from.mac,
        (source, PORT),
        (address, PORT),
        &PAYLOAD,
    );
    let socket = from.packet_socket().unwrap();
    let mut taken = [0; 200];
    for number in 0..count {
        socket.send(&frame).unwrap();
        let (length, _) = taker
            .recv_from(&mut taken)
            .unwrap_or_else(|error| panic!("packet {number} to {address}: {error}"));
        assert_eq!(length, PAYLOAD.len());
    }
}

/// By class, direction, virtual network and peer.
type Usage = BTreeMap<[String; 4], (u64, u64)>;

fn short(id: &Value) -> String {
    let id = id.as_str().unwrap();
    id.rsplit('/').next().unwrap_or_default().to_owned()
}

fn usage(daemon: &Daemon, args: &[&str]) -> Usage {
    let answer = daemon.json(&[&["usage"], args].concat()).unwrap();
    let mut usage = Usage::new();
    for row in answer["value"].as_array().unwrap() {
        let key = ["class", "direction"].map(|key| row[key].as_str().unwrap().to_owned());
        let [class, direction] = key;
        let key = [
            class,
            direction,
            short(&row["virtualNetwork"]),
            short(&row["peer"]),
        ];
        let count = (
            row["packets"].as_u64().unwrap(),
            row["bytes"].as_u64().unwrap(),
        );
        assert!(usage.insert(key, count).is_none(), "{row:#}");
    }
    usage
}

/// What a peering is billed for: both sides.
fn peering(class: &str, from: &str, to: &str, packets: u64, bytes: u64) -> Usage {
    let key = |direction: &str, whose: &str, peer: &str| {
        [class, direction, whose, peer].map(str::to_owned)
    };
    Usage::from([
        (key("egress", from, to), (packets, bytes)),
        (key("ingress", to, from), (packets, bytes)),
    ])
}

fn counts_what_crosses_peerings_and_arrives(hook: Hook) {
    let bed = regions::start(hook).unwrap();
    let [one, same, peered, narrow, far] =
        ["one", "other-subnet", "peered", "narrow", "other-region"].map(|name| bed.workload(name));
    assert_eq!(usage(&bed.daemon, &[]), Usage::new());
    send(one, peered, peered.ipv4().unwrap(), 100);
    let mut expected = peering("peering", "VNet1", "VNet2", 100, 100 * SIZE);
    assert_eq!(usage(&bed.daemon, &[]), expected);
    // The other way is another count, and so is another region; IPv6 is in the same.
    send(peered, one, one.ipv4().unwrap(), 10);
    expected.extend(peering("peering", "VNet2", "VNet1", 10, 10 * SIZE));
    send(one, far, far.ipv6().unwrap(), 30);
    send(one, far, far.ipv4().unwrap(), 5);
    let bytes = 30 * (SIZE + 20) + 5 * SIZE;
    expected.extend(peering("globalPeering", "VNet1", "VNet4", 35, bytes));
    // Within a VNet nothing is metered.
    send(one, same, same.ipv4().unwrap(), 20);
    assert_eq!(usage(&bed.daemon, &[]), expected);

    // What matches a peering's route and does not arrive is not metered: no such address, too big.
    let socket = one.packet_socket().unwrap();
    let frame = |to: IpAddr, data: &[u8]| {
        let from = one.address(to).unwrap();
        udp_frame(FABRIC_MAC, one.mac, (from, PORT), (to, PORT), data)
    };
    let (missing, big) = (bed.counted("endpoint_unreachable"), bed.counted("too_big"));
    socket
        .send(&frame("10.2.0.99".parse().unwrap(), b"nobody"))
        .unwrap();
    socket
        .send(&frame(narrow.ipv4().unwrap(), &[1; 1450]))
        .unwrap();
    bed.wait(|| {
        Ok(
            bed.counted("endpoint_unreachable")? > *missing.as_ref().unwrap()
                && bed.counted("too_big")? > *big.as_ref().unwrap(),
        )
    })
    .unwrap();
    assert_eq!(usage(&bed.daemon, &[]), expected);

    // Super-packets count as what they are on the wire.
    let size: u64 = 32 << 20;
    let before = expected[&["peering", "egress", "VNet1", "VNet2"].map(str::to_owned)];
    tcp::transfer(&one.netns, &peered.netns, peered.ipv4().unwrap(), size)
        .unwrap()
        .unwrap();
    let after =
        usage(&bed.daemon, &[])[&["peering", "egress", "VNet1", "VNet2"].map(str::to_owned)];
    let (packets, bytes) = (after.0 - before.0, after.1 - before.1);
    let segments = size / 1448;
    let wire = size + segments * 52;
    assert!(
        packets >= segments && packets < segments + segments / 10 + 1_000,
        "{packets}"
    );
    assert!(
        bytes >= wire && bytes < wire + wire / 20,
        "{bytes} of {wire}"
    );

    let json = bed.daemon.json(&["usage", "--vnet", "vnet4"]).unwrap();
    let row = &json["value"][0];
    assert_eq!(row["sourceRegion"], "eastus");
    assert_eq!(row["destinationRegion"], "westus");
    assert_eq!(json["value"].as_array().unwrap().len(), 1);
}

#[test]
fn counts_what_crosses_peerings_and_arrives_at_xdp() {
    counts_what_crosses_peerings_and_arrives(Hook::Xdp);
}

#[test]
fn counts_what_crosses_peerings_and_arrives_at_tcx() {
    counts_what_crosses_peerings_and_arrives(Hook::Tcx);
}

/// VNet1 and VNet2, peered or not; and a route table with so many routes.
fn two(peer: bool, routes: usize) -> Template {
    let prefixes: Vec<String> = (0..routes).map(|n| format!("10.77.{n}.0/24")).collect();
    let routes: Vec<(&str, &str, Option<&str>)> = prefixes
        .iter()
        .map(|prefix| (prefix.as_str(), "None", None))
        .collect();
    let mut template = Template::new();
    template.route_table("udr", "eastus", &routes);
    for (vnet, n) in [("VNet1", 1), ("VNet2", 2)] {
        let (space, prefix) = (format!("10.{n}.0.0/16"), format!("10.{n}.0.0/24"));
        template.vnet(vnet, "eastus", &[&space]);
        template.subnet(vnet, "FrontEnd", &[&prefix], Some("udr"));
    }
    if peer {
        template.peer("VNet1", "VNet2");
    }
    for (name, subnet, address) in [
        ("one", "VNet1/FrontEnd", "10.1.0.4"),
        ("two", "VNet2/FrontEnd", "10.2.0.4"),
    ] {
        template.nic(&Nic {
            name,
            subnet,
            addresses: &[address],
            device: name,
            forwarding: false,
        });
    }
    template
}

#[test]
fn counts_on_through_kills_restarts_new_tables_and_down() {
    let args = ["--metrics", ADDRESS];
    let mut bed = Bed::start_with(&two(true, 1), Hook::Tcx, &args, |_, _| Ok(())).unwrap();
    let mut packets = 0;
    // Exactly so much, each time: nothing is lost, and nothing counted twice.
    let more = |bed: &Bed, packets: &mut u64, count| {
        let (one, two) = (bed.workload("one"), bed.workload("two"));
        send(one, two, two.ipv4().unwrap(), count);
        *packets += count;
    };
    let check = |bed: &Bed, packets: u64, when: &str| {
        let expected = peering("peering", "VNet1", "VNet2", packets, packets * SIZE);
        assert_eq!(usage(&bed.daemon, &[]), expected, "{when}");
    };
    more(&bed, &mut packets, 10);
    check(&bed, packets, "at first");

    more(&bed, &mut packets, 20);
    bed.daemon.kill().unwrap();
    more(&bed, &mut packets, 5);
    bed.daemon.launch().unwrap();
    check(&bed, packets, "killed, forwarded on, started");

    more(&bed, &mut packets, 7);
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    more(&bed, &mut packets, 4);
    bed.daemon.launch().unwrap();
    more(&bed, &mut packets, 3);
    check(&bed, packets, "ended, forwarded on, started");

    // Edited in place, then built anew in another form, and back.
    for routes in [5, 200, 1] {
        more(&bed, &mut packets, 2);
        bed.apply(&two(true, routes)).unwrap();
        more(&bed, &mut packets, 3);
        check(&bed, packets, "with another table");
    }

    // What was counted outlives the peering, and its next life goes on from there.
    more(&bed, &mut packets, 6);
    bed.apply(&two(false, 1)).unwrap();
    check(&bed, packets, "without the peering");
    bed.daemon.kill().unwrap();
    bed.daemon.launch().unwrap();
    check(&bed, packets, "without the peering, killed");
    bed.apply(&two(true, 1)).unwrap();
    more(&bed, &mut packets, 8);
    check(&bed, packets, "with the peering again");

    // Between the daemon's end and the end of the data path, too.
    bed.daemon.terminate(Signal::SIGTERM).unwrap();
    more(&bed, &mut packets, 9);
    let state = bed.daemon.state().to_str().unwrap().to_owned();
    let down = ["--output", "json", "down", "--state-dir", &state];
    let down = bed.daemon.output(&down).unwrap();
    assert!(down.status.success(), "{down:?}");
    assert!(down.stderr.is_empty(), "{down:?}");
    assert!(bed.pins().is_empty());
    bed.daemon.launch().unwrap();
    check(&bed, packets, "down and up");
    // More than the meter of its life before had.
    more(&bed, &mut packets, 150);
    check(&bed, packets, "after down and up");

    // In time.
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let day = |days: u64| {
        let time = std::process::Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d"])
            .arg(format!("@{}", now - days * 86_400))
            .output()
            .unwrap();
        String::from_utf8(time.stdout).unwrap().trim().to_owned()
    };
    let all = usage(&bed.daemon, &[]);
    assert_eq!(usage(&bed.daemon, &["--from", &day(1)]), all);
    assert_eq!(usage(&bed.daemon, &["--from", &day(30)]), all);
    assert_eq!(usage(&bed.daemon, &["--from", "2020-01-01"]), all);
    assert_eq!(
        usage(&bed.daemon, &["--from", &day(9), "--to", &day(7)]),
        Usage::new()
    );
    let refused = bed
        .daemon
        .output(&["usage", "--from", "yesterday"])
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("2026-11-21T14:00:00Z"), "{told}");
    let (from, to) = (day(1), day(2));
    let refused = bed
        .daemon
        .output(&["usage", "--from", &from, "--to", &to])
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("exchange them"));

    // Prometheus sees the same, at most one interval later.
    let metered = || {
        let labels = [
            ("class", "peering"),
            ("from", "vnet-gw/VNet1"),
            ("to", "vnet-gw/VNet2"),
        ];
        let scrape = Scrape::of(&bed.host).unwrap();
        assert_eq!(scrape.wrong, [""; 0]);
        scrape.sum("vnet_gw_metered_bytes_total", &labels).unwrap()
    };
    assert_eq!(metered(), (packets * SIZE) as f64);
}

#[test]
fn an_appliance_in_a_peered_network_is_metered_each_time_a_peering_is_crossed() {
    let mut template = Template::new();
    template.route_table(
        "through",
        "eastus",
        &[("10.3.0.0/16", "VirtualAppliance", Some("10.2.0.4"))],
    );
    for (vnet, n, table) in [
        ("VNet1", 1, Some("through")),
        ("VNet2", 2, None),
        ("VNet3", 3, None),
    ] {
        let (space, prefix) = (format!("10.{n}.0.0/16"), format!("10.{n}.0.0/24"));
        template.vnet(vnet, "eastus", &[&space]);
        template.subnet(vnet, "FrontEnd", &[&prefix], table);
    }
    let allow = Allow {
        forwarded_traffic: true,
        ..Allow::default()
    };
    for (from, to) in [("VNet1", "VNet2"), ("VNet2", "VNet3")] {
        template.peering(from, to, allow).peering(to, from, allow);
    }
    for (name, subnet, address, forwarding) in [
        ("one", "VNet1/FrontEnd", "10.1.0.4", false),
        ("nva", "VNet2/FrontEnd", "10.2.0.4", true),
        ("three", "VNet3/FrontEnd", "10.3.0.4", false),
    ] {
        template.nic(&Nic {
            name,
            subnet,
            addresses: &[address],
            device: name,
            forwarding,
        });
    }
    let bed = Bed::start(&template, Hook::Tcx).unwrap();
    let nva = bed.workload("nva");
    nva.netns.sysctl("net.ipv4.ip_forward", "1").unwrap();
    let (one, three) = (bed.workload("one"), bed.workload("three"));
    send(one, three, three.ipv4().unwrap(), 25);
    let mut expected = peering("peering", "VNet1", "VNet2", 25, 25 * SIZE);
    expected.extend(peering("peering", "VNet2", "VNet3", 25, 25 * SIZE));
    assert_eq!(usage(&bed.daemon, &[]), expected);
}

#[test]
fn counts_what_tunnels_carry_by_connection_and_region() {
    let template = template().unwrap();
    let mut bed = VpnBed::start_with(&template, &template, &[]).unwrap();
    bed.connected().unwrap();
    let (west, east) = (&bed.west.workload, &bed.east.workload);
    send(west, east, east.ipv4().unwrap(), 40);
    send(east, west, west.ipv4().unwrap(), 15);
    let key = |direction: &str, whose: &str, peer: &str| {
        ["vnetToVnetInterRegion", direction, whose, peer].map(str::to_owned)
    };
    let (out, back) = ((40, 40 * SIZE), (15, 15 * SIZE));
    let at_west = Usage::from([
        (key("egress", "VNet1", "VNet4"), out),
        (key("ingress", "VNet1", "VNet4"), back),
    ]);
    assert_eq!(usage(&bed.west.daemon, &[]), at_west);
    let at_east = Usage::from([
        (key("egress", "VNet4", "VNet1"), back),
        (key("ingress", "VNet4", "VNet1"), out),
    ]);
    assert_eq!(usage(&bed.east.daemon, &[]), at_east);
    let json = bed.west.daemon.json(&["usage"]).unwrap();
    let row = &json["value"][0];
    assert_eq!(short(&row["connection"]), "VNet1-to-VNet4");
    assert_eq!(
        (&row["sourceRegion"], &row["billed"]),
        (&"westeurope".into(), &true.into())
    );
    assert_eq!(json["value"][1]["billed"], false);

    // A daemon that ends says what its tunnels carried last.
    send(west, east, east.ipv4().unwrap(), 10);
    bed.west.daemon.terminate(Signal::SIGTERM).unwrap();
    bed.west.daemon.launch().unwrap();
    let after = usage(&bed.west.daemon, &[]);
    assert_eq!(after[&key("egress", "VNet1", "VNet4")], (50, 50 * SIZE));
    bed.connected().unwrap();
    send(
        &bed.west.workload,
        &bed.east.workload,
        bed.east.workload.ipv4().unwrap(),
        1,
    );
    let after = usage(&bed.west.daemon, &[]);
    assert_eq!(after[&key("egress", "VNet1", "VNet4")], (51, 51 * SIZE));
}

#[test]
fn gateway_transit_is_metered_for_the_spoke() {
    let bed = TransitBed::start(Plan::default()).unwrap();
    let [one, hub, far] = ["one", "hub", "far"].map(|name| bed.workload(name).unwrap());
    send(one, far, far.ipv4().unwrap(), 20);
    send(far, one, one.ipv4().unwrap(), 6);
    send(one, hub, hub.ipv4().unwrap(), 4);
    send(hub, far, far.ipv4().unwrap(), 3);
    let count = |packets: u64| (packets, packets * SIZE);
    let mut found = usage(&bed.near, &[]);
    let mut take = |class: &str, direction: &str, whose: &str, peer: &str| {
        found.remove(&[class, direction, whose, peer].map(str::to_owned))
    };
    // The spoke's way to the gateway is no peering; to the hub's workload it is.
    assert_eq!(
        take("gatewayTransit", "egress", "Spoke1", "Hub"),
        Some(count(20))
    );
    assert_eq!(
        take("gatewayTransit", "ingress", "Spoke1", "Hub"),
        Some(count(6))
    );
    assert_eq!(take("peering", "egress", "Spoke1", "Hub"), Some(count(4)));
    assert_eq!(take("peering", "ingress", "Hub", "Spoke1"), Some(count(4)));
    // The hub's tunnel carried the spoke's packets and its own.
    let tunnel = "vnetToVnetInterRegion";
    assert_eq!(take(tunnel, "egress", "Hub", "Far"), Some(count(23)));
    assert_eq!(take(tunnel, "ingress", "Hub", "Far"), Some(count(6)));
    assert_eq!(found, Usage::new());
}
