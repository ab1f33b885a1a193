//! Packets of a known size, and what the daemon says it counted.

use std::{
    collections::BTreeMap,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use serde_json::Value;
use vnet_gw_lab::{Daemon, Netns, Workload, probe::frame::udp_frame, workload::FABRIC_MAC};

pub(crate) const PORT: u16 = 7777;
/// Of UDP over IPv4 with [`PAYLOAD`].
pub(crate) const SIZE: u64 = 20 + 8 + PAYLOAD.len() as u64;
const PAYLOAD: [u8; 100] = [7; 100];

/// Sends so many packets of a known size, and waits until they have arrived at a socket that takes
/// them: nobody answers. IPv6 has 20 bytes more.
pub(crate) fn send(from: &Workload, to: &Netns, address: IpAddr, count: u64) {
    let taker = to.enter(|| UdpSocket::bind((address, PORT))).unwrap();
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
pub(crate) type Usage = BTreeMap<[String; 4], (u64, u64)>;

pub(crate) fn short(id: &Value) -> String {
    let id = id.as_str().unwrap();
    id.rsplit('/').next().unwrap_or_default().to_owned()
}

pub(crate) fn usage(daemon: &Daemon, args: &[&str]) -> Usage {
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
pub(crate) fn peering(class: &str, from: &str, to: &str, packets: u64, bytes: u64) -> Usage {
    let key = |direction: &str, whose: &str, peer: &str| {
        [class, direction, whose, peer].map(str::to_owned)
    };
    Usage::from([
        (key("egress", from, to), (packets, bytes)),
        (key("ingress", to, from), (packets, bytes)),
    ])
}
