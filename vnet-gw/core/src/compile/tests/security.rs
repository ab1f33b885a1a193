//! Rule sets of images against a reference that reads groups as they are written: what a tag stands
//! for is asked anew for each address, and no list of prefixes is made.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use proptest::prelude::*;

use super::{
    property::alter,
    random::{Spec, build, specs},
};
use crate::{
    compile::{CompileOptions, Compiled, Image, compile, compile_again},
    effective::tests::build::{ip, net},
    model::{
        Access, ApplicationSecurityGroup, Direction, NetworkInterface, NetworkSecurityGroup,
        PeeringState, PortRange, ResourceId, SecurityRule, SecurityRuleAddresses, SecurityRuleEnd,
        SecurityRuleProtocol, ServiceTag, Subnet, Topology, VirtualNetwork,
    },
    security::{Packet, decide},
};

/// Groups, and who is in which, by numbers that [`secure`] makes sense of.
#[derive(Clone, Debug)]
struct Groups {
    rules: Vec<Vec<RuleSpec>>,
    /// Of subnets and of interfaces, past the last for none.
    subnets: Vec<usize>,
    interfaces: Vec<usize>,
    /// Bits for two application security groups.
    members: Vec<u8>,
}

/// Inbound, allow, protocol, what source and destination are, ports.
type RuleSpec = (bool, bool, usize, [usize; 2], usize);

const PROTOCOLS: [SecurityRuleProtocol; 6] = [
    SecurityRuleProtocol::Any,
    SecurityRuleProtocol::Tcp,
    SecurityRuleProtocol::Udp,
    SecurityRuleProtocol::Icmp,
    SecurityRuleProtocol::Esp,
    SecurityRuleProtocol::Ah,
];

fn groups() -> impl Strategy<Value = Groups> {
    let ends = [0usize..10, 0usize..10];
    let rule = (any::<bool>(), any::<bool>(), 0usize..6, ends, 0usize..3);
    (
        prop::collection::vec(prop::collection::vec(rule, 0..6), 1..4),
        prop::collection::vec(0usize..5, 1..6),
        prop::collection::vec(0usize..6, 1..6),
        prop::collection::vec(0u8..4, 1..6),
    )
        .prop_map(|(rules, subnets, interfaces, members)| Groups {
            rules,
            subnets,
            interfaces,
            members,
        })
}

fn id(kind: &str, number: usize) -> ResourceId {
    ResourceId::new(&format!(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/{kind}/g{number}"
    ))
}

fn addresses(number: usize) -> SecurityRuleAddresses {
    let some = |prefixes: &[&str], tag| SecurityRuleAddresses::Some {
        prefixes: prefixes.iter().map(|prefix| net(prefix)).collect(),
        tag,
    };
    let asgs = |numbers: &[usize]| {
        let ids = numbers.iter();
        ids.map(|number| id("applicationSecurityGroups", *number))
            .collect()
    };
    match number {
        0 => SecurityRuleAddresses::Any,
        1 | 2 => some(&[], Some(ServiceTag::VirtualNetwork)),
        3 => some(&[], Some(ServiceTag::Internet)),
        4 => some(&[], Some(ServiceTag::AzureLoadBalancer)),
        5 => some(
            &["8.8.0.0/16", "10.0.0.0/9"],
            Some(ServiceTag::VirtualNetwork),
        ),
        6 => some(&["10.0.0.0/8", "10.1.0.0/16", "fd00::/16"], None),
        7 => some(&["10.1.0.4/32", "172.0.0.0/8"], Some(ServiceTag::Internet)),
        8 => SecurityRuleAddresses::ApplicationSecurityGroups(asgs(&[0])),
        _ => SecurityRuleAddresses::ApplicationSecurityGroups(asgs(&[0, 1])),
    }
}

fn rules(specs: &[RuleSpec]) -> Vec<SecurityRule> {
    let rules = specs.iter().zip(100u16..);
    let rules = rules.map(
        |(&(inbound, allow, protocol, [source, destination], ports), priority)| {
            let range = |first, last| PortRange { first, last };
            let ports = match ports {
                0 => vec![PortRange::ANY],
                1 => vec![range(22, 22), range(80, 90)],
                _ => vec![range(1_000, 65_535)],
            };
            let end = |addresses, ports| SecurityRuleEnd { addresses, ports };
            SecurityRule {
                name: format!("r{priority}").into(),
                direction: match inbound {
                    true => Direction::Inbound,
                    false => Direction::Outbound,
                },
                priority,
                access: if allow { Access::Allow } else { Access::Deny },
                protocol: PROTOCOLS[protocol],
                source: end(addresses(source), vec![PortRange::ANY]),
                destination: end(addresses(destination), ports),
            }
        },
    );
    rules.collect()
}

/// Gives a topology its groups, and takes those away that it had.
fn secure(t: &mut Topology, spec: &Groups) {
    t.network_security_groups = Default::default();
    for (number, specs) in spec.rules.iter().enumerate() {
        let group = NetworkSecurityGroup {
            id: id("networkSecurityGroups", number),
            rules: rules(specs),
            flush_connection: number == 1,
            tags: BTreeMap::new(),
        };
        t.network_security_groups
            .insert(group.id.clone(), group.into());
    }
    for number in 0..2 {
        let group = ApplicationSecurityGroup {
            id: id("applicationSecurityGroups", number),
            tags: BTreeMap::new(),
        };
        t.application_security_groups
            .insert(group.id.clone(), group.into());
    }
    let group =
        |number: usize| (number < spec.rules.len()).then(|| id("networkSecurityGroups", number));
    let mut at = 0;
    let networks: Vec<ResourceId> = t.virtual_networks.keys().cloned().collect();
    for (number, network) in networks.iter().enumerate() {
        let network = t.virtual_networks.get_mut(network).unwrap();
        for peering in network.peerings.values_mut() {
            let bits = spec.members[number % spec.members.len()];
            peering.allow_virtual_network_access = bits != 0;
        }
        for subnet in network.subnets.values_mut() {
            at += 1;
            let number = spec.subnets[at % spec.subnets.len()];
            subnet.network_security_group = group(number).filter(|_| !subnet.is_gateway_subnet());
        }
    }
    let interfaces: Vec<ResourceId> = t.network_interfaces.keys().cloned().collect();
    for (at, interface) in interfaces.iter().enumerate() {
        let interface = t.network_interfaces.get_mut(interface).unwrap();
        interface.network_security_group = group(spec.interfaces[at % spec.interfaces.len()]);
        let bits = spec.members[at % spec.members.len()];
        let members = (0..2).filter(|bit| bits >> bit & 1 == 1);
        interface.application_security_groups = members
            .map(|bit| id("applicationSecurityGroups", bit))
            .collect();
    }
}

/// Gives the groups that are there other rules.
fn edit(t: &mut Topology, spec: &Groups) {
    for (number, specs) in spec.rules.iter().enumerate() {
        let group = t
            .network_security_groups
            .get_mut(&id("networkSecurityGroups", number));
        if let Some(group) = group {
            group.rules = rules(specs);
        }
    }
}

fn secured(spec: &Spec, groups: &Groups) -> Topology {
    let mut t = build(spec);
    secure(&mut t, groups);
    t
}

/// Where groups are asked.
struct Reference<'a> {
    t: &'a Topology,
    vnet: &'a VirtualNetwork,
    subnet: &'a Subnet,
    nic: &'a NetworkInterface,
}

impl Reference<'_> {
    fn in_virtual_network(&self, address: IpAddr) -> bool {
        let any = |prefixes: &[IpNet]| prefixes.iter().any(|prefix| prefix.contains(&address));
        let peered = self.vnet.peerings.values().any(|peering| {
            peering.peering_state == PeeringState::Connected
                && peering.allow_virtual_network_access
                && any(&peering.remote_address_space)
        });
        let gateway = self
            .t
            .gateway_used_by(self.vnet)
            .map(|used| &used.gateway.id);
        let behind = self.t.connections.values().any(|connection| {
            Some(&connection.gateway) == gateway && any(&connection.remote_prefixes)
        });
        let table = self.subnet.route_table.as_ref();
        let routed = table.is_some_and(|table| {
            let routes = &self.t.route_tables[table].routes;
            routes
                .iter()
                .any(|route| route.address_prefix.contains(&address))
        });
        address == ip("168.63.129.16")
            || any(&self.vnet.address_space)
            || peered
            || behind
            || routed
    }

    fn is(&self, tag: ServiceTag, address: IpAddr) -> bool {
        match tag {
            ServiceTag::VirtualNetwork => self.in_virtual_network(address),
            ServiceTag::AzureLoadBalancer => address == ip("168.63.129.16"),
            ServiceTag::Internet => !self.in_virtual_network(address),
        }
    }

    fn is_in(&self, addresses: &SecurityRuleAddresses, address: IpAddr) -> bool {
        match addresses {
            SecurityRuleAddresses::Any => true,
            SecurityRuleAddresses::Some { prefixes, tag } => {
                prefixes.iter().any(|prefix| prefix.contains(&address))
                    || tag.is_some_and(|tag| self.is(tag, address))
            }
            SecurityRuleAddresses::ApplicationSecurityGroups(groups) => {
                self.t.network_interfaces.values().any(|nic| {
                    let mine = &nic.application_security_groups;
                    nic.ip_configurations.iter().any(|one| {
                        one.private_ip_address == address
                            && self.vnet.subnets.contains_key(&one.subnet)
                    }) && groups.iter().any(|group| mine.contains(group))
                })
            }
        }
    }

    /// The name of the rule that decides, and whether it allows.
    fn rule(&self, group: &ResourceId, direction: Direction, packet: &Packet) -> (String, bool) {
        let mut best: Option<&SecurityRule> = None;
        for rule in &self.t.network_security_groups[group].rules {
            let protocol = match rule.protocol {
                SecurityRuleProtocol::Any => true,
                SecurityRuleProtocol::Tcp => packet.protocol == 6,
                SecurityRuleProtocol::Udp => packet.protocol == 17,
                SecurityRuleProtocol::Icmp => packet.protocol == 1 || packet.protocol == 58,
                SecurityRuleProtocol::Esp => packet.protocol == 50,
                SecurityRuleProtocol::Ah => packet.protocol == 51,
            };
            let port = packet.destination_port;
            let ports = rule.destination.ports.iter();
            let mut ports = ports.map(|range| (range.first..=range.last).contains(&port));
            let with_ports = packet.protocol == 6 || packet.protocol == 17;
            if rule.direction == direction
                && protocol
                && (!with_ports || ports.any(|is_in| is_in))
                && self.is_in(&rule.source.addresses, packet.source)
                && self.is_in(&rule.destination.addresses, packet.destination)
                && best.is_none_or(|best| rule.priority < best.priority)
            {
                best = Some(rule);
            }
        }
        if let Some(rule) = best {
            return (rule.name.to_string(), rule.access == Access::Allow);
        }
        let inside = [packet.source, packet.destination]
            .iter()
            .all(|address| self.in_virtual_network(*address));
        let balancer = packet.source == ip("168.63.129.16");
        let outside = !self.in_virtual_network(packet.destination);
        let (name, allowed) = match direction {
            Direction::Inbound if inside => ("AllowVnetInBound", true),
            Direction::Inbound if balancer => ("AllowAzureLoadBalancerInBound", true),
            Direction::Inbound => ("DenyAllInBound", false),
            Direction::Outbound if inside => ("AllowVnetOutBound", true),
            Direction::Outbound if outside => ("AllowInternetOutBound", true),
            Direction::Outbound => ("DenyAllOutBound", false),
        };
        (name.to_owned(), allowed)
    }

    fn allows(&self, direction: Direction, packet: &Packet) -> bool {
        let groups = [
            &self.subnet.network_security_group,
            &self.nic.network_security_group,
        ];
        let mut groups = groups.into_iter().flatten();
        groups.all(|group| self.rule(group, direction, packet).1)
    }
}

/// Addresses at the edges of everything that a tag may mean.
fn edges(t: &Topology) -> Vec<IpAddr> {
    let networks = t.virtual_networks.values();
    let spaces = networks.flat_map(|vnet| &vnet.address_space).copied();
    let tables = t.route_tables.values();
    let routes = tables
        .flat_map(|table| &table.routes)
        .map(|route| route.address_prefix);
    let connections = t.connections.values();
    let behind = connections
        .flat_map(|connection| &connection.remote_prefixes)
        .copied();
    let prefixes = spaces
        .chain(routes)
        .chain(behind)
        .map(|prefix| prefix.trunc());
    let around = |prefix: IpNet| match prefix {
        IpNet::V4(prefix) => {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.map(|bits| IpAddr::V4(bits.into()))
        }
        IpNet::V6(prefix) => {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.map(|bits| IpAddr::V6(bits.into()))
        }
    };
    let nics = t.network_interfaces.values();
    let own = nics.map(|nic| nic.ip_configurations[0].private_ip_address);
    let fixed = ["168.63.129.16", "168.63.129.17", "8.8.8.8", "2001:db8:9::1"];
    let mut all: Vec<IpAddr> = prefixes
        .flat_map(around)
        .chain(own)
        .chain(fixed.map(ip))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn check(t: &Topology, image: &Image) -> Result<(), TestCaseError> {
    let edges = edges(t);
    for nic in t.network_interfaces.values() {
        let Some(port) = image.ports.get(&nic.id) else {
            continue;
        };
        let primary = &nic.ip_configurations[0];
        let vnet = t.vnet_of_subnet(&primary.subnet).unwrap();
        let subnet = &vnet.subnets[&primary.subnet];
        let reference = Reference {
            t,
            vnet,
            subnet,
            nic,
        };
        let own = primary.private_ip_address;
        for (at, other) in edges.iter().enumerate() {
            let protocol = [6, 17, 1, 58, 50, 51, 132][at % 7];
            let packet = |source, destination| Packet {
                protocol,
                source,
                destination,
                source_port: 5_000,
                destination_port: [22, 91, 80, 2_000][at % 4],
            };
            for (direction, ids, packet) in [
                (
                    Direction::Inbound,
                    &port.security.inbound,
                    packet(*other, own),
                ),
                (
                    Direction::Outbound,
                    &port.security.outbound,
                    packet(own, *other),
                ),
            ] {
                for set in ids.iter().map(|id| &image.rule_sets[id]) {
                    let rule = crate::security::evaluate(set, &packet).unwrap();
                    let decided = (rule.name.to_string(), rule.access == Access::Allow);
                    let expected = reference.rule(&set.id.group, direction, &packet);
                    prop_assert_eq!(decided, expected, "{:?} {}", packet, &nic.id);
                }
                let sets = ids.iter().map(|id| &*image.rule_sets[id]);
                let verdict = decide(sets, &packet);
                prop_assert_eq!(verdict.is_allowed(), reference.allows(direction, &packet));
            }
        }
    }
    // Nothing is there that no port asks for.
    let ports = image.ports.values();
    let asked = ports.flat_map(|port| port.security.inbound.iter().chain(&port.security.outbound));
    let asked: std::collections::BTreeSet<_> = asked.collect();
    prop_assert_eq!(asked.len(), image.rule_sets.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rule_sets_say_what_the_groups_say(spec in specs(), groups in groups()) {
        let t = secured(&spec, &groups);
        let image = compile(&t, &CompileOptions::default(), None).unwrap();
        check(&t, &image)?;
    }

    #[test]
    fn a_previous_image_changes_no_rule(
        spec in specs(),
        all in prop::collection::vec(groups(), 2..4),
    ) {
        let options = CompileOptions::default();
        let mut t = secured(&spec, &all[0]);
        let mut image = Arc::new(compile(&t, &options, None).unwrap());
        for groups in &all[1..] {
            let old = t.clone();
            secure(&mut t, groups);
            let fresh = compile(&t, &options, None).unwrap();
            let before = Compiled { topology: &old, shared_keys: options.shared_keys, image: &image };
            let again = compile_again(before, &t, &options).unwrap();
            prop_assert_eq!(&*again, &fresh);
            prop_assert_eq!(&compile(&t, &options, Some(&image)).unwrap(), &fresh);
            for (id, set) in &again.rule_sets {
                if let Some(before) = image.rule_sets.get(id).filter(|before| *before == set) {
                    prop_assert!(Arc::ptr_eq(before, set));
                }
            }
            image = again;
        }
    }

    #[test]
    fn compiling_again_comes_to_the_same_rules(
        spec in specs(),
        first in groups(),
        steps in prop::collection::vec(
            (prop::option::of(groups()), (0u8..10, 0usize..64, any::<u8>())),
            1..8,
        ),
    ) {
        let options = CompileOptions::default();
        let mut t = secured(&spec, &first);
        let mut image = Arc::new(compile(&t, &options, None).unwrap());
        for (groups, change) in steps {
            let old = t.clone();
            match groups {
                Some(groups) => edit(&mut t, &groups),
                None => alter(&mut t, change),
            }
            let before = Compiled { topology: &old, shared_keys: options.shared_keys, image: &image };
            let again = compile_again(before, &t, &options).unwrap();
            prop_assert_eq!(&*again, &compile(&t, &options, None).unwrap());
            if old == t {
                prop_assert!(Arc::ptr_eq(&image, &again));
            }
            image = again;
        }
    }
}
