use super::definition::{DefinitionError, seconds_in_range};

/// Slots in use at once: what is reserved comes back on complete, or `timeout_seconds` after it was reserved if nobody
/// completes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    timeout_seconds: u32,
}

impl Concurrency {
    /// A timeout of 1 to [`super::SECONDS_MAX`] seconds.
    pub fn new(timeout_seconds: u64) -> Result<Self, DefinitionError> {
        Ok(Self { timeout_seconds: seconds_in_range("timeout_seconds", timeout_seconds)? })
    }

    /// The longest that a reservation is held, in seconds.
    pub fn timeout_seconds(self) -> u32 {
        self.timeout_seconds
    }
}
