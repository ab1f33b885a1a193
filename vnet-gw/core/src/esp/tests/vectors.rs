//! Whole ESP packets: published ones, and ones put together by hand.

use super::build::{SPI, child, child_with, pair, seal, suites, udp};
use crate::{
    crypto::{Aead, AeadAlgorithm, AesCbc, IntegrityAlgorithm, IntegrityKey, portable, tests::hex},
    esp::{InboundSa, SaError},
    sa::{EspIntegrity, EspSuite, Spi},
};

#[test]
fn the_example_of_rfc_7634_opens() {
    let keys = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3");
    let mut packet = hex("01020304 00000005 1011121314151617
        24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
        14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
        cbec163fac469b502773f6fb94e664da9165b82829f641e0
        76aaa8266b7fb0f7b11b369907e1ad43");
    let child = child_with(EspSuite::ChaCha20Poly1305, false, &keys, Spi(0x0102_0304));
    let range = InboundSa::new(&child).unwrap().open(&mut packet).unwrap();
    assert_eq!(
        packet[range],
        hex(
            "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
             0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
             2425262728292a2b2c2d2e2f3031323334353637"
        )
    );
}

/// RFC 4303's layout with RFC 4106's nonce and associated data, from the other provider.
#[test]
fn an_aead_packet_is_what_the_rfcs_say() {
    for (suite, algorithm) in [
        (EspSuite::Aes128Gcm, AeadAlgorithm::Aes128Gcm),
        (EspSuite::Aes192Gcm, AeadAlgorithm::Aes192Gcm),
        (EspSuite::Aes256Gcm, AeadAlgorithm::Aes256Gcm),
        (EspSuite::ChaCha20Poly1305, AeadAlgorithm::ChaCha20Poly1305),
    ] {
        for esn in [false, true] {
            let child = child(suite, esn);
            let (mut outbound, _) = pair(&child);
            let sequence: u64 = if esn {
                0x0000_0007_ffff_ffff
            } else {
                0x0000_0000_8000_0001
            };
            outbound.skip_to(sequence - 1);
            let inner = udp(true, b"hello");
            let packet = seal(&mut outbound, &inner);

            let (key, salt) = child.outbound.keys.expose().split_at(algorithm.key_len());
            let mut expected = [&SPI.0.to_be_bytes()[..], &sequence.to_be_bytes()[4..]].concat();
            let aad = if esn {
                [&SPI.0.to_be_bytes()[..], &sequence.to_be_bytes()].concat()
            } else {
                expected.clone()
            };
            let nonce = [salt, &sequence.to_be_bytes()].concat();
            // 53 bytes, one of padding, its length, IPv6.
            let mut data = [&inner[..], &[1, 1, 41]].concat();
            let mut tag = [0; 16];
            portable::AeadKey::new(algorithm, key)
                .unwrap()
                .seal_in_place(&nonce.try_into().unwrap(), &aad, &mut data, &mut tag)
                .unwrap();
            expected.extend(sequence.to_be_bytes());
            expected.extend(data);
            expected.extend(tag);
            assert_eq!(packet, expected, "{suite:?}");
        }
    }
}

/// RFC 3602 with RFC 4868, ICV over the extended number's high half, too (RFC 4303, 2.2.1).
#[test]
fn a_cbc_packet_is_what_the_rfcs_say() {
    for esn in [false, true] {
        let suite = EspSuite::AesCbc {
            key_bits: 256,
            integrity: EspIntegrity::HmacSha2_256_128,
        };
        let child = child(suite, esn);
        let (mut outbound, _) = pair(&child);
        let sequence: u64 = if esn { 0x0000_0007_ffff_ffff } else { 9 };
        outbound.skip_to(sequence - 1);
        let inner = udp(false, b"hello");
        let packet = seal(&mut outbound, &inner);

        let (cipher, integrity) = child.outbound.keys.expose().split_at(32);
        let cipher = portable::CbcKey::new(cipher).unwrap();
        let integrity = IntegrityKey::new(IntegrityAlgorithm::HmacSha2_256_128, integrity).unwrap();
        let mut iv = [0; 16];
        iv[8..].copy_from_slice(&sequence.to_be_bytes());
        cipher.encrypt_in_place(&[0; 16], &mut iv).unwrap();
        // 33 bytes, 13 of padding.
        let mut data = [
            &inner[..],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 13, 4],
        ]
        .concat();
        cipher.encrypt_in_place(&iv, &mut data).unwrap();
        let mut expected = [&SPI.0.to_be_bytes()[..], &sequence.to_be_bytes()[4..]].concat();
        expected.extend(iv);
        expected.extend(data);
        let mut icv = [0; 16];
        let high = &sequence.to_be_bytes()[..4];
        integrity
            .sign(&[&expected, if esn { high } else { &[] }], &mut icv)
            .unwrap();
        expected.extend(icv);
        assert_eq!(packet, expected);
    }
}

#[test]
fn keys_of_another_length_are_refused() {
    for suite in suites() {
        let good = child(suite, true);
        let keys = good.inbound.keys.expose();
        for wrong in [&keys[1..], &[keys, &[0]].concat(), &keys[..4], &[]] {
            let refused: Result<InboundSa, SaError> =
                InboundSa::new(&child_with(suite, true, wrong, SPI));
            assert!(refused.is_err(), "{suite:?}");
        }
    }
    let odd = EspSuite::AesCbc {
        key_bits: 8,
        integrity: EspIntegrity::HmacSha1_96,
    };
    assert!(InboundSa::new(&child_with(odd, true, &[1; 21], SPI)).is_err());
}
