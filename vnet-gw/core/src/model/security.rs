//! Network security groups and application security groups (section C, "NSG") as they are written;
//! [`crate::security`] has what they come to.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ResourceId;

/// `Microsoft.Network/networkSecurityGroups`, without the default rules, which are the same in
/// every group.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSecurityGroup {
    pub id: ResourceId,
    /// Inbound ones first, each direction in the order of priority: the first that fits decides.
    pub rules: Vec<SecurityRule>,
    /// `flushConnection`: a change holds for flows that are there, too.
    pub flush_connection: bool,
    pub tags: BTreeMap<String, String>,
}

impl NetworkSecurityGroup {
    /// What its rules refer to, as often as they do.
    pub fn application_security_groups(&self) -> impl Iterator<Item = &ResourceId> {
        let ends = self.rules.iter();
        let ends = ends.flat_map(|rule| [&rule.source, &rule.destination]);
        ends.flat_map(|end| end.addresses.groups())
    }
}

/// `Microsoft.Network/applicationSecurityGroups`: a name for the network interfaces that are in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplicationSecurityGroup {
    pub id: ResourceId,
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

/// `sourceAddressPrefix`, `sourceAddressPrefixes`, `sourceApplicationSecurityGroups`, and those of
/// the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityRuleAddresses {
    /// `*`
    Any,
    /// Either may be missing, not both.
    Some {
        prefixes: Vec<IpNet>,
        tag: Option<ServiceTag>,
    },
    /// The network interfaces in one of them; sorted.
    ApplicationSecurityGroups(Vec<ResourceId>),
}

impl SecurityRuleAddresses {
    /// The application security groups.
    pub fn groups(&self) -> &[ResourceId] {
        match self {
            Self::ApplicationSecurityGroups(groups) => groups,
            Self::Any | Self::Some { .. } => &[],
        }
    }
}

/// From the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// `*`
    pub const ANY: Self = Self {
        first: 0,
        last: u16::MAX,
    };
}

/// `SecurityRuleDirection`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    /// As Azure writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "Inbound",
            Self::Outbound => "Outbound",
        }
    }
}

/// `SecurityRuleAccess`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    Allow,
    Deny,
}

impl Access {
    /// As Azure writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
        }
    }
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

impl SecurityRuleProtocol {
    /// As Azure writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Tcp => "Tcp",
            Self::Udp => "Udp",
            Self::Icmp => "Icmp",
            Self::Esp => "Esp",
            Self::Ah => "Ah",
        }
    }
}

/// The tags that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceTag {
    /// The VNet, its peered VNets (those with `allowVirtualNetworkAccess`), what is behind its
    /// gateway, and the prefixes of its user routes.
    VirtualNetwork,
    /// 168.63.129.16
    AzureLoadBalancer,
    /// What is not in `VirtualNetwork`.
    Internet,
}

impl ServiceTag {
    pub const ALL: [Self; 3] = [
        Self::VirtualNetwork,
        Self::AzureLoadBalancer,
        Self::Internet,
    ];

    /// As Azure writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VirtualNetwork => "VirtualNetwork",
            Self::AzureLoadBalancer => "AzureLoadBalancer",
            Self::Internet => "Internet",
        }
    }
}
