//! Proving who one is by a shared key (RFC 7296, 2.15), over intermediate exchanges, too
//! (RFC 9242, 3.3).

use subtle::ConstantTimeEq;

use crate::{
    ike::{
        Identity, Prf,
        codec::{Header, Inner, identity_body},
    },
    secret::Secret,
};

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// IntAuth_i and IntAuth_r as they grow, exchange by exchange.
#[derive(Clone, Debug)]
pub struct IntAuth {
    initiator: Secret,
    responder: Secret,
}

impl Default for IntAuth {
    fn default() -> Self {
        Self {
            initiator: Secret::new([]),
            responder: Secret::new([]),
        }
    }
}

impl IntAuth {
    /// Takes one message of an IKE_INTERMEDIATE exchange in, in the clear and in one piece. `sk_p` is the
    /// SK_pi (of a request) or SK_pr (of a response) that was in force when the exchange began.
    pub fn update(&mut self, prf: Prf, sk_p: &Secret, header: &Header, inner: &Inner) {
        let chain = if header.response {
            &mut self.responder
        } else {
            &mut self.initiator
        };
        let octets = inner.intermediate_octets(header);
        *chain = prf.compute(sk_p.expose(), &[chain.expose(), &octets]);
    }
}

/// What one side signs.
#[derive(Clone, Copy, Debug)]
pub struct SignedOctets<'a> {
    /// Its whole IKE_SA_INIT message as sent last, the one that was answered.
    pub message: &'a [u8],
    /// The nonce of the other side.
    pub peer_nonce: &'a [u8],
    pub identity: &'a Identity,
    /// Its SK_pi or SK_pr.
    pub sk_p: &'a Secret,
    /// With the message id of the first IKE_AUTH exchange, if there were intermediate ones.
    pub intermediate: Option<(&'a IntAuth, u32)>,
}

/// The AUTH of a shared key.
pub fn shared_key_auth(prf: Prf, shared_key: &Secret, signed: &SignedOctets<'_>) -> Secret {
    let mut identity = Vec::new();
    identity_body(signed.identity, &mut identity);
    let maced_id = prf.compute(signed.sk_p.expose(), &[&identity]);
    let key = prf.compute(shared_key.expose(), &[KEY_PAD]);
    let message_id;
    let mut octets = vec![signed.message, signed.peer_nonce, maced_id.expose()];
    if let Some((chains, id)) = signed.intermediate {
        message_id = id.to_be_bytes();
        octets.push(chains.initiator.expose());
        octets.push(chains.responder.expose());
        octets.push(&message_id);
    }
    prf.compute(key.expose(), &octets)
}

/// Whether the peer's AUTH is the one that the shared key gives; takes the same time wherever it
/// differs.
pub fn verify_shared_key_auth(
    prf: Prf,
    shared_key: &Secret,
    signed: &SignedOctets<'_>,
    auth: &[u8],
) -> bool {
    let right = shared_key_auth(prf, shared_key, signed);
    right.expose().ct_eq(auth).into()
}
