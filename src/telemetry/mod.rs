//! What operators see: how errors are told, and every metric with its name.
//!
//! Each part counts for itself, in atomics that are written without any order between them, and hands clones to the
//! [`MetricsRegistry`] that `GET /metrics` shows. Nothing is counted per key, so the metrics do not grow with the limits.

#[cfg(any(feature = "server", feature = "tigerbeetle"))]
mod histogram;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
mod metrics;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub mod names;

use std::error::Error;

#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use histogram::{Histogram, Unit};
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use metrics::{CompleteCounts, InFlight, Metrics, ReserveCounts, Route};
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use prometheus_client::metrics::counter::Counter;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use prometheus_client::metrics::gauge::Gauge;
#[cfg(any(feature = "server", feature = "tigerbeetle"))]
pub use prometheus_client::registry::Registry as MetricsRegistry;

/// An error and what caused it, in one line.
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
