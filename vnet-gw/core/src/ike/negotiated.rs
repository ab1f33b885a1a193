//! What IKE_SA_INIT left to both sides, and how AUTH is made of it.

use std::time::Instant;

use super::{
    Identity, IkeProposal,
    channel::Channel,
    codec::{Header, Inner, Notify, NotifyType, Payload},
    keys::{Exchanged, IkeKeys, IntAuth, SignedOctets, shared_key_auth, verify_shared_key_auth},
    nat::Nat,
};
use crate::{crypto::CryptoError, secret::Secret};

/// An IKE SA with keys, whose peer is not known yet.
#[derive(Debug)]
pub(super) struct Negotiated {
    pub(super) begun: Instant,
    pub(super) channel: Channel,
    pub(super) keys: IkeKeys,
    /// Initiator's, responder's.
    pub(super) nonces: (Vec<u8>, Vec<u8>),
    pub(super) messages: (Vec<u8>, Vec<u8>),
    pub(super) nat: Nat,
    pub(super) post_quantum: bool,
    /// Of IKE_INTERMEDIATE exchanges, if there were any.
    pub(super) int_auth: Option<IntAuth>,
}

impl Negotiated {
    pub(super) fn exchanged(&self) -> Exchanged<'_> {
        Exchanged {
            nonce_i: &self.nonces.0,
            nonce_r: &self.nonces.1,
            spi_i: self.channel.spis.initiator,
            spi_r: self.channel.spis.responder,
        }
    }

    /// Takes the two messages of an IKE_INTERMEDIATE exchange into what AUTH proves.
    pub(super) fn intermediate(&mut self, messages: [(&Header, &Inner); 2]) {
        let mut chains = self.int_auth.take().unwrap_or_default();
        for (header, inner) in messages {
            let sk_p = self.keys.sk_p(!header.response);
            chains.update(self.keys.prf(), sk_p, header, inner);
        }
        self.int_auth = Some(chains);
    }

    /// The keys after an additional key exchange (RFC 9370, 2.2.2).
    ///
    /// # Errors
    /// Never for a suite of ours.
    pub(super) fn additional(&mut self, shared: &Secret) -> Result<(), CryptoError> {
        let keys = self.keys.after_additional(shared, &self.exchanged());
        let ours = self.channel.spis.ours_is_initiator;
        self.channel
            .set_ciphers(keys.cipher(ours)?, keys.cipher(!ours)?);
        self.keys = keys;
        self.post_quantum = true;
        Ok(())
    }

    /// `auth_id` is the message id of IKE_AUTH.
    fn signed<'a>(
        &'a self,
        by_initiator: bool,
        identity: &'a Identity,
        auth_id: u32,
    ) -> SignedOctets<'a> {
        let (message, peer_nonce) = if by_initiator {
            (&self.messages.0, &self.nonces.1)
        } else {
            (&self.messages.1, &self.nonces.0)
        };
        SignedOctets {
            message,
            peer_nonce,
            identity,
            sk_p: self.keys.sk_p(by_initiator),
            intermediate: self.int_auth.as_ref().map(|chains| (chains, auth_id)),
        }
    }

    /// Our AUTH.
    pub(super) fn auth(&self, key: &Secret, identity: &Identity, auth_id: u32) -> Vec<u8> {
        let ours = self.channel.spis.ours_is_initiator;
        let signed = self.signed(ours, identity, auth_id);
        shared_key_auth(self.keys.prf(), key, &signed)
            .expose()
            .to_vec()
    }

    /// Whether the peer's AUTH is right.
    pub(super) fn verify(
        &self,
        key: &Secret,
        identity: &Identity,
        auth_id: u32,
        auth: &[u8],
    ) -> bool {
        let ours = self.channel.spis.ours_is_initiator;
        let signed = self.signed(!ours, identity, auth_id);
        verify_shared_key_auth(self.keys.prf(), key, &signed, auth)
    }

    pub(super) fn lowest_nonce(&self) -> Vec<u8> {
        self.nonces.0.clone().min(self.nonces.1.clone())
    }

    pub(super) fn proposal(&self) -> IkeProposal {
        self.keys.proposal()
    }
}

pub(super) fn has_notify(payloads: &[Payload], kind: NotifyType) -> bool {
    find_notify(payloads, kind).is_some()
}

pub(super) fn find_notify(payloads: &[Payload], kind: NotifyType) -> Option<&Notify> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == kind => Some(notify),
        _ => None,
    })
}

/// A person's view of an identity.
/// Bytes of an identity that are shown: a stranger may send 64 KiB.
const SHOWN: usize = 64;

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = match self {
            Self::Ip(address) => return write!(f, "{address}"),
            Self::Fqdn(name) => name.as_bytes(),
            Self::KeyId(bytes) => {
                f.write_str("key-id ")?;
                bytes
            }
            Self::Other { kind, data } => {
                write!(f, "type {kind} ")?;
                data
            }
        };
        let shown = bytes.get(..SHOWN).unwrap_or(bytes);
        match std::str::from_utf8(shown) {
            Ok(text) => write!(f, "{}", text.escape_debug())?,
            Err(_) => write!(f, "{}", shown.escape_ascii())?,
        }
        if bytes.len() > SHOWN {
            write!(f, "… ({} bytes)", bytes.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_shown_as_far_as_it_helps() {
        let data = vec![b'x'; 60_000];
        let shown = Identity::Other { kind: 9, data }.to_string();
        let expected = format!("type 9 {}… (60000 bytes)", "x".repeat(64));
        assert_eq!(shown, expected);
        let name = Identity::Fqdn("gateway.example\n".to_owned());
        assert_eq!(name.to_string(), "gateway.example\\n");
        assert_eq!(
            Identity::KeyId(vec![0xff, b'a']).to_string(),
            "key-id \\xffa"
        );
    }
}
