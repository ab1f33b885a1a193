//! Packets to begin with: one for each way that a packet can take.

use crate::frames::{DB4, GATEWAY, Ip4, Ip6, NVA1, UDP, WEB1, arp, icmp6, solicitation, tagged};

use super::input::{MARK_AT, OWN_MAC, REPAIRED, SUPER, TC};

const WEB: u8 = 0;
const NVA: u8 = 1;
const DB: u8 = 2;
const APP: u8 = 3;
const TUNNEL: u8 = 4;
const INTERNET: u8 = 5;
const APP6: [u8; 6] = [2, 0, 0, 0, 6, 4];
const TCP: u8 = 6;
const ICMP: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 0x10;

/// One packet of each VNet to the internet.
pub(super) fn to_internet() -> Vec<(usize, Vec<u8>)> {
    vec![
        (
            WEB.into(),
            tcp4("10.1.0.4", "8.8.8.8", [40_000, 443], SYN).frame(WEB1),
        ),
        (
            DB.into(),
            tcp4("10.41.0.4", "8.8.8.8", [40_000, 443], SYN).frame(DB4),
        ),
        (
            APP.into(),
            tcp4("10.61.0.4", "8.8.8.8", [40_000, 443], SYN).frame(APP6),
        ),
    ]
}

fn segment([from, to]: [u16; 2], flags: u8) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 16, 0, 0, 0, 0, 0];
    [&ports[..], &rest].concat()
}

fn tcp4(from: &'static str, to: &'static str, ports: [u16; 2], flags: u8) -> Ip4 {
    Ip4 {
        protocol: TCP,
        payload: segment(ports, flags),
        ..Ip4::new(from, to)
    }
}

fn tcp6(from: &'static str, to: &'static str, ports: [u16; 2], flags: u8) -> Ip6 {
    Ip6 {
        next: TCP,
        payload: segment(ports, flags),
        ..Ip6::new(from, to)
    }
}

/// Inputs for [`Mutated::run`](super::Mutated::run), at the XDP hook, and with a bit more at TC.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut frames = addressed();
    frames.extend(headers());
    frames.extend(errors());
    frames.extend(asking());
    let input = |flags: u8, number: u16, port: u8, frame: &[u8]| {
        let [high, low] = number.to_be_bytes();
        [&[port, flags, high, low], frame].concat()
    };
    let mut inputs = Vec::new();
    for (port, frame) in &frames {
        for flags in [0, TC] {
            inputs.push(input(flags | OWN_MAC | REPAIRED, 0, *port, frame));
        }
    }
    let large = Ip4 {
        payload: [segment([7, 443], ACK), vec![1; 1_800]].concat(),
        protocol: TCP,
        ..Ip4::new("10.1.0.4", "10.41.0.4")
    };
    inputs.push(input(TC | SUPER | OWN_MAC, 1_000, WEB, &large.frame(WEB1)));
    inputs.push(input(TC | OWN_MAC, 0, WEB, &large.frame(WEB1)));
    // Shorter than the headers of the segments that it is said to be.
    let short = Ip4 {
        payload: Vec::new(),
        ..Ip4::new("10.1.0.4", "10.1.0.5")
    };
    inputs.push(input(TC | SUPER | OWN_MAC, 1, WEB, &short.frame(WEB1)));
    let back = [
        tcp4("8.8.8.8", "10.1.0.4", [443, 40_000], SYN | ACK).frame(WEB1),
        tcp4("8.8.8.8", "10.41.0.4", [443, 40_000], SYN | ACK).frame(WEB1),
        tcp4("8.8.8.8", "10.61.0.4", [443, 40_000], SYN | ACK).frame(WEB1),
        tcp6("2001:db8::8", "fd00:1::4", [443, 40_000], SYN | ACK).frame(WEB1),
    ];
    for (frame, mark) in back.iter().zip([1u8, 2, 3, 1]) {
        for mark in [mark, 0, 4] {
            inputs.push(input(OWN_MAC | mark << MARK_AT, 0, INTERNET, frame));
        }
    }
    inputs
}

/// To and from everywhere.
fn addressed() -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let destinations4 = [
        "10.41.0.4",
        "10.41.0.9",
        "10.41.0.77",
        "10.1.0.5",
        "10.1.0.77",
        "10.61.0.4",
        "172.20.9.9",
        "172.21.0.1",
        "172.22.0.1",
        "172.23.0.1",
        "172.24.0.9",
        "8.8.8.8",
        "192.168.7.7",
        "224.0.0.5",
        "127.0.0.1",
        "169.254.169.253",
    ];
    for to in destinations4 {
        frames.push((WEB, Ip4::new("10.1.0.4", to).frame(WEB1)));
        frames.push((NVA, tcp4("172.20.9.9", to, [9, 443], SYN).frame(NVA1)));
    }
    for to in [
        "10.1.0.4",
        "10.1.0.5",
        "45.0.8.1",
        "45.1.0.33",
        "10.41.0.5",
        "8.8.8.8",
    ] {
        frames.push((DB, tcp4("10.41.0.4", to, [443, 40_000], ACK).frame(DB4)));
        frames.push((APP, Ip4::new("10.61.0.4", to).frame(APP6)));
    }
    for to in [
        "fd00:4::4",
        "fd00:4::77",
        "fd00:24::9",
        "2001:db8::1",
        "ff02::2",
        "fe80::1",
    ] {
        frames.push((WEB, Ip6::new("fd00:1::4", to).frame(WEB1)));
    }
    for to in ["fd00:1::4", "2001:db8:0:7::700", "fd00:4::5"] {
        frames.push((DB, tcp6("fd00:4::4", to, [443, 40_000], ACK).frame(DB4)));
    }
    for (from, to) in [
        ("172.24.0.9", "10.1.0.4"),
        ("172.24.0.9", "10.1.0.5"),
        ("172.24.0.9", "172.26.0.1"),
        ("172.24.0.9", "172.24.1.1"),
        ("127.0.0.1", "10.1.0.4"),
    ] {
        frames.push((TUNNEL, Ip4::new(from, to).frame(GATEWAY)));
    }
    frames.push((TUNNEL, Ip6::new("fd00:24::9", "fd00:1::4").frame(GATEWAY)));
    for ports in [[40_000, 443], [40_000, 25], [40_000, 80]] {
        frames.push((WEB, tcp4("10.1.0.4", "10.41.0.4", ports, SYN).frame(WEB1)));
        frames.push((WEB, tcp6("fd00:1::4", "fd00:4::4", ports, SYN).frame(WEB1)));
        frames.push((WEB, tcp4("10.1.0.40", "10.61.0.4", ports, SYN).frame(WEB1)));
        let [a, b] = ports;
        frames.push((DB, tcp4("10.41.0.4", "10.1.0.4", [b, a], ACK).frame(DB4)));
    }
    frames
}

/// Options, fragments, extension headers, tags, protocols.
fn headers() -> Vec<(u8, Vec<u8>)> {
    let (four, six) = (
        Ip4::new("10.1.0.4", "10.41.0.4"),
        Ip6::new("fd00:1::4", "fd00:4::4"),
    );
    let mut frames = Vec::new();
    for options in [vec![7, 7, 4, 0, 0, 0, 0, 0], vec![1; 40]] {
        let ip = Ip4 {
            options,
            ..four.clone()
        };
        frames.push((WEB, ip.frame(WEB1)));
    }
    for fragment in [0x2000, 0x2001, 0x0002, 0x8000] {
        let ip = Ip4 {
            fragment,
            ..four.clone()
        };
        frames.push((WEB, ip.frame(WEB1)));
    }
    for protocol in [ICMP, 50, 51, 47, 58, 132] {
        let echo = vec![8, 0, 0, 0, 0, 7, 0, 1];
        let ip = Ip4 {
            protocol,
            payload: echo.clone(),
            ..four.clone()
        };
        frames.push((WEB, ip.frame(WEB1)));
        let ip = Ip6 {
            next: protocol,
            payload: [&[128], &echo[1..]].concat(),
            ..six.clone()
        };
        frames.push((WEB, ip.frame(WEB1)));
    }
    let tcp = segment([40_000, 443], SYN);
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let piece =
        |next: u8, offset: u16| [&[next, 0][..], &offset.to_be_bytes(), &[0, 0, 0, 9]].concat();
    let chains = [
        (0, vec![options(TCP)]),
        (0, vec![options(60), options(TCP)]),
        (43, vec![options(44), piece(TCP, 1)]),
        (44, vec![piece(TCP, 1)]),
        (44, vec![piece(TCP, 0)]),
        (44, vec![piece(TCP, 16)]),
        (44, vec![piece(44, 0), piece(TCP, 1)]),
        (44, vec![piece(60, 0), options(44), piece(TCP, 1)]),
        (51, vec![vec![TCP, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]]),
        (0, vec![options(0); 7]),
        (60, vec![options(60); 9]),
    ];
    for (next, chain) in chains {
        let payload = [chain.concat(), tcp.clone()].concat();
        let ip = Ip6 {
            next,
            payload,
            ..six.clone()
        };
        frames.push((WEB, ip.frame(WEB1)));
    }
    for (tpid, tci) in [(0x8100, 0xe000), (0x88a8, 0), (0x8100, 7)] {
        frames.push((WEB, tagged(&four.frame(WEB1), tpid, tci)));
        let twice = tagged(&tagged(&six.frame(WEB1), tpid, tci), 0x8100, 0);
        frames.push((WEB, tagged(&twice, 0x8100, 0)));
        frames.push((WEB, twice));
    }
    frames
}

/// What asks for ICMP errors, and ICMP errors.
fn errors() -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    for ttl in [0, 1, 2] {
        let four = Ip4 {
            ttl,
            ..Ip4::new("10.1.0.4", "10.1.0.5")
        };
        let six = Ip6 {
            hop_limit: ttl,
            ..tcp6("fd00:1::4", "fd00:4::4", [40_000, 443], SYN)
        };
        frames.push((WEB, four.frame(WEB1)));
        frames.push((WEB, six.frame(WEB1)));
    }
    for length in [1_380, 1_381] {
        let four = Ip4 {
            payload: vec![1; length],
            protocol: 51,
            ..Ip4::new("10.1.0.4", "10.41.0.4")
        };
        let six = Ip6 {
            payload: vec![1; length - 20],
            ..Ip6::new("fd00:1::4", "fd00:24::9")
        };
        frames.push((WEB, four.frame(WEB1)));
        frames.push((WEB, six.frame(WEB1)));
    }
    let quoted4 = Ip4::new("10.1.0.4", "10.41.0.4").bytes();
    let quoted6 = Ip6::new("fd00:1::4", "fd00:4::4").bytes();
    for kind in [3, 4, 11] {
        let message = [&[kind, 3, 0, 0, 0, 0, 0, 0], &quoted4[..28]].concat();
        let ip = Ip4 {
            protocol: ICMP,
            payload: message,
            ..Ip4::new("10.41.0.4", "10.1.0.4")
        };
        frames.push((DB, ip.frame(DB4)));
        let message = [&[kind, 4, 0, 0, 0, 0, 0, 0], &quoted6[..]].concat();
        frames.push((
            DB,
            icmp6(Ip6::new("fd00:4::4", "fd00:1::4"), message).frame(DB4),
        ));
    }
    frames
}

/// ARP and neighbour discovery.
fn asking() -> Vec<(u8, Vec<u8>)> {
    let mut frames = vec![
        (TUNNEL, arp(1, GATEWAY, "169.254.169.253", "10.1.255.9")),
        (INTERNET, arp(1, WEB1, "8.8.8.8", "8.8.8.9")),
        (NVA, arp(1, NVA1, "10.1.0.5", "10.1.0.4")),
    ];
    for target in ["10.1.0.1", "10.1.0.5", "10.1.0.4", "10.1.1.1"] {
        frames.push((WEB, arp(1, WEB1, "10.1.0.4", target)));
    }
    for target in [
        "fe80::1234:5678:9abc",
        "fd00:1::1",
        "fd00:1::5",
        "fd00:1::4",
    ] {
        for option in [false, true] {
            frames.push((WEB, solicitation(WEB1, "fd00:1::4", target, option)));
        }
    }
    let mut router = Ip6::new("fe80::4", "ff02::2");
    router.hop_limit = 255;
    frames.push((
        WEB,
        icmp6(router, vec![133, 0, 0, 0, 0, 0, 0, 0]).frame(WEB1),
    ));
    let mut udp = Ip6::new("fd00:1::4", "fd00:4::4");
    udp.next = UDP;
    frames.push((WEB, udp.frame(WEB1)));
    frames
}
