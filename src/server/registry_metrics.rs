//! The metric of the registry file. The registry counts its writes; they are read when they are shown.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::registry::SaveCounts;
use crate::telemetry::names;

/// Shows the counts of a registry.
#[derive(Debug)]
pub(super) struct SaveCollector(pub(super) Arc<SaveCounts>);

impl Collector for SaveCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Writes of the registry file by outcome";
        let mut family =
            encoder.encode_descriptor(names::REGISTRY_WRITES, help, None, MetricType::Counter)?;
        for (outcome, count) in [("written", self.0.written()), ("failed", self.0.failed())] {
            ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }
}
