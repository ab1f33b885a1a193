//! What was sealed opens to what it was.

use proptest::{collection::vec, prelude::*};

use super::build::{child, pair, seal, seal_odd, suites, udp};
use crate::esp::{OpenError, SealError};

proptest! {
    #[test]
    fn what_is_sealed_opens_to_the_same(
        suite in prop::sample::select(suites()),
        esn: bool,
        v6: bool,
        payloads in vec(vec(any::<u8>(), 0..1500), 1..8),
    ) {
        let child = child(suite, esn);
        let (mut outbound, mut inbound) = pair(&child);
        let mut bytes = 0;
        for payload in &payloads {
            let inner = udp(v6, payload);
            let mut packet = seal(&mut outbound, &inner);
            let range = inbound.open(&mut packet).unwrap();
            prop_assert_eq!(&packet[range], &inner);
            bytes += inner.len() as u64;
        }
        prop_assert_eq!(outbound.packets(), payloads.len() as u64);
        prop_assert_eq!((outbound.bytes(), inbound.bytes()), (bytes, bytes));
    }

    /// Side by side in one buffer, as they are sent with UDP_SEGMENT.
    #[test]
    fn neighbours_in_a_buffer_do_not_touch_each_other(
        suite in prop::sample::select(suites()),
        lengths in vec(0..200usize, 1..20),
    ) {
        let (mut outbound, mut inbound) = pair(&child(suite, true));
        let mut buffer = vec![0xee; 8192];
        let mut packets = Vec::new();
        let mut at = 0;
        for (index, length) in lengths.iter().enumerate() {
            let inner = udp(false, &vec![index as u8; *length]);
            let start = at + outbound.payload_offset();
            buffer[start..start + inner.len()].copy_from_slice(&inner);
            let sealed = outbound.seal(&mut buffer[at..], inner.len()).unwrap();
            packets.push((at..at + sealed, inner));
            at += sealed;
        }
        prop_assert!(buffer[at..].iter().all(|byte| *byte == 0xee));
        for (place, inner) in packets {
            let packet = &mut buffer[place];
            let range = inbound.open(packet).unwrap();
            prop_assert_eq!(&packet[range], &inner);
        }
    }
}

#[test]
fn no_plaintext_is_left_and_no_two_packets_are_alike() {
    for suite in suites() {
        let (mut outbound, _) = pair(&child(suite, false));
        let inner = udp(false, &[0x5a; 256]);
        let first = seal(&mut outbound, &inner);
        let second = seal(&mut outbound, &inner);
        for packet in [&first, &second] {
            assert!(!packet.windows(8).any(|window| window == [0x5a; 8]));
        }
        let at = outbound.payload_offset();
        assert_ne!(first[8..at], second[8..at], "the IVs differ");
        assert_ne!(first[at..], second[at..]);
    }
}

#[test]
fn dummies_and_what_is_no_ip_packet_are_dropped() {
    for suite in suites() {
        let child = child(suite, true);
        let (_, mut inbound) = pair(&child);
        let mut cases = [
            (seal_odd(&child, 0, 59, &[]), OpenError::Dummy),
            (seal_odd(&child, 1, 59, &[7; 300]), OpenError::Dummy),
            (seal_odd(&child, 2, 4, &[]), OpenError::Malformed),
            (
                seal_odd(&child, 3, 6, &udp(false, b"tcp?")),
                OpenError::Malformed,
            ),
            (
                seal_odd(&child, 4, 41, &udp(false, b"v4 as v6")),
                OpenError::Malformed,
            ),
            (
                seal_odd(&child, 5, 4, &udp(true, b"v6 as v4")),
                OpenError::Malformed,
            ),
            (
                seal_odd(&child, 6, 4, &udp(false, b"cut")[..29]),
                OpenError::Malformed,
            ),
            (
                seal_odd(&child, 7, 41, &udp(true, b"cut")[..49]),
                OpenError::Malformed,
            ),
        ];
        for (packet, error) in &mut cases {
            assert_eq!(inbound.open(&mut packet.clone()), Err(*error), "{suite:?}");
            // True, so each used its sequence number up.
            assert_eq!(inbound.open(packet), Err(OpenError::Replayed));
        }
        assert_eq!(inbound.packets(), 0);
    }
}

#[test]
fn padding_against_traffic_analysis_is_cut_off() {
    let child = child(suites()[0], true);
    let (_, mut inbound) = pair(&child);
    let inner = udp(false, b"short");
    let mut padded = inner.clone();
    padded.extend([0; 500]);
    let mut packet = seal_odd(&child, 0, 4, &padded);
    let range = inbound.open(&mut packet).unwrap();
    assert_eq!(packet[range], inner);
}

#[test]
fn what_cannot_be_sealed_uses_no_sequence_number() {
    let (mut outbound, _) = pair(&child(suites()[0], true));
    let at = outbound.payload_offset();
    let mut slot = vec![0; 200];
    assert_eq!(outbound.seal(&mut slot, 40), Err(SealError::Malformed));
    slot[at] = 0x45;
    assert_eq!(outbound.seal(&mut slot, 0), Err(SealError::Malformed));
    assert_eq!(outbound.seal(&mut slot, 180), Err(SealError::NoRoom));
    assert_eq!(outbound.seal(&mut [], 0), Err(SealError::Malformed));
    assert_eq!(outbound.packets(), 0);
    let exact = outbound.sealed_len(40);
    assert_eq!(
        outbound.seal(&mut slot[..exact - 1], 40),
        Err(SealError::NoRoom)
    );
    assert_eq!(outbound.seal(&mut slot[..exact], 40), Ok(exact));
}
