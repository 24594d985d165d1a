//! The names and types of the metrics, and errors as one log line.
//!
//! Each part of the service counts in atomics without ordering between them, and registers clones of its metrics in
//! the [`MetricsRegistry`] that `GET /metrics` shows. Only the gauges of the limits in `metrics.limits`
//! have a limit key as a label, so the number of metrics does not grow with the number of limits.

#[cfg(any(feature = "server", feature = "tigerbeetle"))]
mod histogram;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub mod names;

mod occurrences;

use std::error::Error;

#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use histogram::{Histogram, Unit};
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use prometheus_client::metrics::counter::Counter;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use prometheus_client::metrics::gauge::Gauge;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use prometheus_client::registry::Registry as MetricsRegistry;

pub(crate) use occurrences::Occurrences;

/// An error and its sources in one line, joined with `: `.
pub fn with_sources(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
