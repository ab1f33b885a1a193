//! How the engine fares.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
};

use crate::metrics::{Collector, Family};

/// Shared by its clones; the engine's thread writes.
#[derive(Clone, Debug)]
pub struct EngineMetrics {
    batches: Histogram,
    commits: Histogram,
    refused: Counter,
    queued: Gauge,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        Self {
            // A batch has at most 256 places.
            batches: Histogram::new((0..9).map(|power| f64::from(1 << power))),
            commits: Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            ]),
            refused: Counter::default(),
            queued: Gauge::default(),
        }
    }
}

impl EngineMetrics {
    /// What waits when a batch is taken.
    pub(super) fn queued(&self, length: usize) {
        self.queued.set(i64::try_from(length).unwrap_or(i64::MAX));
    }

    pub(super) fn batch(&self, submissions: usize) {
        self.batches.observe(submissions as f64);
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families: [(Family, &dyn EncodeMetric); 4] = [
            (
                Family::new(
                    "engine_batch_submissions",
                    "Submissions of a batch: one validation, one commit.",
                ),
                &self.batches,
            ),
            (
                Family::seconds(
                    "engine_commit_duration",
                    "How long it took to make a batch durable.",
                ),
                &self.commits,
            ),
            (
                Family::new(
                    "engine_refused_submissions",
                    "Submissions that were refused.",
                ),
                &self.refused,
            ),
            (
                Family::new(
                    "engine_queue_length",
                    "Submissions that waited when the last batch was taken.",
                ),
                &self.queued,
            ),
        ];
        for (Family { name, help, unit }, metric) in families {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)?;
        }
        Ok(())
    }
}
