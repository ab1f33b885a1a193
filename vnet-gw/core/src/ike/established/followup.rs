//! ML-KEM-768 in the rekey of an IKE SA: IKE_FOLLOWUP_KE (RFC 9370, 2.2.4).

use std::time::Instant;

use super::{Established, Exchange, LATER};
use crate::{
    crypto::mlkem::{MlKemKey, encapsulate},
    ike::{
        channel::Message,
        child::ChildPayloads,
        codec::{
            ExchangeType, IkeChoice, KeyExchangeData, ML_KEM_768, Notify, NotifyType, Payload,
        },
        context::Context,
        rekey::{Following, IkeOffer},
    },
    secret::Secret,
};

/// A rekey of the peer that is agreed on.
#[derive(Debug)]
pub(super) struct Begun {
    /// Ours.
    pub(super) spi: u64,
    pub(super) choice: IkeChoice,
    pub(super) shared: Secret,
    /// Initiator's, responder's.
    pub(super) nonces: (Vec<u8>, Vec<u8>),
}

/// One that waits for its additional key exchange.
#[derive(Debug)]
pub(super) struct FollowUp {
    /// What ties the exchanges together.
    link: Vec<u8>,
    begun: Begun,
}

impl Established {
    /// The notification that asks for IKE_FOLLOWUP_KE.
    pub(super) fn await_followup(&mut self, cx: &mut Context, begun: Begun) -> Payload {
        let link = cx.bytes::<16>().to_vec();
        self.release_followup(cx);
        let notify = Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link.clone());
        self.followup = Some(FollowUp { link, begun });
        Payload::Notify(notify)
    }

    pub(super) fn release_followup(&mut self, cx: &mut Context) {
        if let Some(followup) = self.followup.take() {
            cx.release_ike_spi(followup.begun.spi);
        }
    }

    pub(super) fn followup_request(&mut self, cx: &mut Context, now: Instant, request: &Message) {
        let answer = self.followup_requested(cx, now, request);
        let payload = answer.unwrap_or_else(|kind| Payload::Notify(Notify::new(kind, Vec::new())));
        self.channel.respond(cx, now, &request.header, &[payload]);
    }

    fn followup_requested(
        &mut self,
        cx: &mut Context,
        now: Instant,
        request: &Message,
    ) -> Result<Payload, NotifyType> {
        let link = request.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let Some(followup) = self.followup.take() else {
            return Err(NotifyType::STATE_NOT_FOUND);
        };
        if link.is_none_or(|link| link.data != followup.link) || self.leaving() || !self.open() {
            cx.release_ike_spi(followup.begun.spi);
            return Err(NotifyType::STATE_NOT_FOUND);
        }
        let theirs = ChildPayloads::of(&request.payloads).key_exchange;
        let theirs = theirs
            .filter(|theirs| theirs.method == ML_KEM_768)
            .ok_or(NotifyType::INVALID_SYNTAX)?;
        let (data, secret) = encapsulate(&theirs.data).map_err(|_| NotifyType::INVALID_SYNTAX)?;
        self.peer_rekeyed(cx, now, followup.begun, &[secret])
            .map_err(|_| NotifyType::TEMPORARY_FAILURE)?;
        Ok(Payload::KeyExchange(KeyExchangeData {
            method: ML_KEM_768,
            data,
        }))
    }

    pub(super) fn start_followup(
        &mut self,
        cx: &mut Context,
        now: Instant,
        mut offer: IkeOffer,
        (choice, shared, nonce): (IkeChoice, Secret, Vec<u8>),
        response: &Message,
    ) {
        let link = response.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let (Some(link), Ok(key)) = (link, MlKemKey::generate()) else {
            return self.rekey_ike_failed(cx, now, offer, LATER);
        };
        let payloads = [
            Payload::KeyExchange(KeyExchangeData {
                method: ML_KEM_768,
                data: key.public().to_vec(),
            }),
            Payload::Notify(link.clone()),
        ];
        self.channel
            .request(cx, now, ExchangeType::IKE_FOLLOWUP_KE, &payloads);
        offer.following = Some(Following {
            key,
            choice,
            shared,
            nonce,
        });
        self.exchange = Some(Exchange::Ike(offer));
    }

    pub(super) fn followup_response(
        &mut self,
        cx: &mut Context,
        now: Instant,
        mut offer: IkeOffer,
        response: &Message,
    ) {
        let answer = ChildPayloads::of(&response.payloads);
        let secret = offer.following.take().and_then(|following| {
            let theirs = answer
                .key_exchange
                .filter(|theirs| theirs.method == ML_KEM_768)?;
            let secret = following.key.decapsulate(&theirs.data).ok()?;
            Some((following, secret))
        });
        let Some((following, secret)) = secret.filter(|_| response.error().is_none()) else {
            return self.rekey_ike_failed(cx, now, offer, LATER);
        };
        let made = (
            &following.choice,
            &following.shared,
            following.nonce.as_slice(),
        );
        self.rekey_ike_agreed(cx, now, offer, made, &[secret]);
    }
}
