//! IKE_SA_INIT, with cookies and another group where the responder wants them.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{AuthSent, Initiated, IntermediateSent};
use crate::{
    crypto::{exchange::EphemeralKey, mlkem::MlKemKey},
    ike::{
        Group, TunnelConfig,
        channel::{Channel, ChannelStart, Spis},
        child::ChildPayloads,
        codec::{
            ExchangeType, KeyExchangeData, ML_KEM_768, Notify, NotifyType, Packet, Payload,
            Proposal, Protection, check_ike, describe, encode, offer_ike,
        },
        context::{Context, IKE_PORT, Path},
        keys::{Exchanged, IkeKeys},
        nat::{self, Nat},
        negotiated::{Negotiated, find_notify, has_notify},
        rekey::other_group,
        retransmit::{Due, NoAnswer, Retransmit},
    },
};

/// How often a peer may make us begin anew, by a cookie or another group.
const RESTARTS: u8 = 8;

/// IKE_SA_INIT is out.
#[derive(Debug)]
pub(in crate::ike) struct InitSent {
    pub(in crate::ike) config: Arc<TunnelConfig>,
    pub(in crate::ike) spi: u64,
    pub(in crate::ike) path: Path,
    begun: Instant,
    initial_contact: bool,
    nonce: Vec<u8>,
    /// The NAT detection notifications: what is not asked to change stays (RFC 7296, 2.6).
    detection: [Payload; 2],
    key: EphemeralKey,
    offered: Vec<Proposal>,
    cookie: Option<Vec<u8>>,
    message: Vec<u8>,
    retransmit: Retransmit,
    restarts: u8,
    /// What somebody, perhaps the peer, said against it. Not proven: a better answer is waited for.
    pub(in crate::ike) refused: Option<String>,
}

impl InitSent {
    /// Begins. `initial_contact`: there is no other SA with that peer.
    pub(in crate::ike) fn start(
        cx: &mut Context,
        now: Instant,
        config: Arc<TunnelConfig>,
        initial_contact: bool,
    ) -> Option<Self> {
        let group = config.ike.first()?.group;
        let key = EphemeralKey::generate(group).ok()?;
        let path = Path {
            local: SocketAddr::new(config.local, IKE_PORT),
            remote: SocketAddr::new(config.remote, IKE_PORT),
        };
        let spi = cx.new_ike_spi();
        let mut sent = Self {
            spi,
            path,
            begun: now,
            initial_contact,
            nonce: cx.nonce(),
            detection: nat::notifications(cx, config.encapsulation, (spi, 0), path),
            key,
            offered: offer_ike(&config.ike, config.post_quantum, None),
            cookie: None,
            message: Vec::new(),
            retransmit: Retransmit::new(&cx.options, now),
            restarts: 0,
            refused: None,
            config,
        };
        sent.send(cx, now);
        Some(sent)
    }

    fn send(&mut self, cx: &mut Context, now: Instant) {
        let mut payloads = Vec::new();
        if let Some(cookie) = &self.cookie {
            payloads.push(Payload::Notify(Notify::new(
                NotifyType::COOKIE,
                cookie.clone(),
            )));
        }
        payloads.push(Payload::Sa(self.offered.clone()));
        payloads.push(Payload::KeyExchange(KeyExchangeData {
            method: self.key.group().transform_id(),
            data: self.key.public().to_vec(),
        }));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(self.detection.clone());
        let mut supported = vec![NotifyType::IKEV2_FRAGMENTATION_SUPPORTED];
        if self.config.post_quantum {
            supported.push(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED);
        }
        payloads.extend(
            supported
                .into_iter()
                .map(|kind| Payload::Notify(Notify::new(kind, []))),
        );
        let spis = Spis {
            initiator: self.spi,
            responder: 0,
            ours_is_initiator: true,
        };
        self.message = encode(&spis.header(ExchangeType::IKE_SA_INIT, false, 0), &payloads);
        self.retransmit = Retransmit::new(&cx.options, now);
        cx.send(self.path, &self.message);
    }

    pub(in crate::ike) fn deadline(&self) -> Instant {
        self.retransmit.deadline()
    }

    pub(in crate::ike) fn on_timeout(
        &mut self,
        cx: &mut Context,
        now: Instant,
    ) -> Result<(), NoAnswer> {
        match self.retransmit.due(&cx.options, now) {
            Due::NotYet => Ok(()),
            Due::Again => {
                cx.send(self.path, &self.message);
                Ok(())
            }
            Due::GiveUp(no_answer) => Err(no_answer),
        }
    }

    pub(in crate::ike) fn handle(
        mut self,
        cx: &mut Context,
        now: Instant,
        from: Path,
        packet: &Packet<'_>,
    ) -> Initiated {
        let header = packet.header;
        let right = header.response
            && !header.from_initiator
            && header.exchange == ExchangeType::IKE_SA_INIT
            && header.message_id == 0
            && packet.protection == Protection::Clear
            && from.remote.ip() == self.path.remote.ip();
        if !right {
            cx.counters.replayed += 1;
            return Initiated::Init(Box::new(self));
        }
        let Ok(payloads) = packet.payloads() else {
            cx.counters.malformed += 1;
            return Initiated::Init(Box::new(self));
        };
        if self.restarted(cx, now, &payloads) {
            return Initiated::Init(Box::new(self));
        }
        match self.negotiate(now, header.responder_spi, from, packet, &payloads) {
            Ok(negotiated) => self.proceed(cx, now, negotiated),
            Err(reason) => {
                self.refused = Some(reason);
                Initiated::Init(Box::new(self))
            }
        }
    }

    /// COOKIE and INVALID_KE_PAYLOAD ask to begin anew (RFC 7296, 2.6, 1.2).
    fn restarted(&mut self, cx: &mut Context, now: Instant, payloads: &[Payload]) -> bool {
        if self.restarts >= RESTARTS {
            return false;
        }
        if let Some(cookie) = find_notify(payloads, NotifyType::COOKIE) {
            if !(1..=64).contains(&cookie.data.len()) {
                return false;
            }
            self.cookie = Some(cookie.data.clone());
        } else if let Some(notify) = find_notify(payloads, NotifyType::INVALID_KE_PAYLOAD) {
            let ours = self.key.group().transform_id().to_be_bytes();
            if self.restarts > 0 && notify.data == ours {
                // It came twice, and was followed already.
                return true;
            }
            let Some(group) = other_group(&self.config.ike, self.key.group(), &notify.data) else {
                return false;
            };
            let Ok(key) = EphemeralKey::generate(group) else {
                return false;
            };
            self.key = key;
        } else {
            return false;
        }
        self.restarts += 1;
        self.send(cx, now);
        true
    }

    fn negotiate(
        &self,
        now: Instant,
        responder_spi: u64,
        from: Path,
        packet: &Packet<'_>,
        payloads: &[Payload],
    ) -> Result<Negotiated, String> {
        if let Some(error) = payloads.iter().find_map(|payload| match payload {
            Payload::Notify(notify) if notify.kind.is_error() => Some(notify),
            _ => None,
        }) {
            return Err(self.refusal(error));
        }
        let answer = ChildPayloads::of(payloads);
        let (Some(proposals), Some(theirs), Some(nonce)) =
            (answer.proposals, answer.key_exchange, answer.nonce)
        else {
            return Err("the peer's answer has no SA, key exchange or nonce".to_owned());
        };
        if responder_spi == 0 {
            return Err("the peer's answer has no SPI".to_owned());
        }
        let choice = check_ike(&self.config.ike, &self.offered, proposals)
            .map_err(|error| error.to_string())?;
        let group = choice.proposal.group;
        if group != self.key.group() || theirs.method != group.transform_id() {
            return Err(format!(
                "the peer chose {group} and answered with another key exchange"
            ));
        }
        let post_quantum = choice.post_quantum.is_some();
        if post_quantum && !has_notify(payloads, NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED) {
            return Err("the peer chose ML-KEM-768 and has no IKE_INTERMEDIATE".to_owned());
        }
        let shared = self
            .key
            .agree(&theirs.data)
            .map_err(|error| error.to_string())?;
        let keys = IkeKeys::initial(
            choice.proposal,
            &shared,
            &Exchanged {
                nonce_i: &self.nonce,
                nonce_r: nonce,
                spi_i: self.spi,
                spi_r: responder_spi,
            },
        );
        let spis = (self.spi, responder_spi);
        let nat = Nat::detect(self.config.encapsulation, payloads, spis, from);
        let mut path = self.path;
        if nat.floats() {
            path.float();
        }
        let broken = |_| "the suite has no keys".to_owned();
        let channel = Channel::new(
            now,
            ChannelStart {
                spis: Spis {
                    initiator: self.spi,
                    responder: responder_spi,
                    ours_is_initiator: true,
                },
                path,
                outgoing: keys.cipher(true).map_err(broken)?,
                incoming: keys.cipher(false).map_err(broken)?,
                fragmentation: has_notify(payloads, NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
                next_request: 1,
                expected: 0,
            },
        );
        Ok(Negotiated {
            begun: self.begun,
            channel,
            keys,
            nonces: (self.nonce.clone(), nonce.to_vec()),
            messages: (self.message.clone(), packet.bytes().to_vec()),
            nat,
            post_quantum,
            int_auth: None,
        })
    }

    fn refusal(&self, error: &Notify) -> String {
        match error.kind {
            NotifyType::NO_PROPOSAL_CHOSEN => format!(
                "the peer refused the proposal: we offer {} (NO_PROPOSAL_CHOSEN)",
                describe(&self.offered)
            ),
            NotifyType::INVALID_KE_PAYLOAD => {
                let group = error.data.as_slice().try_into().map(u16::from_be_bytes);
                let asked = match group.ok().and_then(Group::from_transform_id) {
                    Some(group) => group.to_string(),
                    None => "a group that we do not have".to_owned(),
                };
                format!("the peer refused the proposal: it asks for {asked}, the policy does not")
            }
            other => format!("the peer refused IKE_SA_INIT: {other}"),
        }
    }

    fn proceed(self, cx: &mut Context, now: Instant, negotiated: Negotiated) -> Initiated {
        let Self {
            config,
            initial_contact,
            ..
        } = self;
        if !negotiated.post_quantum {
            return AuthSent::start(cx, now, config, initial_contact, negotiated);
        }
        let Ok(key) = MlKemKey::generate() else {
            return Initiated::Failed("the library makes no ML-KEM-768 key".to_owned());
        };
        let mut negotiated = negotiated;
        let payload = Payload::KeyExchange(KeyExchangeData {
            method: ML_KEM_768,
            data: key.public().to_vec(),
        });
        let exchange = ExchangeType::IKE_INTERMEDIATE;
        let request = negotiated.channel.request(cx, now, exchange, &[payload]);
        Initiated::Intermediate(Box::new(IntermediateSent {
            config,
            initial_contact,
            negotiated,
            key,
            request,
        }))
    }
}
