//! How fast time refills a bucket, if at all.

use super::{RefillRate, RefillRateError, TokenBucket};
use crate::limit::{Amount, Capacity};

/// How fast time refills a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketRate {
    /// It does not: what is taken stays taken, unless somebody releases or refills it.
    Never,
    /// At this rate.
    Evenly(RefillRate),
}

/// A change of the rate of a bucket, of its capacity, or of both. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateChange {
    /// The new rate.
    pub rate: Option<BucketRate>,
    /// The new capacity.
    pub burst: Option<Capacity>,
}

impl RateChange {
    /// Sets both.
    pub fn both(rate: BucketRate, burst: Capacity) -> Self {
        Self { rate: Some(rate), burst: Some(burst) }
    }
}

impl From<TokenBucket> for BucketRate {
    fn from(bucket: TokenBucket) -> Self {
        if bucket.auto_replenish() { Self::Evenly(bucket.refill()) } else { Self::Never }
    }
}

impl BucketRate {
    /// The rate of `units` per second. 0 is a rate, too: never.
    pub fn per_second(units: f64) -> Result<Self, RefillRateError> {
        if units == 0.0 { Ok(Self::Never) } else { RefillRate::per_second(units).map(Self::Evenly) }
    }

    /// A bucket of this capacity that is refilled so.
    pub(crate) fn bucket(self, burst: Capacity) -> TokenBucket {
        match self {
            Self::Never => TokenBucket::manual(RefillRate::new(Amount::ONE, 1)),
            Self::Evenly(rate) => TokenBucket::at_rate(rate.for_burst(burst)),
        }
    }
}
