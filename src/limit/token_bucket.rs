use super::definition::{DefinitionError, KindFields, in_range};
use super::{Amount, RefillRate, SECONDS_MAX, Steps};

/// The longest time between two refills, in milliseconds: 366 days.
pub const REFILL_INTERVAL_MS_MAX: u64 = SECONDS_MAX as u64 * 1_000;
/// For how long what was taken of a bucket that is refilled by hand can be given back, in seconds.
const BY_HAND_SECONDS: u64 = 3_600;

/// A bucket that starts full: what is reserved is taken out for good, and `refill_amount` is put in every
/// `refill_interval_ms`, or when somebody asks for it, as long as there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    refill: RefillRate,
    auto_replenish: bool,
}

impl TokenBucket {
    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let refill_amount = Amount::new(fields.refill_amount)
            .map_err(|error| DefinitionError::Amount { field: "refill_amount", error })?;
        let refill_interval_ms =
            in_range("refill_interval_ms", fields.refill_interval_ms, 1, REFILL_INTERVAL_MS_MAX)?;
        let refill = RefillRate::new(refill_amount, refill_interval_ms);
        Ok(Self { refill, auto_replenish: fields.auto_replenish.unwrap_or(true) })
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields {
            refill_amount: self.refill.amount().get(),
            refill_interval_ms: self.refill.interval_ms(),
            auto_replenish: Some(self.auto_replenish),
            ..KindFields::default()
        }
    }

    /// One that is refilled by time, at this rate.
    pub fn at_rate(refill: RefillRate) -> Self {
        Self { refill, auto_replenish: true }
    }

    /// What refills put in, and the time between them.
    pub fn refill(self) -> RefillRate {
        self.refill
    }

    /// Whether it is refilled by time; otherwise only when somebody asks for it.
    pub fn auto_replenish(self) -> bool {
        self.auto_replenish
    }

    /// The time between refills, counted from when the bucket came into force. `None` if they are made by hand.
    pub(super) fn steps(self, since_ms: u64) -> Option<Steps> {
        let steps = Steps { anchor_ms: since_ms, span_ms: self.refill.interval_ms(), per_span: 1 };
        self.auto_replenish.then_some(steps)
    }

    /// What so many refills put in, at the most. It may be more than the bucket holds: more may be owed, and the capacity
    /// may have been raised since it was looked at.
    pub(super) fn refilled(self, refills: u64) -> u64 {
        self.refill.amount().get().saturating_mul(refills)
    }

    /// How long refills take to fill it, in milliseconds, were they made by time.
    pub fn full_after_ms(self, capacity: u64) -> u64 {
        let refills = capacity.div_ceil(self.refill.amount().get());
        refills.saturating_mul(self.refill.interval_ms()).min(u64::from(SECONDS_MAX) * 1_000)
    }

    /// When the bucket is full again if at most so much was taken out by `now_ms`: from then on nothing is left to give
    /// back.
    pub(super) fn over_at_ms(self, now_ms: u64, spent_max: u64) -> u64 {
        let full_after_ms = if self.auto_replenish {
            // The first refill may be due at once, or only after a whole interval.
            self.full_after_ms(spent_max).saturating_add(self.refill.interval_ms())
        } else {
            BY_HAND_SECONDS * 1_000
        };
        now_ms.saturating_add(full_after_ms)
    }
}
