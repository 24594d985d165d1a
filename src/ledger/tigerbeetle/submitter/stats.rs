//! What the submitter measures, as metrics that [`SubmitterStats::register`] adds to a registry.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::telemetry::{Counter, Gauge, Histogram, MetricsRegistry, Unit, names};

/// Measurements of the queue and the workers. Counters only grow, so two readings give a rate.
#[derive(Debug)]
pub struct SubmitterStats {
    queue_transfers: Gauge,
    request_transfers: Histogram,
    request_transfers_max: Gauge,
    request_seconds: Histogram,
    abandoned_messages: Counter,
    lost_requests: Counter,
    refused_requests: Counter,
}

impl SubmitterStats {
    pub(super) fn new() -> Self {
        Self {
            queue_transfers: Gauge::default(),
            request_transfers: Histogram::new(Unit::Transfers),
            request_transfers_max: Gauge::default(),
            request_seconds: Histogram::new(Unit::Seconds),
            abandoned_messages: Counter::default(),
            lost_requests: Counter::default(),
            refused_requests: Counter::default(),
        }
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut MetricsRegistry) {
        let mut gauge = |name: &str, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge(
            names::LEDGER_QUEUE_TRANSFERS,
            "Transfers that wait in the queue for a session",
            &self.queue_transfers,
        );
        let help = "Transfers in the largest request to the ledger";
        gauge(names::LEDGER_REQUEST_TRANSFERS_MAX, help, &self.request_transfers_max);
        let mut histogram = |name: &str, help, histogram: &Histogram| {
            registry.register(name, help, histogram.clone());
        };
        let help = "Transfers in each request to the ledger";
        histogram(names::LEDGER_REQUEST_TRANSFERS, help, &self.request_transfers);
        let help = "The time that each request to the ledger was in flight";
        histogram(names::LEDGER_REQUEST_SECONDS, help, &self.request_seconds);
        let mut counter = |name: &str, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        let help = "Messages that were not sent because their caller had given up";
        counter(names::LEDGER_ABANDONED_MESSAGES, help, &self.abandoned_messages);
        let help = "Requests to the ledger that were lost with their session";
        counter(names::LEDGER_LOST_REQUESTS, help, &self.lost_requests);
        let help = "Requests that were larger than the ledger takes and were sent again in parts";
        counter(names::LEDGER_REFUSED_REQUESTS, help, &self.refused_requests);
    }

    /// The transfers that wait in the queue now.
    pub fn queued_transfers(&self) -> u64 {
        u64::try_from(self.queue_transfers.get()).unwrap_or(0)
    }

    /// The requests that were sent and not refused.
    pub fn requests(&self) -> u64 {
        self.request_transfers.count()
    }

    /// The transfers in all these requests.
    pub fn request_transfers(&self) -> u64 {
        self.request_transfers.sum()
    }

    /// The transfers in the largest of these requests.
    pub fn request_transfers_max(&self) -> u64 {
        u64::try_from(self.request_transfers_max.get()).unwrap_or(0)
    }

    /// The time that all these requests together were in flight, in microseconds.
    pub fn in_flight_us(&self) -> u64 {
        self.request_seconds.sum()
    }

    /// The messages that were not sent because their caller had given up.
    pub fn abandoned_messages(&self) -> u64 {
        self.abandoned_messages.get()
    }

    /// The requests that were lost with their session; they count as sent.
    pub fn lost_requests(&self) -> u64 {
        self.lost_requests.get()
    }

    /// The requests that the ledger refused as too large; they do not count as sent.
    pub fn refused_requests(&self) -> u64 {
        self.refused_requests.get()
    }

    pub(super) fn enqueued(&self, transfers: usize) {
        self.queue_transfers.inc_by(as_level(transfers));
    }

    pub(super) fn dequeued(&self, transfers: usize) {
        self.queue_transfers.dec_by(as_level(transfers));
    }

    pub(super) fn abandoned(&self) {
        self.abandoned_messages.inc();
    }

    pub(super) fn lost(&self) {
        self.lost_requests.inc();
    }

    pub(super) fn refused(&self) {
        self.refused_requests.inc();
    }

    pub(super) fn sent(&self, transfers: usize, in_flight: Duration) {
        self.request_transfers.observe(transfers as u64);
        self.request_transfers_max.inner().fetch_max(as_level(transfers), Ordering::Relaxed);
        self.request_seconds.observe_time(in_flight);
    }
}

/// The number as a gauge's value.
fn as_level(transfers: usize) -> i64 {
    i64::try_from(transfers).unwrap_or(i64::MAX)
}
