//! Token bucket: refills add tokens at fixed intervals, or by hand.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{KindFields, REFILL_INTERVAL_MS_MAX, RefillRate, SECONDS_MAX, Steps, in_range};
use crate::limit::{Amount, DefinitionError};

/// How long unused tokens of a manually refilled bucket can be released after they were spent, in seconds.
const MANUAL_RELEASE_SECONDS: u64 = 3_600;

/// A bucket that starts full. A reservation spends tokens; each refill adds up to `refill_amount`, never beyond the capacity.
/// `refills_per_interval` refills are due in `refill_interval_ms`, evenly spread, or on request if `auto_replenish` is false.
///
/// An interval sees at most the capacity and, for each refill that is due in it, the refill amount. Refills are counted from the
/// reservation that found the bucket full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    refill: RefillRate,
    auto_replenish: bool,
}

/// The fields as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    refill_amount: u64,
    refill_interval_ms: u64,
    auto_replenish: bool,
}

/// The fields of a bucket with several refills per interval, as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct EncodedSpread {
    bucket: Encoded,
    refills_per_interval: u32,
}

impl TokenBucket {
    pub(super) const FIELD_NAMES: &[&str] =
        &["refill_amount", "refill_interval_ms", "refills_per_interval", "auto_replenish"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let refill_amount = Amount::new(fields.refill_amount)
            .map_err(|error| DefinitionError::Amount { field: "refill_amount", error })?;
        let refill_interval_ms =
            in_range("refill_interval_ms", fields.refill_interval_ms, 1, REFILL_INTERVAL_MS_MAX)?;
        let per_interval_max = RefillRate::per_interval_max(refill_interval_ms);
        let per_interval =
            in_range("refills_per_interval", fields.refills_per_interval.max(1), 1, per_interval_max)?;
        // The upper bound fits 32 bits.
        let per_interval = NonZeroU32::new(per_interval as u32).unwrap_or(NonZeroU32::MIN);
        let refill = RefillRate::new(refill_amount, refill_interval_ms).with_per_interval(per_interval);
        Ok(Self { refill, auto_replenish: fields.auto_replenish.unwrap_or(true) })
    }

    pub(super) fn fields(self) -> KindFields {
        EncodedSpread::from(self).into()
    }

    /// A bucket that time refills at this rate.
    pub(super) fn at_rate(refill: RefillRate) -> Self {
        Self { refill, auto_replenish: true }
    }

    /// A bucket that is refilled on request, by the amount of this rate.
    pub(super) fn manual(refill: RefillRate) -> Self {
        Self { refill, auto_replenish: false }
    }

    /// The tokens that one refill adds, and the times of refills.
    pub fn refill(self) -> RefillRate {
        self.refill
    }

    /// Whether time refills the bucket; otherwise it is refilled on request.
    pub fn auto_replenish(self) -> bool {
        self.auto_replenish
    }

    /// One step is the time between two refills, counted from `since_ns`, when the schedule took effect. `None` if the bucket
    /// is refilled on request.
    pub(super) fn steps(self, since_ns: u64) -> Option<Steps> {
        self.auto_replenish.then(|| self.refill.steps(since_ns))
    }

    /// The most that this many refills add. It may exceed the capacity: the bucket may owe more, and its capacity may have
    /// been raised since it was read.
    pub(super) fn refilled(self, refills: u64) -> u64 {
        self.refill.amount().get().saturating_mul(refills)
    }

    /// How long refills by time take to fill `capacity` tokens, in milliseconds.
    pub fn full_after_ms(self, capacity: u64) -> u64 {
        let refills = capacity.div_ceil(self.refill.amount().get());
        self.refill.refills_take_ms(refills).min(u64::from(SECONDS_MAX) * 1_000)
    }

    /// When the bucket is full again if at most `spent_max` tokens are spent at `now_ms`, in milliseconds since the Unix
    /// epoch. From then on nothing is left to release.
    pub(super) fn refilled_at_ms(self, now_ms: u64, spent_max: u64) -> u64 {
        let full_after_ms = if self.auto_replenish {
            // The first refill may be due at once, or only after a whole step.
            self.full_after_ms(spent_max).saturating_add(self.refill.refills_take_ms(1))
        } else {
            MANUAL_RELEASE_SECONDS * 1_000
        };
        now_ms.saturating_add(full_after_ms)
    }
}

impl From<TokenBucket> for Encoded {
    fn from(bucket: TokenBucket) -> Self {
        Self {
            refill_amount: bucket.refill.amount().get(),
            refill_interval_ms: bucket.refill.interval_ms(),
            auto_replenish: bucket.auto_replenish,
        }
    }
}

impl From<TokenBucket> for EncodedSpread {
    fn from(bucket: TokenBucket) -> Self {
        Self { bucket: bucket.into(), refills_per_interval: bucket.refill.per_interval().get() }
    }
}

impl From<EncodedSpread> for KindFields {
    fn from(encoded: EncodedSpread) -> Self {
        // One refill per interval is the default.
        let refills_per_interval = match encoded.refills_per_interval {
            1 => 0,
            several => several.into(),
        };
        Self { refills_per_interval, ..encoded.bucket.into() }
    }
}

impl From<Encoded> for KindFields {
    fn from(encoded: Encoded) -> Self {
        Self {
            refill_amount: encoded.refill_amount,
            refill_interval_ms: encoded.refill_interval_ms,
            auto_replenish: Some(encoded.auto_replenish),
            ..Self::default()
        }
    }
}
