//! Offers, choices and answers.

use super::*;
use crate::{
    ike::{EspProposal, Group, IkeCipher, IkeIntegrity, IkeProposal, Prf},
    sa::{EspIntegrity, EspSuite, Spi},
};

const OURS: Spi = Spi(0x0a0b_0c0d);
const THEIRS: Spi = Spi(0x0100_0001);

fn gcm(group: Group) -> IkeProposal {
    IkeProposal {
        cipher: IkeCipher::Aes256Gcm,
        prf: Prf::HmacSha2_384,
        group,
    }
}

fn cbc(key_bits: u16, integrity: IkeIntegrity, prf: Prf) -> IkeProposal {
    IkeProposal {
        cipher: IkeCipher::AesCbc {
            key_bits,
            integrity,
        },
        prf,
        group: Group::Modp1024,
    }
}

/// What a real Azure gateway proposes.
fn azure() -> Vec<IkeProposal> {
    let sha1 = |bits| cbc(bits, IkeIntegrity::HmacSha1_96, Prf::HmacSha1);
    let sha2 = |bits| cbc(bits, IkeIntegrity::HmacSha2_256_128, Prf::HmacSha2_256);
    vec![sha1(256), sha2(256), sha1(128), sha2(128)]
}

fn esp(suite: EspSuite, pfs: Option<Group>) -> EspProposal {
    EspProposal { suite, pfs }
}

fn esp_cbc(integrity: EspIntegrity) -> EspSuite {
    EspSuite::AesCbc {
        key_bits: 256,
        integrity,
    }
}

/// Over the wire and back.
fn sent(proposals: Vec<Proposal>) -> Vec<Proposal> {
    let payloads = [Payload::Sa(proposals)];
    let bytes = encode(&header(ExchangeType::IKE_SA_INIT), &payloads);
    match Packet::parse(&bytes).unwrap().payloads().unwrap().pop() {
        Some(Payload::Sa(proposals)) => proposals,
        other => panic!("an SA payload, not {other:?}"),
    }
}

#[test]
fn suites_are_merged_where_nothing_else_is_offered_by_that() {
    let ours = [
        gcm(Group::Curve25519),
        gcm(Group::Ecp256),
        IkeProposal {
            cipher: IkeCipher::ChaCha20Poly1305,
            ..gcm(Group::Curve25519)
        },
        IkeProposal {
            cipher: IkeCipher::ChaCha20Poly1305,
            ..gcm(Group::Ecp256)
        },
    ];
    let offer = offer_ike(&ours, false, None);
    assert_eq!(
        describe(&offer),
        "AES_GCM_16_256/CHACHA20_POLY1305/PRF_HMAC_SHA2_384/CURVE_25519/ECP_256"
    );
    // Without the last one, the merged proposal would offer more than we want.
    let offer = offer_ike(&ours[..3], false, None);
    assert_eq!(offer.len(), 2);
    // AES-128 with SHA-1 is fine and so is AES-256 with SHA-256, but SHA-1 has its own PRF.
    assert_eq!(
        describe(&offer_ike(&azure(), false, None)),
        "AES_CBC_256/AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, \
         AES_CBC_256/AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_1024"
    );
}

#[test]
fn every_suite_can_be_chosen_and_no_other_comes_out() {
    let ours: Vec<_> = azure()
        .into_iter()
        .chain([
            gcm(Group::Curve25519),
            gcm(Group::Ecp384),
            gcm(Group::Modp2048),
        ])
        .collect();
    let offered = sent(offer_ike(&ours, true, None));
    for suite in &ours {
        let choice = select_ike(&[*suite], false, &offered, None).unwrap();
        assert_eq!(choice.proposal, *suite);
        assert_eq!(choice.post_quantum, None);
        let answer = sent(vec![choice.accepted.clone()]);
        assert_eq!(check_ike(&ours, &offered, &answer), Ok(choice));
    }
    let not_ours = cbc(256, IkeIntegrity::HmacSha2_256_128, Prf::HmacSha1);
    assert_eq!(select_ike(&[not_ours], false, &offered, None), None);
}

#[test]
fn the_first_of_our_suites_is_chosen() {
    let theirs = [gcm(Group::Ecp384), gcm(Group::Curve25519)];
    let ours = [
        gcm(Group::Ecp256),
        gcm(Group::Curve25519),
        gcm(Group::Ecp384),
    ];
    let offered = sent(offer_ike(&theirs, false, None));
    let choice = select_ike(&ours, false, &offered, None).unwrap();
    assert_eq!(choice.proposal.group, Group::Curve25519);
}

#[test]
fn ml_kem_is_chosen_by_two_who_know_it_and_left_out_by_one_who_does_not() {
    let ours = [gcm(Group::Curve25519)];
    let offered = sent(offer_ike(&ours, true, None));
    assert_eq!(
        describe(&offered),
        "AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519/ML_KEM_768, \
         AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519"
    );
    let choice = select_ike(&ours, true, &offered, None).unwrap();
    let slot = TransformType::ADDITIONAL_KEY_EXCHANGE_1;
    assert_eq!(choice.post_quantum, Some(slot));
    let answer = [choice.accepted.clone()];
    assert_eq!(check_ike(&ours, &offered, &answer), Ok(choice));

    let choice = select_ike(&ours, false, &offered, None).unwrap();
    assert_eq!((choice.post_quantum, choice.accepted.number), (None, 2));
    let answer = [choice.accepted.clone()];
    assert_eq!(check_ike(&ours, &offered, &answer), Ok(choice));
    // On top of an old group it is not offered.
    assert_eq!(
        offer_ike(&azure(), true, None),
        offer_ike(&azure(), false, None)
    );
}

#[test]
fn additional_key_exchanges_of_a_peer_may_be_none() {
    let ours = [gcm(Group::Curve25519)];
    let with = |extra: &[(u8, u16)]| {
        let mut offered = offer_ike(&ours, false, None);
        for (kind, id) in extra {
            let transform = Transform::new(TransformType(*kind), *id);
            offered[0].transforms.push(transform);
        }
        sent(offered)
    };
    let select = |extra: &[(u8, u16)], pq| select_ike(&ours, pq, &with(extra), None);
    // ML-KEM-1024 or nothing.
    let choice = select(&[(6, 37), (6, 0)], true).unwrap();
    assert_eq!(choice.post_quantum, None);
    assert!(
        choice
            .accepted
            .transforms
            .contains(&Transform::new(TransformType(6), 0))
    );
    // ML-KEM-1024 and nothing else.
    assert_eq!(select(&[(6, 37)], true), None);
    // In the second place, the first being optional.
    let choice = select(&[(6, 37), (6, 0), (7, 36), (7, 0)], true).unwrap();
    assert_eq!(choice.post_quantum, Some(TransformType(7)));
    // Two of them: once is enough.
    assert_eq!(select(&[(6, 36), (7, 36)], true), None);
    let choice = select(&[(6, 36), (7, 36), (7, 0)], true).unwrap();
    assert_eq!(choice.post_quantum, Some(TransformType(6)));
    // A type that nobody knows.
    assert_eq!(select(&[(99, 1)], true), None);
}

#[test]
fn a_transform_with_an_unknown_attribute_is_not_chosen() {
    let ours = [gcm(Group::Curve25519)];
    let mut offered = offer_ike(&ours, false, None);
    offered[0].transforms[0].unknown_attribute = true;
    assert_eq!(select_ike(&ours, false, &offered, None), None);
    // Nor one with a key length where there is none.
    let mut offered = offer_ike(&ours, false, None);
    offered[0].transforms[1].key_bits = Some(256);
    assert_eq!(select_ike(&ours, false, &offered, None), None);
}

#[test]
fn an_aead_may_come_with_no_integrity_but_not_with_one() {
    let ours = [gcm(Group::Curve25519)];
    for (id, taken) in [(NONE, true), (12, false)] {
        let mut offered = offer_ike(&ours, false, None);
        let transform = Transform::new(TransformType::INTEGRITY, id);
        offered[0].transforms.push(transform);
        assert_eq!(select_ike(&ours, false, &offered, None).is_some(), taken);
    }
}

#[test]
fn a_rekey_has_spis_and_an_initial_exchange_has_none() {
    let ours = [gcm(Group::Curve25519)];
    let offered = sent(offer_ike(&ours, false, Some(0x11)));
    let choice = select_ike(&ours, false, &offered, Some(0x22)).unwrap();
    assert_eq!(choice.peer_spi, Some(0x11));
    assert_eq!(choice.accepted.ike_spi(), Some(0x22));
    let answer = sent(vec![choice.accepted]);
    let checked = check_ike(&ours, &offered, &answer).unwrap();
    assert_eq!(checked.peer_spi, Some(0x22));
    assert_eq!(select_ike(&ours, false, &offered, None), None);
    let initial = offer_ike(&ours, false, None);
    assert_eq!(select_ike(&ours, false, &initial, Some(0x22)), None);
}

#[test]
fn answers_that_were_not_offered_are_refused() {
    let ours = [gcm(Group::Curve25519), gcm(Group::Ecp256)];
    let offered = offer_ike(&ours, false, None);
    let good = select_ike(&ours, false, &offered, None).unwrap().accepted;
    assert!(check_ike(&ours, &offered, std::slice::from_ref(&good)).is_ok());
    let refused = |change: &dyn Fn(&mut Proposal)| {
        let mut answer = good.clone();
        change(&mut answer);
        let result = check_ike(&ours, &offered, &[answer]);
        assert!(
            matches!(result, Err(AnswerError::NotOffered(_))),
            "{result:?}"
        );
    };
    refused(&|answer| answer.number = 2);
    refused(&|answer| answer.protocol = Protocol::ESP);
    refused(&|answer| answer.spi = vec![1; 8]);
    refused(&|answer| answer.transforms[2].id = 2);
    refused(&|answer| answer.transforms[0].key_bits = Some(128));
    refused(&|answer| answer.transforms[0].key_bits = None);
    refused(&|answer| answer.transforms.truncate(2));
    // Two groups, both of which were offered.
    let both = Transform::new(TransformType::KEY_EXCHANGE, 19);
    refused(&|answer| answer.transforms.push(both));
    assert_eq!(check_ike(&ours, &offered, &[]), Err(AnswerError::Count(0)));
    assert_eq!(
        check_ike(&ours, &offered, &[good.clone(), good.clone()]),
        Err(AnswerError::Count(2))
    );
}

#[test]
fn esp_is_negotiated_with_sequence_numbers_and_groups() {
    let ours = [
        esp(EspSuite::Aes256Gcm, Some(Group::Curve25519)),
        esp(EspSuite::ChaCha20Poly1305, Some(Group::Curve25519)),
        esp(esp_cbc(EspIntegrity::HmacSha1_96), None),
    ];
    let offered = sent(offer_esp(&ours, THEIRS, true));
    assert_eq!(
        describe(&offered),
        "AES_GCM_16_256/CHACHA20_POLY1305/CURVE_25519/ESN/NO_ESN, \
         AES_CBC_256/HMAC_SHA1_96/ESN/NO_ESN"
    );
    for suite in ours {
        let choice = select_esp(&[suite], &offered, OURS, true).unwrap();
        assert_eq!((choice.proposal, choice.esn), (suite, true));
        assert_eq!(choice.peer_spi, THEIRS);
        let answer = sent(vec![choice.accepted]);
        let checked = check_esp(&ours, &offered, &answer, true).unwrap();
        assert_eq!((checked.proposal, checked.peer_spi), (suite, OURS));
    }
    // In IKE_AUTH there is no group, and one that a peer offers all the same does not count.
    let first = offer_esp(&ours, THEIRS, false);
    assert!(!describe(&first).contains("CURVE"));
    for offered in [&first, &offered] {
        let choice = select_esp(&ours, offered, OURS, false).unwrap();
        assert_eq!(choice.proposal, esp(EspSuite::Aes256Gcm, None));
        assert!(!describe(&[choice.accepted]).contains("CURVE"));
    }
}

#[test]
fn without_pfs_a_group_is_taken_only_if_it_may_be_none() {
    let none = [esp(EspSuite::Aes256Gcm, None)];
    let some = [esp(EspSuite::Aes256Gcm, Some(Group::Ecp256))];
    let offered = offer_esp(&some, THEIRS, true);
    assert_eq!(select_esp(&none, &offered, OURS, true), None);
    let mut optional = offered.clone();
    let transform = Transform::new(TransformType::KEY_EXCHANGE, NONE);
    optional[0].transforms.push(transform);
    let choice = select_esp(&none, &optional, OURS, true).unwrap();
    assert_eq!(choice.proposal.pfs, None);
    // And we insist on ours.
    let offered = offer_esp(&none, THEIRS, true);
    assert_eq!(select_esp(&some, &offered, OURS, true), None);
}

#[test]
fn extended_sequence_numbers_are_the_peers_choice() {
    let ours = [esp(EspSuite::Aes256Gcm, None)];
    let mut offered = offer_esp(&ours, THEIRS, false);
    offered[0]
        .transforms
        .retain(|t| t.id != ESN || t.kind != TransformType::SEQUENCE_NUMBERS);
    assert!(!select_esp(&ours, &offered, OURS, false).unwrap().esn);
    // Not named at all, as some old peers do.
    offered[0]
        .transforms
        .retain(|t| t.kind != TransformType::SEQUENCE_NUMBERS);
    let choice = select_esp(&ours, &offered, OURS, false).unwrap();
    assert!(!choice.esn);
    assert_eq!(choice.accepted.transforms.len(), 1);
}

#[test]
fn reserved_spis_are_refused() {
    let ours = [esp(EspSuite::Aes256Gcm, None)];
    for spi in [0, 255] {
        let offered = offer_esp(&ours, Spi(spi), false);
        assert_eq!(select_esp(&ours, &offered, OURS, false), None);
    }
    let mut offered = offer_esp(&ours, THEIRS, false);
    offered[0].spi.push(0);
    assert_eq!(select_esp(&ours, &offered, OURS, false), None);
}

#[test]
fn algorithms_have_the_names_that_logs_have() {
    let suite = azure()[0];
    assert_eq!(
        suite.to_string(),
        "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024"
    );
    let suite = esp(esp_cbc(EspIntegrity::HmacSha2_256_128), Some(Group::Ecp384));
    assert_eq!(suite.to_string(), "AES_CBC_256/HMAC_SHA2_256_128/ECP_384");
    assert_eq!(describe(&[]), "nothing");
    let name = |kind, id| Transform::new(TransformType(kind), id).to_string();
    assert_eq!(name(1, 3), "3DES_CBC");
    assert_eq!(name(3, 1), "HMAC_MD5_96");
    assert_eq!(name(8, 36), "ML_KEM_768");
    assert_eq!(name(1, 4711), "ENCR_4711");
    let many = vec![offer_ike(&azure(), false, None).remove(0); 200];
    assert!(describe(&many).ends_with(", …"));
    assert!(describe(&many).len() < 1000);
}
