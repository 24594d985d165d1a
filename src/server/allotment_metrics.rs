//! The metrics of allotments. The limiter counts them; they are read when they are shown.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::limiter::AllotmentCounts;
use crate::telemetry::names;

/// Shows the counts of a limiter.
#[derive(Debug)]
pub(super) struct AllotmentCollector(pub(super) Arc<AllotmentCounts>);

impl Collector for AllotmentCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = &self.0;
        let counters = [
            (names::ALLOTMENTS_TAKEN, "Allotments that were taken", counts.taken()),
            (
                names::ALLOTMENTS_SETTLED,
                "Steps that replaced allotments by what was needed",
                counts.settled(),
            ),
            (names::ALLOTMENTS_EXPIRED, "Allotments that the ledger released", counts.expired()),
            (names::ALLOTMENT_GRANTS, "Leases served from allotments without the ledger", counts.served()),
            (names::ALLOTMENT_TRANSFERS, "Transfers of allotments that were sent", counts.transfers()),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gauges = [
            (names::ALLOTMENTS, "Allotments that are held", counts.held()),
            (names::ALLOTMENT_UNITS, "The units in allotments", counts.units()),
        ];
        for (name, help, count) in gauges {
            let gauge = ConstGauge::new(count);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
