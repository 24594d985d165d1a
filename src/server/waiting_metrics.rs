//! The metrics of those who wait for room. The limiter counts them; they are read when they are shown.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::limiter::WaitingCounts;
use crate::telemetry::names;

/// Shows the counts of a limiter.
#[derive(Debug)]
pub(super) struct WaitingCollector(pub(super) Arc<WaitingCounts>);

impl Collector for WaitingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = &self.0;
        let counters = [
            (names::WAITS, "Leases that had to wait for room", counts.queued()),
            (names::WAITS_GRANTED, "Of these, the leases that were granted", counts.granted()),
            (names::WAITS_LEFT, "Of these, the leases whose callers all left", counts.left()),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let help = "Requests that wait for room, or whose first attempt is under way";
        let gauge = ConstGauge::new(counts.callers() as u64);
        gauge.encode(encoder.encode_descriptor(names::WAITING_REQUESTS, help, None, gauge.metric_type())?)
    }
}
