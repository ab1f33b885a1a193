//! What network security groups say of a packet at a NIC.

use std::sync::Arc;

use super::{packet::Packet, predictor::Predictor};
use crate::{
    model::{Access, Direction, NetworkInterface, ResourceId},
    security::{self, Rule},
};

/// The groups of a NIC in one direction, in their order: inbound the subnet's, then the NIC's;
/// outbound the NIC's, then the subnet's.
#[derive(Clone, Debug)]
pub struct Checkpoint<'a> {
    pub nic: &'a NetworkInterface,
    pub direction: Direction,
    /// The packet belongs to a flow that was let through before: no rule is asked.
    pub established: bool,
    /// Up to the first that denies; none where there is no group.
    pub decisions: Vec<Decision>,
}

/// What one group says.
#[derive(Clone, Debug)]
pub struct Decision {
    pub group: ResourceId,
    /// The first rule that matches.
    pub rule: Option<Arc<Rule>>,
}

impl Decision {
    pub fn access(&self) -> Access {
        self.rule.as_ref().map_or(Access::Deny, |rule| rule.access)
    }

    /// As Network Watcher names a rule: `securityRules/web`, `defaultSecurityRules/DenyAllInBound`.
    pub fn rule_name(&self) -> Option<String> {
        self.rule.as_ref().map(|rule| {
            let list = match rule.priority {
                ..65_000 => "securityRules",
                _ => "defaultSecurityRules",
            };
            format!("{list}/{}", rule.name)
        })
    }
}

impl Checkpoint<'_> {
    /// The decision that denies, if one does.
    pub fn denied(&self) -> Option<&Decision> {
        let last = self.decisions.last();
        last.filter(|last| last.access() == Access::Deny)
    }

    /// What decided: the last group that was asked.
    pub fn decisive(&self) -> Option<&Decision> {
        self.decisions.last()
    }
}

impl<'a> Predictor<'a> {
    /// What the groups of the NIC say of a packet of a new flow.
    pub fn checkpoint(
        &self,
        nic: &'a NetworkInterface,
        direction: Direction,
        packet: &Packet,
    ) -> Checkpoint<'a> {
        let packet = security::Packet {
            protocol: packet.protocol,
            source: packet.source,
            destination: packet.destination,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
        };
        let mut sets = self.rule_sets.borrow_mut();
        let security = sets.of_nic(nic);
        let ids = match direction {
            Direction::Inbound => security.inbound,
            Direction::Outbound => security.outbound,
        };
        let mut decisions = Vec::with_capacity(ids.len());
        for id in &ids {
            let Some(set) = sets.get(id) else { continue };
            let rule = set.rules.iter().find(|rule| rule.matches(&packet));
            let decision = Decision {
                group: id.group.clone(),
                rule: rule.cloned(),
            };
            let denied = decision.access() == Access::Deny;
            decisions.push(decision);
            if denied {
                break;
            }
        }
        Checkpoint {
            nic,
            direction,
            established: false,
            decisions,
        }
    }
}
