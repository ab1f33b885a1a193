//! A network security group as people write them, and who has it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use vnet_gw_common::nsg::MAX_RULES;
use vnet_gw_core::{
    compile::{EndpointImage, Image, PortImage},
    model::{
        Access, ApplicationSecurityGroup, Direction, IpConfiguration, NetworkInterface,
        NetworkSecurityGroup, PortRange, ResourceId, SecurityRule, SecurityRuleAddresses,
        SecurityRuleEnd, SecurityRuleProtocol, ServiceTag, Subnet, Topology,
    },
    security::RuleSets,
};

use crate::{
    abi::UDP_PORT,
    frame::TCP_PORT,
    load,
    ours::{self, id},
    routes::{self, Random, Set},
    wire::{A_MAC, A_NET4, A4, C_MAC, C4, DEV_GC},
};

/// Which network interface has a group, with how many rules, default rules among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    None,
    /// The sender, in both directions; its outbound rules are so many.
    Sender(usize),
    /// One of the same VNet that has no part in the traffic.
    Elsewhere(usize),
}

/// How many default rules a direction has.
const DEFAULT_RULES: usize = 3;
/// Rules that admit the traffic, at most, each a part of the destinations.
const DECIDING: usize = 64;
/// How the names of those begin.
pub(crate) const DECIDES: &str = "decides";

/// `ours::image` with a third network interface, and groups.
pub(crate) fn image(set: &Set, groups: Groups) -> Result<Arc<Image>> {
    let mut image = ours::image(set);
    let third = id("networkInterfaces/c");
    add_third(&mut image, &third)?;
    let (holder, count) = match groups {
        Groups::None => return Ok(Arc::new(image)),
        Groups::Sender(count) => (id("networkInterfaces/a"), count),
        Groups::Elsewhere(count) => (third, count),
    };
    let topology = topology(set, &holder, count)?;
    let nic = topology.network_interfaces.get(&holder);
    let mut sets = RuleSets::new(&topology, None);
    let security = sets.of_nic(nic.context("no such network interface")?);
    let outbound = security.outbound.first().and_then(|id| sets.get(id));
    let there = outbound.map_or(0, |set| set.rules.len());
    ensure!(there == count, "{there} outbound rules instead of {count}");
    let port = image.ports.get_mut(&holder).context("no such port")?;
    port.security = security;
    image.rule_sets = sets.into_sets();
    Ok(Arc::new(image))
}

/// C, in A's subnet.
fn add_third(image: &mut Image, third: &ResourceId) -> Result<()> {
    let first = image.ports.get(&id("networkInterfaces/a"));
    let first = first.context("A is not in the image")?;
    let port = PortImage {
        device: DEV_GC.to_owned(),
        mac: C_MAC,
        addresses: vec![IpAddr::V4(C4)],
        ..PortImage::clone(first)
    };
    image.endpoints.push(EndpointImage {
        vnet: port.vnet.clone(),
        address: IpAddr::V4(C4),
        mac: C_MAC,
        nic: third.clone(),
    });
    image
        .endpoints
        .sort_by(|a, b| (&a.vnet, a.address).cmp(&(&b.vnet, b.address)));
    image.ports.insert(third.clone(), port.into());
    Ok(())
}

/// What the rules' tags and groups stand for: A's and C's VNet, and the peered one with every
/// destination.
fn topology(set: &Set, holder: &ResourceId, count: usize) -> Result<Topology> {
    let mut topology = Topology::default();
    let mut near = load::vnet("VNet1", A_NET4);
    let mut far = load::vnet("VNet4", destinations(set)?);
    let (there, back) = (load::peering(&near, &far), load::peering(&far, &near));
    near.peerings.insert(there.id.clone(), there);
    far.peerings.insert(back.id.clone(), back);
    let subnet = Subnet {
        id: ResourceId::new(&format!("{}/subnets/FrontEnd", near.id)),
        address_prefixes: vec![IpNet::V4(A_NET4)],
        route_table: None,
        network_security_group: None,
    };
    let group = NetworkSecurityGroup {
        id: id("networkSecurityGroups/bench"),
        rules: rules(set, count)?,
        flush_connection: false,
        tags: BTreeMap::new(),
    };
    for (name, address, mac, member_of) in [("a", A4, A_MAC, web()), ("c", C4, C_MAC, database())] {
        let nic = NetworkInterface {
            id: id(&format!("networkInterfaces/{name}")),
            mac_address: mac,
            enable_ip_forwarding: false,
            network_security_group: None,
            application_security_groups: vec![member_of.clone()],
            ip_configurations: vec![IpConfiguration {
                name: "primary".to_owned(),
                subnet: subnet.id.clone(),
                private_ip_address: IpAddr::V4(address),
                primary: true,
            }],
            device: None,
            host: None,
            tags: BTreeMap::new(),
        };
        let nic = NetworkInterface {
            network_security_group: (nic.id == *holder).then(|| group.id.clone()),
            ..nic
        };
        let application = ApplicationSecurityGroup {
            id: member_of.clone(),
            tags: BTreeMap::new(),
        };
        let applications = &mut topology.application_security_groups;
        applications.insert(member_of, application.into());
        let interfaces = &mut topology.network_interfaces;
        interfaces.insert(nic.id.clone(), nic.into());
    }
    near.subnets.insert(subnet.id.clone(), subnet);
    let groups = &mut topology.network_security_groups;
    groups.insert(group.id.clone(), group.into());
    for vnet in [near, far] {
        let vnets = &mut topology.virtual_networks;
        vnets.insert(vnet.id.clone(), vnet.into());
    }
    Ok(topology)
}

/// The application security group of A.
fn web() -> ResourceId {
    id("applicationSecurityGroups/web")
}

/// That of C.
fn database() -> ResourceId {
    id("applicationSecurityGroups/database")
}

/// The prefix of all destinations.
fn destinations(set: &Set) -> Result<Ipv4Net> {
    let (first, last) = set.range4.context("destinations without a range")?;
    let bits = (last.to_bits() - first.to_bits()).count_ones() as u8;
    let net = Ipv4Net::new(first, 32 - bits)?;
    ensure!(
        net.network() == first && net.broadcast() == last,
        "{first} to {last} is no prefix"
    );
    Ok(net)
}

/// So many outbound rules, less the default ones. The last few, up to an eighth, admit the traffic;
/// those before have something in common with it (source, destination or port), never all.
fn rules(set: &Set, count: usize) -> Result<Vec<SecurityRule>> {
    ensure!(
        (DEFAULT_RULES + 1..=MAX_RULES as usize).contains(&count),
        "{count} rules"
    );
    let own = count - DEFAULT_RULES;
    let deciding = 1usize << (own / 8).clamp(1, DECIDING).ilog2();
    let all = destinations(set)?;
    let parts = all.subnets(all.prefix_len() + deciding.ilog2() as u8)?;
    let mut filler = Filler {
        random: Random::new(0x5eed_0050),
        near: all,
        far: routes::random_prefixes(4_096),
    };
    let mut rules: Vec<_> = (0..own - deciding).map(|i| filler.rule(i)).collect();
    rules.extend(parts.enumerate().map(|(i, part)| SecurityRule {
        name: format!("{DECIDES}-{i}").into(),
        source: end(
            if i % 2 == 0 {
                members(web())
            } else {
                tag(ServiceTag::VirtualNetwork)
            },
            &[(0, u16::MAX)],
        ),
        destination: end(
            prefixes(vec![part.into()]),
            &[(UDP_PORT, UDP_PORT), (TCP_PORT, TCP_PORT)],
        ),
        ..outbound(Access::Allow, SecurityRuleProtocol::Any)
    }));
    for (priority, rule) in SecurityRule::PRIORITIES.zip(&mut rules) {
        rule.priority = priority;
    }
    Ok(rules)
}

/// Makes rules that the traffic does not meet.
struct Filler {
    random: Random,
    /// Where the traffic goes.
    near: Ipv4Net,
    far: Vec<Ipv4Net>,
}

impl Filler {
    fn rule(&mut self, i: usize) -> SecurityRule {
        use SecurityRuleProtocol::{Any, Tcp, Udp};
        let any = [(0, u16::MAX)];
        // Above all ports that the traffic goes to.
        let first = 1_024 + self.random.below(50_000) as u16;
        let range = (first, first + self.random.below(4_000) as u16);
        let here = tag(ServiceTag::VirtualNetwork);
        let (access, protocol, source, destination, ports) = match i % 10 {
            // Other ports of the same hosts.
            0..=2 => {
                let protocol = if i.is_multiple_of(2) { Tcp } else { Udp };
                let some = prefixes(vec![self.part_of_near()]);
                (Access::Allow, protocol, members(web()), some, vec![range])
            }
            // Other hosts, all ports or the same.
            3..=5 => {
                let access = if i.is_multiple_of(2) {
                    Access::Deny
                } else {
                    Access::Allow
                };
                let some = prefixes(self.some_far());
                let ports = if i.is_multiple_of(3) {
                    any.to_vec()
                } else {
                    vec![(TCP_PORT, TCP_PORT)]
                };
                (access, Tcp, SecurityRuleAddresses::Any, some, ports)
            }
            6 => {
                let internet = tag(ServiceTag::Internet);
                (Access::Allow, Any, here, internet, vec![(400, 500), range])
            }
            // Another source.
            7 | 8 => (Access::Deny, Any, members(database()), here, any.to_vec()),
            _ => {
                let ports = vec![(20, 25), (600, 700), range];
                (Access::Deny, Any, here.clone(), here, ports)
            }
        };
        SecurityRule {
            name: format!("rule-{i}").into(),
            source: end(source, &any),
            destination: end(destination, &ports),
            ..outbound(access, protocol)
        }
    }

    fn part_of_near(&mut self) -> IpNet {
        let length = self.near.prefix_len() + self.random.below(9) as u8;
        let hosts = 1u32 << (32 - self.near.prefix_len());
        let address = self.near.network().to_bits() + self.random.below(hosts as usize) as u32;
        Ipv4Net::new_assert(address.into(), length).trunc().into()
    }

    fn some_far(&mut self) -> Vec<IpNet> {
        let count = 1 + self.random.below(8);
        let draw = |_| self.far[self.random.below(self.far.len())].into();
        (0..count).map(draw).collect()
    }
}

fn outbound(access: Access, protocol: SecurityRuleProtocol) -> SecurityRule {
    SecurityRule {
        name: "".into(),
        direction: Direction::Outbound,
        priority: 0,
        access,
        protocol,
        source: end(SecurityRuleAddresses::Any, &[]),
        destination: end(SecurityRuleAddresses::Any, &[]),
    }
}

/// `ports`: sorted and apart.
fn end(addresses: SecurityRuleAddresses, ports: &[(u16, u16)]) -> SecurityRuleEnd {
    let range = |(first, last): &(u16, u16)| PortRange {
        first: *first,
        last: *last,
    };
    SecurityRuleEnd {
        addresses,
        ports: ports.iter().map(range).collect(),
    }
}

fn members(group: ResourceId) -> SecurityRuleAddresses {
    SecurityRuleAddresses::ApplicationSecurityGroups(vec![group])
}

fn tag(tag: ServiceTag) -> SecurityRuleAddresses {
    SecurityRuleAddresses::Some {
        prefixes: Vec::new(),
        tag: Some(tag),
    }
}

fn prefixes(prefixes: Vec<IpNet>) -> SecurityRuleAddresses {
    SecurityRuleAddresses::Some {
        prefixes,
        tag: None,
    }
}
