//! A histogram that consists of atomics. The histogram of the metrics crate takes a lock for each value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The upper bounds of the buckets for times, in microseconds: 1, 2 and 5 times the powers of ten, from 20 us to 10 s.
const BOUNDS_US: &[u64] = &[
    20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000,
];

/// The upper bounds of the buckets for numbers of transfers. The last is the most that TigerBeetle takes in one
/// request.
const BOUNDS_TRANSFERS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_189];

/// What the values of a histogram measure. Determines the bounds of its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Times, observed in microseconds and exported in seconds.
    Seconds,
    /// Numbers of transfers.
    Transfers,
}

/// Counts values by bucket. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Histogram {
    unit: Unit,
    /// One for each bound, and one for the values above the last bound.
    buckets: Arc<[AtomicU64]>,
    sum: Arc<AtomicU64>,
}

impl Unit {
    fn bounds(self) -> &'static [u64] {
        match self {
            Self::Seconds => BOUNDS_US,
            Self::Transfers => BOUNDS_TRANSFERS,
        }
    }

    /// A value in the unit in which it is exported.
    #[expect(clippy::cast_precision_loss, reason = "the text format has floating point numbers only")]
    fn exported(self, value: u64) -> f64 {
        match self {
            Self::Seconds => value as f64 / 1e6,
            Self::Transfers => value as f64,
        }
    }
}

impl Histogram {
    /// An empty histogram.
    pub fn new(unit: Unit) -> Self {
        let buckets = unit.bounds().iter().map(|_| AtomicU64::new(0)).chain([AtomicU64::new(0)]);
        Self { unit, buckets: buckets.collect(), sum: Arc::default() }
    }

    /// Counts a value, in microseconds or transfers.
    pub fn observe(&self, value: u64) {
        let bucket = self.unit.bounds().partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a time.
    pub fn observe_time(&self, time: Duration) {
        self.observe(crate::time::saturating_nanos(time) / 1_000);
    }

    /// The number of values counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The sum of all values, in microseconds or transfers.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.unit.bounds().iter().map(|bound| self.unit.exported(*bound)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // From the same readings, so that the count agrees with the buckets.
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.unit.exported(self.sum()), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn exported(histogram: Histogram) -> String {
        let mut registry = Registry::default();
        registry.register("x", "Help", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    #[test]
    fn a_value_counts_in_the_first_bucket_whose_bound_is_not_below_it() {
        let histogram = Histogram::new(Unit::Transfers);
        [1, 3, 4, 5, 8_189, 8_190].into_iter().for_each(|value| histogram.observe(value));
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum(), 1 + 3 + 4 + 5 + 8_189 + 8_190);
        let text = exported(histogram);
        for line in [
            "x_bucket{le=\"1.0\"} 1",
            "x_bucket{le=\"2.0\"} 1",
            "x_bucket{le=\"4.0\"} 3",
            "x_bucket{le=\"8.0\"} 4",
            "x_bucket{le=\"8189.0\"} 5",
            "x_bucket{le=\"+Inf\"} 6",
            "x_count 6",
            "x_sum 16392.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn times_are_exported_in_seconds() {
        let histogram = Histogram::new(Unit::Seconds);
        histogram.observe_time(Duration::from_micros(1_500));
        histogram.clone().observe_time(Duration::from_secs(60));
        let text = exported(histogram);
        for line in [
            "x_bucket{le=\"0.001\"} 0",
            "x_bucket{le=\"0.002\"} 1",
            "x_bucket{le=\"10.0\"} 1",
            "x_sum 60.0015",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }
}
