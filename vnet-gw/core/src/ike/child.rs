//! CHILD SAs: what is proposed for one, what is agreed on, and what there is (RFC 7296, 2.9, 2.17).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    EspProposal, Event, Group, Lifetimes, TunnelConfig,
    codec::{
        EspChoice, KeyExchangeData, Notify, NotifyType, Payload, Proposal, check_esp, describe,
        offer_esp, select_esp,
    },
    context::Context,
    keys::IkeKeys,
    narrow::{self, narrow, within},
};
use crate::{
    crypto::exchange::EphemeralKey,
    sa::{ChildSa, Encapsulation, LINGER, Sa, Spi, TrafficSelector, TunnelId},
    secret::Secret,
};

/// A pair of SAs that stands.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) inbound: Spi,
    pub(super) outbound: Spi,
    pub(super) proposal: EspProposal,
    pub(super) esn: bool,
    pub(super) encapsulation: Encapsulation,
    pub(super) local_selectors: Vec<TrafficSelector>,
    pub(super) remote_selectors: Vec<TrafficSelector>,
    pub(super) rekey_at: Instant,
    pub(super) expires: Instant,
    /// The one that took its place.
    pub(super) successor: Option<Spi>,
    /// We told the peer, or are about to, that it ends.
    pub(super) deleting: bool,
}

/// What an SA may carry from the wish for a successor until there is one: most of a second at
/// 10 Gbit/s. The least limit of bytes that Azure takes is reached within milliseconds, and a rekey
/// must not lose a packet.
const REKEY_BYTES: u64 = 1 << 30;

/// When an SA of this lifetime is rekeyed: both ends draw, so that they rarely do it at once.
pub(super) fn rekey_after(cx: &mut Context, lifetime: Duration) -> Duration {
    let margin = lifetime / 10;
    lifetime
        .saturating_sub(margin)
        .saturating_sub(cx.jitter(margin))
}

impl Child {
    pub(super) fn down(&self, cx: &mut Context, tunnel: TunnelId) {
        cx.events.push_back(Event::ChildDown {
            tunnel,
            inbound: self.inbound,
            linger: LINGER,
        });
        cx.release_child_spi(self.inbound);
    }
}

/// What we offered for a CHILD SA and wait to hear of.
#[derive(Debug)]
pub(super) struct ChildOffer {
    pub(super) inbound: Spi,
    offered: Vec<Proposal>,
    key: Option<EphemeralKey>,
    /// In IKE_AUTH there is no key exchange of its own.
    key_exchange: bool,
}

/// Why there is no CHILD SA.
#[derive(Debug)]
pub(super) struct ChildRefused {
    /// What the peer is told, where it is to be.
    pub(super) notify: Notify,
    pub(super) reason: String,
}

impl ChildRefused {
    fn new(kind: NotifyType, reason: String) -> Self {
        Self {
            notify: Notify::new(kind, Vec::new()),
            reason,
        }
    }
}

/// The result of a negotiation, before it has keys.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) inbound: Spi,
    pub(super) choice: EspChoice,
    pub(super) local_selectors: Vec<TrafficSelector>,
    pub(super) remote_selectors: Vec<TrafficSelector>,
    pub(super) shared: Option<Secret>,
}

/// The payloads of a message that concern a CHILD SA.
#[derive(Debug, Default)]
pub(super) struct ChildPayloads<'a> {
    pub(super) proposals: Option<&'a [Proposal]>,
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) key_exchange: Option<&'a KeyExchangeData>,
    pub(super) initiator_selectors: Option<&'a [TrafficSelector]>,
    pub(super) responder_selectors: Option<&'a [TrafficSelector]>,
}

impl<'a> ChildPayloads<'a> {
    pub(super) fn of(payloads: &'a [Payload]) -> Self {
        let mut found = Self::default();
        for payload in payloads {
            match payload {
                Payload::Sa(proposals) => found.proposals = Some(proposals),
                Payload::Nonce(nonce) => found.nonce = Some(nonce),
                Payload::KeyExchange(data) => found.key_exchange = Some(data),
                Payload::SelectorsInitiator(selectors) => {
                    found.initiator_selectors = Some(selectors);
                }
                Payload::SelectorsResponder(selectors) => {
                    found.responder_selectors = Some(selectors);
                }
                _ => {}
            }
        }
        found
    }
}

impl ChildOffer {
    /// For IKE_AUTH: keys come from the IKE SA's.
    pub(super) fn first(cx: &mut Context, config: &TunnelConfig) -> Self {
        let inbound = cx.new_child_spi();
        Self {
            inbound,
            offered: offer_esp(&config.esp, inbound, false),
            key: None,
            key_exchange: false,
        }
    }

    /// For CREATE_CHILD_SA; with a key exchange of `group`, or of the first group that the
    /// configuration names.
    pub(super) fn further(cx: &mut Context, config: &TunnelConfig, group: Option<Group>) -> Self {
        let inbound = cx.new_child_spi();
        let group = group.or_else(|| config.esp.iter().find_map(|proposal| proposal.pfs));
        Self {
            inbound,
            offered: offer_esp(&config.esp, inbound, true),
            key: group.and_then(|group| EphemeralKey::generate(group).ok()),
            key_exchange: true,
        }
    }

    pub(super) fn payloads(&self, config: &TunnelConfig, nonce: Option<&[u8]>) -> Vec<Payload> {
        let mut payloads = vec![Payload::Sa(self.offered.clone())];
        payloads.extend(nonce.map(|nonce| Payload::Nonce(nonce.to_vec())));
        if let Some(key) = &self.key {
            payloads.push(Payload::KeyExchange(KeyExchangeData {
                method: key.group().transform_id(),
                data: key.public().to_vec(),
            }));
        }
        payloads.push(Payload::SelectorsInitiator(config.local_selectors.clone()));
        payloads.push(Payload::SelectorsResponder(config.remote_selectors.clone()));
        payloads
    }

    /// The group that the peer asks for instead, when it is one that we offered and did not try.
    pub(super) fn other_group(&self, config: &TunnelConfig, notify: &Notify) -> Option<Group> {
        let id = u16::from_be_bytes(notify.data.as_slice().try_into().ok()?);
        let group = Group::from_transform_id(id)?;
        let offered = config
            .esp
            .iter()
            .any(|proposal| proposal.pfs == Some(group));
        let tried = self.key.as_ref().is_some_and(|key| key.group() == group);
        (offered && !tried).then_some(group)
    }

    /// What the responder made of it.
    ///
    /// # Errors
    /// It answered what it may not, or refused.
    pub(super) fn agree(
        &self,
        config: &TunnelConfig,
        answer: &ChildPayloads<'_>,
    ) -> Result<Agreed, ChildRefused> {
        let broken = |what: &str| {
            ChildRefused::new(
                NotifyType::INVALID_SYNTAX,
                format!("the peer's answer has {what}"),
            )
        };
        let (Some(proposals), Some(local), Some(remote)) = (
            answer.proposals,
            answer.initiator_selectors,
            answer.responder_selectors,
        ) else {
            return Err(broken("no SA or no traffic selectors"));
        };
        let choice = check_esp(&config.esp, &self.offered, proposals, self.key_exchange).map_err(
            |error| ChildRefused::new(NotifyType::NO_PROPOSAL_CHOSEN, error.to_string()),
        )?;
        if !within(local, &config.local_selectors) || !within(remote, &config.remote_selectors) {
            let reason = format!(
                "the peer's traffic selectors do not fit: it answered {} and {}",
                narrow::describe(local),
                narrow::describe(remote)
            );
            return Err(ChildRefused::new(NotifyType::TS_UNACCEPTABLE, reason));
        }
        let shared = match choice.proposal.pfs {
            None => None,
            Some(group) => {
                let ours = self.key.as_ref().filter(|key| key.group() == group);
                let theirs = answer
                    .key_exchange
                    .filter(|theirs| theirs.method == group.transform_id());
                let (Some(ours), Some(theirs)) = (ours, theirs) else {
                    return Err(broken("no key exchange of the group it chose"));
                };
                let shared = ours.agree(&theirs.data);
                Some(shared.map_err(|error| broken(&format!("a bad key exchange: {error}")))?)
            }
        };
        Ok(Agreed {
            inbound: self.inbound,
            choice,
            local_selectors: local.to_vec(),
            remote_selectors: remote.to_vec(),
            shared,
        })
    }
}

/// As responder: chooses of what the peer offers. The second value is our key exchange payload.
///
/// # Errors
/// There is nothing that both want; the peer is told the notification. The SPI is free again then.
pub(super) fn answer(
    cx: &mut Context,
    config: &TunnelConfig,
    offer: &ChildPayloads<'_>,
    key_exchange: bool,
) -> Result<(Agreed, Option<Payload>), ChildRefused> {
    let inbound = cx.new_child_spi();
    let result = answer_with(config, offer, key_exchange, inbound);
    if result.is_err() {
        cx.release_child_spi(inbound);
    }
    result
}

fn answer_with(
    config: &TunnelConfig,
    offer: &ChildPayloads<'_>,
    key_exchange: bool,
    inbound: Spi,
) -> Result<(Agreed, Option<Payload>), ChildRefused> {
    let (Some(proposals), Some(remote), Some(local)) = (
        offer.proposals,
        offer.initiator_selectors,
        offer.responder_selectors,
    ) else {
        let reason = "the peer's request has no SA or no traffic selectors".to_owned();
        return Err(ChildRefused::new(NotifyType::INVALID_SYNTAX, reason));
    };
    let Some(choice) = select_esp(&config.esp, proposals, inbound, key_exchange) else {
        let reason = format!(
            "the peer's ESP proposal does not fit: it offers {}, we take {}",
            describe(proposals),
            describe(&offer_esp(&config.esp, inbound, key_exchange))
        );
        return Err(ChildRefused::new(NotifyType::NO_PROPOSAL_CHOSEN, reason));
    };
    let ours = narrow(local, &config.local_selectors);
    let theirs = narrow(remote, &config.remote_selectors);
    if ours.is_empty() || theirs.is_empty() {
        let reason = format!(
            "the peer's traffic selectors do not fit: it wants {} to {}, we have {} and {}",
            narrow::describe(remote),
            narrow::describe(local),
            narrow::describe(&config.remote_selectors),
            narrow::describe(&config.local_selectors)
        );
        return Err(ChildRefused::new(NotifyType::TS_UNACCEPTABLE, reason));
    }
    let (shared, payload) = match choice.proposal.pfs {
        None => (None, None),
        Some(group) => {
            let (shared, payload) = answer_exchange(group, offer.key_exchange)?;
            (Some(shared), Some(payload))
        }
    };
    let agreed = Agreed {
        inbound,
        choice,
        local_selectors: ours,
        remote_selectors: theirs,
        shared,
    };
    Ok((agreed, payload))
}

/// As responder: the shared secret and our key exchange payload.
///
/// # Errors
/// INVALID_KE_PAYLOAD with the group that was chosen, when the peer guessed another one.
pub(super) fn answer_exchange(
    group: Group,
    theirs: Option<&KeyExchangeData>,
) -> Result<(Secret, Payload), ChildRefused> {
    let method = group.transform_id();
    let Some(theirs) = theirs.filter(|theirs| theirs.method == method) else {
        let reason = format!("the peer's key exchange is not of {group}, which was chosen");
        let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, method.to_be_bytes());
        return Err(ChildRefused { notify, reason });
    };
    let bad = |error| {
        let reason = format!("the peer's key exchange is bad: {error}");
        ChildRefused::new(NotifyType::INVALID_SYNTAX, reason)
    };
    let key = EphemeralKey::generate(group).map_err(bad)?;
    let shared = key.agree(&theirs.data).map_err(bad)?;
    let data = key.public().to_vec();
    Ok((
        shared,
        Payload::KeyExchange(KeyExchangeData { method, data }),
    ))
}

/// What a pair is made of beside what was agreed on.
pub(super) struct Making<'a> {
    pub(super) config: &'a Arc<TunnelConfig>,
    pub(super) keys: &'a IkeKeys,
    pub(super) encapsulation: Encapsulation,
    /// Of the exchange that makes it.
    pub(super) initiator: bool,
    pub(super) nonces: (&'a [u8], &'a [u8]),
    pub(super) send_at_once: bool,
}

/// Gives a negotiated pair its keys and tells the shell of it.
pub(super) fn install(
    cx: &mut Context,
    now: Instant,
    making: &Making<'_>,
    agreed: Agreed,
) -> Child {
    let Agreed {
        inbound,
        choice,
        local_selectors,
        remote_selectors,
        shared,
    } = agreed;
    let suite = choice.proposal.suite;
    let (of_initiator, of_responder) =
        making
            .keys
            .child(suite, shared.as_slice(), making.nonces.0, making.nonces.1);
    let (ours, theirs) = if making.initiator {
        (of_initiator, of_responder)
    } else {
        (of_responder, of_initiator)
    };
    let sa = |spi, keys| Sa {
        spi,
        suite,
        esn: choice.esn,
        keys,
    };
    let Lifetimes {
        child: lifetime,
        child_bytes,
        ..
    } = making.config.lifetimes;
    // Before the limit itself, and not at one number for both ends.
    let soft_bytes = child_bytes.map(|bytes| {
        let share = 0.85 + 0.1 * f64::from(u16::from_be_bytes(cx.bytes())) / f64::from(u16::MAX);
        (bytes as f64 * share) as u64
    });
    let hard_bytes = child_bytes
        .zip(soft_bytes)
        .map(|(bytes, soft)| bytes.max(soft.saturating_add(REKEY_BYTES)));
    cx.events.push_back(Event::ChildUp(Box::new(ChildSa {
        tunnel: making.config.id,
        inbound: sa(inbound, theirs),
        outbound: sa(choice.peer_spi, ours),
        encapsulation: making.encapsulation,
        local_selectors: local_selectors.clone(),
        remote_selectors: remote_selectors.clone(),
        send_at_once: making.send_at_once,
        soft_bytes,
        hard_bytes,
    })));
    Child {
        inbound,
        outbound: choice.peer_spi,
        proposal: choice.proposal,
        esn: choice.esn,
        encapsulation: making.encapsulation,
        local_selectors,
        remote_selectors,
        rekey_at: now + rekey_after(cx, lifetime),
        expires: now + lifetime,
        successor: None,
        deleting: false,
    }
}
