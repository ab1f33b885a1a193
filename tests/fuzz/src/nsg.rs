//! Security groups: the form that the kernel reads against a look at one rule after another, of rule
//! sets put together freely and of those that documents of groups come to.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vnet_gw_common::{
    Addr6,
    nsg::{Protocol, RuleWord, classify4, classify6, destination_port_key, source_port_key},
    table::Block,
};
use vnet_gw_core::{
    compile::{CompileOptions, compile},
    model::{
        Access, DeployOptions, Direction, PortRange, ResourceId, SecurityRuleProtocol,
        parse_template,
    },
    security::{
        Packet, Rule, RuleAddresses, RuleSet, RuleSetId, Verdict,
        classifier::{Classifier, build},
        decide, evaluate,
    },
};

use crate::input::Input;

/// Of one input, over all rules: past what a search of IPv6 has all its levels for.
const MOST_PREFIXES: usize = 4_096;
const MOST_RULES: usize = 200;
/// Of one set: packets at edges that are looked up.
const MOST_EDGES: usize = 400;
const PROTOCOLS: [SecurityRuleProtocol; 6] = [
    SecurityRuleProtocol::Any,
    SecurityRuleProtocol::Tcp,
    SecurityRuleProtocol::Udp,
    SecurityRuleProtocol::Icmp,
    SecurityRuleProtocol::Esp,
    SecurityRuleProtocol::Ah,
];
const NUMBERS: [u8; 8] = [6, 17, 1, 58, 50, 51, 47, 0];

/// An input that begins with `{` or `[` is the rules of a group as a document has them; any other a
/// script of rules and packets.
pub fn nsg(data: &[u8]) {
    if matches!(data.first(), Some(b'{' | b'[')) {
        return documents(data);
    }
    let mut input = Input::new(data);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut room = MOST_PREFIXES;
    let packets = usize::from(input.u8() % 32);
    let packets: Vec<Packet> = (0..packets).map(|_| packet(&mut input)).collect();
    while !input.is_empty() && first.len() + second.len() < MOST_RULES {
        let to = if input.u8() % 8 == 0 {
            &mut second
        } else {
            &mut first
        };
        to.push(rule(&mut input, &mut room));
    }
    let sets = [first, second].map(|rules| set(rules.into_iter().chain([deny_all()]).collect()));
    let compiled = sets.each_ref().map(compiled);
    let edges: Vec<Packet> = sets.iter().flat_map(edges).collect();
    for packet in packets.iter().chain(&edges) {
        for (set, classifier) in sets.iter().zip(&compiled) {
            agree(set, classifier, packet);
        }
        both(&sets, &compiled, packet);
    }
}

/// A checkpoint of two sets, each of which has to allow.
fn both(sets: &[RuleSet; 2], compiled: &[Classifier; 2], packet: &Packet) {
    let denies = |classifier| classify(classifier, packet).is_none_or(RuleWord::denies);
    let by = compiled.iter().position(denies);
    let wanted = match decide(sets, packet) {
        Verdict::Denied { set, .. } => sets.iter().position(|one| std::ptr::eq(one, set)),
        Verdict::Allowed { .. } | Verdict::NoGroup => None,
    };
    assert_eq!(by, wanted, "which set denies {packet:?}");
}

/// `securityRules` as somebody wrote them, down to rule sets.
fn documents(data: &[u8]) {
    let Ok(rules) = std::str::from_utf8(data) else {
        return;
    };
    let rules = match rules.starts_with('{') {
        true => format!("[{rules}]"),
        false => rules.to_owned(),
    };
    let template = TEMPLATE.replace("$RULES", &rules);
    let Ok(topology) = parse_template(&template, &DeployOptions::default()) else {
        return;
    };
    let image = match compile(&topology, &CompileOptions::default(), None) {
        Ok(image) => image,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for set in image.rule_sets.values() {
        let classifier = compiled(set);
        for packet in edges(set) {
            agree(set, &classifier, &packet);
        }
    }
}

const TEMPLATE: &str = r#"{"resources": [
  {"type": "Microsoft.Network/networkSecurityGroups", "name": "G", "location": "l",
   "properties": {"securityRules": $RULES}},
  {"type": "Microsoft.Network/applicationSecurityGroups", "name": "A", "location": "l"},
  {"type": "Microsoft.Network/virtualNetworks", "name": "V", "location": "l", "properties": {
    "addressSpace": {"addressPrefixes": ["10.0.0.0/16", "fd00::/48"]},
    "subnets": [{"name": "S", "properties": {"addressPrefixes": ["10.0.0.0/24", "fd00::/64"],
      "networkSecurityGroup": {"id": "[resourceId('Microsoft.Network/networkSecurityGroups', 'G')]"}}}]}},
  {"type": "Microsoft.Network/networkInterfaces", "name": "N", "location": "l",
   "tags": {"vnet-gw:device": "n"}, "properties": {"macAddress": "02-00-00-00-00-01",
    "ipConfigurations": [{"name": "a", "properties": {"privateIPAddress": "10.0.0.4",
      "privateIPAllocationMethod": "Static",
      "applicationSecurityGroups": [{"id": "[resourceId('Microsoft.Network/applicationSecurityGroups', 'A')]"}],
      "subnet": {"id": "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'V', 'S')]"}}}]}}
]}"#;

fn set(rules: Vec<Rule>) -> RuleSet {
    RuleSet {
        id: RuleSetId {
            group: ResourceId::new(
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n",
            ),
            direction: Direction::Inbound,
            context: 0,
        },
        rules: rules.into_iter().map(Arc::new).collect(),
        flush_connection: false,
    }
}

fn deny_all() -> Rule {
    Rule {
        name: "DenyAll".into(),
        priority: 65_500,
        access: Access::Deny,
        protocol: SecurityRuleProtocol::Any,
        source: RuleAddresses::Any,
        source_ports: vec![PortRange::ANY],
        destination: RuleAddresses::Any,
        destination_ports: vec![PortRange::ANY],
    }
}

fn rule(input: &mut Input<'_>, room: &mut usize) -> Rule {
    let kind = input.u8();
    Rule {
        name: "r".into(),
        priority: 100,
        access: if kind & 1 == 0 {
            Access::Allow
        } else {
            Access::Deny
        },
        protocol: PROTOCOLS[usize::from(kind >> 1) % PROTOCOLS.len()],
        source: addresses(input, room),
        source_ports: ports(input),
        destination: addresses(input, room),
        destination_ports: ports(input),
    }
}

/// Any, single prefixes, or rows of prefixes at one distance; touching ones stay apart, and one inside
/// another goes, as a rule set promises.
fn addresses(input: &mut Input<'_>, room: &mut usize) -> RuleAddresses {
    let kind = input.u8();
    if kind % 4 == 0 {
        return RuleAddresses::Any;
    }
    let mut prefixes = Vec::new();
    for _ in 0..(kind >> 4) {
        let (shape, first) = (input.u8(), prefix(input));
        let count = match shape % 8 {
            0 => usize::from(input.u16() % 2_048),
            _ => 1,
        };
        let step = 1 + u128::from(shape >> 3);
        for number in 0..count.min(*room) as u128 {
            prefixes.push(moved(first, step * number));
        }
        *room = room.saturating_sub(count);
    }
    prefixes.sort();
    prefixes.dedup();
    // In this order a prefix stands before those inside it.
    let mut apart: Vec<IpNet> = Vec::new();
    for prefix in prefixes {
        if !apart.last().is_some_and(|last| last.contains(&prefix)) {
            apart.push(prefix);
        }
    }
    RuleAddresses::Prefixes(apart.into())
}

/// By so many of its own size.
fn moved(prefix: IpNet, by: u128) -> IpNet {
    match prefix {
        IpNet::V4(net) => {
            let size = (by << (32 - net.prefix_len())) as u32;
            let bits = net.network().to_bits().wrapping_add(size);
            v4(bits, net.prefix_len())
        }
        IpNet::V6(net) => {
            let size = by.checked_shl(128 - u32::from(net.prefix_len()));
            let bits = net.network().to_bits().wrapping_add(size.unwrap_or(0));
            v6(bits, net.prefix_len())
        }
    }
}

fn v4(bits: u32, length: u8) -> IpNet {
    let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), length % 33);
    net.map_or(IpNet::V4(Ipv4Net::default()), |net| net.trunc().into())
}

fn v6(bits: u128, length: u8) -> IpNet {
    let net = Ipv6Net::new(Ipv6Addr::from_bits(bits), length % 129);
    net.map_or(IpNet::V6(Ipv6Net::default()), |net| net.trunc().into())
}

fn prefix(input: &mut Input<'_>) -> IpNet {
    let (length, address) = (input.u8(), address(input));
    match address {
        IpAddr::V4(address) => v4(address.to_bits(), length),
        IpAddr::V6(address) => v6(address.to_bits(), length),
    }
}

/// The lowest and the highest, few bits at either end, or any.
fn address(input: &mut Input<'_>) -> IpAddr {
    let kind = input.u8();
    let bits = match kind >> 1 & 7 {
        0 => 0,
        1 => u128::MAX,
        2 | 3 => u128::from(input.u8()) << 120 | u128::from(input.u8()) << 24,
        4 | 5 => u128::from(input.u16()) << 112 | u128::from(input.u16()),
        _ => {
            let bytes = input.take(16);
            bytes
                .iter()
                .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
        }
    };
    match kind & 1 {
        0 => Ipv4Addr::from_bits(bits as u32).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Sorted and apart, though they may touch.
fn ports(input: &mut Input<'_>) -> Vec<PortRange> {
    let count = input.u8();
    if count % 4 == 0 {
        return vec![PortRange::ANY];
    }
    let edges: BTreeSet<u16> = (0..count % 16).map(|_| port(input)).collect();
    let edges: Vec<u16> = edges.into_iter().collect();
    let touching = count & 16 != 0;
    let range = |pair: &[u16]| PortRange {
        first: pair[0],
        last: match (pair.get(1), touching) {
            (Some(next), true) => next - 1,
            (Some(last), false) => *last,
            (None, _) => pair[0],
        },
    };
    match touching {
        // Each begins where the one before it ends.
        true => edges.windows(2).map(range).collect(),
        false => edges.chunks(2).map(range).collect(),
    }
}

fn port(input: &mut Input<'_>) -> u16 {
    match input.u8() {
        byte @ 0..=99 => byte.into(),
        byte @ 100..=199 => u16::MAX - u16::from(byte - 100),
        _ => input.u16(),
    }
}

fn packet(input: &mut Input<'_>) -> Packet {
    let protocol = input.u8();
    let source = address(input);
    let destination = match (address(input), source) {
        (IpAddr::V6(v6), IpAddr::V4(_)) => Ipv4Addr::from_bits(v6.to_bits() as u32).into(),
        (IpAddr::V4(v4), IpAddr::V6(_)) => Ipv6Addr::from_bits(v4.to_bits().into()).into(),
        (same, _) => same,
    };
    Packet {
        protocol,
        source,
        destination,
        source_port: port(input),
        destination_port: port(input),
    }
}

fn compiled(set: &RuleSet) -> Classifier {
    let count = set.rules.len() as u32;
    // Any numbers do; these are not those of the rules.
    let counters: Vec<u32> = (0..count).rev().collect();
    match build(set, &counters, count) {
        Ok(classifier) => classifier,
        Err(error) => panic!("{count} rules do not compile: {error}"),
    }
}

fn agree(set: &RuleSet, classifier: &Classifier, packet: &Packet) {
    let rule = evaluate(set, packet);
    let place = |rule: &Rule| set.rules.iter().position(|one| std::ptr::eq(&**one, rule));
    let wanted = rule.and_then(|rule| {
        let counter = set.rules.len() - 1 - place(rule)?;
        Some(RuleWord::new(rule.access == Access::Deny, counter as u32))
    });
    let found = classify(classifier, packet);
    assert_eq!(found, wanted, "{packet:?} meets {rule:?}");
}

fn classify(classifier: &Classifier, packet: &Packet) -> Option<RuleWord> {
    let protocol = Protocol::of(packet.protocol) as u32;
    let source_port = source_port_key(protocol, packet.source_port);
    let destination_port = destination_port_key(protocol, packet.destination_port);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let blocks: &[Block] = &classifier.v4;
            let header = blocks.first()?;
            let (source, destination) = (source.to_bits(), destination.to_bits());
            classify4(
                blocks,
                header,
                source,
                destination,
                source_port,
                destination_port,
            )
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let blocks: &[Block] = &classifier.v6;
            let header = blocks.first()?;
            let address = |of: Ipv6Addr| Addr6::from_bits(of.to_bits());
            let (source, destination) = (address(source), address(destination));
            classify6(
                blocks,
                header,
                source,
                destination,
                source_port,
                destination_port,
            )
        }
        _ => panic!("a packet of two families"),
    }
}

/// Packets just inside and just outside of each rule, in both families; of long lists the first, the
/// last and one from the middle.
fn edges(set: &RuleSet) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (number, rule) in set.rules.iter().enumerate() {
        let sources = [false, true].map(|v6| address_edges(&rule.source, v6));
        let destinations = [false, true].map(|v6| address_edges(&rule.destination, v6));
        let (from, to) = (
            port_edges(&rule.source_ports),
            port_edges(&rule.destination_ports),
        );
        for (sources, destinations) in sources.iter().zip(&destinations) {
            let rounds = sources.len().max(destinations.len()).max(to.len());
            for round in 0..rounds {
                let pick = |list: &[IpAddr]| list[(round + number) % list.len()];
                packets.push(Packet {
                    protocol: match rule.protocol {
                        SecurityRuleProtocol::Tcp => 6,
                        SecurityRuleProtocol::Udp => 17,
                        _ => NUMBERS[(round + number) % NUMBERS.len()],
                    },
                    source: pick(sources),
                    destination: pick(destinations),
                    source_port: from[round % from.len()],
                    destination_port: to[(round + number) % to.len()],
                });
            }
        }
    }
    // Of all parts of the set.
    let step = packets.len().div_ceil(MOST_EDGES).max(1);
    packets.into_iter().step_by(step).collect()
}

/// Never none.
fn address_edges(addresses: &RuleAddresses, v6: bool) -> Vec<IpAddr> {
    let of = |bits: u128| -> IpAddr {
        match v6 {
            true => Ipv6Addr::from_bits(bits).into(),
            false => Ipv4Addr::from_bits(bits as u32).into(),
        }
    };
    let mut edges = vec![of(0), of(u128::MAX)];
    let RuleAddresses::Prefixes(prefixes) = addresses else {
        return edges;
    };
    let family: Vec<(u128, u128)> = prefixes
        .iter()
        .filter_map(|prefix| match (prefix, v6) {
            (IpNet::V4(net), false) => Some((
                net.network().to_bits().into(),
                net.broadcast().to_bits().into(),
            )),
            (IpNet::V6(net), true) => Some((net.network().to_bits(), net.broadcast().to_bits())),
            _ => None,
        })
        .collect();
    let some = [0, family.len() / 2, family.len().wrapping_sub(1)];
    for (first, last) in some.iter().filter_map(|at| family.get(*at)) {
        edges.extend([
            of(*first),
            of(*last),
            of(first.wrapping_sub(1)),
            of(last.wrapping_add(1)),
        ]);
    }
    edges
}

fn port_edges(ranges: &[PortRange]) -> Vec<u16> {
    let mut edges = vec![0, u16::MAX];
    for range in ranges.iter().take(8) {
        edges.extend([
            range.first,
            range.last,
            range.first.wrapping_sub(1),
            range.last.wrapping_add(1),
        ]);
    }
    edges
}
