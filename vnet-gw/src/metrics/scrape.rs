//! One scrape: everything asked at once, written as text.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{
        DescriptorEncoder,
        text::{encode_eof, encode_registry},
    },
    registry::Registry,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use super::{Collector, Family, VpnMetrics, counter, gauge, gauges, process::ProcessMetrics};
use crate::{
    api::ApiMetrics,
    control::Asked,
    engine::Engine,
    metering::{Metering, UsageMetrics},
    store::StoreStats,
    vpn::{Question, VpnStatus},
};

/// How long the loop and the VPN side may take to answer: less than Prometheus waits by default.
const PATIENCE: Duration = Duration::from_secs(8);
/// What every name begins with, but those of the process.
const PREFIX: &str = "vnet_gw";

/// Where a scrape's values come from.
#[derive(Clone, Debug)]
pub struct Sources {
    pub instance: String,
    /// To the daemon's loop.
    pub questions: mpsc::Sender<Asked>,
    pub engine: Engine,
    pub api: ApiMetrics,
    pub metering: Metering,
}

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error("the daemon ends")]
    Ending,
    #[error("the daemon is busy: it did not answer within {} s", PATIENCE.as_secs())]
    Busy,
    #[error("a defect: {0}")]
    Defect(String),
}

impl Sources {
    /// Everything as OpenMetrics text.
    ///
    /// # Errors
    ///
    /// Where the daemon ends, or is busy for too long.
    pub async fn scrape(&self) -> Result<String, ScrapeError> {
        let (collectors, vpn) = timeout(PATIENCE, async {
            tokio::try_join!(self.ask(Asked::Metrics), self.ask(vpn))
        })
        .await
        .map_err(|_| ScrapeError::Busy)??;
        let sources = self.clone();
        // Of ten thousand ports it is megabytes.
        spawn_blocking(move || sources.write(collectors, vpn))
            .await
            .map_err(|error| ScrapeError::Defect(error.to_string()))?
            .map_err(|error| ScrapeError::Defect(error.to_string()))
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Asked,
    ) -> Result<T, ScrapeError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.questions.send(question(answer)).await;
        sent.map_err(|_| ScrapeError::Ending)?;
        answered.await.map_err(|_| ScrapeError::Ending)
    }

    fn write(
        self,
        collectors: Vec<Box<dyn Collector>>,
        vpn: VpnStatus,
    ) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(InstanceMetrics {
            instance: self.instance,
            waiting: self.engine.waiting(),
            store: self.engine.store().stats().ok(),
        }));
        registry.register_collector(Box::new(self.engine.metrics().clone()));
        registry.register_collector(Box::new(self.api));
        for collector in collectors {
            registry.register_collector(collector);
        }
        registry.register_collector(Box::new(VpnMetrics(vpn)));
        registry.register_collector(Box::new(UsageMetrics(self.metering.totals())));
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessMetrics));
        let mut text = String::new();
        encode_registry(&mut text, &registry)?;
        encode_registry(&mut text, &process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn vpn(answer: oneshot::Sender<VpnStatus>) -> Asked {
    Asked::Vpn(Question::Status(answer))
}

/// The daemon and its store.
#[derive(Debug)]
struct InstanceMetrics {
    instance: String,
    waiting: usize,
    /// Nothing where it cannot be read.
    store: Option<StoreStats>,
}

impl Collector for InstanceMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let labels = [
            ("instance_name", self.instance.as_str()),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        gauges(
            encoder,
            Family::new("build_info", "The instance, and the version of its daemon."),
            [(labels, 1u64)],
        )?;
        gauge(
            encoder,
            Family::new(
                "engine_waiting_submissions",
                "Submissions that wait to be handed to the engine's queue.",
            ),
            Some(self.waiting as u64),
        )?;
        gauge(
            encoder,
            Family::bytes("store_size", "What the store takes up."),
            self.store.map(|store| store.bytes),
        )?;
        counter(
            encoder,
            Family::new("store_commits", "Commits to the store, since it was made."),
            self.store.map(|store| store.commits),
        )?;
        gauge(
            encoder,
            Family::new("store_revision", "The revision of the store."),
            self.store.map(|store| store.revision),
        )
    }
}
