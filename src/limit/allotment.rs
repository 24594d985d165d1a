//! Whether replicas serve callers of a limit from allotments.

use super::{DefinitionError, Kind};

/// How long a replica serves callers from one allotment: 100 to 10,000 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllotmentPeriod(u32);

const PERIOD_MS_MIN: u64 = 100;
const PERIOD_MS_MAX: u64 = 10_000;

impl AllotmentPeriod {
    /// Checks the milliseconds.
    pub fn new(ms: u64) -> Result<Self, DefinitionError> {
        let (field, min, max) = ("allotment.period_ms", PERIOD_MS_MIN, PERIOD_MS_MAX);
        let valid = u32::try_from(ms).ok().filter(|_| (min..=max).contains(&ms));
        valid.map(Self).ok_or(DefinitionError::OutOfRange { field, min, max, found: ms })
    }

    /// The milliseconds.
    pub fn ms(self) -> u64 {
        self.0.into()
    }

    /// Checks that limits of this kind can have allotments.
    pub(super) fn check_kind(kind: Kind) -> Result<(), DefinitionError> {
        match kind {
            Kind::Rolling(_) | Kind::Concurrency(_) => Ok(()),
            Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => {
                Err(DefinitionError::NoAllotments { kind: kind.name() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_out_of_range_is_refused() {
        for (ms, is_valid) in [(0, false), (99, false), (100, true), (10_000, true), (10_001, false)] {
            assert_eq!(AllotmentPeriod::new(ms).is_ok(), is_valid, "{ms} ms");
        }
    }
}
