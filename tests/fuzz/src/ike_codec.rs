//! The codec of IKE: what anybody may send.

use vnet_gw_core::{
    ike::{
        EspProposal, Group, IkeCipher, IkeIntegrity, IkeProposal, Prf, Random,
        codec::{
            Header, Inner, Packet, Payload, Proposal, Protection, Reassembler, SkCipher, check_esp,
            check_ike, describe, encode, offer_esp, offer_ike, select_esp, select_ike,
        },
    },
    sa::{EspSuite, Spi},
    secret::Secret,
};

use crate::input::Input;

/// A first byte that says what the rest is: a datagram; a chain of payloads (in the clear, and as
/// what a peer that has the keys may encrypt); or several datagrams, which may be fragments.
pub fn ike_codec(data: &[u8]) {
    let mut input = Input::new(data);
    match input.u8() {
        0 => datagram(input.rest()),
        1 => {
            let first = input.u8();
            payload_chain(first, input.rest());
        }
        2 => fragments(&mut input),
        // What a captured message is by itself.
        _ => datagram(data),
    }
}

fn datagram(bytes: &[u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    assert_eq!(packet.bytes(), bytes);
    for cipher in ciphers() {
        // Nobody has these keys.
        assert!(cipher.open(&packet).is_err());
        assert!(cipher.open_fragment(&packet).is_err());
    }
    if let Ok(payloads) = packet.payloads() {
        assert_eq!(packet.protection, Protection::Clear);
        written_is_read(&packet.header, &payloads);
    }
}

fn payload_chain(first: u8, body: &[u8]) {
    let Ok(length) = u32::try_from(28 + body.len()) else {
        return;
    };
    let mut bytes = vec![1; 16];
    bytes.extend_from_slice(&[first, 0x20, 37, 0x08, 0, 0, 0, 1]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    datagram(&bytes);
}

/// Once written, a message does not change any more, in the clear or sealed.
fn written_is_read(header: &Header, payloads: &[Payload]) {
    let once = encode(header, payloads);
    let read = match Packet::parse(&once).map(|packet| packet.payloads()) {
        Ok(Ok(read)) => read,
        error => panic!("what was written is not read: {error:?}"),
    };
    assert_eq!(encode(header, &read), once);
    let inner = Inner::encode(&read);
    for mut cipher in ciphers() {
        let Ok(sealed) = cipher.seal_fragments(header, &inner, 600, &mut Zeros) else {
            continue;
        };
        let mut reassembler = Reassembler::new();
        let mut whole = None;
        for datagram in &sealed {
            let packet = Packet::parse(datagram).expect("we wrote it");
            assert_eq!(packet.header, *header);
            whole = if packet.protection == Protection::Encrypted {
                Some(cipher.open(&packet).expect("we sealed it"))
            } else {
                let fragment = cipher.open_fragment(&packet).expect("we sealed it");
                reassembler.add(header.message_id, fragment)
            };
        }
        assert_eq!(whole.as_ref(), Some(&inner));
    }
    for payload in &read {
        if let Payload::Sa(proposals) = payload {
            negotiate(proposals);
        }
    }
}

/// An offer, or an answer to ours, of whatever proposals.
fn negotiate(theirs: &[Proposal]) {
    assert!(describe(theirs).len() < 20_000);
    let (ike, esp) = (ike_suites(), esp_suites());
    let (old, new) = (Spi(0x0100_0001), Spi(0x0100_0002));
    for spi in [None, Some(7)] {
        let ours = offer_ike(&ike, true, spi);
        for post_quantum in [false, true] {
            if let Some(choice) = select_ike(&ike, post_quantum, theirs, spi) {
                // What we choose is part of what they offered, so they accept it.
                let answer = [choice.accepted.clone()];
                let checked = check_ike(&ike, theirs, &answer).expect("they offered it");
                assert_eq!(checked.proposal, choice.proposal);
                assert_eq!(checked.post_quantum, choice.post_quantum);
                assert!(post_quantum || choice.post_quantum.is_none());
            }
        }
        if let Ok(choice) = check_ike(&ike, &ours, theirs) {
            assert!(ike.contains(&choice.proposal));
        }
    }
    for key_exchange in [false, true] {
        let ours = offer_esp(&esp, old, key_exchange);
        if let Some(choice) = select_esp(&esp, theirs, new, key_exchange) {
            assert!(choice.peer_spi.0 > 255);
            assert!(key_exchange || choice.proposal.pfs.is_none());
        }
        if let Ok(choice) = check_esp(&esp, &ours, theirs, key_exchange) {
            assert!(choice.peer_spi.0 > 255);
        }
    }
}

/// Fragments that the peer sealed: of any text, number and total, in any order.
fn fragments(input: &mut Input<'_>) {
    let mut reassembler = Reassembler::new();
    let cipher = SkCipher::new(
        IkeCipher::Aes128Gcm,
        &Secret::new([1; 20]),
        &Secret::new([]),
    );
    let mut cipher = cipher.expect("the key is as long as it has to be");
    let mut sealed = Vec::new();
    while !input.is_empty() && sealed.len() < 400 {
        match input.u8() % 4 {
            0 => {
                // A message of the peer's, in fragments of some size.
                let header = header(input.u8().into());
                let size = 512 + usize::from(input.u8()) * 4;
                let inner = Inner::encode(&[Payload::VendorId(input.chunk().to_vec())]);
                let Ok(datagrams) = cipher.seal_fragments(&header, &inner, size, &mut Zeros) else {
                    continue;
                };
                sealed.extend(datagrams);
            }
            1 => {
                // One of those arrives.
                let which = usize::from(input.u16());
                let Some(datagram) = sealed.get(which % sealed.len().max(1)) else {
                    continue;
                };
                let packet = Packet::parse(datagram).expect("we wrote it");
                if let Ok(fragment) = cipher.open_fragment(&packet)
                    && let Some(whole) = reassembler.add(packet.header.message_id, fragment)
                {
                    // Two messages with one id, which no true peer sends, may be one mess.
                    let _ = whole.payloads();
                }
            }
            2 => {
                // With some of its bytes changed.
                let which = usize::from(input.u16());
                let Some(datagram) = sealed.get(which % sealed.len().max(1)) else {
                    continue;
                };
                let mut datagram = datagram.clone();
                let at = usize::from(input.u16()) % datagram.len();
                let change = input.u8();
                datagram[at] ^= change;
                if let (Ok(packet), true) = (Packet::parse(&datagram), change != 0) {
                    assert!(cipher.open(&packet).is_err());
                    assert!(cipher.open_fragment(&packet).is_err());
                }
            }
            _ => datagram(input.chunk()),
        }
    }
}

fn header(message_id: u32) -> Header {
    Header {
        initiator_spi: 1,
        responder_spi: 2,
        exchange: vnet_gw_core::ike::codec::ExchangeType::INFORMATIONAL,
        from_initiator: true,
        response: false,
        message_id,
    }
}

fn ciphers() -> impl Iterator<Item = SkCipher> {
    let cbc = IkeCipher::AesCbc {
        key_bits: 128,
        integrity: IkeIntegrity::HmacSha1_96,
    };
    [IkeCipher::Aes256Gcm, cbc].into_iter().map(|cipher| {
        let encryption = Secret::new(vec![1; cipher.encryption_key_len()]);
        let integrity = Secret::new(vec![2; cipher.integrity_key_len()]);
        SkCipher::new(cipher, &encryption, &integrity)
            .expect("the keys are as long as they have to be")
    })
}

fn ike_suites() -> Vec<IkeProposal> {
    let mut suites = Vec::new();
    for group in [Group::Curve25519, Group::Modp1024] {
        suites.push(IkeProposal {
            cipher: IkeCipher::Aes256Gcm,
            prf: Prf::HmacSha2_384,
            group,
        });
        suites.push(IkeProposal {
            cipher: IkeCipher::AesCbc {
                key_bits: 256,
                integrity: IkeIntegrity::HmacSha1_96,
            },
            prf: Prf::HmacSha1,
            group,
        });
    }
    suites
}

fn esp_suites() -> Vec<EspProposal> {
    [None, Some(Group::Ecp256)]
        .into_iter()
        .flat_map(|pfs| {
            [EspSuite::Aes256Gcm, EspSuite::ChaCha20Poly1305]
                .map(|suite| EspProposal { suite, pfs })
        })
        .collect()
}

/// An IV need not be a good one here.
struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}
