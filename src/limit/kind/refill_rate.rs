//! Refill rates of token buckets.

use super::SECONDS_MAX;
use crate::limit::Amount;

/// The longest time between two refills, in milliseconds: 366 days.
pub const REFILL_INTERVAL_MS_MAX: u64 = SECONDS_MAX as u64 * 1_000;

const MS_PER_SECOND: f64 = 1_000.0;
/// A rate may be this share below the one asked for. A closer rate would take larger refills, further apart.
const SHORT_BY_MAX: f64 = 0.001;
/// Rounding errors of the requested rate below this share are ignored.
const ROUNDING: f64 = 1e-12;

/// The refill rate of a bucket: an amount per interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefillRate {
    amount: Amount,
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
    /// The rate of `units` per second, or up to a thousandth less. Among these it takes the shortest interval, so that
    /// refills are as small as they can be.
    pub fn per_second(units: f64) -> Result<Self, RefillRateError> {
        if !units.is_finite() || units <= 0.0 {
            return Err(RefillRateError::NotAboveZero);
        }
        let one_takes_ms = (MS_PER_SECOND / units * (1.0 - ROUNDING)).ceil().max(1.0);
        if one_takes_ms > REFILL_INTERVAL_MS_MAX as f64 {
            return Err(RefillRateError::TooSlow);
        }
        // The loop ends: from one second on, one millisecond too much is at most a thousandth of the interval.
        let mut interval_ms = one_takes_ms as u64;
        loop {
            let exact = units * interval_ms as f64 / MS_PER_SECOND * (1.0 + ROUNDING);
            if exact >= Amount::MAX.get() as f64 {
                return Err(RefillRateError::TooFast);
            }
            let whole = exact.floor();
            if whole >= exact * (1.0 - SHORT_BY_MAX) {
                // Slower rates were refused above, so it is at least 1.
                let amount = Amount::new(whole as u64).map_err(|_| RefillRateError::TooSlow)?;
                return Ok(Self { amount, interval_ms });
            }
            interval_ms += 1;
        }
    }

    /// A rate whose fields are already checked.
    pub(crate) fn new(amount: Amount, interval_ms: u64) -> Self {
        Self { amount, interval_ms }
    }

    /// The units that one refill adds.
    pub fn amount(self) -> Amount {
        self.amount
    }

    /// The time between two refills, in milliseconds.
    pub fn interval_ms(self) -> u64 {
        self.interval_ms
    }

    /// The rate in units per second.
    pub fn units_per_second(self) -> f64 {
        self.amount.get() as f64 * MS_PER_SECOND / self.interval_ms as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_as_exact_as_whole_milliseconds_allow() {
        let rows = [
            (10.0, 1, 100),
            (0.5, 1, 2_000),
            (2_500.0, 5, 2),
            (1.0 / 3.0, 1, 3_000),
            (1e6, 1_000, 1),
            (1.0, 1, 1_000),
            (1_000.0, 1, 1),
            (3.7, 2, 541),
            (1.0 / 86_400.0, 1, 86_400_000),
            (100.0 / 60.0, 1, 600),
        ];
        for (units, amount, interval_ms) in rows {
            let rate = RefillRate::per_second(units).expect("a rate");
            let expected = RefillRate::new(Amount::new(amount).expect("valid"), interval_ms);
            assert_eq!(rate, expected, "{units}");
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

    proptest! {
        #[test]
        fn a_rate_is_never_above_the_one_asked_for_and_hardly_below(exponent in -6.0..15.0_f64, digits in 1.0..10.0_f64) {
            let asked = digits * 10_f64.powf(exponent);
            let rate = RefillRate::per_second(asked).expect("a rate");
            let made = rate.units_per_second();
            prop_assert!(made <= asked * (1.0 + 1e-9), "{made} of {asked}");
            prop_assert!(made >= asked * 0.998, "{made} of {asked}");
        }
    }
}
