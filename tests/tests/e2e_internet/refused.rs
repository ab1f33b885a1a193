//! What does not get there, and what does not come from there.

use std::{net::IpAddr, time::Duration};

use vnet_gw_lab::probe::{Outcome, Ping, arrival::send_marked, frame};
use vnet_gw_lab::workload::FABRIC_MAC;
use vnet_gw_tests::bed::{Hook, SILENCE, mark};

use crate::world::{PUBLIC, SERVER, World, server};

fn ping(world: &World, from: &str, to: &str) -> Outcome {
    let ping = Ping {
        patience: Duration::from_millis(150),
        ..Ping::new(to.parse().unwrap())
    };
    ping.send(world.netns(from)).unwrap()
}

/// Sources that are not the NIC's own, private destinations, and the host itself.
pub(crate) fn what_does_not_belong_there(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    let bed = &world.bed;
    for (to, reason) in [
        ("192.168.3.3", "internet_destination"),
        ("fd99::3", "internet_destination"),
        // Without the route of Red's table.
        ("10.8.0.1", "next_hop_none"),
    ] {
        let before = bed.counted(reason).unwrap();
        assert_eq!(ping(&world, "red", to), Outcome::Silence, "{to}");
        assert!(bed.counted(reason).unwrap() > before, "{to}: {reason}");
        let predicted = world.why("red", to);
        assert_eq!(predicted, ("no".to_owned(), reason.to_owned()), "{to}");
    }
    // The appliance forwards for another NIC, and for somebody elsewhere, and does not translate.
    let nva = bed.workload("nva");
    for (source, destination) in [
        ("10.7.0.4", SERVER[0]),
        ("10.99.0.4", SERVER[0]),
        ("fd07::4", SERVER[1]),
    ] {
        let mark = mark();
        let arrival = vnet_gw_lab::probe::Arrival::watch(&world.internet, "in0", mark).unwrap();
        let (from, to): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        let one = frame::udp_frame(FABRIC_MAC, nva.mac, (from, 5_000), (to, 9), &mark);
        let before = bed.counted("internet_source").unwrap();
        nva.packet_socket().unwrap().send(&one).unwrap();
        assert_eq!(arrival.count(SILENCE).unwrap(), 0, "{source} got out");
        assert_eq!(bed.counted("internet_source").unwrap(), before + 1);
    }
    // The host's own addresses are not the VNet's to talk to.
    for address in PUBLIC {
        assert_eq!(ping(&world, "red", address), Outcome::Silence, "{address}");
        let own = Ping::new(address.parse().unwrap());
        let outcome = own.send(&world.internet).unwrap();
        assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
    }
}

/// From the internet comes what answers, and nothing else, even where it knows the way.
pub(crate) fn what_nobody_asked_for(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    world
        .internet
        .ip("route add 10.7.0.0/16 via 192.0.2.2")
        .unwrap();
    world
        .internet
        .ip("-6 route add fd07::/48 via 2001:db8:1::2")
        .unwrap();
    for server in server() {
        // There is a way.
        let outcome = Ping::new(server).send(world.netns("red")).unwrap();
        assert!(matches!(outcome, Outcome::Reply { .. }), "{outcome}");
        for name in ["red", "blue"] {
            let workload = world.bed.workload(name);
            let mark = mark();
            let arrival = workload.watch(mark).unwrap();
            let to = workload.address(server).unwrap();
            send_marked(&world.internet, to, mark, 5).unwrap();
            assert_eq!(arrival.count(SILENCE).unwrap(), 0, "{name} got it");
        }
    }
}

/// A family that the host has no route for is counted, and the other goes on; and comes back with
/// the route.
pub(crate) fn where_the_host_has_no_route(hook: Hook) {
    let world = World::start(hook, &["--ephemeral"]);
    let [v4, v6] = SERVER;
    assert!(matches!(ping(&world, "red", v6), Outcome::Reply { .. }));
    let leaves = ("leaves".to_owned(), String::new());
    assert_eq!(
        [v4, v6].map(|to| world.why("red", to)),
        [leaves.clone(), leaves.clone()]
    );
    world.bed.host.ip("-6 route del default").unwrap();
    let counted = || world.bed.counted("next_hop_internet").unwrap();
    world
        .bed
        .wait(|| {
            let before = counted();
            ping(&world, "red", v6);
            Ok(counted() > before)
        })
        .unwrap();
    assert!(matches!(ping(&world, "red", v4), Outcome::Reply { .. }));
    // The predictions look at the port as it is.
    let dropped = ("no".to_owned(), "next_hop_internet".to_owned());
    assert_eq!(
        [v4, v6].map(|to| world.why("red", to)),
        [leaves.clone(), dropped]
    );
    let hop = ["next-hop", "--nic", "red", "--dest", v6];
    let hop = world.bed.daemon.json(&hop).unwrap();
    let said = hop["outcome"].as_str().unwrap();
    assert!(said.contains("nothing to the IPv6 internet"), "{said}");
    let ports = world.bed.daemon.json(&["ports"]).unwrap();
    let ports = ports["value"].as_array().unwrap().iter();
    let port = ports.into_iter().find(|port| port["internet"] == true);
    assert_eq!(port.unwrap()["carries"], serde_json::json!(["IPv4"]));
    world
        .bed
        .host
        .ip("-6 route add default via 2001:db8:1::1")
        .unwrap();
    world
        .bed
        .wait(|| Ok(matches!(ping(&world, "red", v6), Outcome::Reply { .. })))
        .unwrap();
    assert_eq!(world.why("red", v6), leaves);
}
