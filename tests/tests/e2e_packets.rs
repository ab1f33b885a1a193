//! What becomes of a packet on its way, and of those that are not plain, at every hook.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::Duration,
};

use vnet_gw_lab::{
    probe::{
        Outcome, Ping,
        frame::{self, Ipv4Header, Mac, Packet},
    },
    workload::FABRIC_MAC,
};
use vnet_gw_tests::{
    bed::{Hook, mark},
    regions::{bed, pairs},
};

/// The far end sees the fabric's MAC address, one hop less, and the rest as it was sent.
fn rewrites_what_a_router_does_and_no_more(hook: Hook) {
    let bed = bed(hook);
    for (from, to) in pairs(&bed, "one", "other-region") {
        let mark = mark();
        let arrival = bed.workload("other-region").watch(mark).unwrap();
        let sent = frame::udp_frame(
            FABRIC_MAC,
            bed.workload("one").mac,
            (from, 7),
            (to, 7),
            &mark,
        );
        bed.workload("one")
            .packet_socket()
            .unwrap()
            .send(&sent)
            .unwrap();
        let frame = arrival
            .first(Duration::from_secs(1))
            .unwrap()
            .expect("nothing arrived");
        let (sent, seen) = (
            Packet::parse(&sent).unwrap(),
            Packet::parse(&frame).unwrap(),
        );
        assert_eq!(seen.src_mac, FABRIC_MAC);
        assert_eq!(seen.dst_mac, bed.workload("other-region").mac);
        assert_eq!((seen.src, seen.dst, seen.ttl), (from, to, sent.ttl - 1));
        assert_eq!(seen.payload, sent.payload);
    }
}

fn options_fragments_and_extension_headers_pass(hook: Hook) {
    let bed = bed(hook);
    let mac = bed.workload("one").mac;
    let [(from4, to4), (from6, to6)] = pairs(&bed, "one", "peered");
    let (IpAddr::V4(v4), IpAddr::V4(w4)) = (from4, to4) else {
        unreachable!()
    };
    let (IpAddr::V6(v6), IpAddr::V6(w6)) = (from6, to6) else {
        unreachable!()
    };
    let ipv4 = |header: &Ipv4Header, payload: &[u8]| {
        frame::ethernet(
            FABRIC_MAC,
            mac,
            frame::ETH_IPV4,
            &header.packet(v4, w4, payload),
        )
    };
    let ipv6 = |next: u8, payload: &[u8]| {
        frame::ethernet(
            FABRIC_MAC,
            mac,
            frame::ETH_IPV6,
            &frame::ipv6(v6, w6, next, 64, payload),
        )
    };
    let mark = mark();
    let udp4 = frame::udp((from4, 9), (to4, 9), &mark);
    let udp6 = frame::udp((from6, 9), (to6, 9), &mark);
    let plain = Ipv4Header::new(frame::UDP);
    // Router alert and padding; record route with room for three addresses.
    let alert = Ipv4Header {
        options: vec![148, 4, 0, 0, 1, 1, 1, 0],
        ..plain.clone()
    };
    let record = [&[7, 15, 4][..], &[0; 12], &[0]].concat();
    let record = Ipv4Header {
        options: record,
        ..plain.clone()
    };
    let first = Ipv4Header {
        fragment: 0x2000,
        identification: 77,
        ..plain.clone()
    };
    let later = Ipv4Header {
        fragment: 3,
        identification: 77,
        ..plain.clone()
    };
    // Each: next header, length in eighths, and a PadN of four.
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let fragment = |offset: u8, more: u8| [frame::UDP, 0, 0, offset << 3 | more, 0, 0, 0, 77];
    let chain = [
        &options(frame::DESTINATION_OPTIONS)[..],
        &options(frame::FRAGMENT),
        &fragment(0, 0),
        &udp6,
    ]
    .concat();
    for (what, frame) in [
        ("IPv4 without anything", ipv4(&plain, &udp4)),
        ("IPv4 router alert", ipv4(&alert, &udp4)),
        ("IPv4 record route", ipv4(&record, &udp4)),
        ("the first fragment", ipv4(&first, &udp4)),
        ("a later fragment, which has no ports", ipv4(&later, &mark)),
        ("IPv6 without anything", ipv6(frame::UDP, &udp6)),
        (
            "hop-by-hop",
            ipv6(
                frame::HOP_BY_HOP,
                &[&options(frame::UDP)[..], &udp6].concat(),
            ),
        ),
        ("a chain of three", ipv6(frame::HOP_BY_HOP, &chain)),
        (
            "the first IPv6 fragment",
            ipv6(frame::FRAGMENT, &[&fragment(0, 1)[..], &udp6].concat()),
        ),
        (
            "a later IPv6 fragment",
            ipv6(frame::FRAGMENT, &[&fragment(3, 0)[..], &mark].concat()),
        ),
    ] {
        let arrival = bed.workload("peered").watch(mark).unwrap();
        bed.workload("one")
            .packet_socket()
            .unwrap()
            .send(&frame)
            .unwrap();
        let seen = arrival.first(Duration::from_secs(1)).unwrap();
        let seen = seen.unwrap_or_else(|| panic!("{what} did not arrive"));
        let (sent, seen) = (
            Packet::parse(&frame).unwrap(),
            Packet::parse(&seen).unwrap(),
        );
        assert_eq!(seen.payload, sent.payload, "{what}");
        assert_eq!(
            seen.header.get(20..),
            sent.header.get(20..),
            "{what}: options"
        );
    }
    // What the kernel fragments itself arrives whole.
    for (_, to) in pairs(&bed, "one", "peered") {
        let ping = Ping {
            size: 4000,
            ..Ping::new(to)
        };
        let outcome = ping.send(&bed.workload("one").netns).unwrap();
        assert!(
            matches!(outcome, Outcome::Reply { .. }),
            "4000 bytes to {to}: {outcome}"
        );
    }
}

fn tags_with_an_id_are_refused(hook: Hook) {
    let bed = bed(hook);
    let (from, to) = pairs(&bed, "one", "peered")[0];
    let mark = mark();
    let plain = frame::udp_frame(
        FABRIC_MAC,
        bed.workload("one").mac,
        (from, 9),
        (to, 9),
        &mark,
    );
    let priority = frame::tagged(&plain, frame::ETH_VLAN, 5 << 13);
    let two = frame::tagged(&priority, frame::ETH_QINQ, 0);
    let three = frame::tagged(&two, frame::ETH_QINQ, 0);
    let numbered = frame::tagged(&plain, frame::ETH_VLAN, 10);
    let inner = frame::tagged(&numbered, frame::ETH_QINQ, 0);
    for (what, frame, passes) in [
        ("no tag", plain, true),
        ("a priority tag", priority, true),
        ("two priority tags", two, true),
        ("three", three, false),
        ("VLAN 10", numbered, false),
        ("VLAN 10 inside", inner, false),
    ] {
        let (arrived, counted) = bed.shoot("one", "peered", mark, &[frame], "vlan").unwrap();
        assert_eq!(
            (arrived, counted),
            if passes { (1, 0) } else { (0, 1) },
            "{what}"
        );
    }
}

fn spoofed_sources_are_refused(hook: Hook) {
    let bed = bed(hook);
    let own = bed.workload("one").mac;
    let neighbour = bed.workload("same-subnet").mac;
    for family in [0, 1] {
        let (from, to) = pairs(&bed, "one", "peered")[family];
        let other = pairs(&bed, "same-subnet", "peered")[family].0;
        let foreign = pairs(&bed, "stranger", "peered")[family].0;
        let shoot = |mac: Mac, source: IpAddr, reason: &str| {
            let mark = mark();
            let frame = frame::udp_frame(FABRIC_MAC, mac, (source, 9), (to, 9), &mark);
            bed.shoot("one", "peered", mark, &vec![frame; 10], reason)
                .unwrap()
        };
        assert_eq!(
            shoot(own, from, "spoofed_address"),
            (10, 0),
            "the right source"
        );
        assert_eq!(
            shoot(own, other, "spoofed_address"),
            (0, 10),
            "a neighbour's address"
        );
        assert_eq!(
            shoot(own, foreign, "spoofed_address"),
            (0, 10),
            "another VNet's address"
        );
        assert_eq!(
            shoot(neighbour, from, "spoofed_mac"),
            (0, 10),
            "a neighbour's MAC address"
        );
        assert_eq!(
            shoot(FABRIC_MAC, from, "spoofed_mac"),
            (0, 10),
            "the fabric's MAC address"
        );
    }
}

fn errors_are_answered(hook: Hook) {
    let bed = bed(hook);
    let near = &bed.workload("one").netns;
    let routers: [IpAddr; 2] = [
        Ipv4Addr::new(10, 1, 0, 1).into(),
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1).into(),
    ];
    for family in [0, 1] {
        let from = routers[family];
        let peered = pairs(&bed, "one", "peered")[family].1;
        let expired = Ping {
            ttl: 1,
            ..Ping::new(peered)
        }
        .send(near)
        .unwrap();
        assert_eq!(expired, Outcome::TimeExceeded { from });
        // A TTL of two reaches the far end, which is one hop away.
        let two = Ping {
            ttl: 2,
            ..Ping::new(peered)
        }
        .send(near)
        .unwrap();
        assert!(matches!(two, Outcome::Reply { .. }), "{two}");
        let nobody: IpAddr = [
            Ipv4Addr::new(10, 4, 0, 200).into(),
            "fd00:4::200".parse().unwrap(),
        ][family];
        let unreachable = Ping::new(nobody).send(near).unwrap();
        let code = [1, 3][family];
        assert_eq!(unreachable, Outcome::Unreachable { from, code });
        let narrow = pairs(&bed, "one", "narrow")[family].1;
        let large = Ping {
            size: 1440,
            dont_fragment: true,
            ..Ping::new(narrow)
        };
        assert_eq!(
            large.send(near).unwrap(),
            Outcome::TooBig { from, mtu: 1400 }
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// Far more errors than are answered: the answers are limited, each is counted.
fn errors_are_rate_limited(hook: Hook) {
    let bed = bed(hook);
    let (from, to) = pairs(&bed, "one", "peered")[0];
    let (IpAddr::V4(v4), IpAddr::V4(w4)) = (from, to) else {
        unreachable!()
    };
    let mark = mark();
    let header = Ipv4Header {
        ttl: 1,
        ..Ipv4Header::new(frame::UDP)
    };
    let packet = header.packet(v4, w4, &frame::udp((from, 9), (to, 9), &mark));
    let frame = frame::ethernet(
        FABRIC_MAC,
        bed.workload("one").mac,
        frame::ETH_IPV4,
        &packet,
    );
    let reasons = ["ttl_expired", "sent_time_exceeded", "icmp_rate_limited"];
    let count = || reasons.map(|reason| bed.counted(reason).unwrap());
    let before = count();
    let socket = bed.workload("one").packet_socket().unwrap();
    for _ in 0..2000 {
        socket.send(&frame).unwrap();
    }
    let answers = socket
        .count(Duration::from_millis(200), |frame| {
            Packet::parse(frame).is_some_and(|p| p.protocol == frame::ICMP && p.payload[0] == 11)
        })
        .unwrap();
    let after = count();
    let [_, sent, limited] = [0, 1, 2].map(|i| after[i] - before[i]);
    assert_eq!(sent + limited, 2000, "{reasons:?}: {before:?} {after:?}");
    assert_eq!(sent, answers, "what was counted as sent arrived");
    assert!(sent > 0 && sent < 1000, "{sent} of 2000 were answered");
}

fn the_fabric_answers_for_neighbours(hook: Hook) {
    let bed = bed(hook);
    let one = bed.workload("one");
    let neighbour = bed.workload("same-subnet").packet_socket().unwrap();
    let socket = one.packet_socket().unwrap();
    let own = Ipv4Addr::new(10, 1, 0, 4);
    for (target, answered) in [
        (Ipv4Addr::new(10, 1, 0, 1), true),
        (Ipv4Addr::new(10, 1, 0, 5), true),
        (Ipv4Addr::new(10, 1, 0, 250), true),
        // Its own, and one of another subnet: an answer would be a lie.
        (own, false),
        (Ipv4Addr::new(10, 1, 1, 4), false),
    ] {
        socket
            .send(&frame::arp_request(one.mac, own, target))
            .unwrap();
        let patience = Duration::from_millis(if answered { 1000 } else { 100 });
        let answer = socket
            .find(patience, |frame| frame::arp_reply(frame, target))
            .unwrap();
        assert_eq!(answer, answered.then_some(FABRIC_MAC), "{target}");
    }
    let own: Ipv6Addr = "fd00:1::4".parse().unwrap();
    for (target, answered) in [
        ("fd00:1::1", true),
        ("fd00:1::5", true),
        ("fd00:1::beef", true),
        ("fe80::1234:5678:9abc", true),
        ("fd00:1::4", false),
        ("fd00:1:0:1::4", false),
    ] {
        let target: Ipv6Addr = target.parse().unwrap();
        socket
            .send(&frame::neighbor_solicitation(one.mac, own, target))
            .unwrap();
        let patience = Duration::from_millis(if answered { 1000 } else { 100 });
        let answer = socket
            .find(patience, |frame| {
                frame::neighbor_advertisement(frame, target)
            })
            .unwrap();
        assert_eq!(answer, answered.then_some(FABRIC_MAC), "{target}");
    }
    let heard = neighbour
        .count(Duration::from_millis(50), |frame| {
            frame.get(6..12) == Some(&one.mac[..])
        })
        .unwrap();
    assert_eq!(heard, 0, "workloads never see each other's frames");
}

macro_rules! at_both_hooks {
    ($($test:ident)+) => {
        mod xdp { $(#[test] fn $test() { super::$test(super::Hook::Xdp) })+ }
        mod tcx { $(#[test] fn $test() { super::$test(super::Hook::Tcx) })+ }
    };
}

at_both_hooks! {
    rewrites_what_a_router_does_and_no_more
    options_fragments_and_extension_headers_pass
    tags_with_an_id_are_refused
    spoofed_sources_are_refused
    errors_are_answered
    errors_are_rate_limited
    the_fabric_answers_for_neighbours
}
