//! What happens to the callers of a limit while the ledger does not answer.

use super::{Capacity, DefinitionError};

/// What happens to the callers of a limit while the ledger does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnavailable {
    /// They are refused.
    #[default]
    Deny,
    /// Each replica grants a part of the capacity by itself.
    Allow(EmergencyShare),
}

/// The part of a limit's capacity that one replica grants by itself in one outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmergencyShare {
    /// In millionths of the capacity.
    millionths: u32,
    seconds: u32,
}

const MILLION: u32 = 1_000_000;
/// The longest time that a replica may grant in an outage, in seconds.
const SECONDS_MAX: u64 = 3_600;
/// How far a share may be from a whole number of millionths: a decimal fraction is not exact as a floating-point number.
const ROUNDING_ERROR_MAX: f64 = 1e-6;

impl EmergencyShare {
    /// Checks the share, above 0 and at most 1 with at most six decimals, and the seconds of an outage in which a replica
    /// grants, 1 to 3,600.
    pub fn new(capacity_share: f64, seconds: u64) -> Result<Self, DefinitionError> {
        let millionths = capacity_share * f64::from(MILLION);
        let whole = millionths.round();
        let is_whole = (millionths - whole).abs() <= ROUNDING_ERROR_MAX;
        if !is_whole || !(1.0..=f64::from(MILLION)).contains(&whole) {
            return Err(DefinitionError::CapacityShare);
        }
        Self::from_millionths(whole as u32, seconds)
    }

    /// The same, of a share in millionths of the capacity.
    pub(crate) fn from_millionths(millionths: u32, seconds: u64) -> Result<Self, DefinitionError> {
        if !(1..=MILLION).contains(&millionths) {
            return Err(DefinitionError::CapacityShare);
        }
        let (field, min, max) = ("emergency.seconds", 1, SECONDS_MAX);
        let valid = u32::try_from(seconds).ok().filter(|_| (min..=max).contains(&seconds));
        let seconds = valid.ok_or(DefinitionError::OutOfRange { field, min, max, found: seconds })?;
        Ok(Self { millionths, seconds })
    }

    /// The share of the capacity, above 0 and at most 1.
    pub fn capacity_share(self) -> f64 {
        f64::from(self.millionths) / f64::from(MILLION)
    }

    pub(crate) fn millionths(self) -> u32 {
        self.millionths
    }

    /// The first seconds of an outage, in which a replica grants.
    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// The share of this capacity, rounded down.
    pub fn units_of(self, capacity: Capacity) -> u64 {
        let units = u128::from(capacity) * u128::from(self.millionths) / u128::from(MILLION);
        // Never above the capacity.
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_to_whole_units() {
        for (share, capacity, units) in [
            (0.05, 1_000_000, 50_000),
            (0.05, 19, 0),
            (0.05, 20, 1),
            (0.29, 100, 29),
            (0.000_001, 999_999, 0),
            (0.000_001, 1_000_000, 1),
            (1.0, 7, 7),
            (1.0, i64::MAX as u64, i64::MAX as u64),
        ] {
            let share_of = EmergencyShare::new(share, 60).expect("valid");
            let capacity = Capacity::new(capacity).expect("valid");
            assert_eq!(share_of.units_of(capacity), units, "{share} of {capacity:?}");
            assert_eq!(share_of.capacity_share(), share, "it is shown as it was given");
        }
    }

    #[test]
    fn a_share_or_time_out_of_range_is_refused() {
        for share in [0.0, -0.1, 1.000_001, 0.000_000_1, 0.123_456_7, f64::NAN, f64::INFINITY, 1e300] {
            let refused = EmergencyShare::new(share, 60);
            assert_eq!(refused, Err(DefinitionError::CapacityShare), "{share}");
        }
        for (seconds, is_valid) in [(0, false), (1, true), (3_600, true), (3_601, false), (u64::MAX, false)] {
            assert_eq!(EmergencyShare::new(0.5, seconds).is_ok(), is_valid, "{seconds} s");
        }
    }
}
