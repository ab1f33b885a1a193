//! What rules say of one packet, in the plainest way there is: the truth that the data path's
//! classifier is held against, and that explanations are made of.

use std::net::IpAddr;

use super::{Rule, RuleAddresses, RuleSet};
use crate::model::{Access, PortRange, SecurityRuleProtocol};

/// What rules ask of a packet: that of a flow's first one, as its sender wrote it.
///
/// Of fragments only the first has ports; the later ones share its verdict and are not evaluated.
/// ICMP errors belong to the flow of the packet that they quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The number of the protocol in the IP header; of IPv6 that behind its extension headers.
    pub protocol: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Of TCP and UDP; of every other protocol they do not count.
    pub source_port: u16,
    pub destination_port: u16,
}

impl Packet {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;

    /// Whether rules may ask for its ports.
    pub const fn has_ports(&self) -> bool {
        matches!(self.protocol, Self::TCP | Self::UDP)
    }
}

impl SecurityRuleProtocol {
    /// Whether a rule of this protocol is about packets of the IP protocol `number`: `Icmp` is ICMP
    /// and ICMPv6, whatever family carries them.
    pub const fn is(self, number: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Tcp => number == Packet::TCP,
            Self::Udp => number == Packet::UDP,
            Self::Icmp => matches!(number, Packet::ICMP | Packet::ICMPV6),
            Self::Esp => number == Packet::ESP,
            Self::Ah => number == Packet::AH,
        }
    }
}

impl RuleAddresses {
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| prefix.contains(&address)),
        }
    }
}

impl Rule {
    /// Whether the rule is about the packet. A protocol without ports is in every range of ports.
    pub fn matches(&self, packet: &Packet) -> bool {
        let ports = |ranges: &[PortRange], port| {
            !packet.has_ports() || ranges.iter().any(|range| range.contains(port))
        };
        self.protocol.is(packet.protocol)
            && self.source.contains(packet.source)
            && self.destination.contains(packet.destination)
            && ports(&self.source_ports, packet.source_port)
            && ports(&self.destination_ports, packet.destination_port)
    }
}

/// The rule that decides: the first that matches. The last one of a set matches everything, so there
/// is none only of a set that lacks it, which allows nothing.
pub fn evaluate<'a>(set: &'a RuleSet, packet: &Packet) -> Option<&'a Rule> {
    let mut rules = set.rules.iter().map(|rule| &**rule);
    rules.find(|rule| rule.matches(packet))
}

/// What the sets of one checkpoint, in their order, come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// There is no group: everything is allowed.
    NoGroup,
    /// Each allows; the rule is that of the last set.
    Allowed { set: &'a RuleSet, rule: &'a Rule },
    /// By the first set that does not allow; the others are not asked.
    Denied {
        set: &'a RuleSet,
        rule: Option<&'a Rule>,
    },
}

impl Verdict<'_> {
    pub const fn is_allowed(&self) -> bool {
        !matches!(self, Self::Denied { .. })
    }
}

/// Holds a packet against the sets of a checkpoint: inbound the subnet's then the NIC's, outbound
/// the NIC's then the subnet's, as [`PortSecurity`](super::PortSecurity) has them.
pub fn decide<'a>(sets: impl IntoIterator<Item = &'a RuleSet>, packet: &Packet) -> Verdict<'a> {
    let mut verdict = Verdict::NoGroup;
    for set in sets {
        let rule = evaluate(set, packet);
        match rule.filter(|rule| rule.access == Access::Allow) {
            Some(rule) => verdict = Verdict::Allowed { set, rule },
            None => return Verdict::Denied { set, rule },
        }
    }
    verdict
}
