//! Definitions of limits in code.

use std::time::Duration;

use super::{ErrorKind, IntoLimitKey};
use crate::limit::{Amount, Concurrency, Definition, DefinitionError, Kind, Overage, Rolling, SECONDS_MAX};

/// A rate with a burst, from which a rolling limit is defined.
///
/// The limit grants at most [`capacity`](Self::capacity) units in any [`window`](Self::window). That is never more
/// than the burst at once, and over longer times never more than the rate.
///
/// Windows are whole seconds, so the rate or the burst may be lower than asked for. Ten per second with a burst of 15
/// become 10 in any second. Five per minute with a burst of 3 become 3 in any 36 seconds.
///
/// Unlike a token bucket, a window that was used up at once expires at once, not unit by unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    capacity: Amount,
    window: Rolling,
}

/// Why a limit cannot be defined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// The rate is 0.
    #[error("the rate must be at least 1")]
    ZeroRate,
    /// The burst is 0.
    #[error("the burst must be at least 1")]
    ZeroBurst,
    /// The limit would need a window shorter than a second.
    #[error("the burst must be at least {burst_min}, the units of one second, not {burst}")]
    BurstTooSmall {
        /// The smallest burst of this rate.
        burst_min: u64,
        /// The burst asked for.
        burst: u64,
    },
    /// The limit would need too long a window.
    #[error(
        "a burst of {burst} takes more than {SECONDS_MAX} seconds at this rate; lower the burst or raise the rate"
    )]
    BurstTooLarge {
        /// The burst asked for.
        burst: u64,
    },
    /// Another field of the definition is invalid.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

impl RateError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
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
        // Two limits are safe: the whole burst in a window rounded up, and the units of the rate in a window
        // rounded down. Take the one with the higher rate.
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

    /// The most units granted in any window.
    pub fn capacity(self) -> u64 {
        self.capacity.get()
    }

    /// The length of a window, in whole seconds.
    pub fn window(self) -> Duration {
        Duration::from_secs(self.window.window_seconds().into())
    }

    /// The definition of a limit with this rate.
    pub fn limit(self, key: impl IntoLimitKey) -> Result<Definition, RateError> {
        define(key, Kind::Rolling(self.window), self.capacity)
    }
}

/// The definition of a limit of `slots` calls at the same time.
///
/// A slot is released when its lease is completed. If nobody completes the lease, the slot expires after `timeout`,
/// which is 1 second to 366 days and is rounded up to whole seconds.
pub fn concurrency_limit(
    key: impl IntoLimitKey,
    slots: u64,
    timeout: Duration,
) -> Result<Definition, RateError> {
    let slots = Amount::new(slots).map_err(DefinitionError::Capacity)?;
    let timeout_seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    define(key, Kind::Concurrency(Concurrency::new(timeout_seconds)?), slots)
}

fn define(key: impl IntoLimitKey, kind: Kind, capacity: Amount) -> Result<Definition, RateError> {
    let key = key.into_limit_key().map_err(DefinitionError::Key)?;
    Ok(Definition::new(key, kind, capacity, "", "", Overage::default())?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Capacity and seconds of the window.
    fn made(rate: Result<Rate, RateError>) -> (u64, u64) {
        let rate = rate.expect("a good rate");
        (rate.capacity(), rate.window().as_secs())
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
        assert!(concurrency_limit("slots", 0, Duration::from_secs(60)).is_err());
        assert!(concurrency_limit("slots", 1, Duration::ZERO).is_err());
        assert!(concurrency_limit("slots", 1, Duration::MAX).is_err());
    }

    #[test]
    fn time_outs_are_rounded_up_to_whole_seconds() {
        for (ms, seconds) in [(1, 1), (1_000, 1), (1_001, 2)] {
            let limit = concurrency_limit("slots", 1, Duration::from_millis(ms)).expect("valid");
            assert_eq!(limit.kind, Kind::Concurrency(Concurrency::new(seconds).expect("valid")));
        }
    }

    proptest! {
        #[test]
        fn the_limit_exceeds_neither_rate_nor_burst(units in 1..1_000_000_u64, burst in 1..1_000_000_u64) {
            for (span, rate) in
                [(1, Rate::per_second(units, burst)), (60, Rate::per_minute(units, burst))]
            {
                let Ok(rate) = rate else { continue };
                prop_assert!(rate.capacity() <= burst);
                prop_assert!(rate.capacity() * span <= units * rate.window().as_secs());
                // Never less than half of the rate.
                prop_assert!(2 * rate.capacity() * span >= units * rate.window().as_secs());
            }
        }
    }
}
