//! Token bucket: refills add tokens at fixed intervals, or by hand.

use serde::{Deserialize, Serialize};

use super::{KindFields, REFILL_INTERVAL_MS_MAX, RefillRate, SECONDS_MAX, Steps, in_range};
use crate::limit::{Amount, DefinitionError};

/// How long unused tokens of a manually refilled bucket can be released after they were spent, in seconds.
const MANUAL_RELEASE_SECONDS: u64 = 3_600;

/// A bucket that starts full. A reservation spends tokens; each refill adds up to `refill_amount`, never beyond the capacity.
/// Refills are due every `refill_interval_ms`, or on request if `auto_replenish` is false.
///
/// An interval sees at most the capacity and, for each refill interval in it, rounded up, one refill.
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

impl TokenBucket {
    pub(super) const FIELD_NAMES: &[&str] = &["refill_amount", "refill_interval_ms", "auto_replenish"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let refill_amount = Amount::new(fields.refill_amount)
            .map_err(|error| DefinitionError::Amount { field: "refill_amount", error })?;
        let refill_interval_ms =
            in_range("refill_interval_ms", fields.refill_interval_ms, 1, REFILL_INTERVAL_MS_MAX)?;
        let refill = RefillRate::new(refill_amount, refill_interval_ms);
        Ok(Self { refill, auto_replenish: fields.auto_replenish.unwrap_or(true) })
    }

    pub(super) fn fields(self) -> KindFields {
        Encoded::from(self).into()
    }

    /// A bucket that time refills at this rate.
    pub fn at_rate(refill: RefillRate) -> Self {
        Self { refill, auto_replenish: true }
    }

    /// The tokens that one refill adds, and the time between refills.
    pub fn refill(self) -> RefillRate {
        self.refill
    }

    /// Whether time refills the bucket; otherwise it is refilled on request.
    pub fn auto_replenish(self) -> bool {
        self.auto_replenish
    }

    /// One step is one refill interval, counted from `since_ms`, when the schedule took effect. `None` if the bucket is
    /// refilled on request.
    pub(super) fn steps(self, since_ms: u64) -> Option<Steps> {
        let steps = Steps { anchor_ms: since_ms, span_ms: self.refill.interval_ms(), per_span: 1 };
        self.auto_replenish.then_some(steps)
    }

    /// The most that this many refills add. It may exceed the capacity: the bucket may owe more, and its capacity may have
    /// been raised since it was read.
    pub(super) fn refilled(self, refills: u64) -> u64 {
        self.refill.amount().get().saturating_mul(refills)
    }

    /// How long refills by time take to fill `capacity` tokens, in milliseconds.
    pub fn full_after_ms(self, capacity: u64) -> u64 {
        let refills = capacity.div_ceil(self.refill.amount().get());
        refills.saturating_mul(self.refill.interval_ms()).min(u64::from(SECONDS_MAX) * 1_000)
    }

    /// When the bucket is full again if at most `spent_max` tokens are spent at `now_ms`, in milliseconds since the Unix
    /// epoch. From then on nothing is left to release.
    pub(super) fn refilled_at_ms(self, now_ms: u64, spent_max: u64) -> u64 {
        let full_after_ms = if self.auto_replenish {
            // The first refill may be due at once, or only after a whole interval.
            self.full_after_ms(spent_max).saturating_add(self.refill.interval_ms())
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
