//! CREATE_CHILD_SA of the peer (RFC 7296, 1.3, 2.8, 2.25).

use std::time::{Duration, Instant};

use super::{Established, Exchange, Life, REPLACED, Task};
use crate::{
    ike::{
        Event,
        channel::Message,
        child::{ChildPayloads, ChildRefused, Making, answer, install},
        codec::{Notify, NotifyType, Payload, Protocol},
        context::Context,
    },
    sa::Spi,
};

/// CHILD SAs that an IKE SA may have: a pair for each pair of prefixes, and rekeys under way.
const MOST_CHILDREN: usize = 256;

/// Time for an answer to be asked for again once or twice.
const CONFIRMED: Duration = Duration::from_secs(3);

impl Established {
    pub(super) fn create_request(&mut self, cx: &mut Context, now: Instant, request: &Message) {
        let of_ike = request.payloads.iter().any(|payload| {
            matches!(payload, Payload::Sa(proposals)
                if proposals.iter().any(|proposal| proposal.protocol == Protocol::IKE))
        });
        if of_ike {
            self.rekey_ike_request(cx, now, request);
        } else {
            self.child_request(cx, now, request);
        }
    }

    pub(super) fn refuse(
        &mut self,
        cx: &mut Context,
        now: Instant,
        request: &Message,
        notify: Notify,
    ) {
        self.channel
            .respond(cx, now, &request.header, &[Payload::Notify(notify)]);
    }

    fn child_request(&mut self, cx: &mut Context, now: Instant, request: &Message) {
        match self.child_requested(cx, now, request) {
            Ok(()) => {}
            Err(refused) => {
                if self.children.is_empty() {
                    self.problem.get_or_insert(refused.reason);
                }
                self.refuse(cx, now, request, refused.notify);
            }
        }
    }

    fn child_requested(
        &mut self,
        cx: &mut Context,
        now: Instant,
        request: &Message,
    ) -> Result<(), ChildRefused> {
        let refused = |notify: Notify| ChildRefused {
            reason: format!(
                "the peer's request for a CHILD SA was refused: {}",
                notify.kind
            ),
            notify,
        };
        let simple = |kind| refused(Notify::new(kind, Vec::new()));
        let busy = matches!(self.exchange, Some(Exchange::Ike(_)));
        if self.life != Life::Open || self.leaving() || busy {
            return Err(simple(NotifyType::TEMPORARY_FAILURE));
        }
        if self.children.len() >= MOST_CHILDREN {
            return Err(simple(NotifyType::NO_ADDITIONAL_SAS));
        }
        let old = match request.notify(NotifyType::REKEY_SA) {
            None => None,
            Some(notify) => Some(self.rekeyed_child(notify).map_err(refused)?),
        };
        let offer = ChildPayloads::of(&request.payloads);
        let Some(theirs) = offer.nonce else {
            return Err(simple(NotifyType::INVALID_SYNTAX));
        };
        let (agreed, key_exchange) = answer(cx, &self.config, &offer, true)?;
        let ours = cx.nonce();
        let mut payloads = vec![
            Payload::Sa(vec![agreed.choice.accepted.clone()]),
            Payload::Nonce(ours.clone()),
        ];
        payloads.extend(key_exchange);
        payloads.push(Payload::SelectorsInitiator(agreed.remote_selectors.clone()));
        payloads.push(Payload::SelectorsResponder(agreed.local_selectors.clone()));
        let encapsulation = self.nat.encapsulation(self.channel.path);
        let first = self.children.is_empty();
        let child = install(
            cx,
            now,
            &Making {
                config: &self.config,
                keys: &self.keys,
                encapsulation,
                initiator: false,
                nonces: (theirs, &ours),
                // While others last, for the peer may not have this one yet.
                send_at_once: first,
            },
            agreed,
        );
        let new = child.inbound;
        self.children.push(child);
        self.problem = None;
        match old {
            Some(old) => self.child_replaced(now, old, new, theirs.min(&ours)),
            None if !first => self.unconfirmed = Some((new, now + CONFIRMED)),
            None => {}
        }
        self.channel.respond(cx, now, &request.header, &payloads);
        Ok(())
    }

    /// Our SPI of the pair that the peer names by its own.
    fn rekeyed_child(&self, notify: &Notify) -> Result<Spi, Notify> {
        let outbound = notify
            .spi
            .as_slice()
            .try_into()
            .map(u32::from_be_bytes)
            .map(Spi);
        let found = outbound.ok().and_then(|outbound| {
            self.children
                .iter()
                .find(|child| child.outbound == outbound)
        });
        match found {
            None => {
                let mut answer = Notify::new(NotifyType::CHILD_SA_NOT_FOUND, Vec::new());
                answer.protocol = notify.protocol;
                answer.spi.clone_from(&notify.spi);
                Err(answer)
            }
            // It ends already, or has a successor already: that rekey is what the peer asks for.
            Some(child) if child.deleting || child.successor.is_some() => {
                Err(Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new()))
            }
            Some(child) => Ok(child.inbound),
        }
    }

    fn child_replaced(&mut self, now: Instant, old: Spi, new: Spi, lowest_nonce: &[u8]) {
        let mut ours = false;
        if let Some(Exchange::Child(exchange)) = &mut self.exchange
            && exchange.old == Some(old)
        {
            exchange.rival = Some((new, lowest_nonce.to_vec()));
            ours = true;
        }
        if let Some(child) = self.child(old) {
            child.successor = Some(new);
            if !ours {
                // The peer deletes it. If it does not, we do.
                child.expires = child.expires.min(now + REPLACED);
            }
        }
    }

    /// The peer has the pair that it asked for beside others.
    pub(super) fn confirm_child(&mut self, cx: &mut Context) {
        if let Some((inbound, _)) = self.unconfirmed.take()
            && self.child(inbound).is_some_and(|child| !child.deleting)
        {
            let tunnel = self.config.id;
            cx.events.push_back(Event::ChildReady { tunnel, inbound });
        }
    }

    /// Its end is decided, though the peer may not know yet.
    pub(in crate::ike) fn leaving(&self) -> bool {
        self.life == Life::Deleting || self.queue.contains(&Task::DeleteIke)
    }
}
