//! The metrics of alerts.

use prometheus_client::metrics::family::Family;

use crate::telemetry::{Counter, Gauge, MetricsRegistry, names};

/// The label of the threshold, in percent.
const THRESHOLD: &str = "threshold_percent";

/// Crossed thresholds, and what became of their events. Copies share the counters.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "client-tls"),
    expect(dead_code, reason = "without a webhook they exist, and nothing counts")
)]
pub(super) struct Counts {
    crossed: Family<[(&'static str, String); 1], Counter>,
    /// Events that wait for the webhook, or are being posted.
    pub(super) queued: Gauge,
    /// Events that were not queued, because too many waited.
    pub(super) dropped: Counter,
    pub(super) delivered: Counter,
    /// Events that the receiver refused for good.
    pub(super) refused: Counter,
    /// Events whose attempts all failed.
    pub(super) gave_up: Counter,
    /// Attempts behind the first one of an event.
    pub(super) retries: Counter,
}

impl Counts {
    pub(super) fn register(registry: &mut MetricsRegistry) -> Self {
        let crossed = Family::<[(&'static str, String); 1], Counter>::default();
        // Without one the metric would not exist before the first crossing.
        drop(crossed.get_or_create(&[(THRESHOLD, "100".to_owned())]));
        let help = "Thresholds of limits that were crossed, and of which this replica tells";
        registry.register(names::ALERTS, help, crossed.clone());
        let queued = Gauge::default();
        registry.register(names::ALERTS_QUEUED, "Alerts that wait for the webhook", queued.clone());
        let events = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register(names::ALERT_EVENTS, "Alerts for the webhook by outcome", events.clone());
        let retries = Counter::default();
        let help = "Attempts to post an alert behind its first one";
        registry.register(names::ALERT_RETRIES, help, retries.clone());
        let event = |outcome| events.get_or_create(&[("outcome", outcome)]).clone();
        Self {
            crossed,
            queued,
            dropped: event("dropped"),
            delivered: event("delivered"),
            refused: event("refused"),
            gave_up: event("gave_up"),
            retries,
        }
    }

    pub(super) fn crossed(&self, threshold_percent: u64) {
        self.crossed.get_or_create(&[(THRESHOLD, threshold_percent.to_string())]).inc();
    }
}
