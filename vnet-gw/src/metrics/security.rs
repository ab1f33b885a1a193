//! Security rules, how often each decided, and the flows that they admitted.

use std::{collections::BTreeMap, fmt};

use prometheus_client::encoding::DescriptorEncoder;
use vnet_gw_core::{model::ResourceId, security::RuleSetId};

use super::{Collector, Family, Names, counters, gauges};
use crate::{
    datapath::{FlowRoom, RuleHits},
    flow_log::FlowCounts,
};

/// What the data path counts of its rule sets.
#[derive(Debug)]
pub struct SecurityMetrics {
    pub hits: BTreeMap<RuleSetId, Vec<RuleHits>>,
    /// Of IPv4 and of IPv6, as the last look found them.
    pub flows: [FlowCounts; 2],
    pub room: FlowRoom,
}

impl Collector for SecurityMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let names = Names::of(self.hits.keys().map(|set| &set.group));
        // A group that several places have is compiled for each; who looks at it means all of them.
        let mut sums: BTreeMap<(&ResourceId, &str, &str, &str), u64> = BTreeMap::new();
        for (set, rules) in &self.hits {
            for rule in rules {
                let key = (
                    &set.group,
                    set.direction.as_str(),
                    &*rule.name,
                    rule.access.as_str(),
                );
                let sum = sums.entry(key).or_default();
                *sum = sum.wrapping_add(rule.hits);
            }
        }
        counters(
            encoder,
            Family::new(
                "security_rule_hits",
                "Flows that a security rule admitted, or packets that it refused. A rule that goes takes its count with it.",
            ),
            sums.iter().map(|((group, direction, rule, access), hits)| {
                let labels = [
                    ("network_security_group", names.get(group)),
                    ("direction", (*direction).into()),
                    ("rule", (*rule).into()),
                    ("access", (*access).into()),
                ];
                (labels, *hits)
            }),
        )?;
        self.flows(encoder)
    }
}

impl SecurityMetrics {
    fn flows(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let families = || ["ipv4", "ipv6"].into_iter().zip(self.flows);
        gauges(
            encoder,
            Family::new(
                "flows",
                "Flows that security rules admitted: up to five seconds old.",
            ),
            families()
                .flat_map(|(family, flows)| by_state(family, flows.established, flows.half_open)),
        )?;
        gauges(
            encoder,
            Family::new(
                "flows_limit",
                "Flows that there is room for. Where no more can be established, the others are forwarded by a slower way; of half-open ones a new one takes the place of the oldest.",
            ),
            families().flat_map(|(family, _)| {
                by_state(
                    family,
                    self.room.established.into(),
                    self.room.half_open.into(),
                )
            }),
        )?;
        counters(
            encoder,
            Family::new(
                "flows_expired",
                "Flows that were taken out of the tables, idle for too long or over, since the daemon started.",
            ),
            families().map(|(family, flows)| ([("family", family)], flows.expired)),
        )
    }
}

type Labels = [(&'static str, &'static str); 2];

fn by_state(family: &'static str, established: u64, half_open: u64) -> [(Labels, u64); 2] {
    [("established", established), ("half_open", half_open)]
        .map(|(state, count)| ([("family", family), ("state", state)], count))
}
