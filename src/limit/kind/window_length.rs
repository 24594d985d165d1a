//! The length of a window: whole seconds, or milliseconds.

use super::{KindFields, SECONDS_MAX, in_range, seconds_in_range};
use crate::limit::DefinitionError;

const MS_PER_SECOND: u64 = 1_000;

/// The length of a fixed or sliding window: 1 millisecond to [`SECONDS_MAX`] seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowLength {
    ms: u64,
}

impl WindowLength {
    /// Reads `window_seconds` or `window_ms`, of which one must be given.
    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let KindFields { window_seconds, window_ms, .. } = *fields;
        let ms = match (window_seconds, window_ms) {
            (seconds, 0) => u64::from(seconds_in_range("window_seconds", seconds)?) * MS_PER_SECOND,
            (0, ms) => in_range("window_ms", ms, 1, u64::from(SECONDS_MAX) * MS_PER_SECOND)?,
            (_, _) => return Err(DefinitionError::TwoWindowLengths),
        };
        Ok(Self { ms })
    }

    /// The fields with this length: seconds if they are whole.
    pub(super) fn fields(self) -> KindFields {
        match self.whole_seconds() {
            Some(seconds) => KindFields { window_seconds: seconds.into(), ..KindFields::default() },
            None => KindFields { window_ms: self.ms, ..KindFields::default() },
        }
    }

    /// In milliseconds.
    pub(super) fn ms(self) -> u64 {
        self.ms
    }

    /// In seconds, if they are whole.
    pub(super) fn whole_seconds(self) -> Option<u32> {
        let is_whole = self.ms.is_multiple_of(MS_PER_SECOND);
        // The longest window fits 32 bits.
        is_whole.then_some((self.ms / MS_PER_SECOND) as u32)
    }
}
