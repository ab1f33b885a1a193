//! Tables that are full.

use std::net::{IpAddr, SocketAddr};

use vnet_gw_lab::{
    probe::frame::{ETH_IPV4, Ipv4Header, ethernet},
    workload::FABRIC_MAC,
};

use crate::{
    at_both_hooks,
    world::{SERVED, SILENCE, addresses, arrives, bed, connect, flows, talks, udp},
};

/// Another port of UDP for every datagram: each end is a flow that came about.
#[test]
fn a_full_table_asks_rules_instead_of_dropping() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &["--flows", "64"]);
        let near = bed.workload("web").ipv4().unwrap();
        let far = bed.workload("db").ipv4().unwrap();
        let serves = udp(&bed, "db", far, SERVED);
        let mut all = Vec::new();
        for number in 0..300 {
            let asks = udp(&bed, "web", near, 0);
            assert!(
                arrives(&asks, &serves, b"who?", SILENCE * 5),
                "{hook:?} {number}"
            );
            assert!(
                arrives(&serves, &asks, b"me", SILENCE * 5),
                "{hook:?} {number}"
            );
            all.push(asks);
        }
        for (number, asks) in all.iter().enumerate() {
            assert!(
                arrives(asks, &serves, b"again", SILENCE * 5),
                "{hook:?} {number}"
            );
            assert!(
                arrives(&serves, asks, b"yes", SILENCE * 5),
                "{hook:?} {number}"
            );
        }
        bed.wait(|| Ok(flows(&bed, "established") > 0)).unwrap();
        assert!(flows(&bed, "established") <= 64, "{hook:?}");
        assert!(bed.counted("flow_table_full").unwrap() >= 300 - 64);
        let other = udp(&bed, "db", far, SERVED + 1);
        assert!(!arrives(&all[0], &other, b"who?", SILENCE), "{hook:?}");
    });
}

const FLOOD: u32 = 1_000_000;

/// A million SYNs, each of another flow, where a few thousand may be half open; each is answered by
/// RST, since nobody listens.
#[test]
fn a_flood_leaves_flows_that_came_about_alone() {
    at_both_hooks(|hook| {
        let bed = bed(hook, &["--flows", "4096"]);
        let mut talking: Vec<_> = addresses(bed.workload("db"))
            .into_iter()
            .flat_map(|address| (0..50).map(move |_| address))
            .map(|address| connect(&bed, "web", "db", address).unwrap())
            .collect();
        for (near, far) in &mut talking {
            assert!(talks(near, far));
        }
        let (web, db) = (bed.workload("web"), bed.workload("db"));
        let (IpAddr::V4(source), IpAddr::V4(target)) = (web.ipv4().unwrap(), db.ipv4().unwrap())
        else {
            panic!("addresses of IPv4");
        };
        let admitted = crate::world::hits(&bed, "served", "AnyTcp");
        let socket = web.packet_socket().unwrap();
        let mut segment = vec![0; 20];
        segment[12] = 0x50;
        segment[13] = 2;
        for number in 0..FLOOD {
            segment[..2].copy_from_slice(&(1_024 + (number % 60_000) as u16).to_be_bytes());
            segment[2..4].copy_from_slice(&(1 + (number / 60_000) as u16).to_be_bytes());
            let packet = Ipv4Header::new(6).packet(source, target, &segment);
            socket
                .send(&ethernet(FABRIC_MAC, web.mac, ETH_IPV4, &packet))
                .unwrap();
        }
        let flood = crate::world::hits(&bed, "served", "AnyTcp") - admitted;
        assert!(
            flood >= u64::from(FLOOD) * 9 / 10,
            "{hook:?}: {flood} of the flood's flows were decided"
        );
        for (number, (near, far)) in talking.iter_mut().enumerate() {
            assert!(talks(near, far), "{hook:?} {number}");
            assert!(talks(far, near), "{hook:?} {number}");
        }
        bed.wait(|| Ok(flows(&bed, "halfOpen") > 0)).unwrap();
        assert!(flows(&bed, "established") >= 100, "{hook:?}");
        assert!(flows(&bed, "halfOpen") <= 4_096, "{hook:?}");
        let served: SocketAddr = (db.ipv4().unwrap(), SERVED).into();
        let serves = udp(&bed, "db", served.ip(), SERVED);
        let asks = udp(&bed, "web", web.ipv4().unwrap(), 0);
        assert!(
            arrives(&asks, &serves, b"still there?", SILENCE * 5),
            "{hook:?}"
        );
        assert!(arrives(&serves, &asks, b"yes", SILENCE * 5), "{hook:?}");
    });
}
