//! From groups to what they come to where they are used.

use std::{
    collections::{BTreeMap, hash_map::Entry},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    DEFAULT_RULES, DefaultRule, PortSecurity, Rule, RuleAddresses, RuleSet, RuleSetId,
    place::{Place, outermost},
};
use crate::{
    effective::precedence::UserRoutes,
    hash::FastMap,
    model::{
        Direction, NetworkInterface, NetworkSecurityGroup, PortRange, ResourceId, SecurityRule,
        SecurityRuleAddresses, SecurityRuleEnd, SecurityRuleProtocol, ServiceTag, Subnet, Topology,
        VirtualNetwork,
    },
};

/// Sets by their names.
type Sets = BTreeMap<RuleSetId, Arc<RuleSet>>;

/// Makes the rule sets that network interfaces need, each once. What no interface asks for costs
/// nothing.
pub struct RuleSets<'a> {
    topology: &'a Topology,
    /// Lends its memory to what comes out equal.
    previous: Option<&'a Sets>,
    sets: Sets,
    /// By the interface's group and the subnet.
    ports: FastMap<(Option<&'a ResourceId>, &'a ResourceId), PortSecurity>,
    places: FastMap<u64, Place>,
    /// Of a group's rules, those that are the same in every place.
    common: FastMap<&'a ResourceId, Vec<Option<Arc<Rule>>>>,
    members: Option<Members<'a>>,
}

/// By application security group, and by the VNet's key: the addresses of the interfaces in it.
type Members<'a> = FastMap<(&'a ResourceId, &'a str), Vec<IpNet>>;

impl<'a> RuleSets<'a> {
    pub fn new(topology: &'a Topology, previous: Option<&'a Sets>) -> Self {
        Self {
            topology,
            previous,
            sets: Sets::new(),
            ports: FastMap::default(),
            places: FastMap::default(),
            common: FastMap::default(),
            members: None,
        }
    }

    /// What holds for an interface; nothing of one whose subnet is not there.
    pub fn of_nic(&mut self, nic: &'a NetworkInterface) -> PortSecurity {
        let topology = self.topology;
        let home = nic.ip_configurations.first().and_then(|primary| {
            let vnet = topology.vnet_of_subnet(&primary.subnet)?;
            Some((vnet, vnet.subnets.get(&primary.subnet)?))
        });
        match home {
            Some((vnet, subnet)) => self.of_nic_in(nic, vnet, subnet),
            None => PortSecurity::default(),
        }
    }

    /// The same where the subnet of its primary ipConfiguration is at hand, and the VNet of that.
    pub fn of_nic_in(
        &mut self,
        nic: &'a NetworkInterface,
        vnet: &'a VirtualNetwork,
        subnet: &'a Subnet,
    ) -> PortSecurity {
        let own = nic.network_security_group.as_ref();
        if own.is_none() && subnet.network_security_group.is_none() {
            return PortSecurity::default();
        }
        if let Some(known) = self.ports.get(&(own, &subnet.id)) {
            return known.clone();
        }
        let mut security = PortSecurity::default();
        // Inbound the subnet's comes first, outbound the NIC's (section C, "NSG").
        for group in [subnet.network_security_group.as_ref(), own] {
            let groups = &self.topology.network_security_groups;
            let Some(group) = group.and_then(|id| groups.get(id)) else {
                continue;
            };
            let [inbound, outbound] = [Direction::Inbound, Direction::Outbound]
                .map(|direction| self.of_group(group, direction, vnet, subnet));
            security.inbound.push(inbound);
            security.outbound.insert(0, outbound);
        }
        self.ports.insert((own, &subnet.id), security.clone());
        security
    }

    /// The set of that name, if it was asked for.
    pub fn get(&self, id: &RuleSetId) -> Option<&Arc<RuleSet>> {
        self.sets.get(id)
    }

    /// The place of such a set.
    pub(super) fn place(&self, id: &RuleSetId) -> Option<&Place> {
        self.places.get(&id.context)
    }

    /// All that were asked for.
    pub fn into_sets(self) -> Sets {
        self.sets
    }

    fn of_group(
        &mut self,
        group: &'a NetworkSecurityGroup,
        direction: Direction,
        vnet: &'a VirtualNetwork,
        subnet: &'a Subnet,
    ) -> RuleSetId {
        let user = UserRoutes::of(self.topology, subnet.route_table.as_ref());
        let context = Place::number(vnet, subnet, user);
        let id = RuleSetId {
            group: group.id.clone(),
            direction,
            context,
        };
        if self.sets.contains_key(&id) {
            return id;
        }
        let topology = self.topology;
        let place = self.places.entry(context);
        let place = place.or_insert_with(|| Place::new(topology, vnet, subnet));
        let has_groups = group.application_security_groups().next().is_some();
        let members = match has_groups {
            true => Some(&*self.members.get_or_insert_with(|| members(topology))),
            false => None,
        };
        let expansion = Expansion {
            place,
            vnet: vnet.id.key(),
            members,
        };
        let previous = self.previous.and_then(|sets| sets.get(&id));
        let count = group.rules.len();
        let common = self.common.entry(&group.id);
        let common = common.or_insert_with(|| vec![None; count]);
        let made = RuleSet {
            rules: expansion.rules(group, direction, common, previous.map(|set| &set.rules)),
            flush_connection: group.flush_connection,
            id: id.clone(),
        };
        let shared = match previous {
            Some(previous) if **previous == made => Arc::clone(previous),
            _ => Arc::new(made),
        };
        self.sets.insert(id.clone(), shared);
        id
    }
}

/// The addresses of every interface that is in an application security group.
fn members(topology: &Topology) -> Members<'_> {
    let mut members = Members::default();
    for nic in topology.network_interfaces.values() {
        let Some(primary) = nic.ip_configurations.first() else {
            continue;
        };
        for group in &nic.application_security_groups {
            let key = (group, primary.subnet.parent_key());
            let addresses = nic.ip_configurations.iter();
            let addresses = addresses.map(|one| IpNet::from(one.private_ip_address));
            match members.entry(key) {
                Entry::Occupied(entry) => entry.into_mut().extend(addresses),
                Entry::Vacant(entry) => {
                    entry.insert(addresses.collect());
                }
            }
        }
    }
    members
}

/// What rules stand for in one place.
struct Expansion<'e, 'a> {
    place: &'e Place,
    /// The key of its id.
    vnet: &'e str,
    /// Where a rule asks for them.
    members: Option<&'e Members<'a>>,
}

impl Expansion<'_, '_> {
    /// The rules of one direction with the default rules behind them, in the memory of `before`
    /// where they are equal, and in that of `common`, which has one entry for each of the group's.
    fn rules(
        &self,
        group: &NetworkSecurityGroup,
        direction: Direction,
        common: &mut [Option<Arc<Rule>>],
        before: Option<&Vec<Arc<Rule>>>,
    ) -> Vec<Arc<Rule>> {
        let mut rules: Vec<Arc<Rule>> = Vec::with_capacity(group.rules.len() + 3);
        let shared = |made: Rule, at: usize| {
            let before = before.and_then(|before| before.get(at));
            match before.filter(|before| ***before == made) {
                Some(before) => Arc::clone(before),
                None => Arc::new(made),
            }
        };
        for (written, common) in group.rules.iter().zip(common) {
            if written.direction != direction {
                continue;
            }
            let made = match common {
                Some(made) => Arc::clone(made),
                None => shared(self.rule(written), rules.len()),
            };
            if common.is_none() && is_common(written) {
                *common = Some(Arc::clone(&made));
            }
            rules.push(made);
        }
        for default in DEFAULT_RULES
            .iter()
            .filter(|rule| rule.direction == direction)
        {
            let made = shared(self.default_rule(default), rules.len());
            rules.push(made);
        }
        rules
    }

    fn rule(&self, rule: &SecurityRule) -> Rule {
        Rule {
            name: Arc::clone(&rule.name),
            priority: rule.priority,
            access: rule.access,
            protocol: rule.protocol,
            source: self.addresses(&rule.source),
            source_ports: rule.source.ports.clone(),
            destination: self.addresses(&rule.destination),
            destination_ports: rule.destination.ports.clone(),
        }
    }

    fn default_rule(&self, rule: &DefaultRule) -> Rule {
        let addresses = |tag: Option<ServiceTag>| match tag {
            Some(tag) => RuleAddresses::Prefixes(Arc::clone(self.place.tag(tag))),
            None => RuleAddresses::Any,
        };
        Rule {
            name: rule.name.into(),
            priority: rule.priority,
            access: rule.access,
            protocol: SecurityRuleProtocol::Any,
            source: addresses(rule.source),
            source_ports: vec![PortRange::ANY],
            destination: addresses(rule.destination),
            destination_ports: vec![PortRange::ANY],
        }
    }

    fn addresses(&self, end: &SecurityRuleEnd) -> RuleAddresses {
        let prefixes = match &end.addresses {
            SecurityRuleAddresses::Any => return RuleAddresses::Any,
            SecurityRuleAddresses::Some { prefixes, tag } => match tag {
                None => outermost(prefixes.clone()).into(),
                Some(tag) if prefixes.is_empty() => Arc::clone(self.place.tag(*tag)),
                Some(tag) => {
                    let tagged = self.place.tag(*tag).iter();
                    outermost(tagged.chain(prefixes).copied().collect()).into()
                }
            },
            SecurityRuleAddresses::ApplicationSecurityGroups(groups) => {
                let members = groups.iter().filter_map(|group| {
                    let members = self.members?;
                    members.get(&(group, self.vnet))
                });
                outermost(members.flatten().copied().collect()).into()
            }
        };
        RuleAddresses::Prefixes(prefixes)
    }
}

/// Whether the rule is the same in every place.
fn is_common(rule: &SecurityRule) -> bool {
    [&rule.source, &rule.destination]
        .into_iter()
        .all(|end| match &end.addresses {
            SecurityRuleAddresses::Any => true,
            SecurityRuleAddresses::Some { tag, .. } => {
                matches!(tag, None | Some(ServiceTag::AzureLoadBalancer))
            }
            SecurityRuleAddresses::ApplicationSecurityGroups(_) => false,
        })
}
