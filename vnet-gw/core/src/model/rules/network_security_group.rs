//! Network security groups, application security groups, and what they are associated with (rule C
//! "NSG").

use std::collections::{BTreeSet, hash_map::Entry};

use super::{Locations, check_location, check_locations, error, not_found};
use crate::{
    hash::FastMap,
    model::{
        NetworkSecurityGroup, ResourceId, SecurityRuleAddresses, Topology, error::Errors,
        read::NetworkInterfaceDraft,
    },
};

/// A network interface, and where it is.
type Interface<'a> = (&'a NetworkInterfaceDraft, Option<&'a str>);

/// The virtual network that the interfaces of an application security group are in, by the key of
/// its id, and one of them.
type Homes<'a> = FastMap<&'a ResourceId, (&'a str, &'a ResourceId)>;

/// Orders the rules as they are asked: by direction, then priority. Equal ones are refused.
pub(super) fn sort(group: &mut NetworkSecurityGroup, errors: &mut Errors) {
    group
        .rules
        .sort_by_key(|rule| (rule.direction, rule.priority));
    for pair in group.rules.windows(2) {
        let [first, second] = pair else { continue };
        if (first.direction, first.priority) == (second.direction, second.priority) {
            let message = format!(
                "The security rules '{}' and '{}' have the same direction and the priority {}: \
                 change one.",
                first.name, second.name, first.priority
            );
            errors.push(error("SecurityRuleConflict", &group.id, message));
        }
    }
    limits(group, errors);
}

/// What Azure takes at most.
fn limits(group: &NetworkSecurityGroup, errors: &mut Errors) {
    let mut check = |what: &str, count: usize, limit: usize| {
        if count > limit {
            let message = format!("It has {count} {what}, and may have {limit}: use fewer.");
            errors.push(error("ResourceLimitExceeded", &group.id, message));
        }
    };
    check("security rules", group.rules.len(), MOST_RULES);
    let named: BTreeSet<&ResourceId> = group.application_security_groups().collect();
    let what = "application security groups in its rules";
    check(what, named.len(), MOST_APPLICATION_SECURITY_GROUPS);
    for rule in &group.rules {
        for (side, end) in [("source", &rule.source), ("destination", &rule.destination)] {
            let what = format!("{side} address prefixes in the rule '{}'", rule.name);
            if let SecurityRuleAddresses::Some { prefixes, .. } = &end.addresses {
                check(&what, prefixes.len(), MOST_PREFIXES);
            }
            let what = format!("{side} port ranges in the rule '{}'", rule.name);
            check(&what, end.ports.len(), MOST_PREFIXES);
        }
    }
}

const MOST_RULES: usize = 1_000;
/// Of one end of a rule, and port ranges of it.
const MOST_PREFIXES: usize = 4_000;
const MOST_APPLICATION_SECURITY_GROUPS: usize = 100;

/// Every group that is referred to is there and in the same region; the interfaces of an application
/// security group are in one virtual network, and so are those at both ends of a rule.
pub(super) fn check(
    topology: &Topology,
    interfaces: &[Interface<'_>],
    locations: &Locations<'_>,
    errors: &mut Errors,
) {
    for vnet in topology.virtual_networks.values() {
        for subnet in vnet.subnets.values() {
            if let Some(group) = &subnet.network_security_group
                && is_there(topology, group, &subnet.id, errors)
            {
                check_location(group, &vnet.id, locations, errors);
            }
        }
    }
    let mut homes = Homes::default();
    for (interface, location) in interfaces {
        let both = |group| location.zip(locations.get(group).copied());
        if let Some(group) = &interface.network_security_group
            && is_there(topology, group, &interface.id, errors)
        {
            check_locations(&interface.id, group, both(group), errors);
        }
        let Some(first) = interface.ip_configurations.first() else {
            continue;
        };
        let network = first.subnet.parent_key();
        for group in &first.application_security_groups {
            if !is_known(topology, group, &interface.id, errors) {
                continue;
            }
            check_locations(&interface.id, group, both(group), errors);
            match homes.entry(group) {
                Entry::Vacant(entry) => {
                    entry.insert((network, &interface.id));
                }
                Entry::Occupied(entry) if entry.get().0 != network => {
                    let other = entry.get().1;
                    let message = format!(
                        "The network interface {other}, which is in {group} too, is in another \
                         virtual network: use an application security group for each."
                    );
                    errors.push(error(DIFFERENT_NETWORKS, &interface.id, message));
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    for group in topology.network_security_groups.values() {
        check_rules(topology, group, &homes, locations, errors);
    }
}

const DIFFERENT_NETWORKS: &str = "ApplicationSecurityGroupsNotInSameVirtualNetwork";

fn check_rules(
    topology: &Topology,
    group: &NetworkSecurityGroup,
    homes: &Homes<'_>,
    locations: &Locations<'_>,
    errors: &mut Errors,
) {
    // Each once, however many rules have it.
    let named: BTreeSet<&ResourceId> = group.application_security_groups().collect();
    for other in named {
        if is_known(topology, other, &group.id, errors) {
            check_location(&group.id, other, locations, errors);
        }
    }
    for rule in &group.rules {
        let mut home: Option<(&str, &ResourceId)> = None;
        let ends = [&rule.source, &rule.destination];
        for other in ends.into_iter().flat_map(|end| end.addresses.groups()) {
            let Some((network, _)) = homes.get(other) else {
                continue;
            };
            match home {
                Some((first, known)) if first != *network => {
                    let message = format!(
                        "The security rule '{}' has the application security groups {known} and \
                         {other}, whose network interfaces are in different virtual networks: \
                         write a rule for each.",
                        rule.name
                    );
                    errors.push(error(DIFFERENT_NETWORKS, &group.id, message));
                    break;
                }
                _ => home = Some((network, other)),
            }
        }
    }
}

fn is_there(
    topology: &Topology,
    group: &ResourceId,
    whose: &ResourceId,
    errors: &mut Errors,
) -> bool {
    let known = &topology.network_security_groups;
    let found = known.contains_key(group);
    if !found {
        not_found("network security group", group, whose, known.keys(), errors);
    }
    found
}

fn is_known(
    topology: &Topology,
    group: &ResourceId,
    whose: &ResourceId,
    errors: &mut Errors,
) -> bool {
    let known = &topology.application_security_groups;
    let found = known.contains_key(group);
    if !found {
        let noun = "application security group";
        not_found(noun, group, whose, known.keys(), errors);
    }
    found
}
