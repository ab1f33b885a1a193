//! Replacing an IKE SA (RFC 7296, 1.3.2, 2.8.2, 2.18), from either side.

use std::time::Instant;

use super::{Established, EstablishedStart, Exchange, LATER, Life, REPLACED, SOON, Task};
use crate::{
    crypto::{CryptoError, exchange::EphemeralKey},
    ike::{
        Group,
        channel::{Channel, ChannelStart, Message, Spis},
        child::{ChildPayloads, answer_exchange},
        codec::{
            ExchangeType, IkeChoice, KeyExchangeData, Notify, NotifyType, Payload, check_ike,
            offer_ike, select_ike,
        },
        context::{Context, Effect},
        keys::{Exchanged, IkeKeys},
        rekey::IkeOffer,
    },
    secret::Secret,
};

/// What a new IKE SA is made of.
pub(super) struct Making<'a> {
    pub(super) choice: &'a IkeChoice,
    pub(super) shared: &'a Secret,
    pub(super) additional: &'a [Secret],
    pub(super) spis: Spis,
    pub(super) nonces: (&'a [u8], &'a [u8]),
}

impl Established {
    pub(super) fn start_rekey_ike(&mut self, cx: &mut Context, now: Instant, group: Option<Group>) {
        if self.life != Life::Open {
            return;
        }
        // The suite in use comes first, for its group is known to be taken.
        let mut ours = vec![self.proposal()];
        ours.extend(
            self.config
                .ike
                .iter()
                .filter(|suite| **suite != self.proposal()),
        );
        let group = group.unwrap_or(self.proposal().group);
        let Ok(key) = EphemeralKey::generate(group) else {
            self.rekey_at = now + LATER;
            return;
        };
        let spi = cx.new_ike_spi();
        let offered = offer_ike(&ours, self.post_quantum, Some(spi));
        let nonce = cx.nonce();
        let payloads = [
            Payload::Sa(offered.clone()),
            Payload::Nonce(nonce.clone()),
            Payload::KeyExchange(KeyExchangeData {
                method: group.transform_id(),
                data: key.public().to_vec(),
            }),
        ];
        self.channel
            .request(cx, now, ExchangeType::CREATE_CHILD_SA, &payloads);
        self.exchange = Some(Exchange::Ike(IkeOffer {
            spi,
            offered,
            ours,
            nonce,
            key,
            rival: None,
            retried: group != self.proposal().group,
            following: None,
        }));
    }

    pub(super) fn rekey_ike_response(
        &mut self,
        cx: &mut Context,
        now: Instant,
        offer: IkeOffer,
        response: &Message,
    ) {
        if offer.following.is_some() {
            return self.followup_response(cx, now, offer, response);
        }
        if let Some(error) = response.error() {
            return self.rekey_ike_refused(cx, now, offer, error);
        }
        let answer = ChildPayloads::of(&response.payloads);
        let (Some(proposals), Some(nonce), Some(theirs)) =
            (answer.proposals, answer.nonce, answer.key_exchange)
        else {
            return self.rekey_ike_failed(cx, now, offer, LATER);
        };
        let choice = check_ike(&offer.ours, &offer.offered, proposals);
        let (Ok(choice), true) = (choice, theirs.method == offer.key.group().transform_id()) else {
            return self.rekey_ike_failed(cx, now, offer, LATER);
        };
        let Ok(shared) = offer.key.agree(&theirs.data) else {
            return self.rekey_ike_failed(cx, now, offer, LATER);
        };
        if choice.post_quantum.is_some() {
            let nonce = nonce.to_vec();
            return self.start_followup(cx, now, offer, (choice, shared, nonce), response);
        }
        self.rekey_ike_agreed(cx, now, offer, (&choice, &shared, nonce), &[]);
    }

    /// Both sides have what the new SA's keys are made of.
    pub(super) fn rekey_ike_agreed(
        &mut self,
        cx: &mut Context,
        now: Instant,
        offer: IkeOffer,
        (choice, shared, nonce): (&IkeChoice, &Secret, &[u8]),
        additional: &[Secret],
    ) {
        let spis = Spis {
            initiator: offer.spi,
            responder: choice.peer_spi.unwrap_or_default(),
            ours_is_initiator: true,
        };
        let making = Making {
            choice,
            shared,
            additional,
            spis,
            nonces: (&offer.nonce, nonce),
        };
        let Ok(mut new) = self.successor(cx, now, &making) else {
            return self.rekey_ike_failed(cx, now, offer, LATER);
        };
        if self.leaving() {
            // The peer has moved the children over, and is to forget them.
            new.delete(cx, now);
            cx.effects.push_back(Effect::Spawn(Box::new(new)));
            return;
        }
        let lowest = offer.nonce.as_slice().min(nonce);
        match offer.rival {
            // Of two made at once, the one with the lowest nonce goes (2.8.2): ours.
            Some((rival, theirs)) if lowest < theirs.as_slice() => {
                new.delete(cx, now);
                cx.effects.push_back(Effect::Spawn(Box::new(new)));
                cx.effects.push_back(Effect::Adopt {
                    from: self.key(),
                    to: rival,
                });
                self.life = Life::Replaced(now + REPLACED);
            }
            rival => {
                if let Some((rival, _)) = rival {
                    cx.effects.push_back(Effect::Redundant { key: rival });
                }
                new.adopt(cx, now, std::mem::take(&mut self.children));
                cx.effects.push_back(Effect::Spawn(Box::new(new)));
                self.queue.clear();
                self.enqueue(cx, now, Task::DeleteIke);
            }
        }
    }

    fn rekey_ike_refused(
        &mut self,
        cx: &mut Context,
        now: Instant,
        offer: IkeOffer,
        error: &Notify,
    ) {
        if error.kind == NotifyType::INVALID_KE_PAYLOAD
            && !offer.retried
            && !self.leaving()
            && offer.rival.is_none()
            && let Some(group) = offer.other_group(&error.data)
        {
            cx.release_ike_spi(offer.spi);
            return self.start_rekey_ike(cx, now, Some(group));
        }
        let wait = if error.kind == NotifyType::TEMPORARY_FAILURE {
            SOON
        } else {
            LATER
        };
        self.rekey_ike_failed(cx, now, offer, wait);
    }

    /// Tried again while the SA lasts; unless the peer's own rekey did it.
    pub(super) fn rekey_ike_failed(
        &mut self,
        cx: &mut Context,
        now: Instant,
        offer: IkeOffer,
        wait: std::time::Duration,
    ) {
        cx.release_ike_spi(offer.spi);
        self.rekey_at = now + wait + cx.jitter(wait);
        if let Some((rival, _)) = offer.rival {
            cx.effects.push_back(Effect::Adopt {
                from: self.key(),
                to: rival,
            });
            self.life = Life::Replaced(now + REPLACED);
        }
    }

    /// This SA ends, and the peer's successor of it is there: it has the children.
    pub(super) fn adopt_by_rival(&mut self, cx: &mut Context) {
        if let Some(Exchange::Ike(offer)) = &self.exchange {
            cx.release_ike_spi(offer.spi);
            if let Some((rival, _)) = &offer.rival {
                cx.effects.push_back(Effect::Adopt {
                    from: self.key(),
                    to: *rival,
                });
            }
        }
    }

    pub(super) fn rekey_ike_request(&mut self, cx: &mut Context, now: Instant, request: &Message) {
        if let Err(notify) = self.rekey_ike_requested(cx, now, request) {
            self.refuse(cx, now, request, notify);
        }
    }

    fn rekey_ike_requested(
        &mut self,
        cx: &mut Context,
        now: Instant,
        request: &Message,
    ) -> Result<(), Notify> {
        let simple = |kind| Notify::new(kind, Vec::new());
        let busy = matches!(
            self.exchange,
            Some(Exchange::Child(_) | Exchange::DeleteChild(_) | Exchange::DeleteIke)
        );
        let rival = matches!(&self.exchange, Some(Exchange::Ike(offer)) if offer.rival.is_some());
        if self.life != Life::Open || self.leaving() || busy || rival {
            return Err(simple(NotifyType::TEMPORARY_FAILURE));
        }
        let offer = ChildPayloads::of(&request.payloads);
        let (Some(proposals), Some(theirs)) = (offer.proposals, offer.nonce) else {
            return Err(simple(NotifyType::INVALID_SYNTAX));
        };
        let spi = cx.new_ike_spi();
        let Some(choice) = select_ike(
            &self.config.ike,
            self.config.post_quantum,
            proposals,
            Some(spi),
        ) else {
            cx.release_ike_spi(spi);
            return Err(simple(NotifyType::NO_PROPOSAL_CHOSEN));
        };
        let (shared, key_exchange) =
            match answer_exchange(choice.proposal.group, offer.key_exchange) {
                Ok(done) => done,
                Err(refused) => {
                    cx.release_ike_spi(spi);
                    return Err(refused.notify);
                }
            };
        let ours = cx.nonce();
        let mut payloads = vec![
            Payload::Sa(vec![choice.accepted.clone()]),
            Payload::Nonce(ours.clone()),
            key_exchange,
        ];
        let begun = super::followup::Begun {
            spi,
            choice,
            shared,
            nonces: (theirs.to_vec(), ours),
        };
        if begun.choice.post_quantum.is_some() {
            payloads.push(self.await_followup(cx, begun));
            self.channel.respond(cx, now, &request.header, &payloads);
            return Ok(());
        }
        self.peer_rekeyed(cx, now, begun, &[])
            .map_err(|_| simple(NotifyType::TEMPORARY_FAILURE))?;
        self.channel.respond(cx, now, &request.header, &payloads);
        Ok(())
    }

    /// The new SA of the peer's rekey. The children go over, unless our own rekey is under way.
    pub(super) fn peer_rekeyed(
        &mut self,
        cx: &mut Context,
        now: Instant,
        begun: super::followup::Begun,
        additional: &[Secret],
    ) -> Result<(), CryptoError> {
        let spis = Spis {
            initiator: begun.choice.peer_spi.unwrap_or_default(),
            responder: begun.spi,
            ours_is_initiator: false,
        };
        let making = Making {
            choice: &begun.choice,
            shared: &begun.shared,
            additional,
            spis,
            nonces: (&begun.nonces.0, &begun.nonces.1),
        };
        let mut new = self.successor(cx, now, &making)?;
        if let Some(Exchange::Ike(offer)) = &mut self.exchange {
            let (initiator, responder) = begun.nonces;
            offer.rival = Some((begun.spi, initiator.min(responder)));
            if new.life == Life::Open {
                new.life = Life::Provisional;
            }
        } else {
            new.adopt(cx, now, std::mem::take(&mut self.children));
            self.life = Life::Replaced(now + REPLACED);
        }
        cx.effects.push_back(Effect::Spawn(Box::new(new)));
        Ok(())
    }

    fn successor(
        &self,
        cx: &mut Context,
        now: Instant,
        making: &Making<'_>,
    ) -> Result<Self, CryptoError> {
        let keys: IkeKeys = self.keys.rekeyed(
            making.choice.proposal,
            making.shared,
            making.additional,
            &Exchanged {
                nonce_i: making.nonces.0,
                nonce_r: making.nonces.1,
                spi_i: making.spis.initiator,
                spi_r: making.spis.responder,
            },
        );
        let initiator = making.spis.ours_is_initiator;
        let channel = Channel::new(
            now,
            ChannelStart {
                spis: making.spis,
                path: self.channel.path,
                outgoing: keys.cipher(initiator)?,
                incoming: keys.cipher(!initiator)?,
                fragmentation: self.channel.fragmentation(),
                next_request: 0,
                expected: 0,
            },
        );
        let mut new = Self::new(
            cx,
            now,
            EstablishedStart {
                config: self.config.clone(),
                channel,
                keys,
                post_quantum: making.choice.post_quantum.is_some(),
                peer_identity: self.peer_identity.clone(),
                nat: self.nat,
                begun: self.begun,
                lowest_nonce: self.lowest_nonce.clone(),
            },
        );
        new.problem.clone_from(&self.problem);
        new.first_since = self.first_since;
        if let Life::Replaced(_) = self.life {
            // Another SA took this one's place while the rekey was under way, and so the new one's.
            new.life = self.life;
        }
        Ok(new)
    }

    /// The peer's rekey came to nothing for us: what it was for goes on as it is.
    pub(in crate::ike) fn redundant(&mut self, now: Instant) {
        if self.life == Life::Provisional {
            self.life = Life::Replaced(now + REPLACED);
        }
    }

    /// From now on this one is the tunnel's.
    pub(in crate::ike) fn confirmed(&mut self) {
        if self.life == Life::Provisional {
            self.life = Life::Open;
        }
    }
}
