//! An IKE SA that is established: its tasks one after the other, its children, its end.

mod clock;
mod create;
mod followup;
mod informational;
mod rekey_child;
mod rekey_ike;

pub(super) use rekey_child::refusal;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ConnectionMode, Event, Identity, IkeProposal, Lifetimes, TunnelConfig,
    channel::{Channel, Message, Received},
    child::{Child, ChildOffer, rekey_after},
    codec::{ExchangeType, Notify, NotifyType, Packet, Payload},
    context::{Context, Effect, Path},
    keys::IkeKeys,
    nat::Nat,
    retransmit::NoAnswer,
};
use crate::{
    ike::rekey::IkeOffer,
    sa::{Spi, TunnelId},
};

/// How long the side that answered a rekey waits for the other to delete what was replaced.
const REPLACED: Duration = Duration::from_secs(60);
/// After TEMPORARY_FAILURE, and after other refusals of a rekey; a random part comes on top.
const SOON: Duration = Duration::from_secs(3);
const LATER: Duration = Duration::from_secs(30);

/// Why an IKE SA ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    PeerDeleted,
    /// The peer found our AUTH wrong after all.
    PeerRefused(String),
    /// We deleted it; why was known before.
    Deleted,
    NoAnswer(NoAnswer),
    Broken(String),
    Expired,
}

/// Where an established IKE SA is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Made by the peer's rekey while ours was under way: which one stays is not known yet.
    Provisional,
    /// Another took its place; the side that made that one deletes it, or else we do then.
    Replaced(Instant),
    /// We told the peer that it ends.
    Deleting,
}

/// What is to be done, one after the other, for there is one request at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Liveness,
    CreateChild,
    RekeyChild(Spi),
    DeleteChild(Spi),
    RekeyIke,
    DeleteIke,
}

/// What the request that waits for its answer is about.
#[derive(Debug)]
pub(super) enum Exchange {
    Liveness,
    Child(ChildExchange),
    DeleteChild(Spi),
    Ike(IkeOffer),
    DeleteIke,
}

/// CREATE_CHILD_SA for a CHILD SA, of ours.
#[derive(Debug)]
pub(super) struct ChildExchange {
    pub(super) offer: ChildOffer,
    pub(super) nonce: Vec<u8>,
    /// Our SPI of the one that is to be replaced.
    pub(super) old: Option<Spi>,
    /// The peer rekeyed the same one meanwhile: its new SA, and the lower nonce of that exchange.
    pub(super) rival: Option<(Spi, Vec<u8>)>,
    pub(super) retried: bool,
}

#[derive(Debug)]
pub(super) struct Established {
    pub(super) config: Arc<TunnelConfig>,
    pub(super) channel: Channel,
    pub(super) keys: IkeKeys,
    pub(super) post_quantum: bool,
    pub(super) peer_identity: Identity,
    pub(super) nat: Nat,
    /// When its first message was sent or came, and when it was established.
    pub(super) begun: Instant,
    pub(super) since: Instant,
    /// When the first one of those that were rekeyed to this one was established.
    pub(super) first_since: Instant,
    /// The lower one of the nonces it was made with: of two SAs that were made at once, the one
    /// with the lowest goes (RFC 7296, 2.8.1).
    pub(super) lowest_nonce: Vec<u8>,
    pub(super) life: Life,
    pub(super) children: Vec<Child>,
    /// Why there is no child, in words.
    pub(super) problem: Option<String>,
    pub(super) rekey_at: Instant,
    expires: Instant,
    pub(super) exchange: Option<Exchange>,
    queue: VecDeque<Task>,
    create_at: Option<Instant>,
    /// The last sign of life that ESP gave.
    seen: Instant,
    followup: Option<followup::FollowUp>,
    /// A pair that the peer asked for beside others, and when it has surely heard that it is there.
    unconfirmed: Option<(Spi, Instant)>,
}

/// What an established SA begins with.
#[derive(Debug)]
pub(super) struct EstablishedStart {
    pub(super) config: Arc<TunnelConfig>,
    pub(super) channel: Channel,
    pub(super) keys: IkeKeys,
    pub(super) post_quantum: bool,
    pub(super) peer_identity: Identity,
    pub(super) nat: Nat,
    pub(super) begun: Instant,
    pub(super) lowest_nonce: Vec<u8>,
}

impl Established {
    pub(super) fn new(cx: &mut Context, now: Instant, start: EstablishedStart) -> Self {
        let Lifetimes { ike, .. } = start.config.lifetimes;
        let mut channel = start.channel;
        channel.follow = start.nat.follow();
        channel.answers = true;
        Self {
            config: start.config,
            channel,
            keys: start.keys,
            post_quantum: start.post_quantum,
            peer_identity: start.peer_identity,
            nat: start.nat,
            begun: start.begun,
            since: now,
            first_since: now,
            lowest_nonce: start.lowest_nonce,
            life: Life::Open,
            children: Vec::new(),
            problem: None,
            rekey_at: now + rekey_after(cx, ike),
            expires: now + ike,
            exchange: None,
            queue: VecDeque::new(),
            create_at: None,
            seen: now,
            followup: None,
            unconfirmed: None,
        }
    }

    pub(super) fn key(&self) -> u64 {
        self.channel.spis.ours()
    }

    pub(super) fn tunnel(&self) -> TunnelId {
        self.config.id
    }

    pub(super) fn proposal(&self) -> IkeProposal {
        self.keys.proposal()
    }

    /// Does its work for the tunnel.
    pub(super) fn open(&self) -> bool {
        matches!(self.life, Life::Open | Life::Provisional)
    }

    /// Adds a task unless it waits already, and starts it when nothing else is under way.
    pub(super) fn enqueue(&mut self, cx: &mut Context, now: Instant, task: Task) {
        if !self.queue.contains(&task) {
            self.queue.push_back(task);
        }
        self.pump(cx, now);
    }

    /// Begins the next task when the last one's answer is there.
    fn pump(&mut self, cx: &mut Context, now: Instant) {
        while !self.channel.busy() && self.exchange.is_none() && self.life != Life::Deleting {
            let Some(task) = self.queue.pop_front() else {
                return;
            };
            match task {
                Task::Liveness => {
                    self.channel
                        .request(cx, now, ExchangeType::INFORMATIONAL, &[]);
                    self.exchange = Some(Exchange::Liveness);
                }
                Task::CreateChild if self.children.is_empty() => {
                    self.start_child(cx, now, None, None);
                }
                Task::CreateChild => {}
                Task::RekeyChild(spi) => self.start_rekey_child(cx, now, spi),
                Task::DeleteChild(spi) => self.start_delete_child(cx, now, spi),
                Task::RekeyIke => self.start_rekey_ike(cx, now, None),
                Task::DeleteIke => self.start_delete(cx, now),
            }
        }
    }

    /// Asks the peer whether it is there, or asks again when a question waits already.
    pub(super) fn probe(&mut self, cx: &mut Context, now: Instant) {
        if self.channel.busy() {
            self.channel.nudge(cx, now);
        } else {
            self.enqueue(cx, now, Task::Liveness);
        }
    }

    /// A datagram for this SA.
    pub(super) fn handle(
        &mut self,
        cx: &mut Context,
        now: Instant,
        from: Path,
        packet: &Packet<'_>,
    ) {
        let before = self.channel.path;
        match self.channel.receive(cx, now, from, packet) {
            Received::Nothing | Received::Known => {}
            Received::Request(request) => self.request(cx, now, &request),
            Received::Response(response) => self.response(cx, now, &response),
            Received::Broken(error) => {
                self.end(
                    cx,
                    Ending::Broken(format!("the peer sent what is no message: {error}")),
                );
            }
        }
        if self.channel.path != before {
            self.moved(cx);
        }
        self.pump(cx, now);
        self.ensure_child(cx, now);
    }

    fn request(&mut self, cx: &mut Context, now: Instant, request: &Message) {
        // With a window of one, a new request says that the last answer was heard.
        self.confirm_child(cx);
        match request.header.exchange {
            ExchangeType::INFORMATIONAL => self.informational(cx, now, request),
            ExchangeType::CREATE_CHILD_SA => self.create_request(cx, now, request),
            ExchangeType::IKE_FOLLOWUP_KE => self.followup_request(cx, now, request),
            _ => {
                let notify = Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
                self.channel
                    .respond(cx, now, &request.header, &[Payload::Notify(notify)]);
            }
        }
    }

    fn response(&mut self, cx: &mut Context, now: Instant, response: &Message) {
        match self.exchange.take() {
            None | Some(Exchange::Liveness) => {}
            Some(Exchange::Child(exchange)) if self.leaving() => {
                cx.release_child_spi(exchange.offer.inbound);
            }
            Some(Exchange::Child(exchange)) => self.child_response(cx, now, exchange, response),
            Some(Exchange::DeleteChild(spi)) => self.remove_child(cx, spi),
            Some(Exchange::Ike(offer)) => self.rekey_ike_response(cx, now, offer, response),
            Some(Exchange::DeleteIke) => self.end(cx, Ending::Deleted),
        }
    }

    /// The channel follows the peer; ESP is told to.
    fn moved(&mut self, cx: &mut Context) {
        let encapsulation = self.nat.encapsulation(self.channel.path);
        for child in &mut self.children {
            child.encapsulation = encapsulation;
        }
        if !self.children.is_empty() {
            cx.events.push_back(Event::PeerMoved {
                tunnel: self.config.id,
                encapsulation,
            });
        }
    }

    /// True ESP packets come from elsewhere than we send to.
    pub(super) fn esp_moved(&mut self, cx: &mut Context, remote: std::net::SocketAddr) {
        if self.channel.follow && self.channel.path.floated() && self.channel.path.remote != remote
        {
            self.channel.path.remote = remote;
            self.moved(cx);
        }
    }

    /// Sign of life by ESP.
    pub(super) fn seen(&mut self, now: Instant) {
        self.seen = now;
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.channel.spoke = now;
    }

    /// Tells the peer that the SA ends. Its children are down at once.
    pub(super) fn delete(&mut self, cx: &mut Context, now: Instant) {
        if self.life == Life::Deleting || self.queue.contains(&Task::DeleteIke) {
            return;
        }
        self.children_down(cx);
        self.queue.clear();
        self.queue.push_back(Task::DeleteIke);
        if self.channel.busy() {
            // What waits is of no interest any more, but the window is one: the DELETE follows its
            // answer, which need not be waited for longer than for any other.
            return;
        }
        self.exchange = None;
        self.pump(cx, now);
    }

    fn start_delete(&mut self, cx: &mut Context, now: Instant) {
        let delete = Payload::Delete(super::codec::Delete::Ike);
        self.channel
            .request(cx, now, ExchangeType::INFORMATIONAL, &[delete]);
        self.exchange = Some(Exchange::DeleteIke);
        self.life = Life::Deleting;
    }

    /// It is over: the endpoint takes it out.
    fn end(&mut self, cx: &mut Context, ending: Ending) {
        self.channel.forget_request();
        self.adopt_by_rival(cx);
        self.exchange = None;
        self.queue.clear();
        let key = self.key();
        cx.effects.push_back(Effect::End { key, ending });
    }

    pub(super) fn children_down(&mut self, cx: &mut Context) {
        let tunnel = self.config.id;
        for child in std::mem::take(&mut self.children) {
            child.down(cx, tunnel);
        }
    }

    /// Carries on with the children of the SA that this one replaces.
    pub(super) fn adopt(&mut self, cx: &mut Context, now: Instant, children: Vec<Child>) {
        for mut child in children {
            let spi = child.inbound;
            if child.rekeys() && child.rekey_at >= child.expires {
                // It was about to be rekeyed.
                child.rekey_at = now;
            }
            let deleting = child.deleting;
            self.children.push(child);
            if deleting {
                self.enqueue(cx, now, Task::DeleteChild(spi));
            }
        }
        // The one before may have been about to make one.
        self.ensure_child(cx, now);
    }

    /// What an exchange under way had set aside is free again.
    pub(super) fn release(&mut self, cx: &mut Context) {
        match self.exchange.take() {
            Some(Exchange::Child(exchange)) => cx.release_child_spi(exchange.offer.inbound),
            Some(Exchange::Ike(offer)) => cx.release_ike_spi(offer.spi),
            _ => {}
        }
        self.release_followup(cx);
    }

    /// `AES_GCM_16_256, ESN, CURVE_25519 + ML-KEM-768`
    pub(super) fn algorithms(&self) -> String {
        let mut out = String::new();
        if let Some(child) = self.children.last() {
            let suite = super::EspProposal {
                pfs: None,
                ..child.proposal
            };
            out = format!("{suite}, {}", if child.esn { "ESN, " } else { "" });
        }
        out.push_str(&self.proposal().group.to_string());
        if self.post_quantum {
            out.push_str(" + ML-KEM-768");
        }
        out
    }

    pub(super) fn child(&mut self, inbound: Spi) -> Option<&mut Child> {
        self.children
            .iter_mut()
            .find(|child| child.inbound == inbound)
    }

    /// Makes a child again after a while; first the side that made the IKE SA, for both would make
    /// one each.
    fn create_later(&mut self, cx: &mut Context, now: Instant, wait: Duration) {
        let asks = self.config.mode != ConnectionMode::ResponderOnly;
        if asks && self.children.is_empty() && self.life == Life::Open && !self.leaving() {
            let first = self.channel.spis.ours_is_initiator;
            let wait = if first { wait } else { wait.max(LATER) * 2 };
            self.create_at = Some(now + wait + cx.jitter(wait / 2));
        }
    }

    /// However the last child went: there is no IKE SA without one for long.
    fn ensure_child(&mut self, cx: &mut Context, now: Instant) {
        if !self.children.is_empty() {
            self.create_at = None;
            return;
        }
        let coming = matches!(self.exchange, Some(Exchange::Child(_)))
            || self.queue.contains(&Task::CreateChild);
        if self.create_at.is_none() && !coming {
            self.create_later(cx, now, SOON);
        }
    }

    /// The peer has a pair that we do not: it is told that it is of no use.
    pub(super) fn disown_child(&mut self, cx: &mut Context, now: Instant, inbound: Spi) {
        if self.open() && !self.channel.busy() {
            let delete = Payload::Delete(super::codec::Delete::Esp(vec![inbound]));
            self.channel
                .request(cx, now, ExchangeType::INFORMATIONAL, &[delete]);
            self.exchange = Some(Exchange::Liveness);
        }
    }

    /// Has a child as soon as may be, if we are the one that makes it.
    pub(super) fn without_child(&mut self, cx: &mut Context, now: Instant, problem: String) {
        self.problem.get_or_insert(problem);
        self.create_later(cx, now, LATER);
    }
}
