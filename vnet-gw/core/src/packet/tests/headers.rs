use proptest::{collection::vec, prelude::*};

use super::build::{ACK, SYN, Tcp, assert_true, ip, udp};
use crate::packet::{
    Flow, Fragment, Outline, Ports, clamp_mss,
    ecn::{self, Congested},
};

/// RFC 6040, figure 4, as numbers: inner down, outer across, `None` to drop.
const DECAPSULATED: [[Option<u8>; 4]; 4] = [
    // Outer: Not-ECT, ECT(1), ECT(0), CE
    [Some(0), Some(0), Some(0), None],
    [Some(1), Some(1), Some(1), Some(3)],
    [Some(2), Some(1), Some(2), Some(3)],
    [Some(3), Some(3), Some(3), Some(3)],
];

#[test]
fn congestion_comes_through_the_tunnel() {
    for v6 in [false, true] {
        for dscp in [0, 46, 63] {
            for (inner_ecn, row) in DECAPSULATED.iter().enumerate() {
                for (outer_ecn, expected) in row.iter().enumerate() {
                    let inner = with_class(v6, dscp << 2 | inner_ecn as u8);
                    assert_eq!(ecn::outer(&inner), dscp << 2 | inner_ecn as u8);
                    let mut packet = inner.clone();
                    // The class of the outer header stays outside.
                    let result = ecn::decapsulate(&mut packet, 10 << 2 | outer_ecn as u8);
                    match expected {
                        None => assert_eq!((result, packet), (Err(Congested), inner)),
                        Some(ecn) => {
                            assert_eq!(result, Ok(()));
                            assert_eq!(packet, with_class(v6, dscp << 2 | ecn));
                            assert_true(&packet);
                        }
                    }
                }
            }
        }
    }
}

fn with_class(v6: bool, class: u8) -> Vec<u8> {
    let mut packet = udp(v6, 1, 2, b"payload");
    if v6 {
        packet[0] = 0x60 | class >> 4;
        packet[1] = class << 4 | 0x0a;
    } else {
        packet[1] = class;
        packet[10..12].fill(0);
        let checksum = !super::build::naive_sum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

#[test]
fn what_is_no_packet_has_no_class() {
    for mut packet in [
        vec![],
        vec![0x45],
        vec![0x60],
        vec![0x45, 2],
        vec![0, 3],
        vec![0x45, 1, 0, 0],
    ] {
        let _ = ecn::outer(&packet);
        let _ = ecn::decapsulate(&mut packet, 3);
    }
}

fn syn(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
    let mut tcp = Tcp::new(v6, b"");
    (tcp.flags, tcp.options) = (flags, options.to_vec());
    tcp.packet()
}

#[test]
fn the_mss_is_clamped() {
    for (v6, mtu, offered, clamped) in [
        (false, 1400, 1460u16, Some(1350u16)),
        (false, 1400, 1351, Some(1350)),
        (false, 1400, 1350, None),
        (false, 1400, 536, None),
        (false, 1300, 1350, Some(1260)),
        (true, 1400, 1440, Some(1340)),
        (true, 1280, 1440, Some(1220)),
        (true, 1500, 1440, Some(1350)),
    ] {
        let [high, low] = offered.to_be_bytes();
        // At an even place, and at an odd one.
        for layout in [
            vec![2, 4, high, low],
            vec![1, 2, 4, high, low, 1, 1, 0],
            vec![8, 2, 3, 3, 7, 2, 4, high, low, 0, 9, 9],
        ] {
            for flags in [SYN, SYN | ACK] {
                let packet = syn(v6, flags, &layout);
                let mut changed = packet.clone();
                assert_eq!(clamp_mss(&mut changed, mtu), clamped.is_some());
                match clamped {
                    None => assert_eq!(changed, packet),
                    Some(value) => {
                        let mut options = layout.clone();
                        let at = layout
                            .windows(4)
                            .position(|option| *option == [2, 4, high, low])
                            .unwrap();
                        options[at + 2..at + 4].copy_from_slice(&value.to_be_bytes());
                        assert_true(&changed);
                        assert_eq!(changed, syn(v6, flags, &options));
                    }
                }
            }
        }
    }
}

#[test]
fn only_the_mss_of_a_syn_is_clamped() {
    let option = [2, 4, 0x05, 0xb4];
    for packet in [
        syn(false, ACK, &option),
        syn(false, SYN, &[]),
        // After the end of the options, in another option, of another length, cut off.
        syn(false, SYN, &[0, 2, 4, 0x05, 0xb4, 0, 0, 0]),
        syn(false, SYN, &[8, 8, 2, 4, 0x05, 0xb4, 0, 0]),
        syn(false, SYN, &[2, 3, 0xff, 1]),
        syn(false, SYN, &[1, 2, 4, 0x05]),
        syn(false, SYN, &[9, 0, 2, 4, 0x05, 0xb4, 0, 0]),
        udp(false, 1, 2, &option),
    ] {
        let mut changed = packet.clone();
        assert!(!clamp_mss(&mut changed, 1400));
        assert_eq!(changed, packet);
    }
    let mut fragment = syn(false, SYN, &option);
    fragment[6] = 0x20;
    assert!(!clamp_mss(&mut fragment, 1400));
}

proptest! {
    /// Whatever comes, lengths are kept, and what is not a SYN is not touched.
    #[test]
    fn no_options_confuse_it(options in vec(any::<u8>(), 0..10), v6: bool) {
        let words = [options.clone(), vec![0; 40 - options.len()]].concat();
        let packet = syn(v6, SYN, &words);
        let mut changed = packet.clone();
        clamp_mss(&mut changed, 1400);
        assert_true(&changed);
        let differing = packet.iter().zip(&changed).filter(|(one, other)| one != other).count();
        prop_assert!(differing <= 4);
    }

    #[test]
    fn nonsense_has_an_outline_within_it_or_none(bytes in vec(any::<u8>(), 0..100), first in 0x40..0x70u8) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if let Some(outline) = Outline::of(&bytes) {
            prop_assert!(outline.transport <= outline.total && outline.total <= bytes.len());
            prop_assert!(Flow::of(&bytes).is_some());
        }
    }
}

#[test]
fn extension_headers_are_walked() {
    let payload = [0x10, 0, 0x20, 0, 0, 8, 0, 0];
    let extended = |protocol: u8, headers: &[u8]| {
        ip(true, protocol, 0, false, [headers, &payload].concat(), None)
    };
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let options = [17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let packet = extended(0, &[&hop_by_hop[..], &options].concat());
    let outline = Outline::of(&packet).expect("a packet");
    assert_eq!(
        (outline.protocol, outline.transport, outline.total),
        (17, 64, 72)
    );
    assert_eq!(
        Flow::of(&packet).map(|flow| flow.ports),
        Some(Ports::Pair(0x1000, 0x2000))
    );

    for (word, fragment, ports) in [
        ([0, 0], Fragment::Whole, Ports::Pair(0x1000, 0x2000)),
        ([0, 1], Fragment::First, Ports::None),
        ([0, 8], Fragment::Later, Ports::None),
        ([0, 9], Fragment::Later, Ports::None),
    ] {
        let packet = extended(44, &[17, 0, word[0], word[1], 0, 0, 0, 1]);
        let outline = Outline::of(&packet).expect("a packet");
        assert_eq!(
            (outline.fragment, outline.protocol, outline.transport),
            (fragment, 17, 48)
        );
        assert_eq!(Flow::of(&packet).map(|flow| flow.ports), Some(ports));
    }
    // A later fragment's data that looks like one more header is none.
    let packet = extended(44, &[60, 0, 0, 8, 0, 0, 0, 1]);
    assert_eq!(
        Outline::of(&packet).map(|outline| outline.protocol),
        Some(60)
    );
    // Headers without end, and one longer than the packet.
    assert_eq!(
        Outline::of(&extended(0, &[0, 0, 1, 4, 0, 0, 0, 0].repeat(9))),
        None
    );
    assert_eq!(Outline::of(&extended(0, &[17, 9, 1, 4, 0, 0, 0, 0])), None);
}

#[test]
fn flows_have_different_hashes_and_fragments_stay_together() {
    let mut hashes = std::collections::BTreeSet::new();
    let mut buckets = [0; 4];
    for v6 in [false, true] {
        for port in 0..2000 {
            let hash = Flow::of(&udp(v6, port, 1, b"x")).expect("a packet").hash();
            assert!(hashes.insert(hash));
            buckets[(hash % 4) as usize] += 1;
        }
    }
    assert!(
        buckets.iter().all(|count| (800..1200).contains(count)),
        "{buckets:?}"
    );
    // The same after a restart, and in every release: flows would change tunnels.
    assert_eq!(
        Flow::of(&udp(false, 7, 1, b"x")).map(|flow| flow.hash()),
        Some(10_498_017_993_767_314_262)
    );
    let mut first = udp(false, 7, 1, b"first");
    first[6] = 0x20;
    let mut later = udp(false, 9, 1, b"later");
    later[7] = 9;
    let hash = |packet: &[u8]| Flow::of(packet).expect("a packet").hash();
    assert_eq!(hash(&first), hash(&later));
}
