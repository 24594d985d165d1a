//! Units of time and their conversions. The ledger counts in nanoseconds since the Unix epoch, the API in milliseconds.

use std::time::Duration;
#[cfg(any(feature = "permits", feature = "server"))]
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds in a second.
pub(crate) const NS_PER_SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;

/// A duration in nanoseconds. A duration of 584 years or more saturates.
pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, rounded down.
pub(crate) fn saturating_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time in milliseconds since the Unix epoch. A time before the epoch becomes 0.
#[cfg(any(feature = "permits", feature = "server"))]
pub(crate) fn unix_ms_of(time: SystemTime) -> u64 {
    saturating_ms(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The ledger's nanoseconds as whole milliseconds, rounded down.
pub(crate) fn unix_ms(timestamp_ns: u64) -> u64 {
    timestamp_ns / NS_PER_MS
}
