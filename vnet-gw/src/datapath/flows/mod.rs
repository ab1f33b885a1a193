//! The flow tables as user space sees them: read as a whole now and then, and rid of flows that are
//! over. Packets go on meanwhile and need nobody for it: a flow that has been idle for too long is
//! none for them, whether or not it has been taken out yet.

mod hash;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use aya::Pod;
use vnet_gw_common::flow::{self, Class, Denied, Ends, Flow, FlowKey4, FlowKey6, L4};
use vnet_gw_core::{
    model::ResourceId,
    security::{Rule, RuleSetId},
};

use self::hash::Hash;
use super::{DatapathError, load::Maps};

/// Descriptors of the flow tables of both families. They stay good whatever is applied.
#[derive(Debug)]
pub struct FlowTables {
    v4: Tables<FlowKey4>,
    v6: Tables<FlowKey6>,
}

#[derive(Debug)]
struct Tables<K> {
    established: Hash<K, Flow>,
    half_open: Hash<K, Flow>,
    denied: Hash<K, Denied>,
}

/// A flow as it was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowRow {
    pub key: FlowId,
    pub flow: Flow,
    /// It came about; else it may yet.
    pub established: bool,
}

/// A flow that was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeniedFlow {
    pub key: FlowId,
    pub denied: Denied,
}

/// What a flow is known by. Index 0 is its low end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    pub addresses: [IpAddr; 2],
    l4: L4,
    ends: Ends,
}

impl FlowId {
    /// Ports of layer 4; those of protocols without any are 0.
    pub fn ports(&self) -> [u16; 2] {
        match self.ends.class() {
            Some(Class::Tcp | Class::Udp) => self.l4.ports(),
            _ => [0, 0],
        }
    }

    /// Ids of our ports that it passes.
    pub fn port_ids(&self) -> [u32; 2] {
        self.ends.ids()
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        match self.ends.class() {
            Some(Class::Tcp) => 6,
            Some(Class::Udp) => 17,
            Some(Class::Echo | Class::Icmp) if self.addresses[0].is_ipv6() => 58,
            Some(Class::Echo | Class::Icmp) => 1,
            Some(Class::Other) | None => self.l4.0 as u8,
        }
    }
}

#[cfg(test)]
impl FlowId {
    /// Of IPv4, TCP or UDP.
    pub(crate) fn for_test(
        addresses: [&str; 2],
        protocol: u8,
        ports: [u16; 2],
        ids: [u32; 2],
    ) -> Self {
        let class = if protocol == 6 {
            Class::Tcp
        } else {
            Class::Udp
        };
        let end = |at: usize| flow::FlowEnd {
            address: addresses[at].parse::<Ipv4Addr>().unwrap().to_bits(),
            l4: ports[at],
            id: ids[at],
        };
        let (key, way) = FlowKey4::new(class as u32, end(0), end(1));
        assert_eq!(way, 0, "the low end first");
        key.id()
    }
}

/// Key of one family.
trait Key: Pod + Default {
    fn id(self) -> FlowId;
}

impl Key for FlowKey4 {
    fn id(self) -> FlowId {
        FlowId {
            addresses: [self.low, self.high].map(|a| Ipv4Addr::from_bits(a).into()),
            l4: self.l4,
            ends: self.ends,
        }
    }
}

impl Key for FlowKey6 {
    fn id(self) -> FlowId {
        FlowId {
            addresses: [self.low, self.high].map(|a| Ipv6Addr::from_bits(a.to_bits()).into()),
            l4: self.l4,
            ends: self.ends,
        }
    }
}

/// The NIC of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortName {
    pub nic: ResourceId,
    pub vnet: ResourceId,
    pub mac: [u8; 6],
}

/// Whom the ids in flows stand for.
#[derive(Clone, Debug, Default)]
pub struct FlowNames {
    /// By port id.
    pub ports: BTreeMap<u32, PortName>,
    /// By id of the rule set; the rules by the numbers of their counters.
    pub rules: BTreeMap<u32, (RuleSetId, BTreeMap<u32, Arc<Rule>>)>,
}

impl FlowNames {
    /// The set and the rule that [`Flow::admitted`] or [`Denied::rule`] names.
    pub fn rule(&self, rule: u32) -> Option<(&RuleSetId, &Arc<Rule>)> {
        let (set, number) = flow::rule_parts(rule)?;
        let (id, rules) = self.rules.get(&set)?;
        Some((id, rules.get(&number)?))
    }
}

/// What a look at the tables of one family found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    pub established: u64,
    pub half_open: u64,
    /// Taken out.
    pub expired: u64,
}

impl FlowTables {
    pub(super) fn open(maps: &Maps) -> Result<Self, DatapathError> {
        Ok(Self {
            v4: Tables::open(maps, 0)?,
            v6: Tables::open(maps, 1)?,
        })
    }

    /// Looks at every flow, those that are over for the last time: they are taken out. What was
    /// found of IPv4, and of IPv6.
    ///
    /// # Errors
    /// Where a table cannot be read; what was visited until then was.
    pub fn sweep(&self, mut visit: impl FnMut(&FlowRow, bool)) -> std::io::Result<[Scan; 2]> {
        Ok([self.v4.sweep(&mut visit)?, self.v6.sweep(&mut visit)?])
    }

    /// Looks at every flow and changes nothing.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub fn each(&self, mut visit: impl FnMut(&FlowRow)) -> std::io::Result<()> {
        self.v4.each(&mut visit)?;
        self.v6.each(&mut visit)
    }

    /// Takes out every refused flow that was remembered.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub fn take_denied(&self, mut visit: impl FnMut(&DeniedFlow)) -> std::io::Result<()> {
        self.v4.take_denied(&mut visit)?;
        self.v6.take_denied(&mut visit)
    }
}

/// In [`flow::ticks`].
fn now() -> std::io::Result<u32> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    let now = std::time::Duration::from(now).as_nanos();
    Ok((now >> flow::TICK_SHIFT) as u32)
}

impl<K: Key> Tables<K> {
    fn open(maps: &Maps, family: usize) -> Result<Self, DatapathError> {
        let failed = |map: &'static str| {
            move |source| DatapathError::Map {
                map,
                operation: "reading it".to_owned(),
                source,
            }
        };
        let [flows, half_open, denied] = [&maps.flows, &maps.half_open, &maps.denied];
        let (flows, half_open, denied) = (&flows[family], &half_open[family], &denied[family]);
        Ok(Self {
            established: Hash::new(flows.duplicate()?).map_err(failed(flows.name()))?,
            half_open: Hash::new(half_open.duplicate()?).map_err(failed(half_open.name()))?,
            denied: Hash::new(denied.duplicate()?).map_err(failed(denied.name()))?,
        })
    }

    fn both(&self) -> [(&Hash<K, Flow>, bool); 2] {
        [(&self.half_open, false), (&self.established, true)]
    }

    fn sweep(&self, visit: &mut impl FnMut(&FlowRow, bool)) -> std::io::Result<Scan> {
        let mut scan = Scan::default();
        for (table, established) in self.both() {
            let now = now()?;
            let mut over = Vec::new();
            table.each((K::default(), Flow::default()), |key, flow| {
                if flow.is_stale(now) {
                    over.push(key);
                    return;
                }
                *(if established {
                    &mut scan.established
                } else {
                    &mut scan.half_open
                }) += 1;
                let row = FlowRow {
                    key: key.id(),
                    flow,
                    established,
                };
                visit(&row, false);
            })?;
            for key in over {
                // Another flow may have begun under the same key since.
                let Some(flow) = table.get(key, Flow::default())? else {
                    continue;
                };
                if flow.is_stale(now) && table.remove(key)? {
                    scan.expired += 1;
                    let row = FlowRow {
                        key: key.id(),
                        flow,
                        established,
                    };
                    visit(&row, true);
                }
            }
        }
        Ok(scan)
    }

    fn each(&self, visit: &mut impl FnMut(&FlowRow)) -> std::io::Result<()> {
        let now = now()?;
        for (table, established) in self.both() {
            table.each((K::default(), Flow::default()), |key, flow| {
                if !flow.is_stale(now) {
                    visit(&FlowRow {
                        key: key.id(),
                        flow,
                        established,
                    });
                }
            })?;
        }
        Ok(())
    }

    fn take_denied(&self, visit: &mut impl FnMut(&DeniedFlow)) -> std::io::Result<()> {
        let mut all = Vec::new();
        self.denied
            .each((K::default(), Denied::default()), |key, denied| {
                all.push((key, denied));
            })?;
        for (key, denied) in all {
            if self.denied.remove(key)? {
                visit(&DeniedFlow {
                    key: key.id(),
                    denied,
                });
            }
        }
        Ok(())
    }
}
