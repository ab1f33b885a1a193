//! Headers, payload chains, and what is wrong with them.

use super::*;
use crate::{ike::Identity, sa::Spi};

fn init() -> Header {
    header(ExchangeType::IKE_SA_INIT)
}

/// A message in the clear of these payload bytes.
fn message(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    init().write(first, HEADER_LEN + body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn read(first: u8, body: &[u8]) -> Result<Vec<Payload>, DecodeError> {
    Packet::parse(&message(first, body))?.payloads()
}

#[test]
fn a_message_is_these_bytes() {
    let payloads = [
        Payload::Nonce(vec![0xaa; 16]),
        Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, Spi(0x0102_0304))),
        Payload::IdInitiator(Identity::Fqdn("a.example".to_owned())),
    ];
    let bytes = encode(&init(), &payloads);
    let right = [
        "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d7",
        "2820220800000009",
        "0000004d",
        "29000014aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "2300000c0304400901020304",
        "0000001102000000612e6578616d706c65",
    ];
    assert_eq!(bytes, hex(&right.concat()));
}

#[test]
fn the_header_is_checked() {
    let good = message(0, &[]);
    assert!(Packet::parse(&good).is_ok());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Packet::parse(&bytes).err()
    };
    assert_eq!(with(17, 0x10), Some(DecodeError::MajorVersion(1)));
    assert!(matches!(
        with(17, 0x30),
        Some(DecodeError::NewerVersion(3, header)) if header.message_id == 9
    ));
    // A minor version we do not know changes nothing (RFC 7296, 2.5).
    assert_eq!(with(17, 0x21), None);
    assert_eq!(
        with(27, 29),
        Some(DecodeError::MessageLength { said: 29, have: 28 })
    );
    let mut no_spi = good.clone();
    no_spi[..8].fill(0);
    assert!(matches!(
        Packet::parse(&no_spi),
        Err(DecodeError::BadValue(_))
    ));
}

#[test]
fn unknown_payloads_are_skipped_unless_they_are_critical() {
    let nonce = [&[0, 0, 0, 20][..], &[7; 16]].concat();
    let skipped = [&[40, 0, 0, 6, 1, 2][..], &nonce].concat();
    assert_eq!(read(99, &skipped), Ok(vec![Payload::Nonce(vec![7; 16])]));
    let critical = [&[40, 0x80, 0, 6, 1, 2][..], &nonce].concat();
    assert_eq!(
        read(99, &critical),
        Err(DecodeError::UnsupportedCritical(99))
    );
    // For a type that we know the bit says nothing.
    let known = [&[0, 0x80, 0, 20][..], &[7; 16]].concat();
    assert!(read(40, &known).is_ok());
}

#[test]
fn lengths_are_checked() {
    let nonce = |length: u8| [&[0, 0, 0, length][..], &[7; 16]].concat();
    assert!(read(40, &nonce(20)).is_ok());
    assert!(matches!(
        read(40, &nonce(19)),
        Err(DecodeError::Trailing(_))
    ));
    assert!(matches!(
        read(40, &nonce(21)),
        Err(DecodeError::Truncated { .. })
    ));
    assert_eq!(
        read(40, &nonce(3)),
        Err(DecodeError::BadLength("a payload"))
    );
    // A nonce has at least 16 bytes (RFC 7296, 3.9).
    let short = [&[0, 0, 0, 19][..], &[7; 15]].concat();
    assert_eq!(read(40, &short), Err(DecodeError::BadLength("a nonce")));
    assert!(matches!(read(0, &[1]), Err(DecodeError::Trailing(_))));
    // ID_IPV4_ADDR with five bytes.
    let id = [0, 0, 0, 13, 1, 0, 0, 0, 192, 0, 2, 1, 1];
    assert!(matches!(read(35, &id), Err(DecodeError::BadLength(_))));
    // A delete payload that says two SPIs and has one.
    let delete = [0, 0, 0, 12, 3, 4, 0, 2, 0, 0, 1, 1];
    assert!(matches!(read(42, &delete), Err(DecodeError::BadLength(_))));
}

/// A substructure with its first byte and its length.
fn sub(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len() + 4).unwrap();
    [&[first, 0, 0, length], body].concat()
}

#[test]
fn proposals_are_checked() {
    let aes_gcm = [1, 0, 0, 20, 0x80, 14, 1, 0];
    let prf = [2, 0, 0, 5];
    // Number 1, IKE, no SPI, `count` transforms.
    let sa = |count: u8, firsts: [u8; 2], last: u8| {
        let transforms = [sub(firsts[0], &aes_gcm), sub(firsts[1], &prf)].concat();
        let proposal = sub(last, &[&[1, 1, 0, count][..], &transforms].concat());
        read(33, &sub(0, &proposal))
    };
    let payloads = sa(2, [3, 0], 0).unwrap();
    let right = Proposal {
        number: 1,
        protocol: Protocol::IKE,
        spi: Vec::new(),
        transforms: vec![
            Transform::with_key(TransformType::ENCRYPTION, encryption::AES_GCM_16, 256),
            Transform::new(TransformType::PRF, 5),
        ],
    };
    assert_eq!(payloads, [Payload::Sa(vec![right])]);
    // One more, one less than announced.
    assert!(matches!(
        sa(3, [3, 3], 0),
        Err(DecodeError::Truncated { .. })
    ));
    assert!(matches!(sa(1, [0, 0], 0), Err(DecodeError::Trailing(_))));
    // The last one is marked as such, and no other is.
    assert!(matches!(sa(2, [0, 0], 0), Err(DecodeError::BadValue(_))));
    assert!(matches!(sa(2, [3, 3], 0), Err(DecodeError::BadValue(_))));
    // Another proposal is announced and none is there.
    assert!(matches!(
        sa(2, [3, 0], 2),
        Err(DecodeError::Truncated { .. })
    ));
    assert!(matches!(sa(2, [3, 0], 1), Err(DecodeError::BadValue(_))));
    // An SA payload has a proposal.
    assert!(matches!(
        read(33, &sub(0, &[])),
        Err(DecodeError::Truncated { .. })
    ));
}

#[test]
fn attributes_that_nobody_knows_mark_the_transform() {
    // The key's length, then an attribute of a type of its own with two bytes of value.
    let transform = [1, 0, 0, 12, 0x80, 14, 1, 0, 0, 1, 0, 2, 0, 0xff];
    let proposal = sub(0, &[&[1, 1, 0, 1][..], &sub(0, &transform)].concat());
    let payloads = read(33, &sub(0, &proposal)).unwrap();
    let [Payload::Sa(proposals)] = &payloads[..] else {
        panic!("one SA payload");
    };
    let transform = proposals[0].transforms[0];
    assert_eq!(transform.key_bits, Some(256));
    assert!(transform.unknown_attribute);
    assert_eq!(transform.to_string(), "AES_CBC_256(+unknown attribute)");
}

#[test]
fn selectors_of_unknown_types_are_left_out() {
    let v4 = "07000010 0000ffff 0a000000 0affffff".replace(' ', "");
    let unknown = "0900000801020304";
    let text = format!("0000{:04x}02000000{unknown}{v4}", 8 + 8 + 16);
    let payloads = read(44, &hex(&text)).unwrap();
    let prefix: ipnet::IpNet = "10.0.0.0/8".parse().unwrap();
    assert_eq!(
        payloads,
        [Payload::SelectorsInitiator(vec![
            crate::sa::TrafficSelector::prefix(prefix)
        ])]
    );
    // From a higher address to a lower one.
    let turned = "07000010 0000ffff 0b000000 0affffff".replace(' ', "");
    let text = format!("0000{:04x}01000000{turned}", 8 + 16);
    assert!(matches!(
        read(44, &hex(&text)),
        Err(DecodeError::BadValue(_))
    ));
}

#[test]
fn a_message_has_so_many_payloads_and_no_more() {
    let many = |n: usize| {
        let mut body = [40, 0, 0, 4].repeat(n);
        body[4 * (n - 1)] = 0;
        // Type 99 first, then types 40 without a nonce: only counted as long as nobody reads them.
        for chunk in body.chunks_mut(4).take(n - 1) {
            chunk[0] = 99;
        }
        message(99, &body)
    };
    assert!(
        Packet::parse(&many(MAX_PAYLOADS))
            .unwrap()
            .payloads()
            .is_ok()
    );
    assert_eq!(
        Packet::parse(&many(MAX_PAYLOADS + 1)).err(),
        Some(DecodeError::TooManyPayloads)
    );
}

#[test]
fn an_encrypted_payload_is_the_last_one() {
    let sk = [40, 0, 0, 6, 1, 2];
    let bytes = message(46, &sk);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.protection, Protection::Encrypted);
    assert_eq!(packet.payloads(), Err(DecodeError::MisplacedEncrypted));
    let followed = message(46, &[&sk[..], &[0, 0, 0, 4]].concat());
    assert_eq!(
        Packet::parse(&followed).err(),
        Some(DecodeError::MisplacedEncrypted)
    );
    for (number, total) in [(0, 1), (1, 0), (2, 1)] {
        let bytes = message(53, &[0, 0, 0, 8, 0, number, 0, total]);
        assert!(matches!(
            Packet::parse(&bytes),
            Err(DecodeError::BadValue(_))
        ));
    }
    let bytes = message(53, &[0, 0, 0, 8, 0, 2, 0, 3]);
    assert_eq!(
        Packet::parse(&bytes).unwrap().protection,
        Protection::Fragment {
            number: 2,
            total: 3
        }
    );
}

#[test]
fn types_have_names() {
    assert_eq!(
        NotifyType::AUTHENTICATION_FAILED.to_string(),
        "AUTHENTICATION_FAILED"
    );
    assert_eq!(NotifyType(8191).to_string(), "error 8191");
    assert_eq!(NotifyType(40_000).to_string(), "status 40000");
    assert_eq!(ExchangeType::IKE_AUTH.to_string(), "IKE_AUTH");
    assert_eq!(group_name(2), "MODP_1024");
    assert_eq!(group_name(999), "KE_999");
}
