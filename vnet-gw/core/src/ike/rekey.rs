//! What is proposed for the successor of an IKE SA (RFC 7296, 1.3.2, 2.18).

use super::{
    Group, IkeProposal,
    codec::{IkeChoice, Proposal},
};
use crate::{
    crypto::{exchange::EphemeralKey, mlkem::MlKemKey},
    secret::Secret,
};

/// CREATE_CHILD_SA for an IKE SA, of ours.
#[derive(Debug)]
pub(super) struct IkeOffer {
    pub(super) spi: u64,
    pub(super) offered: Vec<Proposal>,
    pub(super) ours: Vec<IkeProposal>,
    pub(super) nonce: Vec<u8>,
    pub(super) key: EphemeralKey,
    /// The peer rekeyed at the same time: its new SA by our SPI, and the lower nonce of that.
    pub(super) rival: Option<(u64, Vec<u8>)>,
    pub(super) retried: bool,
    /// Agreed on but for ML-KEM-768, which IKE_FOLLOWUP_KE does.
    pub(super) following: Option<Following>,
}

/// A rekey that waits for its additional key exchange (RFC 9370, 2.2.4).
#[derive(Debug)]
pub(super) struct Following {
    pub(super) key: MlKemKey,
    pub(super) choice: IkeChoice,
    pub(super) shared: Secret,
    /// The responder's.
    pub(super) nonce: Vec<u8>,
}

impl IkeOffer {
    /// The group that the peer asks for instead, when it is one that we offered and did not try.
    pub(super) fn other_group(&self, data: &[u8]) -> Option<Group> {
        other_group(&self.ours, self.key.group(), data)
    }
}

/// The group of INVALID_KE_PAYLOAD, when it is one of ours and not the one we tried.
pub(super) fn other_group(ours: &[IkeProposal], tried: Group, data: &[u8]) -> Option<Group> {
    let id = u16::from_be_bytes(data.try_into().ok()?);
    let group = Group::from_transform_id(id)?;
    let offered = ours.iter().any(|proposal| proposal.group == group);
    (offered && group != tried).then_some(group)
}
