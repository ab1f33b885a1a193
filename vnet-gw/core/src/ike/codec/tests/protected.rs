//! Encrypted payloads and fragments.

use proptest::prelude::*;

use super::{arbitrary::payloads, *};
use crate::{
    ike::{IkeCipher, IkeIntegrity},
    secret::Secret,
};

const CIPHERS: [IkeCipher; 8] = [
    IkeCipher::Aes128Gcm,
    IkeCipher::Aes256Gcm,
    IkeCipher::ChaCha20Poly1305,
    cbc(128, IkeIntegrity::HmacSha1_96),
    cbc(192, IkeIntegrity::HmacSha2_256_128),
    cbc(256, IkeIntegrity::HmacSha2_256_128),
    cbc(256, IkeIntegrity::HmacSha2_384_192),
    cbc(128, IkeIntegrity::HmacSha2_512_256),
];

const fn cbc(key_bits: u16, integrity: IkeIntegrity) -> IkeCipher {
    IkeCipher::AesCbc {
        key_bits,
        integrity,
    }
}

fn cipher(which: IkeCipher) -> SkCipher {
    let encryption = Secret::new(vec![7; which.encryption_key_len()]);
    let integrity = Secret::new(vec![8; which.integrity_key_len()]);
    SkCipher::new(which, &encryption, &integrity).unwrap()
}

fn protected() -> Header {
    header(ExchangeType::INFORMATIONAL)
}

/// RFC 7634, appendix B: SET_WINDOW_SIZE of 10 in an INFORMATIONAL response.
#[test]
fn the_message_of_rfc_7634_opens() {
    let key: Vec<u8> = (0x80..=0xa3).collect();
    let cipher = SkCipher::new(
        IkeCipher::ChaCha20Poly1305,
        &Secret::new(key),
        &Secret::new([]),
    )
    .unwrap();
    let datagram = hex(concat!(
        "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029",
        "1011121314151617610394701f8d017f7c129248896b71bfe25236efd7cdc670",
        "66906315b2"
    ));
    let packet = Packet::parse(&datagram).unwrap();
    let inner = cipher.open(&packet).unwrap();
    let right = Notify {
        kind: NotifyType::SET_WINDOW_SIZE,
        protocol: Protocol::NONE,
        spi: Vec::new(),
        data: vec![0, 0, 0, 10],
    };
    assert_eq!(inner.payloads().unwrap(), [Payload::Notify(right)]);
}

#[test]
fn every_cipher_opens_what_it_sealed_and_nothing_else() {
    for which in CIPHERS {
        let mut sealer = cipher(which);
        for payloads in [vec![], vec![Payload::Nonce(vec![5; 33])]] {
            let inner = Inner::encode(&payloads);
            let datagram = sealer.seal(&protected(), &inner, &mut Counter(0)).unwrap();
            let packet = Packet::parse(&datagram).unwrap();
            assert_eq!(packet.header, protected());
            let opened = sealer.open(&packet).unwrap();
            assert_eq!(opened.payloads().unwrap(), payloads);
            for bit in 0..datagram.len() * 8 {
                let mut forged = datagram.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                // Where the framing still stands, the integrity check fails.
                if let Ok(packet) = Packet::parse(&forged) {
                    let result = sealer.open(&packet);
                    assert!(
                        matches!(
                            result,
                            Err(OpenError::Integrity
                                | OpenError::NotEncrypted
                                | OpenError::TooShort)
                        ),
                        "{which:?}, bit {bit}: {result:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_encrypted_payload_cut_short_is_refused() {
    for which in CIPHERS {
        let mut sealer = cipher(which);
        let inner = Inner::encode(&[Payload::Nonce(vec![5; 40])]);
        let datagram = sealer.seal(&protected(), &inner, &mut Counter(0)).unwrap();
        for end in HEADER_LEN + 4..datagram.len() {
            let mut cut = datagram[..end].to_vec();
            cut[24..28].copy_from_slice(&u32::try_from(end).unwrap().to_be_bytes());
            let payload = u16::try_from(end - HEADER_LEN).unwrap();
            cut[30..32].copy_from_slice(&payload.to_be_bytes());
            let result = sealer.open(&Packet::parse(&cut).unwrap());
            assert!(matches!(
                result,
                Err(OpenError::Integrity | OpenError::TooShort)
            ));
        }
    }
}

#[test]
fn no_iv_comes_twice() {
    let mut sealer = cipher(IkeCipher::Aes256Gcm);
    let inner = Inner::encode(&[]);
    let mut iv = || {
        let datagram = sealer.seal(&protected(), &inner, &mut Counter(0)).unwrap();
        datagram[32..40].to_vec()
    };
    assert_ne!(iv(), iv());
}

#[test]
fn padding_of_any_length_is_taken_and_more_than_there_is_is_not() {
    use crate::crypto::{AesCbc, CbcKey, IntegrityAlgorithm, IntegrityKey};
    let which = cbc(128, IkeIntegrity::HmacSha2_256_128);
    let message = |plain: &mut [u8]| {
        let mut out = Vec::new();
        let length = 4 + 16 + plain.len() + 16;
        protected().write(46, HEADER_LEN + length, &mut out);
        out.extend_from_slice(&[40, 0, 0, u8::try_from(length).unwrap()]);
        let iv = [9; 16];
        CbcKey::new(&[7; 16])
            .unwrap()
            .encrypt_in_place(&iv, plain)
            .unwrap();
        out.extend_from_slice(&iv);
        out.extend_from_slice(plain);
        let mut icv = [0; 16];
        let key = IntegrityKey::new(IntegrityAlgorithm::HmacSha2_256_128, &[8; 32]).unwrap();
        key.sign(&[&out], &mut icv).unwrap();
        out.extend_from_slice(&icv);
        out
    };
    let open = |bytes: &[u8]| cipher(which).open(&Packet::parse(bytes).unwrap());
    // A nonce of 20 bytes with its header, and 27 bytes of padding that are not zero.
    let mut plain = [vec![0, 0, 0, 20], vec![6; 16], vec![3; 27], vec![27]].concat();
    let inner = open(&message(&mut plain)).unwrap();
    assert_eq!(inner.payloads(), Ok(vec![Payload::Nonce(vec![6; 16])]));
    let mut plain = [vec![1; 15], vec![16]].concat();
    assert_eq!(open(&message(&mut plain)), Err(OpenError::Content));
    // Not a whole number of blocks, and yet signed.
    let mut bytes = message(&mut [0; 16]);
    bytes.truncate(bytes.len() - 16);
    bytes.extend_from_slice(&[1; 3]);
    let length = bytes.len() + 16;
    bytes[27] = u8::try_from(length).unwrap();
    bytes[31] = u8::try_from(length - HEADER_LEN).unwrap();
    let key = IntegrityKey::new(IntegrityAlgorithm::HmacSha2_256_128, &[8; 32]).unwrap();
    let mut icv = [0; 16];
    key.sign(&[&bytes], &mut icv).unwrap();
    bytes.extend_from_slice(&icv);
    assert_eq!(open(&bytes), Err(OpenError::Content));
}

#[test]
fn a_key_of_the_wrong_length_is_refused() {
    let key = |n| Secret::new(vec![1; n]);
    for which in CIPHERS {
        let (encryption, integrity) = (which.encryption_key_len(), which.integrity_key_len());
        assert!(SkCipher::new(which, &key(encryption - 1), &key(integrity)).is_err());
        assert!(SkCipher::new(which, &key(0), &key(integrity)).is_err());
    }
    let which = cbc(128, IkeIntegrity::HmacSha1_96);
    assert!(SkCipher::new(which, &key(32), &key(20)).is_err());
    assert!(SkCipher::new(which, &key(16), &key(19)).is_err());
}

/// A message of so many bytes.
fn large(bytes: usize) -> Vec<Payload> {
    vec![Payload::VendorId(
        (0..bytes).map(|i| i.to_le_bytes()[0]).collect(),
    )]
}

fn fragments(which: IkeCipher, payloads: &[Payload], max: usize) -> Vec<Fragment> {
    let mut sealer = cipher(which);
    let inner = Inner::encode(payloads);
    let datagrams = sealer
        .seal_fragments(&protected(), &inner, max, &mut Counter(0))
        .unwrap();
    assert!(datagrams.len() > 1);
    assert!(datagrams.iter().all(|datagram| datagram.len() <= max));
    let open = |datagram: &Vec<u8>| {
        let packet = Packet::parse(datagram).unwrap();
        assert_eq!(sealer.open(&packet), Err(OpenError::NotEncrypted));
        sealer.open_fragment(&packet).unwrap()
    };
    datagrams.iter().map(open).collect()
}

#[test]
fn a_message_that_fits_is_not_fragmented() {
    for which in CIPHERS {
        let mut sealer = cipher(which);
        for max in [SMALLEST_DATAGRAM, 1232] {
            let size = |sealer: &mut SkCipher, n: usize| {
                let inner = Inner::encode(&large(n));
                let sent = sealer.seal_fragments(&protected(), &inner, max, &mut Counter(0));
                sent.unwrap().iter().map(Vec::len).collect::<Vec<_>>()
            };
            // The largest one that fits fills the datagram but for the cipher's alignment.
            let fits = (1..max)
                .rev()
                .find(|n| size(&mut sealer, *n).len() == 1)
                .unwrap();
            assert!(max - size(&mut sealer, fits)[0] < 16);
            let split = size(&mut sealer, fits + 1);
            assert_eq!(split.len(), 2);
            assert!(split.iter().all(|len| *len <= max));
        }
    }
}

#[test]
fn fragments_are_put_together_in_any_order_and_though_they_come_twice() {
    for which in CIPHERS {
        let payloads = large(3000);
        let mut parts = fragments(which, &payloads, 576);
        parts.reverse();
        parts.swap(0, 2);
        let mut reassembler = Reassembler::new();
        let (last, rest) = parts.split_last().unwrap();
        for part in rest.iter().chain(rest) {
            assert_eq!(reassembler.add(4, part.clone()), None);
        }
        let whole = reassembler.add(4, last.clone()).unwrap();
        assert_eq!(whole.payloads().unwrap(), payloads);
        // And once more from the beginning.
        for part in rest {
            assert_eq!(reassembler.add(4, part.clone()), None);
        }
        assert!(reassembler.add(4, last.clone()).is_some());
    }
}

#[test]
fn smaller_fragments_replace_larger_ones() {
    let payloads = large(2000);
    let large_ones = fragments(IkeCipher::Aes128Gcm, &payloads, 1232);
    let small_ones = fragments(IkeCipher::Aes128Gcm, &payloads, 576);
    let mut reassembler = Reassembler::new();
    assert_eq!(reassembler.add(1, large_ones[0].clone()), None);
    assert_eq!(reassembler.add(1, small_ones[0].clone()), None);
    // A late one of the first attempt does not disturb the second.
    assert_eq!(reassembler.add(1, large_ones[1].clone()), None);
    let whole = small_ones[1..]
        .iter()
        .find_map(|part| reassembler.add(1, part.clone()))
        .unwrap();
    assert_eq!(whole.payloads().unwrap(), payloads);
}

#[test]
fn another_message_begins_anew() {
    let payloads = large(1000);
    let parts = fragments(IkeCipher::Aes128Gcm, &payloads, 576);
    let mut reassembler = Reassembler::new();
    assert_eq!(reassembler.add(1, parts[0].clone()), None);
    for part in &parts[1..] {
        assert_eq!(reassembler.add(2, part.clone()), None);
    }
    assert!(reassembler.add(2, parts[0].clone()).is_some());
}

#[test]
fn a_reassembler_holds_so_much_and_no_more() {
    let part = |number, total, bytes| Fragment {
        number,
        total,
        inner: Inner {
            first: 0,
            bytes: vec![0; bytes],
        },
    };
    let mut reassembler = Reassembler::new();
    assert_eq!(reassembler.add(1, part(1, MAX_FRAGMENTS + 1, 10)), None);
    // It is as if that one had never come.
    assert_eq!(reassembler.add(1, part(1, 2, 60_000)), None);
    assert_eq!(reassembler.add(1, part(2, 2, 6_000)), None);
    assert!(reassembler.add(1, part(2, 2, 5_000)).is_some());
}

#[test]
fn only_the_first_fragment_names_a_payload() {
    let parts = fragments(IkeCipher::Aes128Gcm, &large(2000), 576);
    assert_eq!(parts[0].inner.first, 43);
    assert!(parts[1..].iter().all(|part| part.inner.first == 0));
    assert!(parts.iter().all(|p| usize::from(p.total) == parts.len()));
}

proptest! {
    #[test]
    fn whatever_is_sealed_is_opened(
        payloads in payloads(),
        which in 0..CIPHERS.len(),
        max in 512_usize..1500,
    ) {
        let mut sealer = cipher(CIPHERS[which]);
        let inner = Inner::encode(&payloads);
        let datagrams = sealer
            .seal_fragments(&protected(), &inner, max, &mut Counter(0))
            .unwrap();
        let mut reassembler = Reassembler::new();
        let mut whole = None;
        for datagram in &datagrams {
            prop_assert!(datagram.len() <= max);
            let packet = Packet::parse(datagram).unwrap();
            whole = if packet.protection == Protection::Encrypted {
                Some(sealer.open(&packet).unwrap())
            } else {
                reassembler.add(9, sealer.open_fragment(&packet).unwrap())
            };
        }
        prop_assert_eq!(whole.unwrap().payloads().unwrap(), payloads);
    }
}
