//! `effectiveNetworkSecurityGroups` of a network interface: what holds for it, as Azure shows it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_RULES, Rule, RuleAddresses, RuleSetId, RuleSets};
use crate::{
    effective::EffectiveError,
    model::{
        Access, Direction, NetworkSecurityGroup, PortRange, ResourceId, SecurityRuleAddresses,
        SecurityRuleProtocol, ServiceTag, Topology,
    },
};

/// The answer to `effectiveNetworkSecurityGroups`: `{"value": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveSecurityGroups {
    pub value: Vec<EffectiveSecurityGroup>,
}

/// `EffectiveNetworkSecurityGroup`: one of the interface's two groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveSecurityGroup {
    pub network_security_group: SubResource,
    pub association: Association,
    /// Inbound ones first, each direction in the order of priority.
    pub effective_security_rules: Vec<EffectiveSecurityRule>,
    /// What each tag stands for here.
    pub tag_map: BTreeMap<String, Vec<IpNet>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubResource {
    pub id: String,
}

impl From<&ResourceId> for SubResource {
    fn from(id: &ResourceId) -> Self {
        Self { id: id.to_string() }
    }
}

/// `EffectiveNetworkSecurityGroupAssociation`: by which of the two the group holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Association {
    Subnet(SubResource),
    NetworkInterface(SubResource),
}

/// `EffectiveNetworkSecurityRule`. Of each pair the singular is the first of the plural.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveSecurityRule {
    /// `securityRules/web`, `defaultSecurityRules/DenyAllInBound`
    pub name: String,
    /// `All` for any.
    pub protocol: String,
    /// `0-65535` for any, `22-22` for one.
    pub source_port_range: String,
    pub destination_port_range: String,
    pub source_port_ranges: Vec<String>,
    pub destination_port_ranges: Vec<String>,
    /// A tag or a prefix; nothing of application security groups without members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_address_prefix: Option<String>,
    /// The tag and the prefixes as written; of application security groups their members.
    pub source_address_prefixes: Vec<String>,
    pub destination_address_prefixes: Vec<String>,
    /// What a tag, or an application security group, comes to here; empty of what has neither.
    pub expanded_source_address_prefix: Vec<IpNet>,
    pub expanded_destination_address_prefix: Vec<IpNet>,
    pub access: Access,
    pub priority: u16,
    pub direction: Direction,
}

/// The groups that hold for the interface `nic`, its subnet's first; none where everything is
/// allowed.
///
/// # Errors
///
/// Where there is no such interface.
pub fn effective_security_groups(
    topology: &Topology,
    nic: &ResourceId,
) -> Result<EffectiveSecurityGroups, EffectiveError> {
    let unknown = || EffectiveError::UnknownNetworkInterface(nic.clone());
    let interface = topology.network_interfaces.get(nic).ok_or_else(unknown)?;
    let primary = interface.ip_configurations.first().ok_or_else(unknown)?;
    let mut sets = RuleSets::new(topology, None);
    let security = sets.of_nic(interface);
    let of_nic = interface.network_security_group.as_ref();
    // Both lists are of the same groups, in opposite orders.
    let pairs = security.inbound.iter().zip(security.outbound.iter().rev());
    let count = security.inbound.len();
    let groups = pairs.enumerate().filter_map(|(at, (inbound, outbound))| {
        let group = topology.network_security_groups.get(&inbound.group)?;
        let is_last = at + 1 == count;
        let association = match of_nic == Some(&inbound.group) && is_last {
            true => Association::NetworkInterface(nic.into()),
            false => Association::Subnet((&primary.subnet).into()),
        };
        let rules = [inbound, outbound].map(|id| rules(&sets, id, group));
        Some(EffectiveSecurityGroup {
            network_security_group: (&group.id).into(),
            association,
            effective_security_rules: rules.into_iter().flatten().collect(),
            tag_map: sets.tags(inbound),
        })
    });
    Ok(EffectiveSecurityGroups {
        value: groups.collect(),
    })
}

/// The rules of one set, which are the group's own of that direction and the default ones.
fn rules(
    sets: &RuleSets<'_>,
    id: &RuleSetId,
    group: &NetworkSecurityGroup,
) -> Vec<EffectiveSecurityRule> {
    let own = group.rules.iter();
    let own = own.filter(|rule| rule.direction == id.direction);
    let own = own.map(|rule| {
        let ends = [&rule.source, &rule.destination];
        ("securityRules", ends.map(|end| written(&end.addresses)))
    });
    let defaults = DEFAULT_RULES.iter();
    let defaults = defaults.filter(|rule| rule.direction == id.direction);
    let defaults = defaults.map(|rule| {
        let ends = [rule.source, rule.destination];
        let ends = ends.map(|tag| match tag {
            Some(tag) => Written::Named(vec![tag.as_str().to_owned()]),
            None => Written::Any,
        });
        ("defaultSecurityRules", ends)
    });
    let set = sets.get(id).map(|set| set.rules.as_slice());
    let written = own.chain(defaults);
    let pairs = set.unwrap_or_default().iter().zip(written);
    pairs
        .map(|(rule, (list, ends))| shown(rule, id.direction, list, ends))
        .collect()
}

/// The addresses of one end of a rule, as its group says them.
enum Written {
    Any,
    /// With a tag.
    Named(Vec<String>),
    Prefixes(Vec<String>),
    Members,
}

fn written(addresses: &SecurityRuleAddresses) -> Written {
    match addresses {
        SecurityRuleAddresses::Any => Written::Any,
        SecurityRuleAddresses::Some { prefixes, tag } => {
            let prefixes = prefixes.iter().map(ToString::to_string);
            match tag {
                Some(tag) => {
                    let tag = std::iter::once(tag.as_str().to_owned());
                    Written::Named(tag.chain(prefixes).collect())
                }
                None => Written::Prefixes(prefixes.collect()),
            }
        }
        SecurityRuleAddresses::ApplicationSecurityGroups(_) => Written::Members,
    }
}

fn shown(
    rule: &Rule,
    direction: Direction,
    list: &str,
    [source, destination]: [Written; 2],
) -> EffectiveSecurityRule {
    let (sources, expanded_sources) = addresses(source, &rule.source);
    let (destinations, expanded_destinations) = addresses(destination, &rule.destination);
    let [source_ports, destination_ports] = [&rule.source_ports, &rule.destination_ports]
        .map(|ranges| ranges.iter().map(range).collect::<Vec<_>>());
    let first = |all: &[String]| all.first().cloned().unwrap_or_default();
    EffectiveSecurityRule {
        name: format!("{list}/{}", rule.name),
        protocol: match rule.protocol {
            SecurityRuleProtocol::Any => "All",
            protocol => protocol.as_str(),
        }
        .to_owned(),
        source_port_range: first(&source_ports),
        destination_port_range: first(&destination_ports),
        source_port_ranges: source_ports,
        destination_port_ranges: destination_ports,
        source_address_prefix: sources.first().cloned(),
        destination_address_prefix: destinations.first().cloned(),
        source_address_prefixes: sources,
        destination_address_prefixes: destinations,
        expanded_source_address_prefix: expanded_sources,
        expanded_destination_address_prefix: expanded_destinations,
        access: rule.access,
        priority: rule.priority,
        direction,
    }
}

fn range(range: &PortRange) -> String {
    format!("{}-{}", range.first, range.last)
}

/// As written, and expanded where that says more.
fn addresses(written: Written, expanded: &RuleAddresses) -> (Vec<String>, Vec<IpNet>) {
    let all = || match expanded {
        RuleAddresses::Any => Vec::new(),
        RuleAddresses::Prefixes(prefixes) => prefixes.to_vec(),
    };
    match written {
        Written::Any => (["0.0.0.0/0", "::/0"].map(str::to_owned).into(), Vec::new()),
        Written::Named(texts) => (texts, all()),
        Written::Prefixes(texts) => (texts, Vec::new()),
        Written::Members => (all().iter().map(ToString::to_string).collect(), all()),
    }
}

impl RuleSets<'_> {
    /// What each tag stands for in the place of a set.
    fn tags(&self, id: &RuleSetId) -> BTreeMap<String, Vec<IpNet>> {
        let Some(place) = self.place(id) else {
            return BTreeMap::new();
        };
        let tags = ServiceTag::ALL.into_iter();
        tags.map(|tag| (tag.as_str().to_owned(), place.tag(tag).to_vec()))
            .collect()
    }
}
