//! The initiator's way: IKE_SA_INIT, IKE_INTERMEDIATE where ML-KEM-768 was agreed on, IKE_AUTH
//! (RFC 7296, 1.2; RFC 9242; RFC 9370). One type for each answer that is waited for.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{
    Group, TunnelConfig,
    channel::{Channel, ChannelStart, Message, Received, Spis},
    child::{ChildOffer, ChildPayloads, Making, install},
    codec::{
        Authentication, ExchangeType, KeyExchangeData, ML_KEM_768, Notify, NotifyType, Packet,
        Payload, Proposal, Protection, check_ike, describe, encode, offer_ike,
    },
    context::{Context, IKE_PORT, Path},
    established::{Established, EstablishedStart, refusal},
    keys::{Exchanged, IkeKeys},
    nat::{self, Nat},
    negotiated::{Negotiated, find_notify, has_notify},
    rekey::other_group,
    retransmit::{Due, NoAnswer, Retransmit},
};
use crate::crypto::{exchange::EphemeralKey, mlkem::MlKemKey};

/// How often a peer may make us begin anew, by a cookie or another group.
const RESTARTS: u8 = 8;

/// What an answer led to.
#[derive(Debug)]
pub(super) enum Initiated {
    Init(Box<InitSent>),
    Intermediate(Box<IntermediateSent>),
    Auth(Box<AuthSent>),
    Established(Box<Established>),
    Failed(String),
}

/// IKE_SA_INIT is out.
#[derive(Debug)]
pub(super) struct InitSent {
    pub(super) config: Arc<TunnelConfig>,
    pub(super) spi: u64,
    pub(super) path: Path,
    begun: Instant,
    initial_contact: bool,
    nonce: Vec<u8>,
    key: EphemeralKey,
    offered: Vec<Proposal>,
    cookie: Option<Vec<u8>>,
    message: Vec<u8>,
    retransmit: Retransmit,
    restarts: u8,
    /// What somebody, perhaps the peer, said against it. Not proven: a better answer is waited for.
    pub(super) refused: Option<String>,
}

impl InitSent {
    /// Begins. `initial_contact`: there is no other SA with that peer.
    pub(super) fn start(
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
        let mut sent = Self {
            spi: cx.new_ike_spi(),
            path,
            begun: now,
            initial_contact,
            nonce: cx.nonce(),
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
        let spis = (self.spi, 0);
        payloads.extend(nat::notifications(
            cx,
            self.config.encapsulation,
            spis,
            self.path,
        ));
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

    pub(super) fn deadline(&self) -> Instant {
        self.retransmit.deadline()
    }

    pub(super) fn on_timeout(&mut self, cx: &mut Context, now: Instant) -> Result<(), NoAnswer> {
        match self.retransmit.due(&cx.options, now) {
            Due::NotYet => Ok(()),
            Due::Again => {
                cx.send(self.path, &self.message);
                Ok(())
            }
            Due::GiveUp(no_answer) => Err(no_answer),
        }
    }

    pub(super) fn handle(
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

/// IKE_INTERMEDIATE is out, with our half of ML-KEM-768.
#[derive(Debug)]
pub(super) struct IntermediateSent {
    pub(super) config: Arc<TunnelConfig>,
    initial_contact: bool,
    pub(super) negotiated: Negotiated,
    key: MlKemKey,
    request: (super::codec::Header, super::codec::Inner),
}

impl IntermediateSent {
    pub(super) fn handle(
        mut self,
        cx: &mut Context,
        now: Instant,
        from: Path,
        packet: &Packet<'_>,
    ) -> Initiated {
        match self.negotiated.channel.receive(cx, now, from, packet) {
            Received::Response(response) => self.answered(cx, now, &response),
            Received::Broken(error) => {
                Initiated::Failed(format!("the peer sent nonsense: {error}"))
            }
            Received::Nothing | Received::Known | Received::Request(_) => {
                Initiated::Intermediate(Box::new(self))
            }
        }
    }

    fn answered(mut self, cx: &mut Context, now: Instant, response: &Message) -> Initiated {
        if let Some(error) = response.error() {
            return Initiated::Failed(format!("the peer refused IKE_INTERMEDIATE: {}", error.kind));
        }
        let answer = ChildPayloads::of(&response.payloads);
        let theirs = answer
            .key_exchange
            .filter(|theirs| theirs.method == ML_KEM_768);
        let Some(shared) = theirs.and_then(|theirs| self.key.decapsulate(&theirs.data).ok()) else {
            return Initiated::Failed("the peer's ML-KEM-768 answer is no ciphertext".to_owned());
        };
        let request = (&self.request.0, &self.request.1);
        self.negotiated
            .intermediate([request, (&response.header, &response.inner)]);
        if self.negotiated.additional(&shared).is_err() {
            return Initiated::Failed("the suite has no keys".to_owned());
        }
        AuthSent::start(cx, now, self.config, self.initial_contact, self.negotiated)
    }
}

/// IKE_AUTH is out.
#[derive(Debug)]
pub(super) struct AuthSent {
    pub(super) config: Arc<TunnelConfig>,
    pub(super) negotiated: Negotiated,
    offer: ChildOffer,
    auth_id: u32,
}

impl AuthSent {
    fn start(
        cx: &mut Context,
        now: Instant,
        config: Arc<TunnelConfig>,
        initial_contact: bool,
        mut negotiated: Negotiated,
    ) -> Initiated {
        let auth_id = negotiated.channel.next_request();
        let offer = ChildOffer::first(cx, &config);
        let mut payloads = vec![Payload::IdInitiator(config.local_id.clone())];
        if initial_contact {
            payloads.push(Payload::Notify(Notify::new(
                NotifyType::INITIAL_CONTACT,
                [],
            )));
        }
        // The peer may have several identities; where there is no choice it is told.
        if let [identity] = config.remote_ids.as_slice() {
            payloads.push(Payload::IdResponder(identity.clone()));
        }
        payloads.push(Payload::Authentication(Authentication {
            method: Authentication::SHARED_KEY,
            data: negotiated.auth(&config.key, &config.local_id, auth_id),
        }));
        payloads.extend(offer.payloads(&config, None));
        negotiated
            .channel
            .request(cx, now, ExchangeType::IKE_AUTH, &payloads);
        Initiated::Auth(Box::new(Self {
            config,
            negotiated,
            offer,
            auth_id,
        }))
    }

    /// Nothing came of it.
    pub(super) fn abandon(&self, cx: &mut Context) {
        cx.release_child_spi(self.offer.inbound);
    }

    pub(super) fn handle(
        mut self,
        cx: &mut Context,
        now: Instant,
        from: Path,
        packet: &Packet<'_>,
    ) -> Initiated {
        match self.negotiated.channel.receive(cx, now, from, packet) {
            Received::Response(response) => self.answered(cx, now, &response),
            Received::Broken(error) => {
                self.abandon(cx);
                Initiated::Failed(format!("the peer sent nonsense: {error}"))
            }
            Received::Nothing | Received::Known | Received::Request(_) => {
                Initiated::Auth(Box::new(self))
            }
        }
    }

    fn answered(mut self, cx: &mut Context, now: Instant, response: &Message) -> Initiated {
        let find = |payload: &Payload| match payload {
            Payload::Authentication(auth) => Some(auth.clone()),
            _ => None,
        };
        let Some(auth) = response.payloads.iter().find_map(find) else {
            self.abandon(cx);
            return Initiated::Failed(self.refusal(response));
        };
        let identity = response.payloads.iter().find_map(|payload| match payload {
            Payload::IdResponder(identity) => Some(identity.clone()),
            _ => None,
        });
        let Some(identity) = identity else {
            return self.reject(cx, now, "the peer shows no identity".to_owned());
        };
        let expected = &self.config.remote_ids;
        if !expected.is_empty() && !expected.contains(&identity) {
            let reason = format!("the peer's identity is not the one expected: it is {identity}");
            return self.reject(cx, now, reason);
        }
        if auth.method != Authentication::SHARED_KEY {
            let reason = format!(
                "the peer proves itself by method {}, not by key",
                auth.method
            );
            return self.reject(cx, now, reason);
        }
        let key = &self.config.key;
        if !self
            .negotiated
            .verify(key, &identity, self.auth_id, &auth.data)
        {
            return self.reject(cx, now, "the shared key does not match".to_owned());
        }
        self.negotiated.channel.heard = now;
        let Self {
            config,
            negotiated,
            offer,
            ..
        } = self;
        let nonces = negotiated.nonces.clone();
        let start = EstablishedStart {
            config,
            lowest_nonce: negotiated.lowest_nonce(),
            channel: negotiated.channel,
            keys: negotiated.keys,
            post_quantum: negotiated.post_quantum,
            peer_identity: identity,
            nat: negotiated.nat,
            begun: negotiated.begun,
        };
        let mut established = Established::new(cx, now, start);
        first_child(cx, now, &mut established, &offer, &nonces, response);
        Initiated::Established(Box::new(established))
    }

    /// The peer learns that it is not believed (RFC 7296, 2.21.2).
    fn reject(mut self, cx: &mut Context, now: Instant, reason: String) -> Initiated {
        let notify = Notify::new(NotifyType::AUTHENTICATION_FAILED, []);
        let payloads = [Payload::Notify(notify)];
        self.negotiated
            .channel
            .request(cx, now, ExchangeType::INFORMATIONAL, &payloads);
        self.abandon(cx);
        Initiated::Failed(reason)
    }

    fn refusal(&self, response: &Message) -> String {
        match response.error().map(|error| error.kind) {
            Some(NotifyType::AUTHENTICATION_FAILED) => format!(
                "the shared key does not match, or the peer does not expect our identity {} \
                 (AUTHENTICATION_FAILED)",
                self.config.local_id
            ),
            Some(kind) => format!("the peer refused IKE_AUTH: {kind}"),
            None => "the peer's IKE_AUTH has no proof".to_owned(),
        }
    }
}

/// The CHILD SA of IKE_AUTH. Without one the IKE SA stands alone, and asks again later.
fn first_child(
    cx: &mut Context,
    now: Instant,
    established: &mut Established,
    offer: &ChildOffer,
    nonces: &(Vec<u8>, Vec<u8>),
    response: &Message,
) {
    let answer = ChildPayloads::of(&response.payloads);
    let agreed = match (response.error(), answer.proposals) {
        (Some(error), None) => Err(refusal(error.kind)),
        _ => offer
            .agree(&established.config, &answer)
            .map_err(|refused| refused.reason),
    };
    match agreed {
        Ok(agreed) => {
            let encapsulation = established.nat.encapsulation(established.channel.path);
            let child = install(
                cx,
                now,
                &Making {
                    config: &established.config,
                    keys: &established.keys,
                    encapsulation,
                    initiator: true,
                    nonces: (&nonces.0, &nonces.1),
                    send_at_once: true,
                },
                agreed,
            );
            established.children.push(child);
        }
        Err(problem) => {
            if answer.proposals.is_some() {
                established.disown_child(cx, now, offer.inbound);
            }
            cx.release_child_spi(offer.inbound);
            established.without_child(cx, now, problem);
        }
    }
}
