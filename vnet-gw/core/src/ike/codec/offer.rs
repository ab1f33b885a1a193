//! From suites to proposals and back (RFC 7296, 2.7 and 3.3; RFC 9370, 2.2.1).
//!
//! An offer of ours is no more than its suites: several are one proposal only where each
//! combination of that proposal's transforms is one of them. ML-KEM-768 is offered in proposals of
//! their own in front of the same ones without it, for a peer that has never heard of additional
//! key exchanges must not choose a proposal with one (RFC 7296, 3.3.6).

use thiserror::Error;

use super::{
    ESN, ML_KEM_768, NO_ESN, NONE, Proposal, Protocol, Transform, TransformType,
    suite::{esp_transforms, ike_transforms, merge, order},
};
use crate::{
    ike::{EspProposal, Group, IkeProposal},
    sa::Spi,
};

/// What both sides agreed on for an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeChoice {
    pub proposal: IkeProposal,
    /// The additional key exchange that ML-KEM-768 is to be done in.
    pub post_quantum: Option<TransformType>,
    /// The peer's SPI, in a rekey.
    pub peer_spi: Option<u64>,
    /// What a responder answers; has our SPI.
    pub accepted: Proposal,
}

/// What both sides agreed on for a pair of ESP SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspChoice {
    /// `pfs` is `None` where the exchange has no key exchange of its own (IKE_AUTH).
    pub proposal: EspProposal,
    pub esn: bool,
    pub peer_spi: Spi,
    /// What a responder answers; has our SPI.
    pub accepted: Proposal,
}

/// A responder chose what it was not offered (RFC 7296, 2.7).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    #[error("the peer chose {0} proposals, it may choose one")]
    Count(usize),
    #[error("the peer chose {0}, which was not offered")]
    NotOffered(String),
}

/// Key exchanges that ML-KEM-768 is offered on top of: who asks for an older group has a peer in
/// mind that may stumble over transforms it does not know.
fn carries_post_quantum(group: Group) -> bool {
    matches!(group, Group::Ecp256 | Group::Ecp384 | Group::Curve25519)
}

/// Our offer for an IKE SA. `spi` is ours in a rekey, `None` in IKE_SA_INIT.
pub fn offer_ike(ours: &[IkeProposal], post_quantum: bool, spi: Option<u64>) -> Vec<Proposal> {
    let plain = merge(&ours.iter().map(ike_transforms).collect::<Vec<_>>());
    let mut offers = Vec::new();
    if post_quantum {
        let hybrid = ours.iter().filter(|p| carries_post_quantum(p.group));
        let mlkem = Transform::new(TransformType::ADDITIONAL_KEY_EXCHANGE_1, ML_KEM_768);
        for mut transforms in merge(&hybrid.map(ike_transforms).collect::<Vec<_>>()) {
            transforms.push(mlkem);
            offers.push(transforms);
        }
    }
    offers.extend(plain);
    let spi = spi
        .map(|spi| spi.to_be_bytes().to_vec())
        .unwrap_or_default();
    number(Protocol::IKE, &spi, offers)
}

/// Our offer for a pair of ESP SAs; `spi` is that of our inbound one. Without `key_exchange`
/// (IKE_AUTH) groups are left out.
pub fn offer_esp(ours: &[EspProposal], spi: Spi, key_exchange: bool) -> Vec<Proposal> {
    let suites = ours.iter().map(|p| esp_transforms(p, key_exchange));
    let mut offers = merge(&suites.collect::<Vec<_>>());
    for transforms in &mut offers {
        let esn = [ESN, NO_ESN].map(|id| Transform::new(TransformType::SEQUENCE_NUMBERS, id));
        transforms.extend(esn);
    }
    number(Protocol::ESP, &spi.0.to_be_bytes(), offers)
}

/// As responder: the first of our suites that the peer offers, with ML-KEM-768 if it offers that,
/// too, and `post_quantum` is set. `spi` is ours in a rekey.
pub fn select_ike(
    ours: &[IkeProposal],
    post_quantum: bool,
    offered: &[Proposal],
    spi: Option<u64>,
) -> Option<IkeChoice> {
    let choose = |post_quantum| {
        ours.iter().find_map(|suite| {
            let choose = |offer| match_ike(*suite, post_quantum, offer, spi);
            offered.iter().find_map(choose)
        })
    };
    let hybrid = if post_quantum { choose(true) } else { None };
    hybrid.or_else(|| choose(false))
}

/// As initiator: what the responder chose of `offered`.
///
/// # Errors
/// When that is not one of `offered`, all of which are `ours`.
pub fn check_ike(
    ours: &[IkeProposal],
    offered: &[Proposal],
    answer: &[Proposal],
) -> Result<IkeChoice, AnswerError> {
    let chosen = chosen(offered, answer)?;
    let spi = offered.first().and_then(Proposal::ike_spi);
    let choose = |post_quantum| {
        ours.iter()
            .find_map(|suite| match_ike(*suite, post_quantum, chosen, spi))
    };
    choose(true)
        .or_else(|| choose(false))
        .ok_or_else(|| AnswerError::NotOffered(describe(answer)))
}

/// As responder: the first of our suites that the peer offers. `spi` is that of our inbound SA.
/// Without `key_exchange` (IKE_AUTH) groups do not count, on either side.
pub fn select_esp(
    ours: &[EspProposal],
    offered: &[Proposal],
    spi: Spi,
    key_exchange: bool,
) -> Option<EspChoice> {
    ours.iter().find_map(|suite| {
        let choose = |offer| match_esp(*suite, offer, spi, key_exchange);
        offered.iter().find_map(choose)
    })
}

/// As initiator: what the responder chose of `offered`.
///
/// # Errors
/// When that is not one of `offered`, all of which are `ours`.
pub fn check_esp(
    ours: &[EspProposal],
    offered: &[Proposal],
    answer: &[Proposal],
    key_exchange: bool,
) -> Result<EspChoice, AnswerError> {
    let chosen = chosen(offered, answer)?;
    let not_offered = || AnswerError::NotOffered(describe(answer));
    let spi = offered
        .first()
        .and_then(Proposal::esp_spi)
        .ok_or_else(not_offered)?;
    ours.iter()
        .find_map(|suite| match_esp(*suite, chosen, spi, key_exchange))
        .ok_or_else(not_offered)
}

/// The proposal of the answer, if it is made of transforms of the offer with its number, one of a
/// type.
fn chosen<'a>(offered: &[Proposal], answer: &'a [Proposal]) -> Result<&'a Proposal, AnswerError> {
    let [chosen] = answer else {
        return Err(AnswerError::Count(answer.len()));
    };
    let mut kinds: Vec<_> = chosen.transforms.iter().map(|t| t.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let offer = offered.iter().find(|offer| {
        let may_lack = |kind| offer.of(kind).any(|t| t.id == NONE && is_optional(kind));
        offer.number == chosen.number
            && offer.protocol == chosen.protocol
            && chosen
                .transforms
                .iter()
                .all(|t| offer.transforms.contains(t))
            && offer
                .transforms
                .iter()
                .all(|t| kinds.contains(&t.kind) || may_lack(t.kind))
    });
    if offer.is_none() || kinds.len() != chosen.transforms.len() {
        return Err(AnswerError::NotOffered(describe(answer)));
    }
    Ok(chosen)
}

/// Types of which NONE is as good as no transform at all.
fn is_optional(kind: TransformType) -> bool {
    kind == TransformType::INTEGRITY
        || kind == TransformType::KEY_EXCHANGE
        || kind.is_additional_key_exchange()
}

fn match_ike(
    suite: IkeProposal,
    post_quantum: bool,
    offer: &Proposal,
    spi: Option<u64>,
) -> Option<IkeChoice> {
    let peer_spi = match (spi, offer.spi.len()) {
        (None, 0) => None,
        (Some(_), 8) => Some(offer.ike_spi().filter(|spi| *spi != 0)?),
        _ => return None,
    };
    if offer.protocol != Protocol::IKE {
        return None;
    }
    let (transforms, additional) = pick(&ike_transforms(&suite), offer, post_quantum, &[])?;
    if post_quantum != additional.is_some() {
        return None;
    }
    Some(IkeChoice {
        proposal: suite,
        post_quantum: additional,
        peer_spi,
        accepted: Proposal {
            number: offer.number,
            protocol: Protocol::IKE,
            spi: spi
                .map(|spi| spi.to_be_bytes().to_vec())
                .unwrap_or_default(),
            transforms,
        },
    })
}

fn match_esp(
    suite: EspProposal,
    offer: &Proposal,
    spi: Spi,
    key_exchange: bool,
) -> Option<EspChoice> {
    // 0 means no SPI, and up to 255 they are reserved (RFC 4303, 2.1).
    let peer_spi = offer.esp_spi().filter(|spi| spi.0 > 255)?;
    if offer.protocol != Protocol::ESP {
        return None;
    }
    let ignored: &[TransformType] = if key_exchange {
        &[]
    } else {
        &[TransformType::KEY_EXCHANGE]
    };
    let wanted = esp_transforms(&suite, key_exchange);
    let (transforms, _) = pick(&wanted, offer, false, ignored)?;
    let esn = Transform::new(TransformType::SEQUENCE_NUMBERS, ESN);
    Some(EspChoice {
        proposal: EspProposal {
            pfs: suite.pfs.filter(|_| key_exchange),
            ..suite
        },
        esn: transforms.contains(&esn),
        peer_spi,
        accepted: Proposal {
            number: offer.number,
            protocol: Protocol::ESP,
            spi: spi.0.to_be_bytes().to_vec(),
            transforms,
        },
    })
}

/// One transform of each type in the offer, so that the suite comes out; the offer is of no use
/// when it has a type that we do not know or lacks one that we need (RFC 7296, 3.3.6). The second
/// value is where ML-KEM-768 is.
fn pick(
    wanted: &[Transform],
    offer: &Proposal,
    post_quantum: bool,
    ignored: &[TransformType],
) -> Option<(Vec<Transform>, Option<TransformType>)> {
    let mut kinds = Vec::new();
    for kind in offer.transforms.iter().map(|t| t.kind) {
        if !kinds.contains(&kind) && !ignored.contains(&kind) {
            kinds.push(kind);
        }
    }
    if !wanted.iter().all(|t| kinds.contains(&t.kind)) {
        return None;
    }
    let mut additional = None;
    let mut picked = Vec::new();
    for kind in kinds {
        let has = |t: Transform| offer.of(kind).find(|offered| *offered == t);
        let none = || has(Transform::new(kind, NONE));
        let transform = match wanted.iter().find(|t| t.kind == kind) {
            Some(wanted) => has(*wanted)?,
            None if kind == TransformType::SEQUENCE_NUMBERS => {
                has(Transform::new(kind, ESN)).or_else(|| has(Transform::new(kind, NO_ESN)))?
            }
            None if kind.is_additional_key_exchange() => {
                let mlkem = has(Transform::new(kind, ML_KEM_768));
                match mlkem.filter(|_| post_quantum && additional.is_none()) {
                    Some(mlkem) => {
                        additional = Some(kind);
                        mlkem
                    }
                    None => none()?,
                }
            }
            None if is_optional(kind) => none()?,
            None => return None,
        };
        picked.push(transform);
    }
    Some((picked, additional))
}

fn number(protocol: Protocol, spi: &[u8], offers: Vec<Vec<Transform>>) -> Vec<Proposal> {
    (1..=u8::MAX)
        .zip(offers)
        .map(|(number, transforms)| Proposal {
            number,
            protocol,
            spi: spi.to_vec(),
            transforms,
        })
        .collect()
}

/// An offer in words, for log lines: `AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024`. Whatever
/// a peer sends, it stays a few lines long.
pub fn describe(proposals: &[Proposal]) -> String {
    const MOST_PROPOSALS: usize = 8;
    const MOST_TRANSFORMS: usize = 24;
    if proposals.is_empty() {
        return "nothing".to_owned();
    }
    let one = |proposal: &Proposal| {
        let mut sorted: Vec<_> = proposal.transforms.iter().collect();
        sorted.sort_by_key(|t| order(t.kind));
        let shown = sorted.iter().take(MOST_TRANSFORMS);
        let mut text = shown.map(ToString::to_string).collect::<Vec<_>>().join("/");
        if sorted.len() > MOST_TRANSFORMS {
            text.push_str("/…");
        }
        text
    };
    let shown = proposals.iter().take(MOST_PROPOSALS).map(one);
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if proposals.len() > MOST_PROPOSALS {
        text.push_str(", …");
    }
    text
}
