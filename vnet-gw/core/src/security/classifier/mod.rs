//! From a [`RuleSet`] to what the data path looks packets up in (`vnet_gw_common::nsg`, where the
//! form is described).

mod intervals;
mod layout;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;
use thiserror::Error;
use vnet_gw_common::{
    nsg::{MAX_RULES, NO_PORT, Protocol, RuleWord},
    table::Block,
};

use self::{
    intervals::{Intervals, Span},
    layout::Layout,
    rows::{Bits, Rows},
};
use super::{Rule, RuleAddresses, RuleSet};
use crate::model::{Access, SecurityRuleProtocol};

/// A set of rules in the data path's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    pub v4: Vec<Block>,
    pub v6: Vec<Block>,
}

/// Why a set of rules does not fit the data path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClassifierError {
    #[error("{count} rules, default rules included, but {limit} fit")]
    TooManyRules { count: usize, limit: usize },
    #[error(
        "its {dimension} make {count} intervals, but {limit} fit; use fewer or larger prefixes"
    )]
    TooManyIntervals {
        dimension: &'static str,
        count: usize,
        limit: usize,
    },
    #[error("it has no rules, not even the default ones")]
    Empty,
}

/// Compiles `set`. `counters`: for each rule the number of its counter, all below `stride`.
///
/// # Errors
/// Where the set is larger than the data path takes.
pub fn build(set: &RuleSet, counters: &[u32], stride: u32) -> Result<Classifier, ClassifierError> {
    let count = set.rules.len();
    if count > MAX_RULES as usize {
        return Err(ClassifierError::TooManyRules {
            count,
            limit: MAX_RULES as usize,
        });
    }
    if count == 0 {
        return Err(ClassifierError::Empty);
    }
    let words: Vec<RuleWord> = set
        .rules
        .iter()
        .zip(counters)
        .map(|(rule, counter)| RuleWord::new(rule.access == Access::Deny, *counter))
        .collect();
    let ports = Ports::of(&set.rules);
    Ok(Classifier {
        v4: family::<Ipv4Addr>(set, &ports, &words, stride)?,
        v6: family::<Ipv6Addr>(set, &ports, &words, stride)?,
    })
}

/// What is the same for both families.
struct Ports {
    source: Vec<Span<u32>>,
    destination: Vec<Span<u32>>,
}

impl Ports {
    fn of(rules: &[Arc<Rule>]) -> Self {
        let mut ports = Self {
            source: Vec::new(),
            destination: Vec::new(),
        };
        for (number, rule) in rules.iter().enumerate() {
            ports.add_source(number, rule);
            ports.add_destination(number, rule);
        }
        ports
    }

    /// Which source ports the rule holds for, and whether for packets without ports.
    fn add_source(&mut self, number: usize, rule: &Rule) {
        let mut add = |first, last| self.source.push(Span::new(number, first, last));
        if has_ports(rule.protocol) {
            for range in &rule.source_ports {
                add(range.first.into(), range.last.into());
            }
        } else {
            add(0, u32::from(u16::MAX));
        }
        // A protocol without ports is in every range of ports.
        add(NO_PORT, NO_PORT);
    }

    fn add_destination(&mut self, number: usize, rule: &Rule) {
        for protocol in Protocol::ALL {
            if !holds_for(rule.protocol, protocol) {
                continue;
            }
            let base = (protocol as u32) << 16;
            let mut add = |first: u32, last: u32| {
                self.destination
                    .push(Span::new(number, base + first, base + last));
            };
            if protocol.has_ports() {
                for range in &rule.destination_ports {
                    add(range.first.into(), range.last.into());
                }
            } else {
                add(0, u32::from(u16::MAX));
            }
        }
    }
}

fn holds_for(rule: SecurityRuleProtocol, protocol: Protocol) -> bool {
    match rule {
        SecurityRuleProtocol::Any => true,
        SecurityRuleProtocol::Tcp => protocol == Protocol::Tcp,
        SecurityRuleProtocol::Udp => protocol == Protocol::Udp,
        SecurityRuleProtocol::Icmp => protocol == Protocol::Icmp,
        SecurityRuleProtocol::Esp => protocol == Protocol::Esp,
        SecurityRuleProtocol::Ah => protocol == Protocol::Ah,
    }
}

fn has_ports(rule: SecurityRuleProtocol) -> bool {
    matches!(
        rule,
        SecurityRuleProtocol::Any | SecurityRuleProtocol::Tcp | SecurityRuleProtocol::Udp
    )
}

/// An address family, as far as rules tell them apart.
trait Addresses {
    const SOURCES: &'static str;
    const DESTINATIONS: &'static str;
    type Key: layout::Key;

    /// First and last address, if the prefix is of this family.
    fn range(prefix: &IpNet) -> Option<(Self::Key, Self::Key)>;
}

impl Addresses for Ipv4Addr {
    const SOURCES: &'static str = "IPv4 source prefixes";
    const DESTINATIONS: &'static str = "IPv4 destination prefixes";
    type Key = u32;

    fn range(prefix: &IpNet) -> Option<(u32, u32)> {
        match prefix {
            IpNet::V4(prefix) => Some((prefix.network().to_bits(), prefix.broadcast().to_bits())),
            IpNet::V6(_) => None,
        }
    }
}

impl Addresses for Ipv6Addr {
    const SOURCES: &'static str = "IPv6 source prefixes";
    const DESTINATIONS: &'static str = "IPv6 destination prefixes";
    type Key = u128;

    fn range(prefix: &IpNet) -> Option<(u128, u128)> {
        match prefix {
            IpNet::V4(_) => None,
            IpNet::V6(prefix) => Some((prefix.network().to_bits(), prefix.broadcast().to_bits())),
        }
    }
}

fn family<A: Addresses>(
    set: &RuleSet,
    ports: &Ports,
    words: &[RuleWord],
    stride: u32,
) -> Result<Vec<Block>, ClassifierError> {
    let count = set.rules.len();
    let mut rows = Rows::new(count);
    let sources = addresses::<A>(set.rules.iter().map(|rule| &rule.source), count, &mut rows);
    let destinations = addresses::<A>(
        set.rules.iter().map(|rule| &rule.destination),
        count,
        &mut rows,
    );
    let source_ports = Intervals::of_spans(&ports.source, count, &mut rows);
    let destination_ports = Intervals::of_spans(&ports.destination, count, &mut rows);
    let mut layout = Layout::new(&rows, stride, set.id.stable_hash());
    // In the order of the dimensions' numbers.
    layout.dimension(A::SOURCES, &sources)?;
    layout.dimension(A::DESTINATIONS, &destinations)?;
    layout.dimension("source ports", &source_ports)?;
    layout.dimension("destination ports", &destination_ports)?;
    Ok(layout.finish(&rows, words))
}

/// Rules that share a list of prefixes, as those with one tag do, are looked at together.
fn addresses<'a, A: Addresses>(
    of_rules: impl Iterator<Item = &'a RuleAddresses>,
    count: usize,
    rows: &mut Rows,
) -> Intervals<A::Key> {
    let mut everywhere = Bits::new(count);
    let mut groups: Vec<(&Arc<[IpNet]>, Bits)> = Vec::new();
    let mut known: HashMap<*const IpNet, usize> = HashMap::new();
    for (number, addresses) in of_rules.enumerate() {
        match addresses {
            RuleAddresses::Any => everywhere.set(number),
            RuleAddresses::Prefixes(prefixes) => {
                let at = *known.entry(prefixes.as_ptr()).or_insert_with(|| {
                    groups.push((prefixes, Bits::new(count)));
                    groups.len() - 1
                });
                // Lists without elements may share an address; they hold nowhere.
                if let Some((_, bits)) = groups.get_mut(at) {
                    bits.set(number);
                }
            }
        }
    }
    let mut events = Vec::new();
    for (at, (prefixes, _)) in groups.iter().enumerate() {
        for (first, last) in prefixes.iter().filter_map(A::range) {
            events.push((Some(first), at));
            events.push((layout::Key::after(last), at));
        }
    }
    let masks: Vec<Bits> = groups.into_iter().map(|(_, bits)| bits).collect();
    Intervals::sweep(everywhere, events, &masks, rows)
}
