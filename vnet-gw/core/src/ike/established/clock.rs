//! What an established SA does when it is time: rekeys, asks for life, keeps a NAT open, ends.

use std::time::Instant;

use super::{Ending, Established, Life, Task};
use crate::ike::{
    codec::{Delete, ExchangeType, Payload},
    context::{Context, earlier},
};

impl Established {
    pub(in crate::ike) fn deadline(&self, cx: &Context) -> Instant {
        let mut at = self.expires;
        match self.life {
            Life::Open => {
                at = at.min(self.rekey_at).min(self.dpd_at());
                at = earlier(Some(at), self.create_at).unwrap_or(at);
            }
            Life::Replaced(until) => at = at.min(until),
            Life::Provisional | Life::Deleting => {}
        }
        if self.keeps_alive() {
            at = at.min(self.channel.spoke + cx.options.keepalive);
        }
        at = earlier(Some(at), self.channel.deadline()).unwrap_or(at);
        at = earlier(Some(at), self.unconfirmed.map(|(_, until)| until)).unwrap_or(at);
        // What is not acted on must not be waited for: an instant that stays due is a busy loop.
        for child in self.children.iter().filter(|_| self.life == Life::Open) {
            at = at.min(child.expires);
            if child.rekeys() {
                at = at.min(child.rekey_at);
            }
        }
        at
    }

    fn dpd_at(&self) -> Instant {
        if self.channel.busy() {
            return self.expires;
        }
        self.channel.heard.max(self.seen) + self.config.dpd
    }

    /// Behind a NAT, and not only as a pretence.
    fn keeps_alive(&self) -> bool {
        self.nat.local && self.channel.path.floated() && !self.children.is_empty()
    }

    pub(in crate::ike) fn on_timeout(&mut self, cx: &mut Context, now: Instant) {
        if let Err(no_answer) = self.channel.on_timeout(cx, now) {
            let ending = if self.life == Life::Deleting {
                Ending::Deleted
            } else {
                Ending::NoAnswer(no_answer)
            };
            return self.end(cx, ending);
        }
        if now >= self.expires {
            if self.life == Life::Deleting {
                return self.end(cx, Ending::Deleted);
            }
            // Its keys are not used past their time; the peer is told, and not waited for.
            let delete = Payload::Delete(Delete::Ike);
            if !self.channel.busy() {
                self.channel
                    .request(cx, now, ExchangeType::INFORMATIONAL, &[delete]);
            }
            return self.end(cx, Ending::Expired);
        }
        if self.unconfirmed.is_some_and(|(_, until)| now >= until) {
            self.confirm_child(cx);
        }
        match self.life {
            Life::Open => self.on_timeout_open(cx, now),
            Life::Replaced(until) if now >= until => {
                self.life = Life::Open;
                self.delete(cx, now);
            }
            _ => {}
        }
        if self.keeps_alive() && now >= self.channel.spoke + cx.options.keepalive {
            self.channel.spoke = now;
            cx.send_keepalive(self.channel.path);
        }
        self.pump(cx, now);
        self.ensure_child(cx, now);
    }

    fn on_timeout_open(&mut self, cx: &mut Context, now: Instant) {
        if now >= self.rekey_at {
            self.rekey_at = self.expires;
            self.enqueue(cx, now, Task::RekeyIke);
        }
        if self.create_at.is_some_and(|at| now >= at) {
            self.create_at = None;
            if self.children.is_empty() {
                self.enqueue(cx, now, Task::CreateChild);
            }
        }
        self.children_on_timeout(cx, now);
        if now >= self.dpd_at() {
            self.enqueue(cx, now, Task::Liveness);
        }
    }
}
