//! The rules that every group has after its own.

use crate::model::{Access, Direction, ServiceTag};

/// A default rule: of any protocol and any port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRule {
    pub name: &'static str,
    pub description: &'static str,
    pub direction: Direction,
    pub priority: u16,
    pub access: Access,
    /// `None`: `*`.
    pub source: Option<ServiceTag>,
    /// `None`: `*`.
    pub destination: Option<ServiceTag>,
}

/// Section C, "NSG"; inbound ones first, each direction in the order of priority.
pub const DEFAULT_RULES: [DefaultRule; 6] = [
    DefaultRule {
        name: "AllowVnetInBound",
        description: "Allow inbound traffic from all VMs in VNET",
        direction: Direction::Inbound,
        priority: 65000,
        access: Access::Allow,
        source: Some(ServiceTag::VirtualNetwork),
        destination: Some(ServiceTag::VirtualNetwork),
    },
    DefaultRule {
        name: "AllowAzureLoadBalancerInBound",
        description: "Allow inbound traffic from azure load balancer",
        direction: Direction::Inbound,
        priority: 65001,
        access: Access::Allow,
        source: Some(ServiceTag::AzureLoadBalancer),
        destination: None,
    },
    DefaultRule {
        name: "DenyAllInBound",
        description: "Deny all inbound traffic",
        direction: Direction::Inbound,
        priority: 65500,
        access: Access::Deny,
        source: None,
        destination: None,
    },
    DefaultRule {
        name: "AllowVnetOutBound",
        description: "Allow outbound traffic from all VMs to all VMs in VNET",
        direction: Direction::Outbound,
        priority: 65000,
        access: Access::Allow,
        source: Some(ServiceTag::VirtualNetwork),
        destination: Some(ServiceTag::VirtualNetwork),
    },
    DefaultRule {
        name: "AllowInternetOutBound",
        description: "Allow outbound traffic from all VMs to Internet",
        direction: Direction::Outbound,
        priority: 65001,
        access: Access::Allow,
        source: None,
        destination: Some(ServiceTag::Internet),
    },
    DefaultRule {
        name: "DenyAllOutBound",
        description: "Deny all outbound traffic",
        direction: Direction::Outbound,
        priority: 65500,
        access: Access::Deny,
        source: None,
        destination: None,
    },
];
