//! SKEYSEED and what comes from it.

use std::fmt;

use crate::{
    crypto::CryptoError,
    ike::{IkeProposal, Prf, codec::SkCipher},
    sa::{EspIntegrity, EspSuite},
    secret::Secret,
};

/// What both sides put into the keys of an IKE SA beside the shared secret.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged<'a> {
    /// Nonces, without their payload headers.
    pub nonce_i: &'a [u8],
    pub nonce_r: &'a [u8],
    pub spi_i: u64,
    pub spi_r: u64,
}

/// The seven keys of an IKE SA (RFC 7296, 2.14).
#[derive(Clone)]
pub struct IkeKeys {
    proposal: IkeProposal,
    /// Keys of CHILD SAs, and of the IKE SA's successor, come from it.
    sk_d: Secret,
    sk_ai: Secret,
    sk_ar: Secret,
    sk_ei: Secret,
    sk_er: Secret,
    sk_pi: Secret,
    sk_pr: Secret,
}

impl fmt::Debug for IkeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IkeKeys({}, …)", self.proposal)
    }
}

impl IkeKeys {
    /// Of a new IKE SA (RFC 7296, 2.14).
    pub fn initial(proposal: IkeProposal, shared: &Secret, with: &Exchanged<'_>) -> Self {
        let key = Secret::new([with.nonce_i, with.nonce_r].concat());
        let skeyseed = proposal.prf.compute(key.expose(), &[shared.expose()]);
        Self::expand(proposal, &skeyseed, with)
    }

    /// After an additional key exchange in IKE_INTERMEDIATE (RFC 9370, 2.2.2); nonces and SPIs are
    /// those of IKE_SA_INIT.
    pub fn after_additional(&self, shared: &Secret, with: &Exchanged<'_>) -> Self {
        let parts = [shared.expose(), with.nonce_i, with.nonce_r];
        let skeyseed = self.proposal.prf.compute(self.sk_d.expose(), &parts);
        Self::expand(self.proposal, &skeyseed, with)
    }

    /// Of the IKE SA that replaces this one (RFC 7296, 2.18), with SPIs and nonces of the rekey.
    /// `additional` are the secrets of IKE_FOLLOWUP_KE in their order (RFC 9370, 2.2.4).
    pub fn rekeyed(
        &self,
        proposal: IkeProposal,
        shared: &Secret,
        additional: &[Secret],
        with: &Exchanged<'_>,
    ) -> Self {
        let mut parts = vec![shared.expose(), with.nonce_i, with.nonce_r];
        parts.extend(additional.iter().map(Secret::expose));
        // SKEYSEED is made with the old SA's PRF, the keys with the new one's.
        let skeyseed = self.proposal.prf.compute(self.sk_d.expose(), &parts);
        Self::expand(proposal, &skeyseed, with)
    }

    fn expand(proposal: IkeProposal, skeyseed: &Secret, with: &Exchanged<'_>) -> Self {
        let prf_len = proposal.prf.output_len();
        let integrity = proposal.cipher.integrity_key_len();
        let encryption = proposal.cipher.encryption_key_len();
        let lengths = [
            prf_len, integrity, integrity, encryption, encryption, prf_len, prf_len,
        ];
        let (spi_i, spi_r) = (with.spi_i.to_be_bytes(), with.spi_r.to_be_bytes());
        let seed: [&[u8]; 4] = [with.nonce_i, with.nonce_r, &spi_i, &spi_r];
        let stream = proposal
            .prf
            .plus(skeyseed.expose(), &seed, lengths.iter().sum());
        let mut rest = stream.expose();
        let [sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr] =
            lengths.map(|length| cut(&mut rest, length));
        Self {
            proposal,
            sk_d,
            sk_ai,
            sk_ar,
            sk_ei,
            sk_er,
            sk_pi,
            sk_pr,
        }
    }

    pub fn proposal(&self) -> IkeProposal {
        self.proposal
    }

    pub fn prf(&self) -> Prf {
        self.proposal.prf
    }

    /// What seals the original initiator's messages, or else the responder's.
    ///
    /// # Errors
    /// Never for a cipher with keys of this type's making: they are as long as it asks for.
    pub fn cipher(&self, of_initiator: bool) -> Result<SkCipher, CryptoError> {
        let (encryption, integrity) = if of_initiator {
            (&self.sk_ei, &self.sk_ai)
        } else {
            (&self.sk_er, &self.sk_ar)
        };
        SkCipher::new(self.proposal.cipher, encryption, integrity)
    }

    /// SK_pi or SK_pr: what the side's identity and its intermediate exchanges are signed with.
    pub fn sk_p(&self, of_initiator: bool) -> &Secret {
        if of_initiator {
            &self.sk_pi
        } else {
            &self.sk_pr
        }
    }

    /// All keys in the order in which they are derived.
    #[cfg(test)]
    pub(super) fn concatenated(&self) -> Vec<u8> {
        [
            &self.sk_d,
            &self.sk_ai,
            &self.sk_ar,
            &self.sk_ei,
            &self.sk_er,
            &self.sk_pi,
            &self.sk_pr,
        ]
        .map(Secret::expose)
        .concat()
    }

    /// Key material of a CHILD SA (RFC 7296, 2.17), as [`crate::sa::Sa::keys`] wants it: of what
    /// the initiator of this exchange sends with, then of what its responder sends with. `shared`
    /// is empty without PFS; more than one secret is those of IKE_FOLLOWUP_KE (RFC 9370, 2.2.4).
    pub fn child(
        &self,
        suite: EspSuite,
        shared: &[Secret],
        nonce_i: &[u8],
        nonce_r: &[u8],
    ) -> (Secret, Secret) {
        let (first, additional) = match shared.split_first() {
            Some((first, rest)) => (first.expose(), rest),
            None => (&[][..], &[][..]),
        };
        let mut seed = vec![first, nonce_i, nonce_r];
        seed.extend(additional.iter().map(Secret::expose));
        let length = suite_key_len(suite);
        let stream = self.prf().plus(self.sk_d.expose(), &seed, 2 * length);
        let mut rest = stream.expose();
        (cut(&mut rest, length), cut(&mut rest, length))
    }
}

fn cut(stream: &mut &[u8], length: usize) -> Secret {
    // The stream was asked for in that length.
    let (head, tail) = stream.split_at_checked(length).unwrap_or_default();
    *stream = tail;
    Secret::new(head)
}

/// Bytes of an ESP SA's key material, salt and integrity key included.
pub fn suite_key_len(suite: EspSuite) -> usize {
    const SALT: usize = 4;
    match suite {
        EspSuite::Aes128Gcm => 16 + SALT,
        EspSuite::Aes192Gcm => 24 + SALT,
        EspSuite::Aes256Gcm | EspSuite::ChaCha20Poly1305 => 32 + SALT,
        EspSuite::AesCbc {
            key_bits,
            integrity,
        } => {
            let integrity = match integrity {
                EspIntegrity::HmacSha1_96 => 20,
                EspIntegrity::HmacSha2_256_128 => 32,
                EspIntegrity::HmacSha2_384_192 => 48,
            };
            usize::from(key_bits) / 8 + integrity
        }
    }
}
