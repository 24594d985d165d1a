use crate::limit::{
    Amount, Concurrency, Definition, DefinitionError, Kind, LimitKey, Overage, Rolling, SECONDS_MAX,
};

/// A rate with a burst, to define a limit by.
///
/// The limit is a rolling one: at most `capacity` units in any `window_seconds`. It never lets through more than the
/// burst at once nor, over longer times, more than the rate. Because windows are whole seconds, one of the two may come
/// out lower than asked: ten per second with a burst of 15 become 10 in any second, and five per minute with a burst of
/// three become 3 in any 36 seconds. Unlike a token bucket, a window that was used up comes back as it was used, not drop
/// by drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    capacity: Amount,
    window: Rolling,
}

/// Why a rate makes no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Nothing would ever come back.
    #[error("the rate must be at least 1")]
    ZeroRate,
    /// Nothing could ever be taken.
    #[error("the burst must be at least 1")]
    ZeroBurst,
    /// A window shorter than a second would be needed.
    #[error("the burst must be at least {burst_min}, what comes back in a second, not {burst}")]
    BurstTooSmall {
        /// The smallest burst of this rate.
        burst_min: u64,
        /// What it was.
        burst: u64,
    },
    /// Taking the whole burst would last too long to come back.
    #[error("a burst of {burst} comes back only after more than {SECONDS_MAX} seconds")]
    BurstTooLarge {
        /// What it was.
        burst: u64,
    },
    /// The limit cannot be defined.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

impl Rate {
    /// `units` per second, at most `burst` of them at once.
    pub fn per_second(units: u64, burst: u64) -> Result<Self, RateError> {
        Self::per(1, units, burst)
    }

    /// `units` per minute, at most `burst` of them at once.
    pub fn per_minute(units: u64, burst: u64) -> Result<Self, RateError> {
        Self::per(60, units, burst)
    }

    /// `units` per hour, at most `burst` of them at once.
    pub fn per_hour(units: u64, burst: u64) -> Result<Self, RateError> {
        Self::per(3_600, units, burst)
    }

    fn per(span_seconds: u64, units: u64, burst: u64) -> Result<Self, RateError> {
        if units == 0 {
            return Err(RateError::ZeroRate);
        }
        if burst == 0 {
            return Err(RateError::ZeroBurst);
        }
        let (wide_span, wide_units) = (u128::from(span_seconds), u128::from(units));
        let window_floor = u128::from(burst) * wide_span / wide_units;
        if window_floor == 0 {
            return Err(RateError::BurstTooSmall { burst_min: units.div_ceil(span_seconds), burst });
        }
        let window_ceil = (u128::from(burst) * wide_span).div_ceil(wide_units);
        // The whole burst in a window rounded up, or a window rounded down and what the rate brings in it: neither is
        // ever too much, so the one that lets more through is taken.
        let whole_burst = (u128::from(burst), window_ceil);
        let whole_rate = (wide_units * window_floor / wide_span, window_floor);
        let (capacity, window_seconds) = if whole_rate.0 * whole_burst.1 > whole_burst.0 * whole_rate.1 {
            whole_rate
        } else {
            whole_burst
        };
        let too_large = |_| RateError::BurstTooLarge { burst };
        let capacity = u64::try_from(capacity).map_err(too_large)?;
        let window_seconds = u64::try_from(window_seconds).map_err(too_large)?;
        if window_seconds > u64::from(SECONDS_MAX) {
            return Err(RateError::BurstTooLarge { burst });
        }
        let capacity = Amount::new(capacity).map_err(DefinitionError::Capacity)?;
        Ok(Self { capacity, window: Rolling::new(window_seconds)? })
    }

    /// How much may be taken in any window.
    pub fn capacity(self) -> u64 {
        self.capacity.get()
    }

    /// How long a window is.
    pub fn window_seconds(self) -> u32 {
        self.window.window_seconds()
    }

    /// A limit of this rate.
    pub fn limit(self, key: &str) -> Result<Definition, RateError> {
        define(key, Kind::Rolling(self.window), self.capacity)
    }
}

/// A limit of `places` calls at the same time. The place of a caller who never completes comes back after
/// `timeout_seconds`.
pub fn concurrency_limit(key: &str, places: u64, timeout_seconds: u64) -> Result<Definition, RateError> {
    let places = Amount::new(places).map_err(DefinitionError::Capacity)?;
    define(key, Kind::Concurrency(Concurrency::new(timeout_seconds)?), places)
}

fn define(key: &str, kind: Kind, capacity: Amount) -> Result<Definition, RateError> {
    let key = LimitKey::parse(key).map_err(DefinitionError::Key)?;
    Ok(Definition::new(key, kind, capacity, "", "", Overage::default())?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(rate: Result<Rate, RateError>) -> (u64, u32) {
        let rate = rate.expect("a good rate");
        (rate.capacity(), rate.window_seconds())
    }

    #[test]
    fn windows_are_whole_seconds() {
        assert_eq!(made(Rate::per_second(10, 10)), (10, 1));
        assert_eq!(made(Rate::per_second(10, 100)), (100, 10));
        assert_eq!(made(Rate::per_second(10, 15)), (10, 1));
        assert_eq!(made(Rate::per_minute(60, 10)), (10, 10));
        assert_eq!(made(Rate::per_minute(60, 60)), (60, 60));
        assert_eq!(made(Rate::per_minute(5, 3)), (3, 36));
        assert_eq!(made(Rate::per_minute(7, 5)), (5, 43));
        assert_eq!(made(Rate::per_hour(1, 1)), (1, 3_600));
    }

    #[test]
    fn bad_rates_are_refused() {
        assert_eq!(Rate::per_second(0, 1), Err(RateError::ZeroRate));
        assert_eq!(Rate::per_minute(1, 0), Err(RateError::ZeroBurst));
        assert_eq!(Rate::per_second(10, 9), Err(RateError::BurstTooSmall { burst_min: 10, burst: 9 }));
        assert_eq!(Rate::per_minute(90, 1), Err(RateError::BurstTooSmall { burst_min: 2, burst: 1 }));
        assert_eq!(Rate::per_hour(1, 10_000), Err(RateError::BurstTooLarge { burst: 10_000 }));
        assert!(matches!(Rate::per_second(u64::MAX, u64::MAX), Err(RateError::Definition(_))));
        assert!(Rate::per_second(1, 1).expect("good").limit(":bad").is_err());
        assert!(concurrency_limit("slots", 0, 60).is_err());
        assert!(concurrency_limit("slots", 1, 0).is_err());
    }

    proptest! {
        #[test]
        fn neither_rate_nor_burst_is_exceeded(units in 1..1_000_000_u64, burst in 1..1_000_000_u64) {
            for (span, rate) in
                [(1, Rate::per_second(units, burst)), (60, Rate::per_minute(units, burst))]
            {
                let Ok(rate) = rate else { continue };
                prop_assert!(rate.capacity() <= burst);
                prop_assert!(rate.capacity() * span <= units * u64::from(rate.window_seconds()));
                // Never less than half of the rate.
                prop_assert!(2 * rate.capacity() * span >= units * u64::from(rate.window_seconds()));
            }
        }
    }
}
