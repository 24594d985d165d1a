use super::Steps;
use super::definition::{DefinitionError, KindFields, in_range, seconds_in_range};

/// All capacity is back at each boundary. Boundaries are `window_seconds` apart, counted from the Unix epoch, so that
/// 86,400 is the day in UTC; `align` moves them later by so many seconds, to a tenant's midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    window_seconds: u32,
    align_seconds: u32,
}

impl FixedWindow {
    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let window_seconds = seconds_in_range("window_seconds", fields.window_seconds)?;
        let align = in_range("align", fields.align, 0, u64::from(window_seconds) - 1)?;
        // It is below a number of 32 bits.
        Ok(Self { window_seconds, align_seconds: align as u32 })
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields {
            window_seconds: self.window_seconds.into(),
            align: self.align_seconds.into(),
            ..KindFields::default()
        }
    }

    /// The length of a window, in seconds.
    pub fn window_seconds(self) -> u32 {
        self.window_seconds
    }

    /// How many seconds after a multiple of its length a window begins.
    pub fn align_seconds(self) -> u32 {
        self.align_seconds
    }

    pub(super) fn steps(self) -> Steps {
        Steps {
            anchor_ms: u64::from(self.align_seconds) * 1_000,
            span_ms: u64::from(self.window_seconds) * 1_000,
            per_span: 1,
        }
    }
}
