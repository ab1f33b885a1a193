//! Network security groups as packets meet them (section C, "NSG").
//!
//! A group says tags and application security groups; what stands for them depends on the VNet and
//! on the subnet's user routes. A [`RuleSet`] is one group in one such place and one direction, with
//! the default rules at its end, as plain prefixes: what is evaluated, explained, and compiled for
//! the data path. [`RuleSets`] makes them of a topology, [`evaluate`] is the truth about what one
//! says of a packet, and [`effective_security_groups`] shows them as Azure does.

pub mod classifier;
mod default_rules;
mod effective;
mod evaluate;
mod limits;
mod place;
mod rule_set;
mod rule_sets;
#[cfg(test)]
mod tests;

pub use default_rules::{DEFAULT_RULES, DefaultRule};
pub use effective::{
    Association, EffectiveSecurityGroup, EffectiveSecurityGroups, EffectiveSecurityRule,
    SubResource, effective_security_groups,
};
pub use evaluate::{Packet, Verdict, decide, evaluate};
pub use limits::check_size;
pub use rule_set::{PortSecurity, Rule, RuleAddresses, RuleSet, RuleSetId};
pub use rule_sets::RuleSets;

/// The address of the host and of Azure's load balancer: the tag `AzureLoadBalancer`.
pub const AZURE_LOAD_BALANCER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(168, 63, 129, 16);
