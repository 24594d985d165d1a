//! The longest wait of a reservation ahead.

use super::{DefinitionError, REFILL_INTERVAL_MS_MAX};

/// The longest that a reservation ahead may wait for the refills that it borrows, in milliseconds. The default is the longest
/// refill interval, so that every bucket can lend at least one refill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitMax(u64);

impl WaitMax {
    /// Checks the milliseconds: 1 to [`REFILL_INTERVAL_MS_MAX`].
    pub fn new(ms: u64) -> Result<Self, DefinitionError> {
        if (1..=REFILL_INTERVAL_MS_MAX).contains(&ms) {
            Ok(Self(ms))
        } else {
            let (field, min, max) = ("max_wait_ms", 1, REFILL_INTERVAL_MS_MAX);
            Err(DefinitionError::OutOfRange { field, min, max, found: ms })
        }
    }

    /// The milliseconds.
    pub fn ms(self) -> u64 {
        self.0
    }
}

impl Default for WaitMax {
    fn default() -> Self {
        Self(REFILL_INTERVAL_MS_MAX)
    }
}
