//! The compiled form against a look at one rule after another.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use vnet_gw_common::{
    Addr6,
    nsg::{Protocol, RuleWord, classify4, classify6, destination_port_key, source_port_key},
    table::Block,
};

use super::*;
use crate::{
    model::{Direction, PortRange, ResourceId},
    security::{
        RuleSetId,
        evaluate::{self, evaluate},
    },
};

fn set(rules: Vec<Rule>) -> RuleSet {
    let group = ResourceId::new(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n",
    );
    RuleSet {
        id: RuleSetId {
            group,
            direction: Direction::Inbound,
            context: 0,
        },
        rules: rules.into_iter().map(Arc::new).collect(),
        flush_connection: false,
    }
}

/// A packet, in either family: the addresses' bits are taken as far as the family has any.
#[derive(Clone, Copy, Debug)]
struct Packet {
    v6: bool,
    source: u128,
    destination: u128,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

impl Packet {
    fn as_evaluated(&self) -> evaluate::Packet {
        let address = |bits: u128| -> std::net::IpAddr {
            if self.v6 {
                Ipv6Addr::from_bits(bits).into()
            } else {
                Ipv4Addr::from_bits(bits as u32).into()
            }
        };
        evaluate::Packet {
            protocol: self.protocol,
            source: address(self.source),
            destination: address(self.destination),
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }

    fn classify(&self, classifier: &Classifier) -> Option<RuleWord> {
        let protocol = Protocol::of(self.protocol) as u32;
        let source_port = source_port_key(protocol, self.source_port);
        let destination_port = destination_port_key(protocol, self.destination_port);
        if self.v6 {
            let blocks: &[Block] = &classifier.v6;
            classify6(
                blocks,
                &blocks[0],
                Addr6::from_bits(self.source),
                Addr6::from_bits(self.destination),
                source_port,
                destination_port,
            )
        } else {
            let blocks: &[Block] = &classifier.v4;
            classify4(
                blocks,
                &blocks[0],
                self.source as u32,
                self.destination as u32,
                source_port,
                destination_port,
            )
        }
    }
}

/// Few distinct bits, so that prefixes lie in each other and addresses in them.
fn address() -> impl Strategy<Value = u128> {
    prop_oneof![
        (0..8u128, 0..8u128, 0..4u128).prop_map(|(a, b, c)| a << 125
            | b << 96
            | a << 29
            | b << 8
            | c),
        Just(0),
        Just(u128::MAX),
        any::<u128>(),
    ]
}

fn prefix() -> impl Strategy<Value = IpNet> {
    (any::<bool>(), address(), 0..=128u8).prop_map(|(v6, bits, length)| {
        if v6 {
            let net = Ipv6Net::new(Ipv6Addr::from_bits(bits), length);
            IpNet::V6(net.expect("a length of 128 at most").trunc())
        } else {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(bits as u32), length / 4);
            IpNet::V4(net.expect("a length of 32 at most").trunc())
        }
    })
}

fn addresses() -> impl Strategy<Value = RuleAddresses> {
    prop_oneof![
        2 => Just(RuleAddresses::Any),
        5 => prop::collection::vec(prefix(), 0..6)
            .prop_map(|prefixes| RuleAddresses::Prefixes(IpNet::aggregate(&prefixes).into())),
    ]
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    prop_oneof![
        Just(vec![PortRange::ANY]),
        prop::collection::btree_set(prop_oneof![0..20u16, 65_530..=u16::MAX], 1..8).prop_map(
            |edges: BTreeSet<u16>| {
                let edges: Vec<u16> = edges.into_iter().collect();
                let pairs = edges.chunks(2);
                let range = |pair: &[u16]| PortRange {
                    first: pair[0],
                    last: pair[pair.len() - 1],
                };
                pairs.map(range).collect()
            }
        ),
    ]
}

fn protocol() -> impl Strategy<Value = SecurityRuleProtocol> {
    prop::sample::select(vec![
        SecurityRuleProtocol::Any,
        SecurityRuleProtocol::Tcp,
        SecurityRuleProtocol::Udp,
        SecurityRuleProtocol::Icmp,
        SecurityRuleProtocol::Esp,
        SecurityRuleProtocol::Ah,
    ])
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        any::<bool>(),
        protocol(),
        addresses(),
        ports(),
        addresses(),
        ports(),
    )
        .prop_map(
            |(deny, protocol, source, source_ports, destination, destination_ports)| Rule {
                name: "r".into(),
                priority: 100,
                access: if deny { Access::Deny } else { Access::Allow },
                protocol,
                source,
                source_ports,
                destination,
                destination_ports,
            },
        )
}

fn deny_all() -> Rule {
    Rule {
        name: "DenyAllInBound".into(),
        priority: 65_500,
        access: Access::Deny,
        protocol: SecurityRuleProtocol::Any,
        source: RuleAddresses::Any,
        source_ports: vec![PortRange::ANY],
        destination: RuleAddresses::Any,
        destination_ports: vec![PortRange::ANY],
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    (
        any::<bool>(),
        address(),
        address(),
        prop::sample::select(vec![1, 6, 17, 47, 50, 51, 58, 132]),
        prop_oneof![0..22u16, 65_528..=u16::MAX],
        prop_oneof![0..22u16, 65_528..=u16::MAX],
    )
        .prop_map(
            |(v6, source, destination, protocol, source_port, destination_port)| Packet {
                v6,
                source,
                destination,
                protocol,
                source_port,
                destination_port,
            },
        )
}

fn check(rules: Vec<Rule>, packets: &[Packet]) {
    let set = set(rules);
    let counters: Vec<u32> = (0..set.rules.len() as u32).collect();
    let classifier = build(&set, &counters, counters.len() as u32).expect("it fits");
    for packet in packets {
        let first = evaluate(&set, &packet.as_evaluated());
        let place = |rule: &Rule| set.rules.iter().position(|one| std::ptr::eq(&**one, rule));
        let want = first.map(|rule| {
            let at = place(rule).expect("a rule of the set");
            RuleWord::new(rule.access == Access::Deny, at as u32)
        });
        assert_eq!(
            packet.classify(&classifier),
            want,
            "{packet:?} in {:#?}",
            set.rules
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_one_rule_after_another(
        rules in prop::collection::vec(rule(), 0..40),
        packets in prop::collection::vec(packet(), 40),
    ) {
        check(rules.into_iter().chain([deny_all()]).collect(), &packets);
    }
}

/// So many distinct prefixes that each search has all its levels, and rows several words.
#[test]
fn holds_thousands_of_prefixes_and_rules() {
    let mut rules = Vec::new();
    let mut packets = Vec::new();
    for number in 0..1_000u32 {
        let of = |part: u32| {
            let v4 = Ipv4Addr::from_bits(part << 28 | number << 12);
            let v6 = Ipv6Addr::from_bits(u128::from(part) << 124 | u128::from(number) << 80);
            let four = |n: u32| {
                IpNet::from(
                    Ipv4Net::new(Ipv4Addr::from_bits(v4.to_bits() | n << 8), 24).expect("fine"),
                )
            };
            let six = IpNet::from(Ipv6Net::new(v6, 64).expect("fine"));
            let list: Vec<IpNet> = (0..16).step_by(2).map(four).chain([six]).collect();
            RuleAddresses::Prefixes(Arc::from(list))
        };
        let port = PortRange {
            first: number as u16 * 60,
            last: number as u16 * 60 + 30,
        };
        rules.push(Rule {
            source: of(1),
            destination: of(2),
            source_ports: vec![PortRange::ANY],
            destination_ports: vec![port],
            protocol: SecurityRuleProtocol::Tcp,
            access: if number % 3 == 0 {
                Access::Deny
            } else {
                Access::Allow
            },
            ..deny_all()
        });
        for (v6, off) in [(false, 0u128), (true, 0), (false, 1 << 8), (true, 1 << 70)] {
            let at = |part: u128| {
                let n = u128::from(number);
                if v6 {
                    part << 124 | n << 80 | off
                } else {
                    part << 28 | n << 12 | off
                }
            };
            packets.push(Packet {
                v6,
                source: at(1),
                destination: at(2),
                protocol: 6,
                source_port: 9,
                destination_port: port.first + number as u16 % 60,
            });
        }
    }
    rules.push(deny_all());
    check(rules, &packets);
}

#[test]
fn refuses_more_than_the_data_path_takes() {
    let rules = vec![deny_all(); MAX_RULES as usize + 1];
    assert_eq!(
        build(&set(rules), &[], 0),
        Err(ClassifierError::TooManyRules {
            count: 4_097,
            limit: 4_096
        })
    );
    assert_eq!(build(&set(Vec::new()), &[], 0), Err(ClassifierError::Empty));
}
