//! Rule sets held against expectations that were worked out by hand.

mod effective;
mod evaluating;
mod sharing;
mod tags;

use std::{collections::BTreeMap, sync::Arc};

use super::{Packet, Rule, RuleAddresses, RuleSet, RuleSets};
use crate::{
    effective::tests::build::{ip, net, nic_id, subnet_id, vnet_id},
    model::{
        Access, ApplicationSecurityGroup, Direction, NetworkSecurityGroup, PortRange, ResourceId,
        SecurityRule, SecurityRuleAddresses, SecurityRuleEnd, SecurityRuleProtocol, ServiceTag,
        Topology,
    },
};

pub(super) fn group_id(name: &str) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/{name}"
    ))
}

pub(super) fn asg_id(name: &str) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/applicationSecurityGroups/{name}"
    ))
}

pub(super) fn any() -> SecurityRuleAddresses {
    SecurityRuleAddresses::Any
}

pub(super) fn tag(tag: ServiceTag) -> SecurityRuleAddresses {
    with_tag(&[], Some(tag))
}

pub(super) fn prefixes(prefixes: &[&str]) -> SecurityRuleAddresses {
    with_tag(prefixes, None)
}

pub(super) fn with_tag(prefixes: &[&str], tag: Option<ServiceTag>) -> SecurityRuleAddresses {
    SecurityRuleAddresses::Some {
        prefixes: prefixes.iter().map(|prefix| net(prefix)).collect(),
        tag,
    }
}

pub(super) fn members_of(names: &[&str]) -> SecurityRuleAddresses {
    SecurityRuleAddresses::ApplicationSecurityGroups(names.iter().map(|one| asg_id(one)).collect())
}

/// An inbound rule of any protocol and ports.
pub(super) fn rule(
    priority: u16,
    access: Access,
    source: SecurityRuleAddresses,
    destination: SecurityRuleAddresses,
) -> SecurityRule {
    let end = |addresses| SecurityRuleEnd {
        addresses,
        ports: vec![PortRange::ANY],
    };
    SecurityRule {
        name: format!("r{priority}").into(),
        direction: Direction::Inbound,
        priority,
        access,
        protocol: SecurityRuleProtocol::Any,
        source: end(source),
        destination: end(destination),
    }
}

pub(super) trait Secure {
    fn group(&mut self, name: &str, rules: Vec<SecurityRule>);
    fn asg(&mut self, name: &str);
    fn secure_subnet(&mut self, vnet: &str, subnet: &str, group: &str);
    fn secure_nic(&mut self, nic: &str, group: &str);
    fn join(&mut self, nic: &str, asgs: &[&str]);
}

impl Secure for Topology {
    fn group(&mut self, name: &str, rules: Vec<SecurityRule>) {
        let group = NetworkSecurityGroup {
            id: group_id(name),
            rules,
            flush_connection: false,
            tags: BTreeMap::new(),
        };
        self.network_security_groups
            .insert(group_id(name), group.into());
    }

    fn asg(&mut self, name: &str) {
        let group = ApplicationSecurityGroup {
            id: asg_id(name),
            tags: BTreeMap::new(),
        };
        self.application_security_groups
            .insert(asg_id(name), group.into());
    }

    fn secure_subnet(&mut self, vnet: &str, subnet: &str, group: &str) {
        let vnet_of = self.virtual_networks.get_mut(&vnet_id(vnet)).unwrap();
        let subnet = vnet_of.subnets.get_mut(&subnet_id(vnet, subnet)).unwrap();
        subnet.network_security_group = Some(group_id(group));
    }

    fn secure_nic(&mut self, nic: &str, group: &str) {
        let nic = self.network_interfaces.get_mut(&nic_id(nic)).unwrap();
        nic.network_security_group = Some(group_id(group));
    }

    fn join(&mut self, nic: &str, asgs: &[&str]) {
        let nic = self.network_interfaces.get_mut(&nic_id(nic)).unwrap();
        nic.application_security_groups = asgs.iter().map(|name| asg_id(name)).collect();
    }
}

/// The only inbound set of a NIC.
#[track_caller]
pub(super) fn inbound(topology: &Topology, nic: &str) -> Arc<RuleSet> {
    let mut sets = RuleSets::new(topology, None);
    let security = sets.of_nic(&topology.network_interfaces[&nic_id(nic)]);
    let [id] = security.inbound.as_slice() else {
        panic!("{security:?}");
    };
    Arc::clone(sets.get(id).unwrap())
}

pub(super) fn named<'a>(set: &'a RuleSet, name: &str) -> &'a Rule {
    set.rules.iter().find(|rule| &*rule.name == name).unwrap()
}

/// As text; `*` is any.
pub(super) fn shown(addresses: &RuleAddresses) -> Vec<String> {
    match addresses {
        RuleAddresses::Any => vec!["*".to_owned()],
        RuleAddresses::Prefixes(prefixes) => prefixes.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn packet(protocol: u8, source: &str, destination: &str, port: u16) -> Packet {
    Packet {
        protocol,
        source: ip(source),
        destination: ip(destination),
        source_port: 40_000,
        destination_port: port,
    }
}
