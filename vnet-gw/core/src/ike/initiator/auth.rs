//! IKE_AUTH: each proves itself, and the first CHILD SA comes with it.

use std::{sync::Arc, time::Instant};

use super::Initiated;
use crate::ike::{
    TunnelConfig,
    channel::{Message, Received},
    child::{ChildOffer, ChildPayloads, Making, install},
    codec::{Authentication, ExchangeType, Notify, NotifyType, Packet, Payload},
    context::{Context, Path},
    established::{Established, EstablishedStart, refusal},
    negotiated::Negotiated,
};

/// IKE_AUTH is out.
#[derive(Debug)]
pub(in crate::ike) struct AuthSent {
    pub(in crate::ike) config: Arc<TunnelConfig>,
    pub(in crate::ike) negotiated: Negotiated,
    offer: ChildOffer,
    auth_id: u32,
}

impl AuthSent {
    pub(super) fn start(
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
    pub(in crate::ike) fn abandon(&self, cx: &mut Context) {
        cx.release_child_spi(self.offer.inbound);
    }

    pub(in crate::ike) fn handle(
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
