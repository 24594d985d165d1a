//! Rates of calls.

use std::time::Duration;

use super::{IntoLimitKey, Limit};
use crate::limit::{BucketRate, RefillRateError};

/// A rate: units that become available one by one, and how many of them may be taken at once.
///
/// It is a token bucket, as in Go's `x/time/rate` and in governor: it holds `burst` units, starts full, and gets one unit more
/// each 1/rate seconds. While it is full, the next of these intervals begins with the call that takes from it. So in any
/// time `t` at most `burst + rate × t` units are granted, rounded down. Above 100 units per second a large burst gets several
/// units at once, and as many more may be granted.
///
/// ```
/// # use ledger_limiter::client::{InProcess, InProcessError, Limiter, Rate, Requirements};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // One limit for each user, made when the user first calls.
/// let limits = [Rate::per_minute(60).burst(10).limit("calls:{user}")];
/// let limiter = Limiter::new(InProcess::with_limits(limits).await?);
/// limiter.acquire(&Requirements::new([("calls:ann", 1)])?).await?;
/// # limiter.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    units: f64,
    seconds: f64,
    burst: u64,
}

impl Rate {
    /// `units` per second; fractions of one unit, too. The burst is as many units, at least one, until
    /// [`burst`](Self::burst) sets it. With 0 nothing is ever
    /// refilled, and the burst is 0 until it is set.
    pub fn per_second(units: impl Into<f64>) -> Self {
        Self::of(units.into(), 1.0)
    }

    /// `units` per minute; see [`per_second`](Self::per_second).
    pub fn per_minute(units: impl Into<f64>) -> Self {
        Self::of(units.into(), 60.0)
    }

    /// `units` per hour; see [`per_second`](Self::per_second).
    pub fn per_hour(units: impl Into<f64>) -> Self {
        Self::of(units.into(), 3_600.0)
    }

    /// One unit in each `interval`.
    pub fn every(interval: Duration) -> Self {
        Self::of(1.0, interval.as_secs_f64())
    }

    fn of(units: f64, seconds: f64) -> Self {
        // A float becomes the nearest integer; a rate that is no number is an error when a limit is made of it.
        let burst = if units == 0.0 { 0 } else { (units.ceil() as u64).max(1) };
        Self { units, seconds, burst }
    }

    /// Sets how many units may be taken at once.
    #[must_use]
    pub fn burst(self, burst: u64) -> Self {
        Self { burst, ..self }
    }

    /// A limit with this rate. A key with placeholders makes a template, whose instances have the rate each.
    pub fn limit(self, key: impl IntoLimitKey) -> Limit {
        Limit::at_rate(key, self)
    }

    pub(super) fn burst_units(self) -> u64 {
        self.burst
    }

    pub(super) fn refill(self) -> Result<BucketRate, RefillRateError> {
        BucketRate::per_second(self.units / self.seconds)
    }
}
