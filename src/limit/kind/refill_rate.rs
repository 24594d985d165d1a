//! Refill rates of token buckets.

use std::num::NonZeroU32;

use super::{SECONDS_MAX, Steps, Tick};
use crate::limit::{Amount, Capacity};

/// The longest time between two refills, in milliseconds: 366 days.
pub const REFILL_INTERVAL_MS_MAX: u64 = SECONDS_MAX as u64 * 1_000;

const MS_PER_SECOND: f64 = 1_000.0;
/// A rate is at most this share off the one asked for.
const ROUNDING: f64 = 1e-9;
/// Refills are this many milliseconds apart or more, if the burst allows.
const BETWEEN_REFILLS_MS: u64 = 10;
/// A refill adds at most the burst divided by this number, or 1. So a caller that waits for nearly the whole burst
/// loses at most this part of it when a refill finds the bucket full.
const BURST_PARTS: u64 = 100;
/// The most refills in a millisecond. Only rates above a million times the burst would need more.
const PER_MS_MAX: u64 = 1_000;

/// The refill rate of a bucket: the amount of a refill, the refills per interval, and the length of the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefillRate {
    amount: Amount,
    per_interval: NonZeroU32,
    interval_ms: u64,
}

/// Why a number is not a refill rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefillRateError {
    /// The number is zero, negative, infinite or NaN.
    #[error("must be a number above 0")]
    NotAboveZero,
    /// One unit would take longer than [`REFILL_INTERVAL_MS_MAX`].
    #[error("must be at least 1 in {} days", REFILL_INTERVAL_MS_MAX / 86_400_000)]
    TooSlow,
    /// One millisecond would add more than the largest amount.
    #[error("must be at most {} in a millisecond", Amount::MAX.get())]
    TooFast,
}

impl RefillRate {
    /// The rate of `units` per second, as the simplest amount per whole milliseconds that is at most a billionth off.
    /// [`RefillRate::for_burst`] spreads the amount over the interval.
    pub fn per_second(units: f64) -> Result<Self, RefillRateError> {
        if !units.is_finite() || units <= 0.0 {
            return Err(RefillRateError::NotAboveZero);
        }
        let units_per_ms = units / MS_PER_SECOND;
        if units_per_ms >= Amount::MAX.get() as f64 {
            return Err(RefillRateError::TooFast);
        }
        let (units, interval_ms) = simplest_fraction(units_per_ms).ok_or(RefillRateError::TooSlow)?;
        let amount = Amount::new(units).map_err(|_| RefillRateError::TooFast)?;
        Ok(Self::new(amount, interval_ms))
    }

    /// The same rate, in refills that suit a bucket of this capacity: as large as 10 ms take, but at most a hundredth of the
    /// burst, so that the bucket has room for them. At least 1 unit, and at most 1,000 refills in a millisecond.
    pub fn for_burst(self, burst: impl Into<Capacity>) -> Self {
        let units = u128::from(self.amount.get()) * u128::from(self.per_interval.get());
        let interval_ms = u128::from(self.interval_ms);
        let in_time = |ms: u128| units * ms / interval_ms;
        let most = u128::from(burst.into().get().max(1).div_ceil(BURST_PARTS));
        let least = units.div_ceil(interval_ms * u128::from(PER_MS_MAX));
        let amount = in_time(BETWEEN_REFILLS_MS.into()).min(most).max(least).max(1);
        // `units / amount` refills per interval, as a fraction in lowest terms.
        let common = greatest_common_divisor(units, interval_ms * amount);
        let spread = Self::from_wide(amount, units / common, interval_ms * amount / common);
        // A rate whose terms are too large stays as it is.
        spread.unwrap_or(self)
    }

    fn from_wide(amount: u128, per_interval: u128, interval_ms: u128) -> Option<Self> {
        let amount = Amount::new(u64::try_from(amount).ok()?).ok()?;
        let per_interval = NonZeroU32::new(u32::try_from(per_interval).ok()?)?;
        let interval_ms = u64::try_from(interval_ms).ok().filter(|&ms| ms <= REFILL_INTERVAL_MS_MAX)?;
        Some(Self { amount, per_interval, interval_ms })
    }

    /// One refill per interval. The fields are already checked.
    pub(crate) fn new(amount: Amount, interval_ms: u64) -> Self {
        Self { amount, per_interval: NonZeroU32::MIN, interval_ms }
    }

    /// The same with this many refills per interval, evenly spread. The field is already checked.
    pub(crate) fn with_per_interval(self, per_interval: NonZeroU32) -> Self {
        Self { per_interval, ..self }
    }

    /// The most refills in an interval.
    pub(crate) fn per_interval_max(interval_ms: u64) -> u64 {
        interval_ms.saturating_mul(PER_MS_MAX).min(u32::MAX.into())
    }

    /// The units that one refill adds.
    pub fn amount(self) -> Amount {
        self.amount
    }

    /// The refills in an interval, evenly spread.
    pub fn per_interval(self) -> NonZeroU32 {
        self.per_interval
    }

    /// The length of an interval, in milliseconds.
    pub fn interval_ms(self) -> u64 {
        self.interval_ms
    }

    /// The time that this many refills take, in milliseconds, rounded up.
    pub(crate) fn refills_take_ms(self, refills: u64) -> u64 {
        let take_ms =
            (u128::from(refills) * u128::from(self.interval_ms)).div_ceil(self.per_interval.get().into());
        u64::try_from(take_ms).unwrap_or(u64::MAX)
    }

    /// The steps of a schedule with this rate. They begin at whole milliseconds, unless they are shorter than that.
    pub(crate) fn steps(self, anchor_ns: u64) -> Steps {
        let is_shorter_than_ms = u64::from(self.per_interval.get()) > self.interval_ms;
        let tick = if is_shorter_than_ms { Tick::Nanosecond } else { Tick::Millisecond };
        Steps { anchor_ns, span_ms: self.interval_ms, per_span: self.per_interval.get(), tick }
    }

    /// The rate in units per second.
    pub fn units_per_second(self) -> f64 {
        self.amount.get() as f64 * f64::from(self.per_interval.get()) * MS_PER_SECOND
            / self.interval_ms as f64
    }
}

/// The fraction with the smallest terms that is at most [`ROUNDING`] off a number above 0, by its continued fraction. `None` if
/// its denominator exceeds [`REFILL_INTERVAL_MS_MAX`] or it is 0.
fn simplest_fraction(number: f64) -> Option<(u64, u64)> {
    let (mut before, mut last, mut rest) = ((0, 1), (1, 0), number);
    loop {
        // Each round doubles the denominator at least, so the loop ends. The conversion saturates.
        let whole = rest.floor() as u64;
        let next = |before: u64, last: u64| whole.saturating_mul(last).saturating_add(before);
        let (units, interval_ms) = (next(before.0, last.0), next(before.1, last.1));
        if interval_ms > REFILL_INTERVAL_MS_MAX {
            return None;
        }
        if (units as f64 / interval_ms as f64 - number).abs() <= number * ROUNDING {
            return Some((units, interval_ms));
        }
        (before, last, rest) = (last, (units, interval_ms), 1.0 / (rest - rest.floor()));
    }
}

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spread(units: f64, burst: u64) -> RefillRate {
        RefillRate::per_second(units).expect("a rate").for_burst(Amount::new(burst).expect("valid"))
    }

    #[test]
    fn refills_are_ten_milliseconds_apart_where_the_burst_allows() {
        // Units per second, burst; amount, refills per interval, interval in milliseconds.
        let rows = [
            (10.0, 1, (1, 1, 100)),
            (0.5, 1_000, (1, 1, 2_000)),
            (1.0 / 3.0, 1, (1, 1, 3_000)),
            (1.0 / 86_400.0, 1, (1, 1, 86_400_000)),
            (100.0 / 60.0, 5, (1, 1, 600)),
            (1_000.0, 100_000, (10, 1, 10)),
            (2_500.0, 100_000, (25, 1, 10)),
            (1e6, 1_000_000_000, (10_000, 1, 10)),
            (1_000.0, 500, (5, 1, 5)),
            (1_000.0, 1, (1, 1, 1)),
            (333.0, 10, (1, 333, 1_000)),
            (3.0, 1, (1, 3, 1_000)),
            (997.0, 5, (1, 997, 1_000)),
            (3.7, 1, (1, 37, 10_000)),
            (1e6, 1, (1, 1_000, 1)),
            (2_500.0, 5, (1, 5, 2)),
        ];
        for (units, burst, expected) in rows {
            let RefillRate { amount, per_interval, interval_ms } = spread(units, burst);
            assert_eq!((amount.get(), per_interval.get(), interval_ms), expected, "{units} {burst}");
        }
    }

    #[test]
    fn numbers_that_are_not_rates_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(RefillRate::per_second(bad), Err(RefillRateError::NotAboveZero), "{bad}");
        }
        for slow in [1e-8, f64::MIN_POSITIVE] {
            assert_eq!(RefillRate::per_second(slow), Err(RefillRateError::TooSlow), "{slow}");
        }
        for fast in [1e23, f64::MAX] {
            assert_eq!(RefillRate::per_second(fast), Err(RefillRateError::TooFast), "{fast}");
        }
    }

    /// Refills an empty bucket for this many steps. The caller takes all available tokens as soon as there are as
    /// many as it waits for. Returns the units per second that it took and that it could still take.
    fn taken_per_second(rate: RefillRate, burst: u64, waits_for: u64, steps: u64) -> f64 {
        let (mut tokens, mut taken) = (0, 0);
        let schedule = rate.steps(0);
        for step in 1..=steps {
            assert!(schedule.starts_at_ns(step) > schedule.starts_at_ns(step - 1), "a refill for each step");
            tokens = u64::min(tokens + rate.amount().get(), burst);
            if tokens >= waits_for {
                taken += tokens;
                tokens = 0;
            }
        }
        (taken + tokens) as f64 * 1e9 / schedule.starts_at_ns(steps) as f64
    }

    proptest! {
        #[test]
        fn a_rate_is_hardly_off_the_one_asked_for(exponent in -6.0..15.0_f64, digits in 1.0..10.0_f64) {
            let asked = digits * 10_f64.powf(exponent);
            let made = RefillRate::per_second(asked).expect("a rate").units_per_second();
            prop_assert!((made / asked - 1.0).abs() <= 2.0 * ROUNDING, "{made} of {asked}");
        }

        /// From one in a year to a million in a second.
        #[test]
        fn a_bucket_of_any_size_is_refilled_at_the_rate_asked_for(
            exponent in -7.5..6.0_f64,
            is_whole in any::<bool>(),
            burst in prop_oneof![1..20_u64, 1..100_000_u64, 1..=Amount::MAX.get()],
            share in 0.0..=1.0_f64,
        ) {
            let exact = 10_f64.powf(exponent);
            let asked = if is_whole { exact.ceil() } else { exact };
            let rate = spread(asked, burst);
            prop_assert!(rate.amount().get() <= burst, "{rate:?} has room in {burst}");
            // Nanoseconds since the Unix epoch last for 584 years.
            let steps = ((asked * 1e10) as u64).min(20_000);
            let at_once = taken_per_second(rate, burst, 1, steps);
            prop_assert!((at_once / asked - 1.0).abs() <= 0.001, "{at_once} of {asked} by {rate:?}");
            let waits_for = ((burst as f64 * share) as u64).clamp(1, burst.min(1_000 * rate.amount().get()));
            let waiting = taken_per_second(rate, burst, waits_for, steps);
            prop_assert!((0.98..=1.001).contains(&(waiting / asked)), "{waiting} of {asked} by {rate:?}");
        }
    }
}
