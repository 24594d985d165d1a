//! The gauges of the limits in `metrics.limits`. They are read from the ledger for each `GET /metrics`, so that none shows a
//! usage of before.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::registry::LimitUsage;
use crate::telemetry::{MetricsRegistry, names};

/// A gauge of large numbers. Above 2^53 it shows the nearest floating point number, as Prometheus would store it.
type Gauges = Family<[(&'static str, String); 1], Gauge<f64, AtomicU64>>;

/// The gauges of these limits; nothing without limits.
pub(super) fn registry_of(usages: &[LimitUsage]) -> MetricsRegistry {
    let mut registry = MetricsRegistry::default();
    if usages.is_empty() {
        return registry;
    }
    let mut show = |name, help, value: fn(&LimitUsage) -> u128| {
        let gauges = Gauges::default();
        for usage in usages {
            gauges.get_or_create(&[("key", usage.key().to_string())]).set(value(usage) as f64);
        }
        registry.register(name, help, gauges);
    };
    show(names::LIMIT_CAPACITY, "The capacity of a limit, or the most instances of a template", |usage| {
        usage.state().definition.posted_balance().into()
    });
    show(names::LIMIT_AVAILABLE, "What can be reserved now", |usage| usage.available);
    show(names::LIMIT_RESERVED, "What is reserved", |usage| usage.reserved);
    show(names::LIMIT_WAITING, "What callers wait for in this process", |usage| usage.waiting);
    show(names::LIMIT_DEBT, "Overage that found no room, since the limit was made", |usage| usage.debt);
    registry
}
