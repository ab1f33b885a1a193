//! The initiator's way: IKE_SA_INIT, IKE_INTERMEDIATE where ML-KEM-768 was agreed on, IKE_AUTH
//! (RFC 7296, 1.2; RFC 9242; RFC 9370). One type for each answer that is waited for.

mod auth;
mod init;

use std::{sync::Arc, time::Instant};

pub(super) use auth::AuthSent;
pub(super) use init::InitSent;

use super::{
    TunnelConfig,
    channel::{Message, Received},
    child::ChildPayloads,
    codec::{Header, Inner, ML_KEM_768, Packet},
    context::{Context, Path},
    established::Established,
    negotiated::Negotiated,
};
use crate::crypto::mlkem::MlKemKey;

/// What an answer led to.
#[derive(Debug)]
pub(super) enum Initiated {
    Init(Box<InitSent>),
    Intermediate(Box<IntermediateSent>),
    Auth(Box<AuthSent>),
    Established(Box<Established>),
    Failed(String),
}

/// IKE_INTERMEDIATE is out, with our half of ML-KEM-768.
#[derive(Debug)]
pub(super) struct IntermediateSent {
    pub(super) config: Arc<TunnelConfig>,
    initial_contact: bool,
    pub(super) negotiated: Negotiated,
    key: MlKemKey,
    request: (Header, Inner),
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
