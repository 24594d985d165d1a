use super::definition::{DefinitionError, seconds_in_range};

/// An exact sliding log: what is reserved comes back `window_seconds` after it was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    window_seconds: u32,
}

impl Rolling {
    /// A window of 1 to [`super::SECONDS_MAX`] seconds.
    pub fn new(window_seconds: u64) -> Result<Self, DefinitionError> {
        Ok(Self { window_seconds: seconds_in_range("window_seconds", window_seconds)? })
    }

    /// How long a reservation is held, in seconds.
    pub fn window_seconds(self) -> u32 {
        self.window_seconds
    }
}
