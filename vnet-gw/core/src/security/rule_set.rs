//! What is evaluated.

use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{Access, Direction, PortRange, ResourceId, SecurityRuleProtocol};

/// Names a [`RuleSet`]: the same group in the same place has the same one, also after its rules were
/// edited, and after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleSetId {
    /// The networkSecurityGroup.
    pub group: ResourceId,
    pub direction: Direction,
    /// Of the place, which says what tags and application security groups stand for: the VNet, and
    /// the route table whose prefixes are in `VirtualNetwork`.
    pub context: u64,
}

impl RuleSetId {
    /// The same in every build and version, as [`ResourceId::stable_hash`]: how a restarted daemon
    /// knows its rule sets again. Never 0.
    pub const fn stable_hash(&self) -> u64 {
        let direction = match self.direction {
            Direction::Inbound => 0,
            Direction::Outbound => 1,
        };
        let hash = (self.group.stable_hash() ^ direction).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ self.context.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let hash = (hash ^ hash >> 32).wrapping_mul(0x9fb2_1c65_1e98_df25);
        if hash == 0 { 1 } else { hash }
    }
}

/// The rules of one direction of a group, in the order of priority; the first that matches decides.
/// The last is `DenyAllInBound` or `DenyAllOutBound`, which matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    pub id: RuleSetId,
    /// `Arc`: what no place changes is shared by all sets of the group.
    pub rules: Vec<Arc<Rule>>,
    /// `flushConnection`: flows that are there are held against a changed set, too.
    pub flush_connection: bool,
}

/// A rule of a group, or a default rule, as prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name in its group, or that of the default rule.
    pub name: Arc<str>,
    pub priority: u16,
    pub access: Access,
    pub protocol: SecurityRuleProtocol,
    pub source: RuleAddresses,
    /// Sorted and apart; of protocols without ports any is in it.
    pub source_ports: Vec<PortRange>,
    pub destination: RuleAddresses,
    pub destination_ports: Vec<PortRange>,
}

/// Addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAddresses {
    Any,
    /// Sorted, none inside another; none at all where a tag stands for nothing here.
    Prefixes(Arc<[IpNet]>),
}

/// The groups that hold for a port: those of its subnet and its NIC. Empty: everything is allowed,
/// and nothing is paid for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSecurity {
    /// The subnet's first, then the NIC's; each has to allow.
    pub inbound: Vec<RuleSetId>,
    /// The NIC's first, then the subnet's.
    pub outbound: Vec<RuleSetId>,
}
