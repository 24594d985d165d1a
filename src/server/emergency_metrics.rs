//! The metrics of leases that were granted without the ledger. The limiter counts them; they are read when they are shown.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::limiter::EmergencyCounts;
use crate::telemetry::names;

/// Shows the counts of a limiter.
#[derive(Debug)]
pub(super) struct EmergencyCollector(pub(super) Arc<EmergencyCounts>);

impl Collector for EmergencyCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = &self.0;
        let counters = [
            (names::EMERGENCY_GRANTS, "Leases granted without the ledger", counts.granted()),
            (names::EMERGENCY_SETTLED, "Of these, the leases recorded as debt", counts.recorded()),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let help = "Of these, the leases that are not recorded yet";
        let gauge = ConstGauge::new(counts.held());
        gauge.encode(encoder.encode_descriptor(names::EMERGENCY_LEASES, help, None, gauge.metric_type())?)
    }
}
