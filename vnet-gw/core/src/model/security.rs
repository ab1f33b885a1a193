//! Network security groups (section C, "NSG"): kept and checked, not carried out yet.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;

use super::ResourceId;

/// `Microsoft.Network/networkSecurityGroups`, without the default rules, which are the same in
/// every group.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSecurityGroup {
    pub id: ResourceId,
    /// Inbound ones first, each direction in the order of priority: the first that fits decides.
    pub rules: Vec<SecurityRule>,
    pub tags: BTreeMap<String, String>,
}

/// `Microsoft.Network/networkSecurityGroups/securityRules`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityRule {
    pub name: Arc<str>,
    pub direction: Direction,
    /// 100 to 4096, unique in its direction.
    pub priority: u16,
    pub access: Access,
    pub protocol: SecurityRuleProtocol,
    pub source: SecurityRuleEnd,
    pub destination: SecurityRuleEnd,
}

impl SecurityRule {
    pub const PRIORITIES: std::ops::RangeInclusive<u16> = 100..=4096;
}

/// Source or destination of a rule: an address that one of `addresses` has, and a port in one of
/// `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityRuleEnd {
    pub addresses: SecurityRuleAddresses,
    /// Sorted and apart; protocols without ports match any.
    pub ports: Vec<PortRange>,
}

/// `sourceAddressPrefix`, `sourceAddressPrefixes` and those of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityRuleAddresses {
    /// `*`
    Any,
    /// Either may be missing, not both.
    Some {
        prefixes: Vec<IpNet>,
        tag: Option<ServiceTag>,
    },
}

/// From the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// `*`
    pub const ANY: Self = Self {
        first: 0,
        last: u16::MAX,
    };
}

/// `SecurityRuleDirection`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// `SecurityRuleAccess`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Allow,
    Deny,
}

/// `SecurityRuleProtocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityRuleProtocol {
    /// `*`
    Any,
    Tcp,
    Udp,
    /// Of both families.
    Icmp,
    Esp,
    Ah,
}

/// The tags that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceTag {
    /// The VNet, its peered VNets (those with `allowVirtualNetworkAccess`), what is behind its
    /// gateway, and the prefixes of its user routes.
    VirtualNetwork,
    /// 168.63.129.16
    AzureLoadBalancer,
    /// What is not in `VirtualNetwork`.
    Internet,
}
