//! How the API fares.

use std::{fmt, time::Duration};

use axum::http::{Method, StatusCode};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family, histogram::Histogram},
};

use crate::metrics::{Collector, Family};

/// Shared by its clones. Labels are of closed lists, whatever clients send.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: family::Family<Answered, Counter>,
    durations: family::Family<Asked, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
}

fn histogram() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self {
            requests: family::Family::default(),
            durations: family::Family::new_with_constructor(histogram),
        }
    }
}

impl ApiMetrics {
    pub(super) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"];
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let known = METHODS.iter().find(|known| **known == method.as_str());
        let method = known.copied().unwrap_or("other");
        let class = usize::from(status.as_u16() / 100);
        let code = CLASSES.get(class.saturating_sub(1)).unwrap_or(&"other");
        self.requests
            .get_or_create_owned(&Answered { method, code })
            .inc();
        self.durations
            .get_or_create_owned(&Asked { method })
            .observe(took.as_secs_f64());
    }
}

impl Collector for ApiMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families: [(Family, &dyn EncodeMetric); 2] = [
            (
                Family::new(
                    "api_requests",
                    "Requests to the API that were answered, by method and class of status.",
                ),
                &self.requests,
            ),
            (
                Family::seconds(
                    "api_request_duration",
                    "How long answers of the API took, by method.",
                ),
                &self.durations,
            ),
        ];
        for (Family { name, help, unit }, metric) in families {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)?;
        }
        Ok(())
    }
}
