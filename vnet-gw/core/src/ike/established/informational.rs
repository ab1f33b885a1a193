//! INFORMATIONAL of the peer: deletes, errors, liveness (RFC 7296, 1.4, 2.25).

use std::time::Instant;

use super::{Ending, Established, Exchange, Task};
use crate::{
    ike::{
        ConnectionMode,
        channel::Message,
        codec::{Delete, NotifyType, Payload},
        context::Context,
    },
    sa::Spi,
};

impl Established {
    pub(super) fn informational(&mut self, cx: &mut Context, now: Instant, request: &Message) {
        let mut ending = None;
        let mut ours = Vec::new();
        for payload in &request.payloads {
            match payload {
                Payload::Delete(Delete::Ike) => ending = Some(Ending::PeerDeleted),
                Payload::Delete(Delete::Esp(spis)) => {
                    for spi in spis {
                        ours.extend(self.peer_deleted(cx, now, *spi));
                    }
                }
                Payload::Notify(notify) if notify.kind == NotifyType::AUTHENTICATION_FAILED => {
                    // Its own proof was made with the key that we have.
                    let reason = format!(
                        "the peer does not expect our identity {}, or has another shared key for \
                         it (AUTHENTICATION_FAILED)",
                        self.config.local_id
                    );
                    ending.get_or_insert(Ending::PeerRefused(reason));
                }
                _ => {}
            }
        }
        let answer = if ours.is_empty() {
            None
        } else {
            Some(Payload::Delete(Delete::Esp(ours)))
        };
        self.channel
            .respond(cx, now, &request.header, answer.as_slice());
        if let Some(ending) = ending {
            self.end(cx, ending);
        }
    }

    /// The peer's SPI goes; ours of the same pair is what it is told, unless we told it already.
    fn peer_deleted(&mut self, cx: &mut Context, now: Instant, outbound: Spi) -> Option<Spi> {
        let child = self
            .children
            .iter()
            .find(|child| child.outbound == outbound)?;
        let inbound = child.inbound;
        let replaced = child.successor.is_some() || child.deleting;
        let told = matches!(self.exchange, Some(Exchange::DeleteChild(spi)) if spi == inbound);
        self.remove_child(cx, inbound);
        // The pair that took its place may be one that we are about to hear of.
        let coming = matches!(&self.exchange, Some(Exchange::Child(_)));
        if self.children.is_empty() && !coming && !replaced {
            self.without_child(cx, now, "the peer deleted the CHILD SA".to_owned());
            if self.config.mode != ConnectionMode::ResponderOnly {
                self.enqueue(cx, now, Task::CreateChild);
            }
        }
        (!told).then_some(inbound)
    }
}
