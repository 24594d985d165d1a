//! Units of time and their conversions. The ledger counts in nanoseconds since the Unix epoch, the API in milliseconds.

use std::time::Duration;

/// Nanoseconds in a second.
pub(crate) const NS_PER_SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;

/// A duration in nanoseconds. A duration of 584 years or more saturates.
pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The ledger's nanoseconds as whole milliseconds, rounded down.
pub(crate) fn unix_ms(timestamp_ns: u64) -> u64 {
    timestamp_ns / NS_PER_MS
}
