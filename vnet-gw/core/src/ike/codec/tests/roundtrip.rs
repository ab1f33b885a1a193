//! What is written is read as the same, and nothing that is read makes the reader panic.

use proptest::prelude::*;

use super::{
    arbitrary::{any_header, payloads},
    *,
};

/// Everything that is done with bytes of which nothing is known.
fn survive(bytes: &[u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    let Ok(payloads) = packet.payloads() else {
        return;
    };
    // What is read is written and read as the same again, but for what an unknown attribute or
    // selector was.
    let again = encode(&packet.header, &payloads);
    let packet = Packet::parse(&again).unwrap();
    let read = packet.payloads().unwrap();
    assert_eq!(read.len(), payloads.len());
    for payload in &read {
        if let Payload::Sa(proposals) = payload {
            assert!(describe(proposals).len() < 20_000);
        }
    }
}

proptest! {
    #[test]
    fn messages_are_read_as_they_were_written(header in any_header(), payloads in payloads()) {
        let bytes = encode(&header, &payloads);
        let packet = Packet::parse(&bytes).unwrap();
        prop_assert_eq!(packet.header, header);
        prop_assert_eq!(packet.protection, Protection::Clear);
        prop_assert_eq!(packet.bytes(), &bytes[..]);
        prop_assert_eq!(packet.payloads().unwrap(), payloads);
    }

    #[test]
    fn inner_payloads_are_read_as_they_were_written(payloads in payloads()) {
        prop_assert_eq!(Inner::encode(&payloads).payloads().unwrap(), payloads);
    }

    #[test]
    fn any_bytes_are_survived(first in any::<u8>(), mut body in proptest::collection::vec(any::<u8>(), 0..200)) {
        survive(&body);
        let mut bytes = vec![1; 16];
        let length = u32::try_from(28 + body.len()).unwrap();
        bytes.extend_from_slice(&[first, 0x20, 34, 8, 0, 0, 0, 0]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.append(&mut body);
        survive(&bytes);
    }
}

proptest! {
    // Each case tries every byte or bit of a message.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_message_cut_short_is_refused(header in any_header(), payloads in payloads()) {
        let bytes = encode(&header, &payloads);
        for end in 0..bytes.len() {
            prop_assert!(Packet::parse(&bytes[..end]).is_err());
            // The same with a header that says so: the payloads do not fit then.
            let mut cut = bytes[..end].to_vec();
            if let Some(length) = cut.get_mut(24..28) {
                length.copy_from_slice(&u32::try_from(end).unwrap().to_be_bytes());
                let packet = Packet::parse(&cut);
                prop_assert!(end >= bytes.len() || payloads.is_empty() || packet.is_err());
            }
        }
    }

    #[test]
    fn a_message_with_a_flipped_bit_is_survived(header in any_header(), payloads in payloads()) {
        let mut bytes = encode(&header, &payloads);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            survive(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
