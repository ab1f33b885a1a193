//! The ledger for Prometheus.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use vnet_gw_core::{metering::Metered, model::ResourceId};

use super::Count;
use crate::metrics::{Collector, Family, Names, counters};

/// Everything ever counted, by class.
#[derive(Debug)]
pub struct UsageMetrics(pub Vec<(Metered, Count)>);

impl Collector for UsageMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let id = |text: &str| ResourceId::new(text);
        let all: Vec<ResourceId> = self
            .0
            .iter()
            .flat_map(|(of, _)| {
                [
                    Some(of.from.as_str()),
                    Some(&of.to),
                    of.connection.as_deref(),
                ]
            })
            .flatten()
            .map(id)
            .collect();
        let names = Names::of(&all);
        let name = |text: &str| match text {
            "" => String::new(),
            text => names.get(&id(text)).into_owned(),
        };
        let labelled: Vec<_> = self
            .0
            .iter()
            .map(|(of, count)| {
                let labels = [
                    ("class", of.class.name().to_owned()),
                    ("from", name(&of.from)),
                    ("to", name(&of.to)),
                    (
                        "connection",
                        name(of.connection.as_deref().unwrap_or_default()),
                    ),
                    ("source_region", of.from_region.clone()),
                    ("destination_region", of.to_region.clone()),
                ];
                (labels, *count)
            })
            .collect();
        counters(
            encoder,
            Family::bytes(
                "metered",
                "Bytes of layer-3 packets by class of metering, since the store was made: up to ten seconds old.",
            ),
            labelled
                .iter()
                .map(|(labels, count)| (labels.as_slice(), count.bytes)),
        )?;
        counters(
            encoder,
            Family::new(
                "metered_packets",
                "Packets by class of metering, since the store was made: up to ten seconds old.",
            ),
            labelled
                .iter()
                .map(|(labels, count)| (labels.as_slice(), count.packets)),
        )
    }
}
