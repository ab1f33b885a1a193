//! Protected messages of one IKE SA: message ids, windows of one, retransmission, fragments.

use std::time::Instant;

use super::{
    codec::{
        DecodeError, ExchangeType, Header, Inner, Notify, NotifyType, OpenError, Packet, Payload,
        Protection, Reassembler, SkCipher,
    },
    context::{Context, NON_ESP_MARKER, Path},
    retransmit::{Due, NoAnswer, Retransmit},
};

/// Which IKE SA, and which end of it we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spis {
    pub(super) initiator: u64,
    pub(super) responder: u64,
    /// We are the original initiator.
    pub(super) ours_is_initiator: bool,
}

impl Spis {
    /// By which the endpoint knows the SA.
    pub(super) fn ours(&self) -> u64 {
        if self.ours_is_initiator {
            self.initiator
        } else {
            self.responder
        }
    }

    pub(super) fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        Header {
            initiator_spi: self.initiator,
            responder_spi: self.responder,
            exchange,
            from_initiator: self.ours_is_initiator,
            response,
            message_id,
        }
    }
}

/// A message that the peer sent, for it is proven to be.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: Header,
    /// As it was inside, for IntAuth.
    pub(super) inner: Inner,
    pub(super) payloads: Vec<Payload>,
}

impl Message {
    pub(super) fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.payloads.iter().find_map(|payload| match payload {
            Payload::Notify(notify) if notify.kind == kind => Some(notify),
            _ => None,
        })
    }

    /// The first error that the message tells of.
    pub(super) fn error(&self) -> Option<&Notify> {
        self.payloads.iter().find_map(|payload| match payload {
            Payload::Notify(notify) if notify.kind.is_error() => Some(notify),
            _ => None,
        })
    }
}

/// What became of a datagram.
#[derive(Debug)]
pub(super) enum Received {
    /// Nothing that the SA need know of.
    Nothing,
    /// True, but no news: answered from what was kept, or a part of a message.
    Known,
    Request(Message),
    Response(Message),
    /// The peer sent what is no message; it was told, if it asked. The SA cannot go on.
    Broken(DecodeError),
}

#[derive(Debug)]
struct Pending {
    message_id: u32,
    exchange: ExchangeType,
    datagrams: Vec<Vec<u8>>,
    retransmit: Retransmit,
}

#[derive(Debug)]
struct Answered {
    message_id: u32,
    datagrams: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) spis: Spis,
    pub(super) path: Path,
    /// The peer moves freely behind its NAT, and we follow.
    pub(super) follow: bool,
    /// An initiator whose IKE_AUTH is not answered yet answers nothing itself.
    pub(super) answers: bool,
    outgoing: SkCipher,
    incoming: SkCipher,
    /// Of before a further key exchange: the peer may not have our answer to it yet.
    previous: Option<SkCipher>,
    fragmentation: bool,
    next_request: u32,
    pending: Option<Pending>,
    expected: u32,
    answered: Option<Answered>,
    requests: Reassembler,
    responses: Reassembler,
    /// When the peer last proved to be there, and when we last sent anything.
    pub(super) heard: Instant,
    pub(super) spoke: Instant,
}

/// What a channel begins with.
pub(super) struct ChannelStart {
    pub(super) spis: Spis,
    pub(super) path: Path,
    pub(super) outgoing: SkCipher,
    pub(super) incoming: SkCipher,
    pub(super) fragmentation: bool,
    /// Message ids of our next request and the peer's.
    pub(super) next_request: u32,
    pub(super) expected: u32,
}

impl Channel {
    pub(super) fn new(now: Instant, start: ChannelStart) -> Self {
        Self {
            spis: start.spis,
            path: start.path,
            follow: false,
            answers: !start.spis.ours_is_initiator,
            outgoing: start.outgoing,
            incoming: start.incoming,
            previous: None,
            fragmentation: start.fragmentation,
            next_request: start.next_request,
            pending: None,
            expected: start.expected,
            answered: None,
            requests: Reassembler::new(),
            responses: Reassembler::new(),
            heard: now,
            spoke: now,
        }
    }

    /// After a further key exchange (RFC 9370, 2.2.2).
    pub(super) fn set_ciphers(&mut self, outgoing: SkCipher, incoming: SkCipher) {
        self.outgoing = outgoing;
        self.previous = Some(std::mem::replace(&mut self.incoming, incoming));
    }

    pub(super) fn fragmentation(&self) -> bool {
        self.fragmentation
    }

    /// Whether a request waits for its answer; there is one at a time (RFC 7296, 2.3).
    pub(super) fn busy(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn next_request(&self) -> u32 {
        self.next_request
    }

    /// Sends a request. The caller made sure that the channel is not busy.
    pub(super) fn request(
        &mut self,
        cx: &mut Context,
        now: Instant,
        exchange: ExchangeType,
        payloads: &[Payload],
    ) -> (Header, Inner) {
        let message_id = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let header = self.spis.header(exchange, false, message_id);
        let inner = Inner::encode(payloads);
        let datagrams = self.seal(cx, &header, &inner);
        self.transmit(cx, now, &datagrams);
        self.pending = Some(Pending {
            message_id,
            exchange,
            datagrams,
            retransmit: Retransmit::new(&cx.options, now),
        });
        (header, inner)
    }

    /// Answers the request of this id, and keeps the answer for when the request comes again.
    pub(super) fn respond(
        &mut self,
        cx: &mut Context,
        now: Instant,
        request: &Header,
        payloads: &[Payload],
    ) -> (Header, Inner) {
        let header = self.spis.header(request.exchange, true, request.message_id);
        let inner = Inner::encode(payloads);
        let datagrams = self.seal(cx, &header, &inner);
        self.transmit(cx, now, &datagrams);
        self.answered = Some(Answered {
            message_id: request.message_id,
            datagrams,
        });
        (header, inner)
    }

    fn seal(&mut self, cx: &mut Context, header: &Header, inner: &Inner) -> Vec<Vec<u8>> {
        let max = cx.options.max_datagram.saturating_sub(NON_ESP_MARKER.len());
        let sealed = if self.fragmentation {
            self.outgoing
                .seal_fragments(header, inner, max, cx.random())
        } else {
            self.outgoing
                .seal(header, inner, cx.random())
                .map(|message| vec![message])
        };
        // Only a message of more than 64 KiB cannot be sealed; none of ours is. Were there one, it
        // would not be sent, and the exchange would end as one without an answer.
        sealed.unwrap_or_default()
    }

    fn transmit(&mut self, cx: &mut Context, now: Instant, datagrams: &[Vec<u8>]) {
        self.spoke = now;
        for datagram in datagrams {
            cx.send(self.path, datagram);
        }
    }

    /// Opens a datagram that came by `from`, and says what it was. The answer to a request that
    /// comes again is sent again.
    pub(super) fn receive(
        &mut self,
        cx: &mut Context,
        now: Instant,
        from: Path,
        packet: &Packet<'_>,
    ) -> Received {
        let header = packet.header;
        if header.from_initiator == self.spis.ours_is_initiator
            || header.initiator_spi != self.spis.initiator
            || header.responder_spi != self.spis.responder
        {
            cx.counters.unknown_spi += 1;
            return Received::Nothing;
        }
        // Cheap to tell, and before any cryptography: what can be neither new nor answered again.
        let again = !header.response
            && self
                .answered
                .as_ref()
                .is_some_and(|kept| kept.message_id == header.message_id);
        let awaited = match (&self.pending, header.response) {
            (Some(pending), true) => {
                pending.message_id == header.message_id && pending.exchange == header.exchange
            }
            (None, true) => false,
            (_, false) => self.answers && header.message_id == self.expected,
        };
        if !again && !awaited {
            cx.counters.replayed += 1;
            return Received::Nothing;
        }
        let inner = match self.open(header, packet, again) {
            Ok(inner) => inner,
            Err(OpenError::Content) if !again => {
                return self.broken(cx, now, &header, DecodeError::BadValue("the padding"));
            }
            Err(_) => {
                cx.counters.bad_integrity += 1;
                return Received::Nothing;
            }
        };
        if again {
            // Of a message in fragments the first one is enough (RFC 7383, 2.6.1).
            let first = !matches!(packet.protection, Protection::Fragment { number: 2.., .. });
            if first && let Some(kept) = self.answered.take() {
                cx.counters.replayed += 1;
                // Where it came from is where it is answered to, and no more than that.
                for datagram in &kept.datagrams {
                    cx.send(from, datagram);
                }
                self.answered = Some(kept);
            }
            return Received::Known;
        }
        self.heard = now;
        // To another address of ours the peer cannot lead us: that is another tunnel's.
        if self.follow && from.local.ip() == self.path.local.ip() {
            self.path = from;
        }
        let Some(inner) = inner else {
            return Received::Known;
        };
        let payloads = match inner.payloads() {
            Ok(payloads) => payloads,
            Err(error) => return self.broken(cx, now, &header, error),
        };
        let message = Message {
            header,
            inner,
            payloads,
        };
        if header.response {
            self.pending = None;
            return Received::Response(message);
        }
        self.expected = self.expected.wrapping_add(1);
        self.answered = None;
        self.previous = None;
        Received::Request(message)
    }

    /// `None`: a fragment, and others are missing.
    fn open(
        &mut self,
        header: Header,
        packet: &Packet<'_>,
        again: bool,
    ) -> Result<Option<Inner>, OpenError> {
        // What comes again was sealed with the keys of its time.
        let cipher = self
            .previous
            .as_ref()
            .filter(|_| again)
            .unwrap_or(&self.incoming);
        if !matches!(packet.protection, Protection::Fragment { .. }) {
            return cipher.open(packet).map(Some);
        }
        let fragment = cipher.open_fragment(packet)?;
        if again {
            return Ok(None);
        }
        let reassembler = if header.response {
            &mut self.responses
        } else {
            &mut self.requests
        };
        Ok(reassembler.add(header.message_id, fragment))
    }

    /// RFC 7296, 2.21.3: a payload that is marked critical and unknown is refused, the rest of what
    /// can be wrong with a proven message ends the SA.
    fn broken(
        &mut self,
        cx: &mut Context,
        now: Instant,
        header: &Header,
        error: DecodeError,
    ) -> Received {
        cx.counters.malformed += 1;
        if header.response {
            return Received::Broken(error);
        }
        let (kind, data, fatal) = match error {
            DecodeError::UnsupportedCritical(payload) => (
                NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
                vec![payload],
                false,
            ),
            _ => (NotifyType::INVALID_SYNTAX, Vec::new(), true),
        };
        self.expected = self.expected.wrapping_add(1);
        self.respond(cx, now, header, &[Payload::Notify(Notify::new(kind, data))]);
        if fatal {
            Received::Broken(error)
        } else {
            Received::Known
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending
            .as_ref()
            .map(|pending| pending.retransmit.deadline())
    }

    /// Sends the request again that waits, when it is time.
    pub(super) fn on_timeout(&mut self, cx: &mut Context, now: Instant) -> Result<(), NoAnswer> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(());
        };
        match pending.retransmit.due(&cx.options, now) {
            Due::NotYet => {}
            Due::Again => self.transmit(cx, now, &pending.datagrams),
            Due::GiveUp(no_answer) => {
                self.pending = Some(pending);
                return Err(no_answer);
            }
        }
        self.pending = Some(pending);
        Ok(())
    }

    /// Sends the request again that waits, out of turn: somebody wants to know soon.
    pub(super) fn nudge(&mut self, cx: &mut Context, now: Instant) {
        if let Some(pending) = self.pending.take() {
            self.transmit(cx, now, &pending.datagrams);
            self.pending = Some(pending);
        }
    }

    /// Waits for no answer any more: the SA ends anyway.
    pub(super) fn forget_request(&mut self) {
        self.pending = None;
    }
}
