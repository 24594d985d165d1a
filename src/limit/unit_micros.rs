//! What one unit of a limit is worth.

use std::fmt;

use super::DefinitionError;

/// What one unit of a limit is worth, in millionths of what its `unit` names: 1 to 10^12.
///
/// A limit with the unit `USD` and the worth 1 counts millionths of a dollar: its capacity 25,000,000 is 25 USD. It is for
/// people, who see amounts in the unit: the limiter counts units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitMicros(u64);

const FIELD: &str = "unit_micros";
const MICROS_MAX: u64 = 1_000_000_000_000;
const MICROS_PER_WHOLE: u128 = 1_000_000;

impl UnitMicros {
    /// Checks the number.
    ///
    /// # Errors
    ///
    /// [`DefinitionError::OutOfRange`] for 0 and numbers above 10^12.
    pub fn new(micros: u64) -> Result<Self, DefinitionError> {
        let (min, max) = (1, MICROS_MAX);
        let valid = (min..=max).contains(&micros).then_some(Self(micros));
        valid.ok_or(DefinitionError::OutOfRange { field: FIELD, min, max, found: micros })
    }

    /// The millionths.
    pub fn get(self) -> u64 {
        self.0
    }

    /// What so many units are worth.
    pub fn worth(self, units: u64) -> Worth {
        Worth { micros: u128::from(units) * u128::from(self.0) }
    }

    /// Checks that there is a unit to be worth a part of.
    pub(super) fn check_unit(unit: &str) -> Result<(), DefinitionError> {
        if unit.is_empty() { Err(DefinitionError::NoUnit) } else { Ok(()) }
    }
}

/// An amount of what a unit names, shown as an exact decimal such as `12.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worth {
    micros: u128,
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.micros / MICROS_PER_WHOLE, self.micros % MICROS_PER_WHOLE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:06}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worth_out_of_range_is_refused() {
        for (micros, is_valid) in [(0, false), (1, true), (MICROS_MAX, true), (MICROS_MAX + 1, false)] {
            assert_eq!(UnitMicros::new(micros).is_ok(), is_valid, "{micros}");
        }
    }

    #[test]
    fn worth_is_an_exact_decimal() {
        for (micros, units, shown) in [
            (1, 0, "0"),
            (1, 1, "0.000001"),
            (1, 25_000_000, "25"),
            (1, 12_500_000, "12.5"),
            (10_000, 1_999, "19.99"),
            (1_000_000, 7, "7"),
            (MICROS_MAX, u64::MAX, "18446744073709551615000000"),
        ] {
            assert_eq!(UnitMicros::new(micros).expect("valid").worth(units).to_string(), shown);
        }
    }
}
