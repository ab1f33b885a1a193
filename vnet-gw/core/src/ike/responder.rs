//! The responder's way: answers IKE_SA_INIT, then waits half-open for IKE_INTERMEDIATE and
//! IKE_AUTH (RFC 7296, 1.2; RFC 9242).

use std::{sync::Arc, time::Instant};

use super::{
    ConnectionMode, EncapsulationChoice, Identity, IkeProposal, TunnelConfig,
    channel::{Channel, ChannelStart, Message, Received, Spis},
    child::{ChildPayloads, Making, answer, answer_exchange, install},
    codec::{
        Authentication, ExchangeType, IkeChoice, KeyExchangeData, ML_KEM_768, Notify, NotifyType,
        Packet, Payload, Proposal, describe, encode, offer_ike, select_ike,
    },
    context::{Context, Effect, Path},
    established::{Established, EstablishedStart},
    keys::{Exchanged, IkeKeys},
    nat::{self, Nat},
    negotiated::{Negotiated, has_notify},
};
use crate::{crypto::mlkem::encapsulate, sa::TunnelId};

/// An IKE_SA_INIT request that was admitted, and the tunnels whose addresses it came by.
pub(super) struct InitRequest<'a> {
    pub(super) packet: &'a Packet<'a>,
    pub(super) payloads: &'a [Payload],
    pub(super) path: Path,
    pub(super) candidates: Vec<Arc<TunnelConfig>>,
}

/// Why there is no half-open SA.
#[derive(Debug)]
pub(super) struct InitRefused {
    pub(super) notify: Notify,
    /// For the tunnels that it may have been for.
    pub(super) reason: Option<String>,
}

/// IKE_SA_INIT is answered; who asks is not known yet.
#[derive(Debug)]
pub(super) struct HalfOpen {
    candidates: Vec<Arc<TunnelConfig>>,
    pub(super) negotiated: Negotiated,
    /// ML-KEM-768 was agreed on and is not done yet.
    awaits_kem: bool,
    pub(super) expires: Instant,
    /// Where the first message came from: what counts against limits, and what its repetition is
    /// known by.
    pub(super) source: Path,
}

/// What a message led to.
#[derive(Debug)]
pub(super) enum Answered {
    HalfOpen(Box<HalfOpen>),
    Established {
        sa: Box<Established>,
        /// The peer says that it has no other SA with us.
        initial_contact: bool,
    },
    Failed,
}

impl HalfOpen {
    /// Answers an IKE_SA_INIT.
    pub(super) fn start(
        cx: &mut Context,
        now: Instant,
        request: InitRequest<'_>,
    ) -> Result<Self, InitRefused> {
        let simple = |kind| InitRefused {
            notify: Notify::new(kind, []),
            reason: None,
        };
        let offer = ChildPayloads::of(request.payloads);
        let (Some(proposals), Some(nonce)) = (offer.proposals, offer.nonce) else {
            return Err(simple(NotifyType::INVALID_SYNTAX));
        };
        let choice = select(&request, proposals).ok_or_else(|| InitRefused {
            notify: Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, []),
            reason: Some(mismatch(&request.candidates, proposals)),
        })?;
        let (shared, key_exchange) = answer_exchange(choice.proposal.group, offer.key_exchange)
            .map_err(|refused| InitRefused {
                notify: refused.notify,
                reason: None,
            })?;
        let spi = cx.new_ike_spi();
        let spis = Spis {
            initiator: request.packet.header.initiator_spi,
            responder: spi,
            ours_is_initiator: false,
        };
        let ours = cx.nonce();
        let keys = IkeKeys::initial(
            choice.proposal,
            &shared,
            &Exchanged {
                nonce_i: nonce,
                nonce_r: &ours,
                spi_i: spis.initiator,
                spi_r: spi,
            },
        );
        let (Ok(outgoing), Ok(incoming)) = (keys.cipher(false), keys.cipher(true)) else {
            cx.release_ike_spi(spi);
            return Err(simple(NotifyType::NO_PROPOSAL_CHOSEN));
        };
        let forced = request
            .candidates
            .iter()
            .any(|config| config.encapsulation == EncapsulationChoice::Udp);
        let encapsulation = if forced {
            EncapsulationChoice::Udp
        } else {
            EncapsulationChoice::ByNat
        };
        let fragmentation = has_notify(request.payloads, NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
        // The hashes of a request are made with the SPI of the responder not known yet.
        let nat = Nat::detect(
            encapsulation,
            request.payloads,
            (spis.initiator, 0),
            request.path,
        );
        let mut payloads = vec![
            Payload::Sa(vec![choice.accepted.clone()]),
            key_exchange,
            Payload::Nonce(ours.clone()),
        ];
        let both = (spis.initiator, spi);
        if nat.supported {
            payloads.extend(nat::notifications(cx, encapsulation, both, request.path));
        }
        if fragmentation {
            let notify = Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, []);
            payloads.push(Payload::Notify(notify));
        }
        if choice.post_quantum.is_some() {
            let notify = Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, []);
            payloads.push(Payload::Notify(notify));
        }
        let message = encode(&spis.header(ExchangeType::IKE_SA_INIT, true, 0), &payloads);
        cx.send(request.path, &message);
        let mut channel = Channel::new(
            now,
            ChannelStart {
                spis,
                path: request.path,
                outgoing,
                incoming,
                fragmentation,
                next_request: 0,
                expected: 1,
            },
        );
        // The initiator floats to port 4500, and so do we.
        channel.follow = true;
        Ok(Self {
            candidates: request.candidates,
            awaits_kem: choice.post_quantum.is_some(),
            negotiated: Negotiated {
                begun: now,
                channel,
                keys,
                nonces: (nonce.to_vec(), ours),
                messages: (request.packet.bytes().to_vec(), message),
                nat,
                post_quantum: false,
                int_auth: None,
            },
            expires: now + cx.options.half_open_timeout,
            source: request.path,
        })
    }

    /// The IKE_SA_INIT came again, byte by byte: so does the answer.
    pub(super) fn again(&self, cx: &mut Context, from: Path, packet: &Packet<'_>) {
        if packet.bytes() == self.negotiated.messages.0 {
            cx.send(from, &self.negotiated.messages.1);
        }
        cx.counters.replayed += 1;
    }

    pub(super) fn handle(
        mut self,
        cx: &mut Context,
        now: Instant,
        from: Path,
        packet: &Packet<'_>,
    ) -> Answered {
        let request = match self.negotiated.channel.receive(cx, now, from, packet) {
            Received::Request(request) => request,
            Received::Broken(_) => return Answered::Failed,
            Received::Nothing | Received::Known | Received::Response(_) => {
                return Answered::HalfOpen(Box::new(self));
            }
        };
        match request.header.exchange {
            ExchangeType::IKE_INTERMEDIATE if self.awaits_kem => {
                self.intermediate(cx, now, &request)
            }
            ExchangeType::IKE_AUTH if !self.awaits_kem => self.authenticate(cx, now, &request),
            _ => self.refuse(cx, now, &request, NotifyType::INVALID_SYNTAX),
        }
    }

    fn refuse(
        mut self,
        cx: &mut Context,
        now: Instant,
        request: &Message,
        kind: NotifyType,
    ) -> Answered {
        let payload = Payload::Notify(Notify::new(kind, []));
        self.negotiated
            .channel
            .respond(cx, now, &request.header, &[payload]);
        // The answer may be lost: it is kept as long as the SA would be, and nothing else is
        // answered.
        self.negotiated.channel.answers = false;
        Answered::HalfOpen(Box::new(self))
    }

    fn intermediate(mut self, cx: &mut Context, now: Instant, request: &Message) -> Answered {
        let theirs = ChildPayloads::of(&request.payloads)
            .key_exchange
            .filter(|theirs| theirs.method == ML_KEM_768);
        let Some((data, shared)) = theirs.and_then(|theirs| encapsulate(&theirs.data).ok()) else {
            return self.refuse(cx, now, request, NotifyType::INVALID_SYNTAX);
        };
        let payload = Payload::KeyExchange(KeyExchangeData {
            method: ML_KEM_768,
            data,
        });
        let (header, inner) = self
            .negotiated
            .channel
            .respond(cx, now, &request.header, &[payload]);
        self.negotiated
            .intermediate([(&request.header, &request.inner), (&header, &inner)]);
        if self.negotiated.additional(&shared).is_err() {
            return Answered::Failed;
        }
        self.awaits_kem = false;
        Answered::HalfOpen(Box::new(self))
    }

    fn authenticate(self, cx: &mut Context, now: Instant, request: &Message) -> Answered {
        let (mut identity, mut asked, mut auth) = (None, None, None);
        for payload in &request.payloads {
            match payload {
                Payload::IdInitiator(id) => identity = Some(id),
                Payload::IdResponder(id) => asked = Some(id),
                Payload::Authentication(data) => auth = Some(data),
                _ => {}
            }
        }
        let Some(identity) = identity else {
            return self.refuse(cx, now, request, NotifyType::INVALID_SYNTAX);
        };
        match self.peer(request, identity, asked, auth) {
            Ok(config) => self.establish(cx, now, request, config, identity.clone()),
            Err((tunnels, reason)) => {
                for tunnel in tunnels {
                    let reason = reason.clone();
                    cx.effects.push_back(Effect::Refused { tunnel, reason });
                }
                self.refuse(cx, now, request, NotifyType::AUTHENTICATION_FAILED)
            }
        }
    }

    /// The tunnel that the peer proves to be of; or which ones it failed to prove that to, and why.
    fn peer(
        &self,
        request: &Message,
        identity: &Identity,
        asked: Option<&Identity>,
        auth: Option<&Authentication>,
    ) -> Result<Arc<TunnelConfig>, (Vec<TunnelId>, String)> {
        let mut known: Vec<_> = self
            .candidates
            .iter()
            .filter(|config| config.remote_ids.is_empty() || config.remote_ids.contains(identity))
            .collect();
        let all = || self.candidates.iter().map(|config| config.id).collect();
        if known.is_empty() {
            let reason = format!("the peer's identity is not the one expected: it is {identity}");
            return Err((all(), reason));
        }
        // It may ask for one of several identities of ours; an answer by another one is allowed.
        known.sort_by_key(|config| asked.is_some_and(|asked| *asked != config.local_id));
        let Some(auth) = auth else {
            let reason = "the peer wants EAP, which is not for gateways".to_owned();
            return Err((all(), reason));
        };
        if auth.method != Authentication::SHARED_KEY {
            let reason = format!(
                "the peer proves itself by method {}, not by key",
                auth.method
            );
            return Err((known.iter().map(|config| config.id).collect(), reason));
        }
        let id = request.header.message_id;
        let negotiated = &self.negotiated;
        let right = known
            .iter()
            .find(|config| negotiated.verify(&config.key, identity, id, &auth.data));
        let Some(config) = right else {
            let reason = "the shared key does not match".to_owned();
            return Err((known.iter().map(|config| config.id).collect(), reason));
        };
        if config.mode == ConnectionMode::InitiatorOnly {
            let reason = "the peer began, and this connection is InitiatorOnly".to_owned();
            return Err((vec![config.id], reason));
        }
        // Of several tunnels between two addresses the proposal may have been another one's.
        if !config.ike.contains(&negotiated.proposal()) {
            let reason = format!(
                "the peer's proposal does not fit: {} was agreed on, the policy asks {}",
                negotiated.proposal(),
                describe(&offer_ike(&config.ike, config.post_quantum, None))
            );
            return Err((vec![config.id], reason));
        }
        Ok(Arc::clone(config))
    }

    fn establish(
        self,
        cx: &mut Context,
        now: Instant,
        request: &Message,
        config: Arc<TunnelConfig>,
        identity: Identity,
    ) -> Answered {
        let auth_id = request.header.message_id;
        let auth = self.negotiated.auth(&config.key, &config.local_id, auth_id);
        let mut payloads = vec![
            Payload::IdResponder(config.local_id.clone()),
            Payload::Authentication(Authentication {
                method: Authentication::SHARED_KEY,
                data: auth,
            }),
        ];
        let nonces = self.negotiated.nonces.clone();
        let lowest_nonce = self.negotiated.lowest_nonce();
        let start = EstablishedStart {
            config,
            lowest_nonce,
            channel: self.negotiated.channel,
            keys: self.negotiated.keys,
            post_quantum: self.negotiated.post_quantum,
            peer_identity: identity,
            nat: self.negotiated.nat,
            begun: self.negotiated.begun,
        };
        let mut sa = Established::new(cx, now, start);
        let offer = ChildPayloads::of(&request.payloads);
        match offer
            .proposals
            .map(|_| answer(cx, &sa.config, &offer, false))
        {
            None => sa.problem = Some("the peer asked for no CHILD SA".to_owned()),
            Some(Err(refused)) => {
                payloads.push(Payload::Notify(refused.notify));
                sa.problem = Some(refused.reason);
            }
            Some(Ok((agreed, _))) => {
                payloads.push(Payload::Sa(vec![agreed.choice.accepted.clone()]));
                payloads.push(Payload::SelectorsInitiator(agreed.remote_selectors.clone()));
                payloads.push(Payload::SelectorsResponder(agreed.local_selectors.clone()));
                let encapsulation = sa.nat.encapsulation(sa.channel.path);
                let making = Making {
                    config: &sa.config,
                    keys: &sa.keys,
                    encapsulation,
                    initiator: false,
                    nonces: (&nonces.0, &nonces.1),
                    // Where there is a pair already, the peer may not have this one yet.
                    send_at_once: !cx.connected.contains(&sa.config.id),
                };
                let child = install(cx, now, &making, agreed);
                sa.children.push(child);
            }
        }
        sa.channel.respond(cx, now, &request.header, &payloads);
        Answered::Established {
            sa: Box::new(sa),
            initial_contact: request.notify(NotifyType::INITIAL_CONTACT).is_some(),
        }
    }
}

/// What the first of the tunnels takes that takes anything.
fn select(request: &InitRequest<'_>, proposals: &[Proposal]) -> Option<IkeChoice> {
    let intermediate = has_notify(
        request.payloads,
        NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED,
    );
    request.candidates.iter().find_map(|config| {
        select_ike(
            &config.ike,
            config.post_quantum && intermediate,
            proposals,
            None,
        )
    })
}

fn mismatch(candidates: &[Arc<TunnelConfig>], proposals: &[Proposal]) -> String {
    let mut ours: Vec<IkeProposal> = Vec::new();
    for config in candidates {
        ours.extend(
            config
                .ike
                .iter()
                .filter(|suite| !ours.contains(suite))
                .copied()
                .collect::<Vec<_>>(),
        );
    }
    format!(
        "the peer's proposal does not fit: it offers {}, the policy asks {}",
        describe(proposals),
        describe(&offer_ike(&ours, false, None))
    )
}
