//! Handshakes of strongSwan with itself, followed from outside: messages, keys and proofs have to
//! come out as it logged them.

use std::collections::BTreeMap;

use super::{super::*, hex};
use crate::{
    ike::{
        EspProposal, Group, Identity, IkeCipher, IkeIntegrity, IkeProposal, Prf,
        codec::{
            Authentication, ExchangeType, KeyExchangeData, Notify, NotifyType, Packet, Payload,
            Proposal, Protection, check_esp, check_ike, describe, encode,
        },
    },
    sa::{EspIntegrity, EspSuite, TrafficSelector},
    secret::Secret,
};

/// Name and bytes in each line; `#` begins a comment.
fn fixture(text: &str) -> BTreeMap<&str, Vec<u8>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, bytes)| (name, hex(bytes)))
        .collect()
}

#[derive(Default)]
struct Read {
    proposals: Vec<Proposal>,
    key_exchange: Option<KeyExchangeData>,
    nonce: Vec<u8>,
    identity: Option<Identity>,
    auth: Option<Authentication>,
    notifies: Vec<Notify>,
    selectors: Vec<TrafficSelector>,
}

fn sort(payloads: &[Payload]) -> Read {
    let mut read = Read::default();
    for payload in payloads.iter().cloned() {
        match payload {
            Payload::Sa(proposals) => read.proposals = proposals,
            Payload::KeyExchange(ke) => read.key_exchange = Some(ke),
            Payload::Nonce(nonce) => read.nonce = nonce,
            Payload::IdInitiator(identity) if read.identity.is_none() => {
                read.identity = Some(identity);
            }
            // The initiator names the responder that it asks for, too.
            Payload::IdResponder(identity) if read.identity.is_none() => {
                read.identity = Some(identity);
            }
            Payload::Authentication(auth) => read.auth = Some(auth),
            Payload::Notify(notify) => read.notifies.push(notify),
            Payload::SelectorsInitiator(selectors) | Payload::SelectorsResponder(selectors) => {
                read.selectors.extend(selectors);
            }
            _ => {}
        }
    }
    read
}

fn clear(bytes: &[u8]) -> (Packet<'_>, Read) {
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(packet.header.exchange, ExchangeType::IKE_SA_INIT);
    let payloads = packet.payloads().unwrap();
    // What we would write is what strongSwan wrote, byte for byte.
    assert_eq!(encode(&packet.header, &payloads), bytes);
    (packet, sort(&payloads))
}

fn follow(text: &str, ike: IkeProposal, esp: EspProposal) {
    let fixture = fixture(text);
    let (request, init_i) = clear(&fixture["init_request"]);
    let (response, init_r) = clear(&fixture["init_response"]);
    let offered = describe(&init_i.proposals);
    assert!(offered.contains(&ike.group.to_string()), "{offered}");
    let choice = check_ike(&[ike], &init_i.proposals, &init_r.proposals).unwrap();
    assert_eq!(choice.proposal, ike);
    for init in [&init_i, &init_r] {
        let ke = init.key_exchange.as_ref().unwrap();
        assert_eq!(Group::from_transform_id(ke.method), Some(ike.group));
        assert_eq!(ke.data.len(), ike.group.public_len());
    }
    // kernel-libipsec shows a NAT at the sender, and none at the receiver.
    let hash = |read: &Read, kind: NotifyType| {
        let notify = read.notifies.iter().find(|n| n.kind == kind).unwrap();
        notify.data.clone()
    };
    let right = nat_detection_hash(
        request.header.initiator_spi,
        0,
        "192.0.2.2:500".parse().unwrap(),
    );
    assert_eq!(
        hash(&init_i, NotifyType::NAT_DETECTION_DESTINATION_IP),
        right
    );
    assert_ne!(hash(&init_i, NotifyType::NAT_DETECTION_SOURCE_IP), right);

    let with = Exchanged {
        nonce_i: &init_i.nonce,
        nonce_r: &init_r.nonce,
        spi_i: response.header.initiator_spi,
        spi_r: response.header.responder_spi,
    };
    let keys = IkeKeys::initial(ike, &Secret::new(fixture["shared"].clone()), &with);
    let names = ["sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr"];
    let logged: Vec<_> = names
        .iter()
        .filter_map(|name| fixture.get(name))
        .flatten()
        .copied()
        .collect();
    assert_eq!(keys.concatenated(), logged);

    let open = |name: &str, of_initiator: bool| {
        let packet = Packet::parse(&fixture[name]).unwrap();
        assert_eq!(packet.header.exchange, ExchangeType::IKE_AUTH);
        assert_eq!(packet.protection, Protection::Encrypted);
        assert!(keys.cipher(!of_initiator).unwrap().open(&packet).is_err());
        let inner = keys.cipher(of_initiator).unwrap().open(&packet).unwrap();
        sort(&inner.payloads().unwrap())
    };
    let (auth_i, auth_r) = (open("auth_request", true), open("auth_response", false));
    let verify = |read: &Read, message, nonce, of_initiator| {
        let auth = read.auth.as_ref().unwrap();
        assert_eq!(auth.method, Authentication::SHARED_KEY);
        let signed = SignedOctets {
            message,
            peer_nonce: nonce,
            identity: read.identity.as_ref().unwrap(),
            sk_p: keys.sk_p(of_initiator),
            intermediate: None,
        };
        let key = Secret::new(*b"made-up-for-tests");
        assert!(verify_shared_key_auth(ike.prf, &key, &signed, &auth.data));
    };
    verify(&auth_i, &fixture["init_request"], &init_r.nonce, true);
    verify(&auth_r, &fixture["init_response"], &init_i.nonce, false);
    assert_eq!(auth_i.auth.as_ref().unwrap().data, fixture["auth_i"]);
    assert_eq!(
        auth_i.identity,
        Some(Identity::Fqdn("a.example".to_owned()))
    );
    let prefix = |text: &str| TrafficSelector::prefix(text.parse().unwrap());
    assert_eq!(
        auth_r.selectors,
        [prefix("10.1.0.0/16"), prefix("10.2.0.0/16")]
    );

    let choice = check_esp(&[esp], &auth_i.proposals, &auth_r.proposals, false).unwrap();
    let (to_r, to_i) = keys.child(choice.proposal.suite, &[], &init_i.nonce, &init_r.nonce);
    let logged = |names: [&str; 2]| {
        let parts = names.iter().filter_map(|name| fixture.get(name));
        parts.flatten().copied().collect::<Vec<_>>()
    };
    assert_eq!(to_r.expose(), logged(["esp_i", "esp_ai"]));
    assert_eq!(to_i.expose(), logged(["esp_r", "esp_ar"]));
}

#[test]
fn a_handshake_with_cbc_and_modp_comes_out_as_strongswan_logged_it() {
    let ike = IkeProposal {
        cipher: IkeCipher::AesCbc {
            key_bits: 256,
            integrity: IkeIntegrity::HmacSha2_256_128,
        },
        prf: Prf::HmacSha2_256,
        group: Group::Modp2048,
    };
    let esp = EspProposal {
        suite: EspSuite::AesCbc {
            key_bits: 128,
            integrity: EspIntegrity::HmacSha2_256_128,
        },
        pfs: None,
    };
    follow(include_str!("strongswan-cbc.txt"), ike, esp);
}

#[test]
fn a_handshake_with_aeads_and_curve25519_comes_out_as_strongswan_logged_it() {
    let ike = IkeProposal {
        cipher: IkeCipher::Aes256Gcm,
        prf: Prf::HmacSha2_384,
        group: Group::Curve25519,
    };
    let esp = EspProposal {
        suite: EspSuite::ChaCha20Poly1305,
        pfs: None,
    };
    follow(include_str!("strongswan-aead.txt"), ike, esp);
}
