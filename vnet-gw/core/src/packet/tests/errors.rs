use std::net::IpAddr;

use super::build::{Tcp, assert_true, ip, udp};
use crate::packet::{Fragments, dont_fragment, icmp::LONGEST_ERROR, too_big};

fn error(packet: &[u8], source: &str) -> Option<Vec<u8>> {
    let mut out = [0xee; LONGEST_ERROR];
    let length = too_big(packet, source.parse().unwrap(), 1400, &mut out)?;
    assert!(out[length..].iter().all(|byte| *byte == 0xee));
    Some(out[..length].to_vec())
}

#[test]
fn a_sender_is_told_the_mtu() {
    let long = Tcp::new(false, &[5; 1460]).packet();
    let answer = error(&long, "10.1.255.4").expect("an answer");
    assert_true(&answer);
    assert_eq!(answer.len(), 576);
    assert_eq!(answer[9], 1);
    assert_eq!(answer[12..16], [10, 1, 255, 4]);
    assert_eq!(answer[16..20], long[12..16]);
    assert_eq!(answer[20..22], [3, 4]);
    assert_eq!(answer[24..28], [0, 0, 0x05, 0x78]);
    assert_eq!(answer[28..], long[..548]);

    let long = Tcp::new(true, &[5; 1460]).packet();
    let answer = error(&long, "fd01::ff04").expect("an answer");
    assert_true(&answer);
    assert_eq!(answer.len(), 1280);
    assert_eq!(answer[6], 58);
    assert_eq!(
        answer[8..24],
        "fd01::ff04".parse::<std::net::Ipv6Addr>().unwrap().octets()
    );
    assert_eq!(answer[24..40], long[8..24]);
    assert_eq!(answer[40..42], [2, 0]);
    assert_eq!(answer[44..48], [0, 0, 0x05, 0x78]);
    assert_eq!(answer[48..], long[..1232]);
}

#[test]
fn a_short_packet_is_quoted_whole() {
    let packet = Tcp::new(false, b"odd").packet();
    let answer = error(&packet, "10.1.255.4").expect("an answer");
    assert_true(&answer);
    assert_eq!(answer[28..], packet);
}

#[test]
fn no_error_is_sent_where_none_may_be() {
    let source = "10.1.255.4";
    let good = Tcp::new(false, &[5; 1460]).packet();
    let with = |at: usize, bytes: &[u8]| {
        let mut packet = good.clone();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    };
    assert!(error(&good, source).is_some());
    assert!(error(&good, "fd01::ff04").is_none(), "of the other family");
    assert!(
        error(&with(6, &[0x00]), source).is_none(),
        "may be fragmented"
    );
    assert!(
        error(&with(6, &[0x40, 9]), source).is_none(),
        "a later fragment"
    );
    for address in [
        [0, 0, 0, 0],
        [224, 0, 0, 5],
        [255, 255, 255, 255],
        [127, 0, 0, 1],
    ] {
        assert!(
            error(&with(12, &address), source).is_none(),
            "from {address:?}"
        );
        assert!(
            error(&with(16, &address), source).is_none(),
            "to {address:?}"
        );
    }
    assert!(error(&good[..500], source).is_none(), "cut");
    assert!(error(&[], source).is_none());
    for (kind, answered) in [(3, false), (11, false), (12, false), (8, true), (0, true)] {
        let message = ip(
            false,
            1,
            1,
            true,
            [&[kind, 0, 0, 0][..], &[7; 1400]].concat(),
            Some(2),
        );
        assert_eq!(
            error(&message, source).is_some(),
            answered,
            "ICMP type {kind}"
        );
    }
    for (kind, answered) in [(1, false), (2, false), (128, true), (129, true)] {
        let message = ip(
            true,
            58,
            1,
            true,
            [&[kind, 0, 0, 0][..], &[7; 1400]].concat(),
            Some(2),
        );
        assert_eq!(
            error(&message, "fd01::ff04").is_some(),
            answered,
            "ICMPv6 type {kind}"
        );
    }
    let source: IpAddr = source.parse().unwrap();
    assert_eq!(too_big(&good, source, 1400, &mut [0; 575]), None, "no room");
}

#[test]
fn either_an_error_or_fragments() {
    let (error_for, fragments_for) = (
        Tcp::new(false, &[5; 1460]).packet(),
        udp(false, 1, 1, &[0; 1460]),
    );
    assert!(dont_fragment(&error_for) && !dont_fragment(&fragments_for));
    assert!(Fragments::new(&error_for, 1400).is_none());
    assert!(error(&fragments_for, "10.1.255.4").is_none());
    assert!(Fragments::new(&fragments_for, 1400).is_some());
    assert!(dont_fragment(&udp(true, 1, 1, &[0; 1460])));
}
