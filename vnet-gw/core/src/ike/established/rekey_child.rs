//! Making, replacing and deleting CHILD SAs as the side that asks (RFC 7296, 1.3, 2.8, 2.25).

use std::time::Instant;

use super::{ChildExchange, Established, Exchange, LATER, REPLACED, SOON, Task};
use crate::{
    ike::{
        Event, Group,
        channel::Message,
        child::{Agreed, Child, ChildOffer, ChildPayloads, Making, install},
        codec::{Delete, ExchangeType, Notify, NotifyType, Payload},
        context::Context,
    },
    sa::Spi,
};

impl Child {
    /// Due to be replaced one day, by us.
    pub(super) fn rekeys(&self) -> bool {
        self.successor.is_none() && !self.deleting
    }
}

impl Established {
    /// Asks for a new CHILD SA, in the place of `old` or beside those there are.
    pub(super) fn start_child(
        &mut self,
        cx: &mut Context,
        now: Instant,
        old: Option<Spi>,
        group: Option<Group>,
    ) {
        let offer = ChildOffer::further(cx, &self.config, group);
        let nonce = cx.nonce();
        let mut payloads = Vec::new();
        if let Some(old) = old {
            payloads.push(Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, old)));
        }
        payloads.extend(offer.payloads(&self.config, Some(&nonce)));
        self.channel
            .request(cx, now, ExchangeType::CREATE_CHILD_SA, &payloads);
        self.exchange = Some(Exchange::Child(ChildExchange {
            offer,
            nonce,
            old,
            rival: None,
            retried: group.is_some(),
        }));
    }

    pub(super) fn start_rekey_child(&mut self, cx: &mut Context, now: Instant, spi: Spi) {
        if self.child(spi).is_some_and(|child| child.rekeys()) {
            self.start_child(cx, now, Some(spi), None);
        }
    }

    pub(super) fn start_delete_child(&mut self, cx: &mut Context, now: Instant, spi: Spi) {
        let Some(child) = self.child(spi) else {
            return;
        };
        child.deleting = true;
        let delete = Payload::Delete(Delete::Esp(vec![spi]));
        self.channel
            .request(cx, now, ExchangeType::INFORMATIONAL, &[delete]);
        self.exchange = Some(Exchange::DeleteChild(spi));
    }

    pub(in crate::ike) fn delete_child(&mut self, cx: &mut Context, now: Instant, spi: Spi) {
        if let Some(child) = self.child(spi) {
            child.deleting = true;
            self.enqueue(cx, now, Task::DeleteChild(spi));
        }
    }

    /// Takes a pair out. What replaced it is sent on from now on.
    pub(super) fn remove_child(&mut self, cx: &mut Context, spi: Spi) {
        let Some(at) = self.children.iter().position(|child| child.inbound == spi) else {
            return;
        };
        let child = self.children.remove(at);
        let tunnel = self.config.id;
        if let Some(successor) = child.successor
            && self.child(successor).is_some_and(|child| !child.deleting)
        {
            cx.events.push_back(Event::ChildReady {
                tunnel,
                inbound: successor,
            });
        }
        child.down(cx, tunnel);
    }

    pub(super) fn child_response(
        &mut self,
        cx: &mut Context,
        now: Instant,
        exchange: ChildExchange,
        response: &Message,
    ) {
        if let Some(error) = response.error() {
            return self.child_refused(cx, now, exchange, error);
        }
        let answer = ChildPayloads::of(&response.payloads);
        let agreed = exchange.offer.agree(&self.config, &answer);
        let (agreed, theirs) = match (agreed, answer.nonce) {
            (Ok(agreed), Some(nonce)) => (agreed, nonce),
            (Ok(_), None) => return self.child_broken(cx, now, exchange, "it has no nonce".into()),
            (Err(refused), _) => {
                self.disown_child(cx, now, exchange.offer.inbound);
                return self.child_broken(cx, now, exchange, refused.reason);
            }
        };
        let theirs = theirs.to_vec();
        self.child_agreed(cx, now, &exchange, agreed, &theirs);
    }

    fn child_agreed(
        &mut self,
        cx: &mut Context,
        now: Instant,
        exchange: &ChildExchange,
        agreed: Agreed,
        theirs: &[u8],
    ) {
        // Of two SAs made at once the one with the lowest of the four nonces goes (2.8.1).
        let lowest = exchange.nonce.as_slice().min(theirs);
        // The rival may have been replaced itself while our answer was on its way.
        let lost = exchange
            .rival
            .as_ref()
            .filter(|(_, rival)| lowest < rival.as_slice())
            .and_then(|&(rival, _)| self.lasting(rival, exchange.old));
        let encapsulation = self.nat.encapsulation(self.channel.path);
        let child = install(
            cx,
            now,
            &Making {
                config: &self.config,
                keys: &self.keys,
                encapsulation,
                initiator: true,
                nonces: (&exchange.nonce, theirs),
                send_at_once: lost.is_none(),
            },
            agreed,
        );
        let new = child.inbound;
        let winner = lost.unwrap_or(new);
        self.children.push(child);
        self.problem = None;
        if winner != new {
            self.delete_child(cx, now, new);
        }
        let Some(old) = exchange.old else {
            return self.delete_double(cx, now, new);
        };
        if let Some(child) = self.child(old) {
            child.successor = Some(winner);
            if winner == new {
                self.delete_child(cx, now, old);
            }
        }
    }

    /// Both ends found no pair and made one. The answer to at least one of the two requests finds
    /// the other pair there; both ends know all SPIs, so they delete the same one.
    fn delete_double(&mut self, cx: &mut Context, now: Instant, new: Spi) {
        let lesser = |child: &Child| child.inbound.min(child.outbound);
        let Some(ours) = self.children.iter().find(|child| child.inbound == new) else {
            return;
        };
        let double = self.children.iter().find(|child| {
            child.inbound != new
                && child.rekeys()
                && child.local_selectors == ours.local_selectors
                && child.remote_selectors == ours.remote_selectors
        });
        if let Some(double) = double {
            let (loser, winner) = if lesser(double) < lesser(ours) {
                (double.inbound, new)
            } else {
                (new, double.inbound)
            };
            if let Some(child) = self.child(loser) {
                child.successor = Some(winner);
            }
            self.delete_child(cx, now, loser);
        }
    }

    /// Of the pairs that stand beside `old`: this one, or else the newest.
    fn lasting(&self, spi: Spi, old: Option<Spi>) -> Option<Spi> {
        let stands = |child: &&Child| !child.deleting && Some(child.inbound) != old;
        let mut standing = self.children.iter().rev().filter(stands);
        let newest = standing.clone().next()?.inbound;
        let found = standing.any(|child| child.inbound == spi);
        Some(if found { spi } else { newest })
    }

    fn child_broken(
        &mut self,
        cx: &mut Context,
        now: Instant,
        exchange: ChildExchange,
        reason: String,
    ) {
        cx.release_child_spi(exchange.offer.inbound);
        self.child_again(cx, now, exchange.old, LATER);
        if self.children.is_empty() {
            self.without_child(cx, now, reason);
        }
    }

    /// A rekey that failed is tried again while the old one lasts.
    fn child_again(
        &mut self,
        cx: &mut Context,
        now: Instant,
        old: Option<Spi>,
        wait: std::time::Duration,
    ) {
        let at = now + wait + cx.jitter(wait);
        match old {
            Some(old) => {
                if let Some(child) = self.child(old) {
                    child.rekey_at = at;
                    if child.successor.is_some() {
                        // The peer's rekey was quicker; it deletes the old one, or we do.
                        child.expires = child.expires.min(now + REPLACED);
                    }
                }
            }
            None => self.create_later(cx, now, wait),
        }
    }

    fn child_refused(
        &mut self,
        cx: &mut Context,
        now: Instant,
        exchange: ChildExchange,
        error: &Notify,
    ) {
        if error.kind == NotifyType::INVALID_KE_PAYLOAD
            && !exchange.retried
            && let Some(group) = exchange.offer.other_group(&self.config, error)
        {
            cx.release_child_spi(exchange.offer.inbound);
            let gone = match exchange.old {
                Some(old) => self.child(old).is_none_or(|child| !child.rekeys()),
                // The peer has made one meanwhile.
                None => !self.children.is_empty(),
            };
            if !gone {
                self.start_child(cx, now, exchange.old, Some(group));
            }
            return;
        }
        match (error.kind, exchange.old) {
            (NotifyType::TEMPORARY_FAILURE, old) => {
                cx.release_child_spi(exchange.offer.inbound);
                self.child_again(cx, now, old, SOON);
            }
            // It is gone at the peer's, and so it is here (2.25); unless the peer's own rekey was
            // quicker, and has replaced it already, a new one is made.
            (NotifyType::CHILD_SA_NOT_FOUND, Some(old)) => {
                cx.release_child_spi(exchange.offer.inbound);
                let replaced = self
                    .child(old)
                    .is_none_or(|child| child.successor.is_some());
                if !replaced {
                    self.remove_child(cx, old);
                }
                if self.children.is_empty() {
                    self.enqueue(cx, now, Task::CreateChild);
                }
            }
            (kind, _) => {
                let reason = refusal(kind);
                self.child_broken(cx, now, exchange, reason);
            }
        }
    }

    pub(super) fn children_on_timeout(&mut self, cx: &mut Context, now: Instant) {
        let mut tasks = Vec::new();
        for child in &mut self.children {
            if now >= child.expires {
                child.expires = now + REPLACED;
                child.deleting = true;
                tasks.push(Task::DeleteChild(child.inbound));
            } else if child.rekeys() && now >= child.rekey_at {
                // Until the answer is there; it says when to try again.
                child.rekey_at = child.expires;
                tasks.push(Task::RekeyChild(child.inbound));
            }
        }
        for task in tasks {
            self.enqueue(cx, now, task);
        }
    }

    /// ESP asks for a successor: bytes or sequence numbers run out.
    pub(in crate::ike) fn rekey_child(&mut self, cx: &mut Context, now: Instant, spi: Spi) {
        if !self.open() {
            return;
        }
        if let Some(child) = self.child(spi).filter(|child| child.rekeys()) {
            // Should the IKE SA be rekeyed meanwhile, its successor knows that it was to be done.
            child.rekey_at = child.expires;
            self.enqueue(cx, now, Task::RekeyChild(spi));
        }
    }
}

/// A refusal of a CHILD SA in words.
pub(in crate::ike) fn refusal(kind: NotifyType) -> String {
    match kind {
        NotifyType::NO_PROPOSAL_CHOSEN => {
            "the peer refused the proposal for ESP (NO_PROPOSAL_CHOSEN)".to_owned()
        }
        NotifyType::TS_UNACCEPTABLE => {
            "the peer's traffic selectors do not fit: it refused ours (TS_UNACCEPTABLE)".to_owned()
        }
        NotifyType::NO_ADDITIONAL_SAS => {
            "the peer makes no more SAs (NO_ADDITIONAL_SAS)".to_owned()
        }
        other => format!("the peer refused the CHILD SA: {other}"),
    }
}
