//! Network security groups as packets meet them (section C, "NSG").
//!
//! A group says tags and application security groups; what stands for them depends on the VNet and
//! on the subnet's user routes. A [`RuleSet`] is one group in one such place and one direction, with
//! the default rules at its end, as plain prefixes: what is evaluated, explained, and compiled for
//! the data path.

mod rule_set;

pub use rule_set::{PortSecurity, Rule, RuleAddresses, RuleSet, RuleSetId};
