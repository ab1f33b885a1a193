//! Families, written sample by sample.

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
    },
    metrics::MetricType,
    registry::Unit,
};

/// How a family is described. The name is without the prefix `vnet_gw_`, the unit, and `_total`.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    /// Ends with a full stop; no line breaks or backslashes, which the text would need escaped.
    pub help: &'static str,
    pub unit: Option<&'static Unit>,
}

impl Family {
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit: None,
        }
    }

    pub const fn bytes(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit: Some(&Unit::Bytes),
        }
    }

    pub const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit: Some(&Unit::Seconds),
        }
    }
}

/// Values that only grow. Each set of labels at most once.
///
/// # Errors
///
/// The writer's.
pub fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family,
    samples: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let Family { name, help, unit } = family;
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
    for (labels, value) in samples {
        let mut metric = metric.encode_family(&labels)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

/// Values that come and go. Each set of labels at most once.
///
/// # Errors
///
/// The writer's.
pub fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family,
    samples: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let Family { name, help, unit } = family;
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in samples {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// A family of one value without labels; nothing where it is not known.
///
/// # Errors
///
/// The writer's.
pub fn counter<V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family,
    value: Option<V>,
) -> fmt::Result {
    let Family { name, help, unit } = family;
    let Some(value) = value else {
        return Ok(());
    };
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// A family of one value without labels; nothing where it is not known.
///
/// # Errors
///
/// The writer's.
pub fn gauge<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family,
    value: Option<V>,
) -> fmt::Result {
    let Family { name, help, unit } = family;
    let Some(value) = value else {
        return Ok(());
    };
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}
