//! The thresholds at which a limit tells that it is nearly used up.

use super::DefinitionError;

/// The most thresholds of a limit.
pub(super) const THRESHOLDS_MAX: usize = 8;
const PERCENT_MAX: u64 = 100;

/// The percents of a limit's capacity whose crossing is an event: at most eight, each 1 to 100, each larger than the one
/// before. None by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertThresholds {
    /// In ascending order; 0 behind the last one.
    percents: [u8; THRESHOLDS_MAX],
}

impl AlertThresholds {
    /// Checks the percents.
    pub fn new(percents: &[u64]) -> Result<Self, DefinitionError> {
        let is_ascending = percents.windows(2).all(|pair| pair[0] < pair[1]);
        let are_percents = percents.iter().all(|percent| (1..=PERCENT_MAX).contains(percent));
        if !is_ascending || !are_percents || percents.len() > THRESHOLDS_MAX {
            return Err(DefinitionError::Alerts);
        }
        let mut thresholds = Self::default();
        for (place, percent) in thresholds.percents.iter_mut().zip(percents) {
            // At most 100.
            *place = *percent as u8;
        }
        Ok(thresholds)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.percents[0] == 0
    }

    /// The percents, in ascending order.
    pub fn percents(self) -> impl DoubleEndedIterator<Item = u64> {
        self.percents.into_iter().filter(|percent| *percent != 0).map(u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_ascending_few_and_in_range() {
        for (percents, is_valid) in [
            (&[][..], true),
            (&[1], true),
            (&[100], true),
            (&[80, 95, 100], true),
            (&[1, 2, 3, 4, 5, 6, 7, 8], true),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9], false),
            (&[0], false),
            (&[101], false),
            (&[95, 80], false),
            (&[80, 80], false),
        ] {
            let thresholds = AlertThresholds::new(percents);
            assert_eq!(thresholds.is_ok(), is_valid, "{percents:?}");
            if let Ok(thresholds) = thresholds {
                assert_eq!(thresholds.percents().collect::<Vec<_>>(), percents);
                assert_eq!(thresholds.is_empty(), percents.is_empty());
            }
        }
    }
}
